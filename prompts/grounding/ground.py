"""From an answer to an extraction."""

from prompts.extraction import Extraction
from prompts.llm.answer import Answer

__all__ = ["ground"]


def ground(text: str, answer: Answer) -> Extraction:
    """Keep what the text states of an answer; the rest is dropped to unstated, with its reason."""
    raise NotImplementedError
