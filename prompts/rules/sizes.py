"""Reading sizes and the noun that each belongs to: a tumour of the clause, or a node, a cyst, a slice."""

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from prompts.rules.clauses import Clause
from prompts.rules.findings import Finding

__all__ = ["read_sizes"]

_NUMBER = r"\d{1,5}(?:[.,]\d{1,3})?"
_UNIT = r"(?:mm|cms?|millimet(?:er|re)s?|centimet(?:er|re)s?)"
_AXIS = r"(?:\s?\((?:ap|tr|cc|si|ml|rl|w|h|l|d|craniocaudal|transverse|anteroposterior)\)|\s(?:ap|tr|cc|si|ml))?"
_TIMES = r"(?:\s{0,3}(?:[x\u00d7*\u2217]|by|to|-|\u2013|and)\s{0,3})"
_SIZE = re.compile(
    rf"(?<![\w.,])(?P<numbers>{_NUMBER}(?:\s{{0,3}}{_UNIT})?{_AXIS}(?:{_TIMES}{_NUMBER}(?:\s{{0,3}}{_UNIT})?{_AXIS}){{0,2}})[\s-]{{0,3}}(?P<unit>{_UNIT})?[2\u00b2\u00b3]?(?!\w)",
    re.IGNORECASE,
)
_QUANTITY = re.compile(rf"({_NUMBER})\s{{0,3}}({_UNIT})?", re.IGNORECASE)
_MENTIONS_UNIT = re.compile(r"\d[\s-]{0,3}(?:mm|cm|millimet|centimet)", re.IGNORECASE)
_NOT_AFTER = re.compile(
    r"[\s,-]{0,3}(?:from\b|above|below|proximal|distal|away|cranial|caudal|superior|inferior|thick\s+slices?|slices?|sections?|collimation|intervals?|apart|margin|beyond"
    r"|tall\b|(?:scale|bar|ruler|needle|tube|drain|probe)\b|thickness|increments?|cuts|lymph|short[\s-]axis|stones?\b|calcul|cysts?\b|aneurysm|in\s+height|thick\b|deep\b|\(?(?:in|on)\s+(?:the\s+)?(?:previous|prior)"
    r"|\(?(?:previously|prior)\b(?!\W{0,3}(?:measur\w+\W{1,3})?(?:at\W)?\d)|in\s+(?:maxim\w+\s+)?thickness|scan\b|stent|catheter|on\s+\d{1,2}[./]\d|mucosal|nodes?\b|to\s+the\b)",
    re.IGNORECASE,
)
_NOT_BEFORE = re.compile(
    r"(?:slice|section|thickness|interval|collimation|reconstruct\w*|every|height|tall|scale\s+bar|bar|margin|distance|pitch|isotropic|increment|short\s+axis|wall|volume|suv\w*)"
    r"\W{0,4}(?:of|=|:|was|is|at|approximately|about|up\s+to)?\s{0,3}$"
    r"|(?:previous(?:ly)?|prior|earlier|formerly|initial(?:ly)?|old|compared\s+(?:to|with)|increased\s+from|decreased\s+from|grown\s+from|reduced\s+from|from|was)\W{0,4}"
    r"(?:(?:of|=|:|was|is|at|measured|measuring|it|size|scan|the|ct|examination|mass|on|in|approximately|about)\W{1,3}){0,4}$",
    re.IGNORECASE,
)
_DILATED = re.compile(
    r"\b(?:dilat|disten)\w+\s(?:(?:of|up|to|measuring|about|approximately|bowel|loops?|duct)\s){0,3}$"
)
_WAS_SIZE = re.compile(
    r"(?:size|diameter|dimensions?|mass|tumou?r|lesion)\s+(?:was|of\s+\w+\s+was)\W{0,3}(?:approximately|about)?\s{0,3}$"
    r"|\b(?:which|that)\swas\W{0,3}(?:approximately|about)?\s{0,3}$|\bwas\s(?:measured|estimated|found)\s(?:to\sbe|at|as)?\s?(?:approximately|about)?\s{0,3}$",
    re.IGNORECASE,
)
_NOW = re.compile(r"\b(?:now|currently|today|at\s+present|presently|to)\b", re.IGNORECASE)
_GROWN = re.compile(r"\bto\b", re.IGNORECASE)  # "from 2.3 cm to 3.1 cm"
_WORDS_AFTER = re.compile(r"[\s-]{0,3}(?:[\w/\u00d7-]{1,25}[\s,-]{1,3}){0,6}")


_FURTHER = re.compile(r"[\s,(]{0,3}(?:[a-z]+[\s,)]{1,2}){0,5}(?:and|,|by|x)\s(?:[a-z]+\s){0,2}")
_AXIS_AFTER = re.compile(
    r"[\s(]{0,3}(?:in\s|on\s)?(?:the\s|its\s)?(?:cranio-?caudal|longitudinal|vertical|cc\b|si\b|ap\b|antero-?posterior|transvers|superoinferior|coronal|sagittal|height|length)",
    re.IGNORECASE,
)
_SIDE_AFTER = re.compile(r"\s?\(?(?:on|in|at|for)\s(?:the\s)?(left|right)\b", re.IGNORECASE)
_OF_EACH = re.compile(
    r"(?:\sin\s(?:\w+\s)?(?:size|diameter|dimension))?\s(?:each|in\s(?:both|each)|bilaterally|on\s(?:both|each))\b",
    re.IGNORECASE,
)
_OF_EACH_BEFORE = re.compile(
    r"\b(?:each|both)\s(?:of\s(?:them|which)\s)?(?:measur\w+|of)?\s?(?:about\s|approximately\s)?$", re.IGNORECASE
)
_TUBE = re.compile(r"\b(?:ducts?|veins?|arter(?:y|ies)|nodes?|aorta|cava)$", re.IGNORECASE)


