"""Grounding: no value without a passage of the text that states it, and an audit of that promise."""

from prompts.grounding.audit import verify
from prompts.grounding.ground import ground
from prompts.grounding.words import languages_of, tokens_of

__all__ = ["GROUNDING_VERSION", "ground", "may_be_english", "verify"]

GROUNDING_VERSION = "grounding-1"
"""Named in every row that a model made; raise it whenever some answer is grounded differently."""


def may_be_english(text: str) -> bool:
    """Tell whether English is among the languages that a text may be in, by its commonest words."""
    return "en" in languages_of(tokens_of(text))
