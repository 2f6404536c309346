"""Beyond the Cranial Vault, abdomen (Synapse syn3193805): 30 CT with 13 organs."""

from dataclasses import replace
from pathlib import Path

from manifests.labelmap import scheme_label_map
from manifests.layouts.source import Names, Source, find_root, matches, named, paired

__all__ = ["btcv_source"]

_TRAINING = ("", "Training", "RawData/Training", "Abdomen/RawData/Training")
_IMAGES, _LABELS = "img/img*.nii.gz", "label/label*.nii.gz"


def btcv_source(folder: Path, overrides: Names | None = None) -> Source:
    """Read `img/imgNNNN.nii.gz` with `label/labelNNNN.nii.gz`; scans beside them in `Testing` have no public labels.

    Args:
        folder: `Training`, or a folder above it up to the one that holds `Abdomen`.
        overrides: meanings of labels by the names of the scheme `btcv13` or by value.

    Raises:
        LocationError: if the images are not there.
        UnknownNameError: if an override names no label.
    """
    root = find_root(folder, _TRAINING, _IMAGES, "BTCV's RawData/Training (img/img0001.nii.gz)")
    cases = [replace(case, case_id=f"img{case.case_id}") for case in paired(root, _IMAGES, _LABELS, "train")]
    testing = tuple(f"img{number}" for number in matches(root.parent / "Testing", _IMAGES))
    return Source(
        folder=folder,
        layout="btcv",
        cases=named(cases),
        labels=scheme_label_map("btcv13", overrides),
        left_out={"no public labels": testing} if testing else {},
    )
