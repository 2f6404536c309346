"""Real CT into the dataset format, from a folder of images and labels, nnU-Net raw, or TotalSegmentator.

A source is read in two steps. Its layout and its label names are read first and as a whole, so a
name outside the vocabulary stops the command before anything is written. Then each case is read on
its own: one that cannot be read becomes a failed record with the reason, and the rest goes on.
Running the same command again skips what is there and tries the failed ones anew.
"""

import csv
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Num, Shaped

from manifests.anatomy import table_hash
from manifests.case import FACTORY_VERSION, Arrays, Attributes, CaseRecord, Lesion, TumourAttributes
from manifests.dataset import Dataset, DatasetSpec
from manifests.errors import FileFormatError, InputError, InvalidValueError, LocationError, UnknownNameError
from manifests.foreign import measure_structures, translate
from manifests.geometry import Grid
from manifests.identity import content_hash, is_identifier
from manifests.labelmap import LabelMap, label_map, read_label_map, scheme_label_map
from manifests.nifti import read_ct, read_labels
from manifests.schemes import scheme_names

__all__ = [
    "Source",
    "SourceCase",
    "images_labels_source",
    "ingest",
    "ingest_images_labels",
    "ingest_nnunet",
    "ingest_totalsegmentator",
    "nnunet_source",
    "totalsegmentator_source",
]

ALIGNMENT_TOLERANCE_MM = 0.01
Names = Mapping[str, str]


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
    measured: Attributes = Attributes()


@dataclass(frozen=True, slots=True)
class Source:
    """A folder of real cases, its labels understood.

    Attributes:
        folder: what paths in messages and records are relative to.
        layout: "images-labels", "nnunet" or "totalsegmentator".
        resample_oblique: whether tilted images are resampled instead of refused.
    """

    folder: Path
    layout: str
    cases: tuple[SourceCase, ...]
    labels: LabelMap
    licence: str | None = None
    resample_oblique: bool = False


def images_labels_source(
    folder: Path, labels: str | Path | Names, *, images: str = "images/*.nii.gz", masks: str = "labels/*.nii.gz"
) -> Source:
    """Read a folder of images and label maps.

    Image and label belong together when the first `*` of both patterns stands for the same text: that
    is the case id. "*/ct.nii.gz" with "*/seg.nii.gz" reads one folder per case.

    Args:
        folder: where the patterns start.
        labels: meaning of the values: a scheme's name, a JSON file, or {value: name}.
        images, masks: patterns relative to `folder`.

    Raises:
        LocationError: if nothing matches.
        InvalidValueError: if a case name cannot be an id.
        UnknownNameError: if a label is not understood.
    """
    pictures, maps = _matches(folder, images), _matches(folder, masks)
    if not pictures:
        raise LocationError(str(folder), got=f"no file like {images}", need="images", do="Check folder and pattern.")
    cases = []
    for key in sorted(pictures.keys() | maps.keys()):
        ct, found = pictures.get(key, []), maps.get(key, [])
        cases.append(SourceCase(key, ct[0] if len(ct) == 1 else None, tuple((path, None) for path in found)))
    return Source(folder, "images-labels", _named(cases), _labels(labels))


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
    classes = sorted({_stem(path) for paths in masks.values() for path in paths})
    values = {name: value for value, name in enumerate(classes, 1)}
    meta = _meta(folder / "meta.csv")
    cases = [
        SourceCase(
            case_id=subject.name,
            ct=subject / "ct.nii.gz",
            labels=tuple((path, values[_stem(path)]) for path in masks[subject]),
            split=meta.get(subject.name, {}).get("split") or None,
            measured=_patient(meta.get(subject.name, {})),
        )
        for subject in subjects
    ]
    return Source(folder, "totalsegmentator", _named(cases), label_map(dict(enumerate(classes, 1)), overrides))


def ingest(source: Source, root: Path) -> Iterator[CaseRecord]:
    """Write the cases of a source into a dataset of kind "real", and yield each new record.

    Args:
        source: made by one of the functions above.
        root: a new directory, or the dataset of an earlier run with the same labels, which is continued.

    Raises:
        SpecMismatchError: if `root` holds a dataset made otherwise.
        LocationError, StorageError, BusyError: as `Dataset`.
    """
    meanings = {str(value): str(meaning) for value, meaning in source.labels.items()}
    origin = {"origin": f"ingest {source.layout}", "labels": content_hash(meanings)}
    grid = {"preset": "as scanned", "resample_oblique": source.resample_oblique}
    dataset = Dataset.create(root, DatasetSpec(kind="real", grid=grid, prompts=origin))
    with dataset.lock():
        there = {record.case_id: record.status for record in dataset.records()}
        for index, case in enumerate(source.cases):
            if there.get(case.case_id) == "failed":
                dataset.withdraw(case.case_id)
            if there.get(case.case_id) != "accepted":
                yield _one(dataset, source, case, index)
        dataset.compact()


