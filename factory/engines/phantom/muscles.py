"""Muscles and the planes of fat between them: autochthon, iliopsoas, loins and diaphragm."""

import numpy as np
from jaxtyping import Float32

from factory.engines.phantom.body import Torso
from factory.engines.phantom.canvas import Box, Canvas
from factory.engines.phantom.curves import mirrored
from factory.engines.phantom.pelvis import LINES, sheet_tubes, wing_sheet
from factory.engines.phantom.shapes import Profile, oval
from manifests.anatomy import structure

__all__ = ["paint_diaphragm", "paint_muscles"]

Volume = Float32[np.ndarray, "z y x"]
_ERECTOR_X = Profile({-200: 20, -150: 28, -100: 34, -40: 37, 20: 34, 80: 28, 160: 24, 240: 22, 310: 24})
_ERECTOR_Y = Profile(
    {-200: 88, -150: 74, -100: 66, -40: 68, 20: 72, 80: 78, 160: 84, 240: 76, 280: 62, 310: 38, 390: 20}
)
_ERECTOR_WIDTH = Profile({-205: 6, -160: 25, -100: 30, -40: 31, 20: 28, 80: 23, 160: 19, 240: 18, 310: 20})
_ERECTOR_DEPTH = Profile({-205: 4, -160: 12, -100: 17, -40: 18, 20: 15, 80: 11, 160: 8.5, 240: 9.5, 310: 16})
_PSOAS = [(24, 22, 8, 5), (32, 22, -25, 9), (40, 18, -62, 14), (48, 10, -105, 19), (60, -8, -152, 22), (74, -30, -200, 20),
          (86, -44, -236, 17), (98, -36, -262, 14), (110, -6, -296, 10), (112, 12, -318, 8)]  # fmt: skip


def paint_muscles(canvas: Canvas, torso: Torso) -> None:
    """Paint the named muscles and the fat planes around them."""
    space, bulk = canvas.space, canvas.space.build.bulk
    _paint_planes(canvas, torso)
    for side, sign in (("left", 1.0), ("right", -1.0)):
        _paint_erector(canvas, side, sign)
        lumborum = mirrored([(62, 42, -10, 8), (72, 42, -60, 12), (82, 40, -112, 10)], sign)
        canvas.draw("skeletal_muscle", [space.tube(lumborum, bulk, squash_zyx=(1, 1, 0.6))], ("visceral_fat",))
        over = ("visceral_fat", "skeletal_muscle", "subcutaneous_fat")
        sheet = wing_sheet(sign, -9.0, (0.1, 1.0))
        radii = np.repeat((8.0 * np.sin(np.linspace(0.12, 0.85, LINES) * np.pi) ** 0.5)[:, None], 9, axis=1)
        iliacus = sheet_tubes(space, sheet, radii * bulk)
        canvas.draw(f"iliopsoas_{side}", [space.tube(mirrored(_PSOAS, sign), bulk), *iliacus], over)


def paint_diaphragm(canvas: Canvas, torso: Torso) -> None:
    """Paint the sheet of muscle between chest and abdomen; chest wall and spine stay as they are."""
    box = canvas.box((-150, -130, -60), (150, 100, 125))
    if box is not None:
        sheet = (box.at(torso.above) > 0) & (box.at(torso.chest) < 0) & (box.labels == structure("visceral_fat").id)
        box.labels[sheet] = structure("skeletal_muscle").id


def _paint_erector(canvas: Canvas, side: str, sign: float) -> None:
    bulk = canvas.space.build.bulk

    def shape(box: Box) -> Volume:
        x, y, z = box.xyz
        size = _ERECTOR_WIDTH(z) * bulk**0.5, _ERECTOR_DEPTH(z) * bulk**0.5
        column = oval(x - sign * _ERECTOR_X(z), y - _ERECTOR_Y(z), size, 2.3)
        return np.asarray(np.maximum(column, 3.5 - sign * x), np.float32)

    low, high = (0, 0, -206), (78, 110, 392)
    corners = sorted([sign * low[0], sign * high[0]])
    box = canvas.box((corners[0], low[1], low[2]), (corners[1], high[1], high[2]))
    canvas.fill(f"autochthon_{side}", box, shape, ("skeletal_muscle", "visceral_fat", "subcutaneous_fat"))


def _paint_planes(canvas: Canvas, torso: Torso) -> None:
    """Paint the fat between muscles: in layers around the chest, in septa around hips and thighs."""
    muscle, fat = structure("skeletal_muscle").id, structure("subcutaneous_fat").id
    thin = 2.6 - 1.6 * (canvas.space.build.bulk - 0.8)
    chest = canvas.box((-215, -130, 120), (215, 120, 400))
    if chest is not None:
        bundles, cage = chest.at(canvas.space.clumps), chest.at(torso.cage)
        layers = [np.abs(cage - at - wave * bundles) < thin for at, wave in ((16.0, 3.0), (34.0, 7.0))]
        band = np.logical_or.reduce(layers) & (chest.at(canvas.space.grain) > -0.5)
        high = (
            np.clip((chest.axes_mm[0] - 245 * canvas.space.build.habitus.scale_xyz[2]) / 20, 0, 1)[:, None, None] > 0.5
        )
        septa = (np.abs(bundles) < 0.05 * thin) & (cage > 16)
        band = np.where(high, septa, band) & (chest.at(torso.wall) < -7) & (chest.labels == muscle)
        chest.labels[band] = fat
    hips = canvas.box((-215, -110, -400), (215, 130, -215))
    if hips is not None:
        septa = np.abs(hips.at(canvas.space.clumps)) < 0.045 * thin
        septa &= (hips.at(torso.cage) > 8) & (hips.at(torso.wall) < -6) & (hips.labels == muscle)
        hips.labels[septa] = fat
