"""A chain of categorical variables whose pairwise tables are all kept.

Variable j is drawn given all before it: p(v | rest) is proportional to base(v) times one factor for each
earlier variable's level. The factors are found by iterative proportional fitting, so that in a population
drawn from the chain itself every pairwise table of the model comes out as wanted: a log-linear model with
all two-way interactions, taken one variable at a time. Numbers are variables as well, by their quantile bin.

Reference: Deming WE, Stephan FF, Ann Math Stat 1940;11(4):427-444 (iterative proportional fitting).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Float, Int

__all__ = ["Chain", "Link", "Variable"]

_POPULATION, _SWEEPS = 4096, 12
_MAX_STEP, _MAX_FACTOR, _SMALL_MOVE, _TINY = 2.0, 12.0, 2e-3, 1e-6


@dataclass(frozen=True, slots=True)
class Link:
    """How a variable depends on an earlier one.

    Attributes:
        on: position of the earlier variable.
        shares: wanted share of each level given each level of the earlier one; a row of NaN wants nothing.
        allowed: combinations that may occur at all.
    """

    on: int
    shares: Float[np.ndarray, "theirs ours"] | None = None
    allowed: Bool[np.ndarray, "theirs ours"] | None = None


@dataclass(frozen=True, slots=True)
class Variable:
    """One variable: shares of its levels, its links, and the variable and level without which it is not stated."""

    name: str
    shares: Float[np.ndarray, "levels"]
    links: tuple[Link, ...] = ()
    needs: tuple[int, int] | None = None


@dataclass(slots=True)
class Chain:
    """Variables in the order in which they are drawn; fitting happens once, when it is made."""

    variables: Sequence[Variable]
    _factors: list[dict[int, Float[np.ndarray, "theirs ours"]]] = field(init=False, default_factory=list)
    _bases: list[Float[np.ndarray, "levels"]] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        """Fit the factors of each variable in a population drawn from those before it."""
        random = np.random.Generator(np.random.PCG64(0))
        population = np.zeros((_POPULATION, len(self.variables)), dtype=np.int64)
        for place, variable in enumerate(self.variables):
            drawn = self._stated(variable, population)
            base, factors = _rake(variable, population[drawn])
            self._bases.append(base)
            self._factors.append(factors)
            population[:, place] = len(variable.shares)
            if drawn.any():
                population[drawn, place] = _draw(_softmax(_logits(base, factors, variable, population[drawn])), random)

    def _stated(self, variable: Variable, population: Int[np.ndarray, "rows places"]) -> Bool[np.ndarray, "rows"]:
        if variable.needs is None:
            return np.ones(len(population), dtype=bool)
        return np.asarray(population[:, variable.needs[0]] == variable.needs[1])

    def conditional(self, place: int, levels: Sequence[int]) -> Float[np.ndarray, "levels"]:
        """Probability of each level of variable `place`, given the levels of all before it."""
        logits = self._bases[place].copy()
        for on, factor in self._factors[place].items():
            logits += factor[levels[on]]
        weights = np.exp(logits - logits.max())
        free = np.ones(len(weights), dtype=bool)
        for link in self.variables[place].links:
            if link.allowed is not None and levels[link.on] < len(link.allowed):
                free &= link.allowed[levels[link.on]]
        weights = weights * free if (weights * free).any() else weights
        return np.asarray(weights / weights.sum())


def _logits(
    base: Float[np.ndarray, "ours"],
    factors: Mapping[int, Float[np.ndarray, "theirs ours"]],
    variable: Variable,
    before: Int[np.ndarray, "rows places"],
) -> Float[np.ndarray, "rows ours"]:
    logits = np.tile(base, (len(before), 1))
    for on, factor in factors.items():
        logits += factor[before[:, on]]
    return np.where(_allowed(variable, before), logits, -np.inf)


def _allowed(variable: Variable, before: Int[np.ndarray, "rows places"]) -> Bool[np.ndarray, "rows ours"]:
    """Levels that may occur; all of them where the constraints leave none."""
    free = np.ones((len(before), len(variable.shares)), dtype=bool)
    for link in variable.links:
        if link.allowed is not None:
            extended = np.vstack([link.allowed, np.ones((1, free.shape[1]), dtype=bool)])
            free &= extended[before[:, link.on]]
    free[~free.any(axis=1)] = True
    return free


def _softmax(logits: Float[np.ndarray, "rows ours"]) -> Float[np.ndarray, "rows ours"]:
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))


def _draw(shares: Float[np.ndarray, "rows ours"], random: np.random.Generator) -> Int[np.ndarray, "rows"]:
    """One level for each row; the points are spread evenly over [0, 1), which spares sampling error."""
    points = (random.permutation(len(shares)) + 0.5) / len(shares)
    edges = np.cumsum(shares, axis=1)
    return np.asarray(np.minimum((points[:, None] > edges).sum(axis=1), shares.shape[1] - 1))


def _rake(
    variable: Variable, before: Int[np.ndarray, "rows places"]
) -> tuple[Float[np.ndarray, "ours"], dict[int, Float[np.ndarray, "theirs ours"]]]:
    """Base and factors (as logarithms) that give the wanted shares in a population."""
    wanted = np.maximum(variable.shares / variable.shares.sum(), _TINY)
    base = np.log(wanted)
    links = {link.on: link.shares for link in variable.links if link.shares is not None}
    factors = {on: np.zeros((len(shares) + 1, len(base))) for on, shares in links.items()}
    if not links or not len(before):
        return base, factors
    members = {on: _membership(before[:, on], len(shares)) for on, shares in links.items()}
    weights = np.where(_allowed(variable, before), wanted, 0.0)
    for sweep in range(_SWEEPS):
        largest, pace = (
            0.0,
            1 / (1 + sweep / 4),
        )  # tables with noise contradict each other a little: settle between them
        for on, target in links.items():
            shares = weights / weights.sum(axis=1, keepdims=True)
            known = np.isfinite(target) & (members[on].sum(axis=1) > 0)[:, None]
            move = np.where(known, pace * _step(target, members[on] @ shares), 0.0)
            move = np.clip(factors[on][:-1] + move, -_MAX_FACTOR, _MAX_FACTOR) - factors[on][:-1]
            factors[on][:-1] += move
            weights = shares * np.vstack([np.exp(move), np.ones((1, len(base)))])[before[:, on]]
            largest = max(largest, float(np.abs(move * np.where(known, target, 0.0)).max()))
        shares = weights / weights.sum(axis=1, keepdims=True)
        move = _step(wanted[None], shares.mean(axis=0, keepdims=True))[0]
        base, weights = base + move, shares * np.exp(move)
        if largest < _SMALL_MOVE:
            break
    return base, factors


def _membership(levels: Int[np.ndarray, "rows"], size: int) -> Float[np.ndarray, "theirs rows"]:
    """A matrix that takes means over the rows of each level; a level without rows gives 0."""
    one_hot = (levels[None] == np.arange(size)[:, None]).astype(float)
    return np.asarray(one_hot / np.maximum(one_hot.sum(axis=1, keepdims=True), 1.0))


def _step(
    wanted: Float[np.ndarray, "theirs ours"], found: Float[np.ndarray, "theirs ours"]
) -> Float[np.ndarray, "theirs ours"]:
    ratio = np.maximum(np.nan_to_num(wanted, nan=1.0), _TINY) / np.maximum(found, _TINY)
    return np.asarray(np.clip(np.log(ratio), -_MAX_STEP, _MAX_STEP))
