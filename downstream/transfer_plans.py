"""Sizes of network and training for `downstream.transfer`: what a CPU does within an hour, and what a GPU is for.

nnU-Net's own planner measures the data; a plan then sets the spacing and, where it has `features`, replaces
the network of nnU-Net's `3d_fullres` configuration by a smaller one of the same kind.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Any

from manifests.errors import UnknownNameError

__all__ = ["DIALS", "PLANS", "TransferPlan", "member_seed", "transfer_plan"]

DIALS = ("iterations", "learning_rate", "optimiser", "squeezed")
"""Parts of a plan that the trainer takes; the others shape the network and the cases."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferPlan:
    """One size.

    Attributes:
        purpose: for whom.
        spacing_mm: isotropic spacing that the network works at.
        iterations: training steps.
        members: networks, each trained so many steps from a seed of its own; their scores are averaged.
        learning_rate: at the start; it falls to 0 by nnU-Net's polynomial.
        optimiser: "muon", or "sgd" as nnU-Net has it, with Nesterov momentum of 0.99.
        features: channels of each resolution; empty for nnU-Net's own network.
        folded: compute at half the spacing's resolution (`trainers/folded.py`).
        squeezed: the network sees soft tissue spread, air and bone squeezed (`trainers/squeeze.py`).
        convolutions: convolutions of each resolution in the encoder; the decoder has as many, the lowest left out.
        patch_zyx: voxels of a training patch; empty for nnU-Net's own. Divisible by 2^(resolutions - 1), folded by twice that.
        batch: patches of a step; 0 for nnU-Net's own.
        scales: a scan is read at the spacing times each of them; the scores are averaged.
        preset: resolution to build synthetic cases at.
    """

    purpose: str
    spacing_mm: float
    iterations: int
    members: int = 1
    learning_rate: float
    optimiser: str = "muon"
    features: tuple[int, ...] = ()
    folded: bool = False
    squeezed: bool = False
    convolutions: tuple[int, ...] = ()
    patch_zyx: tuple[int, ...] = ()
    batch: int = 0
    scales: tuple[float, ...] = (1.0,)
    preset: str = "demo"

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


PLANS: Mapping[str, TransferPlan] = MappingProxyType(
    {
        "tiny": TransferPlan(
            purpose="tests",
            spacing_mm=6.0,
            iterations=30,
            members=2,
            learning_rate=4e-3,
            squeezed=True,
            features=(8, 16, 32),
            convolutions=(1, 1, 1),
            patch_zyx=(32, 32, 32),
            batch=2,
            preset="tiny",
        ),
        "quick": TransferPlan(
            purpose="minutes of a CPU, to compare settings",
            spacing_mm=6.0,
            iterations=1000,
            learning_rate=4e-3,
            squeezed=True,
            features=(24, 48, 96),
            folded=True,
            convolutions=(2, 2, 2),
            patch_zyx=(32, 48, 48),
            batch=2,
            scales=(0.8, 0.9, 1.0),
            preset="tiny",
        ),
        "nano": TransferPlan(
            purpose="2 cores of a CPU, within an hour where it multiplies bfloat16",
            spacing_mm=4.0,
            iterations=10_000,
            learning_rate=4e-3,
            squeezed=True,
            features=(32, 64, 128, 160),
            folded=True,
            convolutions=(2, 2, 2, 2),
            patch_zyx=(32, 48, 64),
            batch=2,
            scales=(0.8, 0.9, 1.0),
        ),
        "full": TransferPlan(
            purpose="a GPU with 12 GB or more, a day",
            spacing_mm=1.5,
            iterations=125_000,
            learning_rate=1e-2,
            optimiser="sgd",
            preset="full",
        ),
    }
)
"""Plans by name."""


def member_seed(seed: int, members: int, member: int) -> int:
    """Seed of one of several networks, from 0, of a training with a seed: no two trainings of as many networks share one."""
    return seed * members + member


def transfer_plan(name: str) -> TransferPlan:
    """Look a plan up.

    Raises:
        UnknownNameError: listing the plans there are.
    """
    try:
        return PLANS[name]
    except KeyError:
        raise UnknownNameError(
            "--plan", got=repr(name), need=f"one of {', '.join(PLANS)}", do="Choose a plan."
        ) from None
