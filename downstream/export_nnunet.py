"""A dataset as nnU-Net v2 raw data: `DatasetXXX_Name/{imagesTr,labelsTr,dataset.json,splits_final.json}`.

Images are int16 HU, labels uint8, `.nii.gz`, checked one by one (`downstream.pairs`); resumption is
that of all exports (`downstream.export`). `dataset.json` comes last, so nnU-Net never takes an
unfinished export for a dataset. Its rules are those of nnU-Net 2.8 (documentation/dataset_format.md
and the source of its integrity check).
"""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from downstream.export import ExportSummary, Job, Layout, OnCase, described, run, write_json
from downstream.export_inputs import accepted, check_values
from downstream.nnunet_layout import ENDING, IMAGES, LABELS, require_free_id, require_nnunet, verify_integrity
from downstream.pairs import require_simpleitk, write_pair
from downstream.splits import Fold, checked_folds
from manifests.case import Arrays, CaseRecord
from manifests.dataset import Dataset
from manifests.schemes import Scheme, scheme

__all__ = ["ExportOptions", "export"]


@dataclass(frozen=True, slots=True)
class ExportOptions:
    """What to export as what.

    Attributes:
        id: nnU-Net's dataset number as exactly three digits, "001" to "999".
        name: letters, digits and `_`; the folder is `Dataset<id>_<name>`.
        scheme: name of the label scheme to paint.
        folds: cross-validation folds, 0 for no split file; None for 5, or as many as there are
            independent prompts, patients or sources.
        workers: threads; None for one per core.
        verify: run nnU-Net's own integrity check at the end.
    """

    id: str
    name: str
    scheme: str
    folds: int | None = None
    workers: int | None = None
    verify: bool = True

    @property
    def folder_name(self) -> str:
        """Name of nnU-Net's dataset folder."""
        return f"Dataset{self.id}_{self.name}"


def export(dataset: Dataset, out: Path, options: ExportOptions, on_case: OnCase | None = None) -> ExportSummary:
    """Export the accepted cases of a dataset; an interrupted export goes on where it stopped.

    Args:
        dataset: the dataset, synthetic or real.
        out: nnU-Net's raw folder (`$nnUNet_raw`); made if missing.
        options: what to export as what.
        on_case: called in this thread with each case as it is done, those kept first.

    Raises:
        InputError: for a wrong id, name, scheme, number of folds, an empty dataset, or a folder
            or id that is in use; nothing is written then.
        StorageError: if the disk is full; run it again.
        DefectError: if a file does not read back as written, or nnU-Net refuses the dataset.
    """
    job = _validated(dataset, out, options)
    summary = run(job, on_case)
    if options.verify:
        verify_integrity(job.folder)
        summary = replace(summary, readers=(*summary.readers, "nnU-Net's integrity check"))
    if not summary.val_sizes:
        blind = "no splits_final.json: nnU-Net will draw its own folds, blind to prompts, patients and classes"
        summary = replace(summary, warnings=(*summary.warnings, blind))
    return summary


def _validated(dataset: Dataset, out: Path, options: ExportOptions) -> Job:
    chosen = scheme(options.scheme)
    checks = (
        ("--id", options.id, bool(re.fullmatch(r"(?!000)[0-9]{3}", options.id)), "three digits, 001 to 999"),
        ("--name", options.name, bool(re.fullmatch(r"[A-Za-z0-9_]+", options.name)), "letters, digits and _"),
        ("--scheme", options.scheme, chosen.consecutive, "labels 0, 1, 2, ... without gaps, as nnU-Net does"),
    )
    check_values(checks)
    records = accepted(dataset, options.workers, options.folds)
    require_simpleitk()
    if options.verify:
        require_nnunet("or pass --no-verify")
    folder = out / options.folder_name
    require_free_id(folder)
    return Job(dataset, records, folder, _Raw(chosen, options, dataset, records), options.workers)


class _Raw(Layout):
    name = "nnunet"
    folders = (IMAGES, LABELS)
    patterns = (f"{IMAGES}/*{ENDING}", f"{LABELS}/*{ENDING}")
    marker = "dataset.json"

    def __init__(
        self, scheme: Scheme, options: ExportOptions, dataset: Dataset, records: tuple[CaseRecord, ...]
    ) -> None:
        self.scheme: Scheme = scheme
        self.options, self.dataset, self.records = options, dataset, records

    def paths(self, record: CaseRecord) -> tuple[str, ...]:
        """Image (channel 0000) and label."""
        return f"{IMAGES}/{record.case_id}_0000{ENDING}", f"{LABELS}/{record.case_id}{ENDING}"

    def write(self, record: CaseRecord, arrays: Arrays, folder: Path) -> tuple[str, ...]:
        image, label = (folder / name for name in self.paths(record))
        return write_pair(record, arrays, self.scheme, image, label)

    def finish(self, folder: Path, classes: Mapping[str, tuple[str, ...]]) -> tuple[Fold, ...]:
        folds = checked_folds(self.records, classes, self.options.folds)
        (folder / "splits_final.json").unlink(missing_ok=True)
        if folds:
            write_json(folder / "splits_final.json", [asdict(fold) for fold in folds])
        write_json(folder / self.marker, self._dataset_json())
        return folds

    def _dataset_json(self) -> dict[str, Any]:
        """nnU-Net's four required keys, its reader, and what the data is: nnU-Net ignores other keys."""
        return {
            "channel_names": {"0": "CT"},
            "labels": dict(self.scheme.labels),
            "numTraining": len(self.records),
            "file_ending": ENDING,
            "overwrite_image_reader_writer": "SimpleITKIO",
            "name": self.options.name,
            **described(self.dataset, self.records, self),
        }
