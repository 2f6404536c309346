"""Reading the tumours of a text: present primaries with a place, in their order.

A tumour word needs a place (`places`) and must be asserted (`negation`); what the clause or a later
sentence judges to be something else (`judgement`) is none. An organ named again is the same tumour.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Any

from manifests.anatomy import structure
from prompts.rules.clauses import Clause
from prompts.rules.described import called_so_later, complete, proven, state_place
from prompts.rules.findings import Finding
from prompts.rules.gazetteer import Mention
from prompts.rules.judgement import called_something_else, found_to_be_else, goes_on, judged_later, titled_otherwise
from prompts.rules.negation import asserted
from prompts.rules.places import Place, locate
from prompts.rules.sizes import read_sizes
from prompts.rules.stages import read_stages

__all__ = ["read_tumours"]

_COUNT = re.compile(r"(?:^|[\s(])(?P<digits>\d{1,2})\s{1,3}(?:[a-z-]{1,20}\s{1,3}){0,3}$", re.IGNORECASE)
_NUMBERED = re.compile(
    r"\b(?:segments?|levels?|stage|grade|case|figure|fig|type|bosniak|rads|no|day|week|phase)\W{0,3}$", re.IGNORECASE
)
_SIZE = re.compile(r"\d{1,3}(?:\.\d{1,3})?[\s-]?[cm]m\b", re.IGNORECASE)
_STAGE_LINE = re.compile(r"[\W_]{0,8}(?:(?:TNM|stag(?:e|ing))\b|y?[cp]T[0-4])", re.IGNORECASE)
_PHRASE = re.compile(r"[\w\s-]*")
_UNIT = re.compile(r"\d\s{0,3}[cm]m\b", re.IGNORECASE)
_NO_COUNT = re.compile(
    r"[\s-]{1,2}(?:(?:years?|months?|weeks?|days?|fold|centimet\w+|millimet\w+|cm|mm|inch\w*|phase|dimension\w*|fibrous)\b|thirds?\b)",
    re.IGNORECASE,
)
_APPOSED = re.compile(
    r"(?!.*\b(?:and|with|without|adjacent|near|patient|case|metastas\w+)\b)[^.;]{0,80}[:,]\s(?:an?\s)?(?:[\w-]{3,20}\s){0,3}",
    re.IGNORECASE,
)
_SHOWN_AS = re.compile(
    r"[\w\s]{0,40}\b(?:present|appear|manifest|visible|seen|shown|depicted)(?:s|ing|ed)?\s(?:as|like)\s(?:an?\s)?(?:[\w.-]+\s){0,6}",
    re.IGNORECASE,
)
_THE = re.compile(
    r"\b(?:the|this|that|said|target|known|described|above|index)\s(?:[\w-]{3,20}\s){0,2}$", re.IGNORECASE
)
_INSIDE = re.compile(r"\b(?:with)?in(?:side)?\sthe\s(?:lesion|mass)\b", re.IGNORECASE)
_ALL = "*"  # a text under the title of something else: none of its masses counts
_MOST = 40  # findings; more are a list of something else
_LOOK_BACK = 30  # clauses in which what a tumour was first called is looked for
_MOST_WORDS = 16  # tumour words of a clause that are looked at; real clauses hold fewer


def read_tumours(parts: Sequence[Clause]) -> list[Finding]:
    """Read the tumours of a text; a clause without a known word says something only of the tumour before it."""
    findings: list[Finding] = []
    last: list[Finding] = []
    dismissed: set[str] = {_ALL} if titled_otherwise(parts) else set()
    stale = False
    described = any(part.section in ("findings", "impression") for part in parts)
    for index, part in enumerate(parts):
        if part.section in ("comparison", "advice", "past"):
            continue
        subject_end = goes_on(part, stale) if last else 0
        stale = not part.live and not subject_end
        if stale and _STAGE_LINE.match(part.text):
            read_stages(part, findings[-1:])
            stale = False
        holds_another = bool(last) and _holds_another(part)
        if not part.live and not subject_end and not holds_another:
            continue
        asked = described and part.section == "history"  # a mass that is asked for is told of again if it is there
        before = parts[max(0, index - _LOOK_BACK) : index]
        own = _own(before, part, findings, dismissed | {_ALL} if asked else dismissed) if part.live else []
        if holds_another or (subject_end and not own and judged_later(part)):
            findings = [finding for finding in findings if finding not in last]
            dismissed |= {finding.fields["organ"] for finding in last}
            last = []
            continue
        if findings and (resolved := _resolved(part, own)):
            findings = [f for f in findings if not (f.mass and f.fields["organ"] in resolved)]
            dismissed |= resolved
        if own or (own := _again(part, findings)):
            read_sizes(part, own)
            complete(before, part, own)
        elif subject_end:
            read_sizes(part, last, subject_end)
        read_stages(part, own or findings[-1:])
        last = own or (last if subject_end else [])
    return findings


def _holds_another(part: Clause) -> bool:
    """Tell whether a clause finds inside the mass what makes it no tumour ("daughter cysts within the lesion")."""
    return _INSIDE.search(part.text) is not None and any(m.means.benign == "entity" for m in part.mentions)


def _resolved(part: Clause, own: Sequence[Finding]) -> set[str]:
    """Organs whose mass a clause calls something else ("the mass in the liver, found to be a hydatid cyst")."""
    if not any(m.means.benign for m in part.mentions):
        return set()
    masses = [m for m in part.mentions if m.means.tumour == "mass" and found_to_be_else(part, m)]
    places = [place for m in masses[:_MOST_WORDS] if asserted(part, m) and (place := locate(part, m))]
    return {place.organ for place in places} - {finding.fields["organ"] for finding in own}


def _again(part: Clause, findings: list[Finding]) -> list[Finding]:
    """The only tumour of a text, if a clause without any place speaks of a tumour ("Residual tumour of 2 cm")."""
    if len(findings) != 1:
        return []
    if any(m.means.place is not None for m in part.mentions):
        heads = _the_lesion(part, findings[0])
    else:
        heads = [(m.start, m.end) for m in part.mentions if m.means.tumour in ("strong", "mass") and asserted(part, m)]
    findings[0].heads = heads or findings[0].heads
    return findings[:] if heads else []


def _the_lesion(part: Clause, finding: Finding) -> list[tuple[int, int]]:
    """Where a clause speaks of a lesion in the tumour's organ as one that is known ("the lesion in segment VII measures")."""
    heads = []
    for m in part.mentions:
        if m.text.lower() == "lesion" and _THE.search(part.text, max(0, m.start - 40), m.start) and asserted(part, m):
            place = None if called_something_else(part, m) else locate(part, m)
            if place is not None and place.organ == finding.fields["organ"]:
                heads.append((m.start, m.end))
    return heads


