"""Texts to train on: what a case was asked for, in canonical or free wording, whole or in part."""

from collections.abc import Iterable
from functools import cache
from typing import Any

import numpy as np

from factory.training.short_texts import short_text, short_words
from manifests.anatomy import sites
from manifests.case import Attributes, CaseRecord
from prompts.paraphrase import paraphrase
from prompts.render import render
from prompts.schema import Prompt, Tumour, parse_prompt, tumour_organs

__all__ = ["UNTOLD", "corpus", "prompt_of", "text_for", "whole_text_for"]

UNTOLD = 0.1
"""Share of texts, and of cases, that are not told, for guidance."""

_CANONICAL, _SHORT, _WHOLE = 0.3, 0.35, 0.5
"""Shares of texts in canonical wording and of short ones, and of prompts told whole."""
_PLAIN = 0.5
"""Share of canonical wording among texts that tell a prompt whole."""
_SAID = 0.5
"""Chance of each field to be told, in the others."""
_PATIENT = ("age_years", "sex", "race", "height_cm", "weight_kg")
_STUDY = ("contrast_phase", "region")
_DETAILS = ("site", "side", "count", "size_mm", "t_stage", "n_stage", "m_stage")


def prompt_of(record: CaseRecord) -> Prompt:
    """The prompt of a case with all that is known of it: as drawn, else as asked, else as measured."""
    known: dict[str, Any] = {}
    for source in (record.measured, record.requested, record.drawn):
        known |= {name: value for name, value in _fields(source).items() if value not in (None, [], ())}
    return parse_prompt(
        {
            "patient": {name: known[name] for name in _PATIENT if name in known},
            "study": {name: known[name] for name in _STUDY if name in known},
            "tumours": known.get("tumours", ()),
            "absent_organs": known.get("absent_organs", ()),
            "enlarged_organs": known.get("enlarged_organs", ()),
        },
        f"case {record.case_id}",
    )


def text_for(prompt: Prompt, random: np.random.Generator) -> str:
    """Draw a text for a prompt: whole or thinned; canonical, paraphrased, or a few words.

    Which organ holds the first tumour is always told; but for the shortest so are all tumours, and what is absent or enlarged.
    """
    if random.random() > _WHOLE:
        prompt = _thinned(prompt, random)
    form = random.random()
    if form < _SHORT:
        return short_text(prompt, random)
    if form < _SHORT + _CANONICAL:
        return render(prompt)
    return paraphrase(prompt, int(random.integers(2**31)))


def whole_text_for(prompt: Prompt, random: np.random.Generator) -> str:
    """Draw a text that tells all of a prompt, canonical or paraphrased.

    For image stages: a build asks them for complete prompts alone, and what is read of an untold phase is a guess,
    whose errors would draw the enhancement of told ones towards the mean.
    """
    return render(prompt) if random.random() < _PLAIN else paraphrase(prompt, int(random.integers(2**31)))


def corpus(prompts: Iterable[Prompt], random: np.random.Generator) -> list[str]:
    """Texts whose words make the vocabulary: of the cases, and of a tumour at every site there is."""
    return [*(text_for(prompt, random) for prompt in prompts for _ in range(3)), *_sites(), *short_words()]


@cache
def _sites() -> tuple[str, ...]:
    places = [(organ, site) for organ in tumour_organs() for site in (None, *sites(organ))]
    prompts = [Prompt(tumours=(Tumour(organ=organ, site=site, size_mm=20),)) for organ, site in places]
    return tuple(
        text for prompt in prompts for text in (render(prompt), *(paraphrase(prompt, seed) for seed in (0, 1)))
    )


def _fields(attributes: Attributes) -> dict[str, Any]:
    fields = attributes.model_dump(exclude_none=True)
    # an organ that only the measurement names is not one that a prompt may ask for
    fields["tumours"] = [tumour for tumour in fields["tumours"] if tumour["organ"] in tumour_organs()]
    return fields


def _thinned(prompt: Prompt, random: np.random.Generator) -> Prompt:
    """The same prompt with some fields unstated."""
    data = prompt.model_dump(exclude_none=True)
    for part, names in (
        (data["patient"], _PATIENT),
        (data["study"], _STUDY),
        *((t, _DETAILS) for t in data["tumours"]),
    ):
        for name in names:
            if random.random() > _SAID:
                part.pop(name, None)
    return parse_prompt(data)
