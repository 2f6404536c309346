"""An nnU-Net v2 raw dataset."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from manifests.errors import FileFormatError
from manifests.labelmap import LabelMap, label_map
from manifests.layouts.source import Names, Source, named, paired, read_json

__all__ = ["nnunet_source"]


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
    parts = {"Tr": "train", "Ts": "test"}
    cases = [
        case
        for part, split in parts.items()
        if (folder / f"labels{part}").is_dir()
        for case in paired(folder, f"images{part}/*_0000{ending}", f"labels{part}/*{ending}", split)
    ]
    licence = table.get("licence", table.get("license"))
    return Source(folder, "nnunet", named(cases), _meanings(folder, table, overrides), licence)


def _dataset_json(folder: Path) -> Mapping[str, Any]:
    path = folder / "dataset.json"
    table = read_json(path, ("channel_names", "file_ending"), "nnU-Net's dataset.json")
    channels, ending = table["channel_names"], table["file_ending"]
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
    return table


def _meanings(folder: Path, table: Mapping[str, Any], overrides: Names | None) -> LabelMap:
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
