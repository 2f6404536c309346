"""The words of `words.toml` and of the lexicon, and finding them in a text of one of several languages."""

import re
import tomllib
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.resources import files
from typing import Any, NamedTuple

from manifests.anatomy import structures
from prompts.grounding.quotes import fold
from prompts.lexicon import lexicon, numbers, phrases

__all__ = ["LANGUAGES", "Token", "Word", "find_words", "languages_of", "tokens_of"]

_KINDS = (
    *("place", "diagnosis", "tumour", "relation", "side", "negation", "number", "away"),
    *("sex", "letter", "age", "race", "cue", "phase", "region", "link"),
    *("absent", "absent_sided", "enlarged", "state", "kept"),
)
_REMEMBERED = 20_000
LANGUAGES = ("en", "de", "fr", "es", "it", "pt", "tr", "nl")
_LOOSE = re.compile(r"[\u00ad\u0300-\u036f\u200b-\u200f\u2060\ufeff\u00bd\ufb00-\ufb06]|[^\x00-\u024f\u2000-\u206f]")
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


class _Foldings(dict[str, str]):
    """Folded words, remembered."""

    def __missing__(self, word: str) -> str:
        folded = fold(word, marks=False).text
        if len(self) < _REMEMBERED:
            self[word] = folded
        return folded


_FOLDINGS = _Foldings()


def tokens_of(text: str) -> list[Token]:
    """Words and numbers of a text, folded without accents."""
    if text.isascii() or not _LOOSE.search(text):
        return [Token(_FOLDINGS[m[0]], m.start(), m.end()) for m in _TOKEN.finditer(text)]
    folded = fold(text, marks=False)  # accents and joiners of their own would part words
    return [Token(m[0], *folded.span(m.start(), m.end())) for m in _TOKEN.finditer(folded.text)]


def _plain(phrase: str) -> tuple[str, ...]:
    """A phrase of the tables as folded tokens; a star stays with its token."""
    marked = phrase.replace("*", "\u2217")
    return tuple(re.findall(r"\u2217?(?:\d+(?:[.,]\d+)*|[^\W\d_]+)\u2217?", fold(marked, marks=False).text))


@cache
def _function_words() -> dict[str, tuple[str, ...]]:
    """Common words, with the languages that they are common in."""
    languages: dict[str, list[str]] = defaultdict(list)
    for name in LANGUAGES:
        for word in dict.fromkeys(_plain(" ".join(_tables()[name]["function"]))):
            languages[word].append(name)
    return {word: tuple(names) for word, names in languages.items()}


def languages_of(tokens: list[Token]) -> frozenset[str]:
    """The languages that a text may be in, by their commonest words; all of them where too few tell."""
    known = _function_words()
    counts = dict.fromkeys(LANGUAGES, 0)
    for word, tally in Counter(token.text for token in tokens).items():
        for name in known.get(word, ()):
            counts[name] += min(3, tally)
    best = max(counts.values())
    if best < 2:
        return frozenset(LANGUAGES)
    return frozenset(name for name, count in counts.items() if count >= 0.75 * best)


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


class _Index:
    """Phrases of one kind in one language: by first token, by beginning and by ending of a single token."""

    def __init__(self) -> None:
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

    def begun(self, word: str) -> list[_Entry]:
        """Phrases that may begin with a word."""
        found = [(phrase, open_end, len(word), means) for phrase, open_end, means in self.exact.get(word, ())]
        for cut in range(2, len(word) + 1) if self.beginnings else ():
            found += [((word,), False, cut, means) for means in self.beginnings.get(word[:cut], ())]
        for cut in range(len(word) - 1) if self.endings else ():
            found += [((word,), False, len(word) - cut, means) for means in self.endings.get(word[cut:], ())]
        return found


def _goes_on(phrase: tuple[str, ...], tokens: list[str]) -> bool:
    """Tell whether tokens are a phrase whose last word may have any ending."""
    return len(tokens) == len(phrase) and tuple(tokens[:-1]) == phrase[:-1] and tokens[-1].startswith(phrase[-1])


@cache
def _index(kind: str, language: str) -> _Index:
    index = _Index()
    for means, words in _tables()[language].get(kind, {}).items():
        for word in words:
            index.add(word, "" if (kind, means) == ("place", "elsewhere") else means)
    for word, means in _english(kind) if language == "en" else ():
        index.add(word, means)
    return index


@dataclass(frozen=True, slots=True)
class _Begun:
    """What may begin with one word: phrases of several words by length, else what the word means alone."""

    kind: str
    lengths: tuple[int, ...]
    phrases: dict[tuple[str, ...], tuple[str, ...]]
    open_phrases: tuple[tuple[tuple[str, ...], str], ...]
    alone: tuple[str, ...]


def _begun(kind: str, entries: list[_Entry]) -> _Begun:
    closed: dict[tuple[str, ...], dict[str, None]] = defaultdict(dict)
    for phrase, open_end, _, means in entries:
        if len(phrase) > 1 and not open_end:
            closed[phrase][means] = None
    singles = [(letters, means) for phrase, _, letters, means in entries if len(phrase) == 1]
    most = max((letters for letters, _ in singles), default=0)
    return _Begun(
        kind,
        tuple(sorted({len(phrase) for phrase in closed}, reverse=True)),
        {phrase: tuple(means) for phrase, means in closed.items()},
        tuple((phrase, means) for phrase, open_end, _, means in entries if open_end),
        tuple(dict.fromkeys(means for letters, means in singles if letters == most)),
    )


class _Lookup(dict[str, tuple[_Begun, ...]]):
    """What phrases of each kind may begin with a word, in a set of languages."""

    def __init__(self, languages: frozenset[str]) -> None:
        super().__init__()
        wider = sorted(languages | {"en", "any"})
        self.indices = {
            kind: [_index(kind, name) for name in (sorted(languages) if kind == "negation" else wider)]
            for kind in _KINDS
        }

    def __missing__(self, word: str) -> tuple[_Begun, ...]:
        found = {kind: [e for index in known for e in index.begun(word)] for kind, known in self.indices.items()}
        entries = tuple(_begun(kind, listed) for kind, listed in found.items() if listed)
        if len(self) < _REMEMBERED:
            self[word] = entries
        return entries


_lookup = lru_cache(maxsize=16)(_Lookup)


def find_words(tokens: list[Token], languages: frozenset[str]) -> dict[str, list[Word]]:
    """Words of each kind in reading order; of one kind longest first, none overlapping, one entry for each meaning.

    Latin and English terms are at home in reports of any language; only what denies is looked up in the
    language of the text alone ("no" denies in English and means "in the" in Portuguese).
    """
    lookup = _lookup(languages)
    texts = [token.text for token in tokens]
    found: dict[str, list[Word]] = {kind: [] for kind in _KINDS}
    free = dict.fromkeys(_KINDS, 0)
    for at, token in enumerate(tokens):
        for begun in lookup[token.text]:
            if at < free[begun.kind]:
                continue
            length, meanings = 1, begun.alone
            for tried in begun.lengths:
                key = tuple(texts[at : at + tried])  # at the end of the text it may be shorter
                if key in begun.phrases:
                    length, meanings = len(key), begun.phrases[key]
                    break
            for phrase, means in begun.open_phrases:
                if len(phrase) > length and _goes_on(phrase, texts[at : at + len(phrase)]):
                    length, meanings = len(phrase), (means,)
            if meanings:
                end = tokens[at + length - 1].end
                found[begun.kind] += [Word(means, token.start, end) for means in meanings]
                free[begun.kind] = at + length
    return found
