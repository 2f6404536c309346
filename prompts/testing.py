"""Hypothesis strategies for prompts, for tests of this project and of engines outside it."""

from collections.abc import Callable
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
        age_years=_maybe(_tenths(0, 120)),
        sex=_maybe(st.sampled_from(["male", "female"])),
        race=_maybe(st.sampled_from(get_args(Race))),
        height_cm=_maybe(_tenths(40, 230)),
        weight_kg=_maybe(_tenths(2, 350)),
    )


def studies() -> SearchStrategy[Study]:
    """Studies; both fields may be unstated."""
    return st.builds(Study, contrast_phase=_maybe(st.sampled_from(PHASES)), region=_maybe(st.sampled_from(REGIONS)))


@st.composite
def tumours(draw: Callable[..., Any]) -> Tumour:
    """Tumours of any organ, at a possible site."""
    organ = draw(st.sampled_from(tumour_organs()))
    site = draw(_maybe(st.sampled_from(sites(organ))))
    sides = [side for side in {structure(name).side for name in sites(organ)} if side]
    return Tumour(
        organ=organ,
        site=site,
        side=draw(_maybe(st.sampled_from(sorted(sides)))) if sides and site is None else None,
        count=draw(_maybe(st.integers(1, 20))),
        size_mm=draw(_maybe(_tenths(0.1, 400))),
        t_stage=draw(_maybe(st.sampled_from(get_args(TStage)))),
        n_stage=draw(_maybe(st.sampled_from(get_args(NStage)))),
        m_stage=draw(_maybe(st.sampled_from(get_args(MStage)))),
    )


@st.composite
def prompts(draw: Callable[..., Any]) -> Prompt:
    """Whole prompts that are consistent: tumours, then absent and enlarged organs that allow them."""
    content: dict[str, Any] = {"patient": draw(patients()), "study": draw(studies()), "tumours": ()}
    names = st.lists(st.sampled_from(sorted(phrases())), max_size=2, unique=True)
    for key, items in (
        ("tumours", draw(st.lists(tumours(), max_size=3))),
        ("absent_organs", draw(names)),
        ("enlarged_organs", draw(names)),
    ):
        for item in items:
            trial = {**content, key: (*content.get(key, ()), item)}
            try:
                Prompt(**trial)
            except ValidationError:
                continue
            content = trial
    return Prompt(**content)
