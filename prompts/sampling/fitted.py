"""A distribution fitted to a table: how its tables become prompts.

One uniform number for the tumour organs and one for each variable of the group's chain decide a row, so
that the same code follows pseudo-random numbers and points of a low-discrepancy sequence. Modes other
than match change one thing each:

* balanced: the site of the first tumour is given (`strata`), the rest follows.
* rare: a level's probability given the rest is divided by the square root of its share in the group;
  what is unstated stays as likely as it was.
* coverage: the uniform numbers are coordinates of a Sobol point.
"""

from collections.abc import Mapping
from functools import cached_property
from typing import Literal

import numpy as np
from jaxtyping import Float
from pydantic import Field, field_validator, model_validator

from manifests.errors import InvalidValueError
from prompts.sampling.base import Distribution, site_of
from prompts.sampling.columns import (
    ROOT,
    UNSTATED,
    agree,
    categories,
    decode,
    number_range,
    numbers,
    pattern_organs,
)
from prompts.sampling.model import Model
from prompts.sampling.numbers import stated_column
from prompts.sampling.sequences import Mode, generator, stratum
from prompts.sampling.tables import MERGED, POOLED, Group
from prompts.schema import Prompt

__all__ = ["Fitted"]

_ATTEMPTS = 200
_MOST_UNSTATED = 0.5
_SLOTS = 9


class Fitted(Distribution):
    """Tables fitted to a table of prompts, one set for each group of tumour organs."""

    kind: Literal["fitted"]
    rows: int = Field(ge=1)
    min_count: int = Field(ge=1)
    group: Mapping[str, Group] = Field(min_length=1)

    @field_validator("format")
    @classmethod
    def _known(cls, number: int) -> int:
        if number != 1:
            raise ValueError(f"format {number} is not 1")
        return number

    @model_validator(mode="after")
    def _whole(self) -> "Fitted":
        for name, group in self.group.items():
            _check(name, group)
        return self

    @cached_property
    def _models(self) -> dict[str, Model]:
        return {name: Model(group, self.min_count) for name, group in self.group.items()}

    @cached_property
    def _roots(self) -> dict[tuple[str, int], float]:
        """Share of each level of `organs` of each group."""
        cells = {
            (name, level): float(count)
            for name, group in self.group.items()
            for level, count in enumerate(group.category[ROOT].values())
        }
        total = sum(cells.values())
        return {place: count / total for place, count in cells.items()}

    @cached_property
    def _sites(self) -> dict[str, dict[tuple[str, int, int | None], float]]:
        """For each stratum, the levels of `organs` and `place` that belong to it, with their shares."""
        found: dict[str, dict[tuple[str, int, int | None], float]] = {}
        for (name, level), share in self._roots.items():
            for place, site, part in self._models[name].places(level):
                found.setdefault(site, {})[(name, level, place)] = share * part
        totals: dict[str, float] = {}
        for cells in found.values():
            for (name, level, _), share in cells.items():
                organ = self._models[name].organ(level)
                totals[organ] = totals.get(organ, 0.0) + share
        return {
            site: cells
            for site, cells in found.items()
            if site not in totals or sum(cells.values()) >= _MOST_UNSTATED * totals[site]
        }

    @property
    def strata(self) -> tuple[str, ...]:
        """Sites of first tumours; "unstated" is one of them where most tumours of the organ state none."""
        return tuple(sorted(self._sites))

    def draw(self, seed: int, index: int, mode: Mode = "match") -> Prompt:
        """Draw prompt `index` of a seed.

        Raises:
            InvalidValueError: if the tables contradict each other: no combination is a valid prompt.
        """
        random = generator(mode, seed, index, f"fitted:{self.name}")
        site = self.strata[stratum(seed, index, len(self.strata))] if mode == "balanced" else None
        for _ in range(_ATTEMPTS):
            flat = self._draw_flat(random, site, rare=mode == "rare")
            if not agree(flat):
                continue
            prompt = decode(flat)
            if site is None or (prompt.tumours and site_of(prompt.tumours[0]) == site):
                return prompt
        raise InvalidValueError(
            f"distribution {self.name}" + (f", {site}" if site else ""),
            got=f"no consistent combination of fields in {_ATTEMPTS} draws",
            need="tables that agree with each other",
            do="Fit it again with `factory prompts fit`.",
        )

    def _draw_flat(self, random: np.random.Generator, site: str | None, *, rare: bool) -> dict[str, str | float | None]:
        if site is not None:
            cells = self._sites[site]
            name, level, place = list(cells)[_pick(np.array([*cells.values()]), random.random())]
            return self._models[name].draw(random, {ROOT: level} | ({} if place is None else {"place": place}))
        shares = np.array([*self._roots.values()])
        name, level = list(self._roots)[_pick(np.sqrt(shares) if rare else shares, random.random())]
        return self._models[name].draw(random, {ROOT: level}, rare=rare)


def _pick(weights: Float[np.ndarray, "levels"], point: float) -> int:
    edges = np.cumsum(weights)
    return min(int(np.searchsorted(edges, point * edges[-1], side="right")), len(weights) - 1)


def _check(name: str, group: Group) -> None:
    """Refuse levels, columns and numbers that no prompt can have.

    Raises:
        ValueError: naming the column.
    """
    if ROOT not in group.category:
        raise ValueError(f"group {name}: category {ROOT} is missing")
    known = {ROOT, *categories(_SLOTS), *(stated_column(number) for number in numbers(_SLOTS))}
    if unknown := {*group.category} - known or {*group.number} - {*numbers(_SLOTS)}:
        raise ValueError(f"group {name}: no columns {', '.join(sorted(unknown))}")
    roots = [member for level in group.category[ROOT] for member in level.split(POOLED)]
    for root in roots:
        if not agree({ROOT: root}) or len(pattern_organs(root)) > _SLOTS:
            raise ValueError(f"group {name}: organs {root!r}")
    for column, cells in group.category.items():
        if not cells:
            raise ValueError(f"group {name}: {column} has no level")
        for level in (member for cell in cells for member in cell.split(POOLED)):
            if column.endswith(" stated"):
                fits = level in ("stated", UNSTATED)
            else:
                fits = level == UNSTATED or any(agree({ROOT: root, column: level}) for root in roots)
            if not fits and column != ROOT:
                raise ValueError(f"group {name}: {column} {level!r}")
    for column, number in group.number.items():
        low, high = number_range(column)
        if number.quantiles[0] < low or number.quantiles[-1] > high:
            raise ValueError(f"group {name}: {column} outside {low:g} to {high:g}")
    _check_pairs(name, group)


def _check_pairs(name: str, group: Group) -> None:
    for pair in group.pair:
        for side in (pair.given, pair.of):
            if side not in group.category:
                raise ValueError(f"group {name}: pair of {side}, which category lacks")
        allowed = set(group.category[pair.given])
        if strange := set(pair.rows) - allowed:
            raise ValueError(f"group {name}: pair {pair.given}, {pair.of}: no level {', '.join(sorted(strange))}")
        named = [level for cells in pair.rows.values() for key in cells for level in key.split(MERGED)]
        if strange := set(named) - set(group.category[pair.of]):
            raise ValueError(f"group {name}: pair {pair.given}, {pair.of}: no level {', '.join(sorted(strange))}")
