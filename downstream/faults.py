"""Datasets with a planted fault, to see whether a measure would have found it.

Each fault is one change to a good dataset, which is copied case by case; the copy is a dataset like any other. Records keep
what they say unless the fault is in them, so a faulty copy does not pass `factory check`, and should not.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import MappingProxyType

import numpy as np
from jaxtyping import Int16, Shaped
from scipy.ndimage import gaussian_filter

from manifests.case import Arrays, CaseRecord
from manifests.dataset import Dataset
from manifests.errors import UnknownNameError
from manifests.geometry import HU_MAX, HU_MIN, Grid

__all__ = ["FAULTS", "SHIFT_MM", "plant", "require_fault"]

SHIFT_MM, OFFSET_HU, BLUR_VOXELS, SLICE_HU, SMALLER, FEW = 5.0, 30, 1.0, 25.0, 0.9, 0.125


@dataclass(frozen=True, slots=True)
class _World:
    """The cases that a fault may draw on: their records, how to read one, and the real cases."""

    records: list[CaseRecord]
    read: Callable[[CaseRecord], Arrays]
    real: Dataset
    rng: np.random.Generator


_Planted = tuple[CaseRecord, Callable[[], Arrays]]

Fault = Callable[[_World], list[_Planted]]
"""Makes the records of the copy, each with what reads its arrays."""


def plant(dataset: Dataset, fault: str, real: Dataset, out: Path, *, seed: int = 0) -> Dataset:
    """Copy a dataset with a fault; an earlier copy at the same place is returned as it is.

    Args:
        dataset: a good dataset of generated cases.
        fault: a key of `FAULTS`.
        real: what "copied from real" copies.
        out: directory of the copy.
        seed: of what is drawn.

    Raises:
        UnknownNameError: no such fault.
        LocationError: the directory holds something else.
    """
    require_fault(fault)
    records = dataset.accepted()
    world = _World(records, lambda record: dataset.read(record.case_id), real, np.random.default_rng(seed))
    copy = Dataset.create(out, dataset.spec.model_copy(update={"prompts": dataset.spec.prompts | {"fault": fault}}))
    there = {record.case_id for record in copy.accepted()}
    for record, read in FAULTS[fault](world):
        if record.case_id not in there:
            copy.save(record, read())
    return copy


def require_fault(fault: str) -> None:
    """Make sure that there is such a fault.

    Raises:
        UnknownNameError: listing those that there are.
    """
    if fault not in FAULTS:
        raise UnknownNameError("fault", got=repr(fault), need=f"one of {', '.join(FAULTS)}", do="Choose one.")


def _arrays(change: Callable[[Arrays, np.random.Generator], Arrays]) -> Fault:
    """A fault of the arrays of each case by itself."""

    def planted(world: _World) -> list[_Planted]:
        def changed(record: CaseRecord, seed: int) -> Arrays:
            return change(world.read(record), np.random.default_rng(seed))

        seeds = world.rng.integers(0, 2**32, len(world.records)).tolist()
        return [(record, partial(changed, record, seed)) for record, seed in zip(world.records, seeds, strict=True)]

    return planted


def _shuffled(world: _World) -> list[_Planted]:
    """Each case gets the prompt of the next in a random order, and what was drawn for it."""
    order = world.rng.permutation(len(world.records))
    planted: list[_Planted] = []
    for place, number in enumerate(order):
        record, other = world.records[number], world.records[order[place - 1]]
        fields = ("prompt_id", "prompt_json", "prompt_text", "requested", "drawn")
        taken = record.model_copy(update={name: getattr(other, name) for name in fields})
        planted.append((taken, partial(world.read, record)))
    return planted


def _lost(world: _World) -> list[_Planted]:
    """Every third case with lesions loses them from its masks."""
    lost = {record.case_id for record in [record for record in world.records if record.lesions][::3]}

    def read(record: CaseRecord) -> Arrays:
        arrays = world.read(record)
        return replace(arrays, lesions=np.zeros_like(arrays.lesions)) if record.case_id in lost else arrays

    return [(record, partial(read, record)) for record in world.records]


def _repeated(world: _World) -> list[_Planted]:
    """The second half of the cases repeats the first, under names of its own."""
    half = len(world.records) // 2
    first, second = world.records[: len(world.records) - half], world.records[len(world.records) - half :]
    pairs = [(record, record) for record in first] + list(zip(second, first, strict=False))
    return [(_named(record, source), partial(world.read, source)) for record, source in pairs]


def _collapsed(world: _World) -> list[_Planted]:
    """Every case is one of the first few, as of a generator that has forgotten the others."""
    few = world.records[: max(1, round(len(world.records) * FEW))]
    pairs = [(record, few[number % len(few)]) for number, record in enumerate(world.records)]
    return [(_named(record, source), partial(world.read, source)) for record, source in pairs]


def _copied(world: _World) -> list[_Planted]:
    """Half of the cases are real ones."""
    real = world.real.accepted()
    planted: list[_Planted] = []
    for number, record in enumerate(world.records):
        source = real[number // 2 % len(real)]
        if number % 2:
            planted.append((record, partial(world.read, record)))
        else:
            planted.append((_named(record, source), partial(world.real.read, source.case_id)))
    return planted


def _named(record: CaseRecord, source: CaseRecord) -> CaseRecord:
    """A source's case under the name and number of a record."""
    return source.model_copy(update={"case_id": record.case_id, "index": record.index})


