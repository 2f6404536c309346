"""A case against anatomy: volumes, intensities, connectivity, sides, and a CT that is one."""

from collections.abc import Iterator

import numpy as np

from factory.quality.asked import region_parts
from factory.quality.limits import GATE, reason
from factory.quality.measure import Measures
from manifests.anatomy import Phase, Structure, group, structure, structures
from manifests.case import Arrays
from manifests.geometry import HU_MAX, HU_MIN
from prompts.schema import Prompt

__all__ = ["plausible_reasons"]


def plausible_reasons(subject: Prompt, arrays: Arrays, measures: Measures, phase: Phase | None) -> Iterator[str]:
    """Judge a case against what holds for every patient.

    Args:
        subject: supplies sex, habitus and the organs changed on purpose.
        arrays: the volumes.
        measures: their measurements.
        phase: contrast phase of the intensity table; None = intensities of vessels and organs unjudged.
    """
    yield from _label_reasons(measures)
    yield from _ct_reasons(arrays, measures)
    yield from _missing_reasons(subject, measures)
    yield from _volume_reasons(subject, measures)
    yield from _hu_reasons(measures, phase)
    yield from _connectivity_reasons(measures)
    yield from _side_reasons(measures)


def _label_reasons(measures: Measures) -> Iterator[str]:
    known = {entry.id for entry in structures()}
    unknown = [int(i) for i in np.flatnonzero(measures.voxels) if int(i) not in known]
    if unknown:
        yield reason("vocabulary", f"ids {unknown[:10]} are not in the anatomy table")
    outside = [lesion.id for lesion in measures.lesions if not lesion.organ]
    if outside or measures.lesion_voxels[0]:
        yield reason("lesion-outside", f"lesions {outside}, {measures.lesion_voxels[0]} voxels outside the body")
    if measures.mixed_ids or measures.instance_ids != measures.lesion_count:
        yield reason("lesion-ids", f"{measures.instance_ids} instance ids, {measures.lesion_count} connected lesions")


def _ct_reasons(arrays: Arrays, measures: Measures) -> Iterator[str]:
    low, high = int(arrays.ct.min()), int(arrays.ct.max())
    if low < HU_MIN or high > HU_MAX:
        yield reason("ct-range", f"{low} to {high} HU, allowed {HU_MIN} to {HU_MAX}")
    body = arrays.anatomy > 0
    depth = arrays.ct.shape[0]
    least = arrays.ct.min(axis=(1, 2), where=body, initial=np.iinfo(np.int16).max)
    most = arrays.ct.max(axis=(1, 2), where=body, initial=np.iinfo(np.int16).min)
    constant = np.flatnonzero((least == most) & (body.sum(axis=(1, 2)) > 1))
    if len(constant):
        yield reason("ct-constant", f"{len(constant)} of {depth} slices, first {constant[0]}")
    if measures.core_voxels[0] >= GATE["hu_min_voxels"] and measures.core_hu[0] > GATE["outside_hu_max"]:
        yield reason("hu-outside", f"mean {measures.core_hu[0]:.0f} HU outside the body")


def _missing_reasons(subject: Prompt, measures: Measures) -> Iterator[str]:
    absent = {entry.name for name in subject.absent_organs for entry in group(name)}
    names = dict.fromkeys(name for part in region_parts(subject.study.region) for name in GATE["required"][part])
    for name in names:
        members = [entry for entry in group(name) if entry.name not in absent]
        if members and not any(measures.voxels[entry.id] for entry in members):
            yield reason("organ-missing", f"{name}: no voxel")


def _volume_reasons(subject: Prompt, measures: Measures) -> Iterator[str]:
    enlarged = {entry.name for name in subject.enlarged_organs for entry in group(name)}
    for entry in structures():
        if not measures.voxels[entry.id] or measures.cut[entry.id]:
            continue
        limits = _volume_limits(entry, subject)
        if limits is None or limits[2] < GATE["volume_min_voxels"] * measures.grid.voxel_volume_ml:
            continue
        low, high = limits[0], limits[1] * (GATE["enlarged_headroom"] if entry.name in enlarged else 1.0)
        whole = measures.volume_ml(entry.id)
        given_way = _fluid_ml(measures, entry.side) if entry.tissue == "lung" else 0.0
        healthy = whole - float(measures.lesion_voxels[entry.id]) * measures.grid.voxel_volume_ml
        if whole + given_way < low or healthy > high:
            yield reason("volume", f"{entry.name}: {whole:.1f} ml, reference range {low:.1f} to {high:.1f} ml")


