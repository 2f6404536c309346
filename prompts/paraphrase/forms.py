"""Writing a prompt in one of the surface forms of `forms.toml`, with words drawn from a seed.

A form states every attribute that the prompt states and nothing else. Whether it can is found by
filling it: a filled template names the attributes in it, and one that lacks any is not used.
"""

import re
import tomllib
from dataclasses import dataclass
from functools import cache, partial
from importlib.resources import files
from types import MappingProxyType
from typing import Any, Literal

from manifests.errors import InvalidValueError, UnknownNameError
from manifests.identity import rng
from prompts.paraphrase.template import Draw, Filled, Lookup, Template, parse_template
from prompts.paraphrase.wording import Words, organ_words, patient_words, study_words, tumour_words, words
from prompts.render import article
from prompts.schema import Prompt

__all__ = ["FORMS", "Paraphrase", "forms_for", "paraphrase", "paraphrases", "write_as"]

_UNITS = (" mm", " cm", "mm", "cm", " cm", " mm")
_ARTICLE = re.compile(r"\{a\}(?= (\S+))")
_SENTENCE = re.compile(r"(^(?:- |1\) )?|(?<!\.o)[.!?]\s+(?:\d\) )?|\n(?:- )?)([a-z])")
_STOPS = re.compile(r"\.{2,}")
_MARKS = str.maketrans("", "", "\ue000\ue001")
_TRIES = 8


@dataclass(frozen=True, slots=True)
class Paraphrase:
    """One text for a prompt, and the form that it is written in."""

    text: str
    form: str


@dataclass(frozen=True, slots=True)
class _Form:
    """One entry of `forms.toml`."""

    text: Template
    tumour: Template
    again: Template | None = None
    none: str = "no tumour"
    join: str = "; "
    case: Literal["lower", "upper", ""] = ""
    entries: int | Literal["organs"] | None = None

    def tells_apart(self, prompt: Prompt) -> bool:
        """Tell whether it can hold that many tumour entries."""
        organs = [tumour.organ for tumour in prompt.tumours]
        if self.entries == "organs":
            return len(set(organs)) == len(organs)
        return self.entries is None or len(organs) <= self.entries


@cache
def _forms() -> MappingProxyType[str, _Form]:
    return MappingProxyType({str(entry.pop("name")): _form(entry) for entry in _tables()["form"]})


def _tables() -> dict[str, Any]:
    return tomllib.loads(files("prompts.paraphrase").joinpath("forms.toml").read_text(encoding="utf-8"))


def _form(entry: dict[str, Any]) -> _Form:
    templates: dict[str, Any] = {
        name: parse_template(entry.pop(name)) for name in ("text", "tumour", "again") if name in entry
    }
    return _Form(**templates, **entry)


@cache
def _phrases() -> MappingProxyType[str, Template]:
    """Templates that forms have in common."""
    return MappingProxyType({name: parse_template(text) for name, text in _tables()["phrase"].items()})


FORMS: tuple[str, ...] = tuple(_forms())
"""Names of all forms, from whole sentences over notes and lists to reports."""


def write_as(form: str, prompt: Prompt, seed: int) -> str | None:
    """Write a prompt in one form; None if the form cannot state all of it.

    Raises:
        UnknownNameError: if there is no such form.
    """
    if form not in FORMS:
        raise UnknownNameError("form", got=repr(form), need=f"one of {', '.join(FORMS)}", do="Name one of these.")
    return _write(_forms()[form], prompt, _draws(prompt, f"{seed}/{form}"))


def forms_for(prompt: Prompt) -> tuple[str, ...]:
    """Names of the forms that can state all of a prompt; some can for any."""
    # whether a form can does not depend on the words drawn
    said = _say(prompt, lambda _: 0)
    return tuple(name for name, form in _forms().items() if _fill(form, said, lambda _: 0) is not None)


def paraphrase(prompt: Prompt, seed: int) -> str:
    """Write a prompt in a form and in words that the seed chooses."""
    return paraphrases(prompt, seed, 1)[0].text


def paraphrases(prompt: Prompt, seed: int, n: int) -> tuple[Paraphrase, ...]:
    """Write a prompt in `n` ways: each form once before any comes again, in an order of the seed.

    Text k is the same for any `n`. Texts differ from each other as long as the words allow it.

    Raises:
        InvalidValueError: if `n` is less than 1.
    """
    if n < 1:
        raise InvalidValueError("paraphrases, n", got=str(n), need="at least 1", do="Ask for one or more.")
    able = forms_for(prompt)
    order = rng(prompt.prompt_id, f"paraphrase/{seed}").permutation(len(able))
    written: list[Paraphrase] = []
    seen: set[str] = set()
    for number in range(n):
        form = able[order[number % len(able)]]
        text = _fresh(_forms()[form], prompt, f"{seed}/{number}", seen)
        seen.add(text)
        written.append(Paraphrase(text, form))
    return tuple(written)


