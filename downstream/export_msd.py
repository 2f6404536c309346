"""A dataset as a Medical Segmentation Decathlon task: `TaskNN_Name/{imagesTr,labelsTr,imagesTs,dataset.json}`.

Beside the decathlon's `dataset.json` stands `datalist.json`, MONAI's list with the fold of each
case, as its `load_decathlon_datalist` and Auto3DSeg read it. All cases are training cases; `imagesTs`
is empty, and nnU-Net's converter wants it to exist. Labels need no consecutive values.

Source: Antonelli et al. 2022, Nature Communications 13:4128, and the `dataset.json` of the released tasks.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from downstream.export import ExportSummary, Job, Layout, OnCase, described, run, write_json
from downstream.export_inputs import accepted, check_values
from downstream.pairs import require_simpleitk, write_pair
from downstream.splits import Fold, checked_folds
from manifests.case import FACTORY_VERSION, Arrays, CaseRecord
from manifests.dataset import Dataset
from manifests.schemes import Scheme, scheme

__all__ = ["DATALIST", "MsdOptions", "export_msd"]

DATALIST = "datalist.json"


@dataclass(frozen=True, slots=True)
class MsdOptions:
    """What to export as what.

    Attributes:
        task: number of the task as two digits, "01" to "99"; the released ones are 01 to 10.
        name: letters and digits; the folder is `Task<task>_<name>`.
        scheme: name of the label scheme to paint.
        folds: cross-validation folds of the datalist, 0 for none; None for up to 5.
        workers: threads; None for one per core.
    """

    task: str
    name: str
    scheme: str
    folds: int | None = None
    workers: int | None = None


def export_msd(dataset: Dataset, out: Path, options: MsdOptions, on_case: OnCase | None = None) -> ExportSummary:
    """Export the accepted cases of a dataset as `out/TaskNN_Name`; a repeated call goes on.

    Raises:
        InputError: for a wrong task, name, scheme, number of folds, an empty dataset, or a folder in use;
            nothing is written then.
        StorageError: if the disk is full; run it again.
        DefectError: if a file does not read back as written.
    """
    chosen = scheme(options.scheme)
    checks = (
        ("--task", options.task, bool(re.fullmatch(r"(?!00)[0-9]{2}", options.task)), "two digits, 01 to 99"),
        ("--name", options.name, bool(re.fullmatch(r"[A-Za-z0-9]+", options.name)), "letters and digits"),
    )
    check_values(checks)
    records = accepted(dataset, options.workers, options.folds)
    require_simpleitk()
    layout = _Task(chosen, options, dataset, records)
    return run(Job(dataset, records, out / f"Task{options.task}_{options.name}", layout, options.workers), on_case)


class _Task(Layout):
    name = "msd"
    folders = ("imagesTr", "labelsTr", "imagesTs")
    patterns = ("imagesTr/*.nii.gz", "labelsTr/*.nii.gz", "imagesTs/*.nii.gz")
    marker = "dataset.json"

    def __init__(self, scheme: Scheme, options: MsdOptions, dataset: Dataset, records: tuple[CaseRecord, ...]) -> None:
        self.scheme: Scheme = scheme
        self.options, self.dataset, self.records = options, dataset, records

    def paths(self, record: CaseRecord) -> tuple[str, ...]:
        return f"imagesTr/{record.case_id}.nii.gz", f"labelsTr/{record.case_id}.nii.gz"

    def write(self, record: CaseRecord, arrays: Arrays, folder: Path) -> tuple[str, ...]:
        image, label = (folder / name for name in self.paths(record))
        return write_pair(record, arrays, self.scheme, image, label)

    def finish(self, folder: Path, classes: Mapping[str, tuple[str, ...]]) -> tuple[Fold, ...]:
        folds = checked_folds(self.records, classes, self.options.folds)
        fold_of = {case: number for number, fold in enumerate(folds) for case in fold.val}
        pairs = {record.case_id: self._pair(record) for record in self.records}
        listed = [
            pair | ({"fold": fold_of[case]} if case in fold_of else {}) | {"case_id": case}
            for case, pair in pairs.items()
        ]
        description = self._dataset_json()
        write_json(folder / DATALIST, description | {"training": listed, "validation": [], "testing": []})
        write_json(folder / self.marker, description | {"training": list(pairs.values()), "test": []})
        return folds

    def _pair(self, record: CaseRecord) -> dict[str, str]:
        image, label = self.paths(record)
        return {"image": f"./{image}", "label": f"./{label}"}

    def _dataset_json(self) -> dict[str, Any]:
        """The decathlon's keys; values of labels and modalities are keys, as text."""
        return {
            "name": self.options.name,
            "reference": "CT factory",
            "release": FACTORY_VERSION,
            "tensorImageSize": "3D",
            "modality": {"0": "CT"},
            "labels": {str(value): name for name, value in self.scheme.labels.items()},
            "numTraining": len(self.records),
            "numTest": 0,
            **described(self.dataset, self.records, self),
        }
