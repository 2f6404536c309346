"""What an ablation found: `table.md` for people, `scores.csv` and `measures.csv` tidy, `results.json` for programs."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from math import isnan
from types import MappingProxyType
from typing import Any

from downstream.ablation.arms import ARMS, FULL
from downstream.ablation.measure import SETS
from downstream.ablation.study import Ablation
from downstream.comparisons import ALL, Contrast, case_means, contrasts, with_all
from downstream.ledger import writing
from downstream.results import Result, Results
from downstream.stats import Interval, bootstrap_mean
from downstream.tables.formats import render
from downstream.tables.paper import paper_tables
from manifests.durable import replace

__all__ = ["MEASURES", "AblationReport", "write_report"]

MEASURES: Mapping[str, tuple[str, str, int]] = MappingProxyType(
    {
        "any tumour, if asked": ("present", "tumour", 1),
        "tumour at its place": ("position", "tumour", 1),
        "tumours within one": ("count_near", "tumour", 1),
        "sex": ("sex_agrees", "", 1),
        "absent organs": ("absent_agrees", "", 1),
        "masks pass the gate": ("passed_gate", "", 1),
        "DSC image-mask": ("dice", ALL, 1),
        "accuracy image-prompt": ("accuracy", ALL, 1),
        "error lung, HU": ("error_lung_hu", "", -1),
        "error soft, HU": ("error_soft_hu", "", -1),
        "error bone, HU": ("error_bone_hu", "", -1),
        "error lesions, HU": ("error_lesion_hu", "", -1),
    }
)
"""By title: metric and structure of the tidy table, and whether more is better (1) or worse (-1)."""

_SEED = 20261128  # of bootstrap and random signs, so that equal scores give equal figures


@dataclass(frozen=True)
class AblationReport:
    """An ablation summed up; arms stay in its order."""

    ablation: Ablation

    @cached_property
    def scores(self) -> Results:
        """Rows of all arms, with the means of DSC and accuracy over structures."""
        rows = [row for one in self.ablation.arms.values() for row in one.cases]
        return with_all(Results(rows), ("dice", "accuracy"))

    @cached_property
    def means(self) -> dict[str, dict[str, Interval]]:
        """By arm and title, the mean over cases; what an arm shares with the full one, or nobody measured, is not there."""
        values = case_means(self.scores)
        found: dict[str, dict[str, Interval]] = {}
        for arm in self.ablation.arms:
            cells = {title: values.get((arm, structure, metric)) for title, (metric, structure, _) in MEASURES.items()}
            found[arm] = {
                title: bootstrap_mean(list(cases.values()), seed=_SEED) for title, cases in cells.items() if cases
            }
        return found

    @cached_property
    def effects(self) -> dict[str, dict[str, Contrast]]:
        """By arm and title: the arm minus the full one, in pairs, adjusted over the arms of a measure."""
        pairs = [(arm, FULL) for arm in self.ablation.arms if arm != FULL]
        wanted = {(metric, structure): title for title, (metric, structure, _) in MEASURES.items()}
        rows: list[Result] = [row for row in self.scores if (row.metric, row.structure) in wanted]
        tests = contrasts(Results(rows), pairs, [metric for metric, _ in wanted], seed=_SEED)
        found: dict[str, dict[str, Contrast]] = {arm: {} for arm, _ in pairs}
        for one in tests:
            found[one.first][wanted[one.metric, one.structure]] = one
        return found

    def table(self) -> str:
        """The arms in rows, means with intervals in columns, in Markdown."""
        titles = [title for title in MEASURES if any(title in row for row in self.means.values())]
        sets = [name for name in SETS if any(name in one.sets for one in self.ablation.arms.values())]
        lines = [_line(["arm", *titles, *(f"{name.strip('/')} to held-out" for name in sets)])]
        lines.append("|---" * (1 + len(titles) + len(sets)) + "|")
        for arm, one in self.ablation.arms.items():
            cells = [_interval(self.means[arm].get(title)) for title in titles]
            cells += [_set(one.sets.get(name)) for name in sets]
            lines.append(_line([ARMS[arm].title, *cells]))
        return "\n".join(lines)

    def effect_table(self) -> str:
        """What each arm changes against the full one, in Markdown."""
        lines = [_line(["arm", "measure", "arm minus full (95 %)", "p (Holm)", "pairs", "the arm is"])]
        lines.append("|---" * 6 + "|")
        for arm, row in self.effects.items():
            for title, one in row.items():
                found = one.comparison.difference
                words = {1: "better", -1: "worse", 0: "no other"}
                way = words[MEASURES[title][2] * ((found.low > 0) - (found.high < 0))]
                p = "" if isnan(one.p_holm) else f"{one.p_holm:.3f}"
                lines.append(_line([ARMS[arm].title, title, _interval(found, "+"), p, str(found.n), way]))
        return "\n".join(lines)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON data, null where nothing is defined."""
        trained = self.ablation.facts["train_cases"]
        data = {
            "bench": "ablation",
            "arms": {name: {"train": trained, "as": ARMS[name].title} for name in self.ablation.arms},
            "means": {arm: {title: asdict(one) for title, one in row.items()} for arm, row in self.means.items()},
            "effects": [asdict(one) for row in self.effects.values() for one in row.values()],
            "sets": {arm: dict(one.sets) for arm, one in self.ablation.arms.items()},
            "facts": self.ablation.facts,
        }
        cleaned: dict[str, Any] = _without_nan(data)
        return cleaned


def write_report(ablation: Ablation) -> tuple[AblationReport, str]:
    """Write everything into the work folder; the report, and the text of `table.md`."""
    report, out = AblationReport(ablation), ablation.out
    report.scores.write(out / "scores.csv")
    with writing(out):
        replace(out / "results.json", json.dumps(report.to_json(), indent=2).encode())
        replace(out / "measures-by-arm.csv", _sets_csv(ablation).encode())
    paper = [table for table in paper_tables([out]) if table.key == "quality-ablation"]
    text = "\n".join(
        [
            "## Measured",
            "",
            f"{ablation.facts['options']['n']} held-out prompts, before the gate; trained on {ablation.facts['train_cases']} cases at "
            f"preset {ablation.facts['options']['preset']}. An empty cell is as in the full arm, or was not measured.",
            "",
            report.table(),
            "",
            "## Effects",
            "",
            report.effect_table(),
            "",
            render(paper, "markdown"),
        ]
    )
    with writing(out):
        replace(out / "table.md", text.encode())
    return report, text


def _sets_csv(ablation: Ablation) -> str:
    stream = io.StringIO()
    columns = ("value", "low", "high", "null", "p")
    table = csv.writer(stream, lineterminator="\n")
    table.writerow(["arm", "measure", *columns])
    for arm, one in ablation.arms.items():
        table.writerows([arm, name, *(row[column] for column in columns)] for name, row in one.sets.items())
    return stream.getvalue()


def _interval(interval: Interval | None, sign: str = "") -> str:
    if interval is None or not interval.n:
        return ""
    digits = 1 if abs(interval.mean) >= 10 else 3
    if isnan(interval.low):
        return f"{interval.mean:{sign}.{digits}f}"
    return f"{interval.mean:{sign}.{digits}f} ({interval.low:{sign}.{digits}f} to {interval.high:{sign}.{digits}f})"


def _set(row: Mapping[str, float] | None) -> str:
    return "" if row is None else f"{row['value']:.2f} ({row['low']:.2f} to {row['high']:.2f})"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_nan(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(part) for part in value]
    return None if isinstance(value, float) and isnan(value) else value
