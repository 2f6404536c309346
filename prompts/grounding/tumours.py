"""Checks of a claimed tumour: its word, organ, site, side, count, size and stage in the text.

An organ counts as named where a word of `words.toml`, the lexicon or the anatomy table names it, in the
language of the text or in medical English. An organ that no list knows is not named, so the tumour is
dropped: an unstated tumour costs a report, a wrong one costs trust.
"""

import math
import re
from collections.abc import Iterable
from functools import cache

from manifests.anatomy import group, sites, structure
from prompts.grounding.denial import denied, is_secondary, tumour_words
from prompts.grounding.measures import MM_OF, Measure, counts, measures, number, numbers_in, stages
from prompts.grounding.quotes import Span
from prompts.grounding.reading import Reading
from prompts.grounding.words import Word
from prompts.schema import tumour_organs

__all__ = ["count_at", "names", "organ_at", "plausible_mm", "side_at", "site_at", "size_check", "stage_check"]

_COMMA = re.compile(r",(?!\d)")
_GROWTH_MM = 200.0
"""How far a tumour may outgrow its organ: adrenal and renal carcinomas of more than 20 cm are rare but known."""


def names(word: str, organ: str) -> bool:
    """Tell whether the meaning of a place word is an organ or a part of it ("lung_upper_lobe" of the lung)."""
    if word == organ or word in sites(organ):
        return True
    return bool(word) and any(name.startswith(f"{word}_") for name in sites(organ))


def organ_at(reading: Reading, span: Span, organ: str) -> tuple[Span | None, str]:
    """Where the text names the organ of a quoted tumour, or None and what is wrong.

    A quote over several sentences is read sentence by sentence: a tumour of one is not in the organ of another.
    """
    reason = "no word for a tumour"
    for part in reading.sentences(span):
        place, problem = _organ_in(reading, part, organ)
        if place is not None:
            return place, ""
        reason = problem if problem != "no word for a tumour" else reason
    return None, reason


def _organ_in(reading: Reading, span: Span, organ: str) -> tuple[Span | None, str]:
    """The same for a quote, or the part of one, inside one sentence."""
    words = tumour_words(reading, span) or tumour_words(reading, reading.sentence(span))
    if not words:
        return None, "no word for a tumour"
    reasons = [denied(reading, word) for word in words]
    present = [word for word, reason in zip(words, reasons, strict=True) if not reason]
    if not present:
        return None, reasons[0]
    if any(word.means == organ for word in reading.words("diagnosis", span) if word in present):
        return span, ""
    places = {place: None for word in present for place in _places_of(reading, word, span)}
    own = [place for place in places if names(place.means, organ)]
    if not own:
        return None, "the organ is not named"
    if all(is_secondary(reading, place) for place in own):
        return None, "spread from elsewhere"
    inside = span[0] <= own[0].start and own[0].end <= span[1]
    return (span if inside else (own[0].start, own[0].end)), ""


def _places_of(reading: Reading, word: Word, span: Span) -> list[Word]:
    """Places that a tumour word may belong to: those next to it in the quote, else in its sentence or title.

    Next to it are those of its part between commas, else the nearest before and after it.
    """
    for around in (span, reading.sentence(span)):
        places = reading.words("place", around)
        if places:
            part = _between_commas(reading, word)
            own = [place for place in places if part[0] <= place.start and place.end <= part[1]]
            return _nearest(reading, word, own or places)
    title = reading.heading(span)
    return reading.words("place", title) if title else []


def _between_commas(reading: Reading, word: Word) -> Span:
    """The part of a sentence between commas (no decimal ones) that a word stands in."""
    low, high = reading.sentence((word.start, word.end))
    commas = [low + match.start() for match in _COMMA.finditer(reading.text[low:high])]
    before = [comma for comma in commas if comma < word.start]
    after = [comma for comma in commas if comma >= word.end]
    return (before[-1] if before else low), (after[0] if after else high)


def _nearest(reading: Reading, word: Word, places: list[Word]) -> list[Word]:
    """The nearest place before and after a word, those inside it, and what is joined to the one after it by "and"."""
    inside = [place for place in places if place.start < word.end and word.start < place.end]
    before = [place for place in places if place.end <= word.start][-1:]
    after = [place for place in places if place.start >= word.end]
    joined = after[:1]
    for place in after[1:]:
        gap = reading.between(joined[-1].end, place.start)
        linking = {(w.start, w.end) for kind in ("link", "side") for w in reading.words(kind)}
        if len(gap) > 3 or any((token.start, token.end) not in linking for token in gap):
            break
        joined.append(place)
    return [*inside, *before, *joined]


