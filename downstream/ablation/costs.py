"""What an ablation will cost: from steps of the same kind that this folder has finished, else from rough figures."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from types import MappingProxyType
from typing import Any

from downstream.ablation.plan import Step
from downstream.ablation.study import finished

__all__ = ["ROUGH_S", "AblationCosts", "StepCost", "ablation_costs"]

ROUGH_S: Mapping[str, float] = MappingProxyType(
    {
        "masks": 300.0,
        "autoencoder": 200.0,
        "latents": 200.0,
        "pack": 10.0,
        "draw masks": 90.0,
        "draw images": 120.0,
        "errors": 60.0,
    }
)
"""Seconds of one core for a step at preset `tiny`; larger presets are unknown until one has been finished."""


@dataclass(frozen=True, slots=True)
class StepCost:
    """A step: its name, whether it is finished, and the seconds that it took or will; None = unknown."""

    name: str
    finished: bool
    seconds: float | None
    measured: bool


@dataclass(frozen=True, slots=True)
class AblationCosts:
    """All steps, and what is left to do."""

    steps: tuple[StepCost, ...]

    @property
    def left_s(self) -> float:
        """Seconds left, of the steps whose cost is known."""
        return sum(step.seconds or 0.0 for step in self.steps if not step.finished)

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        unknown = sum(step.seconds is None and not step.finished for step in self.steps)
        return {"steps": [asdict(step) for step in self.steps], "left_s": self.left_s, "unknown": unknown}

    def __str__(self) -> str:
        """Lines for people."""
        lines = []
        for step in self.steps:
            seconds = "unknown" if step.seconds is None else f"{step.seconds / 60:5.1f} min"
            state = "done" if step.finished else "measured" if step.measured else "rough"
            lines.append(f"  {step.name:40} {seconds:>9} {state}")
        unknown = sum(step.seconds is None and not step.finished for step in self.steps)
        rest = f", and {unknown} steps of unknown cost" if unknown else ""
        todo = sum(not step.finished for step in self.steps)
        return "\n".join(
            [*lines, f"{todo} of {len(lines)} steps to do: {self.left_s / 60:.1f} min{rest}; measuring comes on top"]
        )


def ablation_costs(steps: Sequence[Step], preset: str, out: Path) -> AblationCosts:
    """Estimate the cost of what is left; nothing is written."""
    took = {step.name: _seconds(step, out) for step in steps if finished(step, out)}
    by_kind: dict[str, list[float]] = {}
    for step in steps:
        if seconds := took.get(step.name):
            by_kind.setdefault(step.kind, []).append(seconds)
    rows = []
    for step in steps:
        known = by_kind.get(step.kind)
        rough = ROUGH_S[step.kind] if preset == "tiny" else None
        seconds = took[step.name] if step.name in took else fmean(known) if known else rough
        rows.append(StepCost(step.name, step.name in took, seconds, known is not None))
    return AblationCosts(tuple(rows))


def _seconds(step: Step, out: Path) -> float | None:
    path = out / "steps" / f"{step.name.replace('/', '-')}.seconds"
    return float(path.read_text(encoding="utf-8")) if path.is_file() else None
