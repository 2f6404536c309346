"""The torso as nested surfaces: skin, fat, muscle wall, cavity and diaphragm.

Cross-sections are superellipses whose breadth, front and back follow profiles along the body
axis, in the reference coordinates. The distances are computed on the lattice and interpolated.
"""

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
from jaxtyping import Float, Float32, Float64

from factory.engines.phantom.canvas import Canvas
from factory.engines.phantom.shapes import Number, Profile, capsule, ellipsoid, oval, smooth_max, smooth_min
from factory.engines.phantom.space import LATTICE, Space
from factory.engines.phantom.viscera import organ_space
from manifests.anatomy import structure

__all__ = [
    "CAGE", "SPINE_DEPTH", "SPINE_FRONT", "SPINE_WIDTH", "Section", "Torso", "arm_surface", "paint_layers",
]  # fmt: skip

Volume = Float32[np.ndarray, "z y x"]

# Front edge, depth and breadth of the vertebral column (mm; Panjabi 1991/1992, Gilad and Nissan 1986 for sizes).
SPINE_FRONT = Profile(
    {-300: 86, -275: 84, -256: 78, -236: 70, -212: 54, -188: 37, -168: 20, -150: 9, -135: 0, -105: -8, -70: -8, -35: -4, 0: 0, 33: 4, 64: 9, 92: 14, 118: 17, 143: 19, 167: 20, 191: 19,
     214: 16, 236: 11, 257: 4, 277: -6, 296: -18, 313: -27, 343: -36, 390: -40}
)  # fmt: skip
SPINE_DEPTH = Profile({-150: 35, -70: 35, 0: 33.5, 60: 31, 120: 29, 190: 26.5, 257: 21, 296: 18.5, 390: 16})
SPINE_WIDTH = Profile(
    {-290: 24, -220: 34, -180: 34, -150: 28, -105: 26.5, -35: 24, 0: 23, 60: 21, 120: 18.5, 190: 16, 257: 16, 296: 16.5, 390: 12}
)  # fmt: skip

# Outer surface of the muscle wall.
_WALL_BREADTH = Profile(
    {-390: 168, -330: 168, -290: 166, -255: 163, -220: 156, -180: 148, -140: 138, -100: 127, -50: 130, 0: 139, 50: 149,
     100: 156, 150: 161, 200: 166, 235: 168, 262: 164, 285: 140, 302: 108, 318: 82, 335: 66, 390: 58}
)  # fmt: skip
_WALL_FRONT = Profile(
    {-390: -62, -330: -66, -290: -68, -260: -76, -220: -86, -180: -91, -140: -93, -100: -94, -50: -100, 0: -109,
     50: -118, 100: -126, 150: -124, 200: -115, 235: -100, 260: -84, 285: -74, 310: -66, 340: -64, 390: -66}
)  # fmt: skip
_WALL_BACK = Profile(
    {-390: 95, -330: 108, -290: 112, -260: 110, -220: 104, -180: 97, -140: 92, -100: 88, -50: 87, 0: 88, 50: 90,
     100: 94, 150: 98, 200: 101, 240: 98, 270: 86, 300: 64, 330: 48, 390: 40}
)  # fmt: skip
# Inner surface of ribs and abdominal wall.
_CAVITY_BREADTH = Profile(
    {-335: 10, -310: 28, -290: 42, -265: 52, -240: 60, -210: 76, -180: 98, -150: 110, -100: 113, -50: 118, 0: 127,
     50: 135, 100: 139, 150: 135, 195: 122, 225: 106, 245: 88, 260: 68, 272: 46, 284: 16}
)  # fmt: skip
_CAVITY_FRONT = Profile(
    {-335: -12, -310: -28, -290: -44, -265: -60, -240: -73, -210: -81, -180: -81, -150: -83, -100: -85, -50: -91,
     0: -99, 50: -108, 100: -114, 150: -110, 200: -98, 230: -79, 250: -60, 265: -44, 282: -22}
)  # fmt: skip
_CAVITY_BACK = Profile(
    {-335: 62, -310: 66, -280: 68, -250: 66, -220: 58, -180: 45, -140: 40, -100: 40, -50: 48, 0: 60, 50: 71, 100: 76,
     150: 77, 200: 72, 230: 63, 250: 53, 265: 42, 282: 14}
)  # fmt: skip
_FAT_ALONG = Profile(
    {-390: 0.9, -300: 1.1, -230: 1.2, -120: 1.1, -60: 1.0, 20: 0.8, 100: 0.6, 180: 0.55, 250: 0.5, 290: 0.4, 340: 0.35}
)
_FAT_BEHIND = Profile({-390: 1.2, -300: 1.9, -250: 1.9, -180: 1.5, -120: 1.3, 0: 1.0, 120: 0.9, 200: 0.9, 390: 0.7})
# 1.4 to 3.8 mm at rest, 2.6 to 6.5 mm breathed in, less in women: sonographic series, World J Clin Cases 2020;8:2408, table 2
_DIAPHRAGM_MM = 3.2
_DOME_RIGHT_MM, _DOME_LEFT_MM, _DOME_MIDDLE_MM = 92.0, 84.0, 74.0


