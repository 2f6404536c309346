"""The table of measures and planted faults: which measure would have told of which fault.

Every measure is taken of the good dataset and of each faulty copy, against the same real dataset. `EXPECTED` says what
each fault must move and where to. That is asked of every run; whether the value also leaves the interval of the good dataset
depends on the number of cases.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from downstream.alignment import align
from downstream.alignment_summary import summarise
from downstream.attributes import AttributeReader
from downstream.faults import FAULTS, plant, require_fault
from downstream.fidelity.comparison import FidelityOptions, Taking, chosen_cases, chosen_spacing_mm
from downstream.fidelity.measures import measure
from downstream.fidelity.portrait import Portrait
from downstream.image_mask import compare_masks, summarise_masks
from downstream.segmenter import Segmenter
from manifests.dataset import Dataset
from manifests.schemes import scheme

__all__ = ["CLEAN", "EXPECTED", "Bench", "Cell", "FaultTable", "fault_table"]

CLEAN = "as it is"

EXPECTED: Mapping[str, Mapping[str, int]] = MappingProxyType(
    {
        "prompts shuffled": {"position": -1, "count": -1, "image_prompt_sex": -1, "image_prompt_contrast_phase": -1},
        "lesions lost": {"position": -1, "count": -1, "missing": 1},
        "masks shifted": {"image_mask_dice": -1, "hu_wasserstein": 1, "radiomic_frechet_firstorder": 1},
        "masks mirrored": {"position": -1, "image_mask_dice": -1, "hu_wasserstein": 1},
        "cases mirrored": {"position": -1, "image_mask_dice": -1},
        "HU offset": {"hu_wasserstein": 1, "radiomic_frechet_firstorder": 1},
        "CT blurred": {"noise_hu": -1, "image_spectrum": 1, "noise_spectrum": 1, "radiomic_frechet_glcm": 1},
        "slices jumbled": {"z_step_ratio": 1, "hu_wasserstein": 1},
        "bodies smaller": {"volume_wasserstein": 1, "radiomic_frechet_shape": 1},
        "cases repeated": {"duplicates": 1},
        "few cases": {"duplicates": 1, "ms_ssim": 1},
        "real copied": {"copies": 1, "authenticity": -1},
    }
)
"""By fault, the direction in which it must move a measure."""


@dataclass(frozen=True, slots=True)
class Cell:
    """A measure of one dataset: its value and interval, means over structures where it has several."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class FaultTable:
    """Cells by dataset (`CLEAN` or a fault) and measure."""

    cells: Mapping[str, Mapping[str, Cell]]

    def moved(self, fault: str, name: str) -> int:
        """1 or -1 where a fault moved a measure out of the interval of the good dataset, else 0."""
        clean, cell = self.cells[CLEAN][name], self.cells[fault][name]
        return int(cell.value > clean.high) - int(cell.value < clean.low)

    def failures(self) -> list[str]:
        """Expected movements that went the other way or nowhere, among the measures that were taken."""
        return [self._line(fault, name) for fault, name, sign in self._expected() if self._way(fault, name) != sign]

    def hidden(self) -> list[str]:
        """Expected movements the right way that stayed within the interval of the good dataset."""
        moves = [move for move in self._expected() if self._way(*move[:2]) == move[2]]
        return [self._line(fault, name) for fault, name, _ in moves if not self.moved(fault, name)]

    def expects(self, fault: str, name: str) -> bool:
        """Whether a fault must move a measure."""
        return name.removesuffix("_shrunk") in EXPECTED.get(fault, {})

    def _expected(self) -> list[tuple[str, str, int]]:
        return [
            (fault, name, EXPECTED[fault][name.removesuffix("_shrunk")])
            for fault, row in self.cells.items()
            for name in row
            if fault != CLEAN and self.expects(fault, name)
        ]

    def _way(self, fault: str, name: str) -> int:
        return int(np.sign(self.cells[fault][name].value - self.cells[CLEAN][name].value))

    def _line(self, fault: str, name: str) -> str:
        return f"{fault}: {name} {self.cells[fault][name].value:.3g}, as it is {self.cells[CLEAN][name].value:.3g}"

    def to_json(self) -> dict[str, Any]:
        """Plain data, NaN as None."""

        def number(value: float) -> float | None:
            return value if value == value else None

        return {
            "cells": {
                fault: {
                    name: {"value": number(cell.value), "low": number(cell.low), "high": number(cell.high)}
                    for name, cell in row.items()
                }
                for fault, row in self.cells.items()
            },
            "failures": self.failures(),
            "hidden": self.hidden(),
        }


