"""Checks of organs that an answer calls absent or enlarged: by the name of an operation or a state beside the organ."""

from manifests.anatomy import group, structure
from prompts.grounding.denial import denied, tumour_words
from prompts.grounding.quotes import Span
from prompts.grounding.reading import Reading
from prompts.grounding.tumours import names, side_at, site_at
from prompts.grounding.words import Word
from prompts.schema import tumour_organs

__all__ = ["state_check"]

_NEAR_TOKENS = 4


def state_check(reading: Reading, span: Span, state: str, organ: str) -> str:
    """What is wrong with an organ being absent or enlarged at a quote; "" if nothing is."""
    around = reading.sentence(span)
    if state == "absent" and reading.means("kept", around):
        return "only a part, or only planned"
    words = _operations(reading, span, state, organ)
    words += _states(reading, span, state, organ)
    if not words:
        return f"the quote names no such organ as {state}"
    if all(denied(reading, word) == "denied" for word in words):
        return "denied"
    side = "side" if _sided(organ) else "both" if _paired(organ) else ""
    if side == "both" and "both" not in reading.means("side", around):
        return "one of a pair without its side" if state == "absent" else ""
    own = structure(organ).side if side == "side" else None
    return "another side" if own and side_at(reading, span, own) is None else ""


def _sided(organ: str) -> bool:
    return organ not in tumour_organs() and organ != "heart" and structure(organ).side is not None


def _paired(organ: str) -> bool:
    return {entry.side for entry in group(organ)} >= {"left", "right"}


def _family(organ: str) -> str:
    """The organ that a structure is part of."""
    return organ if organ in tumour_organs() or organ == "heart" else structure(organ).organ or organ


def _operations(reading: Reading, span: Span, state: str, organ: str) -> list[Word]:
    """Words like "splenectomy" and "splenomegaly" in a quote; a colectomy says nothing of the sigmoid colon alone."""
    kinds = ("absent", "absent_sided") if state == "absent" else ("enlarged",)
    whole = {organ, _family(organ)} if _sided(organ) else {organ}
    return [word for kind in kinds for word in reading.words(kind, span) if word.means in whole]


def _states(reading: Reading, span: Span, state: str, organ: str) -> list[Word]:
    """Words like "enlarged" in a quote, right beside the organ."""
    around = reading.sentence(span)
    places = [word for word in reading.words("place", span) if _named(reading, word, organ)]
    tumours = tumour_words(reading, around)
    found = []
    for word in reading.words("state", span):
        for place in places if word.means == state else []:
            free = not any(reading.distance(place, tumour) <= 1 for tumour in tumours)
            if free and reading.distance(word, place) <= _NEAR_TOKENS and _nothing_between(reading, word, place):
                found.append(word)
    return found


def _named(reading: Reading, word: Word, organ: str) -> bool:
    if word.means == organ or (_family(organ) == organ and names(word.means, organ) and not _part(word, organ)):
        return True
    place = site_at(reading, (word.start, word.end), organ) if organ != "heart" and _family(organ) != organ else None
    return place is not None or (_sided(organ) and word.means == _family(organ))


def _part(word: Word, organ: str) -> bool:
    """Tell whether a word names less than the organ: a lobe is not the lung, one kidney is a kidney."""
    return word.means != organ and len(group(organ)) > 2


def _nothing_between(reading: Reading, first: Word, second: Word) -> bool:
    low, high = sorted((first, second), key=lambda word: word.start)
    return not any(low.end <= word.start and word.end <= high.start for word in reading.words("place"))
