"""A dataset as TotalSegmentator's training data: `sNAME/{ct.nii.gz,segmentations/<class>.nii.gz}`, `meta.csv`.

As in the release, each class has a binary file in each case, empty or not, and `meta.csv` is separated by
semicolons. A subject is "s" and the case id, so that subjects of several exports, or of the release, lie
side by side. Under the scheme `totalsegmentator` the organ stays under a tumour; another scheme gives a file
for each of its labels.

Source: Wasserthal et al. 2023, Radiology: Artificial Intelligence 5(5), dataset v2.0.1 (Zenodo 10047292).
"""

import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from downstream.export import ExportSummary, Job, Layout, OnCase, described, run, write_json
from downstream.export_inputs import accepted
from downstream.export_nifti import csv_text
from downstream.pairs import painted, require_simpleitk, write_volumes
from downstream.splits import Fold
from manifests.case import Arrays, CaseRecord
from manifests.dataset import Dataset
from manifests.durable import replace
from manifests.errors import InvalidValueError
from manifests.schemes import Scheme, scheme

__all__ = ["export_totalsegmentator", "file_names"]


def export_totalsegmentator(
    dataset: Dataset,
    out: Path,
    scheme_name: str = "totalsegmentator",
    workers: int | None = None,
    on_case: OnCase | None = None,
) -> ExportSummary:
    """Export the accepted cases of a dataset to the folder `out`; a repeated call goes on.

    Args:
        dataset: the dataset, synthetic or real.
        out: the folder to make.
        scheme_name: label scheme; each of its labels is a file.
        workers: threads; None for one per core.
        on_case: called with each case as it is done.

    Raises:
        InputError: for an unknown scheme, labels that cannot be files, an empty dataset, or a folder in use;
            nothing is written then.
        StorageError: if the disk is full; run it again.
        DefectError: if a file does not read back as written.
    """
    chosen = scheme(scheme_name)
    file_names(chosen)
    records = accepted(dataset, workers)
    require_simpleitk()
    return run(Job(dataset, records, out, _Subjects(chosen, dataset, records), workers), on_case)


def file_names(scheme: Scheme) -> dict[str, str]:
    """File of each foreground label: its name with all but letters, digits, `_` and `-` as `_`.

    Raises:
        InvalidValueError: if two labels would share a file.
    """
    names = {name: f"{re.sub(r'[^A-Za-z0-9_-]', '_', name)}.nii.gz" for name, value in scheme.labels.items() if value}
    if len(set(names.values())) < len(names):
        raise InvalidValueError(
            "--scheme", got=f"{scheme.name}, of which two labels share a file name", need="one each", do="Rename one."
        )
    return names


class _Subjects(Layout):
    name = "totalsegmentator"
    patterns = ("s*/ct.nii.gz", "s*/segmentations/*.nii.gz")
    marker = "meta.csv"

    def __init__(self, scheme: Scheme, dataset: Dataset, records: tuple[CaseRecord, ...]) -> None:
        self.scheme: Scheme = scheme
        self.files = file_names(scheme)
        self.dataset, self.records = dataset, records

    def paths(self, record: CaseRecord) -> tuple[str, ...]:
        names = ("ct.nii.gz", *(f"segmentations/{name}" for name in self.files.values()))
        return tuple(f"s{record.case_id}/{name}" for name in names)

    def write(self, record: CaseRecord, arrays: Arrays, folder: Path) -> tuple[str, ...]:
        """Write the CT and a mask for each class; absent classes are copies of one empty file that was checked."""
        label, classes = painted(record, arrays, self.scheme)
        place = folder / f"s{record.case_id}"
        masks = place / "segmentations"
        empty = place / "empty.nii.gz"
        volumes = {place / "ct.nii.gz": arrays.ct, empty: np.zeros_like(label)}
        volumes |= {masks / self.files[name]: (label == self.labels[name]).astype(np.uint8) for name in classes}
        write_volumes(record.case_id, volumes, arrays.grid)
        for name in self.labels.keys() - set(classes):
            shutil.copyfile(empty, masks / self.files[name])
        empty.unlink()
        return classes

    def finish(self, folder: Path, classes: Mapping[str, tuple[str, ...]]) -> tuple[Fold, ...]:
        write_json(folder / "dataset.json", {"cases": len(classes), **described(self.dataset, self.records, self)})
        replace(folder / self.marker, csv_text([_meta(record) for record in self.records], ";").encode())
        return ()


def _meta(record: CaseRecord) -> dict[str, Any]:
    """The release's columns; everything without a split of its own is for training."""
    return {
        "image_id": f"s{record.case_id}",
        "age": record.measured.age_years,
        "gender": {"male": "m", "female": "f"}.get(record.measured.sex or ""),
        "institute": "SYNTHETIC" if record.mask_model else record.source,
        "study_type": f"ct {record.measured.contrast_phase}" if record.measured.contrast_phase else "ct",
        "split": record.split or "train",
        "pathology": "tumor" if record.lesions else "no_pathology",
        "pathology_location": "|".join(sorted({lesion.organ for lesion in record.lesions})),
    }
