"""The words of `words.toml` and of the lexicon, and finding them in a text of one of several languages."""

import re
import tomllib
from collections import defaultdict
from collections.abc import Iterator
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


_Entry = tuple[tuple[str, ...], bool, int, str]
"""A phrase, whether its last token may go on, how many letters of the first token fit, and what it means."""
_REMEMBERED = 20_000


class _Index(dict[str, tuple[_Entry, ...]]):
    """Phrases of one kind in one language: by first token, by beginning and by ending of a single token."""

    def __init__(self) -> None:
        super().__init__()
        self.exact: dict[str, list[tuple[tuple[str, ...], bool, str]]] = defaultdict(list)
        self.beginnings: dict[str, list[str]] = defaultdict(list)
        self.endings: dict[str, list[str]] = defaultdict(list)

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

    def __missing__(self, word: str) -> tuple[_Entry, ...]:
        """Phrases that may begin with a word, remembered for the next time that it comes."""
        found = [(phrase, open_end, len(word), means) for phrase, open_end, means in self.exact.get(word, ())]
        for cut in range(2, len(word) + 1):
            found += [((word,), False, cut, means) for means in self.beginnings.get(word[:cut], ())]
        for cut in range(len(word) - 1):
            found += [((word,), False, len(word) - cut, means) for means in self.endings.get(word[cut:], ())]
        if len(self) < _REMEMBERED:
            self[word] = tuple(found)
        return tuple(found)


def _fits(phrase: tuple[str, ...], open_end: bool, tokens: list[str]) -> bool:
    if open_end:
        return len(tokens) == len(phrase) and tuple(tokens[:-1]) == phrase[:-1] and tokens[-1].startswith(phrase[-1])
    return tuple(tokens) == phrase


@cache
def _index(kind: str, language: str) -> _Index:
    index = _Index()
    for means, words in _tables()[language].get(kind, {}).items():
        for word in words:
            index.add(word, "" if (kind, means) == ("place", "elsewhere") else means)
    for word, means in _english(kind) if language == "en" else ():
        index.add(word, means)
    return index


def find_words(kind: str, tokens: list[Token], languages: frozenset[str]) -> list[Word]:
    """Words of one kind in reading order, longest first, none overlapping; one entry for each meaning.

    Latin and English terms are at home in reports of any language; only what denies is looked up in the
    language of the text alone ("no" denies in English and means "in the" in Portuguese).
    """
    known = languages if kind == "negation" else languages | {"en", "any"}
    indices = [index for name in sorted(known) if (index := _index(kind, name)).exact or index.beginnings]
    texts = [token.text for token in tokens]
    found: list[Word] = []
    at = 0
    while at < len(tokens):
        matches = [
            ((len(phrase), letters), means)
            for index in indices
            for phrase, open_end, letters, means in index[texts[at]]
            if len(phrase) == 1 or _fits(phrase, open_end, texts[at : at + len(phrase)])
        ]
        best = max((rank for rank, _ in matches), default=(1, 0))
        meanings = dict.fromkeys(means for rank, means in matches if rank == best)
        found += [Word(means, tokens[at].start, tokens[at + best[0] - 1].end) for means in meanings]
        at += best[0]
    return found
