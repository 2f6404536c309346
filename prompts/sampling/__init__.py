"""Drawing prompts: from a distribution, from a table of prompts, and what a prompt leaves unstated."""

from collections.abc import Sequence

from prompts.sampling.base import Distribution
from prompts.sampling.distribution import complete, default_distribution
from prompts.sampling.files import load_distribution, write_distribution
from prompts.sampling.fit import MIN_COUNT, fit
from prompts.sampling.sequences import MODES, Mode, require_mode
from prompts.schema import Prompt

__all__ = [
    "MIN_COUNT",
    "MODES",
    "Distribution",
    "Mode",
    "complete",
    "default_distribution",
    "fit",
    "load_distribution",
    "require_mode",
    "sample_table",
    "write_distribution",
]


def sample_table(prompts: Sequence[Prompt], n: int, seed: int, mode: Mode = "match") -> list[Prompt]:
    """Draw `n` prompts from what `fit` finds in a table; row i is the same for any `n` larger than i.

    Raises:
        InvalidValueError: if the table is too small to fit, or `n` is negative.
    """
    return fit(prompts, "table").sample(n, seed, mode)
