"""What the root command hands down, because downstream makes no cases and knows no Ray: the context's object of every command."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from downstream.tasks import Spread

__all__ = ["BuildRequest", "Builder", "HandedDown"]


@dataclass(frozen=True, slots=True)
class BuildRequest:
    """Synthetic cases that a transfer wants: `n` of a preset at `out`, drawn from a seed, varied by `randomise`."""

    out: Path
    n: int
    preset: str
    seed: int
    randomise: float
    workers: int


Builder = Callable[[BuildRequest], Callable[[bool], None]]
"""Checks a request and returns what builds it, or what is missing of it; that is told whether to be quiet."""


@dataclass(frozen=True, slots=True)
class HandedDown:
    """Who builds cases, and who calls functions side by side."""

    builder: Builder
    spread: "Spread"
