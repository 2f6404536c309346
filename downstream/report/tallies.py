"""What was made and what was refused, counted: candidates, tumours, organ volumes, enhancement by phase."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from downstream.report.colours import family_of
from manifests.anatomy import PHASES, Structure, structure, structures
from manifests.case import CaseRecord, Lesion

__all__ = [
    "Candidates",
    "Strip",
    "TumourTally",
    "VolumeTally",
    "candidates",
    "enhancement",
    "tumours",
    "volumes",
]

_FAMILIES_LEFT_OUT = {None, "bones", "arteries", "veins", "airways"}
_ENHANCING = ("aorta", "kidney_left", "liver", "spleen")
_HU_AXIS = (-50.0, 400.0)
_RATIO_AXIS = (0.25, 4.0)
_UNFILLED_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Strip:
    """A spread on an axis: all positions in per cent of its width, clipped to it; `mark` is the reference."""

    low: float
    mid: float
    high: float
    mark: float | None
    text: str


@dataclass(frozen=True, slots=True)
class Candidates:
    """How many drawings it took.

    Attributes:
        drawn, accepted, rejected, failed: candidates.
        tries: delivered cases by the number of candidates they took.
        unfilled: slots without a delivered case, the first 20: prompt text and reasons.
        unfilled_count: all of them.
    """

    drawn: int
    accepted: int
    rejected: int
    failed: int
    tries: dict[int, int]
    unfilled: tuple[tuple[str, str], ...]
    unfilled_count: int


@dataclass(frozen=True, slots=True)
class VolumeTally:
    """One structure over the delivered cases that hold it: volumes beside the reference of their sex, and HU."""

    name: str
    cases: int
    median_ml: float
    low_ml: float
    high_ml: float
    ratio: Strip | None
    hu: str


@dataclass(frozen=True, slots=True)
class TumourTally:
    """The tumours of one organ."""

    organ: str
    cases: int
    lesions: int
    size_mm: str
    volume_ml: str
    kinds: str


def candidates(records: Sequence[CaseRecord]) -> Candidates:
    """Count candidates and what became of them."""
    status = Counter(record.status for record in records)
    slots: dict[int, list[CaseRecord]] = defaultdict(list)
    for record in records:
        slots[record.index].append(record)
    open_slots = [slot for slot in slots.values() if not any(one.status == "accepted" for one in slot)]
    tries = Counter(record.candidate + 1 for record in records if record.status == "accepted")
    unfilled = tuple(
        (slot[0].prompt_text or slot[0].case_id, "; ".join(reason for one in slot for reason in one.reasons))
        for slot in open_slots[:_UNFILLED_SHOWN]
    )
    counts = (len(records), status["accepted"], status["rejected"], status["failed"])
    return Candidates(*counts, dict(sorted(tries.items())), unfilled, len(open_slots))


def volumes(records: Iterable[CaseRecord]) -> list[VolumeTally]:
    """Tally the organs that the records measure, in the order of the anatomy table; bones and vessels are left out."""
    found: dict[str, list[tuple[float, float | None, float]]] = defaultdict(list)
    for record in records:
        for measure in record.structures:
            reference = structure(measure.name).volume_ml.get(record.measured.sex or record.drawn.sex or "")
            found[measure.name].append((measure.volume_ml, reference, measure.hu_mean))
    return [
        _volume(entry, found[entry.name])
        for entry in structures()
        if entry.name in found and family_of(entry) not in _FAMILIES_LEFT_OUT
    ]


def _volume(entry: Structure, rows: Sequence[tuple[float, float | None, float]]) -> VolumeTally:
    low, median, high = _quantiles([volume for volume, _, _ in rows])
    ratios = [volume / reference for volume, reference, _ in rows if reference]
    hu = [mean for _, _, mean in rows]
    return VolumeTally(
        entry.name, len(rows), median, low, high, _ratio_strip(ratios), f"{np.mean(hu):.0f} \u00b1 {np.std(hu):.0f}"
    )


def _ratio_strip(ratios: Sequence[float]) -> Strip | None:
    if not ratios:
        return None
    spread = _quantiles(ratios)
    low, mid, high = (_place(np.log(value), *np.log(_RATIO_AXIS)) for value in spread)
    return Strip(
        low, mid, high, 50.0, f"{spread[1]:.2f} of the reference, 90 % within {spread[0]:.2f} to {spread[2]:.2f}"
    )


def enhancement(records: Iterable[CaseRecord]) -> list[tuple[str, list[tuple[str, int, Strip]]]]:
    """Mean HU by contrast phase of the structures that tell phases apart: phase, cases and spread beside the reference."""
    found: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for record in records:
        phase = record.requested.contrast_phase or record.drawn.contrast_phase
        for measure in record.structures:
            if phase and measure.name in _ENHANCING:
                found[measure.name][phase].append(measure.hu_mean)
    return [
        (
            name,
            [
                (phase, len(found[name][phase]), _hu_strip(name, phase, found[name][phase]))
                for phase in PHASES
                if found[name][phase]
            ],
        )
        for name in _ENHANCING
        if found[name]
    ]


def _hu_strip(name: str, phase: str, hu: Sequence[float]) -> Strip:
    reference = {str(key): value for key, value in structure(name).hu.items()}[phase]
    spread = _quantiles(hu)
    low, mid, high, mark = (_place(value, *_HU_AXIS) for value in (*spread, reference))
    return Strip(
        low,
        mid,
        high,
        mark,
        f"{spread[1]:.0f} HU, 90 % within {spread[0]:.0f} to {spread[2]:.0f}; reference {reference:.0f}",
    )


def tumours(records: Iterable[CaseRecord]) -> list[TumourTally]:
    """Tally lesions by organ, the commonest first."""
    lesions: dict[str, list[Lesion]] = defaultdict(list)
    cases: Counter[str] = Counter()
    for record in records:
        for lesion in record.lesions:
            lesions[lesion.organ].append(lesion)
        cases.update({lesion.organ for lesion in record.lesions})
    ordered = sorted(lesions, key=lambda organ: (-len(lesions[organ]), organ))
    return [_tumour(organ, cases[organ], lesions[organ]) for organ in ordered]


def _tumour(organ: str, cases: int, lesions: Sequence[Lesion]) -> TumourTally:
    kinds = sorted(Counter(lesion.kind for lesion in lesions).items(), key=lambda pair: (-pair[1], pair[0]))
    sizes, millilitres = ([getattr(lesion, name) for lesion in lesions] for name in ("size_mm", "volume_ml"))
    return TumourTally(
        organ,
        cases,
        len(lesions),
        f"{np.median(sizes):.0f} ({min(sizes):.0f}\u2013{max(sizes):.0f})",
        f"{np.median(millilitres):.1f} ({min(millilitres):.1f}\u2013{max(millilitres):.1f})",
        ", ".join(f"{kind} {count}" for kind, count in kinds),
    )


def _quantiles(values: Sequence[float]) -> tuple[float, float, float]:
    low, median, high = np.quantile(values, (0.05, 0.5, 0.95)).tolist()
    return low, median, high


def _place(value: float, start: float, end: float) -> float:
    """Position on an axis in per cent, clipped to it."""
    return round(float(np.clip(100 * (value - start) / (end - start), 0, 100)), 1)
