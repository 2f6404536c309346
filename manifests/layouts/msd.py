"""A CT task of the Medical Segmentation Decathlon (Antonelli et al., Nat Commun 2022)."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from manifests.errors import FileFormatError, LocationError
from manifests.labelmap import label_map
from manifests.layouts.source import Names, Source, SourceCase, matches, named, paired, read_json

__all__ = ["msd_source"]

_MEANT = {
    "liver": {"cancer": "tumour:liver"},
    "lung": {"cancer": "tumour:lung"},
    "pancreas": {"cancer": "tumour:pancreas"},
    "hepaticvessel": {"Vessel": "ignore", "Tumour": "tumour:liver"},
}
"""What the names of labels leave open, by the beginning of the case names."""


def msd_source(folder: Path, overrides: Names | None = None) -> Source:
    """Read `dataset.json`, `imagesTr` and `labelsTr` of one task; the scans of `imagesTs` have no public labels.

    Args:
        folder: a task such as `Task06_Lung` or `Task10_Colon`.
        overrides: meanings of labels by the names of `dataset.json` or by value.

    Raises:
        LocationError, FileFormatError: if `dataset.json` is missing, broken, or says the images are not CT.
        InvalidValueError: if there is no case.
        UnknownNameError: if a label is not understood.
    """
    if tasks := [path.parent.name for path in sorted(folder.glob("Task*/dataset.json"))]:
        do = "Ingest them one by one, each into its dataset."
        raise LocationError(str(folder), got=", ".join(tasks), need="the folder of one task", do=do)
    table = read_json(folder / "dataset.json", ("modality", "labels"), "the Decathlon's dataset.json")
    _require_ct(folder, table)
    cases = named(paired(folder, "imagesTr/*.nii.gz", "labelsTr/*.nii.gz", "train"))
    names = _names(folder, table)
    meant = _MEANT.get(cases[0].case_id.partition("_")[0], {})
    labels = label_map(
        names, {name: meaning for name, meaning in meant.items() if name in names.values()} | dict(overrides or {})
    )
    left_out = {
        "no public labels": tuple(matches(folder, "imagesTs/*.nii.gz")),
        "listed, not there": _lost(table, cases),
    }
    licence = table.get("licence", table.get("license"))
    return Source(
        folder, "msd", cases, labels, licence, left_out={why: found for why, found in left_out.items() if found}
    )


def _require_ct(folder: Path, table: Mapping[str, Any]) -> None:
    if table["modality"] != {"0": "CT"}:
        got = f"modality {table['modality']}"
        raise FileFormatError(str(folder / "dataset.json"), got=got, need="CT alone", do="Choose a task of CT.")


def _names(folder: Path, table: Mapping[str, Any]) -> dict[int, str]:
    labels = table["labels"]
    if not isinstance(labels, dict) or not all(value.isdigit() for value in labels):
        need = 'names by value, such as {"1": "cancer"}'
        raise FileFormatError(
            str(folder / "dataset.json"), got=f"labels {labels}", need=need, do="Read an nnU-Net dataset as nnunet."
        )
    return {int(value): str(name) for value, name in labels.items()}


def _lost(table: Mapping[str, Any], cases: tuple[SourceCase, ...]) -> tuple[str, ...]:
    """Names that `dataset.json` lists for training and that have neither image nor labels."""
    listed = set(re.findall(r"imagesTr/([^/'\"]+?)\.nii\.gz", str(table.get("training"))))
    return tuple(sorted(listed - {case.case_id for case in cases}))
