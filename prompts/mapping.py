"""Tables to prompts by a declarative mapping: a TOML file that says which column is which field.

A mapping lists `[[field]]` rules in order; the first rule that gives a field a value wins. A rule
reads a column (or is a constant), maps its value by a closed list, a pattern or a unit, and
sends what it does not know to the rejects. `docs/prompts.md` is the reference.
"""

import difflib
import math
import re
import tomllib
from collections.abc import Iterator, Sequence
from collections.abc import Mapping as ReadOnly
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from manifests.errors import FileFormatError, InputError, InvalidValueError, UnknownNameError
from prompts.schema import Patient, Prompt, Study, Tumour, parse_prompt
from prompts.sources import Record, Reject, Table, lookup

__all__ = ["FieldRule", "Mapped", "Mapping", "apply_mapping", "load_mapping", "mapping_names"]

_FIELDS = {
    **{f"patient.{name}": "patient" for name in Patient.model_fields},
    **{f"study.{name}": "study" for name in Study.model_fields},
    **{f"tumour.{name}": "tumour" for name in Tumour.model_fields},
    "absent_organs": "prompt",
    "enlarged_organs": "prompt",
}
_NUMBERS = {"patient.age_years", "patient.height_cm", "patient.weight_kg", "tumour.size_mm", "tumour.count"}
_UNITS = {
    "patient.age_years": {"years": 1.0, "months": 1 / 12, "days": 1 / 365.25},
    "patient.height_cm": {"cm": 1.0, "mm": 0.1, "m": 100.0, "in": 2.54},
    "patient.weight_kg": {"kg": 1.0, "g": 0.001, "lb": 0.45359237},
    "tumour.size_mm": {"mm": 1.0, "cm": 10.0, "in": 25.4},
}


class _Rejected(Exception):  # noqa: N818 - control flow inside this file: a row that gives no prompt
    """A row gives no prompt, for this reason."""


