"""Checks of what an answer says about the patient and the study: does the quoted passage state this value?

Each check takes the place of a quote and the claimed value, and returns what is wrong, or "" if nothing is.
"""

import re
from collections.abc import Callable

from prompts.grounding.measures import YEARS_OF, ages, measures, number
from prompts.grounding.quotes import Span
from prompts.grounding.reading import Reading
from prompts.llm.answer import NOT_STATED

__all__ = ["Check", "age", "body", "phase", "phases", "race", "region", "region_of", "sex", "sexes", "stated"]

Check = Callable[[Reading, Span], str]

_SEX_LABEL = re.compile(
    r"\b(?:sex|gender|geschlecht|sexe|sexo|sesso|cinsiyet\w*|geslacht)\s{0,2}[:=]?\s{0,2}$", re.IGNORECASE
)
_AGE_BEFORE = re.compile(r"\d[\s,/-]{0,3}(?:[^\W\d_.]{1,8}[.\s/-]{0,2}){0,2}[\s,(/-]{0,3}$")


def age(text: str, unit: str) -> tuple[float | None, Check]:
    """The claimed age in years, and its check."""
    value = number(text)
    years = None if value is None else round(value * YEARS_OF.get(unit, 1.0), 2)

    def check(reading: Reading, span: Span) -> str:
        stated = list(ages(reading, span))
        if not stated:
            return "the quote states no age"
        return "" if any(abs(found - (years or 0.0)) < 0.02 for found in stated) else "the quote states another age"

    return years, check


def sexes(reading: Reading, span: Span) -> set[str]:
    """Sexes that a span names by a word, or by a letter beside an age or a label."""
    found = reading.means("sex", span)
    for word in reading.words("letter", span):
        before = reading.text[max(0, word.start - 24) : word.start]
        upper = reading.text[word.start : word.end].isupper()
        if _SEX_LABEL.search(before) or (upper and _AGE_BEFORE.search(before)):
            found.add(word.means)
    return found


def sex(value: str) -> Check:
    """Check of a sex; a span that names both states none."""

    def check(reading: Reading, span: Span) -> str:
        found = sexes(reading, span)
        return "" if found == {value} else "the quote names both sexes" if len(found) > 1 else "no word for this sex"

    return check


def race(value: str) -> Check:
    """Check of a race; the word has to stand beside a word for the person ("white man", not "white matter")."""

    def check(reading: Reading, span: Span) -> str:
        words = [word for word in reading.words("race", span) if word.means == value]
        if not words:
            return "no word for this race in the quote"
        around = reading.sentence(span)
        people = [*reading.words("sex", around), *(w for w in reading.words("cue", around) if w.means == "person")]
        people += [w for w in reading.words("age", around) if w.means in ("strong", "label")]
        near = any(reading.distance(word, person) <= 2 for word in words for person in people)
        return "" if near else "the word does not describe a person"

    return check


def body(text: str, unit: str, cue: str) -> tuple[float | None, Check]:
    """The claimed height in cm or weight in kg (as `cue` says), and its check."""
    value = number(text)
    factors = {"cm": 1.0, "m": 100.0, "in": 2.54} if cue == "height" else {"kg": 1.0, "g": 0.001, "lb": 0.45359237}
    result = None if value is None or unit not in factors else round(value * factors[unit], 2 if cue == "height" else 1)

    def check(reading: Reading, span: Span) -> str:
        stated = [pair for found in measures(reading.text, span) for pair in found.values]
        if (value, unit) not in stated:
            return "number or unit differs from the quote"
        return "" if cue in reading.means("cue", reading.sentence(span)) else f"no word for {cue} beside it"

    return result, check


def phase(value: str) -> Check:
    """Check of a contrast phase; where the text names several, none is stated."""

    def check(reading: Reading, span: Span) -> str:
        if value not in phases(reading, span):
            return "no word for this phase in the quote"
        if value == "native" and value not in reading.means("phase"):
            return ""
        named = {w.means for w in reading.words("phase") if _of_scan(reading, (w.start, w.end))}
        if value not in named:
            return "the words do not describe the scan"
        return "" if named == {value} else "the text names several phases"

    return check


def phases(reading: Reading, span: Span) -> set[str]:
    """Phases that a span names; a denied contrast medium ("contrast material is not given") is the native one."""
    found = reading.means("phase", span)
    if "contrast" in reading.means("cue", span) and reading.means("negation", span) & {"before", "after"}:
        found.add("native")
    return found


def _of_scan(reading: Reading, span: Span) -> bool:
    return bool(reading.means("cue", reading.sentence(span)) & {"scan", "phase", "contrast"})


_WHOLE = {
    "all": {"chest", "abdomen", "pelvis"},
    "torso": {"chest", "abdomen", "pelvis"},
    "thoracoabdominal": {"chest", "abdomen"},
    "abdominopelvic": {"abdomen", "pelvis"},
}
_REGION_OF = {
    frozenset({"chest"}): "chest",
    frozenset({"abdomen"}): "abdomen",
    frozenset({"chest", "abdomen"}): "chest_abdomen",
    frozenset({"abdomen", "pelvis"}): "abdomen_pelvis",
    frozenset({"chest", "abdomen", "pelvis"}): "torso",
}


def region_of(reading: Reading, span: Span) -> str:
    """The region that the words in a span name with those that go on from them ("chest, abdomen and pelvis")."""
    around = reading.sentence(span)
    words = reading.words("region", around)
    chosen = [index for index, word in enumerate(words) if span[0] <= word.start and word.end <= span[1]]
    if not chosen:
        return ""
    low, high = chosen[0], chosen[-1]
    while low > 0 and _linked(reading, words[low - 1].end, words[low].start):
        low -= 1
    while high + 1 < len(words) and _linked(reading, words[high].end, words[high + 1].start):
        high += 1
    parts: set[str] = set()
    for word in words[low : high + 1]:
        parts |= _WHOLE.get(word.means, {word.means})
    return _REGION_OF.get(frozenset(parts), "")


def _linked(reading: Reading, low: int, high: int) -> bool:
    """Tell whether only words like "and" stand between two places."""
    between = reading.between(low, high)
    links = {(word.start, word.end) for word in reading.words("link", (low, high))}
    return len(between) <= 3 and all((token.start, token.end) in links for token in between)


def region(value: str) -> Check:
    """Check of the scanned region: the words name it, in a sentence about the scan."""

    def check(reading: Reading, span: Span) -> str:
        if region_of(reading, span) != value:
            return "the quote names another region or none"
        return "" if "scan" in reading.means("cue", reading.sentence(span)) else "no word for a scan beside it"

    return check


def stated(value: str) -> bool:
    """Tell whether an answer states a value."""
    return bool(value.strip()) and value != NOT_STATED
