"""Whether a text denies, dates back or leaves open what a word names: trigger words, their scopes, and what ends them."""

from prompts.grounding.quotes import Span
from prompts.grounding.reading import Reading
from prompts.grounding.words import Word

__all__ = ["denied", "is_secondary", "tumour_words"]

_BEFORE_TOKENS, _AFTER_TOKENS, _HISTORY_TOKENS = 14, 14, 8
_PAST_OR_OPEN = {"history", "past", "family", "possible"}
_SECONDARY_STEMS = ("metast", "metást", "métast", "second", "deposit", "fili", "uitzaai", "absied", "tochter")


def tumour_words(reading: Reading, span: Span) -> list[Word]:
    """Words for a primary tumour inside a span, diagnoses included."""
    innocent = [word for word in reading.words("tumour", span) if word.means == "innocent"]
    words = [word for word in reading.words("tumour", span) if word.means == "primary"]
    words += reading.words("diagnosis", span)
    return [word for word in words if not any(i.start <= word.start and word.end <= i.end for i in innocent)]


def denied(reading: Reading, word: Span | Word) -> str:
    """How the text denies a word ("denied", "past or open"); "" if it does not."""
    start, end = word[-2], word[-1]
    around = _clause(reading, (start, end))
    triggers = _triggers(reading, around)
    for trigger in triggers:
        low, high = min(trigger.end, end), max(trigger.start, start)
        if _cut(reading, triggers, trigger, (low, high)) or (trigger.start < end and start < trigger.end):
            continue
        gap = len(reading.between(low, high))
        before = trigger.end <= start
        if trigger.means == "before" and before and gap <= _BEFORE_TOKENS:
            return "denied"
        if trigger.means == "after" and not before and gap <= _AFTER_TOKENS and "," not in reading.text[low:high]:
            return "denied"
        if trigger.means in _PAST_OR_OPEN and before and gap <= _HISTORY_TOKENS:
            return "past or open"
    return "past or open" if reading.text[end:].lstrip(" )").startswith("?") else ""


def _clause(reading: Reading, span: Span) -> Span:
    """The part of a sentence between semicolons that a span stands in."""
    low, high = reading.sentence(span)
    low = max(low, reading.text.rfind(";", low, span[0]) + 1)
    stop = reading.text.find(";", span[1], high)
    return low, high if stop < 0 else stop


def _triggers(reading: Reading, around: Span) -> list[Word]:
    """Trigger words of a clause, without those of a contrast phase ("without contrast")."""
    phases = reading.words("phase", around)
    words = reading.words("negation", around)
    return [word for word in words if not any(p.start <= word.start < p.end for p in phases)]


def _cut(reading: Reading, triggers: list[Word], trigger: Word, gap: Span) -> bool:
    """Tell whether a word in a gap ends the scope of a trigger; a verb right after it is denied itself ("no hay")."""
    ends = [word for word in triggers if word.means == "ends" and gap[0] <= word.start < gap[1]]
    if trigger.means == "before":
        ends = [word for word in ends if reading.between(trigger.end, word.start)]
    return bool(ends)


def is_secondary(reading: Reading, place: Word) -> bool:
    """Tell whether a place is only reached: "liver metastases", "metastases to the liver", "invading the liver"."""
    around = reading.sentence((place.start, place.end))
    primary = tumour_words(reading, around)
    followed = any(0 <= reading.distance(place, word) <= 1 and word.start >= place.start for word in primary)
    if any(place.start - w.end >= 0 and reading.distance(w, place) <= 2 for w in reading.words("relation", around)):
        return True
    for word in reading.words("tumour", around):
        if word.means != "secondary":
            continue
        if word.start < place.end and place.start < word.end:
            return True
        stem = reading.text[word.start : word.end].casefold().startswith(_SECONDARY_STEMS)
        gap = reading.distance(word, place)
        if word.start >= place.end and stem and gap == 0:
            return True
        if word.end <= place.start and gap <= 3 and not followed and not _between(primary, word, place):
            return True
    return False


def _between(words: list[Word], low: Word, high: Word) -> bool:
    return any(low.end <= word.start and word.end <= high.start for word in words)
