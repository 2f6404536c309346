"""Reading the age of the patient: "63-year-old", "63 y/o", "63F", "aged 63", "6-month-old"."""

import re
from collections.abc import Iterator
from typing import NamedTuple

from prompts.lexicon import spelled_number, spelled_words

__all__ = ["NO_LETTER", "Age", "names_a_tracer", "read_age"]

_PER_YEAR = {"y": 1.0, "m": 12.0, "w": 52.18, "d": 365.25}
_PERSON = r"(?:man|woman|male|female|lady|gentleman|boy|girl|patient)"
# what follows the letter of an instrument's size, of a number of months or of a radionuclide: "10 F sheath", "18F-FDG"
NO_LETTER = (
    r"(?!\s?(?i:catheter|french|drain|sheath|pigtail|stent|needle|tube|guid|foley|introducer|after|post\w*|follow\w*|later|pet\b|choline|dopa)"
    r"|[-\u2013\s]?\d|\W{0,3}(?i:FDG|fluor)|[-\u2013]\w|\])"
)
_TRACER = re.compile(r"\bpet\b|fdg|fluoro|tracer|\bsuv|psma|scintigra", re.IGNORECASE)
# the number comes first: such a pattern is found fast; what stands before it is looked at afterwards
_NUMBER_FIRST = re.compile(
    r"(?P<value>\d{1,3}(?:\.\d{1,2})?)(?:[\s\u2013-]{0,3}(?:"
    r"(?P<unit>[yY](?:ears?|EARS?|rs?|RS?)?|[mM](?:onths?|ONTHS?|o)|[wW](?:eeks?|ks?)|[dD]ays?)\.?[\s\u2013-]{0,3}(?:[oO](?i:ld)\b|(?i:of\s+age)\b)"
    r"|(?P<short>[yY]\.?\s?[-/]?\s?[oO]\.?)(?![a-zA-EG-LN-Z])"
    rf"|(?:[yY]|(?i:years?|yrs?))(?=,?\s(?:(?i:(?:fe)?male)|[MF])\b|\s?/\s?[MF]\b)|(?i:year|yr)s?[\s-](?=(?i:(?:\w{{1,20}}\s)?{_PERSON})\b))"
    rf"|(?P<letter>\s?[-/]?\s?(?=[MF]\b{NO_LETTER})))"
)
# whether `_NUMBER_FIRST` can match at all: most reports hold many numbers and no age
_UNIT_OR_SEX = re.compile(r"\d[\s\u2013-]{0,3}(?:y|[-/]?\s?[mf]\b)")
_WORD_FIRST = re.compile(
    r"\bage[d:]?\s{0,3}(?:of\s+|is\s+|:\s*|was\s+)?(?P<value>\d{1,3}(?:\.\d{1,2})?)(?![\d.]*\s?(?:cm|mm|%|kg|days|weeks|months|-|to\b|\d|and\b))",
    re.IGNORECASE,
)
_SEX_FIRST = re.compile(
    r"\b[MF](?!-?18\b)\s?[-/,]\s?(?P<value>\d{1,3})(?![\d.,]*\s?(?:cm|mm|kg|%|/|\d))"
    r"|\b(?i:man|woman|male|female|lady|gentleman|patient|pt|Mrs?\.?\s[A-Z][\w.]{0,15})[,:]\s?(?:aged\s)?(?P<years>\d{2})(?=\s?(?:[,;.]|(?i:y|years?|yrs?)\b)(?!\d))"
    r"|\b(?i:man|woman|male|female|lady|gentleman|boy|girl|patient)(?:\s?\((?i:aged\s|age:?\s)?(?P<bracketed>\d{1,2})(?:\s?(?i:y|years?|yrs?|y\.o\.|yo)(?:\s(?i:old))?)?\)|(?:/|,?\s)(?i:aged\s|of\s|patient\sof\s)?(?P<plain>\d{1,3})[\s-]?(?i:years?|yrs?)\b"
    r"(?!\s(?i:after|ago|later|before|post|prior|follow\w*|of|history|earlier|survival|since)))"
)
_SPELLED = re.compile(
    rf"\b(?P<spelled>(?:{'|'.join(spelled_words())})(?:[\s-](?:{'|'.join(spelled_words())}))?)[\s-]{{1,2}}years?[\s-]{{1,2}}(?:old\b|of\sage\b|(?=(?:(?:fe)?male|(?:wo)?man)\b))"
    rf"|\baged\s(?P<aged>(?:{'|'.join(spelled_words())})(?:[\s-](?:{'|'.join(spelled_words())}))?)\b",
    re.IGNORECASE,
)
_SPELLED_HINT = re.compile(r"year(?<=[a-z][\s-]year)|aged\s[a-z]")
_PEOPLE = ("man", "male", "lady", "boy", "girl", "patient", "pt,", "pt:", "mr")
_LETTER = re.compile(r"[MF]\b")
_BEFORE = frozenset("0123456789.,/-")
_NOT_THE_AGE = re.compile(
    r"(?<![a-z])(?:over|under|above|below|than|least|mean|median|average|range|between|diagnosed\s+at|since|until|mother|father|sister|brother|son|daughter|husband|wife|"
    r"donor|aunt|uncle|deviations?\s+for|graft|approximately|onset\s+at|menopause\s+at|[<>≥≤~]|\d\s?(?:to|and))\W{0,3}(?:the\s+|an?\s+|age\W{1,2}|of\s+|at\s+|is\s+|was\s+|died\s+){0,3}$",
    re.IGNORECASE,
)
_SEVERAL = re.compile(
    r"[\s,-]{0,2}(?:patients|men|women|children|subjects|cohort|ct|scans?|exam\w*|study|films?|fracture|infarct\w*|stroke|(?:on|at)\s(?:the\s)?(?:previous|prior|last|first))\b",
    re.IGNORECASE,
)


