"""A case: one CT with its anatomy and lesions, and the record that says what it is.

Arrays are (z, y, x): CT int16 in HU, anatomy uint8 with ids of the anatomy table, lesions
uint8 with instance ids (0 = none). The record holds what was asked, what was drawn where the
prompt was silent, and what was measured on the stored arrays, side by side.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import version
from typing import Literal

import numpy as np
import pyarrow as pa
from jaxtyping import Int16, UInt8
from pydantic import BaseModel, ConfigDict

from manifests.anatomy import Phase, Sex
from manifests.geometry import Grid
from manifests.identity import canonical_json

__all__ = [
    "ARROW_SCHEMA",
    "FACTORY_VERSION",
    "FORMAT_VERSION",
    "Arrays",
    "Attributes",
    "CaseRecord",
    "Lesion",
    "Row",
    "Sex",
    "Status",
    "StructureMeasure",
    "TumourAttributes",
    "tumours_of",
]

FORMAT_VERSION = 1
"""Version of the dataset format; `docs/format.md` is its contract."""

FACTORY_VERSION = version("ct-factory")
"""Version of the installed project, as records name it."""

Status = Literal["accepted", "rejected", "failed"]


@dataclass(frozen=True, slots=True)
class Arrays:
    """The three volumes of a case on one grid."""

    grid: Grid
    ct: Int16[np.ndarray, "z y x"]
    anatomy: UInt8[np.ndarray, "z y x"]
    lesions: UInt8[np.ndarray, "z y x"]


class Row(BaseModel):
    """A frozen record without unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Lesion(Row):
    """One lesion instance.

    `size_mm` is the longest diameter in any axial slice (RECIST 1.1), voxel edges included.
    `site` is the anatomical structure that holds it; `center_mm_xyz` is LPS. `kind` says what it is
    made of, `form` how it grows (None = unknown), `role` what it is in the disease: "primary",
    "satellite" or "metastasis". docs/lesions.md lists the words.
    """

    id: int
    organ: str
    site: str
    side: str | None = None
    kind: str = "solid"
    form: str | None = None
    role: str = "primary"
    size_mm: float
    volume_ml: float
    center_mm_xyz: tuple[float, float, float]


class TumourAttributes(Row):
    """Tumours of one organ and site as asked, drawn or measured; None = unstated."""

    organ: str
    site: str | None = None
    side: str | None = None
    count: int | None = None
    size_mm: float | None = None
    t_stage: str | None = None
    n_stage: str | None = None
    m_stage: str | None = None


def tumours_of(lesions: Iterable[Lesion]) -> tuple[TumourAttributes, ...]:
    """Summarise lesions by organ and site: how many, and the size of the largest; empty for none."""
    places: dict[tuple[str, str], list[Lesion]] = {}
    for lesion in lesions:
        places.setdefault((lesion.organ, lesion.site), []).append(lesion)
    return tuple(
        TumourAttributes(
            organ=organ,
            site=site,
            side=found[0].side,
            count=len(found),
            size_mm=max(lesion.size_mm for lesion in found),
        )
        for (organ, site), found in places.items()
    )


class Attributes(Row):
    """The flat attributes of a case; None = unstated or not measurable."""

    age_years: float | None = None
    sex: Sex | None = None
    race: str | None = None
    height_cm: float | None = None
    weight_kg: float | None = None
    contrast_phase: Phase | None = None
    region: str | None = None
    tumours: tuple[TumourAttributes, ...] = ()
    absent_organs: tuple[str, ...] = ()
    enlarged_organs: tuple[str, ...] = ()


class StructureMeasure(Row):
    """Volume and intensity of one structure in a stored case; `components` counts 26-connected parts."""

    name: str
    volume_ml: float
    hu_mean: float
    hu_sd: float
    components: int


