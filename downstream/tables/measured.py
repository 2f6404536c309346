"""Our rows: read from the tables of finished runs, empty where a run has nothing.

A run is a folder with `results.json`, which names the command that made it as `bench` (and, where labels were scored, their
`scheme`, the `origin` of the real cases, the `plan`, and the `arms` with the number of cases that each was trained on), and
`scores.csv`, the tidy table; or what `bench alignment` and `bench fidelity` write: `cases.csv`, and `measures.csv` of the latter.
A cell averages the structures of a case, then the cases, and its interval is over cases.
"""

import csv
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from math import isnan
from pathlib import Path
from statistics import fmean
from typing import Any

from downstream.comparisons import CaseMeans, case_means
from downstream.results import Results
from downstream.stats import Interval, bootstrap_mean
from downstream.tables.published import Cell, Column, Row, Sweep, Table
from manifests.errors import FileFormatError, LocationError

__all__ = ["PAPER_CONVENTION", "Run", "own_rows", "read_run", "sweep_table"]

PAPER_CONVENTION = {"dice": "paper_dice", "hd95_mm": "paper_hd95_voxels"}
"""Metrics that take the place of ours where the published code's conventions are asked for."""

_SEED = 20261128  # of the bootstrap, so that equal scores give equal intervals
_RESAMPLES = 2_000


@dataclass(frozen=True, slots=True)
class Run:
    """A finished run: its name, the command behind it, what it says of itself, values of its cases, measures of whole sets."""

    name: str
    bench: str
    about: dict[str, Any]
    means: CaseMeans
    measures: dict[str, Interval] = field(default_factory=dict)

    def arms(self) -> list[str]:
        """Names in order of first appearance: those that the run lists, or all."""
        found = dict.fromkeys(arm for arm, _, _ in self.means) or {"": None}
        return [arm for arm in found if arm in self.about.get("arms", found)]

    def mean(self, arm: str, sources: Iterable[str]) -> Interval:
        """Average the structures of a case, then the cases.

        Args:
            arm: its name.
            sources: "metric/structure"; those that the run has count.
        """
        values: dict[str, list[float]] = {}
        for source in sources:
            if source in self.measures:
                return self.measures[source]
            metric, _, structure = source.partition("/")
            for case, value in self.means.get((arm, structure, metric), {}).items():
                values.setdefault(case, []).append(value)
        return bootstrap_mean([fmean(one) for one in values.values()], seed=_SEED, resamples=_RESAMPLES)

    def trained_on(self, arm: str) -> str:
        """Number of training cases, empty where unknown."""
        cases = self.about.get("arms", {}).get(arm, {}).get("train", "")
        return str(cases)


def read_run(folder: Path) -> Run:
    """Read the results of a folder that one of the `factory bench` commands filled.

    Raises:
        LocationError: no finished run in it.
        FileFormatError: its `results.json` is not one, or does not say what made it.
    """
    name = folder.resolve().name
    if (folder / "measures.csv").is_file():
        return Run(name, "fidelity", {}, {}, _measures(folder / "measures.csv"))
    if not (folder / "results.json").is_file() and (folder / "cases.csv").is_file():
        return Run(name, "alignment", {}, case_means(Results.read(folder / "cases.csv")))
    about = _about(folder)
    return Run(name, about["bench"], about, case_means(Results.read(folder / "scores.csv")))


def _about(folder: Path) -> dict[str, Any]:
    path = folder / "results.json"
    try:
        about = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise LocationError(
            str(folder),
            got="no results.json",
            need="a finished run of `factory bench`",
            do="Finish it, or leave it out.",
        ) from error
    except ValueError as error:
        raise FileFormatError(str(path), got=str(error), need="valid JSON", do="Run the command again.") from error
    if not isinstance(about, dict) or "bench" not in about:
        raise FileFormatError(
            str(path), got="no `bench` in it", need="the name of the command", do="Run the command again: it is quick."
        )
    return about


def _measures(path: Path) -> dict[str, Interval]:
    """Measures of whole sets, by "measure/structure"; those that could not be taken are left out."""
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    try:
        found = {
            f"{row['measure']}/{row['structure']}": Interval(
                float(row["value"]), float(row["low"]), float(row["high"]), int(row["synthetic"])
            )
            for row in rows
        }
    except (KeyError, ValueError) as error:
        raise FileFormatError(
            str(path), got=f"{type(error).__name__} {error}", need="a table of `bench fidelity`", do="Run it again."
        ) from error
    return {name: interval for name, interval in found.items() if not isnan(interval.mean)}


