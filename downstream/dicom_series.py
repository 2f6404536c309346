r"""One case as a series of CT images: attributes, identifiers, pixels.

The CT Image IOD of PS3.3 A.3. Pixels are HU + 1024 in 12 bits with RescaleIntercept -1024, so the whole
stored range is there. Slices ascend from feet to head; rows run to the patient's left, columns to posterior,
so orientation is 1\0\0\0\1\0 and positions are those of the grid. All identifiers are UUIDs derived from
the case id (PS3.5 B.2), so the same case has the same ones wherever it is exported.
"""

import re
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Int16, UInt16

from manifests.case import FACTORY_VERSION, CaseRecord
from manifests.geometry import HU_MIN, Grid

if TYPE_CHECKING:
    from pydicom import Dataset

__all__ = ["CT_IMAGE_STORAGE", "MANUFACTURER", "Study", "ct_images", "uid"]

MANUFACTURER = "CT factory"
CT_IMAGE_STORAGE = "1.2.840.10008.5.1.4.1.1.2"
_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_DNS, "ct-factory")
_ORIENTATION = [1, 0, 0, 0, 1, 0]
_NO_DATE = "20000101"
_PARTS = {
    "chest": "CHEST",
    "abdomen": "ABDOMEN",
    "chest_abdomen": "CHESTABDOMEN",
    "abdomen_pelvis": "ABDOMENPELVIS",
}
"""Body parts of PS3.16 annex L by region; what is none of these is a torso."""


@dataclass(frozen=True, slots=True)
class Study:
    """What all objects of a case share.

    Attributes:
        record: of the case.
        grid: of its arrays.
        synthetic: whether an engine generated it.
        device: identity of what made the dataset, at most 64 characters.
        about: what the dataset is, in one or two sentences.
    """

    record: CaseRecord
    grid: Grid
    synthetic: bool
    device: str
    about: str

    @property
    def mark(self) -> str:
        """The word that every description begins with."""
        return "SYNTHETIC" if self.synthetic else "INGESTED"

    @property
    def date(self) -> str:
        """Day on which the case was made, as DICOM writes it: equal datasets give equal files."""
        return (self.record.created_at or "")[:10].replace("-", "") or _NO_DATE


def uid(case_id: str, role: str) -> str:
    """A valid identifier for one object of a case, the same each time: 2.25 and a name-based UUID."""
    return f"2.25.{uuid.uuid5(_NAMESPACE, f'{case_id}/{role}').int}"


def ct_images(study: Study, ct_hu: Int16[np.ndarray, "z y x"]) -> Iterator["Dataset"]:
    """Make the CT images of a case, from feet to head.

    Args:
        study: the case.
        ct_hu: its CT, -1024 to 3071 HU.
    """
    stored = (ct_hu.astype(np.int32) - HU_MIN).astype("<u2")
    for number, pixels in enumerate(stored, 1):
        image = _common(study, number)
        image.update(_plane(study.grid, number - 1))
        image.update(_pixels(pixels))
        yield image


def _common(study: Study, number: int) -> "Dataset":
    """Everything of an image but its plane and pixels."""
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian

    image = _filled(_patient(study) | _series(study) | _image(study, number))
    image.file_meta = FileMetaDataset()
    image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return image


def _filled(values: Mapping[str, Any]) -> "Dataset":
    """A data set of attributes by keyword."""
    from pydicom import Dataset

    made = Dataset()
    for keyword, value in values.items():
        setattr(made, keyword, value)
    return made


def _patient(study: Study) -> dict[str, Any]:
    """Patient and study; what is empty is of type 2 and unknown."""
    record, mark = study.record, study.mark
    return {
        "SpecificCharacterSet": "ISO_IR 192",
        "PatientName": f"{mark}^{record.case_id[:50]}",
        "PatientID": f"{mark}-{record.case_id[:50]}",
        "PatientBirthDate": "",
        "PatientSex": {"male": "M", "female": "F"}.get(record.measured.sex or "", ""),
        **_body(record),
        "StudyInstanceUID": uid(record.case_id, "study"),
        "StudyID": "1",
        "StudyDate": study.date,
        "StudyTime": "000000",
        "StudyDescription": f"{mark} CT of {MANUFACTURER}",
        "AccessionNumber": "",
        "ReferringPhysicianName": "",
    }


