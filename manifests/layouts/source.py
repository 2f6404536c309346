"""What a layout makes of a folder: which files are a case, what its labels mean, and what is left out.

Nothing is read but names and tables, so whatever is wrong with a source as a whole is said before anything is written.
"""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from manifests.case import Attributes
from manifests.errors import FileFormatError, InvalidValueError, LocationError
from manifests.identity import is_identifier
from manifests.labelmap import LabelMap

__all__ = ["Names", "Source", "SourceCase", "find_root", "matches", "named", "paired", "read_json", "stated_notes"]

Names = Mapping[str, str]
"""Meanings of labels as `manifests.labelmap` reads them, by name or by value as text."""

_NOTHING = ("", "none", "null", "nan", "na")


@dataclass(frozen=True, slots=True)
class SourceCase:
    """One case of a source.

    Attributes:
        case_id: its name there; becomes case id and, unless `patient_id` is given, patient id.
        ct: the image.
        labels: one label map, or binary masks in painting order with the value each stands for.
        measured: what the source says of the patient; stages of an organ go to its largest tumour.
        notes: what else it says, as text.
        meanings: labels that mean something else in this case.
    """

    case_id: str
    ct: Path | None
    labels: tuple[tuple[Path, int | None], ...]
    split: str | None = None
    patient_id: str | None = None
    measured: Attributes = field(default_factory=Attributes)
    notes: Mapping[str, str] = field(default_factory=dict)
    meanings: LabelMap = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Source:
    """A folder of real cases, its labels understood.

    Attributes:
        folder: what paths in messages and records are relative to.
        layout: a key of `manifests.layouts.LAYOUTS`.
        resample_oblique: whether tilted images are resampled instead of refused.
        masks_only: whether there are no images; the CT of each case is then empty, -1024 HU throughout.
        left_out: names of what the release has beside its cases, by the reason why it is no case.
    """

    folder: Path
    layout: str
    cases: tuple[SourceCase, ...]
    labels: LabelMap
    licence: str | None = None
    resample_oblique: bool = False
    masks_only: bool = False
    left_out: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def find_root(folder: Path, places: Iterable[str], pattern: str, release: str) -> Path:
    """Find the part of a release that holds files of a pattern, under the folder that was named.

    Raises:
        LocationError: if none of the places does, or the folder is missing.
    """
    for place in places:
        if any(not path.name.startswith(".") for path in (folder / place).glob(pattern)):
            return folder / place
    raise LocationError(
        str(folder),
        got=f"no {pattern}" if folder.is_dir() else "no such folder",
        need=f"{release}, unpacked as it is released",
        do="Name the folder above these files, or another layout.",
    )


def matches(folder: Path, pattern: str) -> dict[str, list[Path]]:
    """Files by the text that the first `*` of the pattern stands for; hidden ones ("._" of macOS archives) do not count."""
    parts = [re.escape(part) for part in pattern.split("*")]
    expression = re.compile("([^/]+)".join(parts[:2]) + "".join(f"[^/]*{part}" for part in parts[2:]))
    found: dict[str, list[Path]] = {}
    for path in sorted(folder.glob(pattern)):
        inside = path.relative_to(folder)
        if not any(part.startswith(".") for part in inside.parts) and (
            match := expression.fullmatch(inside.as_posix())
        ):
            found.setdefault(match[1], []).append(path)
    return found


def paired(folder: Path, images: str, masks: str, split: str | None = None) -> list[SourceCase]:
    """Pair images and label maps by the text of the first `*` of both patterns, their case id; a lone file is a case, too."""
    pictures, maps = matches(folder, images) if images else {}, matches(folder, masks)
    cases = []
    for key in sorted(pictures.keys() | maps.keys()):
        ct, found = pictures.get(key, []), maps.get(key, [])
        cases.append(SourceCase(key, ct[0] if len(ct) == 1 else None, tuple((path, None) for path in found), split))
    return cases


def named(cases: Iterable[SourceCase]) -> tuple[SourceCase, ...]:
    """Refuse names that cannot be ids, or that two cases share.

    Raises:
        InvalidValueError: naming them.
    """
    listed = tuple(cases)
    names = [case.case_id for case in listed]
    wrong = [name for name in names if not is_identifier(name)] + sorted({n for n in names if names.count(n) > 1})
    if wrong or not names:
        raise InvalidValueError(
            "case names",
            got=", ".join(map(repr, wrong)) or "none",
            need="different names of letters, digits, `_`, `-`, `.`",
            do="Rename the files, or check the folder.",
        )
    return listed


def read_json(path: Path, keys: Iterable[str], need: str) -> dict[str, Any]:
    """Read a JSON object that must have some keys.

    Raises:
        LocationError: if there is no such file.
        FileFormatError: if it is no JSON object or lacks a key.
    """
    try:
        table = dict(json.loads(path.read_text(encoding="utf-8")))
        missing = [key for key in keys if key not in table]
    except OSError as error:
        raise LocationError(str(path), got=str(error.strerror), need=need, do="Check the folder.") from error
    except (ValueError, TypeError) as error:
        raise FileFormatError(str(path), got=repr(error), need=need, do="Repair it.") from error
    if missing:
        raise FileFormatError(str(path), got=f"no {', '.join(missing)}", need=need, do="Repair it.")
    return table


def stated_notes(row: Mapping[str, Any], columns: Mapping[str, str]) -> dict[str, str]:
    """Take columns of a table row as notes under other names, without those that state nothing."""
    texts = {column: str(row.get(column, "")).strip() for column in columns}
    return {columns[column]: text for column, text in texts.items() if text.lower() not in _NOTHING}
