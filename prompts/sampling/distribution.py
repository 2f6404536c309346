"""Drawing prompts: from a distribution of attributes, and what a given prompt leaves unstated.

A `Distribution` is read from TOML; `default_distribution()` ships with the project. Drawing a
prompt and completing one use the same conditional tables. Prompt i of a seed is the same
however many are drawn.
"""

import tomllib
from collections.abc import Callable, Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from manifests.anatomy import Phase, group
from manifests.case import Sex
from manifests.errors import FileFormatError, LocationError
from manifests.identity import content_hash, rng
from prompts.sampling.marginals import sample_table
from prompts.sampling.population import AgeStatistics, BodyStatistics, OrganChange, TumourStatistics, choose
from prompts.schema import Patient, Prompt, Race, Region, Study, Tumour, tumour_organs

__all__ = ["Cohort", "Distribution", "complete", "default_distribution", "load_distribution", "sample_table"]

FORMAT = 1
V = TypeVar("V")
_SEX_OF = {"prostate": "male", "uterus": "female"}


class Cohort(BaseModel):
    """Who is scanned, tumours apart."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    no_tumour: float
    second_organ: float
    age: AgeStatistics
    region: Region
    phases: Mapping[Phase, float]
    race: Mapping[Race, float]


class Distribution(BaseModel):
    """A joint distribution of all attributes of a prompt, as conditional tables.

    Attributes:
        unstated: probability that a drawn prompt leaves a field unstated.
        tumour: statistics of each organ that may carry a tumour; none may be missing.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int
    name: str
    cohort: Cohort
    unstated: Mapping[str, float]
    body: Mapping[Sex, BodyStatistics]
    absent: tuple[OrganChange, ...] = ()
    enlarged: tuple[OrganChange, ...] = ()
    tumour: Mapping[str, TumourStatistics]

    @model_validator(mode="after")
    def _whole(self) -> "Distribution":
        if self.format != FORMAT:
            raise ValueError(f"format {self.format} is not {FORMAT}")
        if missing := set(tumour_organs()) - set(self.tumour):
            raise ValueError(f"no statistics for tumours of {', '.join(sorted(missing))}")
        hideable = {*Patient.model_fields, *Study.model_fields, *Tumour.model_fields} - {"organ", "region"}
        if unknown := set(self.unstated) - hideable:
            raise ValueError(f"unstated names no fields {', '.join(sorted(unknown))}; one of {', '.join(hideable)}")
        return self

    @property
    def distribution_id(self) -> str:
        """Identity of the content."""
        return content_hash(self.model_dump_json())  # as text: upper bounds of stages may be infinite

    def draw(self, seed: int, index: int) -> Prompt:
        """Draw prompt `index` of a seed; some of its fields stay unstated."""
        random = rng(f"{seed}:{index}", f"distribution:{self.name}")
        subject = self.complete(self._outline(random), random)
        return self._hide(self._change_organs(subject, random), random)

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

    def _hide(self, subject: Prompt, random: np.random.Generator) -> Prompt:
        """Leave fields unstated with their probabilities."""

        def kept(part: BaseModel) -> dict[str, Any]:
            fields = part.model_dump()
            hidden = {name for name in fields if random.random() < self.unstated.get(name, 0.0)}
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
        for organ in (*prompt.absent_organs, *prompt.enlarged_organs):
            weight *= _SEX_OF.get(organ, sex) == sex
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
def default_distribution() -> Distribution:
    """The distribution that ships with the project."""
    text = files("prompts.sampling").joinpath("default_distribution.toml").read_text(encoding="utf-8")
    return Distribution.model_validate(tomllib.loads(text))


def load_distribution(path: Path) -> Distribution:
    """Read a distribution from a TOML file.

    Raises:
        LocationError: if there is no such file.
        FileFormatError: if it is no TOML, or a table in it is wrong; the message names the first.
    """
    try:
        return Distribution.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise LocationError(
            f"distribution {path}", got=str(error.strerror), need="a readable TOML file", do="Check the path."
        ) from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, ValidationError) as error:
        first = error.errors()[0] if isinstance(error, ValidationError) else {"loc": (), "msg": str(error)}
        place = ".".join(str(part) for part in first["loc"])
        raise FileFormatError(
            f"distribution {path}" + (f", {place}" if place else ""),
            got=str(first["msg"]),
            need="a distribution as in prompts/sampling/default_distribution.toml",
            do="Correct the file.",
        ) from error


def complete(prompt: Prompt, random: np.random.Generator) -> Prompt:
    """State every field of a prompt with the shipped distribution; see `Distribution.complete`."""
    return default_distribution().complete(prompt, random)