def _series(study: Study) -> dict[str, Any]:
    """Series, frame of reference and equipment."""
    record = study.record
    return {
        "Modality": "CT",
        "SeriesInstanceUID": uid(record.case_id, "ct"),
        "SeriesNumber": 1,
        "SeriesDescription": f"{study.mark} {_kind(record)}",
        "BodyPartExamined": _PARTS.get(record.measured.region or "", "CHESTABDPELVIS"),
        "PatientPosition": "HFS",
        "FrameOfReferenceUID": uid(record.case_id, "frame"),
        "PositionReferenceIndicator": "",
        "Manufacturer": MANUFACTURER,
        "ManufacturerModelName": _line(record.image_model or "unnamed"),
        "DeviceSerialNumber": study.device,
        "SoftwareVersions": FACTORY_VERSION,
    }


def _image(study: Study, number: int) -> dict[str, Any]:
    """One image, as far as it is the same for all pixels and planes."""
    phase = study.record.measured.contrast_phase
    values: dict[str, Any] = {
        "SOPClassUID": CT_IMAGE_STORAGE,
        "SOPInstanceUID": uid(study.record.case_id, f"ct/{number}"),
        "SyntheticData": "YES" if study.synthetic else "NO",
        "ImageType": ["DERIVED", "SECONDARY", "AXIAL"],
        "BurnedInAnnotation": "NO",
        "LossyImageCompression": "00",
        "ContentDate": study.date,
        "ContentTime": "000000",
        "InstanceNumber": number,
        "AcquisitionNumber": 1,
        "KVP": None,
        "ImageComments": _about(study),
    }
    contrast = {"ContrastBolusAgent": f"{study.mark}, {phase}"} if phase not in (None, "native") else {}
    return values | contrast


def _plane(grid: Grid, index: int) -> "Dataset":
    from pydicom.valuerep import DSfloat

    def decimal(value: float) -> DSfloat:
        return DSfloat(value, auto_format=True)

    spacing_z, spacing_y, spacing_x = grid.spacing_mm_zyx
    x, y, z = grid.origin_mm_xyz
    position = z + index * spacing_z
    return _filled(
        {
            "ImagePositionPatient": [decimal(value) for value in (x, y, position)],
            "ImageOrientationPatient": list(_ORIENTATION),
            "PixelSpacing": [decimal(spacing_y), decimal(spacing_x)],
            "SliceThickness": decimal(spacing_z),
            "SliceLocation": decimal(position),
        }
    )


def _pixels(stored: UInt16[np.ndarray, "y x"]) -> "Dataset":
    pixels = _filled(
        {
            "SamplesPerPixel": 1,
            "PhotometricInterpretation": "MONOCHROME2",
            "Rows": stored.shape[0],
            "Columns": stored.shape[1],
            "BitsAllocated": 16,
            "BitsStored": 12,
            "HighBit": 11,
            "PixelRepresentation": 0,
            "RescaleIntercept": HU_MIN,
            "RescaleSlope": 1,
            "RescaleType": "HU",
            "WindowCenter": 40,
            "WindowWidth": 400,
        }
    )
    pixels.add_new("PixelData", "OW", stored.tobytes())
    return pixels


def _kind(record: CaseRecord) -> str:
    return f"CT {record.measured.contrast_phase or ''}".strip().replace("_", " ")


def _body(record: CaseRecord) -> dict[str, Any]:
    """Age, size and weight, where they were measured or asked."""
    from pydicom.valuerep import DSfloat

    found: dict[str, Any] = {}
    for attributes in (record.requested, record.drawn, record.measured):
        if attributes.age_years is not None:
            found["PatientAge"] = f"{min(round(attributes.age_years), 999):03d}Y"
        if attributes.height_cm is not None:
            found["PatientSize"] = DSfloat(round(attributes.height_cm / 100, 4))
        if attributes.weight_kg is not None:
            found["PatientWeight"] = DSfloat(round(attributes.weight_kg, 2))
    return found


def _about(study: Study) -> str:
    """What the dataset is, and what was asked of the case."""
    return f"{study.about} {study.record.prompt_text or ''}".strip().replace("\\", "/")[:10_000]


def _line(text: str) -> str:
    """Text that fits a long string: one line of at most 64 characters without backslash."""
    return re.sub(r"[\\\s]+", " ", text)[:64]
