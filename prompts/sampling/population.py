"""Statistics of patients and tumours, and one conditional draw for each of them.

`default_distribution.toml` fills these tables and cites every figure. Each method draws one
attribute given those already known, so that the same tables serve to draw a whole patient and
to fill in what a prompt leaves unstated. Ages are years, lengths mm or cm as named.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, TypeVar

import numpy as np
from pydantic import BaseModel, ConfigDict, Field
from scipy.special import ndtr, ndtri

from manifests.anatomy import Phase, Sex
from prompts.schema import MStage, NStage, TStage

__all__ = ["AgeStatistics", "BodyStatistics", "OrganChange", "SizeStatistics", "Stage", "TumourStatistics", "choose"]

Share = Annotated[float, Field(ge=0, le=1)]
T = TypeVar("T")


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


def choose(weights: Mapping[T, float], rng: np.random.Generator) -> T:
    """Draw a key with probability proportional to its weight; all equal where every weight is 0."""
    names, total = list(weights), sum(weights.values())
    if not total:
        return names[int(rng.integers(len(names)))]
    point = rng.random() * total
    for name in names:
        point -= weights[name]
        if point < 0:
            return name
    return max(names, key=lambda name: weights[name])  # rounding left the point at the very end


def _normal(rng: np.random.Generator, *, mean: float, sd: float, low: float, high: float) -> float:
    """Draw a normal variate cut to [low, high] by inverting its distribution function."""
    start, end = ndtr((low - mean) / sd), ndtr((high - mean) / sd)
    return float(np.clip(mean + sd * ndtri(start + (end - start) * rng.random()), low, high))


class AgeStatistics(_Table):
    """Age at the scan: a normal distribution cut to a range."""

    mean: float
    sd: Annotated[float, Field(gt=0)]
    low: float = 18.0
    high: float = 90.0

    def draw(self, rng: np.random.Generator) -> float:
        """Draw an age in whole years."""
        return float(round(_normal(rng, mean=self.mean, sd=self.sd, low=self.low, high=self.high)))


class BodyStatistics(_Table):
    """Height and weight of one sex: medians by age, spread around them.

    Height is normal, body mass index log-normal and independent of height; weight follows.
    """

    height_cm: tuple[tuple[float, float], ...]
    height_cv: float
    bmi: tuple[tuple[float, float], ...]
    bmi_sigma: float
    bmi_range: tuple[float, float]

    def height_density(self, height_cm: float, age_years: float) -> float:
        """Relative density of a height at an age, per cm."""
        mean = _at(self.height_cm, age_years)
        sd = self.height_cv * mean
        return math.exp(-0.5 * ((height_cm - mean) / sd) ** 2) / sd

    def draw_height(self, age_years: float, weight_kg: float | None, rng: np.random.Generator) -> float:
        """Draw a height in cm, given the weight where it is stated."""
        mean = _at(self.height_cm, age_years)
        z = np.linspace(-2.5, 2.5, 51)
        heights = np.round(mean * (1 + self.height_cv * z))
        weights = np.exp(-0.5 * z**2)
        if weight_kg is not None:
            departure = np.log(weight_kg / (heights / 100) ** 2 / _at(self.bmi, age_years)) / self.bmi_sigma
            weights = weights * np.exp(-0.5 * (departure**2 - (departure**2).min()))
        shares = np.cumsum(weights / weights.sum())
        drawn = np.searchsorted(shares / shares[-1], rng.random(), side="right")  # as Generator.choice does
        return float(np.clip(heights[drawn], 40, 230))

    def draw_weight(self, age_years: float, height_cm: float, rng: np.random.Generator) -> float:
        """Draw a weight in kg at a height."""
        low, high = (math.log(bound) for bound in self.bmi_range)
        bmi = math.exp(_normal(rng, mean=math.log(_at(self.bmi, age_years)), sd=self.bmi_sigma, low=low, high=high))
        return float(np.clip(round(bmi * (height_cm / 100) ** 2), 2, 350))


def _at(curve: Sequence[tuple[float, float]], age_years: float) -> float:
    ages, values = zip(*curve, strict=True)
    return float(np.interp(age_years, ages, values))


class SizeStatistics(_Table):
    """Longest axial diameter of the largest tumour: log-normal, cut to a range in mm."""

    median_mm: float
    sigma: float
    low_mm: float
    high_mm: float

    def draw(self, bounds_mm: tuple[float, float], rng: np.random.Generator) -> float:
        """Draw a size in whole mm inside `bounds_mm` (low excluded), as far as the organ's own range allows."""
        low = max(self.low_mm, math.floor(bounds_mm[0]) + 1.0)
        high = max(low, min(self.high_mm, float(math.floor(min(bounds_mm[1], 400.0)))))
        logs = {"mean": math.log(self.median_mm), "sd": self.sigma, "low": math.log(low), "high": math.log(high)}
        return float(np.clip(round(math.exp(_normal(rng, **logs))), low, high))