def own_rows(table: Table, runs: Sequence[Run], *, paper_convention: bool = False) -> list[Row]:
    """Rows of ours for a table, one per arm; runs share a row where they fill different columns of it.

    Args:
        table: with its published rows.
        runs: finished runs, of whichever command.
        paper_convention: take DSC and HD95 as the published code counts them.
    """
    names = PAPER_CONVENTION if paper_convention else {}
    rows: list[Row] = []
    for run in (run for run in runs if run.bench in table.bench):
        for arm in run.arms():
            cells = tuple(_cell(column, run, arm, names) for column in table.columns)
            if any(cell.values for cell in cells):
                _merge(rows, Row(_method(run, arm), run.trained_on(arm), cells, run.name))
    return [_averaged(table, row) for row in rows]


def sweep_table(sweep: Sweep, runs: Sequence[Run], *, paper_convention: bool = False) -> Table:
    """Mean DSC over the number of synthetic cases: sizes of the paper and of ours, a row for each run and way of mixing."""
    metric = PAPER_CONVENTION["dice"] if paper_convention else "dice"
    curves: list[tuple[str, str, dict[int, Interval]]] = []
    for run in (run for run in runs if run.bench == "usability"):
        labels = list(dict.fromkeys(f"{metric}/{structure}" for _, structure, _ in run.means))
        means = {arm: run.mean(arm, labels) for arm in run.arms()}
        for kind in dict.fromkeys(arm.partition(":")[0] for arm in means if ":" in arm):
            sized = {int(arm.partition(":")[2]): mean for arm, mean in means.items() if arm.startswith(f"{kind}:")}
            alone = {0: means["real"]} if kind != "synthetic" and "real" in means else {}
            curves.append((f"ours, {kind}, {run.about.get('scheme', '')}", run.name, alone | sized))
    sizes = sorted({*sweep.sizes, *(size for _, _, curve in curves for size in curve)})
    published = [Row(method, "", (Cell(),) * len(sizes)) for method in sweep.methods]
    ours = [
        Row(method, "", tuple(Cell.of(curve[size]) if size in curve else Cell() for size in sizes), run)
        for method, run, curve in curves
    ]
    return Table(
        key=sweep.key,
        group=sweep.group,
        title=sweep.title,
        note=sweep.note,
        source=sweep.source,
        bench=("usability",),
        lower=False,
        columns=tuple(Column(str(size)) for size in sizes),
        digits=(3,) * len(sizes),
        mean=(),
        rows=(*published, *ours),
    )


def _cell(column: Column, run: Run, arm: str, names: dict[str, str]) -> Cell:
    if column.scheme not in (None, run.about.get("scheme")) or column.origin not in (None, run.about.get("origin")):
        return Cell()
    parts = [source.partition("/") for source in column.ours]
    return Cell.of(run.mean(arm, [f"{names.get(metric, metric)}/{structure}" for metric, _, structure in parts]))


def _method(run: Run, arm: str) -> str:
    title = run.about.get("arms", {}).get(arm, {}).get("as", arm)
    return ", ".join(filter(None, ("ours", title, str(run.about.get("plan", "")))))


def _merge(rows: list[Row], new: Row) -> None:
    """Join a row to one of the same method whose filled columns are others; else append it."""
    for place, row in enumerate(rows):
        if row.method == new.method and not any(
            a.values and b.values for a, b in zip(row.cells, new.cells, strict=True)
        ):
            cells = tuple(a if a.values else b for a, b in zip(row.cells, new.cells, strict=True))
            n = "/".join(filter(None, (row.n, new.n)))
            rows[place] = Row(row.method, n, cells, f"{row.run}, {new.run}")
            return
    rows.append(new)


def _averaged(table: Table, row: Row) -> Row:
    """Fill the column of the mean where all that it averages is there."""
    if not table.mean:
        return row
    parts = [cell for column, cell in zip(table.columns, row.cells, strict=True) if column.title in table.mean]
    if not all(cell.values for cell in parts):
        return row
    mean = fmean(cell.values[0] for cell in parts)
    return Row(row.method, row.n, (*row.cells[:-1], Cell((mean,))), row.run)
