"""Finding the words of the lexicon and of the anatomy table in a text, longest first.

A text becomes tokens (words, numbers, punctuation; hyphens separate), and known phrases become
`Mention`s in reading order that do not overlap. Each phrase may mean several things.
"""

import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import NamedTuple

from manifests.anatomy import structures
from prompts.lexicon import lexicon, numbers, phrases

__all__ = ["Meaning", "Mention", "Words", "lowered", "scan", "words_of"]

_TOKEN = re.compile(r"\d++(?:[.,]\d++)?(?![^\W\d_])|[^\W_]++|[^\w\s\-]")
_SECTIONS = (
    "diagnosis",
    "tumour",
    "absent",
    "absent_sided",
    "enlarged",
    "contrast_phase",
    "region",
    "relation",
    "negation",
    "judged",
    "measured",
    "lesion",
    "lobe",
    "benign",
    "sex",
    "pronoun",
    "race",
    "state",
    "kept",
    "scan",
)
_TRIGGERS = ("diagnosis", "absent", "absent_sided", "enlarged", "contrast_phase", "scan", "state")
_PATIENT_TRIGGERS = ("sex", "pronoun", "race")
# The words of longer phrases that name a tumour or a phase.
_SAY_IT = frozenset(("ca", "primary", "mass", "masses", "sarcoma", "phase", "linitis"))
_SAY_SO = ("tumo", "malign", "neopla", "cancer", "carcino")
# Words so frequent that a phrase is looked for by another of its words.
_COMMON = frozenset(
    re.findall(
        r"\w+",
        "a an and are as at be been before after by ct for from has have in is it no not of on or the to was were with without within"
        " following observed detected seen size sizes normal image images left right upper lower lobe lung lungs liver kidney gallbladder"
        " thoracic abdominal pulmonary hepatic other lesion lesions dimensions parenchymal solid limits primary bronchial above",
    )
)


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a phrase says, by kind; None or empty where it says nothing of that kind.

    `place` is "" for a place that the anatomy table lacks and "?" for a region that holds several organs.
    """

    place: str | None = None
    diagnosis: str | None = None
    tumour: str | None = None
    contrast_phase: str | None = None
    region: str | None = None
    relation: str | None = None
    negation: str | None = None
    judged: str | None = None
    measured: str | None = None
    lesion: str | None = None
    lobe: str | None = None
    benign: str | None = None
    sex: str | None = None
    pronoun: str | None = None
    race: str | None = None
    state: str | None = None
    kept: str | None = None
    scan: str | None = None
    number: int | None = None
    absent: tuple[str, ...] = ()
    absent_sided: tuple[str, ...] = ()
    enlarged: tuple[str, ...] = ()


class Mention(NamedTuple):
    """A known phrase: what it means, and where it stands in the scanned text."""

    means: Meaning
    start: int
    end: int
    text: str


_Table = tuple[int, dict[tuple[str, ...], Meaning]]


def lowered(text: str) -> str:
    """Lower case of the same length, so that positions hold in both."""
    lower = text.lower()
    return lower if len(lower) == len(text) else "".join(c.lower() if len(c.lower()) == 1 else c for c in text)


def _tokens(text: str) -> tuple[str, ...]:
    return tuple(_TOKEN.findall(text.lower()))


@cache
def _meanings() -> dict[tuple[str, ...], Meaning]:
    """What each known phrase means, by its tokens."""
    kinds: dict[tuple[str, ...], dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for kind, value, words in _entries():
        for word in words:
            said = kinds[_tokens(word)][kind]
            if value not in said:
                said.append(value)
    return {key: _meaning(said) for key, said in kinds.items()}


@cache
def _phrases() -> dict[str, tuple[_Table, ...]]:
    """All known phrases by their first token and then by their length, longest first."""
    tables: dict[str, dict[int, dict[tuple[str, ...], Meaning]]] = defaultdict(lambda: defaultdict(dict))
    for key, means in _meanings().items():
        tables[key[0]][len(key)][key] = means
    return {first: tuple(sorted(by_length.items(), reverse=True)) for first, by_length in tables.items()}


def _meaning(said: dict[str, list[str]]) -> Meaning:
    many = {kind: tuple(said.get(kind, ())) for kind in ("absent", "absent_sided", "enlarged")}
    one = {kind: values[0] for kind, values in said.items() if kind not in many and kind != "number"}
    number = int(said["number"][0]) if "number" in said else None
    return Meaning(**one, **many, number=number)  # type: ignore[arg-type]


def _entries() -> Iterator[tuple[str, str, list[str]]]:
    yield from (("place", name, words) for name, words in _place_words().items())
    yield from (("place", "?" if name == "region" else "", words) for name, words in lexicon("elsewhere").items())
    yield from _cancers()
    for section in _SECTIONS:
        yield from ((section, name, words) for name, words in lexicon(section).items())
    yield from (("number", str(value), [word]) for word, value in numbers().items())


def _cancers() -> Iterator[tuple[str, str, list[str]]]:
    """Forms such as "lung ca", "ca of the lung" and "pancreatic primary": words that do not count without their organ."""
    places = {**_place_words(), "": [word for words in lexicon("elsewhere").values() for word in words]}
    frames = ("{} ca", "ca {}", "ca of {}", "ca of the {}", "{} primary")
    for name, words in places.items():
        forms = [form.format(word) for word in words for form in frames]
        yield "place", name, forms
        yield "tumour", "strong", forms


def _place_words() -> dict[str, list[str]]:
    """Words of each structure and group; a synonym that the anatomy table gives to several is nobody's."""
    words = {name: [text] for name, text in phrases().items()}
    for name, listed in lexicon("words").items():
        words[name] += listed
    taken = {_tokens(word) for listed in words.values() for word in listed}
    taken |= {_tokens(word) for listed in lexicon("elsewhere").values() for word in listed}
    owners: dict[tuple[str, ...], list[tuple[str, str]]] = defaultdict(list)
    for entry in structures():
        for word in entry.synonyms:
            owners[_tokens(word)].append((entry.name, word))
    for key, owned in owners.items():
        name, word = owned[0]
        if len(owned) == 1 and key and key not in taken and name in words:
            words[name].append(word)
    return words


