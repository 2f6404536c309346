"""Where organs lie: patients' label maps against phantoms.

    factory ingest images-labels maps --images "" --masks "*.nii.gz" --labels labels.json --out data/maps
    python benchmarks/organ_positions.py data/maps --relative-to kidney_left --people 40

Prints, for each structure that the label maps have, where its lowest and highest twentieth of voxels
end along each axis (x to the patient's left, y to the back, z up; mm), from the middle of one structure:
mean and standard deviation over patients, then over phantoms of the population that ships. Structures
that the edge of a scan cuts are left out.
"""

import argparse
import json
import sys

import numpy as np
from scipy import ndimage

from factory.config import preset
from factory.engines.base import Request
from factory.engines.phantom import Phantom
from manifests.anatomy import structures
from manifests.dataset import Dataset
from manifests.errors import InputError
from manifests.geometry import Grid
from manifests.identity import rng
from prompts.sampling import complete
from prompts.schema import Patient, Prompt, Study

LEAST_ML = 0.5
Extents = dict[str, np.ndarray]
"""By structure: the 5th, mean and 95th along x, y, z in mm, shape (3, 3)."""


def extents(labels: np.ndarray, grid: Grid, relative_to: str) -> Extents:
    found: Extents = {}
    boxes = ndimage.find_objects(labels, max_label=len(structures()))
    for entry, box in zip(structures(), boxes, strict=True):
        if box is None or any(part.start == 0 or part.stop == n for part, n in zip(box, labels.shape, strict=True)):
            continue
        index = np.argwhere(labels[box] == entry.id) + [part.start for part in box]
        if len(index) * grid.voxel_volume_ml >= LEAST_ML:
            mm = (index * grid.spacing_mm_zyx)[:, ::-1]
            low, high = np.percentile(mm, [5, 95], axis=0)
            found[entry.name] = np.stack([low, mm.mean(axis=0), high])
    if relative_to not in found:
        return {}
    middle = found[relative_to][1].copy()
    return {name: places - middle for name, places in found.items()}


def phantom(index: int, relative_to: str) -> Extents:
    asked = Prompt(patient=Patient(sex="male" if index % 2 else "female"), study=Study(region="torso"))
    case_id = f"positions-{index}"
    subject = complete(asked, rng(case_id, "subject")).model_copy(
        update={"tumours": (), "absent_organs": (), "enlarged_organs": ()}
    )
    grid = preset("tiny").grid()
    return extents(Phantom().draw(Request(case_id, asked, subject, grid)).anatomy, grid, relative_to)


def row(group: str, name: str, found: list[Extents]) -> dict[str, object]:
    places = np.array([each[name] for each in found if name in each])
    mean, spread = places.mean(axis=0).round(1), places.std(axis=0).round(1)
    axes = {axis: {"from_to": mean[::2, k].tolist(), "sd": spread[::2, k].tolist()} for k, axis in enumerate("xyz")}
    return {"structure": name, "of": group, "n": len(places), "middle": mean[1].tolist(), **axes}


def patients_of(root: str, relative_to: str) -> list[Extents]:
    dataset = Dataset.open(root)
    arrays = (dataset.read(record.case_id) for record in dataset.accepted())
    return [extents(np.asarray(each.anatomy), each.grid, relative_to) for each in arrays]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("datasets", nargs="+")
    parser.add_argument("--relative-to", default="kidney_left")
    parser.add_argument("--people", type=int, default=40)
    chosen = parser.parse_args()
    try:
        patients = [each for root in chosen.datasets for each in patients_of(root, chosen.relative_to)]
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    phantoms = [phantom(index, chosen.relative_to) for index in range(chosen.people)]
    for entry in structures():
        for group, found in (("patients", patients), ("phantoms", phantoms)):
            if any(entry.name in each for each in patients) and any(entry.name in each for each in found):
                print(json.dumps(row(group, entry.name, found)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
