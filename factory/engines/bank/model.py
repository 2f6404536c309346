"""The mask model `bank`: choose a source, deform it, edit it to fit the prompt, place the lesions."""

import logging
from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import Float64, UInt8

from factory.engines.bank.choosing import choose, unlabelled
from factory.engines.bank.editing import remove, resize, tidy
from factory.engines.bank.fitting import draw_warp, fit
from factory.engines.bank.library import Library
from factory.engines.bank.normal import cut_ids, remnants, wanted_ml
from factory.engines.bank.outline import coarse
from factory.engines.bank.placing import Placement, place
from factory.engines.bank.resemblance import LATTICE, alike, canonical, log_volumes, organ_dice
from factory.engines.bank.sources import Source, open_sources
from factory.engines.bank.surrounding import BACKGROUND, surround
from factory.engines.base import MaskModel, Masks, Request
from factory.engines.lesions import lesion_notes, place_lesions
from manifests.anatomy import SEX_ORGANS, group, structures
from manifests.errors import InvalidValueError
from manifests.geometry import Grid
from prompts.schema import Prompt

__all__ = ["Bank"]

_log = logging.getLogger(__name__)

_COMPARED = 4
"""Sources with which a case is compared, the chosen one aside: those most alike in organ volumes."""
_COMPARING_MM = 4.0
_PASSES = 3
_LEAST_SEEN = 0.4
"""Share of the grid's slices below which a source is passed over, whatever was expected of it."""


class Bank(MaskModel):
    """Draws from the label maps of a dataset, real or synthetic; see `docs/bank.md`.

    Args:
        dataset: directory of the dataset; its records are read at once, its arrays when needed.

    Raises:
        InvalidValueError: without a dataset, or if it shows no organs.
        LocationError: if there is no dataset.
        CorruptDatasetError: if a record was edited.
    """

    def __init__(self, dataset: str = "") -> None:
        if not dataset:
            raise InvalidValueError(
                "mask model bank",
                got="no dataset",
                need="bank:DATASET",
                do="Name the dataset to draw from: --masks bank:DATASET.",
            )
        self._path = dataset
        self._dataset, self._sources, content = open_sources(Path(dataset))
        self.unlabelled = unlabelled(self._sources)
        background = BACKGROUND.identity
        self.identity: Mapping[str, str] = {
            "name": "bank",
            "version": "5",
            "bank": content,
            "sources": "real" if self._dataset.spec.from_patients else "synthetic",
            "background": f"{background['name']} {background['version']}",
        }

    def __reduce__(self) -> tuple[type["Bank"], tuple[str]]:
        """Travel as a path: the process that draws reads the bank itself."""
        return type(self), (self._path,)

    @cached_property
    def _library(self) -> Library:
        return Library(self._dataset)

    @cached_property
    def _volumes(self) -> Float64[np.ndarray, "n 256"]:
        return log_volumes(self._sources)

    @cached_property
    def _seen(self) -> dict[str, UInt8[np.ndarray, "z y x"]]:
        """Sources on the lattice of comparison, by case id."""
        return {}

    def draw(self, request: Request) -> Masks:
        """Draw the masks of one case.

        Raises:
            InvalidValueError: if no source can satisfy the prompt.
            CorruptDatasetError: if the voxels of the chosen source are not those of its record.
        """
        source, drawn, seen = self._body(request)
        drawn = _edited(drawn, request.grid, request.subject)
        anatomy, lesions, records = place_lesions(drawn, request)
        notes = {
            "source_case": source.case_id,
            "coverage": f"{seen:.2f}",
            **self._resemblance(drawn, request.grid, source),
            **lesion_notes(records),
        }
        return Masks(anatomy, lesions, records, notes, source.patient_id, source.licence)

    def _body(self, request: Request) -> tuple[Source, UInt8[np.ndarray, "z y x"], float]:
        """The first source, in the order of the draw, that can be placed and shows enough of the grid."""
        chance, shape = request.rng("bank/source"), request.rng("bank/warp")
        left = list(self._sources)
        while True:
            source = choose(left, request.subject, self.unlabelled, chance)
            left.remove(source)
            try:
                atlas = self._library.atlas(source, min(request.grid.spacing_mm_zyx))
            except InvalidValueError as error:
                _log.warning("passed over: %s", error)
                continue
            base = fit(atlas.placement, source, request.subject.patient)
            drawn, seen = surround(atlas, draw_warp(base, shape), request)
            if seen >= _LEAST_SEEN:
                return source, drawn, seen
            _log.info("source %s passed over: it shows %.0f %% of the grid", source.case_id, 100 * seen)

    def _resemblance(self, drawn: UInt8[np.ndarray, "z y x"], grid: Grid, source: Source) -> dict[str, str]:
        """Dice with the chosen source, and the highest over the sources most alike."""
        small = coarse(drawn, grid, _COMPARING_MM)
        try:
            placement = place(small.labels, small.grid, "drawn")
        except InvalidValueError:  # nothing whole in view: compare where it was drawn
            placement = Placement((1.0, 1.0, 1.0), (0.0, 0.0, 0.0), measured=False)
        aligned = canonical(small, placement)
        sizes = np.bincount(drawn.ravel(), minlength=256) * grid.voxel_volume_ml
        near = [self._sources[row] for row in alike(sizes, self._volumes, _COMPARED + 1)]
        others = [one for one in near if one is not source][:_COMPARED]
        dice = {one.case_id: organ_dice(self._aligned(one), aligned) for one in (source, *others)}
        nearest = max(dice, key=lambda name: dice[name])
        return {
            "source_dice": f"{dice[source.case_id]:.3f}",
            "nearest_case": nearest,
            "nearest_dice": f"{dice[nearest]:.3f}",
        }

    def _aligned(self, source: Source) -> UInt8[np.ndarray, "z y x"]:
        if source.case_id not in self._seen:
            try:
                self._seen[source.case_id] = canonical(*self._library.glimpse(source))
            except InvalidValueError:  # it cannot be placed, and so was never drawn from
                self._seen[source.case_id] = np.zeros(LATTICE.shape_zyx, np.uint8)
        return self._seen[source.case_id]


def _edited(anatomy: UInt8[np.ndarray, "z y x"], grid: Grid, subject: Prompt) -> UInt8[np.ndarray, "z y x"]:
    """The anatomy without what the patient lacks, every organ within its range, enlarged ones above it."""
    others = {organ for sex, organ in SEX_ORGANS.items() if sex != subject.patient.sex}
    remove(anatomy, _members(subject.absent_organs) | others)
    remove(anatomy, remnants(anatomy, grid, subject.patient))
    tidy(anatomy)
    enlarged = _members(subject.enlarged_organs)
    for _ in range(_PASSES):  # resizing one organ squeezes the next
        sizes = np.bincount(anatomy.ravel(), minlength=256) * grid.voxel_volume_ml
        cut = cut_ids(anatomy)
        wrong = {}
        for entry in structures():
            here, asked = float(sizes[entry.id]), entry.name in enlarged
            wanted = wanted_ml(entry, subject.patient, here, enlarged=asked)
            if here and wanted != here and (asked or not cut[entry.id]):
                wrong[entry.name] = wanted
        for name, wanted in wrong.items():
            anatomy = resize(anatomy, grid, name, wanted)
        if not wrong:
            break
        tidy(anatomy)
    return anatomy


def _members(names: Iterable[str]) -> set[str]:
    return {entry.name for name in names for entry in group(name)}
