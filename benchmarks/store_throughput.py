"""Write time and bytes of the store against `.nii.gz` by nibabel: same arrays, one run.

    python benchmarks/store_throughput.py [--preset demo] [--repeats 5] [--dataset DIR]

The repeats of both writers alternate, so that a busy machine slows both. Both files are flushed to
the disk. The default arrays are a CT-like volume with band-limited noise, air around the body, and
two masks; `--dataset` takes the first delivered case of a dataset instead.
"""

import argparse
import json
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
from scipy import ndimage

from factory.config import preset
from manifests.case import Arrays
from manifests.dataset import Dataset
from manifests.geometry import HU_MIN
from manifests.store import LAYERS, read_arrays, write_arrays

NEED_SPEEDUP, NEED_BYTES = 3.0, 0.85


def ct_like(name: str) -> Arrays:
    """A body of smooth organs: noise of a soft kernel (sd 12 HU, correlated over 1 voxel), half of it in air."""
    grid = preset(name).grid()
    draw = np.random.default_rng(0)
    z, y, x = np.meshgrid(*(np.linspace(-1, 1, size) for size in grid.shape_zyx), indexing="ij", sparse=True)
    body = (y / 0.75) ** 2 + (x / 0.9) ** 2 + 0 * z < 1
    coarse = ndimage.gaussian_filter(draw.normal(size=(20, 10, 14)), 1)
    field = ndimage.zoom(coarse / coarse.std(), np.array(grid.shape_zyx) / coarse.shape, order=1)
    anatomy = np.where(body, np.digitize(field, np.linspace(-1.5, 1.5, 20)) + 1, 0).astype(np.uint8)
    noise = ndimage.gaussian_filter(draw.normal(size=grid.shape_zyx), (0.5, 1.0, 1.0))
    tissue = draw.normal(40, 60, 23)[anatomy] + 12 * noise / noise.std()
    ct = np.where(body, tissue, np.maximum(-1000 + 6 * noise / noise.std(), HU_MIN))
    lesions = ((z * 2) ** 2 + (y * 3) ** 2 + (x * 4) ** 2 < 0.05).astype(np.uint8)
    return Arrays(grid, np.round(ct).astype(np.int16), anatomy, lesions)


def write_store(path: Path, arrays: Arrays) -> None:
    """Everything that a build does: encode, hash arrays and files, flush."""
    write_arrays(path, arrays, {})


def write_plain_store(path: Path, arrays: Arrays) -> None:
    """Encode and flush, without the hashes of the record."""
    write_arrays(path, arrays, {}, durable=False)


def write_nifti(path: Path, arrays: Arrays) -> None:
    """Three .nii.gz files by nibabel with its own defaults, flushed."""
    path.mkdir()
    for layer in LAYERS:
        image = nibabel.Nifti1Image(getattr(arrays, layer).transpose(2, 1, 0), arrays.grid.affine_ras)
        nibabel.save(image, path / f"{layer}.nii.gz")
        with (path / f"{layer}.nii.gz").open("rb") as stream:
            os.fsync(stream.fileno())


def read_nifti(path: Path) -> None:
    """Decode the three files."""
    for layer in LAYERS:
        np.asanyarray(nibabel.load(path / f"{layer}.nii.gz").dataobj)


def timed(action: Callable[[], object]) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def size(path: Path) -> int:
    return sum(entry.stat().st_size for entry in path.rglob("*") if entry.is_file())


def measure(arrays: Arrays, repeats: int, folder: Path) -> dict[str, float]:
    """Medians of the times, and ratios to the NIfTI files."""
    writers = {"nifti": write_nifti, "store": write_store, "plain": write_plain_store}
    seconds: dict[str, list[float]] = {name: [] for name in (*writers, "read_nifti", "read_store")}
    for repeat in range(repeats + 1):  # the first warms both up and does not count
        for name, write in writers.items():
            shutil.rmtree(folder / name, ignore_errors=True)
            seconds[name].append(timed(lambda write=write, name=name: write(folder / name, arrays)))
        seconds["read_nifti"].append(timed(lambda: read_nifti(folder / "nifti")))
        seconds["read_store"].append(timed(lambda: read_arrays(folder / "store")))
        if repeat == 0:
            seconds = {name: [] for name in seconds}
    median = {f"{name}_s": statistics.median(values) for name, values in seconds.items()}
    raw = sum(getattr(arrays, layer).nbytes for layer in LAYERS)
    return median | {
        "raw_mb": raw / 1e6,
        "nifti_mb": size(folder / "nifti") / 1e6,
        "store_mb": size(folder / "store") / 1e6,
        "bytes_ratio": size(folder / "store") / size(folder / "nifti"),
        "write_speedup": median["nifti_s"] / median["store_s"],
        "write_speedup_without_hashes": median["nifti_s"] / median["plain_s"],
        "read_speedup": median["read_nifti_s"] / median["read_store_s"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--preset", default="demo")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--dataset", type=Path)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.dataset:
        dataset = Dataset.open(options.dataset)
        arrays = dataset.read(dataset.accepted()[0].case_id)
    else:
        arrays = ct_like(options.preset)
    with tempfile.TemporaryDirectory() as folder:
        result = measure(arrays, options.repeats, Path(folder))
    if options.json:
        print(json.dumps(result))
        return
    for name, value in result.items():
        print(f"{name:30} {value:10.3f}")
    met = result["write_speedup"] >= NEED_SPEEDUP and result["bytes_ratio"] <= NEED_BYTES
    print(f"need write_speedup >= {NEED_SPEEDUP}, bytes_ratio <= {NEED_BYTES}: {'met' if met else 'NOT met'}")


if __name__ == "__main__":
    main()
