"""A prompt as its canonical English text: one sentence on the patient, one on the imaging.

The text states each stated field once and nothing else; it is a function of the prompt alone.
Change `TEMPLATE_VERSION` whenever the text of any prompt changes.
"""

import re
from decimal import Decimal

from prompts.lexicon import number_word, phrase
from prompts.schema import Patient, Prompt, Study, Tumour

__all__ = ["ADULT_YEARS", "TEMPLATE_VERSION", "article", "render"]

TEMPLATE_VERSION = "canonical-2"
ADULT_YEARS = 18
"""Patients below this age are a boy, a girl or a child."""

_DIGITS = re.compile(r"\d+")
_RACE = {
    "white": "white",
    "black": "black",
    "asian": "Asian",
    "native_american": "Native American",
    "pacific_islander": "Pacific Islander",
    "other": "of other race",
}
_ADULT = {"male": "man", "female": "woman", None: "person"}
_CHILD = {"male": "boy", "female": "girl", None: "child"}
_PHASE = {
    "native": "an unenhanced CT",
    "arterial": "an arterial phase CT",
    "portal_venous": "a portal venous phase CT",
    "delayed": "a delayed phase CT",
    None: "a CT",
}
_REGION = {
    "chest": "chest",
    "abdomen": "abdomen",
    "chest_abdomen": "chest and abdomen",
    "abdomen_pelvis": "abdomen and pelvis",
    "torso": "torso",
}


def render(prompt: Prompt) -> str:
    """Render a prompt as its two canonical sentences."""
    return f"{_patient(prompt.patient)} {_imaging(prompt)}"


def _number(value: float) -> str:
    """The shortest decimal text of a number, never in exponents."""
    text = format(Decimal(repr(value)), "f")
    return text.removesuffix(".0")


def _patient(patient: Patient) -> str:
    age = f"{_number(patient.age_years)}-year-old" if patient.age_years is not None else ""
    race = _RACE[patient.race] if patient.race else ""
    child = patient.age_years is not None and patient.age_years < ADULT_YEARS
    noun = (_CHILD if child else _ADULT)[patient.sex]
    described = (age, noun, race) if patient.race == "other" else (age, race, noun)
    words = " ".join(word for word in described if word)
    clauses = [words]
    if patient.height_cm is not None:
        clauses.append(f"{_number(patient.height_cm)} cm tall")
    if patient.weight_kg is not None:
        clauses.append(f"weighing {_number(patient.weight_kg)} kg")
    return f"{article(words)} {', '.join(clauses)}."


def article(words: str) -> str:
    """The indefinite article that words call for: "An" before eight, eleven, eighteen and the eighties."""
    first = words.split()[0]
    digits = _DIGITS.match(first)
    if digits:
        return "An" if digits[0] in ("11", "18") or (digits[0].startswith("8") and len(digits[0]) < 3) else "A"
    spelled = len(first) > 1 and first.isupper()  # "an LUL mass": the letter's name
    return "An" if first[0] in ("AEFHILMNORSX" if spelled else "aeiouAEIO") else "A"


def _imaging(prompt: Prompt) -> str:
    findings = [_tumour(tumour) for tumour in prompt.tumours] or ["no tumour"]
    states = [f"the {phrase(name)} is absent" for name in prompt.absent_organs]
    states += [f"the {phrase(name)} is enlarged" for name in prompt.enlarged_organs]
    return f"In this imaging, {_study(prompt.study)} shows {'; '.join([*findings, *states])}."


def _study(study: Study) -> str:
    region = f" of the {_REGION[study.region]}" if study.region else ""
    return _PHASE[study.contrast_phase] + region


def _tumour(tumour: Tumour) -> str:
    """Render one entry; "cancer" leaves the count open, "tumour" counts."""
    if tumour.count is None:
        noun, size = "cancer", "measuring"
    elif tumour.count == 1:
        noun, size = "one tumour", "measuring"
    else:
        noun, size = f"{number_word(tumour.count)} tumours", "the largest measuring"
    parts = [f"{noun} of the {_place(tumour)}"]
    if tumour.size_mm is not None:
        parts.append(f"{size} {_number(tumour.size_mm)} mm")
    stages = [stage for stage in (tumour.t_stage, tumour.n_stage, tumour.m_stage) if stage]
    if stages:
        parts.append(f"stage {' '.join(stages)}")
    return ", ".join(parts)


def _place(tumour: Tumour) -> str:
    if tumour.site is not None:
        return phrase(tumour.site)
    return f"{tumour.side} {phrase(tumour.organ)}" if tumour.side else phrase(tumour.organ)