@dataclass(frozen=True)
class Section:
    """Cross-sections that are round in front and squarer behind, by height."""

    breadth: Profile
    front: Profile
    back: Profile

    def distance(self, xyz: tuple[Volume, Volume, Volume], square: float) -> Volume:
        """Distance in mm to the surface, along the ray from the axis; negative inside.

        Args:
            xyz: reference coordinates.
            square: added to the power of the superellipses.
        """
        x, y, z = xyz
        near, far = self.front(z), self.back(z)
        middle = near * np.float32(0.42) + far * np.float32(0.58)
        rel = y - middle
        depth = np.where(rel < 0, middle - near, far - middle)
        width = self.breadth(z)
        power = 2.15 + square + 0.55 * np.clip(0.5 + rel / 80, 0, 1)
        return oval(x, rel, (width, depth), np.asarray(power, np.float32))

    def surface(self, direction: Float[np.ndarray, " 2"], z: Number, square: float) -> tuple[float, float]:
        """The point (x, y) of the surface in a direction from the axis."""
        near, far, width = self.front.value(z), self.back.value(z), self.breadth.value(z)
        middle = near * 0.42 + far * 0.58
        depth = middle - near if direction[1] < 0 else far - middle
        reach = depth
        for _ in range(6):  # the power changes slowly along the ray
            power = 2.15 + square + 0.55 * min(max(0.5 + reach * direction[1] / 80, 0.0), 1.0)
            reach = (abs(direction[0] / width) ** power + abs(direction[1] / depth) ** power) ** (-1 / power)
        return float(direction[0] * reach), float(direction[1] * reach + middle)


_WALL = Section(_WALL_BREADTH, _WALL_FRONT, _WALL_BACK)
CAGE = Section(_CAVITY_BREADTH, _CAVITY_FRONT, _CAVITY_BACK)
"""Inner surface of ribs and abdominal wall."""


