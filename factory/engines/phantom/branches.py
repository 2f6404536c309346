"""Visceral branches: coeliac trunk, superior mesenteric artery and vein, renal arteries and veins.

They are drawn from the aorta's front and sides to where their organs lie in this body. Levels of
origin, lower T12 for the coeliac trunk and L1 to L2 for the others, are those of textbooks;
calibres are chosen.
"""

import numpy as np
from jaxtyping import Float64

from factory.engines.phantom.canvas import SOFT, Canvas
from factory.engines.phantom.duodenum import duodenum_rows
from factory.engines.phantom.kidneys import SIDES, hilum_mm
from factory.engines.phantom.pancreas import pancreas_rows
from factory.engines.phantom.population import Build
from factory.engines.phantom.shapes import Number
from factory.engines.phantom.vessels import aorta_rows, portal_stem

__all__ = ["paint_branches"]

Rows = Float64[np.ndarray, "n 4"]
_CELIAC_Z, _MESENTERIC_Z, _RENAL_Z = 20.0, -2.0, -18.0
_CROSSING_MM = 20.0
"""How far before the third part of the duodenum the mesenteric vessels cross it."""


def paint_branches(canvas: Canvas) -> None:
    """Paint the branches through fat; where an organ lies in their way they run through it."""
    space, build = canvas.space, canvas.space.build
    over = (*SOFT, "pancreas", "liver", "stomach", "duodenum", "iliopsoas_left", "iliopsoas_right", "kidney_left",
            "kidney_right", "adrenal_gland_left", "adrenal_gland_right")  # fmt: skip
    wide = build.vessel_scale
    routes = {
        "celiac_trunk": _celiac(build),
        "superior_mesenteric_artery": [_mesenteric(build, 0.0, 3.6)],
        "superior_mesenteric_vein": [_mesenteric_vein(build)],
    }
    for side, sign in SIDES:
        if f"kidney_{side}" not in build.absent:
            routes[f"renal_vein_{side}"] = [_renal_vein(build, side, sign)]
            routes[f"renal_artery_{side}"] = [_renal_artery(build, side, sign)]
    for name, rows in routes.items():
        canvas.draw(name, space.tubes(rows, wide), over)


def _aorta_at(build: Build, z: Number) -> tuple[float, float, float]:
    """Centre (x, y) and radius of the abdominal aorta at a height."""
    rows = aorta_rows(build)[7:][::-1]  # ascending in z
    x, y, radius = (float(np.interp(z, rows[:, 2], rows[:, column])) for column in (0, 1, 3))
    return x, y, radius


def _celiac(build: Build) -> list[Rows]:
    """A short trunk to the front, the hepatic artery towards the porta, the splenic artery over the pancreas."""
    x, y, radius = _aorta_at(build, _CELIAC_Z)
    fork = np.array([x, y - radius - 16, _CELIAC_Z + 4])
    trunk = [(x, y - 0.7 * radius, _CELIAC_Z, 3.8), (x, y - radius - 8, _CELIAC_Z + 2, 3.6), (*fork, 3.3)]
    hepatic = [(*fork, 2.8), (-14, -54, 19, 2.6), (-28, -57, 24, 2.5), (-40, -56, 34, 2.2)]
    gland = pancreas_rows(build)[4:]
    crest = gland[:, :3] + np.array((0, 5, 4)) + (0, 0, 1) * gland[:, 3:]
    splenic = np.vstack([(*fork, 2.8), np.column_stack([crest, [2.8, 2.7, 2.6, 2.4]])])
    return [np.array(part, np.float64) for part in (trunk, hepatic, splenic)]


def _crossing(build: Build) -> Float64[np.ndarray, " 3"]:
    """The point before the third part of the duodenum where the root of the mesentery crosses it."""
    return np.asarray(duodenum_rows(build)[6, :3] - (0, _CROSSING_MM, 0))


def _mesenteric(build: Build, aside_mm: float, radius_mm: float) -> Rows:
    """From the front of the aorta behind the neck of the pancreas, over the duodenum, into the mesentery."""
    x, y, radius = _aorta_at(build, _MESENTERIC_Z)
    front, cross = y - radius, _crossing(build)
    rows = [
        (x, y - 0.7 * radius, _MESENTERIC_Z, radius_mm),
        (x, front - 7, _MESENTERIC_Z - 5, radius_mm),
        (x + 1, front - 16, _RENAL_Z - 4, radius_mm),
        (x + 1, 0.5 * (front - 18 + cross[1]), 0.5 * (_RENAL_Z + cross[2]), 0.95 * radius_mm),
        (cross[0] + aside_mm, cross[1], cross[2], 0.9 * radius_mm),
        (-8, cross[1] - 2, cross[2] - 26, 0.75 * radius_mm),
        (-28, -60, -138, 0.55 * radius_mm),
    ]
    return np.array(rows, np.float64)


def _mesenteric_vein(build: Build) -> Rows:
    """Right of the artery, up to the confluence behind the neck of the pancreas."""
    stem, cross = portal_stem(build), _crossing(build)
    rows = [
        (-38, -60, -136, 2.6),
        (-18, cross[1] - 1, cross[2] - 26, 3.4),
        (cross[0] - 14, cross[1] + 1, cross[2], 4.4),
        (cross[0] - 13, cross[1] + 5, cross[2] + 16, 4.8),
        (*stem[0], 5.0),
        (*(0.5 * (stem[0] + stem[1])), 5.0),
    ]
    return np.array(rows, np.float64)


def _renal_artery(build: Build, side: str, sign: Number) -> Rows:
    """From the side of the aorta along the psoas; the right one passes behind the caval vein."""
    x, y, radius = _aorta_at(build, _RENAL_Z)
    hilum = hilum_mm(build, side, sign)
    rows = [(x + 0.7 * sign * radius, y - 1, _RENAL_Z, 2.9), (x + sign * (radius + 6), y + 4, _RENAL_Z - 1, 2.8)]
    if sign < 0:
        rows.append((-22, -6.5, _RENAL_Z - 4, 2.7))
    rows += [(*(0.45 * np.array(rows[-1][:3]) + 0.55 * hilum + (0, -3, 0)), 2.6), (*hilum, 2.3)]
    return np.array(rows, np.float64)


def _renal_vein(build: Build, side: str, sign: Number) -> Rows:
    """From the hilum to the caval vein; the left one between aorta and superior mesenteric artery."""
    hilum, z = hilum_mm(build, side, sign), _RENAL_Z - 6
    rows = [(*hilum, 3.6), (*(0.6 * hilum + 0.4 * np.array((sign * 24.0, -24, z))), 4.2)]
    if sign > 0:
        x, y, radius = _aorta_at(build, z)
        rows += [(x + radius + 4, y - radius + 1, z, 4.6), (x, y - radius - 6.5, z, 4.4), (-10, -30, z - 1, 4.4)]
    rows.append((-20, -22, z - 2, 4.6))
    return np.array(rows, np.float64)
