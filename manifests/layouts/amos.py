"""AMOS22 (Ji et al., NeurIPS 2022): CT with 15 organs; its MRI is left out."""

import csv
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from manifests.case import Attributes
from manifests.errors import FileFormatError
from manifests.labelmap import Meaning, scheme_label_map
from manifests.layouts.source import Names, Source, SourceCase, find_root, matches, named, paired, stated_notes

__all__ = ["amos_source"]

FIRST_MRI = 500
"""Lower numbers are CT, by the release's readme."""

_PARTS = {"Tr": "train", "Va": "val", "Ts": "test"}
_META = "labeled_data_meta_0000_0599.csv"
_NOTES = {"Manufacturer": "manufacturer", "Manufacturer's Model Name": "scanner_model", "Site": "site"}
_SEXES: Mapping[str, Any] = {"M": "male", "F": "female"}
_SHARED, _SHARED_VALUE = "prostate/uterus", 15
_BY_SEX = {"male": Meaning(structure="prostate"), "female": Meaning(structure="uterus")}


def amos_source(folder: Path, overrides: Names | None = None) -> Source:
    """Read `imagesTr`, `labelsTr`, `imagesVa`, `labelsVa` and the table of patients in or beside the folder.

    Label 15 is a prostate or a uterus, as the table says of the patient's sex; where it does not, the label is dropped and the
    case's notes say so.

    Args:
        folder: `amos22`, or the folder above it.
        overrides: meanings of labels by the names of the scheme `amos15` or by value.

    Raises:
        LocationError: if the images are not there.
        UnknownNameError: if an override names no label.
        FileFormatError: if the table has no column `amos_id`.
    """
    root = find_root(folder, ("", "amos22"), "imagesTr/amos_*.nii.gz", "AMOS22 (imagesTr/amos_0001.nii.gz)")
    settled = bool({_SHARED, str(_SHARED_VALUE)} & set(overrides or {}))
    labels = scheme_label_map("amos15", {_SHARED: "ignore"} | dict(overrides or {}))
    patients = _patients(next((path for path in (root / _META, root.parent / _META) if path.exists()), None))
    labelled = {part: split for part, split in _PARTS.items() if matches(root, f"labels{part}/amos_*.nii.gz")}
    found = [
        case
        for part, split in labelled.items()
        for case in paired(root, f"images{part}/*.nii.gz", f"labels{part}/*.nii.gz", split)
    ]
    mri = tuple(case.case_id for case in found if _number(case.case_id) >= FIRST_MRI)
    hidden = tuple(n for part in _PARTS if part not in labelled for n in matches(root, f"images{part}/*.nii.gz"))
    cases = [
        _described(case, patients.get(_number(case.case_id), {}), settled) for case in found if case.case_id not in mri
    ]
    left_out = {"MRI": mri, "no public labels": hidden}
    return Source(
        folder, "amos", named(cases), labels, left_out={why: names for why, names in left_out.items() if names}
    )


def _described(case: SourceCase, row: Mapping[str, str], settled: bool) -> SourceCase:
    """Add what the table says of the patient, and what label 15 is."""
    age, sex = re.fullmatch(r"0*(\d+)Y", row.get("Patient's Age") or ""), _SEXES.get(row.get("Patient's Sex") or "")
    notes = stated_notes(row, _NOTES)
    if sex is None and not settled:
        notes["label 15"] = "dropped: prostate or uterus, the sex is unknown"
    return replace(
        case,
        measured=Attributes(age_years=float(age[1]) if age else None, sex=sex),
        notes=notes,
        meanings={_SHARED_VALUE: _BY_SEX[sex]} if sex and not settled else {},
    )


def _number(case: str) -> int:
    digits = re.search(r"\d+$", case)
    return int(digits[0]) if digits else -1


def _patients(path: Path | None) -> dict[int, dict[str, str]]:
    """Rows of the table by number; empty without it."""
    if path is None:
        return {}
    rows = list(csv.DictReader(path.read_text(encoding="utf-8-sig").splitlines()))
    if any(not (row.get("amos_id") or "").isdigit() for row in rows):
        raise FileFormatError(str(path), got="rows without a number in amos_id", need="AMOS22's table", do="Repair it.")
    return {int(row["amos_id"]): row for row in rows}
