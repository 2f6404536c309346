"""The rules extractor: plain English to a prompt, with the place in the text of every field.

It reads age, sex, race, body measures, contrast phase, region, tumours (`tumour_rules`), and
absent or enlarged organs. What the text does not say, denies, or leaves open stays unstated.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from manifests.anatomy import group, structure
from manifests.errors import InputError
from prompts.extraction import Dropped, Extraction
from prompts.rules.gazetteer import Clause, Mention, clauses
from prompts.rules.tumours import Finding, negated, read_tumours
from prompts.schema import parse_prompt
from prompts.table import Evidence

__all__ = ["RULES_VERSION", "extract"]

RULES_VERSION = "rules-2"
"""Named in every row that the rules made; raise it whenever they read any text differently."""

_AGE = re.compile(
    r"(?<![\d.])(?<!\d,)(?P<years>\d{1,3}(?:\.\d+)?)[\s-]*(?:(?:years?|yrs?|y)[\s-]*(?:old|of age)|y\.?/?o\.?(?![a-z]))"
    r"|\bage[d:]?\s*(?:of\s+|is\s+|:\s*)?(?P<aged>\d{1,3}(?:\.\d+)?)(?!\s*(?:cm|mm|%|kg|days|weeks|months|\d))"
    r"|(?<![\d.,])(?P<months>\d{1,3})[\s-]*months?[\s-]*old"
    r"|(?<![\d.,/])(?P<short>\d{1,2})\s?-?\s?(?=[MF]\b(?![-\s]?\d))",
    re.IGNORECASE,
)
_HEIGHT = re.compile(
    r"(?P<tall>\d+(?:\.\d+)?)\s*(?P<tall_unit>cm|m)\s+tall\b|\bheight\s*(?:of|is|:)?\s*(?P<height>\d+(?:\.\d+)?)\s*(?P<unit>cm|m)\b",
    re.IGNORECASE,
)
_WEIGHT = re.compile(
    r"\bweigh(?:t|s|ing)\s*(?:of|is|:)?\s*(?P<weight>\d+(?:\.\d+)?)\s*(?P<unit>kg|kilograms?|lbs?|pounds)\b",
    re.IGNORECASE,
)
_NOUN = r"(?:man|woman|male|female|person|patient|boy|girl|gentleman|lady|individual|adult)"
_BEFORE_NOUN = re.compile(rf"\s+(?:\w+\s+)?{_NOUN}\b", re.IGNORECASE)
_RACE_LABEL = re.compile(r"\b(?:race|ethnicity)\s*(?:[:=]|is)?\s*$", re.IGNORECASE)
_CLEAR_RACES = ("caucasian", "african american", "african-american", "black or african american", "of other race")
_SHORT_SEX = re.compile(
    r"(?:\bsex\s*[:=]?\s*|\bgender\s*[:=]?\s*|\d[\s-]*(?:y\.?/?o\.?|years?[\s-]*old|yrs?)?[\s-]*)(?P<sex>[MF])\b(?![-\s]?\d)"
)
_LINK = re.compile(
    r"\s*(?:gland\s+)?(?:is|are|was|were|appears?|has\s+been|have\s+been)?\s*(?:(?:slightly|mildly|moderately|markedly|grossly|diffusely"
    r"|massively|surgically|congenitally|also|to\s+be)\s+)*",
    re.IGNORECASE,
)
_VESSEL = re.compile(
    r"\s+(?:lymph|node|nodes|vein|artery|duct|hilum|hilar|fossa|bed|cyst|vessels?|pole|segment)\b", re.IGNORECASE
)


@dataclass(slots=True)
class _Draft:
    """Fields found so far; the first statement of a field counts."""

    text: str
    fields: dict[str, Any] = field(default_factory=dict)
    spans: dict[str, tuple[int, int]] = field(default_factory=dict)

    def state(self, name: str, value: Any, span: tuple[int, int]) -> None:
        if value is not None and name not in self.fields:
            self.fields[name] = value
            self.spans[name] = span


def extract(text: str) -> Extraction:
    """Read a text; an empty one states nothing."""
    parts = clauses(text)
    draft = _Draft(text)
    mentions = [mention for part in parts for mention in part.mentions]
    _read_age(draft)
    _read_sex(draft, mentions)
    _read_race(draft, mentions)
    _read_body(draft)
    _read_study(draft, parts)
    findings = read_tumours(parts)
    absent, enlarged = _read_organs(parts)
    return _assemble(draft, findings, absent, enlarged)


def _read_age(draft: _Draft) -> None:
    found = _AGE.search(draft.text)
    if found:
        text = found["years"] or found["aged"] or found["short"]
        years = float(text) if text else round(float(found["months"]) / 12, 2)
        draft.state("patient.age_years", years if years <= 120 else None, found.span())


def _read_sex(draft: _Draft, mentions: Sequence[Mention]) -> None:
    """A noun for the patient beside the age, else the only sex that nouns, letters or pronouns name."""
    nouns = [mention for mention in mentions if mention.value("sex")]
    age_end = draft.spans.get("patient.age_years", (0, -1000))[1]
    beside = [mention for mention in nouns if 0 <= mention.start - age_end <= 40]
    for pool, kind in ((beside, "sex"), (nouns, "sex")):
        if len({mention.value(kind) for mention in pool}) == 1:
            draft.state("patient.sex", pool[0].value(kind), (pool[0].start, pool[0].end))
    short = _SHORT_SEX.search(draft.text)
    if short and not nouns:
        draft.state("patient.sex", {"M": "male", "F": "female"}[short["sex"]], short.span("sex"))
    pronouns = [mention for mention in mentions if mention.value("pronoun")]
    if not nouns and len({mention.value("pronoun") for mention in pronouns}) == 1:
        draft.state("patient.sex", pronouns[0].value("pronoun"), (pronouns[0].start, pronouns[0].end))


def _read_race(draft: _Draft, mentions: Sequence[Mention]) -> None:
    for mention in mentions:
        race = mention.value("race")
        if race is None:
            continue
        beside = _BEFORE_NOUN.match(draft.text, mention.end) or _RACE_LABEL.search(draft.text[: mention.start])
        if beside or mention.text.lower() in _CLEAR_RACES:
            draft.state("patient.race", race, (mention.start, mention.end))


def _read_body(draft: _Draft) -> None:
    height, weight = _HEIGHT.search(draft.text), _WEIGHT.search(draft.text)
    if height:
        value = float(height["tall"] or height["height"])
        in_m = (height["tall_unit"] or height["unit"]).lower() == "m"
        value = round(value * 100, 2) if in_m else value
        draft.state("patient.height_cm", value if 40 <= value <= 230 else None, height.span())
    if weight:
        value = float(weight["weight"])
        value = round(value * 0.45359237, 1) if weight["unit"].lower()[0] in "lp" else value
        draft.state("patient.weight_kg", value if 2 <= value <= 350 else None, weight.span())


def _read_study(draft: _Draft, parts: Sequence[Clause]) -> None:
    """Read phase and region; both stay unstated where the text names several (a multiphase scan)."""
    phases = [m for part in parts for m in part.mentions if m.value("contrast_phase")]
    if len({mention.value("contrast_phase") for mention in phases}) == 1:
        draft.state("study.contrast_phase", phases[0].value("contrast_phase"), (phases[0].start, phases[0].end))
    for part in parts:
        for mention in part.mentions:
            if mention.value("region") and _beside_scan(draft.text, mention, part.mentions):
                draft.state("study.region", mention.value("region"), (mention.start, mention.end))


def _beside_scan(text: str, region: Mention, mentions: Sequence[Mention]) -> bool:
    """Tell whether a word for the scan stands right before ("CT of the ...") or after ("... CT")."""
    for scan in (mention for mention in mentions if mention.value("scan") or mention.value("contrast_phase")):
        between = text[min(scan.end, region.end) : max(scan.start, region.start)].lower().split()
        if set(between) <= {
            "of",
            "the",
            "scan",
            "images",
            "image",
            "through",
            "his",
            "her",
            "contrast",
            "enhanced",
            "-",
            "axial",
            "(ct)",
        }:
            return True
    return False


@dataclass(frozen=True, slots=True)
class _Organ:
    name: str
    span: tuple[int, int]


def _read_organs(parts: Sequence[Clause]) -> tuple[list[_Organ], list[_Organ]]:
    absent: list[_Organ] = []
    enlarged: list[_Organ] = []
    for part in parts:
        for mention in part.mentions:
            span = (mention.start, mention.end)
            if negated(part, mention, past=False):
                continue
            absent += [_Organ(name, span) for name in (*mention.values("absent"), *_sided(part, mention))]
            enlarged += [_Organ(name, span) for name in mention.values("enlarged")]
        for kind, organ in _states(part):
            (absent if kind == "absent" else enlarged).append(organ)
    return absent, enlarged


def _sided(part: Clause, mention: Mention) -> Iterator[str]:
    """Organs of a pair that an operation removed: those of the side beside it, none if no side is named."""
    for organ in mention.values("absent_sided"):
        near = part.text[max(0, mention.start - part.start - 25) : mention.end - part.start + 16].lower()
        sides = {side for side in ("left", "right") if re.search(rf"\b{side}\b", near)}
        if re.search(r"\b(?:partial|planned|scheduled)\b", near):
            continue
        if re.search(r"\bbilateral\b", near):
            sides = {"left", "right"}
        elif len(sides) != 1:
            continue
        yield from (entry.name for entry in group(organ) if entry.side in sides)


def _states(part: Clause) -> Iterator[tuple[str, _Organ]]:
    """Organs that the clause calls absent or enlarged: "the spleen is enlarged", "absent gallbladder"."""
    for before, after in zip(part.mentions, part.mentions[1:], strict=False):
        place, state = (before, after) if before.value("place") else (after, before)
        names, kind = place.value("place"), state.value("state")
        if not names or not kind or negated(part, state, past=False):
            continue
        gap = part.text[before.end - part.start : after.start - part.start]
        linked = _LINK.fullmatch(gap) if place is before else not gap.strip()
        if not linked or _VESSEL.match(part.text, place.end - part.start):
            continue
        yield kind, _Organ(_with_side(part, place, names), (before.start, after.end))


def _with_side(part: Clause, place: Mention, name: str) -> str:
    """The member of a pair that a side before the word names ("left suprarenal gland")."""
    before = part.text[: place.start - part.start].rstrip().lower()
    members = [entry.name for entry in group(name)]
    for side in ("left", "right"):
        own = [member for member in members if structure(member).side == side]
        if before.endswith(side) and len(own) == 1:
            return own[0]
    return name


def _assemble(
    draft: _Draft, findings: Sequence[Finding], absent: Sequence[_Organ], enlarged: Sequence[_Organ]
) -> Extraction:
    """Build the prompt; what contradicts the tumours, and tumours that contradict the sex, are left out."""
    dropped: list[Dropped] = []
    kept: list[Finding] = []
    base = _nested(draft)
    for finding in findings:
        trial = {**base, "tumours": [item.fields for item in (*kept, finding)]}
        if _valid(trial):
            kept.append(finding)
        else:
            dropped.append(Dropped("tumours", str(finding.fields["organ"]), "contradicts the rest"))
    content = {**base, "tumours": [item.fields for item in kept], "absent_organs": (), "enlarged_organs": ()}
    for kind, organs in (("absent_organs", absent), ("enlarged_organs", enlarged)):
        for number, organ in enumerate({organ.name: organ for organ in organs}.values()):
            trial = {**content, kind: (*content[kind], organ.name)}
            if _valid(trial):
                content = trial
                draft.spans[f"{kind}.{number}"] = organ.span
            else:
                dropped.append(Dropped(kind, organ.name, "contradicts the rest"))
    spans = [Evidence(name, *span) for name, span in draft.spans.items()]
    for number, finding in enumerate(kept):
        spans += [Evidence(f"tumours.{number}.{name}", *span) for name, span in finding.spans.items()]
    return Extraction(parse_prompt(content), tuple(spans), tuple(dropped))


def _nested(draft: _Draft) -> dict[str, Any]:
    nested: dict[str, Any] = {"patient": {}, "study": {}}
    for name, value in draft.fields.items():
        part, _, key = name.partition(".")
        nested[part][key] = value
    return nested


def _valid(content: dict[str, Any]) -> bool:
    try:
        parse_prompt(content)
    except InputError:
        return False
    return True
