"""Numbers in a text: lengths and weights with their units, ages, counts and stages."""

import re
from collections.abc import Iterator
from typing import NamedTuple, get_args

from prompts.grounding.quotes import Span
from prompts.grounding.reading import Reading
from prompts.grounding.words import Token
from prompts.schema import MStage, NStage, TStage

__all__ = ["MM_OF", "YEARS_OF", "Measure", "ages", "counts", "measures", "number", "numbers_in", "stages"]

MM_OF = {"mm": 1.0, "cm": 10.0, "m": 1000.0, "in": 25.4}
YEARS_OF = {"years": 1.0, "months": 1 / 12, "weeks": 7 / 365.25, "days": 1 / 365.25}

_NUMBER = r"\d+(?:[.,]\d+)?"
_UNITS = {
    "mm": r"mm|millim[eè]t\w*|milim[eéè]t\w*|mil[ií]metro\w*",
    "cm": r"cm|zentimeter\w*|centim[eèé]t\w*|cent[ií]metro\w*|santim\w*",
    "in": r"in|inch|inches",
    "m": r"m|met(?:er|re)s?|metro\w?",
    "kg": r"kg|kgs|kilo\w*|chilo\w*",
    "g": r"g|gr|gramm?\w*",
    "lb": r"lbs?|pounds?",
}
_UNIT = "|".join(f"(?P<{name}>{pattern})" for name, pattern in _UNITS.items())
_ANY_UNIT = "|".join(_UNITS.values())
_JOIN = r"(?:[x\u00d7*]|by|par|por|per|mal|auf|to|bis|ile|tot|[àa]|[-\u2013\u2014])"
_GROUP = re.compile(
    rf"(?<![\w.,]){_NUMBER}(?:[\s-]{{0,3}}(?:{_ANY_UNIT})(?!\w))?"
    rf"(?:\s{{0,3}}{_JOIN}\s{{0,3}}{_NUMBER}(?:[\s-]{{0,3}}(?:{_ANY_UNIT})(?!\w))?){{0,3}}",
    re.IGNORECASE,
)
_PART = re.compile(rf"(?P<number>{_NUMBER})(?:[\s-]{{0,3}}(?:{_UNIT})(?!\w))?", re.IGNORECASE)
_LONE_NUMBER = re.compile(r"\d{1,4}(?:[.,]\d{1,4})?", re.ASCII)


class Measure(NamedTuple):
    """Numbers that belong together ("2.3 x 1.9 cm") with the unit of each, and where they stand."""

    values: tuple[tuple[float, str], ...]
    start: int
    end: int


def number(text: str) -> float | None:
    """Read a plain number, with a decimal point or comma; None if it is none."""
    text = text.strip()
    return float(text.replace(",", ".")) if _LONE_NUMBER.fullmatch(text) else None


def measures(text: str, span: Span) -> Iterator[Measure]:
    """Numbers with a unit that overlap a span; a number without one takes that of its group's last."""
    low = max(0, span[0] - 40)
    for group in _GROUP.finditer(text, low, min(len(text), span[1] + 60)):
        if group.end() <= span[0] or group.start() >= span[1]:
            continue
        parts = [
            (float(part["number"].replace(",", ".")), next((unit for unit in _UNITS if part[unit]), ""))
            for part in _PART.finditer(group[0])
        ]
        last = next((unit for _, unit in reversed(parts) if unit), "")
        if last:
            yield Measure(tuple((value, unit or last) for value, unit in parts), group.start(), group.end())


def numbers_in(text: str, span: Span) -> set[float]:
    """All numbers inside a span, whatever they count."""
    return {float(found.replace(",", ".")) for found in re.findall(_NUMBER, text[span[0] : span[1]])}


_LETTER = re.compile(r"[\s,/-]{0,3}[MFWKEHV]\b(?![-\s]?\d)")
_SHORT_YEARS = re.compile(r"[\s-]{0,3}y(?:\.?\s?/?o\b|rs?\.?\s?/?o\b|\b)", re.IGNORECASE)


