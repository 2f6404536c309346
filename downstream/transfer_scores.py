"""Scores of predictions, case by case, each kept in a file of its own so that none is computed twice.

A label is scored in a case only where its reference has voxels: references of real scans are partial, and what they leave
out may still be there. An organ that the end of the scan cuts is scored as it is.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from downstream.nnunet_process import Progress
from downstream.results import Result, Results
from downstream.surfaces import surface_scores
from manifests.case import Arrays
from manifests.dataset import Dataset
from manifests.nifti import read_labels
from manifests.schemes import Scheme, paint

__all__ = ["METRICS", "REAL", "SYNTHETIC", "Exclusion", "Scoring", "load_pair", "score_arms"]

REAL, SYNTHETIC = "real", "synthetic"
"""The two arms: the scans that decide, and held-out cases of the kind that was trained on."""

METRICS = ("dice", "nsd", "hd95_mm", "reference_ml", "predicted_ml")
"""What is kept of `surface_scores`, under its own names."""

Exclusion = tuple[str, str]
"""A case and a label that is not scored in it."""


@dataclass(frozen=True, slots=True)
class Scoring:
    """How to score.

    Attributes:
        scheme: what predictions and references are painted by.
        tolerance_mm: of the normalised surface distance.
        exclude: (case, label) pairs of the real arm to leave out.
    """

    scheme: Scheme
    tolerance_mm: float
    exclude: Sequence[Exclusion]


def score_arms(out: Path, targets: dict[str, dict[str, Any]], how: Scoring, on_progress: Progress) -> Results:
    """Score every predicted case of all arms.

    Args:
        out: work folder with `predictions/<arm>/<case>.nii.gz`; scores go to `scores/<arm>/<case>.csv`.
        targets: by arm, its `dataset` and the ids of its `cases`.
        how: labels and metrics.
        on_progress: called with "score", what is done and the total.
    """
    todo = [(arm, case) for arm, target in targets.items() for case in target["cases"]]
    rows: list[Result] = []
    for done, (arm, case) in enumerate(todo):
        on_progress("score", done, len(todo))
        path = out / "scores" / arm / f"{case}.csv"
        if not path.is_file():
            Results(_score(out, Dataset.open(targets[arm]["dataset"]), (arm, case), how)).write(path)
        rows += Results.read(path)
    on_progress("score", len(todo), len(todo))
    return Results(row for row in rows if row.arm != REAL or (row.case_id, row.structure) not in how.exclude)


def load_pair(
    out: Path, dataset: Dataset, arm: str, case: str, scheme: Scheme
) -> tuple[Arrays, UInt8[np.ndarray, "z y x"], UInt8[np.ndarray, "z y x"]]:
    """Arrays of a case, its predicted and its reference labels."""
    arrays, record = dataset.read(case), dataset.record(case)
    predicted, _ = read_labels(out / "predictions" / arm / f"{case}.nii.gz")
    reference = paint(arrays.anatomy, arrays.lesions, record.lesions, scheme)
    return arrays, predicted.astype(np.uint8), reference


def _score(out: Path, dataset: Dataset, place: tuple[str, str], how: Scoring) -> Iterator[Result]:
    arm, case = place
    arrays, predicted, reference = load_pair(out, dataset, arm, case, how.scheme)
    for name, value in how.scheme.labels.items():
        if not value or not (mask := reference == value).any():
            continue
        spacing = arrays.grid.spacing_mm_zyx
        scores = surface_scores(predicted == value, mask, spacing, tolerance_mm=how.tolerance_mm)
        for metric in METRICS:
            yield Result(case, name, metric, getattr(scores, metric), arm)
