"""Drawing prompts: from a distribution, from a table of prompts, and what a prompt leaves unstated."""

from prompts.sampling.distribution import Distribution, complete, default_distribution, load_distribution
from prompts.sampling.marginals import sample_table

__all__ = ["Distribution", "complete", "default_distribution", "load_distribution", "sample_table"]
