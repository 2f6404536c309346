"""A dataset as a Hugging Face dataset folder: `load_dataset(FOLDER)` reads it, offline and streamed alike.

    data/<case_id>.parquet    one row: facts of the case, and image, label and instances as NIfTI bytes
    README.md                 dataset card with the header that the Hub reads
    croissant.json            Croissant 1.1 metadata
    label.json                names by value of the label map

A file a case, so that an interrupted export goes on and a grown dataset adds files. The three volumes are
declared as `datasets.Nifti`, so that they arrive as nibabel images.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from downstream.export import ExportSummary, Job, Layout, OnCase, run, write_json
from downstream.export_inputs import accepted
from downstream.export_nifti import CASE_COLUMNS, case_row
from downstream.pairs import painted, require_simpleitk, write_volumes
from downstream.splits import Fold
from manifests.card import CardFiles, render_card
from manifests.case import ARROW_SCHEMA, Arrays, CaseRecord
from manifests.croissant import CroissantFiles, croissant, field
from manifests.dataset import Dataset
from manifests.durable import replace
from manifests.errors import DefectError, InvalidValueError
from manifests.facts import stated_licence, summary
from manifests.schemes import Scheme, scheme

__all__ = ["export_huggingface"]

_VOLUMES = ("image", "label", "instances")
_NIFTI = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
_NUMBERS = {"age_years": pa.float64(), "largest_lesion_mm": pa.float64(), "lesions": pa.int32()}
_CONFIGS = "[{config_name: default, data_files: [{split: train, path: data/*.parquet}]}]"


def export_huggingface(
    dataset: Dataset, out: Path, scheme_name: str, workers: int | None = None, on_case: OnCase | None = None
) -> ExportSummary:
    """Export the accepted cases of a dataset to the folder `out`; a repeated call goes on.

    Args:
        dataset: the dataset, synthetic or real.
        out: the folder to make; its name is the title of the card.
        scheme_name: label scheme of the column `label`.
        workers: threads; None for one per core.
        on_case: called with each case as it is done.

    Raises:
        InputError: for an unknown scheme, an empty dataset, a folder in use or without letters in its name;
            nothing is written then.
        StorageError: if the disk is full; run it again.
        DefectError: if a file does not read back as written.
    """
    chosen = scheme(scheme_name)
    title = re.sub(r"[^A-Za-z0-9_-]+", "-", out.resolve().name).strip("-")
    if not title:
        raise InvalidValueError("--out", got=str(out), need="a name with letters or digits", do="Choose another.")
    records = accepted(dataset, workers)
    require_simpleitk()
    return run(Job(dataset, records, out, _Rows(chosen, dataset, records, title), workers), on_case)


class _Rows(Layout):
    name = "huggingface"
    folders = ("data",)
    patterns = ("data/*.parquet",)
    marker = "README.md"

    def __init__(self, scheme: Scheme, dataset: Dataset, records: tuple[CaseRecord, ...], title: str) -> None:
        self.scheme: Scheme = scheme
        self.dataset, self.records, self.title = dataset, records, title

    def paths(self, record: CaseRecord) -> tuple[str, ...]:
        return (f"data/{record.case_id}.parquet",)

    def write(self, record: CaseRecord, arrays: Arrays, folder: Path) -> tuple[str, ...]:
        """Write the volumes as files that SimpleITK reads back, then as one row that holds their bytes."""
        label, classes = painted(record, arrays, self.scheme)
        files = {name: folder / f"{name}.nii.gz" for name in _VOLUMES}
        arrays_of = {"image": arrays.ct, "label": label, "instances": arrays.lesions}
        write_volumes(record.case_id, {files[name]: arrays_of[name] for name in _VOLUMES}, arrays.grid)
        volumes = {
            name: {"bytes": path.read_bytes(), "path": f"{record.case_id}_{path.name}"} for name, path in files.items()
        }
        target = folder / self.paths(record)[0]
        table = _table(record, volumes)
        pq.write_table(table, target, compression="none", use_dictionary=False)
        if not pq.read_table(target).equals(table):
            raise DefectError(target.name, got="another row than written", need="every byte back", do="Report it.")
        for path in files.values():
            path.unlink()
        return classes

    def finish(self, folder: Path, classes: Mapping[str, tuple[str, ...]]) -> tuple[Fold, ...]:
        write_json(folder / "label.json", {str(value): name for name, value in self.scheme.labels.items()})
        spec, licence = self.dataset.spec, stated_licence(self.records)
        about = f"{summary(spec, self.records)} Labels: {self.scheme.name}."
        metadata = croissant(
            self.dataset, name=self.title, licence=licence, description=about, files=_croissant_files()
        )
        write_json(folder / "croissant.json", metadata)
        card = render_card(spec, self.records, self.title, licence, CardFiles(_CONFIGS, self._text(len(classes))))
        replace(folder / self.marker, card.encode())
        return ()

    def _text(self, cases: int) -> str:
        labels = ", ".join(f"{value} {name}" for name, value in self.scheme.labels.items())
        return (
            f'`datasets.load_dataset("FOLDER")` gives {cases} rows. `image` is the CT in HU, `label` a label map, '
            "`instances` numbers the lesions from 1; the three are NIfTI images of one geometry, which arrive as nibabel "
            "images. The other columns are facts of the case; cases that share `prompt_id`, `patient_id` or `source` "
            f"belong on one side of a split.\n\nLabels ({self.scheme.name}): {labels}."
        )


def _schema() -> pa.Schema:
    """Columns of a row; the metadata tell `datasets` which of them are NIfTI images."""
    features = {name: {"decode": True, "_type": "Nifti"} for name in _VOLUMES}
    facts = [(name, _NUMBERS.get(name, pa.string())) for name in CASE_COLUMNS]
    columns = [*facts, ("lesion_records", ARROW_SCHEMA.field("lesions").type), *((name, _NIFTI) for name in _VOLUMES)]
    return pa.schema(columns, metadata={"huggingface": json.dumps({"info": {"features": features}})})


def _table(record: CaseRecord, volumes: Mapping[str, Mapping[str, Any]]) -> pa.Table:
    lesions = [lesion.model_dump(mode="json") for lesion in record.lesions]
    return pa.Table.from_pylist([case_row(record) | {"lesion_records": lesions} | dict(volumes)], schema=_schema())


def _croissant_files() -> CroissantFiles:
    source = {"fileSet": {"@id": "rows"}}
    fields = [field(column, source) for column in _schema() if not pa.types.is_nested(column.type)]
    rows = {
        "@type": "cr:FileSet",
        "@id": "rows",
        "name": "rows",
        "description": "One row a case; the columns image, label and instances hold NIfTI files.",
        "encodingFormat": "application/x-parquet",
        "includes": "data/*.parquet",
    }
    records = {
        "@type": "cr:RecordSet",
        "@id": "cases",
        "name": "cases",
        "description": "The facts of each case; volumes and lesion records are in the same rows.",
        "key": {"@id": "cases/case_id"},
        "field": fields,
    }
    return CroissantFiles([rows], records)
