"""What a report finally calls a mass: an abscess, a cyst, a metastasis is no primary tumour."""

import re
from collections.abc import Sequence

from prompts.rules.clauses import Clause
from prompts.rules.gazetteer import Mention
from prompts.rules.negation import denied

__all__ = ["called_something_else", "found_to_be_else", "goes_on", "judged_later", "titled_otherwise"]

_SUBJECT = re.compile(
    r"[\W_]{0,8}(?:(?:impressions?|conclusions?|opinion|summary|assessment|interpretation|comment)\s?:[\W\d]{0,6})?(?P<opening>[A-Za-z][^,.;]{1,60},\s)?(?:it|its|this|these|those|they|which|(?:the|these|this|described|mentioned|said|such|imaging|ct|mri|pet|overall|both)\b(?:\s+[a-z-]{2,20}){0,4}?"
    r"\s*(?:mass(?:es)?|tumou?rs?|lesions?|cancer|carcinoma|neoplasm|findings?|features?|appearances?|largest|larger|bigger|latter|former|structure|finding)"
    r"|(?:the\s+)?(?:final\s+)?(?:biopsy|patholog\w+|histolog\w+|histopatholog\w+|cytology|serology|serological\s+\w+|immunohistochemistry|fnac?|aspiration|laparotomy|autopsy|operation|diagnosis|follow-up|surgery|imaging)"
    r"|the\s+(?:largest|larger|dominant|bigger)|findings?|features?|appearances?|measur(?:es|ing)|size|diameter|dimensions?|(?:largest|longest|greatest)\s+(?:diameter|dimension|axis)|maxim\w+\s+(?:axial\s+)?(?:diameter|dimension)|approximately\s+\d"
    r"|(?:an?\s+)?(?:[a-z-]{3,20}\s+){1,3}?(?:is|are)\s+(?:favou?red|most\s+likely|suspected)"
    r"|(?:most\s+)?(?:likely|probably|consistent|compatible|representing|represents|suggestive|suspicious|in\s+keeping|favou?r\w*|may|could|differential))\b",
    re.IGNORECASE,
)
_TUMOUR_NOUN = re.compile(r"\b(?:mass(?:es)?|tumou?rs?|cancer|carcinoma|neoplasm)$", re.IGNORECASE)
_LINKED = re.compile(
    r"[\s,:;-]{0,4}(?:(?:a|an|the|appearances?|features|diagnosis|presence|his|her|either|most|very|more|with|of|in|to|be|being|as|large|small|old|right|left|renal|hepatic|pulmonary|splenic|adrenal|solitary|giant|complex|ruptured"
    r"|organi[sz]ed|organi[sz]ing|chronic|acute|subacute|cavernous|possible|fat-poor|lipid-poor|lipid-rich|benign|typical|atypical|primary|known|evolving|liver|lung|kidney|[a-z]{3,15}(?:ic|al|ous|ary|ing|oid|ive))[\s-]+){0,5}",
    re.IGNORECASE,
)
_FAVOURED = re.compile(r"\s+(?:is|are)\s+(?:favou?red|most\s+likely|suspected)\b", re.IGNORECASE)
_GUESS = r"(?:likely\s|probable\s|probably\s|known\s|presumed\s|a\s|an\s|the\s|most\s|=\s)"
_APPOSED = re.compile(
    rf"\s?(?:in\s+the\s[\w\s]{{3,40}})?[\s,]{{0,2}}(?:[(:\u2013-]\s?{_GUESS}{{0,3}}|,\s?{_GUESS}{{1,3}})", re.IGNORECASE
)
_SET_OFF = re.compile(r"\s?(?:[,.;:)]|$)")
_NAMED_AT_LAST = re.compile(
    r"(?:[^,;.]|(?<=\d)\.(?=\d)){0,80},\s(?:an?|likely|probably|presumably|most\slikely)\s(?:an?\s)?(?:[\w-]{3,20}\s){0,2}",
    re.IGNORECASE,
)
_PRESENTING = re.compile(
    r"[^.;]{0,45}?\b(?:(?:present|appear|manifest)\w*|seen|visible|shown|visuali[sz]ed)?\s?(?:as|like|simulating|forming|mimicking)\s(?:an?\s|the\s)?(?:[\w-]+\s){0,5}$"
)
_SUBJECT_OF = re.compile(
    r"\b(?:patients?|case|man|woman|male|female|lady|boy|girl|child|infant)\s(?:[\w-]+\s){0,2}?(?:with|of)\s(?:an?\s)?(?:[\w-]+\s){0,3}$",
    re.IGNORECASE,
)
_IN_BRACKETS = re.compile(r"[^.;()]{0,60}\((?:[\w:]+[\s-]+){0,6}$")
_FROM = re.compile(
    r"(?:\s(?:of|in)\s(?:[\w-]+\s){1,4}?|\s?(?:\([^)]{0,20}\)\s)?)(?:from|secondary\sto|due\sto)\s(?:an?\s|the\s)?(?:[\w-]+\s){0,4}$"
)
_GENERIC = ("tumour", "tumor", "tumours", "tumors", "mass", "masses")
_SPREAD = ("metasta", "secondar", "mets", "met", "deposit", "oligomet")


