"""Duodenum: the C from the pylorus around the head of the pancreas to the flexure at the left of L2."""

import numpy as np
from jaxtyping import Float64

from factory.engines.phantom.canvas import SOFT, Canvas
from factory.engines.phantom.curves import Tube
from factory.engines.phantom.pancreas import head_shift
from factory.engines.phantom.population import Build
from factory.engines.phantom.stomach import pylorus

__all__ = ["duodenum_rows", "paint_duodenum"]

_DUODENUM = [(-29, -67, -4, 9), (-41, -60, 3, 12), (-49, -45, -1, 12.5), (-51, -33, -30, 12), (-43, -33, -53, 12),
             (-20, -40, -65, 11.5), (5, -46, -62, 11), (26, -41, -50, 11), (34, -43, -31, 11)]  # fmt: skip


def paint_duodenum(canvas: Canvas) -> None:
    """Paint the duodenum; where organs leave no room it is narrow, and goes through."""
    if canvas.solving:
        build = canvas.space.build
        canvas.routes["duodenum"] = canvas.space.tube(duodenum_rows(build)).of_volume(build.volumes_ml["duodenum"])
    route = canvas.routes["duodenum"]
    core = Tube(route.points_mm, np.minimum(route.radii_mm, 7.0))
    canvas.draw("duodenum", [route], SOFT)
    canvas.draw("duodenum", [core], (*SOFT, "liver", "pancreas", "gallbladder", "kidney_right", "stomach"))


def duodenum_rows(build: Build) -> Float64[np.ndarray, "n 4"]:
    """Centres and radii in mm: it starts at the pylorus and goes around the pancreatic head."""
    t = build.variants.trait
    rows = np.array(_DUODENUM, float)
    rows[:, :3] += np.array([1, 0.8, 0.3, 0, 0, 0, 0, 0, 0])[:, None] * pylorus(build)
    rows[:, :3] += np.array([0, 0.2, 0.6, 1, 1, 0.8, 0.5, 0.3, 0.2])[:, None] * head_shift(build)
    rows[:, 2] -= 11 * t("duodenum_low") * np.array([0, 0, 0, 0.4, 1, 1.1, 0.9, 0.5, 0.1])
    rows[:, 0] -= 6 * t("duodenum_wide") * np.array([0, 0.3, 0.8, 1, 0.9, 0.3, 0, 0, 0])
    rows[:, 1] += 6 * t("duodenum_wide") * np.array([0, 0, 0.3, 0.6, 0.6, 0.2, 0, 0, 0])
    rows[6:, 2] += 12 * t("duodenum_third") * np.array([0.6, 1.0, 0.8])
    rows[7:, 0] += 6 * t("duodenum_third")
    return rows