def _own(before: Sequence[Clause], part: Clause, findings: list[Finding], dismissed: set[str]) -> list[Finding]:
    """Add the tumours of a clause to those before; return those that the clause speaks of.

    A "mass" of an organ whose masses were called something else stays dismissed.
    """
    own: list[Finding] = []
    words = [m for m in part.mentions if m.means.diagnosis or m.means.tumour in ("strong", "mass", "lymphoma")]
    for mention in words[:_MOST_WORDS]:
        if len(findings) >= _MOST:
            break
        for finding in _find(before, part, mention):
            if mention.means.tumour == "mass" and not dismissed.isdisjoint((_ALL, finding.fields["organ"])):
                continue
            earlier = [f for f in findings if f.sentence != part.sentence or (f.clause != part.start and proven(part))]
            merged = _merge(finding, [*own, *(f for f in earlier if f not in own)])
            if merged is not finding:
                merged.mass = merged.mass and finding.mass
                merged.heads = [*merged.heads, *finding.heads] if merged.clause == part.start else finding.heads
                merged.clause = part.start
            if merged not in own:
                own.append(merged)
            if merged not in findings:
                findings.append(merged)
    return own


def _find(before: Sequence[Clause], part: Clause, mention: Mention) -> Iterator[Finding]:
    """Make findings of a mention, one for each side, if it is a present primary tumour with a place."""
    means = mention.means
    if (means.diagnosis is None and means.tumour not in ("strong", "mass", "lymphoma")) or means.place == "":
        return
    if not asserted(part, mention) or called_something_else(part, mention):
        return
    place = locate(part, mention)
    if place is None:
        lead = called_so_later(before, part, mention)
        if lead is not None:
            lead.sentence, lead.clause, lead.heads = part.sentence, part.start, [(mention.start, mention.end)]
            yield lead
        return
    for side in place.sides or (None,):
        heads = [(mention.start, mention.end), *_called(part, mention)]
        finding = Finding(part.sentence, part.start, heads, means.tumour == "mass")
        state_place(part, finding, place, side)
        if len(place.sides) < 2:
            _read_count(part, finding, mention, place)
        yield finding


