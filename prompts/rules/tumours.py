"""Reading tumours out of clauses: organ, site and side, count, size, stage.

A tumour word needs a place: right before it ("renal mass"), after a preposition ("mass in the
liver"), or, for words that can only mean a neoplasm, elsewhere in its clause. Places after
"metastasis to" and the like are reached, not the origin. What is denied, past or left open is none.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, get_args

from manifests.anatomy import group, sites, structure
from prompts.rules.gazetteer import Clause, Mention
from prompts.schema import MStage, NStage, TStage, tumour_organs

__all__ = ["Finding", "negated", "read_tumours"]

_NUMBER = r"\d+(?:[.,]\d+)?"
_UNIT = r"(?:mm|cm|millimet(?:er|re)s?|centimet(?:er|re)s?)"
_SIZE = re.compile(
    rf"(?<![\w.,])(?P<numbers>{_NUMBER}(?:\s*{_UNIT})?(?:\s*(?:[x\u00d7*]|by|to|-|\u2013|and)\s*{_NUMBER}(?:\s*{_UNIT})?){{0,2}})[\s-]*(?P<unit>{_UNIT})?(?!\w)",
    re.IGNORECASE,
)
_QUANTITY = re.compile(rf"({_NUMBER})\s*({_UNIT})?", re.IGNORECASE)
_NO_SIZE_AFTER = re.compile(
    r"[\s-]*(?:from|above|below|proximal|distal|away|cranial|caudal|superior|inferior|thick\s+slices?|slices?|sections?|collimation|intervals?|apart|margin|beyond"
    r"|tall\b|thickness|increments?|cuts|lymph|stone|calcul|cyst|aneurysm|in\s+height)",
    re.IGNORECASE,
)
_NO_SIZE_BEFORE = re.compile(
    r"(?:slice|section|thickness|interval|collimation|reconstruct\w*|every|height|tall|previously|prior|earlier|scale\s+bar|bar|margin)\W*(?:of|=|:|was|is|at)?\s*$",
    re.IGNORECASE,
)
_FOLLOW_UP = re.compile(
    r"\s*(?:it|this|which|the\s+(?:mass|tumou?r|lesion|cancer|carcinoma|neoplasm|largest))\b[^.;]{0,40}\bmeasur|\s*(?:measur(?:es|ing)|size|maximum\s+diameter)\b",
    re.IGNORECASE,
)
_STAGE = re.compile(
    r"(?<![\w-])(?:(?P<t>[cpya]{0,3}T(?:is|[0-4X][a-d]?))(?:[\s,]*(?P<n>[cpya]{0,3}N[0-3X][a-c]?))?(?:[\s,]*(?P<m>[cpya]{0,3}M[01X][a-c]?))?"
    r"|(?P<n2>[cpya]{0,3}N[0-3X][a-c]?)(?:[\s,]*(?P<m2>[cpya]{0,3}M[01X][a-c]?))?|(?P<m3>[cpya]{0,3}M[01X][a-c]?))(?![\w-])"
)
_STAGE_LEAD = re.compile(
    r"(?:\bstaged?|\bstaging|\btnm|\bclassified|\bclassification)\b[\s:,(]*(?:as|is|of)?[\s:,(]*$", re.IGNORECASE
)
_ORIGIN = re.compile(
    r"\s*(?:\w+\s+){0,2}?(?:of|in|within|at|involving|arising\s+(?:from|in)|originating\s+(?:from|in)|from|on|located\s+in)\s+(?:the\s+|his\s+|her\s+)?(?:\w+\s+){0,4}$",
    re.IGNORECASE,
)
_ADJACENT = re.compile(r"[\s-]*(?:\w+[\s-]+){0,2}$")
_COUNT = re.compile(r"(?:^|\s)(?P<digits>\d{1,2})\s+(?:[a-z-]+\s+){0,3}$", re.IGNORECASE)
_PRIMARY_NOUNS = ("cancer", "carcinoma", "adenocarcinoma", "sarcoma")
_JUDGED = re.compile(
    r"(?:favou?r\s+of|(?:consistent|compatible)\s+with|suggestive\s+of|suspicious\s+for|representing|suggesting)\s+(?:a\s+|an\s+)?$",
    re.IGNORECASE,
)
_SPREAD = ("metasta", "second", "deposit")
_REACHED = re.compile(
    r"\s*(?:to|in|of|into|with|the|at|and|involving|within|,|both|a|an|adjacent|left|right|multiple|bilateral|\s)*$",
    re.IGNORECASE,
)


@dataclass(slots=True)
class Finding:
    """One tumour entry: its fields, where they stand, and the clause and sentence it was found in."""

    fields: dict[str, Any]
    spans: dict[str, tuple[int, int]]
    sentence: int
    clause: int
    at: int
    aliases: list[int] = field(default_factory=list)

    def state(self, name: str, value: Any, span: tuple[int, int]) -> None:
        """Set a field that is not stated yet."""
        if value is not None and self.fields.get(name) is None:
            self.fields[name] = value
            self.spans[name] = span


def read_tumours(parts: Sequence[Clause]) -> list[Finding]:
    """Read the tumours of a text in their order; an organ named again in a later sentence is the same tumour."""
    findings: list[Finding] = []
    for number, part in enumerate(parts):
        own: list[Finding] = []
        for mention in part.mentions:
            finding = _find(part, mention, number)
            if finding is not None:
                own.append(_merge(finding, [*own, *(f for f in findings if f.sentence != part.sentence)]))
        own = list({id(finding): finding for finding in own}.values())
        findings += [finding for finding in own if finding not in findings]
        last = own or (findings[-1:] if _goes_on(part) else [])
        _read_sizes(part, last)
        _read_stages(part, own or findings[-1:])
    return findings


def _goes_on(part: Clause) -> bool:
    """Tell whether a clause goes on about the tumour before it ("It measures ...") and names nothing else."""
    other = any(m.value("place") is not None or m.value("tumour") == "secondary" for m in part.mentions)
    return _FOLLOW_UP.match(part.text) is not None and not other


def negated(part: Clause, mention: Mention, past: bool = True) -> bool:
    """Tell whether a mention is denied, left open or about somebody else; where `past`, also whether it is history."""
    for other in part.mentions:
        scope, state = other.value("negation"), other.value("state")
        low, high = sorted((other, mention), key=lambda m: m.start)
        if _broken(part, low, high):
            continue
        gone = state == "absent" and mention.value("tumour") and other.start - mention.end <= 10
        if (scope == "after" or gone) and other.start >= mention.end:
            return True
        if scope == "before" and other.end <= mention.start:
            return True
        if past and scope == "history" and 0 <= mention.start - other.end <= 60:
            return True
    return part.text[mention.end - part.start :].lstrip(" )").startswith("?")


def _broken(part: Clause, low: Mention, high: Mention) -> bool:
    """Tell whether a word between two mentions ends the scope of the first."""
    return any(m.value("negation") == "ends" and low.end <= m.start < high.start for m in part.mentions)


def _find(part: Clause, mention: Mention, clause: int) -> Finding | None:
    """Make a finding of a mention, if it is a present primary tumour with a place."""
    diagnosis, tumour = mention.value("diagnosis"), mention.value("tumour")
    if (
        (diagnosis is None and tumour not in ("strong", "mass"))
        or negated(part, mention)
        or _secondary_noun(part, mention)
    ):
        return None
    place = _place(part, mention, strong=tumour == "strong" or diagnosis is not None)
    if diagnosis is not None:
        if place is None or _organ(place.value("place") or "") != diagnosis:
            place = None
        organ = diagnosis
    else:
        if place is None:
            return None
        organ = _organ(place.value("place") or "") or ""
        if not organ:
            return None
    span = (place.start, place.end) if place else (mention.start, mention.end)
    finding = Finding({"organ": organ}, {"organ": span}, part.sentence, clause, mention.start, [mention.start])
    if place:
        _locate(part, finding, place)
    if "site" not in finding.fields and "side" not in finding.fields:
        _side_before(part, finding, mention)
    _read_count(part, finding, mention, place)
    return finding


def _organ(name: str) -> str | None:
    """The organ whose tumours lie in a structure, or which a group is; None for other places."""
    if name in tumour_organs():
        return name
    if not name:
        return None
    organs = {entry.organ for entry in group(name)}
    return organs.pop() if len(organs) == 1 else None


def _place(part: Clause, mention: Mention, strong: bool) -> Mention | None:
    """The place of a tumour word: the finest of those that belong to it."""
    places = [
        m for m in part.mentions if m.value("place") is not None and not m.value("region") and not _reached(part, m)
    ]
    base = part.start
    before = [
        m
        for m in places
        if m.end <= mention.start and _ADJACENT.fullmatch(part.text[m.end - base : mention.start - base])
    ]
    after = [
        m
        for m in places
        if m.start >= mention.end and _ORIGIN.fullmatch(part.text[mention.end - base : m.start - base])
    ]
    inside = [m for m in (mention,) if m.value("place")]
    direct = [*inside, *before[-1:], *after[:1]]
    if direct:
        first = direct[0]
        more = [m for m in after if _refines(m, first)] or [m for m in places if strong and _refines(m, first)]
        return more[0] if more else first
    if not strong or not places:
        return None
    return min(places, key=lambda m: min(abs(m.end - mention.start), abs(m.start - mention.end)))


def _refines(place: Mention, of: Mention) -> bool:
    """Tell whether a place is a part of the organ of another place that names no part."""
    fine, coarse = place.value("place") or "", of.value("place") or ""
    organ = _organ(coarse)
    return organ is not None and coarse == organ and fine != coarse and fine in sites(organ)


def _reached(part: Clause, place: Mention) -> bool:
    """Tell whether a place is only reached by a tumour from elsewhere."""
    for other in part.mentions:
        if other.value("tumour") != "secondary":
            continue
        if 0 <= other.start - place.end <= 2 and other.text.lower().startswith(_SPREAD):
            return True
        gap = part.text[other.end - part.start : place.start - part.start] if other.end <= place.start else "#"
        if _REACHED.fullmatch(gap) and (gap.strip() or not _named_primary(part, place)):
            return True
    return False


def _named_primary(part: Clause, place: Mention) -> bool:
    """Tell whether "metastatic PLACE ..." goes on with a word for the primary itself."""
    rest = part.text[place.end - part.start :].lower().split()
    return any(word.strip(",.").startswith(_PRIMARY_NOUNS) for word in rest[:2])


def _secondary_noun(part: Clause, mention: Mention) -> bool:
    """Tell whether the word itself is a metastasis ("metastatic mass", "mass in favour of metastasis")."""
    for other in part.mentions:
        gap = part.text[other.end - part.start : mention.start - part.start]
        is_secondary = other.value("tumour") == "secondary" and other.text.lower().startswith("metasta")
        if not is_secondary or mention.value("tumour") != "mass":
            continue
        if other.end <= mention.start and not gap.strip():
            return True
        if other.start >= mention.end and _JUDGED.search(part.text[: other.start - part.start]):
            return True
    return False


def _locate(part: Clause, finding: Finding, place: Mention) -> None:
    """State site and side as far as the place and the words before it say."""
    name, organ = place.value("place") or "", finding.fields["organ"]
    span = (place.start, place.end)
    if name in sites(organ):
        finding.state("site", name, span)
        return
    before = part.text[max(0, place.start - part.start - 30) : place.start - part.start].lower()
    _state_side(finding, re.search(r"\b(left|right)(?:[\s-]sided)?\s+(?:[a-z-]+\s+){0,2}$", before), span)


def _side_before(part: Clause, finding: Finding, mention: Mention) -> None:
    """Look for a side around a tumour word: "left-sided renal tumour", "kidney tumour on the left"."""
    start, end = mention.start - part.start, mention.end - part.start
    span = (mention.start, mention.end)
    before = re.search(
        r"\b(left|right)(?:[\s-]sided)?\s+(?:[a-z-]+\s+){0,2}$", part.text[max(0, start - 30) : start].lower()
    )
    after = re.match(
        r"\s*(?:on|at|in|of)\s+the\s+(left|right)(?!\s+(?:\w+\s+)?(?:lobe|pole|colon))\b", part.text[end:].lower()
    )
    _state_side(finding, before or after, span)


def _state_side(finding: Finding, found: re.Match[str] | None, span: tuple[int, int]) -> None:
    possible = {structure(name).side for name in sites(finding.fields["organ"])}
    if found and found[1] in possible:
        finding.state("side", found[1], span)


def _read_count(part: Clause, finding: Finding, mention: Mention, place: Mention | None) -> None:
    """Read a number before the tumour's noun phrase: "two tumours", "a solitary left renal mass"."""
    head = min(mention.start, place.start) if place and place.end <= mention.start else mention.start
    before = part.text[: head - part.start]
    words = [m for m in part.mentions if m.value("number") and m.end <= head]
    if words:
        gap = part.text[words[-1].end - part.start : head - part.start].split()
        if len(gap) <= 3 and not any(char in "".join(gap) for char in ",.:("):
            finding.state("count", int(words[-1].value("number") or 1), (words[-1].start, words[-1].end))
            return
    digits = _COUNT.search(before)
    if digits and 1 <= int(digits["digits"]) <= 20 and not re.search(rf"\d\s*{_UNIT}", digits[0]):
        start = part.start + digits.start("digits")
        if mention.text.lower().endswith("s") or digits["digits"] == "1":
            finding.state("count", int(digits["digits"]), (start, start + len(digits["digits"])))


