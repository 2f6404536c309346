"""Layouts of real data: a folder of images and label maps, an nnU-Net raw dataset, a TotalSegmentator folder.

Each becomes a `Source`: which files make a case, and what its labels mean. Nothing is read but names and
tables, so whatever is wrong with the source as a whole is said before anything is written.
"""

import csv
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from manifests.anatomy import structure
from manifests.case import Attributes
from manifests.errors import FileFormatError, InvalidValueError, LocationError, UnknownNameError
from manifests.identity import is_identifier
from manifests.labelmap import LabelMap, Meaning, label_map, read_label_names, scheme_label_map
from manifests.schemes import scheme_names

__all__ = [
    "IMAGES",
    "MASKS",
    "Names",
    "Source",
    "SourceCase",
    "images_labels_source",
    "nnunet_source",
    "totalsegmentator_source",
]

IMAGES, MASKS = "images/*.nii.gz", "labels/*.nii.gz"
"""Where a folder of images and label maps has them, unless patterns are given."""

Names = Mapping[str, str]
"""Meanings of labels as `manifests.labelmap` reads them, by name or by value as text."""


@dataclass(frozen=True, slots=True)
class SourceCase:
    """One case of a source.

    Attributes:
        case_id: its name there; becomes case id and, unless `patient_id` is given, patient id.
        ct: the image.
        labels: one label map, or binary masks in painting order with the value each stands for.
        measured: what the source says of the patient.
    """

    case_id: str
    ct: Path | None
    labels: tuple[tuple[Path, int | None], ...]
    split: str | None = None
    patient_id: str | None = None
    measured: Attributes = field(default_factory=Attributes)


@dataclass(frozen=True, slots=True)
class Source:
    """A folder of real cases, its labels understood.

    Attributes:
        folder: what paths in messages and records are relative to.
        layout: "images-labels", "nnunet" or "totalsegmentator".
        resample_oblique: whether tilted images are resampled instead of refused.
        masks_only: whether there are no images; the CT of each case is then empty, -1024 HU throughout.
    """

    folder: Path
    layout: str
    cases: tuple[SourceCase, ...]
    labels: LabelMap
    licence: str | None = None
    resample_oblique: bool = False
    masks_only: bool = False


def images_labels_source(
    folder: Path,
    labels: str | Path | Names,
    overrides: Names | None = None,
    *,
    images: str = IMAGES,
    masks: str = MASKS,
) -> Source:
    """Read a folder of images and label maps.

    Image and label belong together when the first `*` of both patterns stands for the same text: that
    is the case id. "*/ct.nii.gz" with "*/seg.nii.gz" reads one folder per case.

    Args:
        folder: where the patterns start.
        labels: meaning of the values: a scheme's name, a JSON file, or {value: name}.
        overrides: meanings of labels by name or value, which count before `labels`.
        images: pattern of the images, relative to `folder`; empty for label maps without images.
        masks: pattern of the label maps.

    Raises:
        LocationError: if nothing matches.
        InvalidValueError: if a case name cannot be an id.
        UnknownNameError: if a label is not understood.
    """
    maps = _matches(folder, masks)
    pictures = _matches(folder, images) if images else {}
    if not (pictures if images else maps):
        missing, need = (images, "images") if images else (masks, "label maps")
        raise LocationError(str(folder), got=f"no file like {missing}", need=need, do="Check folder and pattern.")
    cases = []
    for key in sorted(pictures.keys() | maps.keys()):
        ct, found = pictures.get(key, []), maps.get(key, [])
        cases.append(SourceCase(key, ct[0] if len(ct) == 1 else None, tuple((path, None) for path in found)))
    return Source(folder, "images-labels", _named(cases), _labels(labels, overrides), masks_only=not images)


def nnunet_source(folder: Path, overrides: Names | None = None) -> Source:
    """Read an nnU-Net raw dataset; tumour labels ("liver tumor") become lesion instances.

    Args:
        folder: holds `dataset.json`, `imagesTr` and `labelsTr`; `imagesTs` counts where `labelsTs` is there.
        overrides: meanings of labels by name or value, e.g. {"tumor": "tumour:kidney"}.

    Raises:
        LocationError, FileFormatError: if `dataset.json` is missing, broken, or says the images are not CT.
        InvalidValueError: if a case name cannot be an id.
        UnknownNameError: if a label is not understood.
    """
    table = _dataset_json(folder)
    ending = str(table["file_ending"])
    cases = []
    for images, masks, split in (("imagesTr", "labelsTr", "train"), ("imagesTs", "labelsTs", "test")):
        pictures = _matches(folder, f"{images}/*_0000{ending}") if (folder / masks).is_dir() else {}
        maps = _matches(folder, f"{masks}/*{ending}")
        for key in sorted(pictures.keys() | maps.keys()):
            ct = pictures.get(key, [None])[0]
            cases.append(SourceCase(key, ct, tuple((path, None) for path in maps.get(key, [])), split=split))
    licence = table.get("licence", table.get("license"))
    return Source(folder, "nnunet", _named(cases), _nnunet_labels(folder, table, overrides), licence)