def _called(part: Clause, mention: Mention) -> Iterator[tuple[int, int]]:
    """Spans of the lesion that a clause calls this tumour ("a 2 cm lesion in the liver, suspicious for carcinoma")."""
    if mention.means.tumour == "mass":
        return
    linked = [m for m in part.mentions if m.means.judged and m.end <= mention.start and mention.start - m.end <= 30]
    lesions = [m for m in part.mentions if m.means.lesion and not m.means.tumour]
    if linked:
        yield from ((m.start, m.end) for m in lesions if m.end <= linked[-1].start)
    elif len(lesions) == 1:
        ((low, high),) = ((m.start, m.end) for m in lesions)
        apposed = high <= mention.start and _APPOSED.fullmatch(part.text, high, mention.start)
        if apposed or (mention.end <= low and _SHOWN_AS.fullmatch(part.text, mention.end, low)):
            yield low, high


def _read_count(part: Clause, finding: Finding, mention: Mention, place: Place) -> None:
    """Read a number before the tumour's noun phrase: "two tumours", "a solitary left renal mass"."""
    heads = [mention.start]
    low, high = place.organ_span
    if low >= 0 and high <= mention.start and _PHRASE.fullmatch(part.text, high, mention.start):
        heads.append(low)
    plural = mention.text.lower().endswith("s") and not mention.text.lower().endswith("ss")
    for head in heads:
        found = _number_word(part, head) or _digits(part, head, plural)
        if found is not None:
            count, start, end = found
            finding.state("count", count, (part.start + start, part.start + end))


def _number_word(part: Clause, head: int) -> tuple[int, int, int] | None:
    words = [m for m in part.mentions if m.means.number and m.end <= head]
    if not words:
        return None
    if _NO_COUNT.match(part.text, words[-1].end):
        return None
    between = _SIZE.sub("", part.text[words[-1].end : head])  # "one 4.2 cm liver mass": a test of the paraphrases
    near = len(between.split()) <= 3 and not re.search(r"[,.:(%/]|\bof\b", between)
    return (words[-1].means.number or 1, words[-1].start, words[-1].end) if near else None


def _digits(part: Clause, head: int, plural: bool) -> tuple[int, int, int] | None:
    found = _COUNT.search(part.text, max(0, head - 80), head)
    if found is None or not 1 <= int(found["digits"]) <= 20 or _UNIT.search(found[0]):
        return None
    start, end = found.span("digits")
    if not (plural or found["digits"] == "1") or _NUMBERED.search(part.text, max(0, found.start() - 12), start):
        return None
    return int(found["digits"]), start, end


def _merge(finding: Finding, earlier: Sequence[Finding]) -> Finding:
    """Join a finding with an earlier one of the same organ that it does not contradict."""
    for other in reversed(earlier):
        if other.fields["organ"] != finding.fields["organ"]:
            continue
        agree = all(_compatible(other.fields.get(name), finding.fields.get(name)) for name in ("site", "count"))
        if agree and _compatible(_side(other), _side(finding)):
            for name, value in finding.fields.items():
                if name != "side" or other.fields.get("site") is None:
                    other.state(name, value, finding.spans[name])
            return other
    return finding


def _compatible(first: Any, second: Any) -> bool:
    return first is None or second is None or first == second


def _side(finding: Finding) -> str | None:
    site = finding.fields.get("site")
    return finding.fields.get("side") or (structure(site).side if site else None)
