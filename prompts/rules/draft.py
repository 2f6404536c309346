"""The fields of patient and study being read, and where each stands."""

from dataclasses import dataclass, field
from typing import Any

__all__ = ["Draft"]


@dataclass(slots=True)
class Draft:
    """Fields found so far, by dotted name; the first statement of a field counts."""

    text: str
    lower: str
    fields: dict[str, Any] = field(default_factory=dict)
    spans: dict[str, tuple[int, int]] = field(default_factory=dict)

    def state(self, name: str, value: Any, span: tuple[int, int]) -> None:
        """Set a field that is not stated yet."""
        if value is not None and name not in self.fields:
            self.fields[name] = value
            self.spans[name] = span
