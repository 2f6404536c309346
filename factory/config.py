"""What one build is told: presets of grids, and the few dials of a run.

A preset sets the field of view and the resolution; the rest has one default each. The torso
frame has its origin on the midline at the level of the L1 vertebral body, at its front edge:
x to the patient's Left, y to Posterior, z to Superior, in mm.
"""

import math
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from manifests.errors import InvalidValueError, UnknownNameError
from manifests.geometry import Grid

__all__ = ["PRESETS", "REGION_Z_MM", "BuildConfig", "Preset", "WorkerConfig", "preset"]

REGION_Z_MM = MappingProxyType(
    {
        "torso": (-318.0, 330.0),
        "chest": (-30.0, 330.0),
        "chest_abdomen": (-150.0, 330.0),
        "abdomen": (-150.0, 186.0),
        "abdomen_pelvis": (-318.0, 186.0),
    }
)
"""Lowest and highest voxel edge in mm of each scan region, relative to the L1 level."""


@dataclass(frozen=True, slots=True)
class Preset:
    """A named resolution: isotropic spacing and in-plane field of view, edges included."""

    name: str
    spacing_mm: float
    extent_mm_yx: tuple[float, float] = (312.0, 432.0)
    front_mm: float = -166.0
    purpose: str = ""

    def grid(self, region: str | None = None) -> Grid:
        """The grid of a scan region; an unstated region is the whole torso."""
        low, high = REGION_Z_MM[region or "torso"]
        spans = (high - low, *self.extent_mm_yx)
        shape = tuple(int(np.round(span / self.spacing_mm)) for span in spans)
        half = self.spacing_mm / 2
        origin = (-self.extent_mm_yx[1] / 2 + half, self.front_mm + half, low + half)
        return Grid(shape, (self.spacing_mm,) * 3, origin)  # type: ignore[arg-type]

    def identity(self) -> dict[str, Any]:
        """What decides the grid of a case, for its identity and for a dataset's spec."""
        return {
            "preset": self.name,
            "spacing_mm": self.spacing_mm,
            "extent_mm_yx": list(self.extent_mm_yx),
            "front_mm": self.front_mm,
        }


PRESETS = MappingProxyType(
    {
        entry.name: entry
        for entry in (
            Preset("tiny", 6.0, purpose="tests: a case in under a second"),
            Preset("demo", 3.0, purpose="the default: a laptop, seconds a case"),
            Preset("full", 1.5, purpose="training data at TotalSegmentator's resolution"),
            Preset("hires", 1.0, purpose="close to a thin-slice scan"),
        )
    }
)


def preset(name: str) -> Preset:
    """Look a preset up.

    Raises:
        UnknownNameError: listing the presets there are.
    """
    try:
        return PRESETS[name]
    except KeyError:
        raise UnknownNameError(
            "--preset", got=repr(name), need=f"one of {', '.join(PRESETS)}", do="Choose a preset."
        ) from None


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerConfig:
    """Who does the work, and how patient the build is with them.

    One worker without any of the options that need separate processes (`timeout_s`, `address`,
    `gpus_per_worker`) runs in this process; everything else runs on Ray.

    Attributes:
        count: workers, one CPU core each.
        timeout_s: seconds after which a case is taken from its worker; None is half an hour on Ray.
        max_attempts: workers that a case may bring down before it is set aside as failed.
        address: Ray cluster to use; None starts Ray on this machine.
        gpus_per_worker: GPUs each worker reserves; a fraction shares one.
    """

    count: int = 1
    timeout_s: float | None = None
    max_attempts: int = 3
    address: str | None = None
    gpus_per_worker: float = 0.0

    def __post_init__(self) -> None:
        """Refuse what no run could satisfy."""
        _at_least("--workers", self.count, 1)
        _at_least("--max-attempts", self.max_attempts, 1)
        _at_least("--gpus-per-worker", self.gpus_per_worker, 0)
        if self.timeout_s is not None and not (math.isfinite(self.timeout_s) and self.timeout_s > 0):
            raise InvalidValueError("--timeout", got=str(self.timeout_s), need="seconds above 0", do="Choose a limit.")

    @property
    def separate(self) -> bool:
        """Whether workers need processes of their own."""
        return self.count > 1 or self.timeout_s is not None or self.address is not None or self.gpus_per_worker > 0


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildConfig:
    """One build: how many cases of what, by whom, where to.

    Attributes:
        out: directory of the dataset; an existing one of the same spec is resumed or extended.
        n: accepted cases to deliver.
        manifest: prompts table; None draws prompts from the distribution that ships with the project.
        masks, images: names of the mask model and the image model.
        preset: resolution and field of view.
        seed: run seed; another seed gives another dataset.
        candidates: drawings allowed for one case until one is accepted.
        randomise: 0 = the variety of patients and scanners, 1 = far beyond it, for training; in between, in between.
        ungated: keep what the gate refuses, with its reasons, to judge an engine by all that it draws.
        retry_failed: give cases another chance that earlier runs set aside as failed.
        workers: who does the work.
    """

    out: Path
    n: int
    manifest: Path | None = None
    masks: str = "phantom"
    images: str = "texture"
    preset: Preset = field(default_factory=lambda: PRESETS["demo"])
    seed: int = 0
    candidates: int = 5
    randomise: float = 0.0
    ungated: bool = False
    retry_failed: bool = False
    workers: WorkerConfig = field(default_factory=WorkerConfig)

    def __post_init__(self) -> None:
        """Refuse what no build could satisfy."""
        _at_least("--n", self.n, 1)
        _at_least("--candidates", self.candidates, 1)
        _at_least("--seed", self.seed, 0)
        if not 0 <= self.randomise <= 1:  # also refuses NaN
            got = str(self.randomise)
            raise InvalidValueError("--randomise", got=got, need="a number from 0 to 1", do="Correct the option.")


def _at_least(option: str, value: float | int, least: int) -> None:
    if not (math.isfinite(value) and value >= least):
        raise InvalidValueError(option, got=str(value), need=f"{least} or more", do="Correct the option.")
