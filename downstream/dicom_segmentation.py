"""Masks of one case as DICOM segmentations (PS3.3 A.51), binary, one frame for each slice that holds a segment."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import UInt8

from downstream.dicom_codes import PRIVATE_SCHEME, Segment
from downstream.dicom_series import MANUFACTURER, Study, uid
from manifests.case import FACTORY_VERSION
from manifests.errors import DefectError
from manifests.identity import content_hash

if TYPE_CHECKING:
    from pydicom import Dataset

__all__ = ["check_segmentation", "segmentation"]


def segmentation(
    study: Study,
    name: str,
    images: Sequence["Dataset"],
    numbers: UInt8[np.ndarray, "z y x"],
    described: Sequence[Segment],
) -> "Dataset":
    """Make a segmentation of a case.

    Args:
        study: the case.
        name: of the segmentation in it; with the segments it decides the identifiers.
        images: its CT images, which the segmentation refers to.
        numbers: number of the segment in each voxel, 0 for none.
        described: the segments, numbered from 1.
    """
    import highdicom as hd

    spacing_z, spacing_y, spacing_x = study.grid.spacing_mm_zyx
    role = f"seg/{name}/{content_hash([[segment.label, segment.value] for segment in described])}"
    identifiers = [uid(study.record.case_id, f"{role}/{part}") for part in ("series", "instance", "dimensions")]
    made = hd.seg.Segmentation(
        source_images=list(images),
        pixel_array=numbers,
        segmentation_type=hd.seg.SegmentationTypeValues.BINARY,
        segment_descriptions=[_description(study, name, segment) for segment in described],
        series_instance_uid=identifiers[0],
        series_number=_series_number(name),
        sop_instance_uid=identifiers[1],
        instance_number=1,
        manufacturer=MANUFACTURER,
        manufacturer_model_name="export",
        software_versions=FACTORY_VERSION,
        device_serial_number=study.device,
        content_description=f"{study.mark} {name}"[:64],
        content_label=study.mark,
        pixel_measures=hd.PixelMeasuresSequence((spacing_y, spacing_x), spacing_z, spacing_z),
    )
    _mark(made, study, name)
    _settle(made, identifiers[2], f"{study.date}000000")
    return made


def check_segmentation(path: Path, expected: UInt8[np.ndarray, "z y x"], study: Study) -> None:
    """Read a segmentation back with pydicom alone and compare voxels, positions and spacing.

    Raises:
        DefectError: if anything differs.
    """
    from pydicom import dcmread

    stored = dcmread(path)
    shared = stored.SharedFunctionalGroupsSequence[0]
    measures, orientation = shared.PixelMeasuresSequence[0], shared.PlaneOrientationSequence[0]
    spacing = [float(v) for v in (measures.SpacingBetweenSlices, *measures.PixelSpacing)]
    found = np.zeros_like(expected)
    frames = stored.pixel_array.reshape(-1, *expected.shape[1:])
    for frame, groups in zip(frames, stored.PerFrameFunctionalGroupsSequence, strict=True):
        x, y, z = (float(v) for v in groups.PlanePositionSequence[0].ImagePositionPatient)
        index = (z - study.grid.origin_mm_xyz[2]) / study.grid.spacing_mm_zyx[0]
        level = round(index)
        if abs(index - level) > 1e-3 or not np.allclose((x, y), study.grid.origin_mm_xyz[:2], atol=1e-3):
            raise _differs(path, f"a frame at {(x, y, z)} mm", f"slices of {study.grid}")
        identified = (
            groups if "SegmentIdentificationSequence" in groups else shared
        )  # shared where there is one segment
        found[level][frame > 0] = identified.SegmentIdentificationSequence[0].ReferencedSegmentNumber
    if not np.array_equal(found, expected):
        raise _differs(path, "other voxels than written", "every voxel back")
    if not np.allclose(spacing, study.grid.spacing_mm_zyx, rtol=1e-6) or list(
        map(float, orientation.ImageOrientationPatient)
    ) != [1, 0, 0, 0, 1, 0]:
        raise _differs(path, f"spacing {spacing} or another orientation", f"the grid {study.grid}")


def _mark(made: "Dataset", study: Study, name: str) -> None:
    """Say whether the masks are synthetic, and give them the study's date instead of today's."""
    marks = {"SyntheticData": "YES" if study.synthetic else "NO", "SeriesDescription": f"{study.mark} {name}"[:64]}
    dates = {f"{of}Date": study.date for of in ("Content", "Series", "InstanceCreation")}
    times = {f"{of}Time": "000000" for of in ("Content", "Series", "InstanceCreation")}
    for keyword, value in (marks | dates | times).items():
        setattr(made, keyword, value)


def _settle(made: "Dataset", organisation: str, moment: str) -> None:
    """Replace what highdicom draws or reads off the clock, so that equal cases give equal files."""
    for part in (*made.DimensionOrganizationSequence, *made.DimensionIndexSequence):
        part.DimensionOrganizationUID = organisation
    for equipment in made.ContributingEquipmentSequence:
        equipment.ContributionDateTime = moment


def _differs(path: Path, got: str, need: str) -> DefectError:
    return DefectError(path.name, got=f"{got} when read with pydicom", need=need, do="Please report it.")


def _description(study: Study, name: str, segment: Segment) -> Any:
    """The coded description of a segment; instances of lesions can be tracked."""
    import highdicom as hd
    from pydicom.sr.codedict import codes

    role = f"lesion/{segment.value}" if name == "lesions" else None
    made = hd.seg.SegmentDescription(
        segment_number=segment.number,
        segment_label=segment.label[:64],
        segmented_property_category=segment.category,
        segmented_property_type=segment.property_type,
        algorithm_type=hd.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=_algorithm(study),
        anatomic_regions=[getattr(codes.SCT, region) for region in segment.regions] or None,
        tracking_id=role and f"{study.record.case_id}/{role}"[-64:],
        tracking_uid=role and uid(study.record.case_id, role),
    )
    if segment.side:
        side = codes.SCT.Left if segment.side == "left" else codes.SCT.Right
        coded = made.SegmentedPropertyTypeCodeSequence[0]
        coded.SegmentedPropertyTypeModifierCodeSequence = [hd.sr.CodedConcept.from_code(side)]
    return made


def _algorithm(study: Study) -> Any:
    import highdicom as hd
    from pydicom.sr.coding import Code

    origin = ("GENERATOR", "Mask that the image was made from") if study.synthetic else ("INGESTED", "Mask of a source")
    return hd.AlgorithmIdentificationSequence(
        name=(study.record.mask_model or "ingested")[:64],
        version=study.record.factory_version[:64] or FACTORY_VERSION,
        family=Code(origin[0], PRIVATE_SCHEME, origin[1]),
    )


def _series_number(name: str) -> int:
    return {"labels": 2, "lesions": 3}[name]
