"""What is measured of an arm: its masks against the prompts, its images against masks, prompts and real ones, its autoencoder.

All arms draw for the same prompts, so cases of different arms are compared in pairs: rows are named by the prompt's number. Everything that
an arm drew counts, also what the gate would have refused.
"""

import csv
import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from downstream.ablation.arms import ARMS, FULL
from downstream.ablation.plan import Inputs
from downstream.alignment import align, tidy
from downstream.attributes import AttributeReader
from downstream.fidelity.comparison import FidelityOptions, compare
from downstream.fidelity.measures import FEWEST_CASES
from downstream.fidelity.samples import Draws
from downstream.image_mask import compare_masks, tidy_masks
from downstream.ledger import writing
from downstream.results import Result, Results
from downstream.segmenter import Segmenter
from manifests.dataset import Dataset
from manifests.durable import replace as replace_file

__all__ = ["SETS", "Measured", "Measuring", "measured"]

SETS = ("hu_wasserstein/lungs", "hu_wasserstein/liver", "hu_wasserstein/vertebrae", "noise_spectrum/")
"""Measures of whole sets of images against the held-out ones, "measure/structure"; lower is better."""

_COLUMNS = ("measure", "value", "low", "high", "null", "p")


@dataclass(frozen=True)
class Measuring:
    """What is measured beside geometry.

    Attributes:
        segmenter: for image-mask DSC; None leaves it out.
        training: dataset that the attribute classifier of image-prompt accuracy is trained on; None leaves it out.
        resamples: of the measures of whole sets.
        seed: of intervals.
    """

    segmenter: Segmenter | None = None
    training: Dataset | None = None
    resamples: int = 200
    seed: int = 0

    @cached_property
    def reader(self) -> AttributeReader | None:
        """The classifier, trained when it is first needed."""
        return AttributeReader(self.training, self.seed) if self.training else None

    def facts(self) -> dict[str, Any]:
        """What decides the figures, as plain data."""
        segmenter = self.segmenter.card.name if self.segmenter else None
        return {
            "segmenter": segmenter,
            "attributes": self.training is not None,
            "resamples": self.resamples,
            "seed": self.seed,
        }


@dataclass(frozen=True, slots=True)
class Measured:
    """Values of one arm: of single cases, and of its whole set of images by measure."""

    cases: Results
    sets: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    def write(self, folder: Path, key: str) -> None:
        """Keep them; the key is written last."""
        stream = io.StringIO()
        table = csv.writer(stream, lineterminator="\n")
        table.writerows([_COLUMNS, *([name, *(row[c] for c in _COLUMNS[1:])] for name, row in self.sets.items())])
        self.cases.write(folder / "cases.csv")
        with writing(folder):
            replace_file(folder / "sets.csv", stream.getvalue().encode())
            replace_file(folder / "key", key.encode())

    @classmethod
    def read(cls, folder: Path, key: str) -> "Measured | None":
        """What was kept under a key, else None."""
        if not (folder / "key").is_file() or (folder / "key").read_text(encoding="utf-8") != key:
            return None
        with (folder / "sets.csv").open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        sets = {row["measure"]: {name: float(row[name]) for name in _COLUMNS[1:]} for row in rows}
        return cls(Results.read(folder / "cases.csv"), sets)


def measured(name: str, inputs: Inputs, out: Path, measuring: Measuring) -> Measured:
    """Measure an arm from what its steps left in the work folder; what it shares with the full arm is left out."""
    arm = ARMS[name]
    rows: list[Result] = []
    if arm.draws_masks:
        dataset = Dataset.open(out / "data" / f"{name}-masks")
        rows += _by_prompt(dataset, tidy(list(align(dataset)), name))
    if arm.autoencoder or name == FULL:
        rows += _errors(out / "errors" / f"{arm.run('autoencoder')}.json", name)
    if not arm.draws_images:
        return Measured(Results(rows))
    dataset = Dataset.open(out / "data" / f"{name}-images")
    rows += _by_prompt(dataset, list(_image_rows(dataset, name, measuring)))
    return Measured(Results(rows), _sets(inputs.held_out, dataset, measuring))


def _image_rows(dataset: Dataset, name: str, measuring: Measuring) -> Iterator[Result]:
    for record in dataset.accepted():
        yield Result(record.case_id, "", "image_passed_gate", float(not record.reasons), name)
    if measuring.segmenter is not None:
        yield from tidy_masks(compare_masks(dataset, measuring.segmenter), name)
    if measuring.reader is not None:
        for score in measuring.reader.read(dataset):
            for case_id, right in score.right.items():
                yield Result(case_id, score.attribute, "accuracy", float(right), name)


def _errors(path: Path, name: str) -> Iterator[Result]:
    for row in json.loads(path.read_text(encoding="utf-8")):
        for metric, value in row.items():
            if metric != "case_id" and value is not None:
                yield Result(row["case_id"], "", metric, value, name)


def _by_prompt(dataset: Dataset, rows: list[Result]) -> Iterator[Result]:
    """Rows named by the number of their prompt instead of their case, which differs between arms."""
    number = {record.case_id: record.index for record in dataset.accepted()}
    return (replace(row, case_id=f"prompt-{number[row.case_id]:05d}") for row in rows)


def _sets(real: Dataset, dataset: Dataset, measuring: Measuring) -> dict[str, dict[str, float]]:
    """Each measure of `SETS` that can be taken; empty with too few cases."""
    if min(len(real.accepted()), len(dataset.accepted())) < FEWEST_CASES:
        return {}
    structures = tuple(name for _, _, name in (one.partition("/") for one in SETS) if name)
    options = FidelityOptions(structures=structures, draws=Draws(measuring.resamples, measuring.seed))
    rows = {f"{row.measure}/{row.structure}": asdict(row) for row in compare(real, dataset, options).measurements}
    taken = {name: rows[name] for name in SETS if name in rows and rows[name]["value"] == rows[name]["value"]}
    return {name: {column: row[column] for column in _COLUMNS[1:]} for name, row in taken.items()}
