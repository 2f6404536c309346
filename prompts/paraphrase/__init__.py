"""Paraphrases: the many ways in which a person would write the same prompt, for training on free text."""

from prompts.paraphrase.forms import FORMS, Paraphrase, forms_for, paraphrase, paraphrases, write_as

__all__ = ["FORMS", "Paraphrase", "forms_for", "paraphrase", "paraphrases", "write_as"]
