"""Measure where structures of the embedded population lie: the bank's landmarks, flanks and breadth.

    python benchmarks/bank_landmarks.py --people 12 --out factory/engines/bank/landmarks.csv

Men of 175 cm and women of 163 cm, each of an ordinary weight and age, painted on the `tiny` grid. Writes
the mean centre of each structure that most of them show, and prints the mean edges of liver and spleen
together (`placing._FLANKS_MM`) in the size of the reference man and how breadth goes with body mass index.
"""

import argparse
import csv
from pathlib import Path

import numpy as np
from scipy import ndimage

from factory.config import preset
from factory.engines.phantom import Build, draw_build, paint
from manifests.anatomy import structure, structures
from manifests.identity import rng
from prompts.schema import Patient, Prompt

GRID = preset("tiny").grid()
OMITTED = frozenset({"body", "subcutaneous_fat", "visceral_fat", "skeletal_muscle"})
MEANT = {"male": (175.0, 76.0), "female": (163.0, 65.0)}


def build_of(index: int, sex: str, heavier: float = 1.0) -> Build:
    height, weight = MEANT[sex]
    patient = Patient(age_years=45 + 3 * (index % 12), sex=sex, height_cm=height, weight_kg=weight * heavier)
    return draw_build(Prompt(patient=patient), rng(f"landmarks-{sex}-{index}", "phantom"))


def centres(labels: np.ndarray) -> dict[str, np.ndarray]:
    """Centre (x, y, z) in mm of each structure that no edge of the grid cuts."""
    found = {}
    for entry, box in zip(structures(), ndimage.find_objects(labels, max_label=len(structures())), strict=True):
        if box is None or entry.name in OMITTED:
            continue
        if all(part.start > 0 and part.stop < n for part, n in zip(box, labels.shape, strict=True)):
            index = np.argwhere(labels[box] == entry.id).mean(axis=0) + [part.start for part in box]
            found[entry.name] = (index * GRID.spacing_mm_zyx + GRID.origin_mm_xyz[::-1])[::-1]
    return found


def flanks(labels: np.ndarray) -> np.ndarray:
    """Edges of liver and spleen together: lowest and highest x, lowest and highest y in mm."""
    both = np.isin(labels, [structure("liver").id, structure("spleen").id])
    edges = []
    for axis, kept in ((0, (0, 1)), (1, (0, 2))):
        along = np.flatnonzero(both.any(axis=kept))
        edges += [
            GRID.origin_mm_xyz[axis] + GRID.spacing_mm_zyx[2 - axis] * (along[0] - 0.5),
            GRID.origin_mm_xyz[axis] + GRID.spacing_mm_zyx[2 - axis] * (along[-1] + 0.5),
        ]
    return np.array(edges)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--people", type=int, default=12, help="of each sex")
    parser.add_argument("--out", type=Path, default=Path("factory/engines/bank/landmarks.csv"))
    chosen = parser.parse_args()
    places: dict[str, list[np.ndarray]] = {}
    edges, scales = [], []
    for sex in MEANT:
        for index in range(chosen.people):
            build = build_of(index, sex)
            labels = paint(build, GRID)
            for name, centre in centres(labels).items():
                places.setdefault(name, []).append(centre)
            sx, sy, _ = build.habitus.scale_xyz
            edges.append(flanks(labels) / np.repeat([sx, sy], 2))
            scales.append(sx)
    with chosen.out.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["name", "x_mm", "y_mm", "z_mm"])
        for entry in structures():
            found = places.get(entry.name, [])
            if len(found) > chosen.people:
                table.writerow([entry.name, *(round(float(v)) for v in np.mean(found, axis=0))])
    x0, x1, y0, y1 = np.mean(edges, axis=0)
    print(f"flanks_mm (({x0:.0f}, {x1:.0f}), ({y0:.0f}, {y1:.0f}))")
    print(f"breadth of women and men at BMI 25 relative to the reference man {np.mean(scales):.3f}")


if __name__ == "__main__":
    main()
