"""Sampling new prompts from a table of prompts, field by field.

A new prompt takes the tumour organs of one random row; each field is then drawn on its own from
the rows with the same organs, unstated values included, so that marginals and missingness given
the organ are kept while no row is copied. Fields that only make sense together are drawn together: site
with side, height with weight, stage among rows of similar size. Numbers are smoothed with a
kernel of Silverman's bandwidth, categories by a draw from the whole table with weight 1/(rows + 1).
"""

import math
from collections.abc import Callable, Iterator, Sequence
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
    groups: dict[tuple[str, ...], list[Prompt]] = {}
    for prompt in prompts:
        groups.setdefault(_organs(prompt), []).append(prompt)
    return [_draw_row(prompts, groups, rng(f"{seed}:{index}", "marginals")) for index in range(n)]


def _index(random: np.random.Generator, size: int) -> int:
    return int(random.integers(size))


def _organs(prompt: Prompt) -> tuple[str, ...]:
    return tuple(tumour.organ for tumour in prompt.tumours)


def _draw_row(
    table: Sequence[Prompt], groups: dict[tuple[str, ...], list[Prompt]], random: np.random.Generator
) -> Prompt:
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


def _draw_fields(table: Sequence[Prompt], rows: Sequence[Prompt], random: np.random.Generator) -> Prompt:
    def pick(field: Callable[[Prompt], V]) -> V:
        pool = table if random.random() < 1 / (len(rows) + 1) else rows
        return field(pool[_index(random, len(pool))])

    def smooth(value: float | None, field: Callable[[Prompt], float | None]) -> float | None:
        return None if value is None else _smooth(value, [v for v in map(field, rows) if v is not None], random)

    height, weight = pick(lambda row: (row.patient.height_cm, row.patient.weight_kg))
    absent, enlarged = pick(lambda row: (row.absent_organs, row.enlarged_organs))
    return Prompt(
        patient=Patient(
            age_years=smooth(pick(lambda row: row.patient.age_years), lambda row: row.patient.age_years),
            sex=pick(lambda row: row.patient.sex),
            race=pick(lambda row: row.patient.race),
            height_cm=smooth(height, lambda row: row.patient.height_cm),
            weight_kg=smooth(weight, lambda row: row.patient.weight_kg),
        ),
        study=Study(
            contrast_phase=pick(lambda row: row.study.contrast_phase), region=pick(lambda row: row.study.region)
        ),
        tumours=tuple(_draw_tumours(rows, random)),
        absent_organs=absent,
        enlarged_organs=enlarged,
    )


def _draw_tumours(rows: Sequence[Prompt], random: np.random.Generator) -> Iterator[Tumour]:
    for members in zip(*(row.tumours for row in rows), strict=True):

        def pick(field: Callable[[Tumour], V], members: tuple[Tumour, ...] = members) -> V:
            return field(members[_index(random, len(members))])

        sizes = [tumour.size_mm for tumour in members if tumour.size_mm is not None]
        size = pick(lambda tumour: tumour.size_mm)
        if size is not None:
            size = _smooth(size, sizes, random, positive=True)
        site, side = pick(lambda tumour: (tumour.site, tumour.side))
        yield Tumour(
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


def _smooth(value: float, pool: Sequence[float], random: np.random.Generator, positive: bool = False) -> float:
    """Add kernel noise (on the log scale where `positive`), stay inside the range of the pool, round to whole units."""
    if not pool or min(pool) == max(pool):
        return value
    values = np.log(pool) if positive else np.array(pool)
    quartiles = np.percentile(values, [25, 75])
    spread = min(float(values.std()), float(quartiles[1] - quartiles[0]) / 1.34) or float(values.std())
    noisy = (math.log(value) if positive else value) + 0.9 * spread * len(pool) ** -0.2 * random.standard_normal()
    return float(np.clip(round(math.exp(noisy) if positive else noisy), min(pool), max(pool)))
