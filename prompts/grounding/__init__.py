"""Grounding: no value without a passage of the text that states it, and an audit of that promise."""

from prompts.grounding.audit import verify
from prompts.grounding.ground import ground

__all__ = ["ground", "verify"]