@dataclass(frozen=True)
class Torso:
    """Distances in mm on the lattice to the surfaces of one body; negative inside."""

    space: Space

    @cached_property
    def viscera(self) -> Space:
        """The space of the organs, which breath and drift displace in the frame."""
        return organ_space(self.space, self.cavity)

    @cached_property
    def wall(self) -> Volume:
        """Outer surface of the muscle wall, with shoulders, arms and thighs."""
        x, y, z = xyz = self.space.coordinates
        habitus = self.space.build.habitus
        thin = np.float32((habitus.bulk - 1.0) * (14 if habitus.bulk > 1 else 8))  # vessels of the groin stay under it
        trunk = _WALL.distance(xyz, habitus.square) - thin
        for sign, down in zip((1.0, -1.0), self.space.build.posture.arms_down, strict=True):
            shoulder = capsule(
                xyz,
                ((sign * 132, 12, 248), (sign * (168 if down else 205), -2 if down else -28, 242 if down else 400)),
                40.0,
            )
            trunk = smooth_min(trunk, shoulder - thin, 24.0)
            if down:
                trunk = np.minimum(trunk, arm_surface(xyz, sign) - thin)
        thighs = np.hypot(np.abs(x) - 86, y - 14).astype(np.float32) - 82 - thin
        legs = np.clip((-z - 322) / 25, 0, 1)
        return np.asarray(trunk * (1 - legs) + np.maximum(trunk, thighs) * legs, np.float32)

    @cached_property
    def skin(self) -> Volume:
        """Surface of the body: the wall under its fat, and the breasts of a woman."""
        x, y, z = self.space.coordinates
        habitus = self.space.build.habitus
        behind = np.clip((y + 10) / 80, 0, 1)
        aside = np.clip(np.abs(x) / 110 - 0.35, 0, 1)
        thickness = _FAT_ALONG(z) * (1 - behind) + 0.85 * habitus.fat_back * _FAT_BEHIND(z) * behind
        thickness *= (1 + (habitus.fat_side - 1) * aside) * (
            1 + (habitus.fat_hip - 1) * np.clip((-z - 100) / 120, 0, 1)
        )
        thickness *= habitus.fat_mm / self.space.build.scale * (1 + 0.06 * self.space.grain + 0.08 * self.space.clumps)
        skin = np.asarray(self.wall - thickness - 1.0, np.float32)
        if habitus.bust_ml > 0:
            size = (habitus.bust_ml / 360.0) ** (1 / 3)
            for sign in (-1.0, 1.0):
                breast = ellipsoid((x, y, z), (sign * 82, -116, 148 - 8 * size), (62 * size**0.5, 38 * size, 62 * size))
                skin = smooth_min(skin, breast, 22.0)
        return skin

    @cached_property
    def cage(self) -> Volume:
        """Inner surface of ribs and abdominal wall, the spine not yet taken out."""
        return CAGE.distance(self.space.coordinates, self.space.build.habitus.square)

    @cached_property
    def cavity(self) -> Volume:
        """Thoracic and abdominal cavity, without the spine and what lies behind it."""
        x, y, z = self.space.coordinates
        width = SPINE_WIDTH(z)
        column = np.hypot(x, np.minimum(y - SPINE_FRONT(z) - width, 0)) - width - 3
        return smooth_max(self.cage, -np.asarray(column, np.float32), 6.0)

    @cached_property
    def above(self) -> Volume:
        """Height in mm above the underside of the diaphragm, which moves with the organs; negative in the abdomen."""
        x, y, z = self.viscera.coordinates
        _, uneven, lift = self.space.build.moved("dome").astype(np.float32)
        right = np.exp(-(((x + 72) / 62) ** 2) - ((y + 22) / 75) ** 2) * (_DOME_RIGHT_MM - _DOME_MIDDLE_MM + 4 + uneven)
        left = np.exp(-(((x - 76) / 58) ** 2) - ((y + 22) / 75) ** 2) * (_DOME_LEFT_MM - _DOME_MIDDLE_MM + 4 - uneven)
        depth = np.clip(1 + self.cage / 62, 0, 1.2)
        front, width = SPINE_FRONT(z), SPINE_WIDTH(z)
        spine = np.hypot(x, np.minimum(y - front - width, 0)) - width - 3
        beside = np.clip(1 - spine / 35, 0, 1) * np.clip((y - front - 8) / 20, 0, 1)
        depth = np.maximum(depth, 0.9 * beside)  # lungs reach down beside the vertebrae, too
        behind = np.clip((y + 70) / 120, 0, 1)
        recess = np.float32(1 + 0.15 * self.space.build.lean["recess"])
        drop = (22 + 34 * behind) * recess * depth**2.4 + 16 * np.exp(-((x / 30) ** 2)) * behind
        return np.asarray(z - (_DOME_MIDDLE_MM - 4 + lift + right + left - drop), np.float32)

    @cached_property
    def chest(self) -> Volume:
        """Distance in mm above the upper side of the diaphragm; negative in the muscle and in the abdomen."""
        slope = np.sqrt(sum(np.square(part) for part in np.gradient(self.above, *LATTICE.spacing_mm_zyx)))
        return np.asarray(self.above / slope - _DIAPHRAGM_MM * self.space.build.bulk, np.float32)

    def under(
        self, points_mm: Float[np.ndarray, "n 3"], depth_mm: Float[np.ndarray, " n"]
    ) -> Float64[np.ndarray, "n 3"]:
        """Move world points (x, y, z) down until they lie this deep below the diaphragm."""
        points = np.array(points_mm, np.float64)
        for _ in range(3):
            points[:, 2] -= np.maximum(self.space.value(self.above, points) + depth_mm, 0)
        return points

    def inward(
        self, points_mm: Float[np.ndarray, "n 3"], depth_mm: Float[np.ndarray, " n"]
    ) -> Float64[np.ndarray, "n 3"]:
        """Move world points (x, y, z) within their slice until they lie this deep in the cavity."""
        points = np.array(points_mm, np.float64)
        for _ in range(5):
            excess = np.maximum(self.space.value(self.cage, points) + depth_mm, 0)
            slope = np.stack(
                [
                    self.space.value(self.cage, points + step) - self.space.value(self.cage, points - step)
                    for step in np.eye(3)[:2] * 4.0
                ],
                axis=1,
            )
            slope /= np.maximum(np.linalg.norm(slope, axis=1, keepdims=True), 1e-6)
            points[:, :2] -= excess[:, None] * slope
        return points


def arm_surface(xyz: tuple[Volume, Volume, Volume], sign: Number) -> Volume:
    """Distance in mm to the muscles of an arm beside the trunk, from shoulder to elbow and along the forearm."""
    rows = [(172, 4, 246, 40.0), (192, 26, 90, 38.0), (206, 34, -30, 34.0), (206, 4, -250, 26.0)]
    parts = [
        capsule(xyz, ((sign * a[0], a[1], a[2]), (sign * b[0], b[1], b[2])), (a[3] + b[3]) / 2)
        for a, b in pairwise(rows)
    ]
    return smooth_min(smooth_min(parts[0], parts[1], 20.0), parts[2], 20.0)


def paint_layers(canvas: Canvas, torso: Torso) -> None:
    """Paint skin, subcutaneous fat, muscle wall and the fat of the cavity: the ground of all else."""
    skin, fat, muscle, inner = (
        structure(name).id for name in ("body", "subcutaneous_fat", "skeletal_muscle", "visceral_fat")
    )
    thick = max(1.8, 0.55 * min(canvas.grid.spacing_mm_zyx))
    for box in canvas.slabs():
        depth = box.at(torso.skin)
        wall, cavity = box.at(torso.wall), box.at(torso.cavity)
        labels = box.labels
        labels[depth < 0] = skin
        inside = depth < -thick
        labels[inside] = fat
        inside &= wall < 0
        labels[inside] = muscle
        inside &= cavity < 0
        labels[inside] = inner
