"""The tidy table of scores: one row per case, structure, metric, arm and seed; tables and figures come from it alone."""

import csv
from collections.abc import Callable, Iterable, Iterator
from dataclasses import astuple, dataclass, fields
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from downstream.ledger import writing
from downstream.stats import RESAMPLES, Comparison, Interval, bootstrap_mean, compare_paired
from manifests.durable import temporary_beside
from manifests.errors import FileFormatError, InvalidValueError, LocationError

__all__ = ["Result", "Results", "Summary"]


@dataclass(frozen=True, slots=True)
class Result:
    """One measured value.

    Attributes:
        case_id: the case that was scored.
        structure: name of the label.
        metric: name with its unit, such as "dice" or "hd95_mm".
        value: NaN where there was nothing to score.
        arm: what was compared, such as "synthetic".
        seed: of the training behind it.
    """

    case_id: str
    structure: str
    metric: str
    value: float
    arm: str = ""
    seed: int = 0

    @property
    def key(self) -> tuple[str, str, str, str, int]:
        """What makes a row unique: everything but the value."""
        return self.case_id, self.structure, self.metric, self.arm, self.seed


@dataclass(frozen=True, slots=True)
class Summary:
    """Mean of one structure and metric in one arm over cases, seeds of a case averaged first."""

    arm: str
    structure: str
    metric: str
    interval: Interval


COLUMNS = tuple(field.name for field in fields(Result))
SCHEMA = pa.schema(
    [
        pa.field(name, pa.float64() if name == "value" else pa.int64() if name == "seed" else pa.string())
        for name in COLUMNS
    ]
)


class Results:
    """Rows of scores in the order given; a row appears once.

    Raises:
        InvalidValueError: two rows with the same case, structure, metric, arm and seed.
    """

    def __init__(self, rows: Iterable[Result]) -> None:
        self.rows = tuple(rows)
        seen: set[tuple[str, str, str, str, int]] = set()
        for row in self.rows:
            if row.key in seen:
                raise InvalidValueError(
                    f"result of case {row.case_id}",
                    got=f"{row.metric} of {row.structure} twice (arm {row.arm!r}, seed {row.seed})",
                    need="one row per case, structure, metric, arm and seed",
                    do="Name the arms or seeds apart before you join tables.",
                )
            seen.add(row.key)

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[Result]:
        return iter(self.rows)

    def where(
        self,
        *,
        structure: str | None = None,
        metric: str | None = None,
        arm: str | None = None,
        seed: int | None = None,
    ) -> "Results":
        """Keep the rows that have all the values named."""
        wanted = {"structure": structure, "metric": metric, "arm": arm, "seed": seed}
        asked = {name: value for name, value in wanted.items() if value is not None}
        return Results(row for row in self.rows if all(getattr(row, name) == value for name, value in asked.items()))

    def by_case(self) -> dict[str, float]:
        """Average what is left per case, NaN left out; NaN for a case that has nothing else.

        Meant for one structure, metric and arm: what remains to be averaged is then the seeds.
        """
        values: dict[str, list[float]] = {}
        for row in self.rows:
            values.setdefault(row.case_id, []).append(row.value)
        return {case_id: _mean(several) for case_id, several in values.items()}

    def summaries(self, *, seed: int, resamples: int = RESAMPLES) -> list[Summary]:
        """Give the mean and its 95 % interval per arm, structure and metric, in order of first appearance."""
        groups: dict[tuple[str, str, str], list[Result]] = {}
        for row in self.rows:
            groups.setdefault((row.arm, row.structure, row.metric), []).append(row)
        return [
            Summary(*group, bootstrap_mean(list(Results(rows).by_case().values()), seed=seed, resamples=resamples))
            for group, rows in groups.items()
        ]

    def compare(self, first: str, second: str, *, seed: int, resamples: int = RESAMPLES) -> Comparison:
        """Compare two arms over the cases that both have; for one structure and metric."""
        ours, theirs = self.where(arm=first).by_case(), self.where(arm=second).by_case()
        shared = [case_id for case_id in ours if case_id in theirs]
        return compare_paired(
            [ours[case_id] for case_id in shared],
            [theirs[case_id] for case_id in shared],
            seed=seed,
            resamples=resamples,
        )

    def write(self, path: Path) -> None:
        """Write a `.csv` or `.parquet` file by its name; values come back bit for bit.

        Raises:
            InvalidValueError: another suffix.
        """
        write = {".csv": _write_csv, ".parquet": _write_parquet}[_suffix(path)]
        with writing(path.parent):
            path.parent.mkdir(parents=True, exist_ok=True)
        with writing(path), temporary_beside(path) as partial:
            write(partial, self.rows)
            partial.replace(path)

    @classmethod
    def read(cls, path: Path) -> "Results":
        """Read what `write` wrote.

        Raises:
            LocationError: no such file.
            FileFormatError: other columns, or a value that is no number.
            InvalidValueError: another suffix, or a row twice.
        """
        read: Callable[[Path], list[Result]] = {".csv": _read_csv, ".parquet": _read_parquet}[_suffix(path)]
        if not path.is_file():
            raise LocationError(str(path), got="no such file", need="a table of results", do="Check the path.")
        return cls(read(path))


def _mean(values: list[float]) -> float:
    kept = [value for value in values if not np.isnan(value)]
    return float(np.mean(kept)) if kept else float("nan")


def _suffix(path: Path) -> str:
    if path.suffix not in (".csv", ".parquet"):
        raise InvalidValueError(
            str(path), got=f"suffix {path.suffix!r}", need=".csv or .parquet", do="Name the table accordingly."
        )
    return path.suffix


def _write_csv(path: Path, rows: tuple[Result, ...]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(COLUMNS)
        table.writerows(astuple(row) for row in rows)  # floats as their shortest exact digits


def _write_parquet(path: Path, rows: tuple[Result, ...]) -> None:
    columns = {name: [getattr(row, name) for row in rows] for name in COLUMNS}
    parquet.write_table(pa.table(columns, schema=SCHEMA), path)


def _read_csv(path: Path) -> list[Result]:
    with path.open(newline="", encoding="utf-8") as file:
        table = csv.reader(file)
        _check_columns(path, next(table, []))
        try:
            return [Result(a, b, c, float(value), arm, int(seed)) for a, b, c, value, arm, seed in table]
        except ValueError as error:
            raise FileFormatError(
                f"{path}, line {table.line_num}",
                got=str(error),
                need="six fields with a number as value and a whole number as seed",
                do="Write the table again.",
            ) from None


def _read_parquet(path: Path) -> list[Result]:
    try:
        table = parquet.read_table(path)
    except pa.ArrowInvalid as error:
        raise FileFormatError(str(path), got=str(error), need="a Parquet file", do="Write the table again.") from None
    _check_columns(path, table.column_names)
    return [Result(**row) for row in table.to_pylist()]


def _check_columns(path: Path, names: list[str]) -> None:
    if tuple(names) != COLUMNS:
        raise FileFormatError(
            str(path),
            got=f"columns {', '.join(names) or 'none'}",
            need=", ".join(COLUMNS),
            do="Read a table that `Results.write` wrote.",
        )
