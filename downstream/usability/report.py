"""What a study found: `table.md` for people, `scores.csv` tidy, `comparisons.csv`, `results.json` for programs."""

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import isnan
from statistics import fmean
from typing import Any

from downstream.comparisons import ALL, ArmMean, Contrast, arm_means, case_means, contrasts, with_all
from downstream.ledger import writing
from downstream.plain_json import plain
from downstream.results import Results
from downstream.usability.arms import REAL
from downstream.usability.study import Study
from manifests.durable import replace

__all__ = ["Report", "compared_pairs", "write_report"]

METRICS = ("dice", "nsd", "hd95_mm")
_SEED = 20261128  # of bootstrap and random signs, so that equal scores give equal figures


@dataclass(frozen=True, slots=True)
class Report:
    """A study summed up.

    Attributes:
        study: what is summed up.
        means: by metric, the arms over all labels.
        contrasts: of pairs of arms, over all labels and in each.
    """

    study: Study
    means: dict[str, list[ArmMean]]
    contrasts: list[Contrast]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON data, null where nothing is defined."""
        options = self.study.facts["options"]
        data = {
            "bench": "usability",
            "scheme": options["scheme"],
            "origin": self.study.facts["datasets"]["real"]["origin"],
            "plan": options["plan"],
            "arms": self.study.facts["arms"],
            "means": {metric: [asdict(one) for one in rows] for metric, rows in self.means.items()},
            "contrasts": [asdict(one) for one in self.contrasts],
            "failed": self.study.failed,
            "facts": self.study.facts,
        }
        cleaned: dict[str, Any] = plain(data)
        return cleaned

    def table(self) -> str:
        """Arms over all labels, and against real cases alone, in Markdown."""
        against = {
            one.first: one for one in self.contrasts if (one.structure, one.metric, one.second) == (ALL, "dice", REAL)
        }
        head = ["arm", "trained on", "seeds", "DSC (95 % interval)", "SD of seeds", "NSD", "HD95, mm"]
        head += ["DSC minus real alone", "p (Holm)", "d_z"] if against else []
        lines = [_line(head), "|---" * len(head) + "|"]
        for dice, nsd, hd95 in zip(*(self.means[metric] for metric in METRICS), strict=True):
            cells = [dice.arm, str(self.study.facts["arms"].get(dice.arm, {}).get("train", "")), str(dice.seeds)]
            cells += [
                _interval(dice.interval),
                _number(dice.seed_sd),
                _number(nsd.interval.mean),
                _number(hd95.interval.mean, 1),
            ]
            if against:
                cells += _contrast(against.get(dice.arm))
            lines.append(_line(cells))
        return "\n".join(lines)

    def label_table(self) -> str:
        """DSC of every label in every arm, in Markdown."""
        means = case_means(row for row in self.study.scores if row.metric == "dice")
        arms = [one.arm for one in self.means["dice"]]
        labels = list(dict.fromkeys(structure for _, structure, _ in means))
        lines = [_line(["label", "cases", *arms]), "|---" * (len(arms) + 2) + "|"]
        for label in labels:
            found = [means.get((arm, label, "dice"), {}) for arm in arms]
            values = [_number(fmean(cases.values())) if cases else "" for cases in found]
            lines.append(_line([label, str(max(map(len, found))), *values]))
        return "\n".join(lines)


def compared_pairs(arms: Sequence[str]) -> list[tuple[str, str]]:
    """Pairs of arms that are tested: every arm against real cases alone; without that arm, each against the first."""
    base = REAL if REAL in arms else next(iter(arms), "")
    return [(arm, base) for arm in arms if arm != base]


def write_report(study: Study) -> Report:
    """Sum a study up and write its tables into the work folder."""
    scores = with_all(Results(row for row in study.scores if row.metric in METRICS), METRICS)
    arms = list(dict.fromkeys(row.arm for row in scores))
    means = {metric: arm_means(scores, ALL, metric, seed=_SEED) for metric in METRICS}
    report = Report(study, means, contrasts(scores, compared_pairs(arms), METRICS, seed=_SEED))
    study.scores.write(study.out / "scores.csv")
    with writing(study.out):
        replace(study.out / "comparisons.csv", _comparisons(report.contrasts).encode())
        replace(study.out / "table.md", f"{report.table()}\n\n{report.label_table()}\n".encode())
        replace(study.out / "results.json", (json.dumps(report.to_json(), indent=2) + "\n").encode())
    return report


def _comparisons(rows: Sequence[Contrast]) -> str:
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(
        [
            "first",
            "second",
            "structure",
            "metric",
            "cases",
            "difference",
            "low",
            "high",
            "p",
            "p_holm",
            "d_z",
            "wins",
            "losses",
        ]
    )
    for one in rows:
        test = one.comparison
        values = [test.difference.mean, test.difference.low, test.difference.high, test.p, one.p_holm, test.effect]
        texts = ["" if isnan(value) else repr(value) for value in values]
        writer.writerow(
            [one.first, one.second, one.structure, one.metric, test.difference.n, *texts, test.wins, test.losses]
        )
    return stream.getvalue()


def _contrast(one: Contrast | None) -> list[str]:
    if one is None:
        return ["", "", ""]
    return [_interval(one.comparison.difference, sign=True), _number(one.p_holm), _number(one.comparison.effect, 2)]


def _interval(interval: Any, *, sign: bool = False) -> str:
    form = "+.3f" if sign else ".3f"
    text = "" if isnan(interval.mean) else format(interval.mean, form)
    return text if isnan(interval.low) else f"{text} ({interval.low:{form}} to {interval.high:{form}})"


def _number(value: float, digits: int = 3) -> str:
    return "" if isnan(value) else f"{value:.{digits}f}"


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
