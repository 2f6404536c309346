"""Finding a quote in a text: as it stands, else after folding case, white space, quotation marks, dashes and ligatures.

Nothing fuzzy: a quote that differs in a letter is none. Each folded character remembers where it came from, so a
found quote is a span of the original text.
"""

import unicodedata
from dataclasses import dataclass

__all__ = ["Folded", "Span", "fold", "locate"]

Span = tuple[int, int]

_PLAIN = {
    **dict.fromkeys("\u2018\u2019\u201a\u201b\u2032\u02bc\u00b4`", "'"),
    **dict.fromkeys("\u201c\u201d\u201e\u201f\u2033\u00ab\u00bb", '"'),
    **dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2015\u2212", "-"),
    "\u0131": "i",  # dotless i: Turkish capitals lose the difference
    "\u00d7": "x",
}
_MOST = 64
"""Places of one quote that are looked at."""


@dataclass(frozen=True, slots=True)
class Folded:
    """A folded text; `origin[i]` is the place of its character i in the original, with the end of the text at last."""

    text: str
    origin: tuple[int, ...]

    def span(self, start: int, end: int) -> Span:
        """The span of the original that folded characters `start` to `end` (excluded, not empty) came from."""
        return self.origin[start], self.origin[end - 1] + 1


class _Foldings(dict[str, str]):
    """What each character folds to, worked out when it first comes."""

    def __init__(self, marks: bool) -> None:
        super().__init__(_PLAIN)
        self.marks = marks

    def __missing__(self, char: str) -> str:
        if char.isspace():
            plain = " "
        elif unicodedata.category(char) == "Cf":  # soft hyphens, joiners, direction marks
            plain = ""
        else:
            plain = unicodedata.normalize("NFKD", char).casefold()
            plain = plain if self.marks else "".join(part for part in plain if not unicodedata.combining(part))
        self[char] = plain
        return plain


_FOLDINGS = {marks: _Foldings(marks) for marks in (True, False)}


def fold(text: str, marks: bool = True) -> Folded:
    """Fold a text; without `marks`, accents go too."""
    foldings = _FOLDINGS[marks]
    chars: list[str] = []
    origin: list[int] = []
    for place, char in enumerate(text):
        for part in foldings[char]:
            if part != " " or (chars and chars[-1] != " "):
                chars.append(part)
                origin.append(place)
    return Folded("".join(chars), (*origin, len(text)))


def locate(text: str, folded: Folded, quote: str) -> list[Span]:
    """Places of a quote in a text, at the borders of words and numbers; those that fit to the letter first."""
    quote = quote.strip()
    exact = [(place, place + len(quote)) for place in _places(text, quote)]
    wanted = fold(quote).text.strip()
    loose = [folded.span(place, place + len(wanted)) for place in _places(folded.text, wanted)]
    return [span for span in dict.fromkeys([*exact, *loose]) if _whole(text, *span)][:_MOST]


def _places(text: str, quote: str) -> list[int]:
    places: list[int] = []
    place = text.find(quote) if quote else -1
    while place >= 0 and len(places) < 4 * _MOST:
        places.append(place)
        place = text.find(quote, place + 1)
    return places


def _whole(text: str, start: int, end: int) -> bool:
    """Tell whether a span cuts no word and no number: "man" in "woman" and "4 cm" in "2.4 cm" are no quotes."""
    inside_word = start > 0 and _joined(text[start - 1], text[start])
    inside_word |= end < len(text) and _joined(text[end - 1], text[end])
    starts = text[start].isdigit() and start > 1 and text[start - 1] in ".," and text[start - 2].isdigit()
    ends = text[end - 1].isdigit() and end + 1 < len(text) and text[end] in ".," and text[end + 1].isdigit()
    return not (inside_word or starts or ends)


def _joined(before: str, after: str) -> bool:
    """Tell whether two neighbours belong to one word or one number; "58F" is two."""
    return (before.isalpha() and after.isalpha()) or (before.isdigit() and after.isdigit()) or _is_mark(after)


def _is_mark(char: str) -> bool:
    return unicodedata.combining(char) != 0
