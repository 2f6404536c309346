"""Spellings to canonical values, for each closed vocabulary of a prompt: the right value or none, never a wrong one.

The spellings of tables and structured records are data, `vocabulary.toml`; whole values are looked up, never parts
of them, so that "female" is no "male" and "non-white" no "white". T, N and M follow the grammar of TNM.
Words inside sentences are the business of `prompts.rules`.
"""

import re
import tomllib
import unicodedata
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Literal, get_args

from manifests.errors import UnknownNameError
from prompts.schema import MStage, NStage, TStage

__all__ = ["VOCABULARIES", "Vocabulary", "is_listed", "normalise"]

Vocabulary = Literal[
    "sex", "race", "organ", "site", "side", "contrast_phase", "region", "t_stage", "n_stage", "m_stage"
]
VOCABULARIES: tuple[Vocabulary, ...] = get_args(Vocabulary)
"""Fields whose values are closed, by the last part of their names."""

_STAGES: MappingProxyType[str, tuple[str, tuple[str, ...]]] = MappingProxyType(
    {"t_stage": ("T", get_args(TStage)), "n_stage": ("N", get_args(NStage)), "m_stage": ("M", get_args(MStage))}
)
_UNSTATED = ""
_SIGNS = r"?+<>=~\u2264\u2265\u2260\u00b1\u00ac"  # these change what a word means and are never ignored
_CODE = re.compile(r"(c\d\d(?:\.?\d{1,2})?)(?:\s+(\D.*))?")

# "ypT4a (m) N1mi cM0(i+)", "Stage pN1c", "T2 NOS", "1a": prefixes, the class, its subclasses, and notes beside it.
_WORDS = re.compile(
    r"\b(?:ajcc|uicc|tnm|stage|category|classification|pathologic(?:al)?|clinical|nos|ed|edition|v?[678]th)\b|\bt\s*stage\b"
)
_PREFIX = r"(?:[yra]?[cpua]|[yra]{1,2}[cpu]?)?"
_NOTE = r"(?:\s*\((?:m|\d{1,2}|i[+-]|mol[+-]|mi|sn|f|dcis|lcis|paget'?s?|lamn|pd|scc|u|v|s)\)|\s+(?:i[+-]|mol[+-]|sn))*"
_CLASS = r"(?:is|x|\d(?:[a-e](?:[1-3]|i{1,3}|iv)?)?(?:mi)?)"
_END = r"(?:(?![a-z0-9])|(?<!c)(?=[nm][\dx]))"  # T1N1cM0 may be N1c or cM0: not read
_COMPONENT = re.compile(rf"{_PREFIX}(?P<letter>[tnm])\s?(?P<class>{_CLASS}){_NOTE}{_END}")
_BARE = re.compile(rf"(?P<class>[0-4][a-e]){_NOTE}")


@cache
def _spellings(field: str) -> dict[str, str]:
    """Values of one vocabulary by key; `_UNSTATED` where a spelling says that there is none."""
    if field not in VOCABULARIES:
        raise UnknownNameError(
            "vocabulary", got=repr(field), need=f"one of {', '.join(VOCABULARIES)}", do="Choose one of them."
        )
    tables = tomllib.loads(files("prompts").joinpath("vocabulary.toml").read_text(encoding="utf-8"))
    found: dict[str, str] = {_key(word): _UNSTATED for word in tables["any"]["unstated"]}
    for value, words in tables[field].items():
        found |= {_key(word): _UNSTATED if value == "unstated" else value for word in words}
    return found


def _key(text: str) -> str:
    """What spellings that differ in case, spacing or joining punctuation have in common."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return " ".join(word for part in re.sub(rf"[^\w.{_SIGNS}]|_", " ", folded).split() if (word := part.strip(".")))


def normalise(field: str, text: str) -> str | None:
    """Turn a spelling into the value of a vocabulary ("sex", "race", "t_stage", ...); None for unstated.

    Unstated is also what no table lists, what is ambiguous ("native" as a race), and a bare digit, which
    may be a code of any kind. Finer classes than the vocabulary's give the class above: N2c is N2.

    Raises:
        UnknownNameError: if there is no such vocabulary.
    """
    return _look_up(field, text) or None


def is_listed(field: str, text: str) -> bool:
    """Whether a spelling is known, be it as a value or as one that leaves the field unstated.

    Raises:
        UnknownNameError: if there is no such vocabulary.
    """
    return _look_up(field, text) is not None


def _look_up(field: str, text: str) -> str | None:
    """The value, `_UNSTATED`, or None for a spelling that is not known."""
    known = _spellings(field)
    key = _key(text)
    if key in known:
        return known[key]
    if field in _STAGES:
        return _stage(field, text)
    if field in ("organ", "site") and (match := _CODE.fullmatch(key)):
        return _coded(known, match[1], match[2])
    return None


def _coded(known: dict[str, str], code: str, name: str | None) -> str | None:
    """A topography code with or without its dot, and the name behind it, which must agree."""
    digits = code.replace(".", "")
    value = known.get(_key(digits if len(digits) == 3 else f"{digits[:3]}.{digits[3:]}"))
    stated = known.get(name) if name else None
    return _UNSTATED if value and stated and stated != value else value


def _stage(field: str, text: str) -> str | None:
    """Read one component of a TNM string whose every word is understood."""
    letter, values = _STAGES[field]
    rest = _WORDS.sub(" ", unicodedata.normalize("NFKC", text).casefold())
    rest = _bared(re.sub(rf"[^\w().'\-{_SIGNS}]|_", " ", rest))
    bare = _BARE.fullmatch(rest)
    if bare:
        return _class(letter, bare["class"], values)
    parts = list(_COMPONENT.finditer(rest))
    own = next((part for part in parts if part["letter"] == letter.lower()), None)
    understood = not _COMPONENT.sub("", rest).strip() and len({part["letter"] for part in parts}) == len(parts)
    if own is None or not understood:
        return None
    return _UNSTATED if own["class"] == "x" else _class(letter, own["class"], values)


def _bared(text: str) -> str:
    """Text without the punctuation around it, but with the brackets of its own notes."""
    text = re.sub(rf"^[^\w{_SIGNS}]+|[^\w){_SIGNS}]+$", "", text)
    while text.endswith(")") and text.count(")") > text.count("("):
        text = re.sub(rf"\)[^\w){_SIGNS}]*$", "", text).rstrip()
    return " ".join(re.sub(rf"[^\w){_SIGNS}]+$", "", text).split())


def _class(letter: str, stated: str, values: tuple[str, ...]) -> str | None:
    """The class itself, or the class above it that the vocabulary has."""
    for length in (len(stated), 2, 1):
        value = letter + stated[:length]
        if value in values:
            return value
    return None
