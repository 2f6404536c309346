"""What the numbers of a foreign label map mean in our vocabulary: a structure, a lesion, or nothing.

A meaning is written as text: the name of a structure ("liver"), "tumour:ORGAN" or
"tumour:ORGAN:KIND" for lesions, or "ignore". Names that other datasets use ("left kidney",
"liver tumor", "L1") are looked up among the synonyms of the anatomy table; what is not unambiguous
there must be mapped by the user, and is never guessed.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from manifests.anatomy import Structure, by_word, sites, structures
from manifests.errors import FileFormatError, LocationError, UnknownNameError
from manifests.schemes import Label, scheme

__all__ = [
    "IGNORE",
    "LabelMap",
    "Meaning",
    "label_map",
    "read_label_names",
    "scheme_label_map",
    "undivided",
    "whole_structures",
]

IGNORE = "ignore"
_TUMOUR = re.compile(r"\b(tumou?rs?|cancers?|carcinomas?|lesions?|metastas[ie]s|primaries|mass(es)?)\b")
_UNDIVIDED = {
    ("kidney", None): "kidneys",
    ("lung", None): "lungs",
    ("lung", "left"): "lung_left",
    ("lung", "right"): "lung_right",
    ("adrenal_gland", None): "adrenal_glands",
    ("vertebrae", None): "vertebral_column",
    ("rib", None): "ribs",
    ("colon", None): "colon",
}
"""Structure for a group, or one side of it, that a source does not divide."""


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a foreign label is: a structure, or lesions of an organ; both None for what is dropped."""

    structure: str | None = None
    organ: str | None = None
    kind: str = "solid"


LabelMap = Mapping[int, Meaning]
"""Meanings by the values of a foreign label map; 0 is always background."""


def undivided(organ: str) -> str:
    """Structure that stands for a whole organ, where its parts are unknown."""
    return _UNDIVIDED.get((organ, None), organ)


def whole_structures(organ: str) -> tuple[str, ...]:
    """Structures that stand for a whole organ or one side of it."""
    return tuple(name for (group, _), name in _UNDIVIDED.items() if group == organ)


def label_map(names: Mapping[int, str], overrides: Mapping[str, str] | None = None) -> dict[int, Meaning]:
    """Find the meaning of each label of a source.

    Args:
        names: label names by value, as the source has them; value 0 is left out.
        overrides: meanings by a source's label name or by its value as text; they count first.

    Raises:
        UnknownNameError: naming every label that is not in the vocabulary and not mapped, or an
            override for a label that the source lacks.
    """
    overrides = dict(overrides or {})
    labels = {value: name for value, name in names.items() if value != 0}
    stray = sorted(set(overrides) - {str(value) for value in labels} - set(labels.values()) - {"0"})
    found = {value: _meaning(overrides.get(str(value), overrides.get(name, name))) for value, name in labels.items()}
    unknown = [f"{labels[value]!r} ({value})" for value, meaning in found.items() if meaning is None]
    if unknown or stray:
        raise UnknownNameError(
            "label map",
            got=", ".join(unknown + [f"{name!r} mapped but not in the source" for name in stray]),
            need="names of manifests/anatomy.csv, or a meaning for each",
            do='Map them, e.g. {"tumor": "tumour:kidney", "couch": "ignore"}.',
        )
    return {value: meaning for value, meaning in found.items() if meaning is not None}


def scheme_label_map(name: str, overrides: Mapping[str, str] | None = None) -> dict[int, Meaning]:
    """Read a label scheme backwards: what its values mean in a foreign mask.

    Raises:
        UnknownNameError: if there is no such scheme, or a label of it means several things and is not mapped.
    """
    labels = scheme(name).definitions
    backwards = {label.name: text for label in labels if (text := _backwards(label))}
    return label_map({label.value: label.name for label in labels}, backwards | dict(overrides or {}))


def read_label_names(path: Path) -> dict[int, str]:
    """Read a JSON file {value: name} or {name: value}.

    Raises:
        LocationError: if there is no such file.
        FileFormatError: if it is not such a table, or gives one value two names.
    """
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
        by_value = all(str(key).isdigit() for key in table)
        pairs = [(int(key), text) if by_value else (text, key) for key, text in table.items()]
    except OSError as error:
        raise LocationError(str(path), got=str(error.strerror), need="a label map", do="Check the path.") from error
    except (ValueError, AttributeError) as error:
        raise _no_map(path, str(error)) from error
    if not all(type(value) is int and isinstance(name, str) for value, name in pairs):
        raise _no_map(path, "entries of other types")
    if len(dict(pairs)) != len(pairs):
        raise _no_map(path, "one value with two names")
    return dict(pairs)


def _no_map(path: Path, got: str) -> FileFormatError:
    return FileFormatError(str(path), got=got, need='a JSON table such as {"1": "liver"}', do="Correct the file.")


def _backwards(label: Label) -> str | None:
    """Meaning of a scheme's label as text, None where it is open."""
    if label.reads_as:
        return label.reads_as
    patterns = [pattern for pattern in label.lesions if pattern != "*"]
    return f"tumour:{patterns[0]}" if len(patterns) == 1 else None


def _meaning(text: str) -> Meaning | None:
    """Look a name up; None if it is unknown or ambiguous."""
    if text == IGNORE:
        return Meaning()
    if text.startswith("tumour:"):
        organ, _, kind = text.removeprefix("tumour:").partition(":")
        return Meaning(organ=organ, kind=kind or "solid") if sites(organ) else None
    if (entry := _structure(text)) is not None:
        return Meaning(structure=entry)
    organs = (
        {entry.organ for entry in _candidates(_TUMOUR.sub(" ", text.lower()))}
        if _TUMOUR.search(text.lower())
        else set()
    )
    return Meaning(organ=organs.pop()) if len(organs) == 1 and None not in organs else None


def _candidates(text: str) -> tuple[Structure, ...]:
    words = " ".join(re.sub(r"[_\W]+", " ", text.lower()).split())
    named = tuple(entry for entry in structures() if entry.name.lower() == words.replace(" ", "_"))
    return named or by_word(words)


def _structure(text: str) -> str | None:
    """Name of the one structure that a text means; a whole group means its undivided structure."""
    found = _candidates(text)
    if len(found) == 1:
        return found[0].name
    groups, sides = {entry.group for entry in found}, {entry.side for entry in found}
    if len(groups) != 1:
        return None
    side = sides.pop() if len(sides) == 1 else None
    whole = [entry for entry in structures() if entry.group in groups and side in (None, entry.side)]
    return _UNDIVIDED.get((groups.pop(), side)) if len(found) == len(whole) else None
