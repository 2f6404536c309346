"""The rules extractor: plain English to a prompt, offline and without a model."""

from prompts.rules.reading import RULES_VERSION, extract

__all__ = ["RULES_VERSION", "extract"]
