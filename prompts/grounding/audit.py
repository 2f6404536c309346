"""The audit."""

from prompts.extraction import Dropped, Extraction

__all__ = ["verify"]


def verify(text: str, extraction: Extraction) -> tuple[Dropped, ...]:
    """Check again that each stated field of an extraction is stated by the text; empty if all are."""
    raise NotImplementedError
