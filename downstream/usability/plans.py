"""Sizes of network and training for `factory bench usability`: nnU-Net's planner, and what is changed in its plan.

A study trains many networks, so `nano` is small: minutes each on a CPU. `small` is the network of `factory bench transfer`, an hour
each. The others are nnU-Net's residual encoders as their planners make them (Isensee et al., MICCAI 2024), 1000 epochs of
250 steps.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from downstream.transfer_plans import transfer_plan
from manifests.errors import UnknownNameError

__all__ = ["PLANS", "UsabilityPlan", "usability_plan"]

_OWN = {"spacing_mm": None, "iterations": 250_000, "learning_rate": 1e-2, "optimiser": "sgd"}


@dataclass(frozen=True, slots=True)
class UsabilityPlan:
    """One size.

    Attributes:
        purpose: for whom.
        planner: class of nnU-Net.
        size: a `TransferPlan` as plain data; `spacing_mm` is None where nnU-Net chooses it.
    """

    purpose: str
    planner: str
    size: Mapping[str, Any]


def _plain(purpose: str, name: str, changes: dict[str, Any] | None = None) -> UsabilityPlan:
    return UsabilityPlan(purpose, "ExperimentPlanner", transfer_plan(name).to_json() | {"members": 1} | (changes or {}))


PLANS: Mapping[str, UsabilityPlan] = MappingProxyType(
    {
        "tiny": _plain("tests", "tiny"),
        "nano": _plain("2 cores of a CPU, a few minutes a training", "quick", {"iterations": 500}),
        "small": _plain("2 cores of a CPU, an hour a training", "nano"),
        "resenc-m": UsabilityPlan(
            "a GPU with 9 GB or more", "nnUNetPlannerResEncM", transfer_plan("full").to_json() | _OWN
        ),
        "resenc-l": UsabilityPlan(
            "a GPU with 24 GB or more", "nnUNetPlannerResEncL", transfer_plan("full").to_json() | _OWN
        ),
    }
)
"""Plans by name."""


def usability_plan(name: str) -> UsabilityPlan:
    """Look a plan up.

    Raises:
        UnknownNameError: listing the plans there are.
    """
    if name not in PLANS:
        raise UnknownNameError("--plan", got=repr(name), need=f"one of {', '.join(PLANS)}", do="Choose a plan.")
    return PLANS[name]
