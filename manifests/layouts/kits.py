"""KiTS19, KiTS21 and KiTS23 (Heller et al.): kidneys with tumours and cysts, and the clinical table."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from manifests.case import Attributes, TumourAttributes
from manifests.errors import FileFormatError
from manifests.labelmap import scheme_label_map
from manifests.layouts.source import Names, Source, SourceCase, find_root, named, stated_notes

__all__ = ["kits_source"]

_DATA = ("", "dataset", "data", "kits21/data")
_LABELS = ("segmentation.nii.gz", "aggregated_MAJ_seg.nii.gz")
"""Label maps of KiTS19 and 23, and the majority vote of KiTS21; in the order of preference."""

_TEST_2019 = range(210, 300)
_NOTES = {
    "body_mass_index": "body_mass_index",
    "bmi": "body_mass_index",
    "smoking_history": "smoking_history",
    "malignant": "malignant",
    "tumor_histologic_subtype": "histology",
    "tumor_isup_grade": "isup_grade",
    "radiographic_size": "radiographic_size_cm",
}
_SEXES: Mapping[str, Any] = {"male": "male", "female": "female"}


def kits_source(folder: Path, overrides: Names | None = None) -> Source:
    """Read `case_NNNNN/imaging.nii.gz` with its label map, and `kits.json` or `kits23.json` beside the cases.

    The repository of a release has all label maps, and its script fetches the images: cases without an image are left out.

    Args:
        folder: what holds the cases, or the repository of the release.
        overrides: meanings of labels by the names of the scheme `kits` or by value.

    Raises:
        LocationError: if there is no image.
        FileFormatError: if the clinical table is none.
        UnknownNameError: if an override names no label.
    """
    root = find_root(folder, _DATA, "case_*/imaging.nii.gz", "KiTS with its images (case_00000/imaging.nii.gz)")
    table = _clinical(root)
    cases, no_image, withheld = [], [], []
    for path in sorted(one for one in root.glob("case_*") if one.is_dir()):
        image, labels = path / "imaging.nii.gz", [path / name for name in _LABELS if (path / name).exists()]
        if not image.exists():
            no_image.append(path.name)
        else:
            cases.append(_case(path.name, image, labels[:1], table.get(path.name, {})))
    if not any(case.labels for case in cases if _number(case) in _TEST_2019):
        withheld = [case.case_id for case in cases if _number(case) in _TEST_2019]
    kept = [case for case in cases if case.case_id not in withheld]
    left_out = {"no imaging.nii.gz": tuple(no_image), "no public labels": tuple(withheld)}
    return Source(
        folder=folder,
        layout="kits",
        cases=named(kept),
        labels=scheme_label_map("kits", overrides),
        licence="CC-BY-NC-SA-4.0",
        left_out={why: names for why, names in left_out.items() if names},
    )


def _case(name: str, image: Path, labels: list[Path], row: Mapping[str, Any]) -> SourceCase:
    return SourceCase(
        case_id=name,
        ct=image,
        labels=tuple((path, None) for path in labels),
        split="train",
        measured=_patient(row),
        notes=stated_notes(row, _NOTES),
    )


def _number(case: SourceCase) -> int:
    return int(case.case_id.removeprefix("case_")) if case.case_id.removeprefix("case_").isdigit() else -1


def _clinical(root: Path) -> dict[str, dict[str, Any]]:
    """Rows of the clinical table by case id; empty without one."""
    path = next(iter(sorted(root.glob("kits*.json"))), None)
    if path is None:
        return {}
    try:
        return {str(row["case_id"]): row for row in json.loads(path.read_text(encoding="utf-8"))}
    except (ValueError, TypeError, KeyError) as error:
        need = "the clinical table of KiTS, a list of rows with case_id"
        raise FileFormatError(str(path), got=repr(error), need=need, do="Fetch it again, or take it away.") from error


def _patient(row: Mapping[str, Any]) -> Attributes:
    """Age, sex and stages; ages are top-coded (">=90"), and stage 0 marks a benign tumour, which TNM does not stage."""
    age = re.fullmatch(r"(?:>=)?(\d+(?:\.\d+)?)", str(row.get("age_at_nephrectomy", "")))
    tumour = TumourAttributes(
        organ="kidney",
        t_stage=_stage("T", row.get("pathology_t_stage"), r"[1-4][abc]?"),
        n_stage=_stage("N", row.get("pathology_n_stage"), r"[0-3]"),
        m_stage=_stage("M", row.get("pathology_m_stage"), r"[01]"),
    )
    return Attributes(
        age_years=float(age[1]) if age else None, sex=_SEXES.get(str(row.get("gender"))), tumours=(tumour,)
    )


def _stage(letter: str, value: object, allowed: str) -> str | None:
    return f"{letter}{value}" if re.fullmatch(allowed, str(value)) else None
