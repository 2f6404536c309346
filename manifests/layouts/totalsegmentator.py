"""A TotalSegmentator folder: its public dataset, version 1 or 2, or what the tool made of a folder of scans."""

import csv
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from manifests.anatomy import structure
from manifests.case import Attributes
from manifests.errors import FileFormatError
from manifests.labelmap import Meaning, label_map
from manifests.layouts.source import Names, Source, SourceCase, find_root, matches, named, stated_notes

__all__ = ["totalsegmentator_source"]

_VERSION_1 = {
    **dict.fromkeys(
        (
            "heart_myocardium",
            *(f"heart_{room}_{side}" for room in ("atrium", "ventricle") for side in ("left", "right")),
        ),
        "heart",
    ),
    "pulmonary_artery": "ignore",
    "face": "ignore",
}
"""Classes of version 1 that version 2 has no more, as it reads them."""

_NOTES = {
    "institute": "institute",
    "study_type": "study_type",
    "manufacturer": "manufacturer",
    "scanner_model": "scanner_model",
    "kvp": "kvp",
    "pathology": "pathology",
    "pathology_location": "pathology_location",
}
_SEXES: Mapping[str, Any] = {"m": "male", "male": "male", "f": "female", "female": "female"}


def totalsegmentator_source(folder: Path, overrides: Names | None = None) -> Source:
    """Read `*/ct.nii.gz`, `*/segmentations/CLASS.nii.gz` and, where it is there, `meta.csv`.

    Args:
        folder: holds one folder per subject.
        overrides: meanings of further classes, e.g. {"hepatic_vessel": "ignore"}.

    Raises:
        LocationError: if no subject is there.
        InvalidValueError: if a subject's name cannot be an id.
        UnknownNameError: if a class is not understood.
        FileFormatError: if `meta.csv` has no column `image_id`.
    """
    find_root(folder, ("",), "*/ct.nii.gz", "TotalSegmentator's subjects (*/ct.nii.gz)")
    scans = matches(folder, "*/ct.nii.gz")
    masks = {subject: matches(folder / subject / "segmentations", "*.nii.gz") for subject in scans}
    classes = dict(enumerate(sorted({name for found in masks.values() for name in found}), 1))
    known = {name: meaning for name, meaning in _VERSION_1.items() if name in classes.values()}
    meanings = label_map(classes, known | dict(overrides or {}))
    painted = [value for value, meaning in meanings.items() if meaning != Meaning()]
    values = {classes[value]: value for value in sorted(painted, key=lambda value: _painting_order(meanings[value]))}
    meta = _meta(folder / "meta.csv")
    cases = [
        SourceCase(
            case_id=subject,
            ct=scans[subject][0],
            labels=tuple((masks[subject][name][0], value) for name, value in values.items() if name in masks[subject]),
            split=meta.get(subject, {}).get("split") or None,
            measured=_patient(meta.get(subject, {})),
            notes=stated_notes(meta.get(subject, {}), _NOTES),
        )
        for subject in scans
    ]
    lost = tuple(path.parent.name for path in sorted(folder.glob("*/segmentations")) if path.parent.name not in scans)
    return Source(folder, "totalsegmentator", named(cases), meanings, left_out={"no ct.nii.gz": lost} if lost else {})


def _painting_order(meaning: Meaning) -> int:
    """Position in TotalSegmentator's order of painting: structures by id, then lesions; the later covers the earlier."""
    return structure(meaning.structure).id if meaning.structure else 256


def _meta(path: Path) -> dict[str, dict[str, str]]:
    """Rows of TotalSegmentator's meta.csv by image_id; empty without the file."""
    if not path.exists():
        return {}
    rows = list(csv.DictReader(path.read_text(encoding="utf-8-sig").splitlines(), delimiter=";"))
    if rows and "image_id" not in rows[0]:
        raise FileFormatError(str(path), got=f"columns {list(rows[0])}", need="image_id", do="Separate columns by `;`.")
    return {row["image_id"]: row for row in rows}


def _patient(row: Mapping[str, str]) -> Attributes:
    age = row.get("age") or ""
    return Attributes(
        age_years=float(age) if re.fullmatch(r"\d+(\.\d+)?", age) else None,
        sex=_SEXES.get((row.get("gender") or "").lower()),
    )