def site_at(reading: Reading, span: Span, site: str) -> Span | None:
    """Where the sentence of a quote names a site; a site of one side needs the word for that side too."""
    for around in (span, reading.sentence(span)):
        for word in reading.words("place", around):
            if word.means == site:
                return word.start, word.end
            side = structure(site).side
            if side and (f"{word.means}_{side}" == site or (word.means == structure(site).group)):
                found = side_at(reading, (word.start, word.end), side)
                single = f"{word.means}_{side}" == site
                if found and single:
                    return min(word.start, found[0]), max(word.end, found[1])
    return None


def side_at(reading: Reading, span: Span, side: str) -> Span | None:
    """Where a side is named for a quote: inside it, else beside it; None if the other side is as near."""
    inside = reading.words("side", span) + _sided_places(reading, span)
    if inside:
        own = [word for word in inside if word.means in (side, "both")]
        return (own[0].start, own[0].end) if len(own) == len(inside) else None
    around = reading.sentence(span)
    words = reading.words("side", around) + _sided_places(reading, around)
    ranked = sorted(words, key=lambda word: reading.distance(word, span))
    if not ranked or ranked[0].means not in (side, "both"):
        return None
    best = reading.distance(ranked[0], span)
    tied = any(word.means not in (side, "both") and reading.distance(word, span) == best for word in ranked)
    return None if tied else (ranked[0].start, ranked[0].end)


def _sided_places(reading: Reading, span: Span) -> list[Word]:
    """Places whose word has a side in it ("RUL")."""
    found = []
    for word in reading.words("place", span):
        side = next((part for part in ("left", "right") if word.means.endswith(f"_{part}")), None)
        if side:
            found.append(Word(side, word.start, word.end))
    return found


def count_at(reading: Reading, span: Span, count: int) -> Span | None:
    """Where a quote, or its sentence, states a number of tumours."""
    for around in (span, reading.sentence(span)):
        found = list(counts(reading, around))
        if found:
            return next((place for value, place in found if value == count), None)
    return None


def size_check(reading: Reading, quote: Span, tumour: tuple[Span, str], claim: tuple[str, str]) -> str:
    """What is wrong with a size (number and unit as claimed) at a quote, for a tumour (its quote and organ)."""
    value, unit = number(claim[0]), claim[1]
    if value is None or unit not in MM_OF:
        return "no number with a unit"
    size_mm, reason = value * MM_OF[unit], "number or unit differs from the quote"
    quoted = numbers_in(reading.text, quote)
    for found in measures(reading.text, quote):
        lengths = [figure * MM_OF[name] for figure, name in found.values if name in MM_OF]
        own = [figure * MM_OF[name] for figure, name in found.values if name in MM_OF and figure in quoted]
        if not any(abs(length - size_mm) < 0.05 for length in own):
            continue
        if max(lengths) - size_mm > 0.05:
            reason = "not the largest diameter of the quote"
        else:
            reason = _distance(reading, (found.start, found.end)) or _of_another(reading, found, tumour)
        if not reason:
            return ""
    return reason


def _distance(reading: Reading, span: Span) -> str:
    """What a word beside a length makes of it; "" if there is none. The word itself stays in the report."""
    for word in reading.words("away", reading.sentence(span)):
        before = word.means == "before" and word.end <= span[0] and len(reading.between(word.end, span[0])) <= 1
        after = word.means == "after" and word.start >= span[1] and not reading.between(span[1], word.start)
        if before or after:
            return "a distance, a thickness, a former size or that of something else"
    return ""


def _of_another(reading: Reading, found: Measure, tumour: tuple[Span, str]) -> str:
    """Why a length belongs to something else than the tumour; "" if nothing speaks for that."""
    quoted, organ = tumour
    around = reading.sentence((found.start, found.end))
    beside = quoted[0] < around[1] and around[0] < quoted[1]
    places = [
        w for w in reading.words("place", around) if w.end <= found.start and w.start >= (quoted[1] if beside else 0)
    ]
    kinds = [w for w in reading.words("tumour", around) if w.end <= found.start]
    other = places and (places[-1].means == "" if beside else not names(places[-1].means, organ))
    if other or (kinds and kinds[-1].means == "secondary" and not beside):
        return "the size of something else"
    low, high = reading.following(quoted)
    inside = low <= found.start and found.end <= high
    return "" if inside or tumour_words(reading, around) else "not beside a tumour"


def stage_check(reading: Reading, quote: Span, letter: str, stage: str) -> str:
    """What is wrong with a stage ("T2b" for the letter "t") at a quote."""
    return "" if stages(reading, quote)[letter] == {stage} else "the quote states no such stage"


@cache
def plausible_mm(organ: str) -> float:
    """The largest plausible diameter of a tumour: that of a sphere of the organ's volume, and what may outgrow it."""
    largest = max(
        (max(structure(name).volume_ml.values(), default=0.0) for name in _members(organ)),
        default=0.0,
    )
    return math.cbrt(6_000.0 * largest / math.pi) + _GROWTH_MM


def _members(organ: str) -> Iterable[str]:
    assert organ in tumour_organs(), organ
    return {*sites(organ), *(entry.name for entry in group(organ))}
