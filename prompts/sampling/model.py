"""One group of a fitted distribution as a chain of variables: from its tables to drawn columns."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Float
from scipy.special import ndtr, ndtri

from prompts.sampling.base import site_of
from prompts.sampling.chain import Chain, Link, Variable
from prompts.sampling.columns import ROOT, UNSTATED, agree, categories, decode, numbers
from prompts.sampling.numbers import off_grid, stated_column
from prompts.sampling.tables import MERGED, POOLED, Group, Number, Pair, Shift

__all__ = ["Model"]

_SLOTS = 9
_MAX_BINS = 16
_FILLS, _LEAST = 20, 0.1
_QUARTERS = ("1", "2", "3", "4")
_INSIDE = 32


@dataclass(slots=True)
class Model:
    """The chain of a group; fitted once, when it is made."""

    group: Group
    min_count: int
    _names: list[str] = field(init=False)
    _levels: dict[str, list[str]] = field(init=False)
    _chain: Chain = field(init=False)
    _last_choice: str | None = field(init=False)
    """The column that can still make a row have a number; None where one is always stated, or none ever."""

    def __post_init__(self) -> None:
        """Order the variables and fit the chain."""
        present = [ROOT, *categories(_SLOTS), *(stated_column(name) for name in numbers(_SLOTS))]
        self._names = [name for name in present if name in self.group.category]
        self._levels = {name: list(self.group.category[name]) for name in self._names}
        flags = [name for name in self._names if name.endswith(" stated")]
        always = any(stated_column(name) not in flags for name in self.group.number)
        self._last_choice = flags[-1] if flags and not always else None
        self._names += [name for name in numbers(_SLOTS) if name in self.group.number]
        self._chain = Chain([self._variable(name) for name in self._names])

    # ------------------------------------------------------------------------------- from tables to variables

    def _variable(self, name: str) -> Variable:
        if name in self.group.number:
            return self._number(name, self.group.number[name])
        counts = np.array([float(n) for n in self.group.category[name].values()])
        links: dict[str, Float[np.ndarray, "theirs ours"]] = {}
        for pair in self.group.pair:
            if pair.of == name and self._before(pair.given, name):
                links[pair.given] = self._shares(pair)
        allowed = {other: self._allowed(other, name) for other in self._constraining(name)}
        both = [other for other in self._names if other in links or other in allowed]
        return Variable(
            name, counts, tuple(Link(self._names.index(one), links.get(one), allowed.get(one)) for one in both)
        )

    def _before(self, other: str, name: str) -> bool:
        return other in self._names and self._names.index(other) < self._names.index(name)

    def _shares(self, pair: Pair) -> Float[np.ndarray, "theirs ours"]:
        """Share of each level given each level of the other column.

        Cells that the table does not name hold fewer rows than the minimum count. They are estimated from the
        counts of their row and column, as independent of each other, and at most half of what they may hold.
        Merged cells are divided as the whole group is.
        """
        theirs, ours = self._levels[pair.given], self._levels[pair.of]
        rows, columns = (
            np.array([float(n) for n in self.group.category[name].values()]) for name in (pair.given, pair.of)
        )
        cells = np.full((len(theirs), len(ours)), np.nan)
        for row, named in pair.rows.items():
            for key, count in named.items():
                places = [ours.index(level) for level in key.split(MERGED)]
                cells[theirs.index(row), places] = count * columns[places] / columns[places].sum()
        cells = _fill(cells, rows, columns, (self.min_count - 1) / 2)
        return np.asarray(cells / cells.sum(axis=1, keepdims=True))

    def _constraining(self, name: str) -> list[str]:
        """Earlier columns that a declared constraint ties to this one."""
        place = name.startswith("place")
        return [
            other
            for other in self._names
            if self._before(other, name)
            and (
                (other == ROOT and (place or name in ("sex", "changes")))
                or (name == "changes" and (other == "sex" or other.startswith("place")))
            )
        ]

    def _allowed(self, other: str, name: str) -> Bool[np.ndarray, "theirs ours"]:
        """Which levels of two columns can stand in one prompt, with any tumour organs of the group."""
        roots = [member for level in self._levels[ROOT] for member in level.split(POOLED)]
        possible = [
            [
                any(
                    agree({ROOT: root, other: a, name: b})
                    for a in theirs.split(POOLED)
                    for b in ours.split(POOLED)
                    for root in ([a] if other == ROOT else roots)
                )
                for ours in self._levels[name]
            ]
            for theirs in self._levels[other]
        ]
        return np.array(possible, dtype=bool)

    def _number(self, name: str, number: Number) -> Variable:
        """Bins of equal probability as levels."""
        bins = _bins(number)
        edges = ndtri(np.arange(bins + 1) / bins)
        links = []
        for place, other in enumerate(self._names[: self._names.index(name)]):
            if shifts := number.by.get(other):
                shares = np.full((len(self._levels[other]), bins), np.nan)
                for level, shift in shifts.items():
                    if level in self._levels[other]:
                        rows = self.group.category[other][level]
                        shares[self._levels[other].index(level)] = _shifted(shift, edges, rows)
                links.append(Link(place, shares))
            elif correlation := number.rank_correlation.get(other):
                theirs = _bins(self.group.number[other])
                links.append(Link(place, _gaussian_copula(correlation, theirs, edges)))
        flag = stated_column(name)
        needs = (self._names.index(flag), self._levels[flag].index("stated")) if self._optional(name) else None
        return Variable(name, np.full(bins, 1.0), tuple(links), needs)

    def _optional(self, name: str) -> bool:
        flag = stated_column(name)
        return flag in self._levels and "stated" in self._levels[flag]

    # -------------------------------------------------------------------------------------------- drawing

    def draw(
        self, random: np.random.Generator, fixed: Mapping[str, int], *, rare: bool = False
    ) -> dict[str, str | float | None]:
        """Draw the columns of one row.

        Args:
            random: gives one uniform number for each variable, drawn or fixed.
            fixed: levels that are given, by column.
            rare: whether to favour rare levels.
        """
        points = [float(point) for point in random.random(len(self._names))]
        levels: list[int] = []
        flat: dict[str, str | float | None] = {}
        for place, (name, point) in enumerate(zip(self._names, points, strict=True)):
            variable = self._chain.variables[place]
            if variable.needs and levels[variable.needs[0]] != variable.needs[1]:
                levels.append(len(variable.shares))
                continue
            shares = self._chain.conditional(place, levels)
            if name in fixed:
                shares = np.eye(len(shares))[fixed[name]]
            elif rare and name not in self.group.number:
                shares = self._favour_rare(name, shares)
            if name == self._last_choice and self._would_be_recognised(flat):
                shares = np.array([float(level == "stated") for level in self._levels[name]])
            level, inside = _invert(shares, point)
            levels.append(level)
            flat[name] = self._value(name, level, inside)
        return flat

    def _value(self, name: str, level: int, inside: float) -> str | float:
        number = self.group.number.get(name)
        if number is None:
            members = self._levels[name][level].split(POOLED)
            return members[min(int(inside * len(members)), len(members) - 1)]
        steps = np.arange(len(number.quantiles)) / (len(number.quantiles) - 1)
        value = float(np.interp((level + inside) / _bins(number), steps, number.quantiles))
        drawn = off_grid(value, number.decimals)
        return min(max(drawn, number.quantiles[0]), number.quantiles[-1])

    def _favour_rare(self, name: str, shares: Float[np.ndarray, "levels"]) -> Float[np.ndarray, "levels"]:
        counts = np.array([float(n) for n in self.group.category[name].values()])
        stated = np.array([level not in (UNSTATED, "stated") for level in self._levels[name]])
        weights = shares * stated / np.sqrt(counts / counts.sum())
        if not weights.sum():
            return shares
        return np.where(stated, weights / weights.sum() * shares[stated].sum(), shares)

    def _would_be_recognised(self, flat: Mapping[str, str | float | None]) -> bool:
        """Tell whether the row has no number so far, and its categories are not common enough without one."""
        flags = [name for name in self._names if name.endswith(" stated")]
        if any(flat.get(name) == "stated" for name in flags):
            return False
        known = {name: level for name, level in flat.items() if name not in flags and level != UNSTATED}
        return known not in [dict(common) for common in self.group.unnumbered]

    # ------------------------------------------------------------------------------------------- for strata

    def organ(self, level: int) -> str:
        """First tumour organ of a level of `organs`; empty for none."""
        tumours = decode({ROOT: self._levels[ROOT][level].split(POOLED)[0]}).tumours
        return tumours[0].organ if tumours else ""

    def places(self, level: int) -> list[tuple[int | None, str, float]]:
        """Levels of `place` given a level of `organs`: each with the site that it stands for and its share."""
        if "place" not in self._names:
            organ = self.organ(level)
            return [(None, organ, 1.0)] if organ else []
        position = self._names.index("place")
        shares = self._chain.conditional(position, [level])
        found: list[tuple[int | None, str, float]] = []
        for place, share in enumerate(shares):
            for root in self._levels[ROOT][level].split(POOLED):
                for member in self._levels["place"][place].split(POOLED):
                    flat = {ROOT: root, "place": member}
                    if share > 0 and agree(flat) and decode(flat).tumours:
                        found.append((place, site_of(decode(flat).tumours[0]), float(share)))
        return found


def _fill(
    cells: Float[np.ndarray, "theirs ours"],
    rows: Float[np.ndarray, "theirs"],
    columns: Float[np.ndarray, "ours"],
    most: float,
) -> Float[np.ndarray, "theirs ours"]:
    """Estimate the cells that are NaN so that rows and columns add up, as far as `most` allows."""
    free = np.isnan(cells)
    known = np.where(free, 0.0, cells)
    guess = np.where(free, np.minimum(rows[:, None] * columns[None] / columns.sum(), most), 0.0)
    for _ in range(_FILLS):
        for axis, totals in ((1, rows), (0, columns)):
            left = np.maximum(totals - known.sum(axis=axis), _LEAST)
            scale = left / np.maximum(guess.sum(axis=axis), _LEAST)
            guess = guess * (scale[:, None] if axis else scale[None])
            guess = np.where(free, np.clip(guess, _LEAST, most), 0.0)
    return known + guess


def _bins(number: Number) -> int:
    """Bins of equal probability; four or a multiple where the quantiles are fine enough."""
    steps = min(len(number.quantiles) - 1, _MAX_BINS)
    return steps if steps < 4 else steps - steps % 4


def _shifted(shift: Shift, edges: Float[np.ndarray, "edges"], rows: int) -> Float[np.ndarray, "bins"]:
    """Share of each bin in the rows of a level: normal scores, made to agree with the quarters that are known."""
    line = np.diff(ndtr((edges - shift.mean) / shift.sd))
    line = np.maximum(line / line.sum(), 1e-4)
    quarter = len(line) // 4
    if quarter:
        usual = [float(rows * part) for part in _sums(line)]
        wanted = [shift.quarters.get(name, rows) for name, rows in zip(_QUARTERS, usual, strict=True)]
        line = line * np.repeat(np.array(wanted) / np.array(usual), quarter)
    return np.asarray(line / line.sum())


def _sums(line: Float[np.ndarray, "bins"]) -> Float[np.ndarray, "4"]:
    return np.asarray(line.reshape(4, -1).sum(axis=1))


def _invert(shares: Float[np.ndarray, "levels"], point: float) -> tuple[int, float]:
    """The level at a point of the distribution function, and how far inside its step the point lies."""
    edges = np.cumsum(shares)
    level = min(int(np.searchsorted(edges, point * edges[-1], side="right")), len(shares) - 1)
    start = edges[level - 1] if level else 0.0
    width = edges[level] - start
    return level, float(np.clip((point * edges[-1] - start) / width, 0.0, 1.0 - 1e-9)) if width > 0 else 0.5


def _gaussian_copula(
    rank_correlation: float, theirs: int, edges: Float[np.ndarray, "edges"]
) -> Float[np.ndarray, "theirs ours"]:
    """Share of each bin given each bin of the other number, where normal scores are bivariate normal.

    Spearman's rho is that of a normal correlation 2 sin(pi rho / 6) (Pearson 1907).
    """
    r = float(np.clip(2 * np.sin(np.pi * rank_correlation / 6), -0.995, 0.995))
    points = ndtri((np.arange(theirs * _INSIDE) + 0.5) / (theirs * _INSIDE))
    below = ndtr((edges[None] - r * points[:, None]) / np.sqrt(1 - r * r))
    return np.asarray(np.diff(below, axis=1).reshape(theirs, _INSIDE, -1).mean(axis=1))
