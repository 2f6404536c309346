"""What stands beside a report in structured form: sex, age and race of the patient, or nothing where it is not clear."""

import re
from collections.abc import Mapping, Sequence
from datetime import date
from types import MappingProxyType
from typing import Any

from prompts.sources.records import lookup
from prompts.sources.report import Stated
from prompts.vocabulary import normalise

__all__ = ["age_between", "column_attributes", "patient_attributes", "stated_columns"]

_COLUMNS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "patient.sex": ("sex", "gender", "patient_sex", "patient_gender", "patientsex"),
        "patient.age_years": ("age_years", "age", "patient_age", "patientage"),
        "patient.race": ("race", "patient_race"),
    }
)
_YEARS = re.compile(r"(\d{1,3}(?:\.\d+)?)(?:\s*(?:y|yr|yrs|year|years)(?:\s+old)?)?", re.IGNORECASE)
_DICOM_AGE = re.compile(r"(\d{3})([YMWD])")  # PS3.5, value representation AS
_PER_YEAR = MappingProxyType({"Y": 1.0, "M": 12.0, "W": 52.18, "D": 365.25})
_DATE = re.compile(r"(\d{4})(?:-(\d\d)(?:-(\d\d)(?:T.*)?)?)?", re.DOTALL)
_US_CORE_RACE = "us-core-race"


def stated_columns(columns: Sequence[str]) -> dict[str, str]:
    """Columns of a table that state a field of the patient, by field."""
    found = {}
    for field, names in _COLUMNS.items():
        known = {column.casefold(): column for column in reversed(columns)}
        column = next((known[name] for name in names if name in known), None)
        if column is not None:
            found[field] = column
    return found


def column_attributes(values: dict[str, Any], columns: Mapping[str, str]) -> dict[str, Stated]:
    """What the columns of one row state; a value that is not understood states nothing."""
    found = {}
    for field, column in columns.items():
        raw = lookup(values, column)
        value = _age(raw) if field == "patient.age_years" else _spelled(field, raw)
        if value is not None:
            found[field] = Stated(value, f"column {column}")
    return found


def _spelled(field: str, raw: Any) -> str | None:
    return normalise(field.partition(".")[2], raw) if isinstance(raw, str) else None


def _age(raw: Any) -> float | None:
    if isinstance(raw, bool) or not isinstance(raw, str | int | float):
        return None
    text = (raw if isinstance(raw, str) else repr(raw)).strip()
    if coded := _DICOM_AGE.fullmatch(text):
        years = round(int(coded[1]) / _PER_YEAR[coded[2]], 2)
    elif plain := _YEARS.fullmatch(text):
        years = float(plain[1])
    else:
        return None
    return years if years <= 120 else None


def patient_attributes(patient: Any, when: Any) -> dict[str, Stated]:
    """What a FHIR Patient states, with its age at the time of a report (FHIR date or dateTime, or None)."""
    if not isinstance(patient, dict):
        return {}
    found = {}
    if isinstance(patient.get("gender"), str) and (sex := normalise("sex", patient["gender"])):
        found["patient.sex"] = Stated(sex, "Patient.gender")
    if (age := age_between(patient.get("birthDate"), when)) is not None:
        found["patient.age_years"] = Stated(age, "Patient.birthDate")
    races = {value for code in _race_codes(patient) if (value := normalise("race", code))}
    if len(races) == 1:
        found["patient.race"] = Stated(races.pop(), "Patient.extension us-core-race")
    return found


def _race_codes(patient: dict[str, Any]) -> list[str]:
    """Categories of the race extension of US Core; several of them are no one race."""
    outer = [item for item in _list(patient.get("extension")) if str(item.get("url", "")).endswith(_US_CORE_RACE)]
    inner = [part for item in outer for part in _list(item.get("extension")) if part.get("url") == "ombCategory"]
    codings = [part.get("valueCoding") for part in inner]
    return [str(coding.get("code")) for coding in codings if isinstance(coding, dict)]


def _list(value: Any) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def age_between(birth: Any, when: Any) -> float | None:
    """Age in completed years between two FHIR dates; None where their precision leaves it open.

    Under two years of age it is the fraction, to 0.01, where both days are known.
    """
    born, seen = _bounds(birth), _bounds(when)
    if born is None or seen is None:
        return None
    least, most = _years(born[1], seen[0]), _years(born[0], seen[1])
    if least != most or not 0 <= least <= 120:
        return None
    if least < 2 and born[0] == born[1] and seen[0] == seen[1]:
        return round((seen[0] - born[0]).days / 365.25, 2)
    return float(least)


def _years(born: date, seen: date) -> int:
    return seen.year - born.year - ((seen.month, seen.day) < (born.month, born.day))


def _bounds(value: Any) -> tuple[date, date] | None:
    """First and last day that a FHIR date may mean: "1950-03" is any day of that month."""
    match = _DATE.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        return None
    month, day = (int(part) if part else None for part in match.groups()[1:])
    try:
        first = date(int(match[1]), month or 1, day or 1)
        if day:
            return first, first
        last = date(int(match[1]), month or 12, 28)
        while last.month == date.fromordinal(last.toordinal() + 1).month:
            last = date.fromordinal(last.toordinal() + 1)
    except (ValueError, OverflowError):
        return None
    return first, last
