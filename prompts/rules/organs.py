"""Reading organs that a text calls absent (by surgery or from birth) or enlarged."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from manifests.anatomy import group, structure
from prompts.rules.clauses import Clause
from prompts.rules.gazetteer import Mention
from prompts.rules.negation import denied

__all__ = ["Organ", "read_organs"]

_SIZED = re.compile(r"\b(?:sizes?|dimensions?|volume)\b", re.IGNORECASE)
_LINK = re.compile(
    r"(?:'s)?:?\s{0,3}(?:gland\s+)?(?:(?:measur(?:es|ing)|is|spans)?\s?(?:about\s)?\d{1,3}(?:\.\d{1,2})?\s?[cm]m[\s,]{1,2}(?:and\s)?)?(?:sizes?\s+|dimensions?\s+|volume\s+)?(?:is|are|was|were|appears?|has\s+been|have\s+been)?\s{0,3}(?:(?:slightly|mildly|moderately|markedly|grossly|diffusely"
    r"|massively|surgically|congenitally|also|to\s+be|significantly|severely|minimally|hugely)\s+){0,3}",
    re.IGNORECASE,
)
_BEFORE_PLACE = re.compile(
    r"\s{0,3}(?:in\s+)?(?:the\s+)?(?:sizes?\s+|dimensions?\s+)?(?:of\s+)?(?:the\s+|both\s+)?(?:(?:abnormal|heterogeneous|homogeneous|fatty|cirrhotic|nodular|multinodular|congested"
    r"|edematous|polycystic|lobulated|steatotic|bulky|globular|diffusely|abnormally|left|right)[\s,]{1,2}){0,3}",
    re.IGNORECASE,
)
_NOT_SEEN_FOR = re.compile(
    r"\s(?:is|was|are|were)\snot\s(?:observed|seen|visuali[sz]ed|detected|found|present)\b[^.;:()]{0,90}\(?\s?$"
)
_ONLY_HOLDS = re.compile(
    r"\b(?:mass|lesion|nodule|cyst|metastas[ei]s|tumou?r|node|area|segment)(?:s|es)?\s(?:in|of|within|at)\s(?:the\s)?[\w\s]{0,16}$",
    re.IGNORECASE,
)
_NO_ORGAN = re.compile(
    r"\s{1,2}(?:lymph|nodes?|veins?|artery|arteries|ducts?|hil\w+|fossa|bed|cysts?|vessels?|poles?|segment|mass|tumou?r|lesion|nodules?|parenchyma\w*\s+nod|stone|lobe)\b",
    re.IGNORECASE,
)
_LATER = re.compile(
    r"\b(?:planned|scheduled|underwent|undergo|will|candidate|subsequent(?:ly)?|before|prior\s+to|for)\b[^.;]{0,40}$",
    re.IGNORECASE,
)
_AND = re.compile(r"\s(?:and|&)\s(?:the\s)?")
_PLURAL = re.compile(r"\s(?:are|were|have|appear|both|sizes|dimensions|enlarged|enlargement|increased)\b")
_ALONE = re.compile(
    r"(?:^|[.;:\u2022\"]|\b(?:both|show\w*|mild|moderate|marked|massive|slight|severe))\s*(?:the\s)?$", re.IGNORECASE
)
_MAY_GROW = frozenset(
    ("liver", "spleen", "kidney", "pancreas", "adrenal_gland", "heart", "thyroid_gland", "prostate", "uterus")
)
_ENDED = re.compile(r"\s?(?:$|[.,;:(]|with\b|in\sa\b)")
_SIDE = re.compile(r"\b(left|right|bilateral|lt|rt)\b")
_SIDE_NAMES = {"lt": "left", "rt": "right"}


@dataclass(frozen=True, slots=True)
class Organ:
    """A structure or group, and where the text says what it says of it."""

    name: str
    span: tuple[int, int]


def read_organs(parts: Sequence[Clause]) -> tuple[list[Organ], list[Organ]]:
    """Organs that are absent, and organs that are enlarged, in reading order."""
    absent: list[Organ] = []
    enlarged: list[Organ] = []
    for part in parts:
        if not part.live:
            continue
        for m in part.mentions:
            if not (m.means.absent or m.means.absent_sided or m.means.enlarged) or denied(part, m):
                continue
            span = (part.start + m.start, part.start + m.end)
            enlarged += [Organ(name, span) for name in m.means.enlarged]
            if not _LATER.search(part.text, max(0, m.start - 60), m.start):
                absent += [Organ(name, span) for name in m.means.absent]
                absent += _sided(part, m)
        for kind, organ in _states(part):
            (absent if kind == "absent" else enlarged).append(organ)
    return absent, enlarged


def _sided(part: Clause, mention: Mention) -> Iterator[Organ]:
    """Organs of a pair that an operation removed: those of the side beside it, none if no side is named."""
    for organ in mention.means.absent_sided:
        low, high = max(0, mention.start - 25), mention.end + 16
        near = part.text[low:high].lower()
        found = list(_SIDE.finditer(near))
        sides = {_SIDE_NAMES.get(match[1], match[1]) for match in found}
        if re.search(r"\b(?:partial|planned|scheduled|donor)\b", near):
            continue
        if "bilateral" in sides:
            sides = {"left", "right"}
        elif len(sides) != 1:
            continue
        first = part.start + min(mention.start, *(low + match.start() for match in found))
        last = part.start + max(mention.end, *(low + match.end() for match in found))
        yield from (Organ(entry.name, (first, last)) for entry in group(organ) if entry.side in sides)


def _states(part: Clause) -> Iterator[tuple[str, Organ]]:
    """Organs that the clause calls absent or enlarged: "the spleen is enlarged", "absent gallbladder"."""
    mentions = [m for m in part.mentions if (m.means.place is not None and not m.means.tumour) or m.means.state]
    for before, after in pairwise(mentions):
        place, state = (before, after) if before.means.place else (after, before)
        names, kind = place.means.place, state.means.state
        if not names or names == "?" or not kind or _refused(part, state):
            continue
        between = part.text[before.end : after.start]
        linked = (_LINK if place is before else _BEFORE_PLACE).fullmatch(between)
        if kind == "absent" and place is before:
            linked = linked or _NOT_SEEN_FOR.fullmatch(between)
        if state is before and "in" in between.split() and names.startswith("lung"):
            continue
        if kind == "grown" and not _SIZED.search(part.text, max(0, before.start - 45), after.end + 20):
            continue
        if not linked or _NO_ORGAN.match(part.text, place.end):
            continue
        if _ONLY_HOLDS.search(part.text, max(0, place.start - 40), place.start):
            continue
        stated = state.text.lower() == "enlarged"  # a prompt's own words may name any structure
        if kind != "absent" and not stated and re.sub(r"_(?:left|right)$", "", names) not in _MAY_GROW:
            continue
        span = (part.start + before.start, part.start + after.end)
        yield kind, Organ(_with_side(part, place, names), span)
        other = _coordinated(part, place) if place is before else _joined_after(part, place)
        if other is not None:
            ends = part.start + min(before.start, other.start), part.start + max(after.end, other.end)
            yield kind, Organ(_with_side(part, other, other.means.place or ""), ends)


def _coordinated(part: Clause, place: Mention) -> Mention | None:
    """The place that "and" joins to one which a plural or a bare state is said of ("liver and spleen are enlarged")."""
    if not _PLURAL.match(part.text, place.end):
        return None
    joined = [m for m in part.mentions if m.means.place and m.end < place.start]
    if not joined or joined[-1].means.tumour or joined[-1].means.place == "?":
        return None
    before = part.text[: joined[-1].start]
    linked = _AND.fullmatch(part.text, joined[-1].end, place.start) is not None
    return joined[-1] if linked and _ALONE.search(before) else None


def _joined_after(part: Clause, place: Mention) -> Mention | None:
    """The place that "and" joins to one before which a state stands, at the end of a clause ("enlarged liver and spleen")."""
    joined = [m for m in part.mentions if m.means.place is not None and m.start > place.end]
    if not joined or joined[0].means.tumour or not joined[0].means.place or joined[0].means.place == "?":
        return None
    known = re.sub(r"_(?:left|right)$", "", joined[0].means.place) in _MAY_GROW
    ended = _ENDED.match(part.text, joined[0].end)
    return joined[0] if known and ended and _AND.fullmatch(part.text, place.end, joined[0].start) else None


def _refused(part: Clause, state: Mention) -> bool:
    """Tell whether a state is denied; "absent" is a trigger of denial itself and denies nothing of its own."""
    return denied(part, state)


def _with_side(part: Clause, place: Mention, name: str) -> str:
    """The member of a pair that a side before the word names ("left suprarenal gland")."""
    before = part.text[: place.start].rstrip().lower()
    members = [entry.name for entry in group(name)]
    for side in ("left", "right"):
        own = [member for member in members if structure(member).side == side]
        if before.endswith(side) and len(own) == 1:
            return own[0]
    return name