@cache
def _telling(kinds: tuple[str, ...], tumours: bool) -> frozenset[str]:
    """The rarest token of each phrase that means something of these kinds, or names a tumour."""
    found = set()
    for key, means in _meanings().items():
        named = tumours and means.tumour in ("strong", "mass", "lymphoma")
        if means.contrast_phase == "unknown" and not means.scan:
            continue
        if named or any(getattr(means, kind) for kind in kinds):
            short = next((token for token in key if token in _SAY_IT or token.startswith(_SAY_SO)), None)
            found.add(short or max(key, key=lambda token: (token not in _COMMON, len(token))))
    return frozenset(found)


def scan(text: str) -> tuple[Mention, ...]:
    """Find all known phrases in a text."""
    known, found = _phrases(), []
    matches = list(_TOKEN.finditer(lowered(text)))
    tokens = [match[0] for match in matches]
    done = 0
    for index, token in enumerate(tokens):
        if index < done or token not in known:
            continue
        for length, table in known[token]:
            means = table.get(tuple(tokens[index : index + length]))
            if means is not None:
                start, end = matches[index].start(), matches[index + length - 1].end()
                found.append(Mention(means, start, end, text[start:end]))
                done = index + length
                break
    return tuple(found)


class Words:
    """The words of one clause; its known phrases are looked for when they are first asked for.

    Attributes:
        text: the clause.
        live: whether it may say anything on tumours, organs and the scan.
        personal: whether it may say anything on the patient.
    """

    __slots__ = ("_mentions", "live", "personal", "text")

    def __init__(self, text: str) -> None:
        tokens = _TOKEN.findall(lowered(text))
        self.text = text
        self.live = not _telling(_TRIGGERS, tumours=True).isdisjoint(tokens)
        self.personal = not _telling(_PATIENT_TRIGGERS, tumours=False).isdisjoint(tokens)
        self._mentions: tuple[Mention, ...] | None = None

    @property
    def mentions(self) -> tuple[Mention, ...]:
        """The known phrases, in reading order; positions count from the start of the clause."""
        if self._mentions is None:
            self._mentions = scan(self.text)
        return self._mentions


@lru_cache(maxsize=4096)
def words_of(text: str) -> Words:
    """The words of a clause; the latest clauses are remembered, because reports repeat them."""
    return Words(text)
