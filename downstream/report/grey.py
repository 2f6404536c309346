"""From HU to grey: the windows that readers use, and one 8-bit code from which all of them can be shown.

A picture that is already windowed shows nothing else. The code keeps -1000 to 1200 HU in 256 levels, fine (2.8 HU)
between -160 and 240 where soft tissue lies, and a table for each window turns it into grey in the browser.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Integer, UInt8

__all__ = ["SOFT", "WINDOWS", "Window", "encoded", "lookup", "windowed"]

_LEVELS_HU = (-1000.0, -160.0, 240.0, 1200.0)
_CODES = (0.0, 51.0, 195.0, 255.0)


@dataclass(frozen=True, slots=True)
class Window:
    """What is spread from black to white: `width_hu` around `level_hu`."""

    name: str
    level_hu: float
    width_hu: float


SOFT = Window("soft tissue", 40.0, 400.0)
WINDOWS = (SOFT, Window("lung", -600.0, 1500.0), Window("bone", 400.0, 1800.0))


def windowed(
    ct_hu: Integer[np.ndarray, "*shape"] | Float[np.ndarray, "*shape"], window: Window = SOFT
) -> UInt8[np.ndarray, "*shape"]:
    """Grey values of a window: 0 at its lower end and below, 255 at its upper end and above."""
    low = window.level_hu - window.width_hu / 2
    grey: UInt8[np.ndarray, "*shape"] = np.rint(((ct_hu - low) / window.width_hu).clip(0, 1) * 255).astype(np.uint8)
    return grey


def encoded(ct_hu: Integer[np.ndarray, "*shape"] | Float[np.ndarray, "*shape"]) -> UInt8[np.ndarray, "*shape"]:
    """The 8-bit code of HU values; what lies outside -1000 to 1200 HU is clipped."""
    code: UInt8[np.ndarray, "*shape"] = np.rint(np.interp(ct_hu, _LEVELS_HU, _CODES)).astype(np.uint8)
    return code


def lookup(window: Window) -> tuple[float, ...]:
    """Grey between 0 and 1 for each of the 256 codes."""
    hu = np.interp(np.arange(256), _CODES, _LEVELS_HU)
    return tuple(round(value / 255, 3) for value in windowed(hu, window).tolist())
