"""A `torch.utils.data.Dataset` of random patches straight from the store, for training without an export.

Each index draws its patch from (seed, index) alone: the same patch whatever the number of workers, their
start method or their order. Cases take turns: n indices in a row see each of n cases once. A share of the
patches holds a voxel of a wanted label; where such voxels lie is found once a process and case, from label
maps alone. Everything else reads only the chunks that a patch touches.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Int64, UInt8

from manifests.case import CaseRecord
from manifests.dataset import Dataset
from manifests.errors import InvalidValueError, UnknownNameError
from manifests.geometry import HU_MIN
from manifests.identity import rng
from manifests.region import Box, StoredArray
from manifests.schemes import Scheme, paint, scheme
from manifests.store import LAYERS, LayerName

__all__ = ["PatchDataset", "PatchOptions"]

_POSITIONS_KEPT = 512
"""Voxels of a label remembered for a case: enough that patches differ, few enough for thousands of cases."""


@dataclass(frozen=True, slots=True)
class PatchOptions:
    """Which patches to draw.

    Attributes:
        patch_zyx: voxels of a patch; where a case is smaller, air and background surround it.
        scheme: label scheme to paint.
        samples: patches in an epoch.
        seed: of all draws.
        foreground: share of patches that hold a voxel of a wanted label, 0 to 1.
        wanted: names of these labels; by default all of the scheme.
    """

    patch_zyx: tuple[int, int, int]
    scheme: str
    samples: int
    seed: int = 0
    foreground: float = 1 / 3
    wanted: tuple[str, ...] = ()


class PatchDataset(torch.utils.data.Dataset[dict[str, Any]]):  # type: ignore[misc]  # torch is not followed
    """Random patches of the accepted cases of a dataset.

    An item is a dict: `image` int16 HU and `label` uint8, both (1, z, y, x), `case_id`, and `start_zyx`, the
    voxel of the case at the patch's first, which is negative where padding precedes the case.
    """

    def __init__(self, dataset: Dataset, options: PatchOptions, cases: Sequence[str] | None = None) -> None:
        """Open the dataset.

        Args:
            dataset: the store.
            options: which patches to draw.
            cases: case ids to draw from, e.g. the training side of a fold; all by default.

        Raises:
            InvalidValueError: if an option is out of range or no case is left.
            UnknownNameError: for an unknown scheme, label or case.
        """
        self.options = _checked(options)
        self.scheme = scheme(options.scheme)
        self.values = _wanted_values(self.scheme, options.wanted)
        records = {record.case_id: record for record in dataset.accepted()}
        chosen = list(records) if cases is None else list(cases)
        if unknown := [case for case in chosen if case not in records]:
            raise UnknownNameError(
                "cases", got=unknown[0], need="accepted cases of the dataset", do="Choose among its case ids."
            )
        if not chosen:
            raise InvalidValueError(str(dataset.root), got="no case", need="at least one", do="Build it first.")
        self.records = [records[case] for case in chosen]
        self._paths = {case: dataset.case_path(records[case]) for case in chosen}
        self._arrays: dict[tuple[str, LayerName], StoredArray] = {}
        self._found: dict[str, list[Int64[np.ndarray, "n 3"]]] = {}
        self._first = 0

    def __len__(self) -> int:
        """Patches in an epoch."""
        return self.options.samples

    def epoch(self, number: int) -> "PatchDataset":
        """The same dataset with the patches of another epoch; epoch 0 is this one."""
        other = copy.copy(self)
        other._first = number * self.options.samples
        return other

    def __getitem__(self, index: int) -> dict[str, Any]:
        """The patch of an index.

        Raises:
            IndexError: past the end of the epoch.
            CorruptDatasetError: if stored bytes are missing or damaged.
        """
        if not 0 <= index < len(self):
            raise IndexError(index)
        record = self._case(self._first + index)
        start = self._start(record, rng(f"patch {self.options.seed}", str(self._first + index)))
        ct = self._read(record, "ct", start)
        anatomy, lesions = (self._read(record, layer, start) for layer in ("anatomy", "lesions"))
        label = paint(anatomy, lesions, record.lesions, self.scheme)
        return {
            "image": torch.from_numpy(ct[None]),
            "label": torch.from_numpy(label[None]),
            "case_id": record.case_id,
            "start_zyx": torch.tensor(start),
        }

    def _case(self, number: int) -> CaseRecord:
        turn, position = divmod(number, len(self.records))
        order = rng(f"order {self.options.seed}", str(turn)).permutation(len(self.records))
        return self.records[int(order[position])]

    def _start(self, record: CaseRecord, draw: np.random.Generator) -> list[int]:
        """First voxel of a patch: anywhere inside, or such that a drawn voxel of a wanted label is in it."""
        shape, patch = np.array(record.grid().shape_zyx), np.array(self.options.patch_zyx)
        low, high = np.minimum(0, shape - patch), np.maximum(0, shape - patch)
        start = draw.integers(low, high + 1)
        if draw.random() < self.options.foreground and (found := self._foreground(record)):
            positions = found[draw.integers(len(found))]
            start = np.clip(positions[draw.integers(len(positions))] - draw.integers(0, patch), low, high)
        return [int(value) for value in start]

    def _foreground(self, record: CaseRecord) -> list[Int64[np.ndarray, "n 3"]]:
        """Positions of the wanted labels that the case holds, a fixed draw of them for each."""
        if record.case_id not in self._found:
            label = self._whole_label(record)
            draw = rng(record.case_id, "foreground")
            places = (np.flatnonzero(label == value) for value in self.values)
            kept = [
                draw.choice(place, min(place.size, _POSITIONS_KEPT), replace=False) for place in places if place.size
            ]
            self._found[record.case_id] = [np.stack(np.unravel_index(flat, label.shape), 1) for flat in kept]
        return self._found[record.case_id]

    def _whole_label(self, record: CaseRecord) -> UInt8[np.ndarray, "z y x"]:
        """The painted label map; the anatomy is left unread where no wanted label comes from it."""
        shape = record.grid().shape_zyx
        whole: Box = ((0, shape[0]), (0, shape[1]), (0, shape[2]))
        lesions = self._array(record, "lesions").read(whole)
        from_anatomy = any(label.sources for label in self.scheme.definitions if label.value in self.values)
        anatomy = self._array(record, "anatomy").read(whole) if from_anatomy else np.zeros_like(lesions)
        return paint(anatomy, lesions, record.lesions, self.scheme)

    def _read(self, record: CaseRecord, layer: LayerName, start: Sequence[int]) -> np.ndarray:
        """A patch of one layer, with background where it leaves the case."""
        stop = [first + size for first, size in zip(start, self.options.patch_zyx, strict=True)]
        inside = [
            (max(0, first), min(last, size))
            for first, last, size in zip(start, stop, record.grid().shape_zyx, strict=True)
        ]
        voxels = self._array(record, layer).read((inside[0], inside[1], inside[2]))
        around = [(low - first, last - high) for first, last, (low, high) in zip(start, stop, inside, strict=True)]
        if any(before or after for before, after in around):
            voxels = np.pad(voxels, around, constant_values=HU_MIN if layer == "ct" else 0)
        return voxels

    def _array(self, record: CaseRecord, layer: LayerName) -> StoredArray:
        key = (record.case_id, layer)
        if key not in self._arrays:
            place = LAYERS[layer].path
            stored = f"{place}/c/0/0/0" in record.stored_blake3
            self._arrays[key] = StoredArray.open(self._paths[record.case_id] / place, stored=stored)
        return self._arrays[key]


def _checked(options: PatchOptions) -> PatchOptions:
    checks = (
        ("patch_zyx", options.patch_zyx, len(options.patch_zyx) == 3 and min(options.patch_zyx) > 0, "three sizes"),
        ("samples", options.samples, options.samples > 0, "1 or more"),
        ("foreground", options.foreground, 0 <= options.foreground <= 1, "a share from 0 to 1"),
    )
    for what, got, good, need in checks:
        if not good:
            raise InvalidValueError(what, got=str(got), need=need, do="Choose another.")
    return options


def _wanted_values(scheme: Scheme, wanted: Sequence[str]) -> list[int]:
    labels = {name: value for name, value in scheme.labels.items() if value}
    if unknown := sorted(set(wanted) - set(labels)):
        raise UnknownNameError(
            "wanted",
            got=", ".join(unknown),
            need=f"labels of {scheme.name}: {', '.join(labels)}",
            do="Choose of these.",
        )
    return [labels[name] for name in wanted] or list(labels.values())
