"""Tables to prompts by a declarative mapping: a TOML file that says which column is which field.

A mapping lists `[[field]]` rules in order; the first rule that gives a field a value wins. A rule
reads a column (or is a constant), maps its value by a closed list, a pattern or a unit, and
sends what it does not know to the rejects. `docs/prompts.md` is the reference.
"""

import tomllib
from collections.abc import Iterator
from collections.abc import Mapping as ReadOnly
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from manifests.errors import FileFormatError, InputError, InvalidValueError, UnknownNameError
from prompts.field_rule import FIELDS, FieldRule, RowRefusedError, cell_text, similar
from prompts.schema import Prompt, parse_prompt
from prompts.sources import Record, Reject, Table, lookup, plain

__all__ = [
    "FieldRule",
    "Mapped",
    "Mapping",
    "Refusal",
    "apply_mapping",
    "load_mapping",
    "mapping_names",
    "mapping_source",
]


class Refusal(BaseModel):
    """Rows that give no prompt by what a column says, with the reason for each value; letter case does not matter."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    column: Annotated[tuple[str, ...], Field(min_length=1)]
    values: ReadOnly[str, str]

    def check(self, record: Record) -> None:
        """Refuse a row.

        Raises:
            RowRefusedError: with the reason.
        """
        reasons = {value.casefold(): reason for value, reason in self.values.items()}
        for column in self.column:
            raw = lookup(record.values, column)
            if raw is not None and (reason := reasons.get(cell_text(raw).casefold())) is not None:
                raise RowRefusedError(f"{column}: {reason}")


class Mapping(BaseModel):
    """A whole mapping.

    Attributes:
        id: columns that identify a row; the first that the table has counts.
        unique: whether a repeated id is a reject.
        missing: texts that mean unstated in any column, letter case apart.
        required: fields without which a row gives no prompt.
        refuse: values of columns that make a row give no prompt.
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
    refuse: tuple[Refusal, ...] = ()
    field: Annotated[tuple[FieldRule, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _known(self) -> "Mapping":
        if unknown := set(self.required) - set(FIELDS):
            raise ValueError(f"required names no fields {', '.join(sorted(unknown))}; one of {', '.join(FIELDS)}")
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
                    got=f"{' or '.join(rule.column)}, which {table.name} lacks{similar(rule.column[0], table.columns)}",
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


def mapping_source(name: str) -> bytes:
    """The TOML file of a mapping that ships with the project, by name, or of the user's own, by path.

    Raises:
        UnknownNameError: if it is neither.
    """
    path = Path(name)
    if name in mapping_names():
        return files("prompts").joinpath("mappings", f"{name}.toml").read_bytes()
    if path.is_file():
        return path.read_bytes()
    raise UnknownNameError(
        "--mapping", got=repr(name), need=f"{', '.join(mapping_names())} or a TOML file", do="Check the name."
    )


def load_mapping(name: str) -> Mapping:
    """Load a mapping that ships with the project, by name, or the user's own, by path.

    Raises:
        UnknownNameError: if it is neither.
        FileFormatError: if the file is no mapping; the message names the first thing that is wrong.
    """
    content = mapping_source(name)
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
                raise RowRefusedError(f"row {seen[name]} has the same id")
            prompts.append((name, _read_row(mapping, record)))
            seen[name] = record.row
        except RowRefusedError as reason:
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
    return next((plain(cell_text(value)) for value in found if value is not None), str(record.row))


def _read_row(mapping: Mapping, record: Record) -> Prompt:
    for refusal in mapping.refuse:
        refusal.check(record)
    parts: dict[str, dict[str, Any]] = {"patient": {}, "study": {}, "tumour": {}, "prompt": {}}
    for rule in mapping.field:
        part, name = parts[FIELDS[rule.to]], rule.to.rpartition(".")[2]
        if part.get(name) is None:
            part[name] = _read_field(mapping, rule, record)
    for name in mapping.required:
        if parts[FIELDS[name]].get(name.rpartition(".")[2]) is None:
            raise RowRefusedError(f"{name}: no column gives a value that the mapping knows")
    tumour = {name: value for name, value in parts["tumour"].items() if value is not None}
    if tumour and "organ" not in tumour:
        raise RowRefusedError(f"a tumour ({', '.join(tumour)}) without an organ")
    lists = {name: [value] for name, value in parts["prompt"].items() if value is not None}
    content = {"patient": parts["patient"], "study": parts["study"], "tumours": [tumour] if tumour else [], **lists}
    try:
        return parse_prompt(content, "prompt")
    except InputError as error:
        raise RowRefusedError(f"{error.what.removeprefix('prompt, ')}: got {error.got}; need {error.need}") from error


def _read_field(mapping: Mapping, rule: FieldRule, record: Record) -> Any:
    if rule.constant is not None:
        return rule.constant
    return next((value for value in _stated(mapping, rule, record)), None)


def _stated(mapping: Mapping, rule: FieldRule, record: Record) -> Iterator[Any]:
    absent = {token.casefold() for token in (*mapping.missing, *rule.missing)}
    for column in rule.column or ():
        raw = lookup(record.values, column)
        if raw is None or raw != raw or cell_text(raw).casefold() in absent:
            continue
        value = rule.read(raw)
        if value is not None:
            yield value
