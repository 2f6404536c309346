"""One rule of a column mapping: which column is which field, and how its values are read."""

import difflib
import math
import re
from collections.abc import Mapping as ReadOnly
from collections.abc import Sequence
from functools import cached_property
from types import MappingProxyType
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from prompts.schema import Patient, Study, Tumour
from prompts.vocabulary import VOCABULARIES, Vocabulary, is_listed, normalise

__all__ = ["FIELDS", "FieldRule", "RowRefusedError", "cell_text", "similar"]

FIELDS: ReadOnly[str, str] = MappingProxyType(
    {
        **{f"patient.{name}": "patient" for name in Patient.model_fields},
        **{f"study.{name}": "study" for name in Study.model_fields},
        **{f"tumour.{name}": "tumour" for name in Tumour.model_fields},
        "absent_organs": "prompt",
        "enlarged_organs": "prompt",
    }
)
"""Fields that a rule can fill, with the part of the prompt that holds each."""

_NUMBERS = {"patient.age_years", "patient.height_cm", "patient.weight_kg", "tumour.size_mm", "tumour.count"}
_ORGANS = {"absent_organs", "enlarged_organs"}
_THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2},\d{3}")
_DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+")
_UNITS = {
    "patient.age_years": {"years": 1.0, "months": 1 / 12, "days": 1 / 365.25},
    "patient.height_cm": {"cm": 1.0, "mm": 0.1, "m": 100.0, "in": 2.54},
    "patient.weight_kg": {"kg": 1.0, "g": 0.001, "lb": 0.45359237},
    "tumour.size_mm": {"mm": 1.0, "cm": 10.0, "in": 25.4},
}


class RowRefusedError(Exception):
    """A row gives no prompt, for this reason."""


class FieldRule(BaseModel):
    """How one field is read.

    Attributes:
        to: the field of a prompt, e.g. "patient.age_years", "tumour.size_mm", "absent_organs".
        column: column or dotted path, or several of which the first with a value counts.
        constant: a value for every row instead of a column.
        values: source value to field value, letter case apart; "" leaves the field unstated.
        rejects: source value to the reason why such a row gives no prompt.
        vocabulary: closed list of spellings that is asked after `values`: "sex", "race", "organ", "t_stage", ...
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
    vocabulary: Vocabulary | None = None
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
        if self.to not in FIELDS:
            raise ValueError(f"no field is called {self.to!r}{similar(self.to, FIELDS)}; one of {', '.join(FIELDS)}")
        if (self.column is None) == (self.constant is None):
            raise ValueError(f"{self.to} needs either a column or a constant")
        if self.unit is not None and self.unit not in _UNITS.get(self.to, {}):
            raise ValueError(
                f"unit {self.unit!r} of {self.to} is none of {', '.join(_UNITS.get(self.to, {})) or 'any'}"
            )
        if self.vocabulary not in (None, "organ" if self.to in _ORGANS else self.to.rpartition(".")[2]):
            raise ValueError(
                f"{self.to} is not of the vocabulary {self.vocabulary!r}; one of {', '.join(VOCABULARIES)}"
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
            RowRefusedError: with the reason.
        """
        text = cell_text(raw)
        if text.casefold() in self._rejects:
            raise RowRefusedError(f"{self.to}: {self._rejects[text.casefold()]}")
        if text.casefold() in self._values:
            value = self._values[text.casefold()]
            return None if value == "" else value
        if self.vocabulary is not None and is_listed(self.vocabulary, text):
            return normalise(self.vocabulary, text)
        if self.to in _NUMBERS and self.pattern is None:
            return self._number(text)
        if self.pattern is not None:
            found = re.search(self.pattern, text, re.IGNORECASE)
            if found:
                return self._number(found[1]) if self.to in _NUMBERS else self.prefix + found[1].lower()
        elif not self.values and self.vocabulary is None:
            return text.strip().lower().replace(" ", "_")
        if self.other == "unstated":
            return None
        raise RowRefusedError(f"{self.to}: {text[:60]!r} is not in the mapping")

    def _number(self, text: str) -> float | int | None:
        if _THOUSANDS.fullmatch(text):
            raise RowRefusedError(f"{self.to}: {text!r} may be thousands or decimals")
        try:
            number = float(text.replace(",", ".") if _DECIMAL_COMMA.fullmatch(text) else _plain(text))
        except ValueError:
            if self.other == "unstated":
                return None
            raise RowRefusedError(f"{self.to}: {text[:60]!r} is not a number") from None
        if not math.isfinite(number):
            raise RowRefusedError(f"{self.to}: {text[:60]!r} is not finite")
        if self.to == "tumour.count":
            return int(number) if number.is_integer() else number
        if self.unit is None:
            return number
        return round(number * _UNITS[self.to][self.unit], 4)


def _plain(text: str) -> str:
    """The text, unless Python alone would read it as a number: 1_0."""
    return "" if "_" in text else text


def cell_text(raw: Any) -> str:
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


def similar(name: str, names: Sequence[str] | ReadOnly[str, Any]) -> str:
    """Ask whether the nearest of several names was meant; empty where none is near."""
    close = difflib.get_close_matches(name, list(names), n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""