@dataclass(frozen=True, slots=True)
class Bench:
    """What the measures of a fault table need.

    Attributes:
        real: the reference.
        options: of the fidelity measures.
        segmenter: for image-mask alignment; None leaves it out.
        reader: attribute classifier for image-prompt alignment; None leaves it out.
    """

    real: Dataset
    options: FidelityOptions
    segmenter: Segmenter | None = None
    reader: AttributeReader | None = None


def fault_table(
    dataset: Dataset,
    bench: Bench,
    out: Path,
    faults: Sequence[str] = tuple(FAULTS),
    done: Callable[[str], object] = str,
) -> FaultTable:
    """Plant faults and take all measures.

    Args:
        dataset: a good dataset of generated cases.
        bench: reference, options and networks.
        out: folder for the faulty copies.
        faults: keys of `FAULTS`.
        done: called with the name of each dataset that is finished.

    Raises:
        UnknownNameError: no such fault, structure or scheme.
        InvalidValueError: too few cases.
    """
    for fault in faults:
        require_fault(fault)
    records = [chosen_cases(each, bench.options.cases) for each in (bench.real, dataset)]
    spacing_mm = chosen_spacing_mm(bench.options.spacing_mm, records)
    taking = Taking(scheme(bench.options.scheme), spacing_mm, bench.options.structures)
    real = taking.portraits(bench.real, records[0])
    cells = {}
    for name in (CLEAN, *faults):
        judged = dataset if name == CLEAN else plant(dataset, name, bench.real, out / name.replace(" ", "-"))
        cells[name] = _alignment(judged, bench) | _fidelity(judged, bench, taking, real)
        done(name)
    return FaultTable(cells)


def _alignment(dataset: Dataset, bench: Bench) -> dict[str, Cell]:
    summary = summarise(list(align(dataset)))
    missing = [group.missing for name, group in summary.breakdown.items() if name.startswith("organ=")]
    lost = sum(rate.value * rate.n for rate in missing) / max(sum(rate.n for rate in missing), 1)
    found = {
        "position": Cell(summary.position.value, summary.position.low, summary.position.high),
        "count": Cell(summary.count.value, summary.count.low, summary.count.high),
        "missing": Cell(lost, lost, lost),
        "size_error_mm": Cell(summary.size_error_mm.mean, summary.size_error_mm.low, summary.size_error_mm.high),
    }
    if bench.segmenter is not None:
        mean = summarise_masks(list(compare_masks(dataset, bench.segmenter)), bench.segmenter, seed=0).mean
        found["image_mask_dice"] = Cell(mean.mean, mean.low, mean.high)
    if bench.reader is not None:
        for score in bench.reader.read(dataset):
            accuracy = score.accuracy
            found[f"image_prompt_{score.attribute}"] = Cell(accuracy.mean, accuracy.low, accuracy.high)
    return found


def _fidelity(dataset: Dataset, bench: Bench, taking: Taking, real: Sequence[Portrait]) -> dict[str, Cell]:
    judged = taking.portraits(dataset, chosen_cases(dataset, bench.options.cases))
    rows = measure(real, judged, taking.names, bench.options.draws, shrink=bench.options.shrink)
    names = dict.fromkeys(row.measure for row in rows)
    cells = {name: [row for row in rows if row.measure == name and row.value == row.value] for name in names}
    return {
        name: Cell(*(float(np.mean([getattr(row, bound) for row in several])) for bound in ("value", "low", "high")))
        for name, several in cells.items()
        if several
    }
