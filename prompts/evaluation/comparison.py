"""Comparing two prompts of one report, field by field.

A comparison is a list of slots: one for each scalar field, one for each tumour, absent or enlarged
organ that either side states, and an empty one where neither states any. So "unstated" is a value
that can be right, and each invented tumour counts.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from manifests.anatomy import group, sites
from prompts.schema import Prompt, Tumour

__all__ = ["FIELDS", "HEADLINE", "Slot", "Value", "compare", "match_tumours", "numbers_agree"]

Value = str | float

_TUMOUR_NUMBERS = ("size", "count")
_TUMOUR_FIELDS = ("organ", "site", "size", "count", "t_stage", "n_stage", "m_stage")
FIELDS = (*_TUMOUR_FIELDS, "sex", "age", "race", "contrast", "region", "absent", "enlarged")
"""All fields; `site` is site or side, `absent` and `enlarged` count structures."""
HEADLINE = ("organ", "site", "size", "sex", "age", "contrast")
"""The fields of the micro-averaged score."""


@dataclass(frozen=True, slots=True)
class Slot:
    """One place for a value: what the reference states and what was found, None where unstated."""

    field: str
    reference: Value | None
    found: Value | None

    @property
    def agrees(self) -> bool:
        """Whether both are stated and equal, numbers within their tolerance."""
        if self.reference is None or self.found is None:
            return False
        if isinstance(self.reference, str) or isinstance(self.found, str):
            return self.reference == self.found
        return numbers_agree(self.field, self.reference, self.found)

    @property
    def right(self) -> bool:
        """Whether both agree or both are unstated."""
        return self.agrees or (self.reference is None and self.found is None)


def numbers_agree(field: str, first: float, second: float) -> bool:
    """Tell whether two numbers are the same label, whichever is the reference.

    A size (mm) may differ by 10 % of the larger or by 1 mm, an age by less than a year; a count may not differ.
    """
    apart = abs(first - second)
    if field == "size":
        return apart <= max(1.0, 0.1 * max(first, second)) + 1e-9
    return apart < 1.0 if field == "age" else apart == 0


def compare(reference: Prompt, found: Prompt) -> list[Slot]:
    """Compare two prompts of one report."""
    slots = [
        Slot("sex", reference.patient.sex, found.patient.sex),
        Slot("age", reference.patient.age_years, found.patient.age_years),
        Slot("race", reference.patient.race, found.patient.race),
        Slot("contrast", reference.study.contrast_phase, found.study.contrast_phase),
        Slot("region", reference.study.region, found.study.region),
    ]
    slots += _compare_sets("absent", reference.absent_organs, found.absent_organs)
    slots += _compare_sets("enlarged", reference.enlarged_organs, found.enlarged_organs)
    for pair in match_tumours(reference.tumours, found.tumours) or [(None, None)]:
        values = [_tumour_values(tumour) for tumour in pair]
        slots += [Slot(field, values[0].get(field), values[1].get(field)) for field in _TUMOUR_FIELDS]
    return slots


def _compare_sets(field: str, reference: Iterable[str], found: Iterable[str]) -> list[Slot]:
    """Compare by structure, so that a group equals its members together."""
    stated, claimed = ({entry.name for name in names for entry in group(name)} for names in (reference, found))
    either = sorted(stated | claimed)
    return [Slot(field, name if name in stated else None, name if name in claimed else None) for name in either] or [
        Slot(field, None, None)
    ]


def _tumour_values(tumour: Tumour | None) -> dict[str, Value | None]:
    if tumour is None:
        return {}
    return {
        "organ": tumour.organ,
        "site": _place(tumour),
        "size": tumour.size_mm,
        "count": None if tumour.count is None else float(tumour.count),
        "t_stage": tumour.t_stage,
        "n_stage": tumour.n_stage,
        "m_stage": tumour.m_stage,
    }


def _place(tumour: Tumour) -> str | None:
    """Structures that may hold the tumour, as one text; None where the organ says no less."""
    possible = tumour.possible_sites()
    return None if set(possible) == set(sites(tumour.organ)) else "+".join(sorted(possible))


def match_tumours(reference: Sequence[Tumour], found: Sequence[Tumour]) -> list[tuple[Tumour | None, Tumour | None]]:
    """Pair tumours one to one: as many of the same organ as there are, then by site or side, then by size.

    Tumours of different organs are never a pair: one is missed (no second), the other invented (no first). So no
    attribute of an invented tumour can be right, and each stated attribute of a missed one is missed.
    """
    from scipy.optimize import linear_sum_assignment  # loads slowly, and every command would wait for it

    worth = np.array([[_worth(a, b) for b in found] for a in reference], float).reshape(len(reference), len(found))
    rows, columns = linear_sum_assignment(worth, maximize=True)
    pairs = [(int(i), int(j)) for i, j in zip(rows, columns, strict=True) if worth[i, j] > 0]
    matched: list[tuple[Tumour | None, Tumour | None]] = [(reference[i], found[j]) for i, j in pairs]
    missed = sorted(set(range(len(reference))) - {i for i, _ in pairs})
    invented = sorted(set(range(len(found))) - {j for _, j in pairs})
    return matched + [(reference[i], None) for i in missed] + [(None, found[j]) for j in invented]


def _worth(first: Tumour, second: Tumour) -> float:
    """Worth of a pair; each rank outweighs all lower ones together for any number of tumours in a report."""
    if first.organ != second.organ:
        return 0.0
    places = set(first.possible_sites()), set(second.possible_sites())
    site = 2 if places[0] == places[1] else 1 if places[0] & places[1] else 0
    sizes = Slot("size", first.size_mm, second.size_mm)
    return 1e6 + 1e3 * site + (2 if sizes.agrees else 1 if sizes.right else 0)