def totalsegmentator_source(folder: Path, overrides: Names | None = None) -> Source:
    """Read a TotalSegmentator folder: `*/ct.nii.gz`, `*/segmentations/CLASS.nii.gz` and, if there, `meta.csv`.

    Args:
        folder: holds one folder per subject.
        overrides: meanings of further classes, e.g. {"hepatic_vessel": "ignore"}.

    Raises:
        LocationError: if no subject is there.
        InvalidValueError, UnknownNameError: as `nnunet_source`.
    """
    subjects = sorted(path.parent for path in folder.glob("*/ct.nii.gz"))
    if not subjects:
        raise LocationError(str(folder), got="no */ct.nii.gz", need="subjects", do="Name the folder above them.")
    masks = {subject: sorted((subject / "segmentations").glob("*.nii.gz")) for subject in subjects}
    classes = dict(enumerate(sorted({_stem(path) for paths in masks.values() for path in paths}), 1))
    meanings = label_map(classes, overrides)
    painted = [value for value, meaning in meanings.items() if meaning != Meaning()]
    values = {classes[value]: value for value in sorted(painted, key=lambda value: _painting_order(meanings[value]))}
    meta = _meta(folder / "meta.csv")
    cases = [
        SourceCase(
            case_id=subject.name,
            ct=subject / "ct.nii.gz",
            labels=_binary(masks[subject], values),
            split=meta.get(subject.name, {}).get("split") or None,
            measured=_patient(meta.get(subject.name, {})),
        )
        for subject in subjects
    ]
    return Source(folder, "totalsegmentator", _named(cases), meanings)


def _binary(masks: list[Path], values: dict[str, int]) -> tuple[tuple[Path, int | None], ...]:
    """Masks with their values, in the order of `values`; the later covers the earlier, and others are left out."""
    files = {_stem(path): path for path in masks}
    return tuple((files[name], value) for name, value in values.items() if name in files)


def _painting_order(meaning: Meaning) -> int:
    """Position in TotalSegmentator's order of painting: structures by id, then lesions."""
    return structure(meaning.structure).id if meaning.structure else 256


def _stem(path: Path) -> str:
    return path.name.removesuffix(".gz").removesuffix(".nii")


def _matches(folder: Path, pattern: str) -> dict[str, list[Path]]:
    """Files by the text that the first `*` of the pattern stands for."""
    parts = [re.escape(part) for part in pattern.split("*")]
    expression = re.compile("([^/]+)".join(parts[:2]) + "".join(f"[^/]*{part}" for part in parts[2:]))
    found: dict[str, list[Path]] = {}
    for path in sorted(folder.glob(pattern)):
        if match := expression.fullmatch(path.relative_to(folder).as_posix()):
            found.setdefault(match[1], []).append(path)
    return found


def _named(cases: list[SourceCase]) -> tuple[SourceCase, ...]:
    """Refuse names that cannot be ids, or that two cases share."""
    names = [case.case_id for case in cases]
    wrong = [name for name in names if not is_identifier(name)] + sorted({n for n in names if names.count(n) > 1})
    if wrong or not names:
        raise InvalidValueError(
            "case names",
            got=", ".join(map(repr, wrong)) or "none",
            need="different names of letters, digits, `_`, `-`, `.`",
            do="Rename the files, or check the folder.",
        )
    return tuple(cases)


def _labels(labels: str | Path | Names, overrides: Names | None) -> LabelMap:
    if isinstance(labels, Mapping):
        return label_map({int(value): name for value, name in labels.items()}, overrides)
    if isinstance(labels, str) and labels in scheme_names():
        return scheme_label_map(labels, overrides)
    if Path(labels).suffix == ".json":
        return label_map(read_label_names(Path(labels)), overrides)
    raise UnknownNameError(
        "label map",
        got=repr(str(labels)),
        need=f"a .json file or one of {', '.join(scheme_names())}",
        do="Name a scheme or write a JSON table.",
    )


def _dataset_json(folder: Path) -> dict[str, Any]:
    path = folder / "dataset.json"
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
        channels, ending = table["channel_names"], table["file_ending"]
    except OSError as error:
        raise LocationError(str(path), got=str(error.strerror), need="an nnU-Net dataset", do="Check it.") from error
    except (ValueError, KeyError, TypeError) as error:
        raise FileFormatError(str(path), got=repr(error), need="nnU-Net's dataset.json", do="Repair it.") from error
    if str(channels.get("0", "")).lower() != "ct" or len(channels) != 1 or ending not in (".nii", ".nii.gz"):
        raise FileFormatError(
            str(path), got=f"channels {channels}, ending {ending}", need="one channel CT in NIfTI", do="Convert it."
        )
    if "dataset" in table:
        raise FileFormatError(
            f"{path}, key dataset",
            got="a list of files by explicit paths",
            need="cases in imagesTr and labelsTr",
            do="Link the files into the two folders and leave the key out.",
        )
    return dict(table)


def _nnunet_labels(folder: Path, table: dict[str, Any], overrides: Names | None) -> LabelMap:
    labels = table.get("labels", {})
    regions = [name for name, value in labels.items() if not isinstance(value, int)]
    if regions:
        raise FileFormatError(
            str(folder / "dataset.json"),
            got=f"regions {regions}",
            need="one integer for each label",
            do="Write the labels as plain values, in a copy of dataset.json.",
        )
    return label_map({value: name for name, value in labels.items()}, overrides)


def _meta(path: Path) -> dict[str, dict[str, str]]:
    """Rows of TotalSegmentator's meta.csv by image_id; empty without the file."""
    if not path.exists():
        return {}
    rows = list(csv.DictReader(path.read_text(encoding="utf-8-sig").splitlines(), delimiter=";"))
    if rows and "image_id" not in rows[0]:
        raise FileFormatError(str(path), got=f"columns {list(rows[0])}", need="image_id", do="Separate columns by `;`.")
    return {row["image_id"]: row for row in rows}


def _patient(row: Mapping[str, str]) -> Attributes:
    sexes: dict[str, Any] = {"m": "male", "male": "male", "f": "female", "female": "female"}
    age = row.get("age", "")
    return Attributes(
        age_years=float(age) if re.fullmatch(r"\d+(\.\d+)?", age) else None,
        sex=sexes.get(row.get("gender", "").lower()),
    )
