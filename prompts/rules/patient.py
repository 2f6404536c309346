"""Reading the patient: age, sex, race, height and weight."""

import re
from collections.abc import Sequence

from prompts.rules.ages import NO_LETTER, names_a_tracer, read_age
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
    r"(?:\b(?i:sex)\s{0,2}[:=]?\s{0,2}|\b(?i:gender)\s{0,2}[:=]?\s{0,2}"
    r"|(?<![\w.,])\d{2,3}[\s,/-]{0,2}(?:[yY]\.?\s?[-/]?\s?[oO]\.?|[yY]ears?[\s-]?(?:old)?|[yY]rs?(?:[\s-]old)?|[yY])?[\s,/-]{0,3})(?P<sex>[MF])\b(?!\.\d)"
    rf"{NO_LETTER}"
    r"|\b(?P<first>[MF])(?!-?18\b)\s?[-/,]\s?\d{1,3}(?!\d|[.,]?\d|\s?(?:cm|mm))"
)
_OTHER_PERSON = re.compile(
    r"\b(?:(?:grand)?(?:mother|father|son|daughter)|sister|brother|wife|husband|spouse|donor|aunt|uncle|cousin|nephew|niece|doctor|physician|surgeon"
    r"|radiologist|consultant|technologist|nurse|resident|referr(?:er|ing|ed\sby)|ref|reported\sby|reviewed\sby|signed|dictated|dr|md)\b",
    re.IGNORECASE,
)
_KIN_OF = re.compile(
    r"(?:his|her)\s(?:(?:elder|younger|late|twin|maternal|paternal)\s)?(?:grand)?(?:mother|father|sister|brother|aunt|uncle|cousin)\b",
    re.IGNORECASE,
)
_TITLES = ("mr", "mrs", "ms")
_TITLED = re.compile(r"\.?\s{1,2}[A-Z]|\.?\s?$")
_NO_PERSON_AFTER = re.compile(
    r"[\s-]{1,2}(?:f(?:o)?etus|f(?:o)?etal|infant\stwin|donor|catheter|connector|pelvis|pattern|partner|relatives?|cousin|urethra|genital\w*|windermere|scouts?|ward|medical|surgical|unit|bundle|purkinje"
    r"|2\b(?!\.\d)|2/|neu\b)|2\b(?!\.\d)|/(?:her|his|she)\b",
    re.IGNORECASE,
)
_NO_PERSON_BEFORE = re.compile(
    r"\b(?:f(?:o)?etus|bundle)\s(?:\w+\s){0,2}$|\b(?:by|hit)\san?\s(?:\d{1,3}[\s-]years?[\s-]old\s)?$|(?:\bhe|\bhis|\bhim)/$",
    re.IGNORECASE,
)
_LABEL = re.compile(
    r"\b(?:panels?|fig\w*|images?|series|slices?|parts?|level|type|grade|id|no)\W{0,3}(?:\d{1,3}\s?)?$", re.IGNORECASE
)


def read_patient(draft: Draft, parts: Sequence[Clause]) -> None:
    """Read who is scanned."""
    age = read_age(draft.text, draft.lower)
    if age is not None:
        draft.state("patient.age_years", age.years, (age.start, age.end))
    personal = {part.sentence for part in parts if part.personal}
    near = personal | {sentence - 1 for sentence in personal}
    others = {part.sentence for part in parts if part.sentence in near and _OTHER_PERSON.search(part.text)}
    mentions = [
        (m._replace(start=m.start + part.start, end=m.end + part.start), part.sentence)
        for part in parts
        if part.personal
        for m in part.mentions
    ]
    _read_sex(draft, mentions, others)
    _read_race(draft, [m for m, sentence in mentions if sentence not in others])
    _read_body(draft)


def _read_sex(draft: Draft, mentions: Sequence[tuple[Mention, int]], others: set[int]) -> None:
    """A noun for the patient beside the age, else the only sex that nouns, letters or pronouns name.

    `others` are the sentences that speak of somebody else: only a noun beside the age counts there, and a pronoun
    after them may be of that person.
    """
    named = [(m, sentence) for m, sentence in mentions if m.means.sex and _names_patient(draft.text, m)]
    nouns = [m for m, sentence in named if sentence not in others]
    age_end = draft.spans.get("patient.age_years", (0, -1000))[1]
    beside = [m for m, _ in named if -4 <= m.start - age_end <= 40]
    for pool in (beside, nouns):
        if len({m.means.sex for m in pool}) == 1:
            draft.state("patient.sex", pool[0].means.sex, (pool[0].start, pool[0].end))
    if nouns:
        return
    letters = _SHORT_SEX.finditer(draft.text) if _LETTER.search(draft.text) else iter(())
    short = next((found for found in letters if not names_a_tracer(found[0][:2], draft.text)), None)
    if short and (
        _LABEL.search(draft.text, max(0, short.start() - 12), short.start())
        or names_a_tracer(re.sub(r"\D", "", short[0]), draft.text)
    ):
        short = None
    if short:
        name = "sex" if short["sex"] else "first"
        draft.state("patient.sex", {"M": "male", "F": "female"}[short[name]], short.span(name))
    pronouns = [
        m
        for m, sentence in mentions
        if m.means.pronoun
        and (others.isdisjoint((sentence, sentence - 1)) or _KIN_OF.match(draft.text, m.start))
        and _names_patient(draft.text, m)
    ]
    if len({m.means.pronoun for m in pronouns}) == 1:
        draft.state("patient.sex", pronouns[0].means.pronoun, (pronouns[0].start, pronouns[0].end))


def _names_patient(text: str, mention: Mention) -> bool:
    """Tell whether a word of sex is one here: no magnetic resonance (MR), sclerosis (MS), HER-2, bundle of His."""
    if mention.text.lower() in _TITLES:
        return mention.text.istitle() and _TITLED.match(text, mention.end) is not None
    if _NO_PERSON_AFTER.match(text, mention.end):
        return False
    return not _NO_PERSON_BEFORE.search(text, max(0, mention.start - 24), mention.start)


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
