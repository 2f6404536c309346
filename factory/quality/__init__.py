"""The quality gate: measures a case from its arrays alone and judges it against its prompt and anatomy."""

from factory.quality.gate import Verdict, assess
from factory.quality.limits import CODES, GATE

__all__ = ["CODES", "GATE", "Verdict", "assess"]