def ages(reading: Reading, span: Span) -> Iterator[float]:
    """Ages in years that a span states, with the words beside it that make a number an age."""
    for token in reading.between(*span):
        if _LONE_NUMBER.fullmatch(token.text):
            factor = _age_factor(reading, token)
            if factor is not None:
                yield float(token.text.replace(",", ".")) * factor


def _age_factor(reading: Reading, token: Token) -> float | None:
    """Years for each unit of a number that is an age; None if nothing says that it is one."""
    around = reading.sentence((token.start, token.end))
    known = reading.words("age", around)
    after = {word.means for word in known if word.start >= token.end and not reading.between(token.end, word.start)}
    before = [word for word in known if word.end <= token.start]
    if any(word.means == "span" and not reading.between(word.end, token.start) for word in before):
        return None
    unit = next((name for name in ("months", "weeks", "days") if name in after), "years")
    labelled = any(word.means == "label" and len(reading.between(word.end, token.start)) <= 2 for word in before)
    if next(measures(reading.text, (token.start, token.end)), None) is not None:
        return None
    if _LETTER.match(reading.text, token.end) or _SHORT_YEARS.match(reading.text, token.end):
        return 1.0
    near = [word for word in known if word.start >= token.end and _no_number(reading, token.end, word.start, most=2)]
    ago = any(word.means == "span" for word in near[:2])
    strong = any(word.means == "strong" for word in near)
    weak = unit != "years" or "weak" in after
    return YEARS_OF[unit] if labelled or strong or (weak and not ago) else None


def _no_number(reading: Reading, low: int, high: int, most: int) -> bool:
    between = reading.between(low, high)
    return len(between) <= most and not any(token.text[0].isdigit() for token in between)


def counts(reading: Reading, span: Span) -> Iterator[tuple[int, Span]]:
    """Numbers of tumours that a span states: digits or words right before a word for a tumour."""
    tumours = [word for word in reading.words("tumour", span) if word.means == "primary"]
    tumours += reading.words("diagnosis", span)
    stated = [(int(word.means), (word.start, word.end)) for word in reading.words("number", span)]
    stated += [
        (int(t.text), (t.start, t.end)) for t in reading.between(*span) if re.fullmatch(r"\d{1,2}", t.text, re.ASCII)
    ]
    for value, place in stated:
        lone = not any(next(measures(reading.text, place), ())) and reading.text[place[0] - 1 : place[0]] not in ".,T"
        if lone and any(place[1] <= t.start and _no_number(reading, place[1], t.start, most=4) for t in tumours):
            yield value, place


_STAGE = re.compile(
    r"(?<![\w-])(?:[cpyrau]{0,3}(?P<t>T(?:is|[0-4][a-d]?)))?[\s,;]{0,2}(?:[cpyrau]{0,3}(?P<n>N[0-3][a-c]?))?"
    r"[\s,;]{0,2}(?:[cpyrau]{0,3}(?P<m>M[01][a-c]?))?(?![\w-])"
)
_PREFIXED = re.compile(r"[cpyrau]{1,3}[TNM]")
_STAGES = {"t": get_args(TStage), "n": get_args(NStage), "m": get_args(MStage)}


def stages(reading: Reading, span: Span) -> dict[str, set[str]]:
    """T, N and M that a span states; "T2" alone needs a prefix, a second letter, or a word for staging."""
    found: dict[str, set[str]] = {"t": set(), "n": set(), "m": set()}
    named = "stage" in reading.means("cue", reading.sentence(span))
    for match in _STAGE.finditer(reading.text, *span):
        groups = [name for name in found if match[name]]
        if groups and (len(groups) > 1 or named or _PREFIXED.match(match[0].lstrip(" ,;\t\n"))):
            for name in groups:
                fine = match[name]
                found[name] |= {next((stage for stage in (fine, fine[:2]) if stage in _STAGES[name]), "")} - {""}
    return found
