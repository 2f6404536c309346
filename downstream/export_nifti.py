"""A dataset as plain NIfTI files, one folder a case; nothing of its arrays is lost.

<case_id>/ct.nii.gz         int16 HU
<case_id>/anatomy.nii.gz    uint8 ids of the anatomy table, also under lesions
<case_id>/lesions.nii.gz    uint8 instance ids, 0 = none
<case_id>/label.nii.gz      uint8, painted by the label scheme, if one is named
<case_id>/record.json       the case's record: asked, drawn, measured, lesions, provenance
anatomy.json, label.json    names by value, as `factory ingest` reads them
cases.csv                   one line a case
dataset.json                what the dataset is
"""

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from downstream.export import ExportSummary, Job, Layout, OnCase, described, run, write_json
from downstream.export_inputs import accepted
from downstream.pairs import painted, require_simpleitk, write_volumes
from downstream.splits import Fold
from manifests.anatomy import structures
from manifests.case import Arrays, CaseRecord
from manifests.dataset import Dataset
from manifests.durable import replace
from manifests.schemes import Scheme, scheme

__all__ = ["CASE_COLUMNS", "case_row", "csv_text", "export_nifti"]

CASE_COLUMNS = (
    *("case_id", "age_years", "sex", "contrast_phase", "lesions", "largest_lesion_mm", "lesion_organs"),
    *("prompt_text", "prompt_id", "patient_id", "source", "split", "licence"),
)
"""Columns of `case_row`."""

_LAYERS = {"ct.nii.gz": "ct", "anatomy.nii.gz": "anatomy", "lesions.nii.gz": "lesions"}


def export_nifti(
    dataset: Dataset,
    out: Path,
    scheme_name: str | None = None,
    workers: int | None = None,
    on_case: OnCase | None = None,
) -> ExportSummary:
    """Export the accepted cases of a dataset to the folder `out`; a repeated call goes on.

    Args:
        dataset: the dataset, synthetic or real.
        out: the folder to make.
        scheme_name: label scheme to paint besides the two layers; None for none.
        workers: threads; None for one per core.
        on_case: called with each case as it is done.

    Raises:
        InputError: for an unknown scheme, an empty dataset, or a folder in use; nothing is written then.
        StorageError: if the disk is full; run it again.
        DefectError: if a file does not read back as written.
    """
    chosen = None if scheme_name is None else scheme(scheme_name)
    records = accepted(dataset, workers)
    require_simpleitk()
    return run(Job(dataset, records, out, _Folders(chosen, dataset, records), workers), on_case)


def case_row(record: CaseRecord) -> dict[str, Any]:
    """The plain facts of a case, for tables: what was measured, what was asked as text, what must stay together."""
    measured, lesions = record.measured, record.lesions
    values = (
        record.case_id,
        measured.age_years,
        measured.sex,
        measured.contrast_phase,
        len(lesions),
        max((lesion.size_mm for lesion in lesions), default=None),
        "|".join(sorted({lesion.organ for lesion in lesions})),
        *(getattr(record, name) for name in CASE_COLUMNS[7:]),
    )
    return dict(zip(CASE_COLUMNS, values, strict=True))


def csv_text(rows: list[dict[str, Any]], separator: str = ",") -> str:
    """Rows of equal keys as CSV with a header; an empty cell for None."""
    stream = io.StringIO()
    writer = csv.DictWriter(stream, list(rows[0]), delimiter=separator, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return stream.getvalue()


class _Folders(Layout):
    name = "nifti"
    patterns = ("*/*.nii.gz",)
    marker = "dataset.json"

    def __init__(self, scheme: Scheme | None, dataset: Dataset, records: tuple[CaseRecord, ...]) -> None:
        self.scheme: Scheme | None = scheme
        self.dataset, self.records = dataset, records

    def paths(self, record: CaseRecord) -> tuple[str, ...]:
        names = (*_LAYERS, *(["label.nii.gz"] if self.scheme else []), "record.json")
        return tuple(f"{record.case_id}/{name}" for name in names)

    def write(self, record: CaseRecord, arrays: Arrays, folder: Path) -> tuple[str, ...]:
        place = folder / record.case_id
        volumes = {place / name: getattr(arrays, layer) for name, layer in _LAYERS.items()}
        classes: tuple[str, ...] = ()
        if self.scheme:
            volumes[place / "label.nii.gz"], classes = painted(record, arrays, self.scheme)
        write_volumes(record.case_id, volumes, arrays.grid)
        write_json(place / "record.json", record.model_dump(mode="json"))
        return classes

    def finish(self, folder: Path, classes: Mapping[str, tuple[str, ...]]) -> tuple[Fold, ...]:
        names = {"0": "background"} | {str(entry.id): entry.name for entry in structures()}
        write_json(folder / "anatomy.json", names)
        if self.scheme:
            write_json(folder / "label.json", {str(value): name for name, value in self.scheme.labels.items()})
        rows = [case_row(record) for record in self.records]
        replace(folder / "cases.csv", csv_text(rows).encode())
        write_json(
            folder / self.marker,
            {"name": folder.name, "cases": len(classes), **described(self.dataset, self.records, self)},
        )
        return ()
