"""The audit of extractions: whatever made them, each stated field is looked up again at its evidence.

It trusts no check of `ground`: it knows the text, the prompt and the spans alone, and asks simpler questions. A span
may be as short as one word, so places, sides and denials are read in its sentence.
"""

import re
from collections.abc import Callable, Iterator
from typing import Any

from prompts.extraction import Dropped, Extraction
from prompts.grounding.denial import denied, tumour_words
from prompts.grounding.patient import phases, region_of, scanned
from prompts.grounding.quotes import Span
from prompts.grounding.reading import Reading
from prompts.grounding.tumours import names
from prompts.lexicon import spelled_number
from prompts.schema import Tumour

__all__ = ["verify"]

_BEFORE_NUMBER = re.compile(r"[-\s]?\d")
_NUMBER = re.compile(r"(?<![A-Za-z]-)\d+(?:[.,]\d+)?")
_FACTORS = {
    "patient.age_years": (
        (1.0, r""),
        (1 / 12, r"m[oaêe]|ay"),
        (7 / 365.25, r"w|sem|sett|haf"),
        (1 / 365.25, r"d|t|j|g"),
    ),
    "patient.height_cm": ((1.0, r"c|z"), (100.0, r"m"), (2.54, r"in")),
    "patient.weight_kg": ((1.0, r"k|c"), (0.001, r"g"), (0.45359237, r"lb|pound")),
    "size_mm": ((1.0, r"mm|mil"), (10.0, r"c|z|s"), (25.4, r"in")),
}
"""What a number may be multiplied with, and how the word for that unit begins."""

_DELAY = re.compile(r"(?P<time>\d{1,3})[\s-]?(?:(?P<minutes>min)|s)", re.IGNORECASE)
_DELAYS_S = {"arterial": (15, 45), "portal_venous": (55, 110), "delayed": (150, 1800)}


def verify(text: str, extraction: Extraction) -> tuple[Dropped, ...]:
    """Check again that each stated field of an extraction is stated by the text at its evidence; empty if all are.

    What the schema derives (the side of a site, the only site of an organ) needs no evidence of its own.
    """
    fields = list(_fields(extraction))
    if not fields:
        return ()
    inside = [(item.start, item.end) for item in extraction.evidence if 0 <= item.start < item.end <= len(text)]
    reading = Reading(text, inside)
    wrong = []
    for name, value in fields:
        spans = [(item.start, item.end) for item in extraction.evidence if _is_for(item.field, name)]
        if not spans:
            reason = "no evidence"
        elif not all(0 <= start < end <= len(text) for start, end in spans):
            reason = "evidence outside the text"
        else:
            reason = "" if any(_states(reading, name, value, span) for span in spans) else "not stated at its evidence"
        if reason:
            wrong.append(Dropped(name, str(value), reason))
    return tuple(wrong)


def _fields(extraction: Extraction) -> Iterator[tuple[str, Any]]:
    """All stated fields that need evidence, with their values."""
    prompt = extraction.prompt
    for part in ("patient", "study"):
        yield from ((f"{part}.{name}", value) for name, value in getattr(prompt, part) if value is not None)
    evident = {item.field for item in extraction.evidence}
    for index, tumour in enumerate(prompt.tumours):
        label = f"tumours.{index}."
        backed = {name: value for name, value in tumour if value is not None and label + name in evident}
        follows = "organ" in backed and _rebuilt(backed) == tumour
        stated = backed if follows else {name: value for name, value in tumour if value is not None}
        yield from ((label + name, value) for name, value in stated.items())
    for part in ("absent_organs", "enlarged_organs"):
        yield from ((part, name) for name in getattr(prompt, part))


def _rebuilt(fields: dict[str, Any]) -> Tumour | None:
    try:
        return Tumour(**fields)
    except (ValueError, LookupError):
        return None


def _is_for(field: str, name: str) -> bool:
    return field == name or (name.endswith("_organs") and field.startswith(f"{name}."))


def _states(reading: Reading, name: str, value: Any, span: Span) -> bool:
    """Tell whether the text states a field at a span."""
    key = name if name in _FACTORS else name.rsplit(".", 1)[-1]
    if key in _FACTORS:
        return _has_number(reading, span, float(value), key)
    return _QUESTIONS[key](reading, span, value)


