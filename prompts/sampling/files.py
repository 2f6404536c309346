"""Distributions as TOML files: reading either kind, and writing a fitted one for people to read."""

import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from manifests.durable import replace
from manifests.errors import FileFormatError, LocationError, StorageError
from prompts.sampling.base import Distribution
from prompts.sampling.distribution import Population
from prompts.sampling.fitted import Fitted
from prompts.sampling.tables import Group, Number, Shift

__all__ = ["load_distribution", "to_toml", "write_distribution"]

_HEADER = """\
# Attribute distribution fitted to {rows} prompts, to be sampled with `factory prompts sample`.
#
# What it holds: for each group of tumour organs, rows of each level of each column (`category`), how two columns
# hang together (`pair`: rows of `of` for each level of `given`), and for numbers their quantiles at equal steps
# of probability, by level of each column (`by`) the mean and spread of their normal scores and the rows in each quarter
# of the group (1 the lowest), and Spearman's rank correlations.
# Everything else is independent given these.
#
# Privacy: no figure describes fewer than {min_count} rows. Rarer levels are pooled (`a + b`, drawn in equal parts) or
# left out; smaller cells are merged (`a | b`) or left out; counts carry noise of -1, 0 or 1; a quantile is the mean of {min_count}
# neighbouring rows, and nothing beyond the lowest and highest is drawn. Drawn numbers have `decimals` decimals of which the last
# is never 0, and no row of the table has such a number: so a drawn row with a number equals no patient. A row
# without any number is drawn only in a combination that at least {min_count} patients share (`unnumbered`); only in a group
# that has no numbers at all (no `number` table) can a drawn row be the same as that of a single patient.
# This is a minimum cell count, not differential privacy: judge with the data's owner whether it may be published.
"""


def load_distribution(path: Path) -> Distribution:
    """Read a distribution, fitted or of population statistics, from a TOML file.

    Raises:
        LocationError: if there is no such file.
        FileFormatError: if it is no TOML, or a table in it is wrong; the message names the first.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
        kind = Fitted if "kind" in content else Population
        return kind.model_validate(content)
    except OSError as error:
        raise LocationError(
            f"distribution {path}", got=str(error.strerror), need="a readable TOML file", do="Check the path."
        ) from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError, ValidationError) as error:
        first = error.errors()[0] if isinstance(error, ValidationError) else {"loc": (), "msg": str(error)}
        place = ".".join(str(part) for part in first["loc"])
        raise FileFormatError(
            f"distribution {path}" + (f", {place}" if place else ""),
            got=str(first["msg"])[:300],
            need="a distribution as `factory prompts fit` writes it, or as prompts/sampling/default_distribution.toml",
            do="Correct the file or fit it again.",
        ) from error


def write_distribution(path: Path, distribution: Fitted) -> None:
    """Write a fitted distribution; an earlier file of that name is replaced.

    Raises:
        LocationError: if there is no such folder, or it cannot be written.
        StorageError: if the disk is full.
    """
    try:
        replace(path, to_toml(distribution).encode())
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError, PermissionError) as error:
        raise LocationError(
            f"distribution {path}", got=str(error.strerror), need="a writable folder", do="Check --out."
        ) from error
    except OSError as error:
        raise StorageError(
            f"distribution {path}", got=str(error), need="room to write", do="Free space and run again."
        ) from error


def to_toml(distribution: Fitted) -> str:
    """The file of a fitted distribution; reading it back gives the same content."""
    head = {name: getattr(distribution, name) for name in ("format", "kind", "name", "rows", "min_count")}
    lines = [_HEADER.format(rows=distribution.rows, min_count=distribution.min_count)]
    lines += [f"{name} = {_value(value)}" for name, value in head.items()]
    for name, group in distribution.group.items():
        lines += _group(f"group.{_key(name)}", group)
    return "\n".join(lines) + "\n"


def _group(table: str, group: Group) -> list[str]:
    lines = ["", f"# {'-' * 98}", f"[{table}]", f"rows = {group.rows}", "", f"[{table}.category]"]
    lines += [f"{_key(column)} = {_inline(cells)}" for column, cells in group.category.items()]
    for name, number in group.number.items():
        lines += _number(f"{table}.number.{_key(name)}", number)
    for pair in group.pair:
        lines += ["", f"[[{table}.pair]]", f"given = {_value(pair.given)}", f"of = {_value(pair.of)}"]
        lines += [f"rows.{_key(level)} = {_inline(cells)}" for level, cells in pair.rows.items()]
        lines += [] if pair.rows else ["rows = {}"]
    for common in group.unnumbered:
        lines += ["", f"[[{table}.unnumbered]]", *(f"{_key(name)} = {_value(level)}" for name, level in common.items())]
    return lines


def _number(table: str, number: Number) -> list[str]:
    quantiles = ", ".join(f"{value:.{number.decimals}f}" for value in number.quantiles)
    lines = ["", f"[{table}]", f"decimals = {number.decimals}", f"quantiles = [{quantiles}]"]
    lines += [f"rank_correlation = {_inline(number.rank_correlation)}"] if number.rank_correlation else []
    for column, shifts in number.by.items():
        lines += ["", f"[{table}.by.{_key(column)}]"]
        lines += [f"{_key(level)} = {_shift(shift)}" for level, shift in shifts.items()]
    return lines


def _shift(shift: Shift) -> str:
    quarters = f", quarters = {_inline(shift.quarters)}" if shift.quarters else ""
    return f"{{ mean = {shift.mean}, sd = {shift.sd}{quarters} }}"


def _inline(table: Mapping[Any, object]) -> str:
    return f"{{ {', '.join(f'{_key(name)} = {_value(value)}' for name, value in table.items())} }}"


def _value(value: object) -> str:
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _key(name: str) -> str:
    plain = name and all(letter.isascii() and (letter.isalnum() or letter in "_-") for letter in name)
    return name if plain else _value(name)
