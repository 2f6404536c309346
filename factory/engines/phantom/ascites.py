"""Ascites: free fluid of the peritoneal cavity, where it gathers in someone who lies on the back.

Fat of the cavity turns to fluid in the order of a potential: the pelvis and the room around the
liver first, then paracolic gutters and the spleen, at last the room between the coils of bowel.
Its level is found on the lattice, so that the fluid is the same on every grid.
"""

import numpy as np
from jaxtyping import Float32
from scipy.ndimage import distance_transform_edt, gaussian_filter

from factory.engines.phantom.body import SPINE_FRONT, Torso
from factory.engines.phantom.canvas import Box, Canvas
from factory.engines.phantom.population import Build
from factory.engines.phantom.space import LATTICE
from manifests.anatomy import group

__all__ = ["around_organs_mm", "ascites_order", "paint_ascites"]

Volume = Float32[np.ndarray, "z y x"]
_NEVER = np.float32(60.0)
_ML_PER_MM, _MOST_MM = 150.0, 14.0
_BOWEL = ("small_bowel", "colon", "stomach")


def around_organs_mm(build: Build) -> float:
    """How far fluid parts liver and spleen from wall and diaphragm."""
    return min(build.volumes_ml.get("ascites", 0.0) / _ML_PER_MM, _MOST_MM)


def ascites_order(plan: Canvas, torso: Torso) -> Volume | None:
    """The order in which the fat of the cavity fills, in mm on the lattice; None without ascites."""
    if plan.space.build.volumes_ml.get("ascites", 0.0) <= 0:
        return None
    x, y, z = torso.viscera.coordinates
    wall, liver, spleen = np.maximum(-torso.cage, 0), _away(plan, "liver"), _away(plan, "spleen")
    under = np.minimum(wall, np.maximum(-torso.above, 0))
    floor = 0.25 * (z + 250) - 0.08 * (y - 20) + 0.3 * np.maximum(np.abs(x) - 28, 0)
    pelvis = np.where(z < -185, floor, _NEVER)
    gutter = np.where((np.abs(x) > 66) & (z < 40), 4 + 0.8 * wall - 0.08 * y, _NEVER)
    around = np.minimum(2 + liver, 6 + spleen) + 0.4 * np.maximum(under - 18, 0)
    coils = 22 + 0.6 * _away(plan, *_BOWEL) - 0.12 * y
    order = np.minimum(np.minimum(pelvis, gutter), np.minimum(around, coils))
    # behind lies the retroperitoneum, in the pelvis the rectum; the pelvic peritoneum ends above the floor
    medial, side = np.clip((96 - np.abs(x)) / 24, 0, 1), np.where(z > 20, 40, 14)
    back = np.where(z > -190, side - medial * (side + 32 - np.maximum(SPINE_FRONT(z), 0)), 34)
    outside = (y > back) | (torso.above > 0) | (torso.cage > -1.5) | (z < -250)
    smooth = gaussian_filter(np.asarray(order, np.float32), 0.7)
    return np.asarray(np.where(outside, _NEVER, smooth), np.float32)


def paint_ascites(canvas: Canvas, order: Volume | None) -> None:
    """Turn fat into fluid up to the drawn volume, or as far as there is room."""
    if order is None:
        return

    def rising(box: Box) -> Volume:
        return box.at(order)

    canvas.fill("ascites", canvas.box((-150, -140, -275), (150, 110, 130)), rising, ("visceral_fat",))


def _away(plan: Canvas, *names: str) -> Volume:
    """Distance in mm from structures or groups on the lattice."""
    there = np.isin(plan.labels, [entry.id for name in names for entry in group(name)])
    if not there.any():
        return np.full(plan.labels.shape, _NEVER, np.float32)
    return np.asarray(distance_transform_edt(~there, LATTICE.spacing_mm_zyx), np.float32)
