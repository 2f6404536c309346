"""What this machine lacks, and what a dataset is in: findings before a long build, or after a bad one."""

import importlib
import os
import platform
import shutil
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

import factory
from factory.config import Preset
from manifests.dataset import Dataset
from manifests.errors import BusyError, FactoryError

__all__ = ["BYTES_PER_VOXEL", "Diagnosis", "diagnose"]

BYTES_PER_VOXEL = 2.0
"""Upper estimate of stored bytes for one voxel of all three layers, compressed."""

_REQUIRED = ("numpy", "scipy", "zarr", "pyarrow", "pydantic", "nibabel", "matplotlib", "typer")
_OPTIONAL = {
    "ray": "more than one worker (pip install 'ct-factory[ray]')",
    "torch": "training nnU-Net (pip install 'ct-factory[nnunet]')",
    "nnunetv2": "training nnU-Net (pip install 'ct-factory[nnunet]')",
    "SimpleITK": "exports (pip install 'ct-factory[nnunet]')",
    "highdicom": "exports to DICOM (pip install 'ct-factory[dicom]')",
}
_NNUNET = ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")
_SHM = Path("/dev/shm")  # noqa: S108  # looked at, not written
_SHM_BYTES = 256 * 2**20


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """One thing looked at; "bad" will make something fail, "note" may."""

    level: Literal["ok", "note", "bad"]
    subject: str
    message: str


def diagnose(preset: Preset, n: int, root: Path | None = None) -> list[Diagnosis]:
    """Look at packages, disk, memory and environment, and at a dataset where one is given.

    Args:
        preset: resolution of the planned cases.
        n: number of planned cases.
        root: a dataset to look at; without one, disk space is that of the working directory.
    """
    findings = [*_packages(), _name_collision(), _disk(preset, n, root or Path.cwd()), _shared_memory(), _nnunet()]
    return findings + (list(_dataset(root)) if root else [])


def _packages() -> Iterator[Diagnosis]:
    found = sys.version_info >= (3, 11)
    yield Diagnosis("ok" if found else "bad", "python", f"{platform.python_version()} on {platform.platform()}")
    for name in _REQUIRED:
        there = _version(name)
        yield Diagnosis("ok" if there else "bad", name, there or "not installed; reinstall ct-factory")
    for name, purpose in _OPTIONAL.items():
        there = _version(name)
        yield Diagnosis("ok" if there else "note", name, there or f"not installed; needed for {purpose}")


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _name_collision() -> Diagnosis:
    """The PyPI package factory_boy installs a module called factory, too."""
    where = Path(factory.__file__ or "").parent
    if _version("factory_boy"):
        return Diagnosis("bad", "factory_boy", f"installed, and its module is called factory as ours in {where}")
    ours = Path(importlib.import_module("factory.config").__file__ or "").parent
    return Diagnosis("ok" if ours == where else "bad", "module factory", str(where))


def _disk(preset: Preset, n: int, place: Path) -> Diagnosis:
    voxels = 1
    for count in preset.grid().shape_zyx:
        voxels *= count
    need = BYTES_PER_VOXEL * voxels * n
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    text = f"{free / 1e9:.1f} GB free at {place}; {n} {preset.name} cases need at most about {need / 1e9:.2f} GB"
    return Diagnosis("ok" if free > need else "bad", "disk", text)


def _shared_memory() -> Diagnosis:
    if not _SHM.exists():
        return Diagnosis("note", str(_SHM), "not there; Ray falls back to files")
    free = shutil.disk_usage(_SHM).free
    hint = "" if free >= _SHM_BYTES else "; little for Ray and nnU-Net workers: start the container with --shm-size=1g"
    return Diagnosis("ok" if free >= _SHM_BYTES else "note", str(_SHM), f"{free / 1e6:.0f} MB free{hint}")


def _nnunet() -> Diagnosis:
    unset = [name for name in _NNUNET if not os.environ.get(name)]
    missing = [name for name in _NNUNET if name not in unset and not Path(os.environ[name]).is_dir()]
    if missing:
        return Diagnosis("note", "nnU-Net folders", f"no directory behind {', '.join(missing)}")
    if unset:
        return Diagnosis("note", "nnU-Net folders", f"not set: {', '.join(unset)}; training nnU-Net needs them")
    return Diagnosis("ok", "nnU-Net folders", ", ".join(os.environ[name] for name in _NNUNET))


def _dataset(root: Path) -> Iterator[Diagnosis]:
    """Is it one, is it ours to write, is somebody building it, and what does it hold."""
    try:
        dataset = Dataset.open(root)
        records = dataset.records()
    except FactoryError as error:
        yield Diagnosis("bad", "dataset", str(error))
        return
    counts = Counter(record.status for record in records)
    text = ", ".join(f"{counts[status]} {status}" for status in ("accepted", "rejected", "failed"))
    yield Diagnosis("ok", "dataset", f"{dataset.spec.kind}, {dataset.spec.spec_id}: {text}")
    lost = [record.case_id for record in records if record.path and not dataset.case_path(record).is_dir()]
    if lost:
        yield Diagnosis("bad", "arrays", f"{len(lost)} cases without arrays, first {lost[0]}; see factory check")
    if not os.access(root, os.W_OK):
        yield Diagnosis("note", "dataset", "read-only for this user")
        return
    try:
        with dataset.lock():
            yield Diagnosis("ok", "lock", "free")
    except BusyError as error:
        yield Diagnosis("note", "lock", error.got)
