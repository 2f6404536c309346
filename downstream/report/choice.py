"""Which cases a page shows: the extremes, and then whatever shows most that the others do not."""

from collections import Counter
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass

from manifests.case import CaseRecord

__all__ = ["Choice", "choose"]


@dataclass(frozen=True, slots=True)
class Choice:
    """A case to show; `why` is empty where it only adds variety."""

    record: CaseRecord
    why: str = ""


def choose(records: Sequence[CaseRecord], n: int) -> list[Choice]:
    """Choose n of the delivered cases, in their order; all if there are no more.

    First the case that took most candidates, the one with the largest and the one with the smallest tumour; then, one by
    one, the case whose attributes the chosen ones have least of (sex, decade, phase, region, tumour organ and kind).
    """
    why = dict(_extremes(records))
    chosen = list(why)[:n]
    seen = Counter(trait for number in chosen for trait in _traits(records[number]))
    left = [number for number in range(len(records)) if number not in chosen]
    traits = {number: _traits(records[number]) for number in left}
    while left and len(chosen) < n:
        best = max(left, key=lambda number: sum(1 / (1 + seen[trait]) ** 2 for trait in traits[number]))
        left.remove(best)
        chosen.append(best)
        seen.update(traits[best])
    return [Choice(records[number], why.get(number, "")) for number in sorted(chosen)]


def _extremes(records: Sequence[CaseRecord]) -> Iterator[tuple[int, str]]:
    """Positions of the extreme cases with what they are; a case that is two of them is named once."""
    hardest = max(range(len(records)), key=lambda number: records[number].candidate, default=None)
    if hardest is not None and records[hardest].candidate:
        yield hardest, f"Most candidates: {records[hardest].candidate + 1} drawn until one was accepted"
    sizes = {number: max(lesion.size_mm for lesion in one.lesions) for number, one in enumerate(records) if one.lesions}
    if len(set(sizes.values())) > 1:
        for number, word in (
            (max(sizes, key=sizes.__getitem__), "Largest"),
            (min(sizes, key=sizes.__getitem__), "Smallest"),
        ):
            if number != hardest or not records[number].candidate:
                yield number, f"{word} tumour: {sizes[number]:.0f} mm"


def _traits(record: CaseRecord) -> set[Hashable]:
    of = record.drawn if record.drawn != type(record.drawn)() else record.requested
    single = {
        ("sex", of.sex),
        ("decade", of.age_years and of.age_years // 10),
        ("phase", of.contrast_phase),
        ("region", of.region),
    }
    organs: set[Hashable] = {("organ", lesion.organ) for lesion in record.lesions} or {"no lesion"}
    return single | organs | {("kind", lesion.kind) for lesion in record.lesions}