def _merge(finding: Finding, earlier: Sequence[Finding]) -> Finding:
    """Join a finding with an earlier one of the same organ that it does not contradict."""
    for other in reversed(earlier):
        if other.fields["organ"] != finding.fields["organ"]:
            continue
        agree = all(_compatible(other.fields.get(name), finding.fields.get(name)) for name in ("site", "count"))
        if agree and _sides_agree(other, finding):
            for name, value in finding.fields.items():
                other.state(name, value, finding.spans[name])
            other.aliases.append(finding.at)
            return other
    return finding


def _compatible(first: Any, second: Any) -> bool:
    return first is None or second is None or first == second


def _sides_agree(first: Finding, second: Finding) -> bool:
    def side(finding: Finding) -> str | None:
        site = finding.fields.get("site")
        return finding.fields.get("side") or (structure(site).side if site else None)

    return _compatible(side(first), side(second))


def _read_sizes(part: Clause, findings: Sequence[Finding]) -> None:
    """Give each size to the nearest tumour of the clause that has none."""
    for size_mm, span in _sizes(part):
        open_ones = [finding for finding in findings if finding.fields.get("size_mm") is None]
        near = sorted(open_ones, key=lambda finding: min(abs(at - span[0]) for at in finding.aliases))
        if near:
            near[0].state("size_mm", size_mm, span)


