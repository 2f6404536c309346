"""How organs lie in the frame of bones and walls: breath, and a smooth drift from body to body.

Organs are drawn in a space of their own. It differs from that of the frame by a displacement which
neighbours share, so that liver, kidneys, spleen and heart move together and vessels stay joined.
Near the spine and the walls the drift fades, as organs neither enter nor leave them.
"""

import numpy as np
from jaxtyping import Float32

from factory.engines.phantom.shapes import Profile
from factory.engines.phantom.space import Space

__all__ = ["organ_space"]

Volume = Float32[np.ndarray, "z y x"]

_BREATH = Profile(
    {-290: 0.0, -220: 0.12, -150: 0.3, -70: 0.55, 0: 0.8, 70: 1.0, 110: 1.0, 160: 0.72, 210: 0.35, 260: 0.08, 300: 0.0}
)
"""Share of the diaphragm's excursion that organs at a height follow."""
_DRIFT = Profile({-300: 0.3, -230: 0.5, -160: 0.85, -100: 1.0, 70: 1.0, 130: 0.7, 220: 0.5, 280: 0.2, 320: 0.0})
_DRIFT_MM, _SWIRL_MM = (8.0, 7.0, 10.0), 2.5
_FADE_MM = 34.0


def organ_space(space: Space, cavity: Volume) -> Space:
    """Make the space of the organs of a body.

    Args:
        space: that of its frame.
        cavity: distance in mm to the surface of the cavities on the lattice, negative inside.
    """
    noise, wide = space.build.noise, 1 + 0.6 * (space.build.wide - 1)
    _, _, z = space.coordinates
    room = np.clip(-cavity / np.float32(_FADE_MM), 0.0, 1.0)
    share = _DRIFT(z)
    across = share * (0.1 + 0.9 * room)
    along = share * (0.35 + 0.65 * np.minimum(2 * room, 1))
    drift = Space.spread(noise.drift) * np.reshape(np.array(_DRIFT_MM, np.float32) * wide, (3, 1, 1, 1)).astype(
        np.float32
    )
    drift += np.float32(_SWIRL_MM * wide) * Space.spread(noise.swirl)
    drift[:2] *= across
    drift[2] = drift[2] * along - np.float32(space.build.posture.breath_mm) * _BREATH(z)
    return Space(space.build, space, np.asarray(drift, np.float32))
