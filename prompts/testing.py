"""Hypothesis strategies for prompts, for tests of this project and of engines outside it."""

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, get_args

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from pydantic import ValidationError

from manifests.anatomy import PHASES, sites, structure
from prompts.lexicon import phrases
from prompts.schema import REGIONS, MStage, NStage, Patient, Prompt, Race, Study, TStage, Tumour, tumour_organs

__all__ = ["patients", "prompts", "studies", "tumours"]


def _tenths(low: float, high: float) -> SearchStrategy[float]:
    """Numbers with one decimal, as reports state them."""
    return st.integers(round(low * 10), round(high * 10)).map(lambda tenths: tenths / 10)


def _maybe(strategy: SearchStrategy[Any]) -> SearchStrategy[Any]:
    return st.none() | strategy


def patients() -> SearchStrategy[Patient]:
    """Patients of any age and build; every field may be unstated."""
    return st.builds(
        Patient,
        age_years=_maybe(_tenths(0.0, 120.0)),
        sex=_maybe(st.sampled_from(["male", "female"])),
        race=_maybe(st.sampled_from(get_args(Race))),
        height_cm=_maybe(_tenths(40.0, 230.0)),
        weight_kg=_maybe(_tenths(2.0, 350.0)),
    )


def studies() -> SearchStrategy[Study]:
    """Studies; both fields may be unstated."""
    return st.builds(Study, contrast_phase=_maybe(st.sampled_from(PHASES)), region=_maybe(st.sampled_from(REGIONS)))


@contextmanager
def _quiet() -> Iterator[None]:
    """Leave the global random state as it was: run-time type checkers draw from it, and Hypothesis objects."""
    state = random.getstate()
    try:
        yield
    finally:
        random.setstate(state)


@cache
def _places() -> dict[str, dict[str, Any]]:
    """Sides of the sites of each organ."""
    return {organ: {name: structure(name).side for name in sites(organ)} for organ in tumour_organs()}


@cache
def _names() -> list[str]:
    return sorted(phrases())


@st.composite
def tumours(draw: Callable[..., Any]) -> Tumour:
    """Tumours of any organ, at a possible site."""
    with _quiet():
        places = _places()
    organ = draw(st.sampled_from(sorted(places)))
    site = draw(_maybe(st.sampled_from(sorted(places[organ]))))
    sides = sorted({side for side in places[organ].values() if side})
    fields = {
        "side": draw(_maybe(st.sampled_from(sides))) if sides and site is None else None,
        "count": draw(_maybe(st.integers(1, 20))),
        "size_mm": draw(_maybe(_tenths(0.1, 400.0))),
        "t_stage": draw(_maybe(st.sampled_from(get_args(TStage)))),
        "n_stage": draw(_maybe(st.sampled_from(get_args(NStage)))),
        "m_stage": draw(_maybe(st.sampled_from(get_args(MStage)))),
    }
    with _quiet():
        return Tumour(organ=organ, site=site, **fields)


@st.composite
def prompts(draw: Callable[..., Any]) -> Prompt:
    """Whole prompts that are consistent: tumours, then absent and enlarged organs that allow them."""
    with _quiet():
        names = st.lists(st.sampled_from(_names()), max_size=2, unique=True)
    content: dict[str, Any] = {"patient": draw(patients()), "study": draw(studies())}
    wishes = {
        "tumours": draw(st.lists(tumours(), max_size=3)),
        "absent_organs": draw(names),
        "enlarged_organs": draw(names),
    }
    with _quiet():
        for key, items in wishes.items():
            for item in items:
                trial = {**content, key: (*content.get(key, ()), item)}
                content = trial if _consistent(trial) else content
        return Prompt(**content)


def _consistent(content: dict[str, Any]) -> bool:
    try:
        Prompt(**content)
    except ValidationError:
        return False
    return True
