"""A folder of images and label maps, paired by patterns."""

from collections.abc import Mapping
from pathlib import Path

from manifests.errors import LocationError, UnknownNameError
from manifests.labelmap import LabelMap, label_map, read_label_names, scheme_label_map
from manifests.layouts.source import Names, Source, matches, named, paired
from manifests.schemes import scheme_names

__all__ = ["IMAGES", "MASKS", "images_labels_source"]

IMAGES, MASKS = "images/*.nii.gz", "labels/*.nii.gz"
"""Where the images and label maps are, unless patterns are given."""


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
    wanted, need = (images, "images") if images else (masks, "label maps")
    if not matches(folder, wanted):
        raise LocationError(str(folder), got=f"no file like {wanted}", need=need, do="Check folder and pattern.")
    cases = named(paired(folder, images, masks))
    return Source(folder, "images-labels", cases, _meanings(labels, overrides), masks_only=not images)


def _meanings(labels: str | Path | Names, overrides: Names | None) -> LabelMap:
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
