"""A text prepared for checking: its languages, tokens, sentences, and the known words in it."""

import re
from bisect import bisect_left
from collections.abc import Sequence
from operator import attrgetter

from prompts.grounding.quotes import Folded, Span, fold, locate
from prompts.grounding.words import Token, Word, find_words, languages_of, tokens_of

__all__ = ["Reading"]

_BREAK = re.compile(
    r"[.!?](?=[\s\"')\]]|$)|\n\s*\n|[•·]|\n(?=\s*(?:[-*]\s|\d{1,2}[.)]\s|[^\W\d_][\w /&-]{1,40}:))", re.UNICODE
)
_ABBREVIATED = re.compile(
    r"(?:^|[^\w])(?:[^\W\d_]|ca|dr|vs|no|nr|st|approx|max|min|incl|inkl|bzw|resp|fig|evtl|ggf|env|aprox|zn|z\.n|s\.p)$",
    re.IGNORECASE,
)
_LONGEST = 1500
_start = attrgetter("start")
_SAMPLE = 400
"""Characters that tell the language of a text."""
_HEADING = re.compile(r"(?:^|\n|\.)[ \t]*(?P<title>[^\W\d_][\w /&,-]{1,40}):")


class Reading:
    """One text, read once; everything derived from it is made when first asked for."""

    def __init__(self, text: str, spans: Sequence[Span] | None = None) -> None:
        """Read a text; where `spans` are given, only the words of the sentences that they touch."""
        self.text = text
        self._sentences = _sentences(text)
        self._folded: Folded | None = None
        if spans is None:
            self.tokens = tokens_of(text)
            self.languages = languages_of(self.tokens)
        else:
            touched = sorted({self.sentence(span) for span in spans})
            self.tokens = _shifted_tokens(text, touched)
            self.languages = languages_of(tokens_of(text[:_SAMPLE]))
        self._words = find_words(self.tokens, self.languages)

    def locate(self, quote: str) -> list[Span]:
        """Places of a quote."""
        if self._folded is None:
            self._folded = fold(self.text)
        return locate(self.text, self._folded, quote)

    def words(self, kind: str, span: Span | None = None) -> list[Word]:
        """Known words of one kind; those inside a span, if one is given."""
        found = self._words[kind]
        if span is None:
            return found
        low = bisect_left(found, span[0], key=_start)
        high = bisect_left(found, span[1], key=_start)
        return [word for word in found[low:high] if word.end <= span[1]]

    def means(self, kind: str, span: Span) -> set[str]:
        """What words of one kind say inside a span."""
        return {word.means for word in self.words(kind, span)}

    def sentence(self, span: Span) -> Span:
        """The sentences that a span touches, as one span."""
        touched = [part for part in self._sentences if part[0] < span[1] and span[0] < part[1]]
        return (min(touched[0][0], span[0]), max(touched[-1][1], span[1])) if touched else span

    def sentences(self, span: Span) -> list[Span]:
        """The parts of a span that lie in one sentence each."""
        parts = [(max(low, span[0]), min(high, span[1])) for low, high in self._sentences]
        return [part for part in parts if part[0] < part[1]]

    def following(self, span: Span) -> Span:
        """The sentences that a span touches and the one after them."""
        end = self.sentence(span)[1]
        rest = [part for part in self._sentences if part[0] >= end]
        return self.sentence(span)[0], rest[0][1] if rest else end

    def heading(self, span: Span) -> Span | None:
        """The title of the paragraph that a span stands in ("Kidneys: ..."), None if it has none."""
        before = self.text[: span[0]]
        start = before.rfind("\n\n") + 1
        titles = list(_HEADING.finditer(before, start))
        return titles[-1].span("title") if titles else None

    def between(self, low: int, high: int) -> list[Token]:
        """Tokens between two places."""
        first = bisect_left(self.tokens, low, key=_start)
        last = bisect_left(self.tokens, high, key=_start)
        return [token for token in self.tokens[first:last] if token.end <= high]

    def distance(self, first: Span | Word, second: Span | Word) -> int:
        """Number of tokens between two spans, 0 if they touch or overlap."""
        a, b = sorted((tuple(first[-2:]), tuple(second[-2:])))
        return len(self.between(a[1], b[0]))


def _shifted_tokens(text: str, spans: Sequence[Span]) -> list[Token]:
    """Tokens of parts of a text; parts that overlap an earlier one are cut short."""
    found: list[Token] = []
    done = 0
    for low, high in spans:
        start = max(low, done)
        found += [Token(token.text, token.start + start, token.end + start) for token in tokens_of(text[start:high])]
        done = max(done, high)
    return found


def _sentences(text: str) -> list[Span]:
    """Sentences of a text; a longer stretch without an end is cut, so that no check meets thousands of words."""
    parts: list[Span] = []
    start = 0
    for stop in [*(match.end() for match in _BREAK.finditer(text) if not _abbreviated(text, match)), len(text)]:
        while stop - start > _LONGEST:
            space = text.rfind(" ", start + 1, start + _LONGEST)
            cut = space + 1 if space > start else start + _LONGEST
            parts.append((start, cut))
            start = cut
        if stop > start:
            parts.append((start, stop))
            start = stop
    return parts


def _abbreviated(text: str, stop: re.Match[str]) -> bool:
    return stop[0] == "." and _ABBREVIATED.search(text, max(0, stop.start() - 9), stop.start()) is not None
