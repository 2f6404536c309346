"""What benchmark runs found, read from the `scores.csv` and `results.json` that they leave in their folders."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from math import isnan
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from downstream.report.tallies import Strip
from downstream.results import Results, Summary
from downstream.stats import Interval
from manifests.errors import FileFormatError, LocationError

__all__ = ["MetricTable", "Run", "find_runs", "read_run"]

_SCORES, _RESULT = "scores.csv", "results.json"
_UNITS = {"dice": 3, "nsd": 3, "hd95_mm": 1}
"""Metrics that are shown, with their digits; another one is shown where a run has none of these."""

_SEED = 20261121  # of the bootstrap, as in the tables of a transfer
_FACTS, _LENGTH = 40, 160  # so many facts of so many characters are shown


@dataclass(frozen=True, slots=True)
class MetricTable:
    """One metric: structures by arms; `strips` where it is a share between 0 and 1."""

    metric: str
    arms: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Strip, ...]], ...]
    shares: bool


@dataclass(frozen=True, slots=True)
class Run:
    """One run: its name, what it states of itself, and its tables."""

    name: str
    facts: tuple[tuple[str, str], ...]
    tables: tuple[MetricTable, ...]
    cases: int


def find_runs(patterns: Sequence[str]) -> list[Path]:
    """Folders of runs by path or pattern (`runs/*`), each once, in the order given.

    Raises:
        LocationError: if a path is no folder, a pattern fits nothing, or a folder holds no finished run.
    """
    found: dict[Path, None] = {}
    for pattern in patterns:
        path = Path(pattern)
        folders = [path] if path.is_dir() else sorted(one for one in path.parent.glob(path.name) if one.is_dir())
        if not folders:
            raise _missing(pattern, "no such folder")
        found.update(dict.fromkeys(folders))
    for folder in found:
        if not any((folder / name).is_file() for name in (_SCORES, _RESULT)):
            raise _missing(str(folder), f"neither {_SCORES} nor {_RESULT} in it")
    return list(found)


def _missing(what: str, got: str) -> LocationError:
    do = "Let the run finish, or leave it out."
    return LocationError(f"run {what}", got=got, need="the folder of a finished benchmark run", do=do)


def read_run(folder: Path) -> Run:
    """Read a run; a run without scores has facts alone.

    Raises:
        FileFormatError: if a file is not what its name promises.
    """
    scores = Results.read(folder / _SCORES) if (folder / _SCORES).is_file() else Results(())
    facts = _facts(folder / _RESULT) if (folder / _RESULT).is_file() else []
    cases = len({row.case_id for row in scores})
    return Run(folder.resolve().name, tuple(facts[:_FACTS]), tuple(_tables(scores)), cases)


def _facts(path: Path) -> list[tuple[str, str]]:
    """Single values of a result by dotted name, without paths; lists and tables are left to the scores."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise FileFormatError(str(path), got=str(error), need="JSON", do="Run the benchmark again.") from error
    return [(name, text) for name, text in _flat(data) if not _is_place(text)]


def _is_place(text: str) -> bool:
    return PurePosixPath(text).is_absolute() or PureWindowsPath(text).is_absolute()


def _flat(value: Any, name: str = "") -> list[tuple[str, str]]:
    if isinstance(value, dict):
        parts = [part for key in value for part in _flat(value[key], f"{name}.{key}".lstrip("."))]
        return [] if name in ("cases", "facts.targets") else parts
    if isinstance(value, list) or value is None:
        return []
    text = f"{value:.4g}" if isinstance(value, float) else str(value)
    return [(name, text if len(text) <= _LENGTH else text[: _LENGTH - 1] + "\u2026")]


def _tables(scores: Results) -> list[MetricTable]:
    there = list(dict.fromkeys(row.metric for row in scores))
    metrics = [metric for metric in _UNITS if metric in there] or there[:3]
    kept = Results(row for row in scores if row.metric in metrics)
    summaries = {(one.arm, one.structure, one.metric): one for one in kept.summaries(seed=_SEED)}
    return [_table(metric, summaries) for metric in metrics]


def _table(metric: str, summaries: dict[tuple[str, str, str], Summary]) -> MetricTable:
    mine = {(arm, name): one.interval for (arm, name, kind), one in summaries.items() if kind == metric}
    arms, names = (tuple(dict.fromkeys(key[part] for key in mine)) for part in (0, 1))
    nothing = Interval(float("nan"), float("nan"), float("nan"), 0)
    shares = all(0 <= one.mean <= 1 for one in mine.values() if one.n)
    rows = tuple(
        (name, tuple(_strip(mine.get((arm, name), nothing), _UNITS.get(metric, 3)) for arm in arms)) for name in names
    )
    return MetricTable(metric, arms, rows, shares)


def _strip(interval: Interval, digits: int) -> Strip:
    mean, low, high = (round(100 * value, 1) for value in (interval.mean, interval.low, interval.high))
    if isnan(mean):
        return Strip(0.0, 0.0, 0.0, None, "")
    text = f"{interval.mean:.{digits}f}"
    if isnan(low):
        return Strip(mean, mean, mean, None, f"{text}, n = {interval.n}")
    bounds = f"{interval.low:.{digits}f} to {interval.high:.{digits}f}"
    return Strip(low, mean, high, None, f"{text} ({bounds}), n = {interval.n}")
