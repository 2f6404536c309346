"""Scopes of denial, doubt, history and family around a word, in one clause.

A trigger reaches from where it stands to the end of the clause, a word that ends scopes ("but", "with"),
or a comma that opens a new statement. After Chapman et al. 2001 (NegEx) and Harkema et al. 2009 (ConText).
"""

import re
from collections.abc import Sequence

from prompts.rules.clauses import Clause
from prompts.rules.gazetteer import Mention

__all__ = ["asserted", "denied", "gap"]

_REACH_PAST = 60
_REACH_PAST_ADJECTIVE = 25
_NEW_STATEMENT = re.compile(
    r",\s*(?:there\s+(?:is|are|was|were)|(?:a|an)\s+(?:\w+\s+){0,3}(?:is|was)\b|with\b|and\s+there\b)"
)
_QUESTION = re.compile(r"[^?.,;()]{0,60}\)?\s?\?")
_ASKED = re.compile(r"\?\s?$")
_OR_AFTER = re.compile(r"\s?(?:\([^)]{0,30}\)\s?)?(?:or|vs|versus|and/or)\b(?!\s+(?:more|less))")
_OR_BEFORE = re.compile(r"(?<!solid )(?<!cystic )(?<!more )(?<!one )\bor\s(?:a\s|an\s|the\s)?(?:[\w-]+\s)?$")
_REMOVED_BEFORE = re.compile(
    r"(?:ectomy|resection|excision|surgery|operation|transplantation|transplant|whipple|procedure)\s(?:\w+\s){0,3}?(?:for|of|due\sto|because\sof)\s(?:[\w-]+\s){0,5}$"
)
_REMOVED_AFTER = re.compile(
    r"[\s,;:(]{0,3}(?:\w+\s){0,2}?(?:status\spost|s/p|after|post|following)\s(?:(?!before\b|prior\b)[\w-]+\s){0,4}?\w*(?:ectomy|resection|excision|whipple|transplant\w*|(?<!radio)surgery|operation)\b"
)
_REMOVED_NEXT = re.compile(
    r"[\s,;:(/]{1,3}(?:(?:left|right|upper|lower|middle|total|partial|radical|lung|post)\s){0,3}\w*(?:ectomy|ectomi[sz]ed)\b(?!\s(?:is\s)?(?:planned|scheduled|recommended))"
)
_RECURS = re.compile(r"\brecurr\w+\s(?:of\s)?(?:an?\s|the\s|his\s|her\s)?(?:[\w-]+\s){0,2}$")
_AFTER = ("after", "post", "control after")
_ORIGIN = re.compile(
    r"\s?(?!.*\b(?:and|with|patients?|case|history|known|shows?|was|were|is|are)\b)[^.;:()]{0,50}?\b(?:of|from|due\sto|secondary\sto)\s(?:[\w-]+\s){0,6}",
    re.IGNORECASE,
)
_SPREAD_OF = re.compile(r"\s(?:(?!with|without|and|or|has|had|shows?|after)\w+\s)?metastas[ei]s\b")
_CURED = re.compile(r"\s?(?:chemo|radi|treat|tace|immuno|targeted|biops)")


def gap(part: Clause, first: Mention, second: Mention) -> str:
    """The text between two mentions, in lower case; empty if they touch or overlap."""
    return part.text[first.end : second.start].lower()


def denied(part: Clause, mention: Mention) -> bool:
    """Tell whether a mention is denied ("no mass", "mass was not seen") or said of the family."""
    return any(_reaches(part, other, mention, ("before", "after", "family")) for other in _triggers(part))


def asserted(part: Clause, mention: Mention) -> bool:
    """Tell whether the text states a mention of the patient as present: not denied, open, past or asked."""
    kinds = ("before", "after", "family", "possible", "past")
    recurs = _RECURS.search(part.text[: mention.start][-60:].lower()) is not None
    for other in _triggers(part):
        if _reaches(part, other, mention, kinds) and not (recurs and other.text.lower().startswith(_AFTER)):
            return False
    if _only_origin(part, mention):
        return False
    after, before = part.text[mention.end : mention.end + 90].lower(), part.text[: mention.start][-40:].lower()
    if _QUESTION.match(after) or _ASKED.search(before):
        return False
    if _OR_AFTER.match(after) or _OR_BEFORE.search(before):
        return False
    removed = _REMOVED_AFTER.match(after) or (mention.means.tumour != "mass" and _REMOVED_NEXT.match(after))
    return not ((removed and not recurs) or _REMOVED_BEFORE.search(part.text[: mention.start][-90:].lower()))


def _only_origin(part: Clause, mention: Mention) -> bool:
    """Tell whether a clause names a primary only as what metastases came from: it may long be gone."""
    if mention.means.tumour == "mass":
        return False
    if _SPREAD_OF.match(part.text, mention.end):
        return True
    spread = [m for m in part.mentions if m.means.tumour == "secondary" and m.end <= mention.start]
    return bool(spread) and _ORIGIN.fullmatch(part.text, spread[-1].end, mention.start) is not None


def _triggers(part: Clause) -> Sequence[Mention]:
    return [m for m in part.mentions if m.means.negation not in (None, "ends", "none") or m.means.state == "absent"]


def _reaches(part: Clause, trigger: Mention, mention: Mention, kinds: tuple[str, ...]) -> bool:
    scope = trigger.means.negation
    if trigger.start >= mention.end:
        gone = trigger.means.state == "absent" and bool(mention.means.tumour) and trigger.start - mention.end <= 10
        return (gone or (scope == "after" and scope in kinds)) and not _broken(part, mention, trigger)
    if scope not in kinds or scope == "after" or trigger.end > mention.start:
        return False
    between = gap(part, trigger, mention)
    if scope == "past":
        if ":" in between:
            return False
        linked = trigger.text.lower().endswith(("of", "for"))
        if len(between) > (_REACH_PAST if linked else _REACH_PAST_ADJECTIVE) or _CURED.match(between):
            return False
    return not _broken(part, trigger, mention) and not _NEW_STATEMENT.search(between)


def _broken(part: Clause, low: Mention, high: Mention) -> bool:
    """Tell whether a word between two mentions ends the scope of the first."""
    return any(m.means.negation == "ends" and low.end <= m.start < high.start for m in part.mentions)
