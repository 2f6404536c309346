"""Random patches straight from the store against reading whole arrays: same cases, same patches, one run.

    python benchmarks/patch_reads.py [--dataset DIR] [--patch 64] [--samples 40] [--cases 3]

Four ways to the same patches take turns, so that a busy machine slows all alike: `PatchDataset`; slices of
the three arrays by zarr-python; whole arrays from the store, then a slice; whole arrays from `.nii.gz` by
nibabel, then a slice. Ratios are of CPU time to `PatchDataset`, which knows where wanted labels lie: `scan_s` is
what finding them takes, once a case and process. Without `--dataset` the cases are CT-like noise of 256^3 voxels.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
from store_throughput import ct_like

from downstream.patches import PatchDataset, PatchOptions
from manifests.case import CaseRecord
from manifests.dataset import Dataset, DatasetSpec
from manifests.geometry import Grid
from manifests.store import LAYERS, open_layer, read_arrays
from manifests.testing import example_record

GRID = Grid((256, 256, 256), (1.5, 1.5, 1.5))


def make(folder: Path, cases: int) -> Dataset:
    """Cases of CT-like noise with one lesion each."""
    dataset = Dataset.create(folder / "store", DatasetSpec(kind="synthetic"))
    arrays = ct_like(GRID)
    for index in range(cases):
        dataset.save(example_record(index), arrays)
    return dataset


def to_nifti(dataset: Dataset, record: CaseRecord, folder: Path) -> None:
    arrays = read_arrays(dataset.case_path(record))
    for layer in LAYERS:
        image = nibabel.Nifti1Image(getattr(arrays, layer).transpose(2, 1, 0), arrays.grid.affine_ras)
        nibabel.save(image, folder / f"{record.case_id}_{layer}.nii.gz")


def spent(action: Callable[[], object]) -> float:
    """CPU seconds of a call, all threads."""
    start = time.process_time()
    action()
    return time.process_time() - start


def measure(dataset: Dataset, folder: Path, patch: int, samples: int) -> dict[str, float]:
    """Median CPU seconds a patch by each way, and ratios."""
    records = {record.case_id: record for record in dataset.accepted()}
    for record in records.values():
        to_nifti(dataset, record, folder)
    patches = PatchDataset(dataset, PatchOptions((patch, patch, patch), "full", samples, wanted=("tumour",)))
    times: dict[str, list[float]] = {}

    def note(name: str, action: Callable[[], object]) -> None:
        times.setdefault(name, []).append(spent(action))

    for record in patches.records:
        note("scan", lambda record=record: patches._foreground(record))
    for index in range(samples):
        item = patches[index]
        record = records[item["case_id"]]
        path = dataset.case_path(record)
        region = tuple(slice(max(0, int(start)), int(start) + patch) for start in item["start_zyx"])
        note("patch", lambda index=index: patches[index])
        note("zarr", lambda path=path, region=region: [open_layer(path, layer)[region] for layer in LAYERS])
        if index < 3 * len(records):
            note("store", lambda path=path, region=region: read_arrays(path).ct[region].copy())
            files = [folder / f"{record.case_id}_{layer}.nii.gz" for layer in LAYERS]
            note("nifti", lambda files=files: [np.asanyarray(nibabel.load(file).dataobj) for file in files])
    median = {name: statistics.median(values) for name, values in times.items()}
    seconds = {f"{name}_s": value for name, value in median.items()}
    return seconds | {f"{name}_ratio": median[name] / median["patch"] for name in ("zarr", "store", "nifti")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--dataset", type=Path)
    parser.add_argument("--patch", type=int, default=64)
    parser.add_argument("--samples", type=int, default=40)
    parser.add_argument("--cases", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        dataset = Dataset.open(options.dataset) if options.dataset else make(folder, options.cases)
        result = measure(dataset, folder, options.patch, options.samples)
    if options.json:
        print(json.dumps(result))
        return
    for key, value in result.items():
        print(f"{key:14} {value:10.4f}")


if __name__ == "__main__":
    main()
