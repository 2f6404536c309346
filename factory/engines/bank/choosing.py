"""Which source a prompt gets: those that can satisfy it, weighted by how alike the patients are.

What a source cannot change excludes it: an organ that a tumour, an enlargement or the scan region
needs, and a scan that ends long before the region does. Sex, age, height and weight only weigh.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from factory.config import REGION_Z_MM
from factory.engines.bank.placing import expected_z_mm
from factory.engines.bank.sources import Source
from factory.quality.limits import GATE
from manifests.anatomy import SEX_ORGANS, Sex, group
from manifests.errors import InvalidValueError
from prompts.schema import Prompt

__all__ = ["choose", "coverage", "required", "unlabelled", "weights"]

_LEAST_COVERAGE = 0.6
"""Share of a scan region, by height, that a source must show."""
_WIDTHS = {"age_years": 15.0, "height_cm": 8.0, "weight_kg": 14.0}
_UNKNOWN = 0.6
"""Weight of an attribute that the bank does not know."""
_OTHER_SEX = 0.05


def required(region: str | None, sex: Sex | None) -> list[str]:
    """Structures or groups that a scan region of a patient must show, as the quality gate has it."""
    parts = GATE["region_parts"].get(region or "torso", [])
    names = [name for part in parts for name in GATE["required"][part]]
    return names + ([SEX_ORGANS[sex]] if sex and "pelvis" in parts else [])


def unlabelled(sources: Sequence[Source]) -> frozenset[str]:
    """Required structures or groups that no source of a bank labels; none where some source is sparse.

    What a sparse source leaves out is drawn around it, so nothing is missing there.
    """
    if not all(source.whole for source in sources):
        return frozenset()
    labelled = {name for source in sources for name in source.volumes_ml}
    names = {name for sex in SEX_ORGANS for name in required("torso", sex)}
    return frozenset(name for name in names if not labelled & _members(name))


def coverage(span_mm: tuple[float, float], region: str | None) -> float:
    """Share of a scan region that lies within a span of heights in the torso frame."""
    low, high = REGION_Z_MM[region or "torso"]
    return float(max(0.0, min(high, span_mm[1]) - max(low, span_mm[0])) / (high - low))


def choose(sources: Sequence[Source], subject: Prompt, lacks: frozenset[str], rng: np.random.Generator) -> Source:
    """Draw a source for a subject, weighted by likeness; one number is drawn.

    Args:
        sources: the bank.
        subject: a prompt with every field stated.
        lacks: what no source labels, see `unlabelled`.
        rng: the case's generator.

    Raises:
        InvalidValueError: if no source can satisfy the prompt, counting why.
    """
    if not sources:
        raise InvalidValueError(
            "mask model bank",
            got="only sources that cannot be placed or end too early",
            need="a source that shows the scan region",
            do="Ask for another region, or add sources that show it.",
        )
    needs = _Needs.of(subject, lacks)
    reasons = [needs.obstacle(source) for source in sources]
    fit = [source for source, reason in zip(sources, reasons, strict=True) if reason is None]
    if not fit:
        counts = Counter(reason for reason in reasons if reason)
        raise InvalidValueError(
            "mask model bank",
            got=f"no fitting source among {len(sources)}: "
            + ", ".join(f"{number} {reason}" for reason, number in counts.most_common(4)),
            need="a source that shows the scan region and the organs of the prompt",
            do="Ask for another region or organ, or add sources that show it.",
        )
    share = np.cumsum(weights(fit, subject))
    return fit[min(int(np.searchsorted(share, rng.random() * share[-1], "right")), len(fit) - 1)]


def weights(sources: Sequence[Source], subject: Prompt) -> list[float]:
    """How well each source resembles a subject, above 0 and at most 1."""
    return [_likeness(source, subject) for source in sources]


def _likeness(source: Source, subject: Prompt) -> float:
    patient, region = subject.patient, subject.study.region
    weight = coverage(expected_z_mm(source), region) ** 2 if source.whole else 1.0
    if source.sex != patient.sex:
        weight *= _OTHER_SEX if source.sex else _UNKNOWN
    for name, width in _WIDTHS.items():
        there, asked = getattr(source, name), getattr(patient, name)
        known = there is not None and asked is not None
        weight *= float(np.exp(-(((there - asked) / width) ** 2) / 2)) if known else _UNKNOWN
    return max(weight, 1e-9)


@dataclass(frozen=True, slots=True)
class _Needs:
    """What a subject needs of a source: names, each with the structures of which one suffices."""

    always: tuple[tuple[str, frozenset[str]], ...]
    of_whole: tuple[tuple[str, frozenset[str]], ...]
    region: str | None

    @classmethod
    def of(cls, subject: Prompt, lacks: frozenset[str]) -> "_Needs":
        """The needs of a subject; `lacks` is not asked for."""
        always = [(str(tumour.site), frozenset({str(tumour.site)})) for tumour in subject.tumours]
        always += [(name, frozenset(_members(name))) for name in subject.enlarged_organs]
        absent = {entry for name in subject.absent_organs for entry in _members(name)}
        names = [name for name in required(subject.study.region, subject.patient.sex) if name not in lacks]
        shown = [(name, frozenset(_members(name) - absent)) for name in names]
        return cls(tuple(always), tuple((name, members) for name, members in shown if members), subject.study.region)

    def obstacle(self, source: Source) -> str | None:
        """Why a source does not satisfy them, in words that follow a count; None if it does."""
        there = source.volumes_ml.keys()
        for name, members in self.always + (self.of_whole if source.whole else ()):
            if members.isdisjoint(there):
                return f"without {name}"
        if source.whole and coverage(expected_z_mm(source), self.region) < _LEAST_COVERAGE:
            return f"that end within the {self.region}"
        return None


def _members(name: str) -> set[str]:
    return {entry.name for entry in group(name)}
