"""The words of reports: `lexicon.toml` read once, and the canonical phrase of each structure."""

import tomllib
from functools import cache
from importlib.resources import files
from types import MappingProxyType

from manifests.anatomy import structures

__all__ = ["lexicon", "number_word", "numbers", "phrase", "phrases", "spelled_number", "spelled_words"]

Lexicon = MappingProxyType[str, dict[str, list[str]]]


@cache
def _tables() -> MappingProxyType[str, dict[str, object]]:
    text = files("prompts").joinpath("lexicon.toml").read_text(encoding="utf-8")
    return MappingProxyType(tomllib.loads(text))


def lexicon(section: str) -> dict[str, list[str]]:
    """Words of one section of `lexicon.toml`, by what they mean."""
    return {name: list(words) for name, words in _tables()[section].items() if isinstance(words, list)}


@cache
def phrases() -> MappingProxyType[str, str]:
    """The canonical phrase of each structure and group of the anatomy table; no two are alike."""
    # "undivided" structures are classes of real label maps, not words of a prompt
    known = [entry for entry in structures() if entry.group != "undivided"]
    names = dict.fromkeys(name for entry in known for name in (entry.name, entry.group))
    stated = _tables()["phrase"]
    return MappingProxyType({name: str(stated.get(name, name.replace("_", " "))) for name in names})


def phrase(name: str) -> str:
    """The canonical phrase of a structure or group, without an article."""
    return phrases()[name]


@cache
def numbers() -> MappingProxyType[str, int]:
    """Number words and what they count."""
    return MappingProxyType({word: int(str(value)) for word, value in _tables()["number"].items()})


def number_word(count: int) -> str:
    """The canonical word of a count: a word up to ten, digits above."""
    words: dict[int, str] = {}
    for word, value in numbers().items():
        words.setdefault(value, word)
    return words.get(count, str(count))


@cache
def spelled_words() -> MappingProxyType[str, int]:
    """Words of numbers below a hundred and their values; words up to "nine" may follow one of tens ("sixty-two")."""
    ones = {word: value for word, value in numbers().items() if word == number_word(value)}
    return MappingProxyType({**ones, **{word: int(str(value)) for word, value in _tables()["spelled"].items()}})


def spelled_number(text: str) -> int | None:
    """The number that one or two words spell ("sixty-two", "Twelve"); None if they spell none."""
    values = [spelled_words().get(word) for word in text.lower().replace("-", " ").split()]
    if len(values) == 1:
        return values[0]
    tens, ones = values if len(values) == 2 else (None, None)
    return tens + ones if tens and ones and tens >= 20 and ones < 10 else None
