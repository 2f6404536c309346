"""Sampling new prompts from a table of prompts, field by field.

A new prompt takes the tumour organs of one random row; each field is then drawn on its own from
the rows with the same organs, unstated values included, so that marginals and missingness given
the organ are kept while no row is copied. Fields that only make sense together are drawn together: site
with side, height with weight, stage among rows of similar size. Numbers are smoothed with a
kernel of Silverman's bandwidth, categories by a draw from the whole table with weight 1/(rows + 1).
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from pydantic import ValidationError

from manifests.errors import InvalidValueError
from manifests.identity import rng
from prompts.schema import Patient, Prompt, Study, TStage, Tumour

__all__ = ["sample_table"]

_ATTEMPTS = 200
_NEIGHBOURS = 5
V = TypeVar("V")


def sample_table(prompts: Sequence[Prompt], n: int, seed: int) -> list[Prompt]:
    """Draw `n` prompts from the marginals of a table, conditioned on the tumour organs.

    Row i is the same for any `n` larger than i.

    Raises:
        InvalidValueError: if the table is empty, `n` is negative, or no consistent row can be drawn.
    """
    if not prompts or n < 0:
        raise InvalidValueError(
            "prompts to sample from",
            got=f"{len(prompts)} prompts, n = {n}",
            need="at least one prompt and n >= 0",
            do="Check the prompts table and --n.",
        )
    members: dict[tuple[str, ...], list[Prompt]] = {}
    for prompt in prompts:
        members.setdefault(_organs(prompt), []).append(prompt)
    groups = {organs: _group(rows) for organs, rows in members.items()}
    return [_draw_row(prompts, groups, rng(f"{seed}:{index}", "marginals")) for index in range(n)]


@dataclass(frozen=True, slots=True)
class _Kernel:
    """Noise for one number of a group: bandwidth, and the range that it stays in."""

    bandwidth: float
    low: float
    high: float
    log: bool = False

    def smooth(self, value: float | None, random: np.random.Generator) -> float | None:
        """Add noise (on the log scale where `log`), round to whole units, stay inside the range."""
        if value is None or not self.bandwidth:
            return value
        noise = self.bandwidth * float(random.standard_normal())
        noisy = value * math.exp(noise) if self.log else value + noise
        return float(np.clip(round(noisy), self.low, self.high))


def _kernel(numbers: Iterable[float | None], log: bool = False) -> _Kernel:
    """Silverman's bandwidth of the stated numbers; none where they are all alike."""
    stated = [number for number in numbers if number is not None]
    if not stated or min(stated) == max(stated):
        return _Kernel(0.0, 0.0, 0.0)
    values = np.log(stated) if log else np.array(stated)
    low, high = np.percentile(values, [25, 75])
    spread = min(float(values.std()), float(high - low) / 1.34) or float(values.std())
    return _Kernel(0.9 * spread * len(stated) ** -0.2, min(stated), max(stated), log)


@dataclass(frozen=True, slots=True)
class _Group:
    """Rows with the same tumour organs, and what is computed of them once."""

    rows: tuple[Prompt, ...]
    age: _Kernel
    height: _Kernel
    weight: _Kernel
    tumours: tuple[tuple[Tumour, ...], ...]
    sizes: tuple[_Kernel, ...]


def _group(rows: Sequence[Prompt]) -> _Group:
    tumours = tuple(zip(*(row.tumours for row in rows), strict=True))
    return _Group(
        rows=tuple(rows),
        age=_kernel(row.patient.age_years for row in rows),
        height=_kernel(row.patient.height_cm for row in rows),
        weight=_kernel(row.patient.weight_kg for row in rows),
        tumours=tumours,
        sizes=tuple(_kernel((tumour.size_mm for tumour in members), log=True) for members in tumours),
    )


def _index(random: np.random.Generator, size: int) -> int:
    return int(random.integers(size))


def _organs(prompt: Prompt) -> tuple[str, ...]:
    return tuple(tumour.organ for tumour in prompt.tumours)


def _draw_row(table: Sequence[Prompt], groups: dict[tuple[str, ...], _Group], random: np.random.Generator) -> Prompt:
    """Draw until the fields agree with each other (a left nephrectomy excludes a tumour there)."""
    organs = _organs(table[_index(random, len(table))])
    for _ in range(_ATTEMPTS):
        try:
            return _draw_fields(table, groups[organs], random)
        except ValidationError:
            continue
    raise InvalidValueError(
        f"prompts to sample from, tumours of {', '.join(organs) or 'no organ'}",
        got=f"no consistent combination of fields in {_ATTEMPTS} draws",
        need="fields that agree when drawn apart",
        do="Remove the rows that contradict the others.",
    )


def _draw_fields(table: Sequence[Prompt], group: _Group, random: np.random.Generator) -> Prompt:
    def pick(field: Callable[[Prompt], V]) -> V:
        pool = table if random.random() < 1 / (len(group.rows) + 1) else group.rows
        return field(pool[_index(random, len(pool))])

    height, weight = pick(lambda row: (row.patient.height_cm, row.patient.weight_kg))
    absent, enlarged = pick(lambda row: (row.absent_organs, row.enlarged_organs))
    return Prompt(
        patient=Patient(
            age_years=group.age.smooth(pick(lambda row: row.patient.age_years), random),
            sex=pick(lambda row: row.patient.sex),
            race=pick(lambda row: row.patient.race),
            height_cm=group.height.smooth(height, random),
            weight_kg=group.weight.smooth(weight, random),
        ),
        study=Study(
            contrast_phase=pick(lambda row: row.study.contrast_phase), region=pick(lambda row: row.study.region)
        ),
        tumours=tuple(
            _draw_tumour(members, sizes, random) for members, sizes in zip(group.tumours, group.sizes, strict=True)
        ),
        absent_organs=absent,
        enlarged_organs=enlarged,
    )


def _draw_tumour(members: Sequence[Tumour], sizes: _Kernel, random: np.random.Generator) -> Tumour:
    def pick(field: Callable[[Tumour], V]) -> V:
        return field(members[_index(random, len(members))])

    size = sizes.smooth(pick(lambda tumour: tumour.size_mm), random)
    site, side = pick(lambda tumour: (tumour.site, tumour.side))
    return Tumour(
        organ=members[0].organ,
        site=site,
        side=side,
        count=pick(lambda tumour: tumour.count),
        size_mm=size,
        t_stage=_stage_near(size, members, random),
        n_stage=pick(lambda tumour: tumour.n_stage),
        m_stage=pick(lambda tumour: tumour.m_stage),
    )


def _stage_near(size_mm: float | None, members: Sequence[Tumour], random: np.random.Generator) -> TStage | None:
    """Draw the T stage of a row of similar size: among the nearest 5 rows or 5 % of them."""
    near = [tumour for tumour in members if (tumour.size_mm is None) == (size_mm is None)]
    if size_mm is not None:
        near.sort(key=lambda tumour: abs(math.log((tumour.size_mm or 1.0) / size_mm)))
        near = near[: max(_NEIGHBOURS, len(near) // 20)]
    return near[_index(random, len(near))].t_stage
