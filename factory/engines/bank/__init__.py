"""The mask model `bank`: cases drawn from the label maps of a dataset, real or synthetic."""

from factory.engines.bank.model import Bank

__all__ = ["Bank"]
