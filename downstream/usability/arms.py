"""Arms of a usability study and the trainings that they need: which cases, which seed.

An arm is "real", "synthetic:N" or "real+synthetic:N". The N synthetic cases are the first ones in the order of a hash of their
ids, so that 100 are among 200. Every training takes the same number of steps whatever its cases, as nnU-Net
does: real cases alone train as long as real and synthetic ones together.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from manifests.errors import InvalidValueError, UnknownNameError
from manifests.identity import content_hash

__all__ = ["KINDS", "REAL", "Arm", "Training", "arms_of", "ranked", "trainings"]

REAL = "real"
KINDS = (REAL, "synthetic", "real+synthetic")
"""What an arm may be made of."""


@dataclass(frozen=True, slots=True)
class Arm:
    """Cases of one kind of mixture, with `size` synthetic ones among them."""

    kind: str
    size: int

    @property
    def name(self) -> str:
        """As the tidy table has it."""
        return f"{self.kind}:{self.size}" if self.size else self.kind

    def cases(self, real: Sequence[str], synthetic: Sequence[str]) -> tuple[str, ...]:
        """Ids of the training cases, sorted.

        Args:
            real: training cases of the real dataset.
            synthetic: in ranked order.
        """
        chosen = [*(() if self.kind == "synthetic" else real), *synthetic[: self.size]]
        return tuple(sorted(chosen))


@dataclass(frozen=True, slots=True)
class Training:
    """One network: an arm, a fold and a seed, with the cases of both sides."""

    arm: str
    fold: int
    seed: int
    train: tuple[str, ...]
    test: tuple[str, ...]

    @property
    def name(self) -> str:
        """Name of its folder."""
        return f"fold{self.fold}-{self.arm.replace(':', '-')}-seed{self.seed}"

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self) | {"name": self.name}


def arms_of(kinds: Sequence[str], sizes: Sequence[int]) -> tuple[Arm, ...]:
    """List the arms, real alone first; size 0 of "real+synthetic" is real alone.

    Raises:
        UnknownNameError: an unknown kind.
        InvalidValueError: no kind, a size below 0, or a kind that no size is for.
    """
    for kind in kinds:
        if kind not in KINDS:
            raise UnknownNameError("--arms", got=repr(kind), need=f"some of {', '.join(KINDS)}", do="Correct it.")
    if not kinds or min(sizes, default=0) < 0:
        raise InvalidValueError(
            "--arms, --sizes", got=f"{list(kinds)}, {list(sizes)}", need="kinds, and sizes from 0", do="Correct them."
        )
    positive = sorted({size for size in sizes if size})
    mixed = [kind for kind in dict.fromkeys(kinds) if kind != REAL]
    if mixed and not positive:
        raise InvalidValueError(
            "--sizes", got="no size above 0", need=f"one for {mixed[0]}", do="E.g. --sizes 0,100,200."
        )
    real = REAL in kinds or ("real+synthetic" in kinds and 0 in sizes)
    return (*([Arm(REAL, 0)] if real else []), *(Arm(kind, size) for kind in mixed for size in positive))


def ranked(cases: Sequence[str]) -> tuple[str, ...]:
    """Put synthetic cases into the order in which arms take them."""
    return tuple(sorted(cases, key=lambda case: content_hash(["usability", case])))


def trainings(
    arms: Sequence[Arm],
    sides: Sequence[tuple[tuple[str, ...], tuple[str, ...]]],
    synthetic: Sequence[str],
    seeds: int,
) -> tuple[Training, ...]:
    """List what is to be trained, one seed of all arms and folds after the other.

    Args:
        arms: the arms.
        sides: training and test cases of each fold.
        synthetic: ids of synthetic cases in ranked order.
        seeds: how many, from 0.
    """
    return tuple(
        Training(arm.name, fold, seed, arm.cases(train, synthetic), test)
        for seed in range(seeds)
        for fold, (train, test) in enumerate(sides)
        for arm in arms
    )
