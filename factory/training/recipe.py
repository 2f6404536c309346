"""How long and how a stage is trained."""

import math

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["Recipe"]


class Recipe(BaseModel):
    """The dials of a training, the same for every stage; part of the identity of a run but for `steps` and below.

    Attributes:
        batch: cases of one step, over all processes and accumulated parts.
        part: cases that one process takes at once; the rest of its share is accumulated.
        learning_rate: reached after `warmup` steps, then kept for half of the steps and let down by a cosine.
        ema: decay of the moving average of the weights, which is what is used in the end.
        clip: largest norm of the gradient.
        held_out: share of the cases that is never trained on, for validation; at least one.
        seed: of everything random.
        steps: optimiser steps.
        save_every, validate_every: in steps.
        loaders: threads that read cases.
        half: compute in bfloat16; None = where the device has it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    batch: int = Field(default=2, ge=1)
    part: int = Field(default=1, ge=1)
    learning_rate: float = Field(default=1e-3, gt=0)
    warmup: int = 50
    weight_decay: float = 0.01
    ema: float = 0.999
    clip: float = 1.0
    held_out: float = Field(default=0.05, ge=0, lt=1)
    seed: int = 0
    steps: int = Field(default=1000, ge=1)
    save_every: int = Field(default=250, ge=1)
    validate_every: int = Field(default=500, ge=1)
    loaders: int = Field(default=1, ge=1)
    half: bool | None = None

    def rate_at(self, step: int) -> float:
        """Learning rate of a step, counted from 0."""
        warm = min(1.0, (step + 1) / max(1, self.warmup))
        late = max(0.0, (step / self.steps - 0.5) / 0.5)
        return self.learning_rate * warm * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * min(1.0, late))))

    def ema_at(self, step: int) -> float:
        """Decay after a step: early averages forget their beginning."""
        return min(self.ema, (step + 1) / (step + 10))
