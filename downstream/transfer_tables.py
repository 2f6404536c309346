"""What a transfer found, as a table for people (`table.md`), a tidy one (`scores.csv`) and one for programs (`results.json`)."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from math import isnan
from pathlib import Path
from typing import Any

from downstream.ledger import writing
from downstream.plain_json import plain
from downstream.results import Results
from downstream.stats import Interval, bootstrap_mean
from downstream.transfer_scores import REAL, SYNTHETIC
from manifests.durable import replace

__all__ = ["LabelRow", "TransferResult", "rows_of", "write_result"]

_SEED = 20261121  # of the bootstrap, so that equal scores give equal intervals
_SOUND = 10  # cases below which a bootstrap interval is too narrow


@dataclass(frozen=True, slots=True)
class LabelRow:
    """One label: its three metrics over the real cases, and its DSC over held-out synthetic ones."""

    label: str
    dice: Interval
    nsd: Interval
    hd95_mm: Interval
    synthetic_dice: Interval


@dataclass(frozen=True, slots=True)
class TransferResult:
    """What came out.

    Attributes:
        out: work folder.
        labels: one row per label that any real reference has, in the order of the scheme.
        mean: over labels, of their means: DSC and NSD.
        facts: of what it was made; plain data.
        scores: every value by case.
    """

    out: Path
    labels: tuple[LabelRow, ...]
    mean: dict[str, float]
    facts: dict[str, Any]
    scores: Results

    def to_json(self) -> dict[str, Any]:
        """Plain JSON data, null where nothing is defined."""
        cases: dict[str, dict[str, dict[str, float]]] = {}
        for row in self.scores.where(arm=REAL):
            cases.setdefault(row.case_id, {}).setdefault(row.structure, {})[row.metric] = row.value
        data = {
            "bench": "transfer",
            "scheme": self.facts["options"]["scheme"],
            "plan": self.facts["options"]["plan"],
            "arms": {REAL: {"as": SYNTHETIC}},
            "out": str(self.out),
            "mean": self.mean,
            "labels": [asdict(row) for row in self.labels],
            "cases": cases,
            "facts": self.facts,
        }
        cleaned: dict[str, Any] = plain(data)
        return cleaned

    def table(self) -> str:
        """The table in Markdown."""
        head = "| label | scans | DSC (95 % interval) | NSD | HD95, mm | DSC, held-out synthetic |"
        lines = [head, "|---|---|---|---|---|---|"]
        lines += [
            f"| {row.label} | {row.dice.n} | {_interval(row.dice)} | {_interval(row.nsd)} |"
            f" {_interval(row.hd95_mm, 1)} | {_number(row.synthetic_dice.mean)} |"
            for row in self.labels
        ]
        lines.append(
            f"| **mean of {len(self.labels)} labels** | | {_number(self.mean['dice'])} | {_number(self.mean['nsd'])} | |"
            f" {_number(self.mean['synthetic_dice'])} |"
        )
        return "\n".join(lines)

    def case_table(self) -> str:
        """DSC of every label in every real case, in Markdown."""
        cases = list(dict.fromkeys(row.case_id for row in self.scores.where(arm=REAL)))
        lines = ["| label | " + " | ".join(cases) + " |", "|---" * (len(cases) + 1) + "|"]
        for label in (row.label for row in self.labels):
            found = self.scores.where(arm=REAL, structure=label, metric="dice").by_case()
            lines.append(f"| {label} | " + " | ".join(_number(found.get(case, float("nan"))) for case in cases) + " |")
        return "\n".join(lines)


def rows_of(scores: Results, order: Sequence[str]) -> tuple[LabelRow, ...]:
    """One row per label that a real case was scored on, in the order given."""
    scored = {row.structure for row in scores.where(arm=REAL)}
    return tuple(
        LabelRow(
            label,
            dice=_mean(scores, label, "dice", REAL),
            nsd=_mean(scores, label, "nsd", REAL),
            hd95_mm=_mean(scores, label, "hd95_mm", REAL),
            synthetic_dice=_mean(scores, label, "dice", SYNTHETIC),
        )
        for label in order
        if label in scored
    )


def write_result(out: Path, scores: Results, job: dict[str, Any], order: Sequence[str]) -> TransferResult:
    """Sum scores up and write the three tables into the work folder."""
    rows = rows_of(scores, order)
    means = {
        "dice": _plain_mean(row.dice.mean for row in rows),
        "nsd": _plain_mean(row.nsd.mean for row in rows),
        "synthetic_dice": _plain_mean(row.synthetic_dice.mean for row in rows),
    }
    facts = {
        **{key: job[key] for key in ("plan", "options", "targets", "content_hash")},
        **{name: version(name) for name in ("nnunetv2", "torch")},
    }
    result = TransferResult(out, rows, means, facts, scores)
    scores.write(out / "scores.csv")
    with writing(out):
        replace(out / "results.json", (json.dumps(result.to_json(), indent=2) + "\n").encode())
        replace(out / "table.md", f"{result.table()}\n\n{result.case_table()}\n".encode())
    return result


def _mean(scores: Results, label: str, metric: str, arm: str) -> Interval:
    values = list(scores.where(arm=arm, structure=label, metric=metric).by_case().values())
    return bootstrap_mean(values, seed=_SEED)


def _plain_mean(values: Iterable[float]) -> float:
    kept = [value for value in values if not isnan(value)]
    return sum(kept) / len(kept) if kept else float("nan")


def _interval(interval: Interval, digits: int = 3) -> str:
    text = _number(interval.mean, digits)
    if isnan(interval.low):
        return text
    return f"{text} ({interval.low:.{digits}f} to {interval.high:.{digits}f})"


def _number(value: float, digits: int = 3) -> str:
    return "" if isnan(value) else f"{value:.{digits}f}"
