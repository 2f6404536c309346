"""What a usability study is asked for, checked before anything is written or trained."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from downstream.nnunet_layout import require_nnunet
from downstream.usability.arms import KINDS, REAL, Arm, arms_of
from downstream.usability.plans import usability_plan
from manifests.errors import InvalidValueError, UnknownNameError
from manifests.schemes import Scheme, scheme

__all__ = ["UsabilityOptions", "check_options", "parse_sizes"]

DEVICES = ("cpu", "cuda")
PLAN_ON = (REAL, "synthetic")


@dataclass(frozen=True, slots=True)
class UsabilityOptions:
    """How to compare.

    Attributes:
        plan: a key of `plans.PLANS`.
        scheme: label scheme that is trained and scored.
        kinds: arms, some of `arms.KINDS`.
        sizes: numbers of synthetic cases.
        folds: 1 for the sides of the protocol, more for so many parts of a cross-validation by hash.
        seeds: trainings of each arm and fold, with seeds from 0.
        iterations: steps of every training; None for the plan's.
        protocol: sides of the real cases, as `protocols.benchmark_split`; None for the dataset's own.
        plan_on: whose training cases nnU-Net plans on, "real" or "synthetic".
        stand_in: the real dataset is generated itself and stands for real scans.
        may_lack: labels that training or test cases of a side may lack.
        device: "cpu" or "cuda".
        workers: processes for preprocessing.
        parallel: trainings at once; more than 1 need an executor that can.
        tolerance_mm: of the normalised surface distance.
    """

    plan: str = "nano"
    scheme: str = "torso24"
    kinds: tuple[str, ...] = KINDS
    sizes: tuple[int, ...] = (0, 100, 200)
    folds: int = 1
    seeds: int = 3
    iterations: int | None = None
    protocol: str | None = None
    plan_on: str = REAL
    stand_in: bool = False
    may_lack: tuple[str, ...] = ()
    device: str = "cpu"
    workers: int = 2
    parallel: int = 1
    tolerance_mm: float = 3.0

    def arms(self) -> tuple[Arm, ...]:
        """The arms asked for."""
        return arms_of(self.kinds, self.sizes)

    def size(self) -> dict[str, Any]:
        """The plan's size as plain data, with the iterations asked for."""
        size = dict(usability_plan(self.plan).size)
        return size | ({"iterations": self.iterations} if self.iterations else {})


def parse_sizes(text: str) -> tuple[int, ...]:
    """Read "0,100,200".

    Raises:
        InvalidValueError: for anything but whole numbers from 0, each once.
    """
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() for part in parts) or len(set(map(int, parts))) < len(parts):
        raise InvalidValueError("--sizes", got=repr(text), need="whole numbers, each once", do="E.g. 0,100,200.")
    return tuple(map(int, parts))


def check_options(options: UsabilityOptions) -> Scheme:
    """Make sure that the options themselves can be worked with; the scheme that they name.

    Raises:
        InputError: unknown plan, scheme, arm, device; numbers out of range; no nnU-Net.
    """
    usability_plan(options.plan)
    wanted = scheme(options.scheme)
    options.arms()
    _check_names(options, wanted)
    for name in ("folds", "seeds", "iterations", "workers", "parallel"):
        if (value := getattr(options, name)) is not None and value < 1:
            raise InvalidValueError(f"--{name}", got=str(value), need="1 or more", do="Correct it.")
    if not options.tolerance_mm > 0:
        raise InvalidValueError("--tolerance", got=str(options.tolerance_mm), need="mm above 0", do="3 is usual.")
    require_nnunet()
    if options.device == "cuda":
        _require_cuda()
    return wanted


def _check_names(options: UsabilityOptions, wanted: Scheme) -> None:
    for name, value, known in (
        ("--device", options.device, DEVICES),
        ("--plan-on", options.plan_on, PLAN_ON),
        *(("--may-lack", label, _foreground(wanted)) for label in options.may_lack),
    ):
        if value not in known:
            raise UnknownNameError(name, got=repr(value), need=f"one of {', '.join(known)}", do="Correct it.")
    if not wanted.consecutive:
        raise InvalidValueError(
            "--scheme", got=wanted.name, need="labels 0, 1, 2, ... without gaps, as nnU-Net does", do="Choose another."
        )
    used = {REAL if kind == REAL else "synthetic" for kind in options.kinds} | (
        {REAL} if "real+synthetic" in options.kinds else set()
    )
    if options.plan_on not in used:
        raise InvalidValueError(
            "--plan-on", got=options.plan_on, need="cases that some arm trains on", do="Correct it, or add the arm."
        )


def _foreground(wanted: Scheme) -> Sequence[str]:
    return [name for name, value in wanted.labels.items() if value]


def _require_cuda() -> None:
    import torch  # a second to import

    if not torch.cuda.is_available():
        raise InvalidValueError("--device", got="cuda without a GPU that torch sees", need="a GPU", do="Use cpu.")
