"""Prompts as flat columns: one level or number for each field, tumours in numbered slots, and back.

Column names are field names; those of the second tumour end in `_2`, and so on. Two columns hold
more than one field because these only make sense together: `place` (site or side of a tumour) and
`changes` (absent and enlarged organs). Levels are text; a field that is not stated has the level
`unstated`, a number that is not stated is None.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import ValidationError

from manifests.anatomy import SEX_ORGANS, group, sites, structure
from prompts.schema import Patient, Prompt, Study, Tumour

__all__ = [
    "NO_CHANGE",
    "NO_TUMOUR",
    "ROOT",
    "UNSTATED",
    "Columns",
    "agree",
    "categories",
    "decode",
    "encode",
    "number_range",
    "numbers",
    "pattern_organs",
    "root_level",
]

ROOT = "organs"
UNSTATED, NO_TUMOUR, NO_CHANGE = "unstated", "none", "no change"
Columns = Mapping[str, str | float | None]

_PATIENT, _STUDY = ("sex", "race"), ("contrast_phase", "region")
_STAGES = ("t_stage", "n_stage", "m_stage")
_NUMBERS = ("age_years", "height_cm", "weight_kg")
_RANGES = {"age_years": (0.0, 120.0), "height_cm": (40.0, 230.0), "weight_kg": (2.0, 350.0), "size_mm": (0.05, 400.0)}
_AND = " & "


def _slot(name: str, number: int) -> str:
    return name if number == 1 else f"{name}_{number}"


def root_level(organs: Iterable[str]) -> str:
    """Tumour organs as one level of `organs`, the root of every model."""
    return _AND.join(organs) or NO_TUMOUR


def pattern_organs(level: str) -> tuple[str, ...]:
    """Organs of a level of `organs`."""
    return () if level == NO_TUMOUR else tuple(level.split(_AND))


def categories(slots: int) -> tuple[str, ...]:
    """Names of the categorical columns after `organs`, in the order in which they are drawn.

    Each may depend on all that come before it: what a tumour is comes first, who has it next.
    """
    members = [[_slot(name, number) for number in range(1, slots + 1)] for name in ("place", *_STAGES, "count")]
    places, *rest = members
    stages = [name for column in rest for name in column]
    return (*places, "sex", "changes", *stages, "race", *_STUDY)


def numbers(slots: int) -> tuple[str, ...]:
    """Names of the number columns, in the order in which they are drawn: after all categories."""
    return (*(_slot("size_mm", number) for number in range(1, slots + 1)), *_NUMBERS)


def number_range(name: str) -> tuple[float, float]:
    """What the schema allows for a number column."""
    return _RANGES["size_mm" if name.startswith("size_mm") else name]


def encode(prompt: Prompt) -> dict[str, str | float | None]:
    """Flatten a prompt."""
    flat: dict[str, str | float | None] = {
        ROOT: root_level(tumour.organ for tumour in prompt.tumours),
        "changes": _changes(prompt),
    }
    for part, names in ((prompt.patient, _PATIENT), (prompt.study, _STUDY)):
        flat |= {name: getattr(part, name) or UNSTATED for name in names}
    flat |= {name: getattr(prompt.patient, name) for name in _NUMBERS}
    for number, tumour in enumerate(prompt.tumours, start=1):
        flat[_slot("place", number)] = tumour.site or tumour.side or UNSTATED
        flat[_slot("count", number)] = UNSTATED if tumour.count is None else str(tumour.count)
        flat |= {_slot(name, number): getattr(tumour, name) or UNSTATED for name in _STAGES}
        flat[_slot("size_mm", number)] = tumour.size_mm
    return flat


def decode(flat: Columns) -> Prompt:
    """Make the prompt of flat columns; a column that is left out is not stated.

    Raises:
        ValidationError, ValueError, LookupError: if the values contradict each other or are none of the vocabulary.
    """
    organs = pattern_organs(str(flat[ROOT]))
    absent, enlarged = _read_changes(str(flat.get("changes", NO_CHANGE)))
    return Prompt(
        patient=Patient(**_stated(flat, (*_PATIENT, *_NUMBERS))),
        study=Study(**_stated(flat, _STUDY)),
        tumours=tuple(_tumour(organ, number, flat) for number, organ in enumerate(organs, start=1)),
        absent_organs=absent,
        enlarged_organs=enlarged,
    )


def agree(flat: Columns) -> bool:
    """Tell whether columns are a valid prompt that says no organ absent which the sex never has.

    The schema itself lets a report state an absent uterus of a man; nothing is drawn so.
    """
    try:
        prompt = decode(flat)
    except (ValidationError, ValueError, LookupError):
        return False
    return _absent(prompt) == prompt.absent_organs


def _stated(flat: Columns, names: Iterable[str]) -> dict[str, Any]:
    return {name: value for name in names if (value := flat.get(name)) not in (None, UNSTATED)}


def _tumour(organ: str, number: int, flat: Columns) -> Tumour:
    ending = "" if number == 1 else f"_{number}"
    fields: dict[str, Any] = {
        name: value
        for name in ("place", "count", "size_mm", *_STAGES)
        if (value := flat.get(name + ending)) not in (None, UNSTATED)
    }
    place = fields.pop("place", None)
    if place in ("left", "right"):
        fields["side"] = place
    elif place is not None:
        if structure(place).name not in sites(organ):
            raise ValueError(f"{place} is no site of {organ}")
        fields["site"] = place
    if "count" in fields:
        fields["count"] = int(fields["count"])
    return Tumour(organ=organ, **fields)


def _absent(prompt: Prompt) -> tuple[str, ...]:
    """Absent organs that are worth saying: a stated sex has others that it never has."""
    never = {organ for sex, organ in SEX_ORGANS.items() if prompt.patient.sex not in (sex, None)}
    return tuple(name for name in prompt.absent_organs if name not in never)


def _changes(prompt: Prompt) -> str:
    parts = (("absent", _absent(prompt)), ("enlarged", prompt.enlarged_organs))
    return "; ".join(f"{word} {', '.join(names)}" for word, names in parts if names) or NO_CHANGE


def _read_changes(level: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {"absent": (), "enlarged": ()}
    for part in () if level in (NO_CHANGE, UNSTATED) else level.split("; "):
        word, _, names = part.partition(" ")
        if word not in found or not names:
            raise ValueError(f"changes {level!r}")
        found[word] = tuple(names.split(", "))
        for name in found[word]:
            group(name)  # an unknown name is an error here, not later
    return found["absent"], found["enlarged"]