class Age(NamedTuple):
    """An age in years and where it stands."""

    years: float
    start: int
    end: int


def read_age(text: str, lower: str) -> Age | None:
    """The first age of the patient; None for ranges, decades, and ages of others."""
    for found in sorted(_candidates(text, lower), key=lambda match: match.start()):
        groups = found.groupdict()
        value = groups.get("value") or groups.get("years") or groups.get("plain") or groups.get("bracketed") or ""
        if words := groups.get("spelled") or groups.get("aged"):
            value = str(spelled_number(words) or "")
        if not value:
            continue
        if groups.get("letter") is not None and (
            len(value) != 2 or text[found.start() - 1 : found.start()].isalpha() or names_a_tracer(value, text)
        ):
            continue
        before = text[max(0, found.start() - 30) : found.start()]
        part_of_number = before[-1:] in _BEFORE and not (before[-1:] == "," and not before[-2:-1].isdigit())
        if (before and part_of_number) or _NOT_THE_AGE.search(before) or _SEVERAL.match(text, found.end()):
            continue
        years = float(value) / _PER_YEAR[(groups.get("unit") or "y")[0].lower()]
        if years <= 120:
            return Age(round(years, 2), found.start(), found.end())
    return None


def names_a_tracer(number: str, text: str) -> bool:
    """Tell whether "18F" is fluorine in a text on nuclear medicine, and no woman of 18."""
    return number.strip() == "18" and _TRACER.search(text) is not None


def _candidates(text: str, lower: str) -> Iterator[re.Match[str]]:
    if "old" in lower or "of age" in lower or _UNIT_OR_SEX.search(lower):
        yield from _NUMBER_FIRST.finditer(text)
    if "age" in lower:
        yield from _WORD_FIRST.finditer(text)
    if ("year" in lower or "aged" in lower) and _SPELLED_HINT.search(lower):
        yield from _SPELLED.finditer(text)
    if any(word in lower for word in _PEOPLE) or _LETTER.search(text):
        yield from _SEX_FIRST.finditer(text)
