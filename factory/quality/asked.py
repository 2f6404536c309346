"""A case against its own prompt: tumours, sex, absent and enlarged organs, phase, region, grid."""

from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np

from factory.config import REGION_Z_MM
from factory.engines.base import Request
from factory.quality.limits import GATE, reason
from factory.quality.measure import Measures
from manifests.anatomy import PHASES, SEX_ORGANS, Phase, Structure, group, structure
from manifests.case import Arrays
from manifests.geometry import Grid
from prompts.schema import Prompt

__all__ = [
    "asked_reasons",
    "covered_region",
    "grid_reasons",
    "measured_phase",
    "measured_sex",
    "region_parts",
    "spread_sites",
]


def grid_reasons(request: Request, arrays: Arrays) -> Iterator[str]:
    """Judge grid, shapes and scan region."""
    shapes = {arrays.ct.shape, arrays.anatomy.shape, arrays.lesions.shape, arrays.grid.shape_zyx}
    if len(shapes) > 1 or arrays.grid != request.grid:
        yield reason("grid", f"asked {request.grid.shape_zyx}, got {' and '.join(map(str, sorted(shapes)))}")
    region = request.subject.study.region
    if region and not _covers(arrays.grid, region):
        low, high = _z_edges(arrays.grid)
        yield reason("region", f"asked {region}, the grid spans {low:.0f} to {high:.0f} mm")


def _z_edges(grid: Grid) -> tuple[float, float]:
    low = grid.origin_mm_xyz[2] - grid.spacing_mm_zyx[0] / 2
    return low, low + grid.extent_mm_zyx[0]


def _covers(grid: Grid, region: str) -> bool:
    low, high = _z_edges(grid)
    wanted_low, wanted_high = REGION_Z_MM[region]
    slack = grid.spacing_mm_zyx[0]
    return low <= wanted_low + slack and high >= wanted_high - slack


def covered_region(grid: Grid) -> str | None:
    """Largest scan region that a grid covers; None for a smaller field of view."""
    spans = {name: high - low for name, (low, high) in REGION_Z_MM.items() if _covers(grid, name)}
    return max(spans, key=lambda name: spans[name], default=None)


def region_parts(region: str | None) -> list[str]:
    """Parts of the torso that a scan region shows: chest, abdomen, pelvis."""
    return list(GATE["region_parts"].get(region, []))


def asked_reasons(request: Request, measures: Measures) -> Iterator[str]:
    """Judge what the case shows against what was asked and drawn for it."""
    subject = request.subject
    yield from _tumour_reasons(request, measures)
    yield from _sex_reasons(subject, measures)
    yield from _organ_reasons(subject, measures)
    phase, found = subject.study.contrast_phase, measured_phase(measures, subject.study.contrast_phase)
    if phase and found and found != phase:
        yield reason("contrast-phase", f"asked {phase}, enhancement fits {found}")


def spread_sites(request: Request, measures: Measures) -> frozenset[str]:
    """Sites of lesions that nobody asked for and that a stated M1 explains; never a site of an asked tumour."""
    if not any((tumour.m_stage or "").startswith("M1") for tumour in request.prompt.tumours):
        return frozenset()
    asked = {str(tumour.site) for tumour in request.subject.tumours}
    spread = [lesion.site for lesion in measures.lesions if lesion.organ in GATE["spread_organs"]]
    spread = [site for site in spread if site not in asked]
    return frozenset(spread) if len(spread) <= GATE["spread_max"] else frozenset()


def _tumour_reasons(request: Request, measures: Measures) -> Iterator[str]:
    subject = request.subject
    if measures.lesion_count > len(measures.lesions):
        yield reason("tumour-count", f"{measures.lesion_count} connected lesions, at most {GATE['max_lesions']}")
        return
    asked: Counter[str] = Counter()
    for tumour in subject.tumours:
        asked[str(tumour.site)] += tumour.count or 1
    found = Counter(lesion.site for lesion in measures.lesions if lesion.organ)
    missing, extra = asked - found, found - asked
    if not missing:  # a tumour that is missing may be the lesion that lies elsewhere
        for site in spread_sites(request, measures):
            del extra[site]
    yield from _misplaced(missing, extra)
    for site, number in missing.items():
        yield reason("tumour-count", f"{site}: asked {asked[site]}, measured {asked[site] - number}")
    for site, number in extra.items():
        code = "tumour-count" if site in asked else "tumour-unasked"
        yield reason(code, f"{site}: asked {asked[site]}, measured {asked[site] + number}")
    for site in asked:
        if asked[site] == found[site]:
            yield from _size_reasons(site, subject, measures)