class Stage(_Table):
    """One T stage: its share of patients, and the sizes and counts that it allows (low excluded)."""

    t: TStage
    share: Share
    above_mm: float = 0.0
    up_to_mm: float = math.inf
    counts: tuple[int, int] = (1, 20)

    def matches(self, stated: TStage) -> bool:
        """Tell whether a stated stage is this one, or one of the two refines the other."""
        return self.t.startswith(stated) or stated.startswith(self.t)

    def allows(self, size_mm: float, count: int) -> bool:
        """Tell whether a tumour of this size and count can have this stage."""
        return self.above_mm < size_mm <= self.up_to_mm and self.counts[0] <= count <= self.counts[1]


class TumourStatistics(_Table):
    """Tumours of one organ: who has them, where they sit, how many, how large, which stage.

    Attributes:
        cases: new cases a year by sex, thousands; the share of the organ among tumours.
        default: whether the default cohort draws this organ.
        sites: share of each site; a site that is left out is never drawn unless it is stated.
        count: share of patients by number of tumours.
        m1: share with distant metastases, for T1 and T2, and for T3 and T4.
    """

    cases: Mapping[Sex, float]
    default: bool = True
    age: AgeStatistics
    phases: Mapping[Phase, float]
    sites: Mapping[str, float]
    count: Mapping[int, float]
    size: SizeStatistics
    stages: tuple[Stage, ...] = ()
    n: Mapping[NStage, float] = {}
    m1: tuple[Share, Share] | None = None

    def draw_site(self, possible: Sequence[str], rng: np.random.Generator) -> str:
        """Draw one of the possible sites."""
        return choose({name: self.sites.get(name, 0.0) for name in possible}, rng)

    def draw_count(self, stated: TStage | None, rng: np.random.Generator) -> int:
        """Draw a number of tumours that the stated stage allows."""
        stages = self._matching(stated)
        allowed = {n: p for n, p in self.count.items() if any(s.counts[0] <= n <= s.counts[1] for s in stages)}
        return choose(allowed or self.count, rng)

    def draw_size(self, stated: TStage | None, rng: np.random.Generator) -> float:
        """Draw a size in mm that the stated stage allows, where stages go by size."""
        stages = self._matching(stated)
        bounds = (min((s.above_mm for s in stages), default=0.0), max((s.up_to_mm for s in stages), default=math.inf))
        return self.size.draw(bounds, rng)

    def _matching(self, stated: TStage | None) -> tuple[Stage, ...]:
        return tuple(stage for stage in self.stages if stated is None or stage.matches(stated))

    def draw_t(self, size_mm: float, count: int, rng: np.random.Generator) -> TStage | None:
        """Draw a T stage for a size and count; None for an organ without one."""
        allowed = {stage.t: stage.share for stage in self.stages if stage.allows(size_mm, count)}
        if not allowed:
            return None
        stage: TStage = choose(allowed, rng)
        return stage

    def draw_n(self, rng: np.random.Generator) -> NStage | None:
        """Draw an N stage; None for an organ without one."""
        if not self.n:
            return None
        stage: NStage = choose(self.n, rng)
        return stage

    def draw_m(self, t_stage: TStage | None, rng: np.random.Generator) -> MStage | None:
        """Draw an M stage given the T stage; None for an organ without one."""
        if self.m1 is None:
            return None
        late = t_stage is not None and t_stage[1] in "34"
        return "M1" if rng.random() < self.m1[late] else "M0"


class OrganChange(_Table):
    """An organ that is absent or enlarged in a share of patients of one sex, from one age on."""

    organ: str
    rate: Share
    sexes: tuple[Sex, ...] = ("male", "female")
    from_age: float = 0
