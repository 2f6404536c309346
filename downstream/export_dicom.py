"""A dataset as DICOM: one study a case with its CT series and its segmentations.

    <case_id>/ct/<number>.dcm    CT images, feet to head
    <case_id>/labels.dcm         segmentation of the labels of a scheme
    <case_id>/lesions.dcm        segmentation of the lesion instances, where the case has any

Every object is marked: SyntheticData (0008,001C), ImageType DERIVED, and SYNTHETIC in the names of patient,
study and series. CT series are read back with SimpleITK (GDCM), segmentations with pydicom.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from jaxtyping import Int16, UInt8

from downstream.dicom_codes import Segment, lesion_segment, segments
from downstream.dicom_segmentation import check_segmentation, segmentation
from downstream.dicom_series import Study, ct_images
from downstream.export import ExportSummary, Job, Layout, OnCase, described, run, write_json
from downstream.export_inputs import accepted, require_package
from downstream.pairs import painted, require_same_grid, require_simpleitk
from downstream.splits import Fold
from manifests.case import Arrays, CaseRecord
from manifests.dataset import Dataset
from manifests.errors import DefectError
from manifests.schemes import Scheme, scheme

__all__ = ["export_dicom"]


def export_dicom(
    dataset: Dataset, out: Path, scheme_name: str, workers: int | None = None, on_case: OnCase | None = None
) -> ExportSummary:
    """Export the accepted cases of a dataset to the folder `out`; a repeated call goes on.

    Args:
        dataset: the dataset, synthetic or real.
        out: the folder to make.
        scheme_name: label scheme; each of its labels is a segment, numbered alike in all cases.
        workers: threads; None for one per core.
        on_case: called with each case as it is done.

    Raises:
        InputError: for an unknown scheme, an empty dataset, or a folder in use; nothing is written then.
        StorageError: if the disk is full; run it again.
        DefectError: if a file does not read back as written.
    """
    chosen = scheme(scheme_name)
    records = accepted(dataset, workers)
    for module in ("pydicom", "highdicom"):
        require_package(module, "dicom", "to write DICOM")
    require_simpleitk()
    return run(Job(dataset, records, out, _Studies(chosen, dataset, records), workers), on_case)


class _Studies(Layout):
    name = "dicom"
    patterns = ("*/*.dcm", "*/ct/*.dcm")
    marker = "dataset.json"
    readers = ("SimpleITK", "pydicom")

    def __init__(self, scheme: Scheme, dataset: Dataset, records: tuple[CaseRecord, ...]) -> None:
        self.scheme: Scheme = scheme
        self.segments = segments(scheme)
        self.dataset, self.records = dataset, records
        self.facts = described(dataset, records, self)

    def paths(self, record: CaseRecord) -> tuple[str, ...]:
        names = [f"ct/{number:04d}.dcm" for number in range(1, record.grid().shape_zyx[0] + 1)]
        names += ["labels.dcm", *(["lesions.dcm"] if record.lesions else [])]
        return tuple(f"{record.case_id}/{name}" for name in names)

    def write(self, record: CaseRecord, arrays: Arrays, folder: Path) -> tuple[str, ...]:
        spec = self.dataset.spec
        study = Study(record, arrays.grid, spec.kind == "synthetic", spec.spec_id, self.facts["description"])
        images = list(ct_images(study, arrays.ct))
        place = folder / record.case_id
        series = [place / "ct" / f"{image.InstanceNumber:04d}.dcm" for image in images]
        for path, image in zip(series, images, strict=True):
            image.save_as(path, enforce_file_format=True)
        _check_series(record.case_id, series, arrays)
        label, classes = painted(record, arrays, self.scheme)
        lesions = tuple(lesion_segment(number, lesion) for number, lesion in enumerate(record.lesions, 1))
        layers = {"labels": (label, self.segments), "lesions": (arrays.lesions, lesions)}
        for name, (values, described_as) in layers.items():
            if described_as:
                numbers = _numbers(values, described_as)
                segmentation(study, name, images, numbers, described_as).save_as(place / f"{name}.dcm")
                check_segmentation(place / f"{name}.dcm", numbers, study)
        return classes

    def finish(self, folder: Path, classes: Mapping[str, tuple[str, ...]]) -> tuple[Fold, ...]:
        table = [
            {"segment": segment.number, "label": segment.label, "value": segment.value} for segment in self.segments
        ]
        write_json(folder / self.marker, {"cases": len(classes), **self.facts, "segments": table})
        return ()


def _numbers(values: UInt8[np.ndarray, "z y x"], described_as: tuple[Segment, ...]) -> UInt8[np.ndarray, "z y x"]:
    """Values of a label map as numbers of segments."""
    table = np.zeros(256, np.uint8)
    table[[segment.value for segment in described_as]] = [segment.number for segment in described_as]
    numbers: UInt8[np.ndarray, "z y x"] = table[values]
    return numbers


def _check_series(case_id: str, series: list[Path], arrays: Arrays) -> None:
    import SimpleITK

    reader = SimpleITK.ImageSeriesReader()
    found = reader.GetGDCMSeriesFileNames(str(series[0].parent))
    if list(found) != [str(path) for path in series]:
        raise DefectError(
            case_id, got="another order of slices", need="feet to head when read with GDCM", do="Please report it."
        )
    reader.SetFileNames(found)
    image = reader.Execute()
    geometry = (image.GetSize(), image.GetSpacing(), image.GetOrigin(), image.GetDirection())
    require_same_grid(f"{case_id}, CT series", geometry, arrays.grid)
    read: Int16[np.ndarray, "z y x"] = SimpleITK.GetArrayViewFromImage(image)
    if not np.array_equal(read, arrays.ct):
        raise DefectError(
            f"{case_id}, CT series", got="other voxels than written", need="every voxel back", do="Please report it."
        )
