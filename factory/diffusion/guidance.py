"""Classifier-free guidance (Ho and Salimans 2022): away from what would be drawn without the text."""

from jaxtyping import Float
from torch import Tensor

__all__ = ["guided"]


def guided(
    conditional: Float[Tensor, "b *rest"], unconditional: Float[Tensor, "b *rest"], scale: float
) -> Float[Tensor, "b *rest"]:
    """Extrapolate from the unconditional prediction through the conditional one.

    Holds for predictions of Gaussian processes and, up to their normalisation, for logits of a
    categorical one. `scale` 1 is the conditional prediction, 0 the unconditional one.
    """
    return unconditional + scale * (conditional - unconditional)
