"""Finding the words of the lexicon and of the anatomy table in a text, longest first.

A text becomes tokens (words, numbers, punctuation; hyphens and slashes separate), and known
phrases become `Mention`s in reading order that do not overlap. Each word may mean several things.
"""

import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

from manifests.anatomy import structures
from prompts.lexicon import lexicon, numbers, phrases

__all__ = ["Clause", "Mention", "clauses", "scan"]

_TOKEN = re.compile(r"\d+(?:[.,]\d+)?(?![^\W\d_])|[^\W_]+|[^\w\s\-]")
_SENTENCE_END = re.compile(
    r"[.!?•](?=[\s,\"')]|$)(?!\s*\d+\s*(?:mm|cm)\b)|\n\s*\n|\n(?=\s*(?:[-*\d]|[A-Z][A-Za-z ]*:))"
)
_ABBREVIATIONS = (
    "i.v",
    "e.g",
    "i.e",
    "approx",
    "ca",
    "dr",
    "fig",
    "figs",
    "vs",
    "no",
    "st",
    "p.o",
    "cf",
    "et al",
    "y.o",
)


class Mention(NamedTuple):
    """A known phrase in a text: what kinds of thing it says, and where."""

    kinds: tuple[tuple[str, str], ...]
    start: int
    end: int
    text: str

    def values(self, kind: str) -> list[str]:
        """What the phrase says of one kind; empty if nothing."""
        return [value for of, value in self.kinds if of == kind]

    def value(self, kind: str) -> str | None:
        """The first thing that the phrase says of one kind, or None."""
        return next((value for of, value in self.kinds if of == kind), None)


@dataclass(frozen=True, slots=True)
class Clause:
    """A stretch of text between sentence ends or semicolons, with its mentions.

    `sentence` numbers the sentence that the clause is part of; positions are those of the text.
    """

    text: str
    start: int
    sentence: int
    mentions: tuple[Mention, ...]


def _tokens(text: str) -> list[str]:
    return _TOKEN.findall(text.lower())


@cache
def _phrases() -> dict[str, tuple[tuple[tuple[str, ...], tuple[tuple[str, str], ...]], ...]]:
    """All known phrases by their first token, longest first."""
    kinds: dict[tuple[str, ...], list[tuple[str, str]]] = defaultdict(list)
    for kind, value, words in _entries():
        for word in words:
            key = tuple(_tokens(word))
            if (kind, value) not in kinds[key]:
                kinds[key].append((kind, value))
    by_first: dict[str, list[tuple[tuple[str, ...], tuple[tuple[str, str], ...]]]] = defaultdict(list)
    for key in sorted(kinds, key=len, reverse=True):
        by_first[key[0]].append((key, tuple(kinds[key])))
    return {first: tuple(entries) for first, entries in by_first.items()}


def _entries() -> Iterator[tuple[str, str, list[str]]]:
    yield from (("place", name, words) for name, words in _place_words().items())
    yield from (("place", "", words) for words in lexicon("elsewhere").values())
    for section in ("diagnosis", "absent", "absent_sided", "enlarged", "contrast_phase", "region"):
        yield from ((section, name, words) for name, words in lexicon(section).items())
    for section in ("tumour", "negation", "sex", "pronoun", "race", "state", "kept", "scan"):
        yield from ((section, name, words) for name, words in lexicon(section).items())
    yield from (("number", str(value), [word]) for word, value in numbers().items())


def _place_words() -> dict[str, list[str]]:
    """Words of each structure and group; a synonym that the anatomy table gives to several is nobody's."""
    words = {name: [text] for name, text in phrases().items()}
    for name, listed in lexicon("words").items():
        words[name] += listed
    taken = {tuple(_tokens(word)) for listed in words.values() for word in listed}
    taken |= {tuple(_tokens(word)) for listed in lexicon("elsewhere").values() for word in listed}
    owners: dict[tuple[str, ...], list[tuple[str, str]]] = defaultdict(list)
    for entry in structures():
        for word in entry.synonyms:
            owners[tuple(_tokens(word))].append((entry.name, word))
    for key, owned in owners.items():
        name, word = owned[0]
        if len(owned) == 1 and key and key not in taken and name in words:
            words[name].append(word)
    return words


def scan(text: str, offset: int = 0) -> tuple[Mention, ...]:
    """Find all known phrases in a text; `offset` is added to their positions."""
    known, found = _phrases(), []
    matches = list(_TOKEN.finditer(text.lower()))
    tokens = [match[0] for match in matches]
    index = 0
    while index < len(tokens):
        for key, kinds in known.get(tokens[index], ()):
            if tuple(tokens[index : index + len(key)]) == key:
                start, end = matches[index].start(), matches[index + len(key) - 1].end()
                found.append(Mention(kinds, start + offset, end + offset, text[start:end]))
                index += len(key) - 1
                break
        index += 1
    return tuple(found)


def clauses(text: str) -> list[Clause]:
    """Split a text into clauses at sentence ends and semicolons, and scan each."""
    parts, start, sentence = [], 0, 0
    for end, final in _ends(text):
        part = text[start:end]
        if part.strip():
            parts.append(Clause(part, start, sentence, scan(part, start)))
        start, sentence = end, sentence + final
    return parts


def _ends(text: str) -> Iterator[tuple[int, bool]]:
    """Ends of clauses, and whether a sentence ends there too."""
    stops = [(match.end(), True) for match in _SENTENCE_END.finditer(text) if not _abbreviated(text, match.start())]
    stops += [(match.end(), False) for match in re.finditer(";", text)]
    yield from sorted(stops)
    yield len(text), True


def _abbreviated(text: str, dot: int) -> bool:
    if text[dot : dot + 1] != ".":
        return False
    before = text[max(0, dot - 8) : dot].lower()
    return any(re.search(rf"(?:^|[^\w]){re.escape(word)}$", before) for word in _ABBREVIATIONS)
