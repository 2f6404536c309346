"""Short sentences of people in a hurry ("LUL mass", "womb cancer, 70F"), in the words that reports have for an organ."""

from functools import cache

import numpy as np

from prompts.lexicon import lexicon
from prompts.schema import Prompt, Tumour

__all__ = ["short_text", "short_words"]

_GENERAL = ("tumour", "tumor", "cancer", "carcinoma", "mass", "malignancy", "neoplasm", "adenocarcinoma")
_RARE = 0.3
"""Chance of any other word that reports have for a tumour."""
_SAID = 0.3
"""Chance of each of age and sex, and size."""
_FORMS = ("{where} {what}", "{what} of the {where}", "{what} in the {where}", "{where} {what}", "{where} {what} on CT")
_BEFORE = ("{who} with {finding}", "{who} diagnosed with {finding}", "{who}, {finding}", "{who} has {finding}")
_BEHIND = ("{finding} in {who}", "{finding}, {who}", "newly diagnosed {finding} in {who}", "{finding} of {who}")
_ALONE = ("{finding}", "patient with {finding}", "someone with {finding}", "CT: {finding}", "diagnosed {finding}")


def short_text(prompt: Prompt, random: np.random.Generator) -> str:
    """Name the first tumour of a prompt, with at most who bears it and its size."""

    def one_of(options: tuple[str, ...] | list[str]) -> str:
        return options[int(random.integers(len(options)))]

    who = _who(prompt, random)
    if not prompt.tumours:
        finding = one_of(("no tumour", "no mass", "no malignancy", "without tumour"))
    else:
        finding = _finding(prompt.tumours[0], random)
    if who is None:
        return one_of(_ALONE).format(finding=finding)
    return one_of((*_BEFORE, *_BEHIND)).format(who=who, finding=finding)


def _finding(tumour: Tumour, random: np.random.Generator) -> str:
    def one_of(options: list[str] | tuple[str, ...]) -> str:
        return options[int(random.integers(len(options)))]

    where = one_of(_places()[tumour.site or tumour.organ])
    where = f"{tumour.side} {where}" if tumour.side and not tumour.site else where
    known = _diagnoses().get(tumour.organ, [])
    if known and random.random() < _SAID:
        words = one_of(known)
        if tumour.side or tumour.site not in (None, tumour.organ) or random.random() < _SAID:
            words = f"{words} of the {where}"
    else:
        kinds = _kinds() if random.random() < _RARE else _GENERAL
        words = one_of(_FORMS).format(where=where, what=one_of(kinds))
    if tumour.size_mm is None or random.random() > _SAID:
        return words
    size = f"{tumour.size_mm:g} mm" if random.random() < 0.5 else f"{tumour.size_mm / 10:g} cm"
    return f"{size} {words}" if random.random() < 0.5 else f"{words}, {size}"


def _who(prompt: Prompt, random: np.random.Generator) -> str | None:
    patient = prompt.patient
    if random.random() > 2 * _SAID or (patient.sex is None and patient.age_years is None):
        return None
    sexes = lexicon("sex")[patient.sex][:4] if patient.sex else ["person", "patient", "adult"]
    sex = sexes[int(random.integers(len(sexes)))]
    if patient.age_years is None or random.random() < 0.3:
        return f"a {sex}"
    age = f"{patient.age_years:.0f}"
    if patient.sex and random.random() < 0.3:
        return f"{age}{patient.sex[0].upper()}"
    return f"a {age}-year-old {sex}" if random.random() < 0.7 else f"a {sex} aged {age}"


def short_words() -> list[str]:
    """All words of places and tumours, for the vocabulary."""
    return [*_GENERAL, *_kinds(), *(word for words in (*_places().values(), *_diagnoses().values()) for word in words)]


@cache
def _places() -> dict[str, list[str]]:
    return lexicon("words")


@cache
def _diagnoses() -> dict[str, list[str]]:
    return lexicon("diagnosis")


@cache
def _kinds() -> tuple[str, ...]:
    words = lexicon("tumour")
    return (*words["strong"], *words["mass"])
