"""The words of `words.toml` and of the lexicon, and finding them in a text of one of several languages."""

import re
import tomllib
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Any, NamedTuple

from manifests.anatomy import structures
from prompts.grounding.quotes import fold
from prompts.lexicon import lexicon, numbers, phrases

__all__ = ["LANGUAGES", "Token", "Word", "find_words", "languages_of", "tokens_of"]

LANGUAGES = ("en", "de", "fr", "es", "it", "pt", "tr", "nl")
_TOKEN = re.compile(r"\d+(?:[.,]\d+)*|[^\W\d_]+")
_FROM_LEXICON = {
    "diagnosis": "diagnosis",
    "absent": "absent",
    "absent_sided": "absent_sided",
    "enlarged": "enlarged",
    "phase": "contrast_phase",
    "negation": "negation",
    "race": "race",
    "state": "state",
    "kept": "kept",
}


class Token(NamedTuple):
    """One word or number, folded, and its place in the text."""

    text: str
    start: int
    end: int


class Word(NamedTuple):
    """A known word or phrase: what it means, and its place in the text."""

    means: str
    start: int
    end: int


@cache
def _tables() -> dict[str, Any]:
    return tomllib.loads(files("prompts.grounding").joinpath("words.toml").read_text(encoding="utf-8"))


def tokens_of(text: str) -> list[Token]:
    """Words and numbers of a text, folded without accents."""
    folded = fold(text, marks=False)
    return [Token(m[0], *folded.span(m.start(), m.end())) for m in _TOKEN.finditer(folded.text)]


def _plain(phrase: str) -> tuple[str, ...]:
    """A phrase of the tables as folded tokens; a star stays with its token."""
    marked = phrase.replace("*", "\u2217")
    return tuple(re.findall(r"\u2217?(?:\d+(?:[.,]\d+)*|[^\W\d_]+)\u2217?", fold(marked, marks=False).text))


@cache
def _function_words() -> dict[str, frozenset[str]]:
    return {name: frozenset(_plain(" ".join(_tables()[name]["function"]))) for name in LANGUAGES}


def languages_of(tokens: list[Token]) -> frozenset[str]:
    """The languages that a text may be in, by their commonest words; all of them where too few tell."""
    counts = {
        name: sum(min(3, tally) for tally in _tally(tokens, words).values())
        for name, words in _function_words().items()
    }
    best = max(counts.values())
    if best < 2:
        return frozenset(LANGUAGES)
    return frozenset(name for name, count in counts.items() if count >= 0.75 * best)


def _tally(tokens: list[Token], words: frozenset[str]) -> dict[str, int]:
    tally: dict[str, int] = defaultdict(int)
    for token in tokens:
        if token.text in words:
            tally[token.text] += 1
    return tally


def _english(kind: str) -> Iterator[tuple[str, str]]:
    """Words of one kind that the lexicon and the anatomy table have, with what they mean."""
    if kind == "place":
        yield from _english_places()
    elif kind == "tumour":
        means = {"strong": "primary", "mass": "primary", "secondary": "secondary", "innocent": "innocent"}
        yield from ((w, means[name]) for name, words in lexicon("tumour").items() if name in means for w in words)
    elif kind == "relation":
        # the short prepositions among them also stand before the place of a tumour
        yield from ((word, "reach") for word in lexicon("relation")["reach"] if len(word) > 7)
    elif kind == "number":
        yield from ((word, str(value)) for word, value in numbers().items())
    elif kind == "sex":
        yield from ((w, name) for section in ("sex", "pronoun") for name, ws in lexicon(section).items() for w in ws)
    elif kind in _FROM_LEXICON:
        yield from ((word, name) for name, words in lexicon(_FROM_LEXICON[kind]).items() for word in words)


def _english_places() -> Iterator[tuple[str, str]]:
    own = [(word, name) for name, words in lexicon("words").items() for word in words]
    own += [(word, "") for words in lexicon("elsewhere").values() for word in words]
    own += [(text, name) for name, text in phrases().items()]
    yield from own
    taken = {word for word, _ in own}
    owners: dict[str, list[str]] = defaultdict(list)
    for entry in structures():
        for word in entry.synonyms:
            owners[word].append(entry.name)
    yield from ((word, names[0]) for word, names in owners.items() if len(names) == 1 and word not in taken)


@dataclass(slots=True)
class _Index:
    """Phrases of one kind: by first token, by beginning and by ending of a single token."""

    exact: dict[str, list[tuple[tuple[str, ...], bool, str]]] = field(default_factory=lambda: defaultdict(list))
    beginnings: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    endings: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    def add(self, phrase: str, means: str) -> None:
        tokens = _plain(phrase)
        if not tokens:
            return
        if tokens[0].startswith("\u2217"):
            self.endings[tokens[0].strip("\u2217")].append(means)
        elif len(tokens) == 1 and tokens[0].endswith("\u2217"):
            self.beginnings[tokens[0].strip("\u2217")].append(means)
        else:
            open_end = tokens[-1].endswith("\u2217")
            self.exact[tokens[0]].append((tuple(token.strip("\u2217") for token in tokens), open_end, means))

    def matches(self, tokens: list[str], at: int) -> tuple[int, list[str]]:
        """The longest phrase at a token: its number of tokens and its meanings; 0 if there is none."""
        found: list[tuple[tuple[int, int], str]] = [
            ((len(phrase), len(tokens[at])), means)
            for phrase, open_end, means in self.exact.get(tokens[at], ())
            if _fits(phrase, open_end, tokens[at : at + len(phrase)])
        ]
        word = tokens[at]
        for cut in range(2, len(word) + 1) if self.beginnings else ():
            found += [((1, cut), means) for means in self.beginnings.get(word[:cut], ())]
        for cut in range(len(word) - 1) if self.endings else ():
            found += [((1, len(word) - cut), means) for means in self.endings.get(word[cut:], ())]
        if not found:
            return 0, []
        best = max(rank for rank, _ in found)
        return best[0], list(dict.fromkeys(means for rank, means in found if rank == best))


def _fits(phrase: tuple[str, ...], open_end: bool, tokens: list[str]) -> bool:
    if open_end:
        return len(tokens) == len(phrase) and tuple(tokens[:-1]) == phrase[:-1] and tokens[-1].startswith(phrase[-1])
    return tuple(tokens) == phrase


@cache
def _index(kind: str, languages: frozenset[str]) -> _Index:
    index = _Index()
    for language in (*LANGUAGES, "any"):
        if language not in languages:
            continue
        for means, words in _tables()[language].get(kind, {}).items():
            for word in words:
                index.add(word, "" if (kind, means) == ("place", "elsewhere") else means)
        if language == "en":
            for word, means in _english(kind):
                index.add(word, means)
    return index


def find_words(kind: str, tokens: list[Token], languages: frozenset[str]) -> list[Word]:
    """Words of one kind in reading order, longest first, none overlapping; one entry for each meaning.

    Latin and English terms are at home in reports of any language; only what denies is looked up in the
    language of the text alone ("no" denies in English and means "in the" in Portuguese).
    """
    index = _index(kind, languages if kind == "negation" else languages | {"en", "any"})
    texts = [token.text for token in tokens]
    found: list[Word] = []
    at = 0
    while at < len(tokens):
        length, meanings = index.matches(texts, at)
        found += [Word(means, tokens[at].start, tokens[at + length - 1].end) for means in meanings]
        at += max(1, length)
    return found
