"""Write time and bytes of the store against `.nii.gz` by nibabel: same arrays, one run.

    python benchmarks/store_throughput.py [--preset demo] [--repeats 5] [--noise | --dataset DIR]

The repeats of both writers alternate, so that a busy machine slows both. Both flush their files to
the disk. The store also hashes arrays and files for the record, which nibabel does not: `write_speedup`
counts that as its time, `encode_speedup` leaves it out. CPU ratios show what is left when every core
has a worker of its own. The arrays are a case of the embedded engine. `--noise` takes a CT-like volume of
band-limited noise with air around it instead, `--dataset` the first delivered case of a dataset.
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
from factory.run import load_models
from factory.testing import make_request
from manifests.case import Arrays
from manifests.dataset import Dataset
from manifests.geometry import HU_MIN, Grid
from manifests.shard import encode
from manifests.store import LAYERS, read_arrays, write_arrays
from prompts.sampling import default_distribution

NEED_SPEEDUP, NEED_BYTES = 3.0, 0.85


def embedded(name: str) -> Arrays:
    """A case of the embedded engine, as `factory build` makes it."""
    request = make_request(default_distribution().draw(0, 0), preset(name).grid())
    models = load_models("phantom", "texture")
    masks = models.masks.draw(request)
    return Arrays(request.grid, models.images.render(request, masks), masks.anatomy, masks.lesions)


def ct_like(grid: Grid) -> Arrays:
    """A body of smooth organs: noise of a soft kernel (sd 12 HU, correlated over 1 voxel), half of it in air."""
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


def write_shards(path: Path, arrays: Arrays) -> None:
    """The same voxels without any hash, one after another in one thread."""
    path.mkdir()
    for layer, entry in LAYERS.items():
        shard = encode(getattr(arrays, layer), entry.codec, entry.background)
        with (path / layer).open("xb") as stream:
            stream.write(shard or b"")
            os.fsync(stream.fileno())


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


def timed(action: Callable[[], object]) -> tuple[float, float]:
    """Wall and CPU seconds of a call."""
    start, used = time.perf_counter(), time.process_time()
    action()
    return time.perf_counter() - start, time.process_time() - used


def size(path: Path) -> int:
    return sum(entry.stat().st_size for entry in path.rglob("*") if entry.is_file())


def measure(arrays: Arrays, repeats: int, folder: Path) -> dict[str, float]:
    """Medians of the times, and ratios to the NIfTI files."""
    actions = {
        "nifti": lambda: write_nifti(folder / "nifti", arrays),
        "store": lambda: write_store(folder / "store", arrays),
        "encode": lambda: write_shards(folder / "encode", arrays),
        "read_nifti": lambda: read_nifti(folder / "nifti"),
        "read_store": lambda: read_arrays(folder / "store"),
    }
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in actions}
    for repeat in range(repeats + 1):
        for name, action in actions.items():
            if not name.startswith("read"):
                shutil.rmtree(folder / name, ignore_errors=True)
            spent = timed(action)
            if repeat:  # the first round warms up
                times[name].append(spent)
    wall, cpu = ({name: statistics.median(spent[at] for spent in times[name]) for name in actions} for at in (0, 1))
    return {f"{name}_s": seconds for name, seconds in wall.items()} | {
        "raw_mb": sum(getattr(arrays, layer).nbytes for layer in LAYERS) / 1e6,
        "nifti_mb": size(folder / "nifti") / 1e6,
        "store_mb": size(folder / "store") / 1e6,
        "bytes_ratio": size(folder / "store") / size(folder / "nifti"),
        "write_speedup": wall["nifti"] / wall["store"],
        "write_speedup_cpu": cpu["nifti"] / cpu["store"],
        "encode_speedup": wall["nifti"] / wall["encode"],
        "encode_speedup_cpu": cpu["nifti"] / cpu["encode"],
        "read_speedup": wall["read_nifti"] / wall["read_store"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--preset", default="demo")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--noise", action="store_true")
    parser.add_argument("--dataset", type=Path)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.dataset:
        dataset = Dataset.open(options.dataset)
        arrays = dataset.read(dataset.accepted()[0].case_id)
    else:
        arrays = ct_like(preset(options.preset).grid()) if options.noise else embedded(options.preset)
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
