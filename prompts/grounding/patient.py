"""Checks of what an answer says about the patient and the study: does the quoted passage state this value?

Each check takes the claimed value, the text, and the place of a quote, and returns what is wrong, or "" if nothing is.
"""

import re
from collections.abc import Callable

from manifests.anatomy import PHASES
from prompts.grounding.measures import YEARS_OF, ages, measures, number, numbers_in
from prompts.grounding.quotes import Span
from prompts.grounding.reading import Reading
from prompts.grounding.words import Word
from prompts.llm.answer import NOT_STATED

__all__ = [
    "Check",
    "age",
    "body",
    "body_value",
    "phase",
    "phases",
    "race",
    "region",
    "region_of",
    "scanned",
    "sex",
    "sexes",
    "stated",
    "years_of",
]

Check = Callable[[Reading, Span], str]

_SEX_LABEL = re.compile(
    r"\b(?:sex|gender|geschlecht|sexe|sexo|sesso|cinsiyet\w*|geslacht)\s{0,2}[:=]?\s{0,2}$", re.IGNORECASE
)
_AGE_BEFORE = re.compile(r"\d[\s,/-]{0,3}(?:[^\W\d_.]{1,8}[.\s/-]{0,2}){0,2}[\s,(/-]{0,3}$")


def years_of(text: str, unit: str) -> float | None:
    """A claimed age in years; None if it is no number."""
    value = number(text)
    return None if value is None else round(value * YEARS_OF.get(unit, 1.0), 2)


def age(years: float, reading: Reading, span: Span) -> str:
    """Check an age in years."""
    stated_ages = list(ages(reading, span))
    if _of_relative(reading, span):
        return "the age of a relative"
    if not stated_ages:
        return "the quote states no age"
    return "" if any(abs(found - years) < 0.02 for found in stated_ages) else "the quote states another age"


def _of_relative(reading: Reading, span: Span) -> bool:
    """Tell whether a word for a relative stands right before a span or inside it ("mother, aged 58")."""
    kin = [word for word in reading.words("cue", reading.sentence(span)) if word.means == "kin"]
    return any(word.start < span[1] and reading.distance(word, span) <= 2 for word in kin)


def sexes(reading: Reading, span: Span) -> set[str]:
    """Sexes that a span names by a word, or by a letter beside an age or a label."""
    found = reading.means("sex", span)
    for word in reading.words("letter", span):
        before = reading.text[max(0, word.start - 24) : word.start]
        upper = reading.text[word.start : word.end].isupper()
        if _SEX_LABEL.search(before) or (upper and _AGE_BEFORE.search(before)):
            found.add(word.means)
    return found


def sex(value: str, reading: Reading, span: Span) -> str:
    """Check a sex; a span that names both states none."""
    found = sexes(reading, span)
    if _of_relative(reading, span):
        return "the sex of a relative"
    return "" if found == {value} else "the quote names both sexes" if len(found) > 1 else "no word for this sex"


def race(value: str, reading: Reading, span: Span) -> str:
    """Check a race; its word has to stand beside a word for the person ("white man", not "white matter")."""
    words = [word for word in reading.words("race", span) if word.means == value]
    if not words:
        return "no word for this race in the quote"
    around = reading.sentence(span)
    people = [*reading.words("sex", around), *(w for w in reading.words("cue", around) if w.means == "person")]
    people += [w for w in reading.words("age", around) if w.means in ("strong", "label")]
    near = any(reading.distance(word, person) <= 2 for word in words for person in people)
    return "" if near else "the word does not describe a person"


_BODY = {
    "height": ({"cm": 1.0, "m": 100.0, "in": 2.54}, 2),
    "weight": ({"kg": 1.0, "g": 0.001, "lb": 0.45359237}, 1),
}


def body_value(text: str, unit: str, cue: str) -> float | None:
    """A claimed height in cm or weight in kg, as `cue` says; None if it is no number with a unit."""
    value = number(text)
    factors, digits = _BODY[cue]
    return None if value is None or unit not in factors else round(value * factors[unit], digits)


def body(claim: tuple[str, str, str], reading: Reading, span: Span) -> str:
    """Check a height or weight: number and unit as claimed, and the cue."""
    text, unit, cue = claim
    stated_pairs = [pair for found in measures(reading.text, span) for pair in found.values]
    if (number(text), unit) not in stated_pairs or number(text) not in numbers_in(reading.text, span):
        return "number or unit differs from the quote"
    return "" if cue in reading.means("cue", reading.sentence(span)) else f"no word for {cue} beside it"


def phase(value: str, reading: Reading, span: Span) -> str:
    """Check a contrast phase; where the text names several, none is stated."""
    here = phases(reading, span)
    if value not in here:
        return "no word for this phase in the quote"
    if not _of_scan(reading, span):
        return "the words do not describe the scan"
    named = {w.means for w in reading.words("phase") if _of_scan(reading, (w.start, w.end))}
    others = (named | here) & {*PHASES, "several"}
    clash = value == "native" and "enhanced" in named
    return "the text names several phases" if clash or others != {value} else ""


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
    return _REGION_OF.get(frozenset(_parts(words[low : high + 1])), "")


def _parts(words: list[Word]) -> set[str]:
    return {part for word in words for part in _WHOLE.get(word.means, {word.means})}


def scanned(reading: Reading) -> dict[str, set[str]]:
    """The parts of the body of each region, those alone that sentences about the scan name."""
    scans = [word for word in reading.words("cue") if word.means in ("scan", "contrast", "phase")]
    around = {reading.sentence((word.start, word.end)) for word in scans}
    named = {part for span in around for part in _parts(reading.words("region", span))}
    return {region: set(parts) for parts, region in _REGION_OF.items() if parts <= named}


def _linked(reading: Reading, low: int, high: int) -> bool:
    """Tell whether only words like "and" stand between two places."""
    between = reading.between(low, high)
    links = {(word.start, word.end) for word in reading.words("link", (low, high))}
    return len(between) <= 3 and all((token.start, token.end) in links for token in between)


def region(value: str, reading: Reading, span: Span) -> str:
    """Check the scanned region: the words name it, in a sentence about the scan."""
    if region_of(reading, span) != value:
        return "the quote names another region or none"
    return "" if "scan" in reading.means("cue", reading.sentence(span)) else "no word for a scan beside it"


def stated(value: str) -> bool:
    """Tell whether an answer states a value."""
    return bool(value.strip()) and value != NOT_STATED
