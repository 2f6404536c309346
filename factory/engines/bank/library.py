"""The voxels of a bank: sources read, made ready for drawing, and kept for as long as memory allows."""

from collections import OrderedDict
from dataclasses import dataclass

import numpy as np
from jaxtyping import Shaped, UInt8
from scipy import ndimage

from factory.engines.bank.outline import coarse, outline_from_ct, outline_from_labels
from factory.engines.bank.placing import Placement, centred, place
from factory.engines.bank.resampling import LabelMap
from factory.engines.bank.sources import DIVIDED, GROUND, Source
from manifests.anatomy import structure
from manifests.case import CaseRecord
from manifests.dataset import Dataset
from manifests.errors import CorruptDatasetError
from manifests.geometry import HU_MIN
from manifests.identity import array_blake3
from manifests.store import LayerName, open_layer

__all__ = ["Atlas", "Library"]

_KEPT_VOXELS = 120_000_000
_PLACING_MM = 3.0
_DETAIL = 0.6
"""Voxels of a source are thinned to this share of the wanted spacing: finer detail would be lost anyway."""


@dataclass(frozen=True)
class Atlas:
    """One source ready for drawing.

    Attributes:
        source: what its record says.
        organs: its labels.
        ground: what lies between them, coarse; None where the source labels it or it is sparse
            and has no CT.
        placement: where it lies in the torso frame.
    """

    source: Source
    organs: LabelMap
    ground: LabelMap | None
    placement: Placement


class Library:
    """Reads sources of one bank."""

    def __init__(self, dataset: Dataset) -> None:
        self._dataset = dataset
        self._kept: OrderedDict[tuple[str, float], Atlas] = OrderedDict()

    def atlas(self, source: Source, spacing_mm: float) -> Atlas:
        """A source at a resolution that serves a grid of some spacing.

        Raises:
            CorruptDatasetError: if the stored voxels are not those of the record.
            InvalidValueError: if nothing in it tells where the scan lies.
        """
        key = (source.case_id, spacing_mm)
        if key not in self._kept:
            self._kept[key] = self._read(source, spacing_mm)
        self._kept.move_to_end(key)
        while len(self._kept) > 1 and sum(a.organs.labels.size for a in self._kept.values()) > _KEPT_VOXELS:
            self._kept.popitem(last=False)
        return self._kept[key]

    def _read(self, source: Source, spacing_mm: float) -> Atlas:
        record = self._dataset.record(source.case_id)
        labels, grid = self._layer(record, "anatomy"), record.grid()
        thin = _divided(coarse(labels, grid, _PLACING_MM))
        placement = place(thin.labels, thin.grid, source.case_id)
        organs = _divided(coarse(labels, grid, _DETAIL * spacing_mm))
        ground = self._ground(record, labels, source)
        if ground and not placement.measured:
            placement = centred(placement, ground.labels, ground.grid)
        return Atlas(source, organs, ground, placement)

    def glimpse(self, source: Source) -> tuple[LabelMap, Placement]:
        """A source on voxels of about 3 mm, without what lies between its organs; raises as `atlas`."""
        record = self._dataset.record(source.case_id)
        thin = _divided(coarse(self._layer(record, "anatomy"), record.grid(), _PLACING_MM))
        return thin, place(thin.labels, thin.grid, source.case_id)

    def _ground(self, record: CaseRecord, labels: UInt8[np.ndarray, "z y x"], source: Source) -> LabelMap | None:
        if GROUND & set(source.volumes_ml):
            return None
        ct = self._layer(record, "ct")
        if int(ct.max()) > HU_MIN:
            return outline_from_ct(ct, labels, record.grid(), whole=source.whole)
        return outline_from_labels(labels, record.grid()) if source.whole else None

    def _layer(self, record: CaseRecord, name: LayerName) -> Shaped[np.ndarray, "z y x"]:
        """Read a volume; the identity of a bank rests on its hash, so it must have it."""
        array = np.asarray(open_layer(self._dataset.case_path(record), name)[...])
        if array_blake3(array) == getattr(record, f"{name}_blake3"):
            return array
        raise CorruptDatasetError(
            f"bank, case {record.case_id}",
            got=f"{name} that differs from its hash",
            need="the voxels of the record",
            do="Run `factory check` on the bank and restore the case.",
        )


def _divided(whole: LabelMap) -> LabelMap:
    """Part undivided kidneys and adrenal glands: what lies left of the middle of all labels is left."""
    labels = whole.labels
    for name, parts in DIVIDED.items():
        mask = labels == structure(name).id
        if mask.any():
            labels = labels.copy() if labels is whole.labels else labels
            _divide(labels, mask, (structure(parts[0]).id, structure(parts[1]).id))
    return LabelMap(labels, whole.grid)


def _divide(labels: UInt8[np.ndarray, "z y x"], mask: np.ndarray, ids: tuple[int, int]) -> None:
    """Give each connected part of a mask the id of its side."""
    columns = np.flatnonzero((labels > 0).any(axis=(0, 1)))
    middle = (columns[0] + columns[-1]) / 2
    parts, count = ndimage.label(mask, np.ones((3, 3, 3)))
    for number, centre in enumerate(ndimage.center_of_mass(mask, parts, range(1, count + 1)), 1):
        labels[parts == number] = ids[0] if centre[2] > middle else ids[1]
