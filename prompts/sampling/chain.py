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

_POPULATION, _SWEEPS = 2048, 25
_MAX_STEP, _MAX_FACTOR, _TINY = 2.0, 12.0, 1e-6


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
        before = np.array([[*levels[:place]]], dtype=np.int64).reshape(1, place)
        logits = _logits(self._bases[place], self._factors[place], self.variables[place], before)
        return np.asarray(_softmax(logits)[0])


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
    base = np.log(np.maximum(variable.shares / variable.shares.sum(), _TINY))
    links = {link.on: link.shares for link in variable.links if link.shares is not None}
    factors = {on: np.zeros((len(shares) + 1, len(base))) for on, shares in links.items()}
    if not links or not len(before):
        return base, factors
    wanted = np.exp(base)
    for _ in range(_SWEEPS):
        for on, target in links.items():
            shares = _softmax(_logits(base, factors, variable, before))
            found = np.zeros_like(target)
            counts = np.bincount(before[:, on], minlength=len(target) + 1)[: len(target)]
            for level in np.flatnonzero(counts):
                found[level] = shares[before[:, on] == level].mean(axis=0)
            move = np.where((counts > 0)[:, None] & np.isfinite(target), _step(target, found), 0.0)
            factors[on][:-1] = np.clip(factors[on][:-1] + move, -_MAX_FACTOR, _MAX_FACTOR)
        shares = _softmax(_logits(base, factors, variable, before))
        base = base + _step(wanted[None], shares.mean(axis=0, keepdims=True))[0]
    return base, factors


def _step(
    wanted: Float[np.ndarray, "theirs ours"], found: Float[np.ndarray, "theirs ours"]
) -> Float[np.ndarray, "theirs ours"]:
    ratio = np.maximum(np.nan_to_num(wanted, nan=1.0), _TINY) / np.maximum(found, _TINY)
    return np.asarray(np.clip(np.log(ratio), -_MAX_STEP, _MAX_STEP))