def ingest_images_labels(folder: Path, root: Path, labels: str | Path | Names, *, images: str, masks: str) -> Dataset:
    """Ingest a folder of images and labels as a whole; see `images_labels_source` and `ingest`."""
    return _drain(images_labels_source(folder, labels, images=images, masks=masks), root)


def ingest_nnunet(folder: Path, root: Path, overrides: Names | None = None) -> Dataset:
    """Ingest an nnU-Net raw dataset as a whole; see `nnunet_source` and `ingest`."""
    return _drain(nnunet_source(folder, overrides), root)


def ingest_totalsegmentator(folder: Path, root: Path, overrides: Names | None = None) -> Dataset:
    """Ingest a TotalSegmentator folder as a whole; see `totalsegmentator_source` and `ingest`."""
    return _drain(totalsegmentator_source(folder, overrides), root)


def _drain(source: Source, root: Path) -> Dataset:
    for _ in ingest(source, root):
        pass
    return Dataset.open(root)


def _one(dataset: Dataset, source: Source, case: SourceCase, index: int) -> CaseRecord:
    """Save one case, or publish why not."""
    record = CaseRecord(
        case_id=case.case_id,
        status="accepted",
        index=index,
        patient_id=case.patient_id or case.case_id,
        split=case.split,
        licence=source.licence,
        source=str(case.ct.relative_to(source.folder)) if case.ct else None,
        factory_version=FACTORY_VERSION,
        anatomy_table=table_hash(),
    )
    try:
        arrays, lesions = _read(source, case)
    except InputError as error:
        reason = str(error).replace(f"{source.folder}/", "")
        failed = record.model_copy(update={"status": "failed", "reasons": (reason,)})
        dataset.publish(failed)
        return failed
    measured = case.measured.model_copy(update={"tumours": _tumours(lesions)})
    structures = measure_structures(arrays.ct, arrays.anatomy, arrays.grid)
    return dataset.save(
        record.model_copy(update={"lesions": lesions, "measured": measured, "structures": structures}), arrays
    )


def _read(source: Source, case: SourceCase) -> tuple[Arrays, tuple[Lesion, ...]]:
    binary = [value for _, value in case.labels if value is not None]
    if case.ct is None or not case.labels or (len(case.labels) > 1 and not binary):
        raise InvalidValueError(
            f"case {case.case_id}",
            got=f"{'one image' if case.ct else 'no single image'} and {len(case.labels)} label files",
            need="one image and its labels",
            do="Add the missing file, or narrow the pattern.",
        )
    ct, grid = read_ct(case.ct, resample_oblique=source.resample_oblique)
    values = np.zeros(grid.shape_zyx, np.uint16)
    for path, value in case.labels:
        layer, layer_grid = read_labels(path, resample_oblique=source.resample_oblique)
        _require_aligned(path, layer_grid, grid)
        _lay(values, layer, value)
    anatomy, lesions, records = translate(values, source.labels, grid)
    return Arrays(grid=grid, ct=ct, anatomy=anatomy, lesions=lesions), records


def _lay(values: Num[np.ndarray, "z y x"], layer: Shaped[np.ndarray, "z y x"], value: int | None) -> None:
    """Lay a label map, or one binary mask under its value, over what is there."""
    np.copyto(values, layer if value is None else np.uint16(value), where=layer > 0)


def _require_aligned(path: Path, grid: Grid, image: Grid) -> None:
    """Refuse labels whose corners lie elsewhere than the image's."""
    far = [
        abs(a + (n - 1) * s - (b + (m - 1) * t))
        for a, b, s, t, n, m in zip(
            grid.origin_mm_xyz,
            image.origin_mm_xyz,
            grid.spacing_mm_zyx[::-1],
            image.spacing_mm_zyx[::-1],
            grid.shape_zyx[::-1],
            image.shape_zyx[::-1],
            strict=True,
        )
    ]
    near = [abs(a - b) for a, b in zip(grid.origin_mm_xyz, image.origin_mm_xyz, strict=True)]
    if grid.shape_zyx != image.shape_zyx or max(near + far) > ALIGNMENT_TOLERANCE_MM:
        raise FileFormatError(str(path), got=f"{grid}", need=f"the image's {image}", do="Resample it to the image.")


def _tumours(lesions: tuple[Lesion, ...]) -> tuple[TumourAttributes, ...]:
    """Summarise lesions by organ and site: how many, and how large the largest is."""
    sites: dict[tuple[str, str], list[Lesion]] = {}
    for lesion in lesions:
        if lesion.kind != "cyst":
            sites.setdefault((lesion.organ, lesion.site), []).append(lesion)
    return tuple(
        TumourAttributes(
            organ=organ,
            site=site,
            side=found[0].side,
            count=len(found),
            size_mm=max(lesion.size_mm for lesion in found),
        )
        for (organ, site), found in sites.items()
    )


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


def _labels(labels: str | Path | Names) -> LabelMap:
    if isinstance(labels, Mapping):
        return label_map({int(value): name for value, name in labels.items()})
    if isinstance(labels, str) and labels in scheme_names():
        return scheme_label_map(labels)
    if Path(labels).suffix == ".json":
        return read_label_map(Path(labels))
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
