"""Where the randomness of row i comes from, by mode; row i is the same however many rows are drawn.

* match, rare, balanced: a generator of its own, seeded by (seed, i).
* coverage: point i of a scrambled Sobol sequence (Owen scrambling, `scipy.stats.qmc.Sobol`), whose
  coordinates stand for the first draws of the row; what a row draws beyond them is pseudo-random.
* balanced: row i also has stratum i of a sequence that goes through all k strata in every block of
  k rows, each block in an order of its own, so that counts differ by one at most for any n.

References:
    Sobol IM, USSR Comput Math Math Phys 1967;7(4):86-112. Owen AB, J Complexity 1998;14:466-489.
"""

from functools import lru_cache
from typing import Any, Literal, get_args

import numpy as np

from manifests.errors import UnknownNameError
from manifests.identity import rng, stage_seed

__all__ = ["MODES", "Mode", "generator", "require_mode", "stratum"]

Mode = Literal["match", "balanced", "rare", "coverage"]
MODES: tuple[Mode, ...] = get_args(Mode)

_DIMENSIONS = 48
_BLOCK = 1024


def require_mode(name: str) -> Mode:
    """Look a mode up by name.

    Raises:
        UnknownNameError: if there is none of that name.
    """
    for mode in MODES:
        if mode == name:
            return mode
    raise UnknownNameError("--mode", got=repr(name), need=f"one of {', '.join(MODES)}", do="Choose one of these.")


class _QuasiRandom(np.random.Generator):
    """A generator whose first uniform numbers are given; then it goes on as any other."""

    def __init__(self, point: np.ndarray, seed: int) -> None:
        super().__init__(np.random.PCG64(seed))
        self._point = [float(coordinate) for coordinate in point]

    def _next(self) -> float:
        return self._point.pop(0) if self._point else float(super().random())

    def random(self, size: Any = None, dtype: Any = np.float64, out: Any = None) -> Any:  # noqa: ARG002
        """Uniform numbers in [0, 1)."""
        if size is None:
            return self._next()
        values = np.array([self._next() for _ in range(int(np.prod(size)))], dtype=dtype)
        return values.reshape(size)

    def integers(self, low: Any, high: Any = None, *rest: Any) -> Any:  # type: ignore[override]  # noqa: ARG002
        """One integer from [0, low) or [low, high)."""
        start, end = (0, low) if high is None else (low, high)
        return min(int(start + self._next() * (end - start)), end - 1)


@lru_cache(maxsize=4)
def _points(seed: int, block: int) -> np.ndarray:
    """Rows `block * 1024` to the next block of a scrambled Sobol sequence."""
    from scipy.stats import qmc  # loads slowly, and every command would wait for it

    sequence = qmc.Sobol(_DIMENSIONS, scramble=True, rng=np.random.default_rng(stage_seed(str(seed), "sobol")))
    if block:
        sequence.fast_forward(block * _BLOCK)
        return sequence.random(_BLOCK)
    return sequence.random_base2(10)


def generator(mode: Mode, seed: int, index: int, stage: str) -> np.random.Generator:
    """The random generator of one row.

    Args:
        mode: which sequence.
        seed: of the whole draw.
        index: number of the row, from 0.
        stage: name that keeps different uses of one seed apart.
    """
    if mode == "coverage":
        point = _points(seed, index // _BLOCK)[index % _BLOCK]
        return _QuasiRandom(point, stage_seed(f"{seed}:{index}", stage))
    return rng(f"{seed}:{index}", stage)


def stratum(seed: int, index: int, strata: int) -> int:
    """Number of the stratum of row `index`: every block of `strata` rows holds each once."""
    order = rng(f"{seed}:{index // strata}", "strata").permutation(strata)
    return int(order[index % strata])
