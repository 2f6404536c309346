"""Scores of an extraction against a reference: precision, recall, F1, false fills and agreement by field."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from prompts.evaluation.comparison import FIELDS, HEADLINE, Slot, compare
from prompts.schema import Prompt

__all__ = ["Evaluation", "FieldScores", "Pair", "cohen_kappa", "evaluate"]

_RESAMPLES = 2000
_WEIGHTS = 1_000_000
"""Numbers of the bootstrap that are in memory at once."""
_UNSTATED = "unstated"


@dataclass(frozen=True, slots=True)
class Pair:
    """One report with its reference and what an extractor found in it."""

    report: str
    reference: Prompt
    found: Prompt


@dataclass(frozen=True, slots=True)
class FieldScores:
    """Counts of one field over all slots, and what follows from them; a ratio over nothing is None.

    Attributes:
        right: stated by both, and equal.
        wrong: stated by both, and different: an error of precision and of recall.
        missed: stated by the reference alone.
        false_fills: stated by the extraction alone.
        unstated: slots that the reference leaves unstated, false fills included.
        kappa: Cohen's kappa over the slots with "unstated" as a category.
    """

    right: int = 0
    wrong: int = 0
    missed: int = 0
    false_fills: int = 0
    unstated: int = 0
    kappa: float | None = None

    @property
    def support(self) -> int:
        """Values that the reference states."""
        return self.right + self.wrong + self.missed

    @property
    def precision(self) -> float | None:
        """Share of the found values that are right."""
        return _ratio(self.right, self.right + self.wrong + self.false_fills)

    @property
    def recall(self) -> float | None:
        """Share of the stated values that were found right."""
        return _ratio(self.right, self.support)

    @property
    def f1(self) -> float | None:
        """Harmonic mean of precision and recall."""
        return _ratio(2 * self.right, 2 * self.right + 2 * self.wrong + self.missed + self.false_fills)

    @property
    def false_fill_rate(self) -> float | None:
        """Share of the unstated slots that were filled."""
        return _ratio(self.false_fills, self.unstated)

    def as_dict(self) -> dict[str, Any]:
        """Ratios and counts, for JSON."""
        ratios = ("precision", "recall", "f1", "support", "false_fill_rate", "kappa")
        counts = ("right", "wrong", "missed", "false_fills", "unstated")
        return {name: getattr(self, name) for name in (*ratios, *counts)}


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Scores by field, and over the headline fields together with a 95 % bootstrap interval over reports."""

    reports: int
    fields: dict[str, FieldScores]
    headline: FieldScores
    micro_f1_interval: tuple[float, float] | None
    errors: tuple[tuple[str, Slot], ...]

    def as_dict(self) -> dict[str, Any]:
        """Everything but the errors, for JSON."""
        micro = self.headline.as_dict()
        return {
            "reports": self.reports,
            "micro_f1": micro["f1"],
            "micro_f1_interval": list(self.micro_f1_interval) if self.micro_f1_interval else None,
            "false_fill_rate": micro["false_fill_rate"],
            "headline_fields": list(HEADLINE),
            "headline": micro,
            "fields": {name: scores.as_dict() for name, scores in self.fields.items()},
        }


def evaluate(pairs: Sequence[Pair], seed: int = 0) -> Evaluation:
    """Score extractions against references; `seed` is that of the bootstrap."""
    slots = [compare(pair.reference, pair.found) for pair in pairs]
    flat = [slot for of_report in slots for slot in of_report]
    fields = {name: _score([slot for slot in flat if slot.field == name]) for name in FIELDS}
    headline = [[slot for slot in of_report if slot.field in HEADLINE] for of_report in slots]
    counts = np.array([_count(of_report) for of_report in headline], int).reshape(len(pairs), 5)
    return Evaluation(
        reports=len(pairs),
        fields=fields,
        headline=FieldScores(*(int(total) for total in counts.sum(axis=0))),
        micro_f1_interval=_bootstrap(counts, seed),
        errors=tuple(
            (pair.report, slot)
            for pair, of_report in zip(pairs, slots, strict=True)
            for slot in of_report
            if not slot.right
        ),
    )


def _count(slots: Sequence[Slot]) -> tuple[int, int, int, int, int]:
    """Count right, wrong, missed, false fills, unstated."""
    right = sum(slot.agrees for slot in slots)
    missed = sum(slot.found is None and slot.reference is not None for slot in slots)
    fills = sum(slot.found is not None and slot.reference is None for slot in slots)
    unstated = sum(slot.reference is None for slot in slots)
    return right, len(slots) - unstated - right - missed, missed, fills, unstated


def _score(slots: Sequence[Slot]) -> FieldScores:
    ratings = [_categories(slot) for slot in slots]
    return FieldScores(*_count(slots), kappa=cohen_kappa([a for a, _ in ratings], [b for _, b in ratings]))


def _categories(slot: Slot) -> tuple[str, str]:
    """Two ratings of one slot. A number is rated "stated", or "other" where it disagrees with the reference."""
    if isinstance(slot.reference, float) or isinstance(slot.found, float):
        found = "other" if slot.reference is not None and not slot.agrees else "stated"
        return _UNSTATED if slot.reference is None else "stated", _UNSTATED if slot.found is None else found
    return str(slot.reference or _UNSTATED), str(slot.found or _UNSTATED)


def cohen_kappa(first: Sequence[str], second: Sequence[str]) -> float | None:
    """Agreement of two raters beyond chance: (p_o - p_e) / (1 - p_e), Cohen 1960.

    Returns:
        None without items, or where both raters use one and the same category throughout.
    """
    n = len(first)
    if not n:
        return None
    observed = sum(a == b for a, b in zip(first, second, strict=True)) / n
    shares = Counter(first), Counter(second)
    expected = sum(shares[0][name] * shares[1][name] for name in shares[0]) / n**2
    return None if expected == 1 else (observed - expected) / (1 - expected)


def _bootstrap(counts: Int[np.ndarray, "reports 5"], seed: int) -> tuple[float, float] | None:
    """Percentile interval of micro-F1 over resampled reports; None without a value to find."""
    n = len(counts)
    if not n or not counts[:, :4].any():
        return None
    rng = np.random.default_rng(seed)
    at_once = max(1, min(_RESAMPLES, _WEIGHTS // n))
    sizes = [min(at_once, _RESAMPLES - done) for done in range(0, _RESAMPLES, at_once)]
    totals = np.concatenate([rng.multinomial(n, np.full(n, 1 / n), size=size) @ counts for size in sizes])
    f1 = _f1(totals)
    low, high = np.quantile(f1[np.isfinite(f1)], (0.025, 0.975))
    return float(low), float(high)


def _f1(totals: Int[np.ndarray, "n 5"]) -> Float[np.ndarray, " n"]:
    right, wrong, missed, fills, _ = totals.T
    with np.errstate(invalid="ignore"):
        return np.asarray(2 * right / (2 * right + 2 * wrong + missed + fills), float)


def _ratio(part: int, whole: int) -> float | None:
    return part / whole if whole else None
