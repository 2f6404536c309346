"""What an extractor found in one text: a prompt, where each field stands, and what was dropped."""

from dataclasses import dataclass

from prompts.schema import Prompt
from prompts.table import Evidence

__all__ = ["Dropped", "Extraction"]


@dataclass(frozen=True, slots=True)
class Dropped:
    """A value that an extractor claimed and that did not reach the prompt.

    Attributes:
        field: the field as in `Evidence`, e.g. "tumours.0.size_mm".
        value: the claimed value as text.
        reason: what check it failed, e.g. "quote not in the text", "contradicts the sex".
    """

    field: str
    value: str
    reason: str

    def __str__(self) -> str:
        """One flag of the prompts table."""
        return f"dropped {self.field}={self.value}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Extraction:
    """What a text says.

    Attributes:
        prompt: the stated fields.
        evidence: where each of them stands; tumours are numbered, as in "tumours.0.size_mm".
        dropped: what was claimed and left out, with the check that it failed.
        flags: remarks for a human reader, e.g. that two extractors disagree on a field.
    """

    prompt: Prompt
    evidence: tuple[Evidence, ...] = ()
    dropped: tuple[Dropped, ...] = ()
    flags: tuple[str, ...] = ()