def called_something_else(part: Clause, mention: Mention) -> bool:
    """Tell whether the clause resolves a tumour word into something that is no primary ("mass, likely an abscess")."""
    if mention.means.benign:
        return True
    for other in part.mentions:
        if not _resolves(other):
            continue
        if other.end <= mention.start and _modifies(part, other, mention):
            return True
        if other.start >= mention.end and _is_judged(part, mention, other):
            return True
    return mention.means.tumour == "mass" and _explained(part, mention)


def found_to_be_else(part: Clause, mention: Mention) -> bool:
    """Tell whether a clause says outright what a mass is ("the mass in the liver was found to be a hydatid cyst")."""
    following = [m.start for m in part.mentions if m.means.tumour == "mass" and m.start > mention.start]
    return any(
        other.means.benign == "entity" and not denied(part, other) and _linked(part, other, mention.end)
        for other in part.mentions
        if mention.end <= other.start < min(following, default=len(part.text))
    )


def titled_otherwise(parts: Sequence[Clause]) -> bool:
    """Tell whether a text opens with a name of something that is no tumour: "Hydatid disease. CT shows a mass ..."."""
    first = next(iter(parts), None)
    if first is None:
        return False
    end = first.text.find(":") if ":" in first.text else len(first.text)
    title = [m for m in first.mentions if m.end <= end]
    if end > 100 or any(m.means.scan or m.means.tumour or m.means.diagnosis for m in title):
        return False
    return any(m.means.benign == "entity" and not denied(first, m) for m in title)


def _explained(part: Clause, mention: Mention) -> bool:
    """Tell whether a clause names what a "mass" is: its subject, what shows as the mass, the growth that it came from."""
    for other in part.mentions:
        known = other.means.benign == "entity" or other.means.tumour == "secondary"
        between = part.text[min(mention.end, other.end) : max(mention.start, other.start)]
        if other.end <= mention.start and known and not denied(part, other):
            subject = other.means.benign and _SUBJECT_OF.search(part.text, 0, other.start)
            if subject or _PRESENTING.fullmatch(between):
                return True
        if other.start >= mention.end and known and _IN_BRACKETS.fullmatch(between):
            return True
        named = other.means.diagnosis or other.means.tumour == "strong" or other.means.benign == "other"
        if other.start >= mention.end and named and _FROM.fullmatch(between):
            return True
    return False


def goes_on(part: Clause, stale: bool = False) -> int:
    """End of the words with which a clause goes on about the tumour before it ("The mass measures ..."); 0 if it does not.

    Where other clauses stood between (`stale`), "it" means something else, and "the mass" still the tumour.
    """
    found = _SUBJECT.match(part.text)
    if found and stale and not _TUMOUR_NOUN.search(found[0]):
        return 0
    if found is None or (found["opening"] and _names_something(part, found.end("opening"))):
        return 0
    return found.end()


def _names_something(part: Clause, end: int) -> bool:
    """Tell whether the first words of a clause name a place or a finding of their own."""
    return any(
        m.means.place is not None or m.means.measured == "other" or m.means.tumour or m.means.benign
        for m in part.mentions
        if m.start < end
    )


def judged_later(part: Clause) -> bool:
    """Tell whether a clause that goes on about a tumour calls it something that is no primary."""
    return any(
        _resolves(other)
        and not denied(part, other)
        and (_linked(part, other, 0) or _FAVOURED.match(part.text, other.end) is not None)
        for other in part.mentions
    )


def _resolves(mention: Mention) -> bool:
    return mention.means.benign is not None or mention.means.tumour == "secondary"


def _modifies(part: Clause, other: Mention, mention: Mention) -> bool:
    """Tell whether a word right before the mention says what it is ("inflammatory mass", "metastatic mass")."""
    spread = other.text.lower() == "metastatic" and mention.text.lower() in _GENERIC  # "metastatic lung tumours"
    if mention.means.tumour != "mass" and not other.means.benign and not spread:
        return False
    between = part.text[other.end : mention.start].strip(" -")
    return (not between or (spread and between.count(" ") < 2)) and other.text.lower() != "hemorrhage"


def _is_judged(part: Clause, mention: Mention, other: Mention) -> bool:
    spread = other.means.tumour == "secondary"
    if spread and not other.text.lower().startswith(_SPREAD):
        return False
    between = part.text[mention.end : other.start]
    if mention.means.tumour == "mass" and between == ", " and _SET_OFF.match(part.text, other.end):
        return True
    if _APPOSED.fullmatch(between):
        return not part.text[other.end : other.end + 3].lstrip().startswith("?")
    return _linked(part, other, mention.end) or _named_at_last(part, mention, other)


def _named_at_last(part: Clause, mention: Mention, other: Mention) -> bool:
    """Tell whether a clause ends in what a mass is ("a 2 cm mass with fatty density, a typical adenoma")."""
    if mention.means.tumour != "mass" or part.text[other.end :].strip(" .)\n\"'"):
        return False
    between = [m for m in part.mentions if mention.end <= m.start < other.start]
    if any(m.means.place is not None or m.means.tumour or m.means.measured == "other" for m in between):
        return False
    return _NAMED_AT_LAST.fullmatch(part.text, mention.end, other.start) is not None


def _linked(part: Clause, other: Mention, low: int) -> bool:
    """Tell whether a word of judgement stands right before another mention ("consistent with an abscess")."""
    links = [m for m in part.mentions if m.means.judged and low <= m.start and m.end <= other.start]
    return bool(links) and _LINKED.fullmatch(part.text, links[-1].end, other.start) is not None
