"""Give organs back what their neighbours took of them, so that what is painted has the drawn volume.

An organ meets its target when it is painted; what comes later covers some of it, and a tube is
clipped by what lies beside it. Once a whole body is planned on the lattice, the difference is known,
and one step of Newton's method moves each surface, or widens each tube, by what is lacking.
"""

import numpy as np

from factory.engines.phantom.canvas import Canvas
from factory.engines.phantom.curves import Tube
from manifests.anatomy import structure

__all__ = ["settle"]

_MOST_MM = 6.0
_CALIBRES = (0.7, 1.5)
_SHARE = 1.15
"""A little more than the difference, as a neighbour takes some of what is added, too."""


def settle(plan: Canvas) -> None:
    """Correct the levels and routes of a painted plan; `plan.labels` stays as it is."""
    volumes = np.bincount(plan.labels.ravel(), minlength=256) * plan.grid.voxel_volume_ml
    for name, target in plan.space.build.volumes_ml.items():
        found = float(volumes[structure(name).id])
        if found <= 0:
            continue
        if name in plan.routes:
            route = plan.routes[name]
            factor = float(np.clip((target / found) ** (0.5 * _SHARE), *_CALIBRES))
            plan.routes[name] = Tube(route.points_mm, route.radii_mm * factor, route.squash_zyx)
        elif plan.growth_ml.get(name, 0.0) > 0:
            step = _SHARE * (target - found) / plan.growth_ml[name]
            plan.levels_mm[name] += float(np.clip(step, -_MOST_MM, _MOST_MM))