def _misplaced(missing: Counter[str], extra: Counter[str]) -> Iterator[str]:
    """Pair what is missing with what is too much, nearest anatomy first, and remove the pairs from both."""
    for code in ("tumour-side", "tumour-site", "tumour-organ"):
        for wanted in sorted(missing):
            for got in sorted(extra):
                number = min(missing[wanted], extra[got])
                if number and _displacement(structure(wanted), structure(got)) == code:
                    missing[wanted] -= number
                    extra[got] -= number
                    yield reason(code, f"asked {wanted}, measured {got}" + (f" ({number} tumours)" * (number > 1)))
    for counter in (missing, extra):
        for site in [name for name, number in counter.items() if not number]:
            del counter[site]


def _displacement(wanted: Structure, got: Structure) -> str:
    if wanted.organ != got.organ:
        return "tumour-organ"
    return "tumour-side" if wanted.mirror == got.name else "tumour-site"


def _size_reasons(site: str, subject: Prompt, measures: Measures) -> Iterator[str]:
    asked = max((tumour.size_mm or 0.0 for tumour in subject.tumours if tumour.site == site), default=0.0)
    found = max(lesion.size_mm for lesion in measures.lesions if lesion.site == site)
    slack = max(GATE["size_fraction"] * asked, GATE["size_voxels"] * max(measures.grid.spacing_mm_zyx[1:]))
    if asked and abs(found - asked) > slack:
        yield reason("tumour-size", f"{site}: asked {asked:.1f} mm, measured {found:.1f} mm, tolerance {slack:.1f} mm")


def measured_sex(measures: Measures) -> str | None:
    """Sex that the pelvic organs show; None without them or with both."""
    has = {sex: measures.voxels[structure(organ).id] > 0 for sex, organ in SEX_ORGANS.items()}
    return next(iter(sex for sex in has if has[sex])) if sum(has.values()) == 1 else None


def _sex_reasons(subject: Prompt, measures: Measures) -> Iterator[str]:
    sex = subject.patient.sex
    if sex is None:
        return
    own, other = SEX_ORGANS[sex], next(organ for name, organ in SEX_ORGANS.items() if name != sex)
    if measures.voxels[structure(other).id]:
        yield reason("sex", f"asked {sex}, measured a {other}")
    shown = "pelvis" in region_parts(subject.study.region)
    if shown and own not in _members(subject.absent_organs) and not measures.voxels[structure(own).id]:
        yield reason("sex", f"asked {sex}, no {own}")


def _members(names: Sequence[str]) -> set[str]:
    return {entry.name for name in names for entry in group(name)}


def _organ_reasons(subject: Prompt, measures: Measures) -> Iterator[str]:
    for name in subject.absent_organs:
        voxels = sum(int(measures.voxels[entry.id]) for entry in group(name))
        if voxels:
            yield reason("organ-present", f"{name}: asked absent, measured {voxels} voxels")
    for name in subject.enlarged_organs:
        volume, reference = _volume_and_reference(name, subject, measures)
        if reference and volume <= GATE["enlarged_ratio"] * reference:
            yield reason(
                "organ-size", f"{name}: asked enlarged, measured {volume:.0f} ml, reference {reference:.0f} ml"
            )


def _volume_and_reference(name: str, subject: Prompt, measures: Measures) -> tuple[float, float]:
    """Volume in ml of a structure or group and its reference; 0 reference where unknown or cut by the grid."""
    members = [entry for entry in group(name) if measures.voxels[entry.id]]
    if any(measures.cut[entry.id] for entry in members):
        return 0.0, 0.0
    sex = subject.patient.sex or "male"
    named = members or list(group(name))
    references = [entry.volume_ml.get(sex, 0.0) for entry in named]
    return sum(measures.volume_ml(entry.id) for entry in members), sum(references) if all(references) else 0.0


def measured_phase(measures: Measures, asked: Phase | None = None) -> Phase | None:
    """Phase whose table fits the enhancement over muscle best; None without aorta, kidneys or muscle.

    A shift of the whole CT does not change it. The asked phase wins when it fits nearly as well.
    """
    enough = measures.core_voxels >= GATE["hu_min_voxels"]
    muscle = next((entry for entry in map(structure, GATE["phase_muscle"]) if enough[entry.id]), None)
    evidence = [entry for entry in map(structure, GATE["phase_structures"]) if enough[entry.id]]
    if muscle is None or not any(entry.name == "aorta" or entry.group == "kidney" for entry in evidence):
        return None
    misfit = {phase: sum(_misfit(measures, entry, muscle, phase) for entry in evidence) for phase in PHASES}
    best = min(misfit, key=lambda phase: misfit[phase])
    if asked and misfit[asked] <= misfit[best] + GATE["phase_margin"]:
        return asked
    return best


def _misfit(measures: Measures, entry: Structure, muscle: Structure, phase: Phase) -> float:
    enhancement = measures.core_hu[entry.id] - measures.core_hu[muscle.id]
    expected = entry.hu[phase] - muscle.hu[phase]
    error = (enhancement - expected) / np.hypot(entry.hu_sd, GATE["phase_noise_hu"] * measures.widened)
    return float(min(abs(error), GATE["phase_clip"]) ** 2)
