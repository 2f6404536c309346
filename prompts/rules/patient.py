"""Reading the patient: age, sex, race, height and weight."""

import re
from collections.abc import Sequence

from prompts.rules.ages import read_age
from prompts.rules.clauses import Clause
from prompts.rules.draft import Draft
from prompts.rules.gazetteer import Mention

__all__ = ["read_patient"]

_NOUN = r"(?:man|woman|male|female|person|patient|boy|girl|gentleman|lady|individual|adult|child|infant|subject|m|f)"
_LETTER = re.compile(r"[MF]\b")
_HEIGHT = re.compile(
    r"(?<![\d.])(?P<tall>\d{1,3}(?:\.\d{1,3})?)\s{0,2}(?P<tall_unit>cm|m)\s{1,2}tall\b"
    r"|\bheight\s{0,2}(?:of|is|was|:)?\s{0,2}(?P<height>\d{1,3}(?:\.\d{1,3})?)\s{0,2}(?P<unit>cm|m)\b",
    re.IGNORECASE,
)
_WEIGHT = re.compile(
    r"\b(?:weigh(?:t|s|ing|ed)\s{0,2}(?:of|is|was|:)?|wt:?)\s{0,2}(?P<weight>\d{1,3}(?:\.\d{1,3})?)\s{0,2}(?P<unit>kg|kgs|kilograms?|lbs?|pounds)\b",
    re.IGNORECASE,
)
_BODY_OF = re.compile(
    r"\b(?:vertebra\w*|corpus|disc|disk|mass|tumou?r|uterus|spleen|liver|specimen|fetal|birth|kidney)\W{1,3}$",
    re.IGNORECASE,
)
_BEFORE_NOUN = re.compile(rf"[\s-]{{1,2}}(?:\w+\s+){{0,2}}{_NOUN}\b", re.IGNORECASE)
_RACE_LABEL = re.compile(r"\b(?:race|ethnicity)\s{0,2}(?:[:=]|is)?\s{0,2}$", re.IGNORECASE)
_CLEAR_RACES = ("caucasian", "african american", "african-american", "black or african american", "of other race")
_SHORT_SEX = re.compile(
    r"(?:\b[sS]ex\s{0,2}[:=]?\s{0,2}|\b[gG]ender\s{0,2}[:=]?\s{0,2}"
    r"|(?<![\w.,])\d{2,3}[\s,/-]{0,2}(?:[yY]\.?\s?/?\s?[oO]\.?|[yY]ears?[\s-]?(?:old)?|[yY]rs?(?:[\s-]old)?|[yY])?[\s,/-]{0,2})(?P<sex>[MF])\b(?!\s?(?:catheter|french|drain|sheath|pigtail|stent|needle|tube|guid)|[-\s.]?\d|-?\s?FDG|-[A-Z])"
    r"|\b(?P<first>[MF])(?!-?18\b)\s?[-/,]\s?\d{1,3}(?!\d|[.,]?\d|\s?(?:cm|mm))"
)
_OTHER_PERSON = re.compile(
    r"\b(?:mother|father|sister|brother|wife|husband|donor|son|daughter|doctor|physician|surgeon)\b", re.IGNORECASE
)


def read_patient(draft: Draft, parts: Sequence[Clause]) -> None:
    """Read who is scanned."""
    age = read_age(draft.text, draft.lower)
    if age is not None:
        draft.state("patient.age_years", age.years, (age.start, age.end))
    mentions = [
        m._replace(start=m.start + part.start, end=m.end + part.start)
        for part in parts
        if part.personal and not _OTHER_PERSON.search(part.text)
        for m in part.mentions
    ]
    _read_sex(draft, mentions)
    _read_race(draft, mentions)
    _read_body(draft)


def _read_sex(draft: Draft, mentions: Sequence[Mention]) -> None:
    """A noun for the patient beside the age, else the only sex that nouns, letters or pronouns name."""
    nouns = [m for m in mentions if m.means.sex]
    age_end = draft.spans.get("patient.age_years", (0, -1000))[1]
    beside = [m for m in nouns if -4 <= m.start - age_end <= 40]
    for pool in (beside, nouns):
        if len({m.means.sex for m in pool}) == 1:
            draft.state("patient.sex", pool[0].means.sex, (pool[0].start, pool[0].end))
    if nouns:
        return
    short = _SHORT_SEX.search(draft.text) if _LETTER.search(draft.text) else None
    if short:
        name = "sex" if short["sex"] else "first"
        draft.state("patient.sex", {"M": "male", "F": "female"}[short[name]], short.span(name))
    pronouns = [m for m in mentions if m.means.pronoun]
    if len({m.means.pronoun for m in pronouns}) == 1:
        draft.state("patient.sex", pronouns[0].means.pronoun, (pronouns[0].start, pronouns[0].end))


def _read_race(draft: Draft, mentions: Sequence[Mention]) -> None:
    for m in mentions:
        if m.means.race is None:
            continue
        beside = _BEFORE_NOUN.match(draft.text, m.end) or _RACE_LABEL.search(draft.text, max(0, m.start - 30), m.start)
        if beside or m.text.lower() in _CLEAR_RACES:
            draft.state("patient.race", m.means.race, (m.start, m.end))


def _read_body(draft: Draft) -> None:
    height = _HEIGHT.search(draft.text) if "tall" in draft.lower or "height" in draft.lower else None
    weight = _WEIGHT.search(draft.text) if "weigh" in draft.lower or "wt" in draft.lower else None
    if height and not _BODY_OF.search(draft.text, max(0, height.start() - 20), height.start()):
        value = float(height["tall"] or height["height"])
        in_m = (height["tall_unit"] or height["unit"]).lower() == "m"
        value = round(value * 100, 2) if in_m else value
        draft.state("patient.height_cm", value if 40 <= value <= 230 else None, height.span())
    if weight and not _BODY_OF.search(draft.text, max(0, weight.start() - 20), weight.start()):
        value = float(weight["weight"])
        value = round(value * 0.45359237, 1) if weight["unit"].lower()[0] in "lp" else value
        draft.state("patient.weight_kg", value if 2 <= value <= 350 else None, weight.span())
