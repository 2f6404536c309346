"""What one build is told: presets of grids, and the few dials of a run.

A preset sets the field of view and the resolution; the rest has one default each. The torso
frame has its origin on the midline at the level of the L1 vertebral body, at its front edge:
x to the patient's Left, y to Posterior, z to Superior, in mm.
"""

from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from manifests.errors import UnknownNameError
from manifests.geometry import Grid

__all__ = ["PRESETS", "REGION_Z_MM", "Preset", "preset"]

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
    front_mm: float = -184.0
    purpose: str = ""

    def grid(self, region: str | None = None) -> Grid:
        """The grid of a scan region; an unstated region is the whole torso."""
        low, high = REGION_Z_MM[region or "torso"]
        spans = (high - low, *self.extent_mm_yx)
        shape = tuple(int(np.round(span / self.spacing_mm)) for span in spans)
        half = self.spacing_mm / 2
        origin = (-self.extent_mm_yx[1] / 2 + half, self.front_mm + half, low + half)
        return Grid(shape, (self.spacing_mm,) * 3, origin)  # type: ignore[arg-type]


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