def _shift_masks(arrays: Arrays, _: np.random.Generator) -> Arrays:
    steps = max(1, round(SHIFT_MM / arrays.grid.spacing_mm_zyx[2]))
    return replace(arrays, anatomy=_shifted(arrays.anatomy, steps), lesions=_shifted(arrays.lesions, steps))


def _shifted(array: Shaped[np.ndarray, "z y x"], steps: int) -> Shaped[np.ndarray, "z y x"]:
    """Move along x to the patient's left; what comes in is 0."""
    moved = np.zeros_like(array)
    moved[:, :, steps:] = array[:, :, :-steps]
    return moved


def _mirror_masks(arrays: Arrays, _: np.random.Generator) -> Arrays:
    return replace(arrays, anatomy=_mirrored(arrays.anatomy), lesions=_mirrored(arrays.lesions))


def _mirror_case(arrays: Arrays, rng: np.random.Generator) -> Arrays:
    return replace(_mirror_masks(arrays, rng), ct=_mirrored(arrays.ct))


def _mirrored(array: Shaped[np.ndarray, "z y x"]) -> Shaped[np.ndarray, "z y x"]:
    mirrored: Shaped[np.ndarray, "z y x"] = np.ascontiguousarray(array[:, :, ::-1])
    return mirrored


def _offset(arrays: Arrays, _: np.random.Generator) -> Arrays:
    return replace(arrays, ct=_hu(arrays.ct.astype(np.float64) + OFFSET_HU))


def _blur(arrays: Arrays, _: np.random.Generator) -> Arrays:
    return replace(arrays, ct=_hu(gaussian_filter(arrays.ct.astype(np.float64), BLUR_VOXELS)))


def _jumbled(arrays: Arrays, rng: np.random.Generator) -> Arrays:
    """Each slice has a level of its own, as where slices are generated one by one."""
    levels = SLICE_HU * rng.standard_normal((len(arrays.ct), 1, 1))
    return replace(arrays, ct=_hu(arrays.ct + np.where(arrays.ct > -900, levels, 0.0)))


def _smaller(arrays: Arrays, _: np.random.Generator) -> Arrays:
    grid = arrays.grid
    z, y, x = (SMALLER * mm for mm in grid.spacing_mm_zyx)
    return replace(arrays, grid=Grid(grid.shape_zyx, (z, y, x), grid.origin_mm_xyz))


def _hu(values: Shaped[np.ndarray, "z y x"]) -> Int16[np.ndarray, "z y x"]:
    rounded: Int16[np.ndarray, "z y x"] = np.rint(values).clip(HU_MIN, HU_MAX).astype(np.int16)
    return rounded


FAULTS: Mapping[str, Fault] = MappingProxyType(
    {
        "prompts shuffled": _shuffled,
        "lesions lost": _lost,
        "masks shifted": _arrays(_shift_masks),
        "masks mirrored": _arrays(_mirror_masks),
        "cases mirrored": _arrays(_mirror_case),
        "HU offset": _arrays(_offset),
        "CT blurred": _arrays(_blur),
        "slices jumbled": _arrays(_jumbled),
        "bodies smaller": _arrays(_smaller),
        "cases repeated": _repeated,
        "few cases": _collapsed,
        "real copied": _copied,
    }
)
"""Faults by name, in the order of the table."""
