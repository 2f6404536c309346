"""Real CT into the dataset format: read, translate, measure, save.

Each case of a source is read on its own: one that cannot be read becomes a failed record with the
reason, and the rest goes on. Running the same command again skips what is there and tries the failed
ones anew.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from jaxtyping import Int16, Shaped, UInt16

from manifests.anatomy import table_hash
from manifests.case import FACTORY_VERSION, Arrays, CaseRecord, Lesion, TumourAttributes, tumours_of
from manifests.dataset import Dataset, DatasetSpec
from manifests.errors import FileFormatError, InputError, InvalidValueError
from manifests.foreign import measure_structures, translate
from manifests.geometry import HU_MIN, Grid
from manifests.identity import content_hash
from manifests.layouts import IMAGES, LAYOUTS, MASKS, Names, Source, SourceCase, images_labels_source
from manifests.nifti import read_ct, read_labels

__all__ = ["ingest", "ingest_folder", "ingest_images_labels"]

ALIGNMENT_TOLERANCE_MM = 0.01


def ingest(source: Source, root: Path) -> Iterator[CaseRecord]:
    """Write the cases of a source into a dataset of kind "real", and yield each new record.

    Args:
        source: made by one of the functions of `manifests.layouts`.
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


def ingest_images_labels(
    folder: Path, root: Path, labels: str | Path | Names, *, images: str = IMAGES, masks: str = MASKS
) -> Dataset:
    """Ingest a folder of images and labels as a whole; see `images_labels_source` and `ingest`."""
    return _drain(images_labels_source(folder, labels, images=images, masks=masks), root)


def ingest_folder(layout: str, folder: Path, root: Path, overrides: Names | None = None) -> Dataset:
    """Ingest a folder of a layout of `LAYOUTS` as a whole; see there and `ingest`."""
    return _drain(LAYOUTS[layout](folder, overrides), root)


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
        source=_origin(source, case),
        notes=dict(case.notes),
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
    tumours = _staged(tumours_of(one for one in lesions if one.kind != "cyst"), case.measured.tumours)
    measured = case.measured.model_copy(update={"tumours": tumours})
    structures = measure_structures(arrays.ct, arrays.anatomy, arrays.grid)
    return dataset.save(
        record.model_copy(update={"lesions": lesions, "measured": measured, "structures": structures}), arrays
    )


def _origin(source: Source, case: SourceCase) -> str | None:
    """Path of the image, or of the labels where there is none, inside the source."""
    paths = [case.ct] if case.ct else [path for path, _ in case.labels if source.masks_only]
    return str(paths[0].relative_to(source.folder)) if paths else None


def _staged(
    tumours: tuple[TumourAttributes, ...], stated: tuple[TumourAttributes, ...]
) -> tuple[TumourAttributes, ...]:
    """Give the stages that a source states for an organ to the place of its largest tumour."""
    staged = list(tumours)
    for stages in stated:
        places = [number for number, tumour in enumerate(staged) if tumour.organ == stages.organ]
        if places:
            largest = max(places, key=lambda number: staged[number].size_mm or 0.0)
            update = {name: getattr(stages, name) for name in ("t_stage", "n_stage", "m_stage")}
            staged[largest] = staged[largest].model_copy(update=update)
    return tuple(staged)


def _read(source: Source, case: SourceCase) -> tuple[Arrays, tuple[Lesion, ...]]:
    binary = [value for _, value in case.labels if value is not None]
    image = case.labels[0][0] if source.masks_only and case.labels else case.ct
    if image is None or not case.labels or (len(case.labels) > 1 and not binary):
        raise InvalidValueError(
            f"case {case.case_id}",
            got=f"{'one image' if case.ct else 'no single image'} and {len(case.labels)} label files",
            need="one image and its labels",
            do="Add the missing file, or narrow the pattern.",
        )
    ct, grid = _read_image(source, image)
    values = np.zeros(grid.shape_zyx, np.uint16)
    for path, value in case.labels:
        layer, layer_grid = read_labels(path, resample_oblique=source.resample_oblique)
        _require_aligned(path, layer_grid, grid)
        _lay(values, layer, value)
    anatomy, lesions, records = translate(values, {**source.labels, **case.meanings}, grid)
    return Arrays(grid=grid, ct=ct, anatomy=anatomy, lesions=lesions), records


def _read_image(source: Source, path: Path) -> tuple[Int16[np.ndarray, "z y x"], Grid]:
    """The CT of a case, or an empty one on the grid of its labels."""
    if not source.masks_only:
        return read_ct(path, resample_oblique=source.resample_oblique)
    labels, grid = read_labels(path, resample_oblique=source.resample_oblique)
    return np.full(labels.shape, HU_MIN, np.int16), grid


def _lay(values: UInt16[np.ndarray, "z y x"], layer: Shaped[np.ndarray, "z y x"], value: int | None) -> None:
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
