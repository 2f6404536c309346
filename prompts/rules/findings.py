"""One tumour being read: its fields, where each stands, and where it was last spoken of."""

from dataclasses import dataclass, field
from typing import Any

__all__ = ["Finding"]


@dataclass(slots=True, eq=False)
class Finding:
    """A tumour entry in the making.

    `heads` are the spans of its tumour words in the clause that last spoke of it, counted from the
    start of that clause, which is `clause`; `spans` are positions in the whole text.
    A `mass` was only called so, and may turn out to be something else.
    """

    sentence: int
    clause: int
    heads: list[tuple[int, int]]
    mass: bool = False
    fields: dict[str, Any] = field(default_factory=dict)
    spans: dict[str, tuple[int, int]] = field(default_factory=dict)

    def state(self, name: str, value: Any, span: tuple[int, int]) -> None:
        """Set a field that is not stated yet."""
        if value is not None and self.fields.get(name) is None:
            self.fields[name] = value
            self.spans[name] = span