def _sizes(part: Clause) -> Iterator[tuple[float, tuple[int, int]]]:
    for found in _SIZE.finditer(part.text):
        quantities = _QUANTITY.findall(found[0])
        units = [unit for _, unit in quantities if unit] or ([found["unit"]] if found["unit"] else [])
        if (
            not units
            or _NO_SIZE_AFTER.match(part.text, found.end())
            or _NO_SIZE_BEFORE.search(part.text[: found.start()])
        ):
            continue
        values = [_mm(number, unit or units[-1]) for number, unit in quantities]
        if 0 < max(values) <= 400:
            yield max(values), (part.start + found.start(), part.start + found.end())


def _mm(number: str, unit: str) -> float:
    return round(float(number.replace(",", ".")) * (10.0 if unit.lower().startswith("c") else 1.0), 4)


def _read_stages(part: Clause, findings: Sequence[Finding]) -> None:
    for found in _STAGE.finditer(part.text):
        stages = {
            "t_stage": _known(found["t"], get_args(TStage)),
            "n_stage": _known(found["n"] or found["n2"], get_args(NStage)),
            "m_stage": _known(found["m"] or found["m2"] or found["m3"], get_args(MStage)),
        }
        groups = [found[name] for name in ("t", "n", "m", "n2", "m2", "m3") if found[name]]
        marked = groups[0][0] in "cpy" or _STAGE_LEAD.search(part.text[: found.start()])
        if not findings or (len(groups) < 2 and not marked):
            continue
        nearest = min(findings, key=lambda finding: abs(finding.at - part.start - found.start()))
        for name, value in stages.items():
            nearest.state(name, value, (part.start + found.start(), part.start + found.end()))


def _known(text: str | None, vocabulary: Sequence[str]) -> str | None:
    """The class of the vocabulary that a stage is, or is a finer class of."""
    if not text:
        return None
    plain = text.lstrip("cpya")
    return next((name for name in (plain, plain[:2]) if name in vocabulary), None)