class CaseRecord(Row):
    """Everything a dataset says of one case; one JSON commit record, one Parquet row.

    `status` is "accepted" for a delivered case, "rejected" for a candidate that the quality gate
    refused, "failed" for one that no worker could make. Only accepted cases have arrays.
    `patient_id` of a generated case is the patient whose anatomy was drawn from; `notes` are what
    the mask model says of it, or the release that a real case is from. Fields after `worker` describe the making, not the case, and differ
    between equal runs.
    """

    case_id: str
    status: Status
    reasons: tuple[str, ...] = ()
    index: int
    candidate: int = 0
    # what was asked, drawn, measured
    prompt_id: str | None = None
    prompt_json: str | None = None
    prompt_text: str | None = None
    template: str | None = None
    source: str | None = None
    requested: Attributes = Attributes()
    drawn: Attributes = Attributes()
    measured: Attributes = Attributes()
    lesions: tuple[Lesion, ...] = ()
    structures: tuple[StructureMeasure, ...] = ()
    # what made it
    mask_model: str | None = None
    image_model: str | None = None
    weights_sha256: str | None = None
    spec_id: str | None = None
    run_seed: int | None = None
    factory_version: str
    anatomy_table: str
    # where and how big
    shape_zyx: tuple[int, int, int] | None = None
    spacing_mm_zyx: tuple[float, float, float] | None = None
    origin_mm_xyz: tuple[float, float, float] | None = None
    path: str | None = None
    ct_blake3: str | None = None
    anatomy_blake3: str | None = None
    lesions_blake3: str | None = None
    stored_bytes: int | None = None
    stored_blake3: dict[str, str] = {}
    split: str | None = None
    patient_id: str | None = None
    licence: str | None = None
    gate: str | None = None
    notes: dict[str, str] = {}
    # the making
    worker: str | None = None
    attempt: int = 0
    seconds: dict[str, float] = {}
    device: str | None = None
    platform: str | None = None
    created_at: str | None = None
    record_sha256: str | None = None

    def sealed(self) -> "CaseRecord":
        """The same record with `record_sha256` over its content.

        The hash is SHA-256 of the canonical JSON of the record with `record_sha256` null, so an
        edit of the record or of its manifest row shows without anything else to compare with.

        Raises:
            InvalidValueError: if a number is NaN or infinite.
        """
        text = canonical_json(self.model_dump() | {"record_sha256": None})
        return self.model_copy(update={"record_sha256": hashlib.sha256(text.encode()).hexdigest()})

    def grid(self) -> Grid:
        """The grid of the stored arrays."""
        assert self.shape_zyx
        assert self.spacing_mm_zyx
        assert self.origin_mm_xyz
        return Grid(self.shape_zyx, self.spacing_mm_zyx, self.origin_mm_xyz)


_TUMOUR = pa.struct(
    [
        ("organ", pa.string()),
        ("site", pa.string()),
        ("side", pa.string()),
        ("count", pa.int32()),
        ("size_mm", pa.float64()),
        ("t_stage", pa.string()),
        ("n_stage", pa.string()),
        ("m_stage", pa.string()),
    ]
)
_ATTRIBUTES = pa.struct(
    [
        ("age_years", pa.float64()),
        ("sex", pa.string()),
        ("race", pa.string()),
        ("height_cm", pa.float64()),
        ("weight_kg", pa.float64()),
        ("contrast_phase", pa.string()),
        ("region", pa.string()),
        ("tumours", pa.list_(_TUMOUR)),
        ("absent_organs", pa.list_(pa.string())),
        ("enlarged_organs", pa.list_(pa.string())),
    ]
)
_LESION = pa.struct(
    [
        ("id", pa.int32()),
        ("organ", pa.string()),
        ("site", pa.string()),
        ("side", pa.string()),
        ("kind", pa.string()),
        ("form", pa.string()),
        ("role", pa.string()),
        ("size_mm", pa.float64()),
        ("volume_ml", pa.float64()),
        ("center_mm_xyz", pa.list_(pa.float64())),
    ]
)
_STRUCTURE = pa.struct(
    [
        ("name", pa.string()),
        ("volume_ml", pa.float64()),
        ("hu_mean", pa.float64()),
        ("hu_sd", pa.float64()),
        ("components", pa.int32()),
    ]
)
_TYPES = {
    "reasons": pa.list_(pa.string()),
    "index": pa.int64(),
    "candidate": pa.int32(),
    "requested": _ATTRIBUTES,
    "drawn": _ATTRIBUTES,
    "measured": _ATTRIBUTES,
    "lesions": pa.list_(_LESION),
    "structures": pa.list_(_STRUCTURE),
    "run_seed": pa.int64(),
    "shape_zyx": pa.list_(pa.int32()),
    "spacing_mm_zyx": pa.list_(pa.float64()),
    "origin_mm_xyz": pa.list_(pa.float64()),
    "stored_bytes": pa.int64(),
    "stored_blake3": pa.map_(pa.string(), pa.string()),
    "notes": pa.map_(pa.string(), pa.string()),
    "attempt": pa.int32(),
    "seconds": pa.map_(pa.string(), pa.float64()),
}

ARROW_SCHEMA = pa.schema([(name, _TYPES.get(name, pa.string())) for name in CaseRecord.model_fields])
"""Arrow schema of the manifest: one column per field of `CaseRecord`, text where nothing else is said."""