class FieldRule(BaseModel):
    """How one field is read.

    Attributes:
        to: the field of a prompt, e.g. "patient.age_years", "tumour.size_mm", "absent_organs".
        column: column or dotted path, or several of which the first with a value counts.
        constant: a value for every row instead of a column.
        values: source value to field value, letter case apart; "" leaves the field unstated.
        rejects: source value to the reason why such a row gives no prompt.
        pattern: regular expression; its first group is the value, no match leaves it unmapped.
        prefix: text put before the value that the pattern found, e.g. "T".
        unit: unit of the source numbers, converted to that of the field.
        other: what becomes of a value that nothing maps: "reject" the row, or "unstated".
        missing: further texts that mean unstated, for this field alone.
        optional: whether the table may lack the column.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    to: str
    column: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    constant: str | int | float | None = None
    values: ReadOnly[str, str | int | float] = {}
    rejects: ReadOnly[str, str] = {}
    pattern: str | None = None
    prefix: str = ""
    unit: str | None = None
    other: Literal["reject", "unstated"] = "reject"
    missing: tuple[str, ...] = ()
    optional: bool = False

    @model_validator(mode="before")
    @classmethod
    def _one_column(cls, data: Any) -> Any:
        if isinstance(data, dict) and isinstance(data.get("column"), str):
            return {**data, "column": [data["column"]]}
        return data

    @model_validator(mode="after")
    def _possible(self) -> "FieldRule":
        if self.to not in _FIELDS:
            raise ValueError(f"no field is called {self.to!r}{_similar(self.to, _FIELDS)}; one of {', '.join(_FIELDS)}")
        if (self.column is None) == (self.constant is None):
            raise ValueError(f"{self.to} needs either a column or a constant")
        if self.unit is not None and self.unit not in _UNITS.get(self.to, {}):
            raise ValueError(
                f"unit {self.unit!r} of {self.to} is none of {', '.join(_UNITS.get(self.to, {})) or 'any'}"
            )
        if self.pattern is not None:
            _compile(self.pattern)
        return self

    @cached_property
    def _values(self) -> dict[str, str | int | float]:
        return {key.casefold(): value for key, value in self.values.items()}

    @cached_property
    def _rejects(self) -> dict[str, str]:
        return {key.casefold(): reason for key, reason in self.rejects.items()}

    def read(self, raw: Any) -> Any:
        """Turn a source value, not missing, into the field's value; None for unstated.

        Raises:
            _Rejected: with the reason.
        """
        text = _text(raw)
        if text.casefold() in self._rejects:
            raise _Rejected(f"{self.to}: {self._rejects[text.casefold()]}")
        if text.casefold() in self._values:
            value = self._values[text.casefold()]
            return None if value == "" else value
        if self.to in _NUMBERS and self.pattern is None:
            return self._number(text)
        if self.pattern is not None:
            found = re.search(self.pattern, text, re.IGNORECASE)
            if found:
                return self._number(found[1]) if self.to in _NUMBERS else self.prefix + found[1].lower()
        elif not self.values:
            return text.strip().lower().replace(" ", "_")
        if self.other == "unstated":
            return None
        raise _Rejected(f"{self.to}: {text[:60]!r} is not in the mapping")

    def _number(self, text: str) -> float | int | None:
        try:
            number = float(text.replace(",", ".") if text.count(",") == 1 and "." not in text else text)
        except ValueError:
            if self.other == "unstated":
                return None
            raise _Rejected(f"{self.to}: {text[:60]!r} is not a number") from None
        if not math.isfinite(number):
            raise _Rejected(f"{self.to}: {text[:60]!r} is not finite")
        if self.to == "tumour.count":
            return int(number) if number.is_integer() else number
        if self.unit is None:
            return number
        return round(number * _UNITS[self.to][self.unit], 4)


def _text(raw: Any) -> str:
    """A cell as text; whole numbers without a decimal point, so that "1" and 1.0 are one value."""
    if isinstance(raw, float) and raw.is_integer():
        return str(int(raw))
    return str(raw).strip()


def _compile(pattern: str) -> None:
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise ValueError(f"pattern {pattern!r}: {error}") from error
    if compiled.groups < 1:
        raise ValueError(f"pattern {pattern!r} has no group to read")


def _similar(name: str, names: Sequence[str] | ReadOnly[str, Any]) -> str:
    close = difflib.get_close_matches(name, list(names), n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""


class Mapping(BaseModel):
    """A whole mapping.

    Attributes:
        id: columns that identify a row; the first that the table has counts.
        unique: whether a repeated id is a reject.
        missing: texts that mean unstated in any column, letter case apart.
        required: fields without which a row gives no prompt.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1]
    name: str
    description: str = ""
    source: str = ""
    id: tuple[str, ...] = ()
    unique: bool = False
    missing: tuple[str, ...] = ()
    required: tuple[str, ...] = ()
    field: Annotated[tuple[FieldRule, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _known(self) -> "Mapping":
        if unknown := set(self.required) - set(_FIELDS):
            raise ValueError(f"required names no fields {', '.join(sorted(unknown))}; one of {', '.join(_FIELDS)}")
        return self

    def check_columns(self, table: Table) -> None:
        """Refuse a mapping that names columns which the table lacks.

        Raises:
            UnknownNameError: naming the first such column, and the nearest that exists.
        """
        found = False
        for rule in self.field:
            present = [name for name in rule.column or () if name in table.columns]
            found |= bool(present)
            if rule.column and not present and not rule.optional:
                raise UnknownNameError(
                    f"mapping {self.name}, column of {rule.to}",
                    got=f"{' or '.join(rule.column)}, which {table.name} lacks{_similar(rule.column[0], table.columns)}",
                    need=f"a column of it: {', '.join(table.columns[:24])}",
                    do="Choose the mapping of this table, or copy one and change its columns.",
                )
        if not found:
            raise UnknownNameError(
                f"mapping {self.name}",
                got=f"{table.name} with columns {', '.join(table.columns[:24])}",
                need="at least one column that the mapping names: "
                + ", ".join(dict.fromkeys(name for rule in self.field for name in rule.column or ()))[:300],
                do="Choose another mapping, or rename the columns.",
            )


@dataclass(frozen=True, slots=True)
class Mapped:
    """What a mapping made of a table: prompts with their row ids, and rejects."""

    prompts: tuple[tuple[str, Prompt], ...]
    rejects: tuple[Reject, ...]


def mapping_names() -> tuple[str, ...]:
    """Names of the mappings that ship with the project."""
    folder = files("prompts").joinpath("mappings")
    return tuple(sorted(entry.name.removesuffix(".toml") for entry in folder.iterdir() if entry.name.endswith(".toml")))


def load_mapping(name: str) -> Mapping:
    """Load a mapping that ships with the project, by name, or the user's own, by path.

    Raises:
        UnknownNameError: if it is neither.
        FileFormatError: if the file is no mapping; the message names the first thing that is wrong.
    """
    path = Path(name)
    if name in mapping_names():
        content = files("prompts").joinpath("mappings", f"{name}.toml").read_bytes()
    elif path.is_file():
        content = path.read_bytes()
    else:
        raise UnknownNameError(
            "--mapping", got=repr(name), need=f"{', '.join(mapping_names())} or a TOML file", do="Check the name."
        )
    try:
        return Mapping.model_validate(tomllib.loads(content.decode("utf-8")))
    except ValidationError as error:
        first = error.errors()[0]
        place, got = ".".join(str(part) for part in first["loc"]), first["msg"].removeprefix("Value error, ")
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        place, got = "", str(error)
    raise FileFormatError(
        f"mapping {name}" + (f", {place}" if place else ""),
        got=got,
        need="a mapping as in docs/prompts.md",
        do="Correct the file.",
    )


def apply_mapping(mapping: Mapping, table: Table) -> Mapped:
    """Read every row of a table as a prompt or as a reject.

    Raises:
        UnknownNameError: if the mapping names columns that the table lacks.
        InvalidValueError: if no row gives a prompt; the message has the first reason.
    """
    mapping.check_columns(table)
    prompts, rejects, seen = [], list(table.rejects), dict[str, int]()
    for record in table.records:
        name = _identify(mapping, record)
        try:
            if mapping.unique and name in seen:
                raise _Rejected(f"row {seen[name]} has the same id")
            prompts.append((name, _read_row(mapping, record)))
            seen[name] = record.row
        except _Rejected as reason:
            rejects.append(Reject(table.name, record.row, name, str(reason)))
    if not prompts:
        raise InvalidValueError(
            f"table {table.name}",
            got=f"{len(rejects)} rows, none of them usable; the first: {rejects[0].reason}",
            need="at least one row that gives a prompt",
            do="Check the mapping against the table.",
        )
    return Mapped(tuple(prompts), tuple(sorted(rejects, key=lambda reject: reject.row)))


def _identify(mapping: Mapping, record: Record) -> str:
    found = (lookup(record.values, column) for column in mapping.id)
    return next((_text(value) for value in found if value is not None), str(record.row))


def _read_row(mapping: Mapping, record: Record) -> Prompt:
    parts: dict[str, dict[str, Any]] = {"patient": {}, "study": {}, "tumour": {}, "prompt": {}}
    for rule in mapping.field:
        part, name = parts[_FIELDS[rule.to]], rule.to.rpartition(".")[2]
        if part.get(name) is None:
            part[name] = _read_field(mapping, rule, record)
    for name in mapping.required:
        if parts[_FIELDS[name]].get(name.rpartition(".")[2]) is None:
            raise _Rejected(f"{name}: no column gives a value that the mapping knows")
    tumour = {name: value for name, value in parts["tumour"].items() if value is not None}
    if tumour and "organ" not in tumour:
        raise _Rejected(f"a tumour ({', '.join(tumour)}) without an organ")
    lists = {name: [value] for name, value in parts["prompt"].items() if value is not None}
    content = {"patient": parts["patient"], "study": parts["study"], "tumours": [tumour] if tumour else [], **lists}
    try:
        return parse_prompt(content, "prompt")
    except InputError as error:
        raise _Rejected(f"{error.what.removeprefix('prompt, ')}: got {error.got}; need {error.need}") from error


def _read_field(mapping: Mapping, rule: FieldRule, record: Record) -> Any:
    if rule.constant is not None:
        return rule.constant
    return next((value for value in _stated(mapping, rule, record)), None)


def _stated(mapping: Mapping, rule: FieldRule, record: Record) -> Iterator[Any]:
    absent = {token.casefold() for token in (*mapping.missing, *rule.missing)}
    for column in rule.column or ():
        raw = lookup(record.values, column)
        if raw is None or raw != raw or _text(raw).casefold() in absent:
            continue
        value = rule.read(raw)
        if value is not None:
            yield value