class _Size(NamedTuple):
    mm: float
    start: int
    end: int


def read_sizes(part: Clause, findings: Sequence[Finding], subject_end: int = 0) -> None:
    """Give each size to the tumour whose noun it stands beside; the first of a tumour counts.

    `subject_end` is the end of the words that take up an earlier tumour ("The mass measures ..."), 0 if the clause
    names its tumours itself.
    """
    if not findings or not _MENTIONS_UNIT.search(part.text):
        return
    nouns: list[_Noun] = [
        _Noun(m.start, m.end, None)
        for m in part.mentions
        if m.means.measured == "other" or (m.means.place == "" and _TUBE.search(m.text))
    ]
    named = {start for finding in findings for start, _ in finding.heads} if not subject_end else set[int]()
    nouns = [noun for noun in nouns if noun.start >= subject_end and noun.start not in named]
    if subject_end:
        nouns.append(_Noun(0, subject_end, findings[-1]))
    else:
        nouns += [_Noun(start, end, finding) for finding in findings for start, end in finding.heads]
    before: tuple[_Size, Finding] | None = None
    for size in _sizes(part):
        owner = _owner(part, size, sorted(nouns, key=lambda noun: noun.start))
        if before and before[0].mm < size.mm and _goes_on(part.text, before[0], size):
            before[1].fields.pop("size_mm", None)
            owner = before[1]
        before = (size, owner) if owner is not None and "size_mm" not in owner.fields else None
        if owner is not None:
            owner.state("size_mm", size.mm, (part.start + size.start, part.start + size.end))


def _goes_on(text: str, first: _Size, second: _Size) -> bool:
    """Tell whether a size is a further diameter of the same thing ("4 cm in axial and 5 cm in craniocaudal dimension")."""
    return (
        _FURTHER.fullmatch(text, first.end, second.start) is not None
        and _AXIS_AFTER.match(text, second.end) is not None
    )


class _Noun(NamedTuple):
    start: int
    end: int
    finding: Finding | None


def _owner(part: Clause, size: _Size, nouns: Sequence[_Noun]) -> Finding | None:
    """The finding that a size measures; None if it is another noun's, or that of two sides at once."""
    following = [noun for noun in nouns if noun.start >= size.end]
    preceding = [noun for noun in nouns if noun.end <= size.start]
    if following and (not preceding or _directly(part, size.end, following[0].start)):
        chosen = following[0]
    elif preceding:
        chosen = preceding[-1]
    else:
        return None
    rivals = [noun.finding for noun in nouns if noun.start == chosen.start]
    if len(rivals) == 1:
        return chosen.finding
    if _OF_EACH.match(part.text, size.end) or _OF_EACH_BEFORE.search(part.text, 0, size.start):
        for finding in rivals:
            if finding is not None:
                finding.state("size_mm", size.mm, (part.start + size.start, part.start + size.end))
        return None
    if own := _SIDE_AFTER.match(part.text, size.end):
        return next((finding for finding in rivals if finding and finding.fields.get("side") == own[1].lower()), None)
    near = part.text[max(0, size.start - 60) : size.end + 30].lower()
    named = [side for side in ("left", "right") if side in near]
    beside = [finding for finding in rivals if finding and [finding.fields.get("side")] == named]
    return beside[0] if len(beside) == 1 else None


def _directly(part: Clause, end: int, start: int) -> bool:
    """Tell whether a noun follows a size as in "3 cm enhancing left renal mass", not "3 cm, with a node"."""
    between = part.text[end:start]
    if len(between) > 90 or any(
        m.means.negation == "ends" or m.means.relation
        for m in part.mentions
        if end <= m.start < start and m.text.lower() not in ("of",)
    ):
        return False
    return _WORDS_AFTER.fullmatch(between) is not None and not re.search(r"\b(?:and|is|was|were|are)\b", between)


def _sizes(part: Clause) -> Iterator[_Size]:
    text = part.text
    for found in _SIZE.finditer(text):
        quantities = _QUANTITY.findall(found["numbers"])
        unit = found["unit"] or next((unit for _, unit in reversed(quantities) if unit), "")
        if (
            not unit
            or _NOT_AFTER.match(text, found.end())
            or _DILATED.search(text, max(0, found.start() - 50), found.start())
        ):
            continue
        if _is_prior(text, found.start()):
            if not _GROWN.search(found["numbers"]):
                continue
            quantities = quantities[-1:]
        values = [_mm(number, own or unit) for number, own in quantities]
        if 0 < max(values) <= 400:
            yield _Size(max(values), found.start(), found.end())


def _is_prior(text: str, start: int) -> bool:
    before = text[max(0, start - 60) : start]
    found = _NOT_BEFORE.search(before)
    return found is not None and not _WAS_SIZE.search(before) and not _NOW.search(found[0])


def _mm(number: str, unit: str) -> float:
    return round(float(number.replace(",", ".")) * (10.0 if unit.lower().startswith("c") else 1.0), 4)
