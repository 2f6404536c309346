"""Evaluating an extraction against labels made by reading, or against another extraction."""

from prompts.evaluation.comparison import FIELDS, HEADLINE, Slot, compare, match_tumours
from prompts.evaluation.reference import Half, Joined, join_reports, read_reference
from prompts.evaluation.scores import Evaluation, FieldScores, Pair, cohen_kappa, evaluate

__all__ = [
    "FIELDS",
    "HEADLINE",
    "Evaluation",
    "FieldScores",
    "Half",
    "Joined",
    "Pair",
    "Slot",
    "cohen_kappa",
    "compare",
    "evaluate",
    "join_reports",
    "match_tumours",
    "read_reference",
]