def _has_number(reading: Reading, span: Span, value: float, key: str) -> bool:
    """Tell whether a number of the span, in a unit that stands behind it, is the value."""
    after = reading.text[span[0] : span[1] + 24]
    for match in _NUMBER.finditer(reading.text[span[0] : span[1]]):
        rest = after[match.end() :].casefold()
        for factor, unit in _FACTORS[key]:
            worth = float(match[0].replace(",", ".")) * factor
            if abs(worth - value) <= 0.06 and (not unit or re.search(rf"(?<![^\W\d_])(?:{unit})", rest)):
                return True
    spelled = re.match(
        r"(?:aged\s)?(\w+(?:[\s-]\w+)?)[\s-]+year|aged\s(\w+(?:[\s-]\w+)?)", reading.text[span[0] : span[1]]
    )
    return key == "patient.age_years" and spelled is not None and spelled_number(spelled[1] or spelled[2]) == value


def _sex(reading: Reading, span: Span, value: str) -> bool:
    """Tell whether a span names this sex alone; a letter before a number is something else ("F-18")."""
    letters = {word.means for word in reading.words("letter", span) if not _BEFORE_NUMBER.match(reading.text, word.end)}
    return reading.means("sex", span) | letters == {value}


def _race(reading: Reading, span: Span, value: str) -> bool:
    return value in reading.means("race", span)


def _phase(reading: Reading, span: Span, value: str) -> bool:
    """Tell whether a span names a phase, or a time from the injection that is one (Bae 2010, Radiology 256:32)."""
    if value in phases(reading, span):
        return True
    delay = _DELAY.search(reading.text, *span)
    low, high = _DELAYS_S.get(value, (1, 0))
    return delay is not None and low <= float(delay["time"]) * (60 if delay["minutes"] else 1) <= high


def _region(reading: Reading, span: Span, value: str) -> bool:
    """Tell whether a span names the region, or a part of it where other sentences about the scan name the rest."""
    if region_of(reading, span) == value:
        return True
    named, regions = reading.means("region", span), scanned(Reading(reading.text))
    return value in regions and bool(named) and named <= regions[value]


def _organ(reading: Reading, span: Span, organ: str) -> bool:
    """Tell whether the sentence of a span names the organ, and a tumour that it does not deny."""
    around = reading.sentence(span)
    named = any(names(word.means, organ) for word in reading.words("place", around))
    named |= organ in reading.means("diagnosis", around)
    tumours = tumour_words(reading, around)
    return named and not (tumours and all(denied(reading, word) for word in tumours))


def _site(reading: Reading, span: Span, site: str) -> bool:
    around = reading.sentence(span)
    part, _, side = site.rpartition("_")
    places = reading.means("place", around)
    return site in places or (part in places and side in reading.means("side", around))


def _side(reading: Reading, span: Span, side: str) -> bool:
    around = reading.sentence(span)
    return bool({side, "both"} & reading.means("side", around)) or any(
        word.endswith(f"_{side}") for word in reading.means("place", around)
    )


def _count(reading: Reading, span: Span, count: int) -> bool:
    digits = [match[0] for match in _NUMBER.finditer(reading.text[span[0] : span[1]])]
    return str(count) in digits or str(count) in reading.means("number", span)


def _stage(reading: Reading, span: Span, stage: str) -> bool:
    return stage in reading.text[span[0] : span[1]]


def _gone_or_large(reading: Reading, span: Span, organ: str) -> bool:
    """Tell whether the sentence of a span names the organ, or an operation or a condition of it."""
    around = reading.sentence(span)
    meant = reading.means("place", around)
    for kind in ("absent", "absent_sided", "enlarged"):
        meant |= reading.means(kind, around)
    family = organ.removesuffix("_left").removesuffix("_right")
    return bool(meant & {organ, family}) or any(names(word, family) for word in meant) or organ.split("_")[0] in meant


_QUESTIONS: dict[str, Callable[[Reading, Span, Any], bool]] = {
    "sex": _sex,
    "race": _race,
    "contrast_phase": _phase,
    "region": _region,
    "organ": _organ,
    "site": _site,
    "side": _side,
    "count": _count,
    "t_stage": _stage,
    "n_stage": _stage,
    "m_stage": _stage,
    "absent_organs": _gone_or_large,
    "enlarged_organs": _gone_or_large,
}
