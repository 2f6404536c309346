"""The sources of a bank: what the records of an ingested or built dataset say of each case.

Nothing here reads voxels, so a bank of thousands of cases opens in the time that their records
take. The hash of a bank covers the content of its accepted cases and what is known of their
patients, not where or when they were stored.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from manifests.anatomy import SEX_ORGANS
from manifests.case import CaseRecord
from manifests.dataset import Dataset
from manifests.errors import InvalidValueError
from manifests.geometry import Grid
from manifests.identity import content_hash

__all__ = ["DIVIDED", "GROUND", "Source", "bank_hash", "open_sources"]

GROUND = frozenset({"body", "subcutaneous_fat", "visceral_fat", "skeletal_muscle"})
"""What lies between organs; a source that labels any of it has an outline of its own."""

DIVIDED = {"kidneys": ("kidney_left", "kidney_right"), "adrenal_glands": ("adrenal_gland_left", "adrenal_gland_right")}
"""Undivided structures whose parts lie apart, so that left and right can be told by place alone."""

_WHOLE = 30


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """One case of a bank, as its record describes it; compared by identity, so that it can be a key.

    Attributes:
        case_id: its id in the bank.
        patient_id: its patient there; the case itself where the bank names none.
        sex, age_years, height_cm, weight_kg: of the patient; None = unknown.
        volumes_ml: volume of each structure that is labelled, undivided pairs as their parts.
        grid: grid of its arrays.
        whole: whether it shows a body of its own; what a sparse source leaves out is drawn around it.
    """

    case_id: str
    patient_id: str
    licence: str | None
    sex: str | None
    age_years: float | None
    height_cm: float | None
    weight_kg: float | None
    volumes_ml: dict[str, float]
    grid: Grid
    whole: bool


def open_sources(root: Path) -> tuple[Dataset, tuple[Source, ...], str]:
    """Open a dataset as a bank: with its sources, sorted by case id, and its `bank_hash`.

    Raises:
        LocationError: if there is no dataset.
        InvalidValueError: if no accepted case of it shows any organ.
        CorruptDatasetError: if a record was edited.
    """
    dataset = Dataset.open(root)
    records = dataset.accepted()
    found = [_source(record) for record in records]
    sources = sorted((s for s in found if set(s.volumes_ml) - GROUND), key=lambda source: source.case_id)
    if not sources:
        raise InvalidValueError(
            f"bank {root}",
            got=f"{len(found)} delivered cases, none with labelled organs",
            need="label maps to draw from",
            do="Ingest or build some first; see docs/bank.md.",
        )
    return dataset, tuple(sources), bank_hash(records)


def bank_hash(records: Iterable[CaseRecord]) -> str:
    """Hash of what decides the drawings: voxels, ids and known attributes of the accepted cases."""
    content = [
        [r.case_id, r.patient_id, r.licence, r.anatomy_blake3, r.ct_blake3, _known(r)]
        for r in sorted(records, key=lambda record: record.case_id)
    ]
    return content_hash(content)


def _known(record: CaseRecord) -> list[float | str | None]:
    """Sex, age, height and weight as measured, else as drawn, else as the organs show."""
    pairs = [
        getattr(record.measured, name) if getattr(record.measured, name) is not None else getattr(record.drawn, name)
        for name in ("sex", "age_years", "height_cm", "weight_kg")
    ]
    if pairs[0] is None:
        named = {row.name for row in record.structures}
        shown = {sex for sex, organ in SEX_ORGANS.items() if organ in named}
        pairs[0] = shown.pop() if len(shown) == 1 else None
    return pairs


def _source(record: CaseRecord) -> Source:
    volumes: dict[str, float] = {}
    for row in record.structures:
        parts = DIVIDED.get(row.name, (row.name,))
        volumes |= {name: volumes.get(name, 0.0) + row.volume_ml / len(parts) for name in parts}
    sex, age, height, weight = _known(record)
    return Source(
        case_id=record.case_id,
        patient_id=record.patient_id or record.case_id,
        licence=record.licence,
        sex=sex if isinstance(sex, str) else None,
        age_years=_number(age),
        height_cm=_number(height),
        weight_kg=_number(weight),
        volumes_ml=volumes,
        grid=record.grid(),
        whole=len(volumes) >= _WHOLE or bool(GROUND & set(volumes)),
    )


def _number(value: float | str | None) -> float | None:
    return float(value) if isinstance(value, int | float) else None