def _fresh(form: _Form, prompt: Prompt, stage: str, seen: set[str]) -> str:
    """Write a prompt in a form that can, in words not seen yet if a few tries find some."""
    text = ""
    for attempt in range(_TRIES):
        text = _write(form, prompt, _draws(prompt, f"{stage}/{attempt}")) or ""
        assert text, "the form cannot state the prompt"
        if text not in seen:
            break
    return text


def _draws(prompt: Prompt, stage: str) -> Draw:
    generator = rng(prompt.prompt_id, f"paraphrase/{stage}")
    return lambda options: int(generator.integers(options))


@dataclass(frozen=True, slots=True)
class _Said:
    """The words of one prompt: of its own fields, of each tumour entry, and what they have to state."""

    prompt: Prompt
    about: Words
    entries: tuple[Words, ...]
    stated: frozenset[str]


def _say(prompt: Prompt, draw: Draw) -> _Said:
    unit = _UNITS[draw(len(_UNITS))]
    about = patient_words(prompt.patient, draw) | study_words(prompt.study, draw) | organ_words(prompt, draw)
    several = bool(prompt.tumours) and (prompt.tumours[0].count or 1) > 1
    about |= {"was": Filled("were" if several else "was"), "there_is": Filled("there are" if several else "there is")}
    entries = tuple(tumour_words(tumour, number, unit, draw) for number, tumour in enumerate(prompt.tumours))
    return _Said(prompt, about, entries, _stated(prompt))


def _write(form: _Form, prompt: Prompt, draw: Draw) -> str | None:
    """Write a prompt in a form; None if that leaves out a stated attribute."""
    text = _fill(form, _say(prompt, draw), draw)
    return None if text is None else _polish(text, form.case, british=draw(2) == 0)


def _fill(form: _Form, said: _Said, draw: Draw) -> str | None:
    """Fill the templates of a form; None if that leaves out a stated attribute."""
    if not form.tells_apart(said.prompt):
        return None
    entries = {"tumours": _entries(form.tumour, said.entries, form, draw)}
    if form.again:
        entries["again"] = _entries(form.again, said.entries, form, draw)
    filled = form.text.fill(_lookup(said.about | entries, draw), draw)
    return filled.text if filled is not None and filled.states == said.stated else None


def _entries(template: Template, entries: tuple[Words, ...], form: _Form, draw: Draw) -> Filled | None:
    """All tumour entries of a prompt, each by the template; None if one cannot be written."""
    filled = [template.fill(_lookup(entry, draw), draw) for entry in entries]
    done = [item for item in filled if item is not None]
    if len(done) < len(filled):
        return None
    states = frozenset().union(*(item.states for item in done))
    return Filled(form.join.join(item.text for item in done), states) if done else Filled(form.none)


def _lookup(fields: Words, draw: Draw) -> Lookup:
    """Find the words of a field, or fill the common phrase of that name."""
    return partial(_look, fields, draw)


def _look(fields: Words, draw: Draw, name: str) -> Filled | None:
    if name == "a":
        return Filled("{a}")  # settled when the next word is known
    return fields[name] if name in fields else _phrases()[name].fill(_lookup(fields, draw), draw)


def _stated(prompt: Prompt) -> frozenset[str]:
    """Names of all attributes that a prompt states."""
    stated = {f"patient.{name}" for name in prompt.patient.model_dump(exclude_none=True)}
    stated |= {f"study.{name}" for name in prompt.study.model_dump(exclude_none=True)}
    stated |= {name for name in ("absent_organs", "enlarged_organs") if getattr(prompt, name)}
    for number, tumour in enumerate(prompt.tumours):
        stated |= {f"tumours.{number}.{name}" for name in tumour.model_dump(exclude_none=True)}
    return frozenset(stated)


def _polish(text: str, case: str, british: bool) -> str:
    """Settle spelling, articles, capitals and stops."""
    for word, american in () if british else words("american").items():
        text = text.replace(word, american[0])
    text = _ARTICLE.sub(lambda found: article(found[1]).lower(), text)
    text = _STOPS.sub(".", re.sub(r" +(?=[ \n])", "", text)).strip()
    if not case:
        return _SENTENCE.sub(lambda found: found[1] + found[2].upper(), text).translate(_MARKS)
    parts = re.split("\ue000(.*?)\ue001", text)
    return "".join(part if kept % 2 else getattr(part, case)() for kept, part in enumerate(parts))
