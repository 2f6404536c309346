"""Where a tumour word lies: the place that belongs to it, its organ, site and sides.

A place belongs to a tumour word that it stands right before ("renal mass"), that reaches it by a
word of origin ("mass in the liver", "arising from"), or in whose clause it stands before. Places after
"invading", "adjacent to", "metastasis to" are only reached.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import pairwise

from manifests.anatomy import group, sites, structure
from prompts.rules.clauses import Clause
from prompts.rules.gazetteer import Meaning, Mention
from prompts.rules.negation import gap
from prompts.schema import tumour_organs

__all__ = ["Place", "locate", "organ_of"]

_NEW_NOUN = re.compile(r"\b(?:and|with)\s(?:an?|the|another)\b", re.IGNORECASE)
_ANOTHER = re.compile(r"\band\s(?:(?:main|primary|large|huge|small)\s)?$", re.IGNORECASE)
_LEADING = re.compile(r"\W*(?:in|at|within)\s(?:the\s)?[\w\s-]{0,30}$", re.IGNORECASE)
_FAR = 60  # characters behind a tumour word; a place farther off is rather where it goes
_ADJACENT = re.compile(r"[\s-]*(?:\([^)]{0,30}\)\s*)?(?:\w+[\s-]+){0,3}")
_SIDE = r"(?P<side>left|right|lt|rt|bilateral|both)"
_BEFORE = re.compile(rf"\b{_SIDE}\b(?:[\s-]sided)?[\s,-]+(?:[\w/]+[\s-]+){{0,4}}$")
_AFTER = re.compile(
    r"(?:[\s,(]{0,3}\d[\d.,x\s]{0,12}[cm]m\b)?[\s,(:-]{0,4}(?:(?:is|was|are|were|seen|noted|located|situated|identified|observed|present)\s+){0,2}(?:(?:on|at|in|of|involving)\s+)?"
    rf"(?:the\s+)?\b{_SIDE}\b(?=[\s-]*(?:$|[.,;:()\d]|(?:sided?|upper|lower|mid\w*|inter\w*|poles?|kidneys?|renal|lungs?|lobes?|hil\w+|ap\w+|adrenals?|gland"
    r"|limb|measuring|with|and|stage|which|that|c?m)\b))"
)
_PAIRED = re.compile(r"\s(?:and|or)\s(?:the|both|an?)\b", re.IGNORECASE)
_AND_SIDE = re.compile(r"\b(?:left\s+and\s+(?:the\s+)?right|right\s+and\s+(?:the\s+)?left)\b")
_NAMES = {"left": ("left",), "lt": ("left",), "right": ("right",), "rt": ("right",)}
_PRIMARY_NOUNS = ("cancer", "carcinoma", "adenocarcinoma", "sarcoma", "ca", "lymphoma", "gist")


@dataclass(frozen=True, slots=True)
class Place:
    """An organ of the anatomy table, a site in it or its sides where stated, with their spans in the clause."""

    organ: str
    organ_span: tuple[int, int]
    site: str | None = None
    sides: tuple[str, ...] = ()
    span: tuple[int, int] | None = None


@cache
def organ_of(name: str) -> str | None:
    """The organ whose tumours lie in a structure, or which a group is; None for other places."""
    if name in tumour_organs():
        return name
    if name.startswith("bronchus"):
        return "lung"
    if name in ("", "?"):
        return None
    organs = {entry.organ for entry in group(name)}
    return organs.pop() if len(organs) == 1 else None


def locate(part: Clause, mention: Mention) -> Place | None:
    """Find the place of a tumour word; None if it has none or lies elsewhere."""
    diagnosis = mention.means.diagnosis
    chosen = _choose(part, mention)
    if diagnosis is not None:
        own = chosen if chosen is not None and organ_of(chosen.means.place or "") == diagnosis else None
        return _describe(part, mention, own, diagnosis)
    if chosen is not None:
        organ = organ_of(chosen.means.place or "")
        return _describe(part, mention, chosen, organ) if organ else None
    return None if _elsewhere(part, mention) else _under_topic(part, mention)


def _under_topic(part: Clause, mention: Mention) -> Place | None:
    """The organ of the heading ("Kidneys: a 4 cm mass in the left upper pole")."""
    organ = organ_of(part.topic.means.place or "") if part.topic else None
    if part.topic is None or organ is None or mention.means.tumour == "lymphoma":
        return None
    at = (part.topic.start - part.start, part.topic.end - part.start)
    name = part.topic.means.place or ""
    side, span = _side(part, mention, None, organ)
    if not side and _own_side(name):
        return Place(organ, at, None, (_own_side(name) or "",), at)
    return Place(organ, at, None, side, span)


def _own_side(name: str) -> str | None:
    """Side of a structure; None for a group or a structure of the midline."""
    members = group(name)
    return members[0].side if len(members) == 1 else None


def _choose(part: Clause, mention: Mention) -> Mention | None:
    """The place that belongs to a tumour word, "elsewhere" places included."""
    if mention.means.place is not None:
        return mention
    before = [m for m in _held(part, 0, mention.start) if m[0].end <= mention.start]
    near = before[-1][0] if before else None
    if near and not _adjacent(part, near, mention):
        near = None
    after = list(_held(part, mention.end, len(part.text)))
    source = next((place for place, state in after if state == "source" and place.means.place), None)
    inside = [place for place, state in after if state in ("origin", "source", "") and place.means.place != "?"]
    if near is not None and not near.means.place and inside and _ANOTHER.search(part.text, near.end, mention.start):
        near = None
    if near is not None and near.means.place not in ("?", "") and _part_of(near, inside[:1]):
        return inside[0]
    for place in (near, source):
        if place is not None and place.means.place != "?" and (place.means.place or source is None):
            return place
    loose = [place for place, state in before if state not in ("reach", "owned") and place.means.place != "?"]
    if inside and not _leads(part, loose, inside[0], mention):
        return _joined(part, inside)
    return loose[-1] if loose and _speaks_of(part, loose[-1], mention) else None


def _leads(part: Clause, loose: list[Mention], inside: Mention, mention: Mention) -> bool:
    """Tell whether a clause opens with the place of its tumour ("In the left lung, there is a mass ... of the chest wall")."""
    if len(loose) != 1 or not _LEADING.match(part.text[: loose[0].start]):
        return False
    return not inside.means.place or inside.start - mention.end > _FAR


def _speaks_of(part: Clause, place: Mention, mention: Mention) -> bool:
    """Tell whether a tumour word may belong to a place that stands farther before it in the clause."""
    if mention.means.tumour == "mass":
        return not any(m.means.benign and place.end <= m.start < mention.start for m in part.mentions)
    return mention.means.tumour != "lymphoma"


def _joined(part: Clause, inside: list[Mention]) -> Mention:
    """The first place after the word, or of "mesentery and small bowel" the one that is an organ of ours."""
    for first, second in pairwise(inside):
        if first.means.place or gap(part, first, second).strip() not in ("and", "and the", ","):
            return first
    return inside[-1]


def _part_of(near: Mention, inside: list[Mention]) -> bool:
    """Tell whether the first place after the word is a finer part of the organ that stands before it."""
    if not inside:
        return False
    organ, fine = organ_of(near.means.place or ""), inside[0].means.place or ""
    return organ is not None and near.means.place == organ and fine != organ and organ_of(fine) == organ


def _elsewhere(part: Clause, mention: Mention) -> bool:
    return any(m.means.place == "" for m in part.mentions if m is not mention)


def _adjacent(part: Clause, place: Mention, mention: Mention) -> bool:
    between = part.text[place.end : mention.start]
    crossed = any(
        place.end <= m.start < mention.start and (m.means.relation or m.means.negation or m.means.tumour == "secondary")
        for m in part.mentions
    )
    if _NEW_NOUN.search(between):
        return False
    return not crossed and len(between) < 60 and _ADJACENT.fullmatch(between) is not None


def _held(part: Clause, start: int, end: int) -> Iterator[tuple[Mention, str]]:
    """Places in a stretch of a clause with the relation they stand in: "", origin, source, reach, or owned by another noun."""
    state = "reach" if start and _PAIRED.match(part.text, start) else ""
    mentions = [m for m in part.mentions if start <= m.start < end]
    for index, m in enumerate(mentions):
        if m.means.relation and start and index == 0 and m.text.lower() == "from" and m.start - start <= 1:
            state = "origin"
        elif m.means.relation:
            state = _next_state(state, m.means.relation, m.text.lower())
        if (
            m.means.place not in (None, "body")
            and not (m.means.tumour and m.means.tumour != "strong")
            and not _is_stage(part, m)
        ):
            following = mentions[index + 1] if index + 1 < len(mentions) else None
            if _only_names_another(part, m, following):
                yield m._replace(means=_ELSEWHERE), state
            elif following and following.means.tumour == "secondary" and _ITS_SPREAD.fullmatch(gap(part, m, following)):
                yield m, "owned"
            elif state == "owned" and _named_primary(part, m):
                yield m, ""
            else:
                yield m, state
        noun = m.means.measured == "other" and (start or not m.means.lesion) and not m.text.lower().startswith("mural")
        if m.means.tumour == "secondary" or noun:
            state = "owned"


_ELSEWHERE = Meaning(place="")
_ITS_SPREAD = re.compile(r"(?!.*\b(?:and|with)\b)[^,;]{0,14}")
_STAGED = re.compile(r"\b(?:stage|staged|staging|tnm)\W{0,3}(?:as\s)?$", re.IGNORECASE)
_NODES = re.compile(r"[\s,/]{0,2}[cp]?[NM][0-3X]")


def _is_stage(part: Clause, place: Mention) -> bool:
    """Tell whether "T2" is a class of the TNM here and no vertebra."""
    if not (place.means.place or "").startswith("vertebrae") or not place.text.startswith("T"):
        return False
    staged = _STAGED.search(part.text, max(0, place.start - 12), place.start)
    return staged is not None or _NODES.match(part.text, place.end) is not None


_BED = re.compile(
    r"\s(?:(?:surgical|operation|operative|resection)\s(?:site|area|space|bed|field|lodge)|bed|lodge|loge|fossa|hilum|hilus|stump|remnant)\b",
    re.IGNORECASE,
)


def _only_names_another(part: Clause, place: Mention, following: Mention | None) -> bool:
    """Tell whether a place is the adjective of another that is none of ours: "small bowel mesentery", "renal bed"."""
    if _BED.match(part.text, place.end):
        return True
    return following is not None and following.means.place == "" and not gap(part, place, following).strip(" -")


def _next_state(state: str, relation: str, text: str) -> str:
    if state == "owned" and relation != "source":
        return "owned"
    if state == "reach" and relation == "origin" and text in ("of", "along"):
        return "reach"
    return relation


def _named_primary(part: Clause, place: Mention) -> bool:
    """Tell whether "metastatic PLACE ..." goes on with a word for the primary itself."""
    rest = part.text[place.end : place.end + 40].lower().split()
    return place.text.lower().endswith(" ca") or any(word.strip(",.").startswith(_PRIMARY_NOUNS) for word in rest[:3])


def _describe(part: Clause, mention: Mention, place: Mention | None, organ: str) -> Place:
    at = (place.start, place.end) if place else (mention.start, mention.end)
    name = (place.means.place or "") if place else ""
    if name in sites(organ) and len(sites(organ)) > 1:
        return Place(organ, at, name, (), at)
    site, span = _site_beside(part, mention, place, organ)
    if site:
        return Place(organ, at, site, (), span)
    sides, span = _side(part, mention, place, organ)
    return Place(organ, at, None, sides, span)


def _site_beside(
    part: Clause, mention: Mention, place: Mention | None, organ: str
) -> tuple[str | None, tuple[int, int] | None]:
    """A finer place of the same organ in the clause, or the lobe and the side that stand apart from each other."""
    head = place or mention
    near = [
        m
        for m, state in _held(part, 0, len(part.text))
        if state not in ("reach", "owned") and organ_of(m.means.place or "") == organ and abs(m.start - head.start) < 90
    ]
    fine = {m.means.place: m for m in near if m.means.place in sites(organ)}
    if len(fine) == 1 and len(sites(organ)) > 1:
        ((name, found),) = fine.items()
        return name, (found.start, found.end)
    return _lobe_and_side(part, near) if organ == "lung" and not fine else (None, None)


def _lobe_and_side(part: Clause, near: list[Mention]) -> tuple[str | None, tuple[int, int] | None]:
    """The lobe that a lobe and a side state apart from each other ("lower lobe posterior segment of the right lung")."""
    lobes = [m for m in near if m.means.lobe]
    text = part.text.lower()
    sides = [match for m in near if (match := _RIGHT_BEFORE.search(text, max(0, m.start - 12), m.end))]
    if len({m.means.lobe for m in lobes}) != 1 or len({match["side"] for match in sides}) != 1:
        return None, None
    side = _NAMES.get(sides[0]["side"], ())
    ends = [lobes[0].start, lobes[0].end, sides[0].start("side"), sides[0].end("side")]
    return (f"lung_{lobes[0].means.lobe}_lobe_{side[0]}", (min(ends), max(ends))) if side else (None, None)


def _side(
    part: Clause, mention: Mention, place: Mention | None, organ: str
) -> tuple[tuple[str, ...], tuple[int, int] | None]:
    """Sides named beside a place or a tumour word, and where."""
    possible = {structure(name).side for name in sites(organ)} - {None}
    if len(possible) < 2:
        return (), None
    text = part.text.lower()
    for head in (place, mention):
        if head is None:
            continue
        low = max(0, head.start - 45)
        if both := _AND_SIDE.search(text, low, head.end):
            return ("left", "right"), both.span()
        found = _BEFORE.search(text, low, head.start) or _AFTER.match(text, head.end) or _inner_side(text, head)
        if found:
            sides = _NAMES.get(found["side"], ("left", "right"))
            return sides, (found.start("side"), found.end("side"))
    if found := _own_noun_side(text) or _side_at_end(text, mention):
        return (found["side"],), found.span("side")
    hila = list(_HILUM.finditer(text)) if organ == "lung" else []
    if len({found["side"] for found in hila}) == 1:
        return (hila[0]["side"],), hila[0].span("side")
    return (), None


def _own_noun_side(text: str) -> re.Match[str] | None:
    """The side that stands before the one sided noun for a tumour ("a right flank mass, consistent with ...")."""
    nouns = list(_SIDED_NOUN.finditer(text))
    return nouns[0] if len({found["side"] for found in nouns}) == 1 else None


def _side_at_end(text: str, mention: Mention) -> re.Match[str] | None:
    """The only side of a clause, where it ends in it ("a renal neoplasm of 4 cm on the right")."""
    found = _AT_END.search(text, mention.end) if len(set(_ANY_SIDE.findall(text))) == 1 else None
    return None if found is None or _OTHER_NOUN.search(text, mention.end, found.start()) else found


_OTHER_NOUN = re.compile(r"\b(?:with|and|without|causing|or)\b")
_SIDED_NOUN = re.compile(
    r"\b(?P<side>left|right)(?:[\s-]sided)?\s(?:(?!and|with|in|of|to|the|from|pleural|adrenal|renal|kidney|lung|hilar|breast|ovar\w+|adnexal|neck|axill\w+|mediastin\w+|iliac|psoas|lobe|hepatic|lower|upper|middle)[\w-]+\s){0,2}"
    r"(?:mass|tumou?r|lesion|nodule|neoplasm|cancer|carcinoma)\b(?!\seffect)"
)
_ANY_SIDE = re.compile(r"\b(?:left|right|bilateral|both)\b")
_AT_END = re.compile(r"\bon\s(?:the\s)?(?P<side>left|right)(?:\sside)?[\s.;)]*$")
_HILUM = re.compile(
    r"\b(?P<side>left|right)\s(?:pulmonary\s|lung\s)?(?:peri)?hil(?:um|us|ar)\b(?!\s(?:lymph|node|aden))"
)


_RIGHT_BEFORE = re.compile(rf"\b{_SIDE}\b")
_INNER = re.compile(rf"\b{_SIDE}\b")


def _inner_side(text: str, head: Mention) -> re.Match[str] | None:
    return _INNER.search(text, head.start, head.end)
