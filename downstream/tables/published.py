"""The published figures, read from `published.toml`: tables whose rows of our own are still to come."""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from typing import Any

from downstream.stats import Interval

__all__ = ["Cell", "Column", "Row", "Sweep", "Table", "published_sweep", "published_tables"]


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell: no value where nothing is known, two where two are printed; an interval behind a value of our own."""

    values: tuple[float, ...] = ()
    interval: Interval | None = None

    @classmethod
    def of(cls, interval: Interval) -> "Cell":
        """A measured value; empty without a case behind it."""
        return cls((interval.mean,), interval) if interval.n else cls()


@dataclass(frozen=True, slots=True)
class Column:
    """A column, and where our figure comes from.

    Attributes:
        title: as published.
        ours: "metric/structure" of the tidy table; those that a run has are averaged within a case.
        scheme: label scheme that a run must have been scored by; None for any.
        origin: where its real cases must come from, as `factory ingest` notes it; None for anywhere.
    """

    title: str
    ours: tuple[str, ...] = ()
    scheme: str | None = None
    origin: str | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """A method or an arm of ours: name, number of training cases as text, one cell per column; `run` names our runs."""

    method: str
    n: str
    cells: tuple[Cell, ...]
    run: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """A table with its published rows, and later ours below them.

    Attributes:
        key: short name.
        group: heading of the paper's table that it belongs to.
        title, note: what it shows, and how far published and own figures can be compared.
        source: which public source holds the figures.
        bench: commands whose runs fill it.
        lower: whether lower is better.
        columns, digits: one each.
        mean: titles that the last column averages; empty without such a column.
        rows: published first.
    """

    key: str
    group: str
    title: str
    note: str
    source: str
    bench: tuple[str, ...]
    lower: bool
    columns: tuple[Column, ...]
    digits: tuple[int, ...]
    mean: tuple[str, ...]
    rows: tuple[Row, ...]

    def with_rows(self, rows: Sequence[Row]) -> "Table":
        """The same table with more rows."""
        return replace(self, rows=(*self.rows, *rows))


@dataclass(frozen=True, slots=True)
class Sweep:
    """The published sweep over the number of synthetic cases: sizes alone, its values are lost."""

    key: str
    group: str
    title: str
    note: str
    source: str
    sizes: tuple[int, ...]
    methods: tuple[str, ...]


def published_tables() -> tuple[Table, ...]:
    """All tables in the paper's order, the confusion matrices after the table that sums them up."""
    data = _data()
    tables = []
    for entry in data["tables"]:
        tables.append(_table(entry, data["matrices"]))
        if any("matrix" in column for column in entry["columns"]):
            tables += [_matrix(entry, matrix) for matrix in data["matrices"]]
    return tuple(tables)


def published_sweep() -> Sweep:
    """What is known of the sweep."""
    entry = _data()["sweep"]
    return Sweep(**(entry | {"sizes": tuple(entry["sizes"]), "methods": tuple(entry["methods"])}))


@cache
def _data() -> dict[str, Any]:
    return tomllib.loads(files("downstream.tables").joinpath("published.toml").read_text(encoding="utf-8"))


def _table(entry: Mapping[str, Any], matrices: Sequence[Mapping[str, Any]]) -> Table:
    columns = entry["columns"]
    rows = tuple(
        Row(row["method"], row.get("n", ""), tuple(_cell(value) for value in row["cells"])) for row in entry["rows"]
    )
    if any("matrix" in column for column in columns):
        rows = tuple(Row(row.method, row.n, tuple(_share(column, matrices) for column in columns)) for row in rows)
    return Table(
        key=entry["key"],
        group=entry["group"],
        title=entry["title"],
        note=entry["note"],
        source=entry["source"],
        bench=tuple(entry["bench"]),
        lower=entry.get("lower", False),
        columns=tuple(
            Column(one["title"], tuple(one.get("ours", ())), one.get("scheme"), one.get("origin")) for one in columns
        ),
        digits=tuple(entry.get("digits", [2] * len(columns))),
        mean=tuple(entry.get("mean", ())),
        rows=rows,
    )


def _cell(value: float | int | str | list[float | int]) -> Cell:
    if isinstance(value, str):
        return Cell()
    return Cell(tuple(float(one) for one in (value if isinstance(value, list) else [value])))


def _share(column: Mapping[str, Any], matrices: Sequence[Mapping[str, Any]]) -> Cell:
    """Share on the diagonal of one matrix, or of all ("*")."""
    wanted = [one["counts"] for one in matrices if column.get("matrix") in ("*", one["key"])]
    total = sum(sum(row) for counts in wanted for row in counts)
    right = sum(row[place] for counts in wanted for place, row in enumerate(counts))
    return Cell((right / total,)) if total else Cell()


def _matrix(entry: Mapping[str, Any], matrix: Mapping[str, Any]) -> Table:
    """A confusion matrix as a table: rows asked for, columns generated."""
    places = tuple(matrix["places"])
    rows = [
        Row(f"asked: {place}", "", tuple(map(_cell, counts)))
        for place, counts in zip(places, matrix["counts"], strict=True)
    ]
    return Table(
        key=f"{entry['key']}-{matrix['key'].replace(' ', '-')}",
        group=entry["group"],
        title=f"{matrix['title']}: place generated (columns) for place asked (rows), cases",
        note=matrix.get("note", "Published; there is no column for tumours that are missing."),
        source=entry["source"],
        bench=(),
        lower=False,
        columns=tuple(map(Column, places)),
        digits=(0,) * len(places),
        mean=(),
        rows=tuple(rows),
    )