def _fluid_ml(measures: Measures, side: str | None) -> float:
    """Volume of the pleural effusion on a side, to which its lung has given way."""
    return sum(measures.volume_ml(entry.id) for entry in group(GATE["pleural_fluid"]) if entry.side == side)


def _volume_limits(entry: Structure, subject: Prompt) -> tuple[float, float, float] | None:
    """Smallest, largest and mean volume in ml; None where the table has no reference.

    Adult references are scaled down with the cube of a short patient's height, and up with the
    weight of a heavy one (isometric scaling).
    """
    patient = subject.patient
    mean = entry.volume_ml.get(patient.sex or "male")
    if mean is None or entry.volume_cv is None:
        return None
    small = min(1.0, (patient.height_cm or GATE["adult_height_cm"]) / GATE["adult_height_cm"]) ** 3
    large = max(1.0, (patient.weight_kg or GATE["adult_weight_kg"]) / GATE["adult_weight_kg"])
    factor = float(np.clip(np.exp(GATE["volume_sd"] * entry.volume_cv), *GATE["volume_guard"]))
    return mean * small / factor, mean * large * factor, mean


def _hu_reasons(measures: Measures, phase: Phase | None) -> Iterator[str]:
    for entry in structures():
        limits = _hu_limits(entry, phase, measures.widened)
        if limits is None or measures.core_voxels[entry.id] < GATE["hu_min_voxels"]:
            continue
        mean = float(measures.core_hu[entry.id])
        if not limits[0] <= mean <= limits[1]:
            yield reason(
                "hu", f"{entry.name}: mean {mean:.0f} HU, expected {limits[0]:.0f} to {limits[1]:.0f} ({phase})"
            )


def _hu_limits(entry: Structure, phase: Phase | None, widened: float) -> tuple[float, float] | None:
    """Range of a structure's mean HU; None for unnamed tissue, and for what depends on an unknown phase."""
    if entry.tissue == "bowel":
        return GATE["hu_hollow"][0], GATE["hu_hollow"][1]
    margin = GATE["hu_margin"].get(entry.tissue)
    if margin is None or phase is None:
        return None
    slack = margin * widened + GATE["hu_sd"] * entry.hu_sd
    return entry.hu[phase] - slack, entry.hu[phase] + slack


def _connectivity_reasons(measures: Measures) -> Iterator[str]:
    for entry in structures():
        both_sides = entry.group == "undivided" and entry.side is None  # kidneys in one label are two pieces
        if measures.cut[entry.id] or both_sides or entry.name in GATE["diffuse"]:
            continue
        if measures.main_fraction[entry.id] < GATE["main_component"]:
            yield reason("connectivity", f"{entry.name}: {measures.components[entry.id]} parts")
    for name in GATE["joined_groups"]:
        yield from _joined_reasons(name, measures)


def _joined_reasons(name: str, measures: Measures) -> Iterator[str]:
    """Judge a group whose members follow each other, as the segments of the colon do."""
    members = [entry for entry in group(name) if measures.voxels[entry.id]]
    if len(members) < 2 or any(measures.cut[entry.id] for entry in members):
        return
    if any(measures.main_fraction[entry.id] < GATE["main_component"] for entry in members):
        return
    parts = measures.runs.merged(frozenset(entry.id for entry in members))
    sizes = np.bincount(parts.component, weights=parts.length)
    if sizes.max() < GATE["main_component"] * sizes.sum():
        yield reason("connectivity", f"{name}: its segments are {len(sizes)} parts")


def _side_reasons(measures: Measures) -> Iterator[str]:
    """Compare mean positions: x grows to the patient's left."""
    pairs = [(entry.mirror, entry.name) for entry in structures() if entry.side == "left" and entry.mirror]
    wrong = []
    for right, left in [*pairs, *map(tuple, GATE["right_of"])]:
        a, b = structure(right).id, structure(left).id
        enough = min(measures.voxels[a], measures.voxels[b]) >= GATE["side_min_voxels"]
        if enough and measures.x_mm[a] >= measures.x_mm[b]:
            wrong.append(f"{right}/{left}")
    if wrong:
        yield reason("left-right", f"{len(wrong)} pairs, e.g. {', '.join(wrong[:3])}")
