"""Drawing prompts: from published statistics of a population, and what a given prompt leaves unstated.

A `Population` is read from TOML; `default_distribution()` ships with the project. Drawing a
prompt and completing one use the same conditional tables. Prompt i of a seed is the same
however many are drawn.
"""

import math
import tomllib
from collections.abc import Callable, Mapping
from functools import cache, cached_property
from importlib.resources import files
from typing import Any, TypeVar

import numpy as np
from pydantic import BaseModel, ConfigDict, model_validator

from manifests.anatomy import SEX_ORGANS, Phase, Sex, group
from prompts.sampling.base import Distribution
from prompts.sampling.population import AgeStatistics, BodyStatistics, OrganChange, TumourStatistics, choose
from prompts.sampling.sequences import Mode, generator, stratum
from prompts.schema import Patient, Prompt, Race, Region, Study, Tumour, tumour_organs

__all__ = ["Cohort", "Population", "complete", "default_distribution", "temper"]

FORMAT = 1
V = TypeVar("V")
_ODD = 1e-6
"""Weight of a sex whose patients never have an organ that is said to be absent."""


class Cohort(BaseModel):
    """Who is scanned, tumours apart."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    no_tumour: float
    second_organ: float
    age: AgeStatistics
    region: Region
    phases: Mapping[Phase, float]
    race: Mapping[Race, float]


class Population(Distribution):
    """A joint distribution of all attributes of a prompt, as conditional tables of published statistics.

    Attributes:
        unstated: probability that a drawn prompt leaves a field unstated.
        tumour: statistics of each organ that may carry a tumour; none may be missing.
    """

    cohort: Cohort
    unstated: Mapping[str, float]
    body: Mapping[Sex, BodyStatistics]
    absent: tuple[OrganChange, ...] = ()
    enlarged: tuple[OrganChange, ...] = ()
    tumour: Mapping[str, TumourStatistics]

    @model_validator(mode="after")
    def _whole(self) -> "Population":
        if self.format != FORMAT:
            raise ValueError(f"format {self.format} is not {FORMAT}")
        if missing := set(tumour_organs()) - set(self.tumour):
            raise ValueError(f"no statistics for tumours of {', '.join(sorted(missing))}")
        hideable = {*Patient.model_fields, *Study.model_fields, *Tumour.model_fields} - {"organ", "region"}
        if unknown := set(self.unstated) - hideable:
            raise ValueError(f"unstated names no fields {', '.join(sorted(unknown))}; one of {', '.join(hideable)}")
        return self

    @property
    def strata(self) -> tuple[str, ...]:
        """Sites that a drawn tumour can have."""
        return tuple(self._sites)

    @cached_property
    def _sites(self) -> dict[str, str]:
        """Organ of each site, in the order of the file."""
        tables = {organ: table for organ, table in self.tumour.items() if table.default and any(table.cases.values())}
        return {site: organ for organ, table in tables.items() for site, share in table.sites.items() if share > 0}

    @cached_property
    def _tempered(self) -> "Population":
        return temper(self)

    def draw(self, seed: int, index: int, mode: Mode = "match") -> Prompt:
        """Draw prompt `index` of a seed; some of its fields stay unstated.

        `balanced` gives every row a tumour at a stated site, `rare` takes the square root of every share
        (but not of what is unstated), `coverage` leads the draws by a Sobol point.
        """
        if mode == "rare":
            return self._tempered.draw(seed, index)
        random = generator(mode, seed, index, f"distribution:{self.name}")
        site = self.strata[stratum(seed, index, len(self.strata))] if mode == "balanced" else None
        subject = self.complete(self._at_site(site, random) if site else self._outline(random), random)
        return self._hide(self._change_organs(subject, random), random, site)

    def _at_site(self, site: str, random: np.random.Generator) -> Prompt:
        """A tumour at a site, and a sex by incidence."""
        organ = self._sites[site]
        sex = choose(self.tumour[organ].cases, random)
        return Prompt(patient=Patient(sex=sex), tumours=(Tumour(organ=organ, site=site),))

    def _outline(self, random: np.random.Generator) -> Prompt:
        """Draw sex and tumour organs together, by incidence."""
        cases = {(sex, organ): t.cases[sex] for organ, t in self.tumour.items() if t.default for sex in t.cases}
        sex, organ = choose(cases, random)
        if random.random() < self.cohort.no_tumour:
            return Prompt(patient=Patient(sex=choose({"male": 1.0, "female": 1.0}, random)))
        others = {name: value for (of, name), value in cases.items() if of == sex and name != organ}
        second = [choose(others, random)] if random.random() < self.cohort.second_organ else []
        return Prompt(patient=Patient(sex=sex), tumours=tuple(Tumour(organ=name) for name in [organ, *second]))

    def _change_organs(self, subject: Prompt, random: np.random.Generator) -> Prompt:
        """Draw which organs are absent or enlarged; never one that carries a tumour."""
        taken = {name for tumour in subject.tumours for name in tumour.possible_sites()}

        def drawn(changes: tuple[OrganChange, ...]) -> tuple[str, ...]:
            chosen = []
            for change in changes:
                members = {entry.name for entry in group(change.organ)}
                lucky = random.random() < change.rate
                fits = subject.patient.sex in change.sexes and (subject.patient.age_years or 0) >= change.from_age
                if lucky and fits and not members & taken:
                    chosen.append(change.organ)
                    taken.update(members)
            return tuple(chosen)

        absent = drawn(self.absent)[:2]
        if {"kidney_left", "kidney_right"} <= set(absent):
            absent = absent[:1]
        changed = {"absent_organs": absent, "enlarged_organs": drawn(self.enlarged)}
        return Prompt.model_validate({**dict(subject), **changed})

    def _hide(self, subject: Prompt, random: np.random.Generator, site: str | None = None) -> Prompt:
        """Leave fields unstated with their probabilities; a site that was asked for stays."""

        def kept(part: BaseModel) -> dict[str, Any]:
            fields = part.model_dump()
            hidden = {name for name in fields if random.random() < self.unstated.get(name, 0.0)}
            if site and fields.get("site") == site:
                hidden.discard("site")
            if "site" not in hidden:
                hidden.discard("side")
            return {name: None if name in hidden else value for name, value in fields.items()}

        tumours = tuple(Tumour(**kept(tumour)) for tumour in subject.tumours)
        patient, study = Patient(**kept(subject.patient)), Study(**kept(subject.study))
        return Prompt.model_validate({**dict(subject), "patient": patient, "study": study, "tumours": tumours})

    def complete(self, prompt: Prompt, random: np.random.Generator) -> Prompt:
        """State every field: what is stated stays, what is not is drawn given what is known.

        Lists of organs stay as they are, a prompt without tumours stays without. Stages stay
        unstated for organs that TNM does not stage.
        """
        sex = prompt.patient.sex or self._draw_sex(prompt, random)
        patient = self._complete_patient(prompt, sex, random)
        phases = self.tumour[prompt.tumours[0].organ].phases if prompt.tumours else self.cohort.phases
        phase = prompt.study.contrast_phase
        if phase is None:
            drawn: Phase = choose(phases, random)
            phase = drawn
        study = Study(contrast_phase=phase, region=prompt.study.region or self.cohort.region)
        absent = {entry.name for name in prompt.absent_organs for entry in group(name)}
        tumours = tuple(self._complete_tumour(tumour, absent, random) for tumour in prompt.tumours)
        return Prompt.model_validate({**dict(prompt), "patient": patient, "study": study, "tumours": tumours})

    def _draw_sex(self, prompt: Prompt, random: np.random.Generator) -> Sex:
        """Draw the sex given tumours, organs that only one sex has, and height."""
        weights = {sex: self._sex_weight(sex, prompt) for sex in self.body}
        return choose(weights, random)

    def _sex_weight(self, sex: Sex, prompt: Prompt) -> float:
        weight = 1.0
        for tumour in prompt.tumours:
            weight *= self.tumour[tumour.organ].cases[sex]
        others = {organ for other, organ in SEX_ORGANS.items() if other != sex}
        weight *= not others & set(prompt.enlarged_organs)
        weight *= _ODD if others & set(prompt.absent_organs) else 1.0
        height, age = prompt.patient.height_cm, prompt.patient.age_years
        return weight * (self.body[sex].height_density(height, 50.0 if age is None else age) if height else 1.0)

    def _complete_patient(self, prompt: Prompt, sex: Sex, random: np.random.Generator) -> Patient:
        stated = prompt.patient
        ages = self.tumour[prompt.tumours[0].organ].age if prompt.tumours else self.cohort.age
        age = _or_draw(stated.age_years, lambda: ages.draw(random))
        body = self.body[sex]
        height = _or_draw(stated.height_cm, lambda: body.draw_height(age, stated.weight_kg, random))
        weight = _or_draw(stated.weight_kg, lambda: body.draw_weight(age, height, random))
        race = stated.race
        if race is None:
            drawn: Race = choose(self.cohort.race, random)
            race = drawn
        return Patient(age_years=age, sex=sex, race=race, height_cm=height, weight_kg=weight)

    def _complete_tumour(self, tumour: Tumour, absent: set[str], random: np.random.Generator) -> Tumour:
        table = self.tumour[tumour.organ]
        site = table.draw_site([name for name in tumour.possible_sites() if name not in absent], random)
        count = tumour.count or table.draw_count(tumour.t_stage, random)
        size = tumour.size_mm or table.draw_size(tumour.t_stage, random)
        t_stage = tumour.t_stage or table.draw_t(size, count, random)
        return Tumour(
            organ=tumour.organ,
            site=site,
            count=count,
            size_mm=size,
            t_stage=t_stage,
            n_stage=tumour.n_stage or table.draw_n(random),
            m_stage=tumour.m_stage or table.draw_m(t_stage, random),
        )


def _or_draw(stated: V | None, draw: Callable[[], V]) -> V:
    """The stated value, zero included, or else a draw."""
    return draw() if stated is None else stated


@cache
def default_distribution() -> Population:
    """The distribution that ships with the project."""
    text = files("prompts.sampling").joinpath("default_distribution.toml").read_text(encoding="utf-8")
    return Population.model_validate(tomllib.loads(text))


def complete(prompt: Prompt, random: np.random.Generator) -> Prompt:
    """State every field of a prompt with the shipped distribution; see `Population.complete`."""
    return default_distribution().complete(prompt, random)


def temper(population: Population) -> Population:
    """The same population with the square root of every share: rare organs, sites, stages and counts become frequent.

    A share p against a share q is drawn as sqrt(p) against sqrt(q). What is never drawn stays so.
    """

    def roots(shares: Mapping[Any, float]) -> dict[Any, float]:
        return {name: math.sqrt(share) for name, share in shares.items()}

    def tempered(table: TumourStatistics) -> TumourStatistics:
        stages = tuple(stage.model_copy(update={"share": math.sqrt(stage.share)}) for stage in table.stages)
        named = {name: roots(getattr(table, name)) for name in ("cases", "phases", "sites", "count", "n")}
        return table.model_copy(update={**named, "stages": stages})

    cohort = population.cohort
    even = {"phases": roots(cohort.phases), "race": roots(cohort.race)}
    content = {
        "cohort": cohort.model_copy(update=even),
        "tumour": {organ: tempered(table) for organ, table in population.tumour.items()},
    }
    return population.model_copy(update=content)
