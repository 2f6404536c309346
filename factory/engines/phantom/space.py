"""The patient's space: how the reference torso is stretched and bent into one body, and back.

All shapes are written in the coordinates of a reference man of 175 cm, in mm, with the origin at
the front edge of L1. A `Space` carries these coordinates, and any other smooth field, on one
lattice of 6 mm that covers every scan region. Volumes of any grid are interpolated from it, so a
case is the same body in every region and at every resolution.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float, Float32, Float64
from scipy.interpolate import CubicSpline

from factory.engines.phantom.curves import Tube, tubes
from factory.engines.phantom.interpolation import LATTICE
from factory.engines.phantom.population import Build
from factory.engines.phantom.shapes import Number, Profile

__all__ = ["LATTICE", "Space"]

_FRAME_MM, _WARP_MM = 4.5, 2.4
_PIVOT_MM = np.array([0.0, 20.0, 0.0])
_FRONT_MM = -25.0
_BELLY = Profile({-330: 0.1, -260: 0.35, -200: 0.75, -120: 1.0, -30: 1.0, 60: 0.6, 130: 0.25, 200: 0.1, 300: 0.0})
_WAIST = Profile({-330: 0.3, -250: 0.4, -180: 0.6, -80: 1.0, 20: 0.9, 90: 0.45, 160: 0.2, 300: 0.0})
_CHEST = Profile({-80: 0.0, 20: 0.35, 110: 1.0, 200: 1.0, 250: 0.6, 300: 0.2, 330: 0.0})
_SHOULDERS = Profile({190: 0.0, 250: 1.0, 300: 1.0, 330: 0.3, 360: 0.0})
_HIPS = Profile({-400: 0.8, -300: 1.0, -220: 1.0, -150: 0.5, -90: 0.0})
_LORDOSIS = Profile({-210: 0.0, -150: 0.4, -80: 1.0, -20: 0.7, 50: 0.1, 90: 0.0})
_KYPHOSIS = Profile({-250: 0.0, -100: 0.0, 0: 0.0, 90: 0.5, 180: 1.0, 250: 0.6, 300: -0.2, 380: -1.2})
_SCOLIOSIS_CHEST = Profile({-20: 0.0, 50: 0.5, 120: 1.0, 190: 0.6, 260: 0.0})
_SCOLIOSIS_LOINS = Profile({-190: 0.0, -130: 0.5, -65: 1.0, 0: 0.5, 60: 0.0})

_ENDS_MM = (-400, 400)
"""Beyond these heights no profile changes."""

_ORIGIN_MM, _STEP_MM = np.array(LATTICE.origin_mm_xyz), np.array(LATTICE.spacing_mm_zyx)
_LAST = np.array(LATTICE.shape_zyx) - 1.001
_STRIDES = np.array([LATTICE.shape_zyx[1] * LATTICE.shape_zyx[2], LATTICE.shape_zyx[2], 1])
_CORNERS = np.array(list(np.ndindex(2, 2, 2))) @ _STRIDES[:, None]

Volume = Float32[np.ndarray, "z y x"]
Rows = Sequence[Sequence[Number]] | Float[np.ndarray, "_ 4"]


def _at(fields: Float32[np.ndarray, "k z y x"], points_mm: Float[np.ndarray, "n 3"]) -> Float64[np.ndarray, "n k"]:
    """Interpolate fields of the lattice at scattered world points."""
    place = ((points_mm - _ORIGIN_MM) / _STEP_MM)[:, ::-1]
    place = np.minimum(np.maximum(place, 0), _LAST)
    low = place.astype(np.intp)
    up = (place - low).T
    z, y, x = np.stack([1 - up, up], axis=1)
    weights = ((z[:, None] * y)[:, :, None] * x).reshape(8, -1)
    index = low @ _STRIDES + _CORNERS
    return np.asarray((fields.reshape(len(fields), -1)[:, index] * weights).sum(axis=1).T, np.float64)


@dataclass(frozen=True)
class Space:
    """The map between the reference torso and one body.

    Attributes:
        build: the body.
        frame: for the space of the organs, that of bones and walls around them.
        drift: displacement in mm (x, y, z) of the organs against these, on the lattice.
    """

    build: Build
    frame: "Space | None" = None
    drift: Float32[np.ndarray, "3 z y x"] | None = None

    @cached_property
    def warp(self) -> Float32[np.ndarray, "3 z y x"]:
        """Displacement in mm (x, y, z) on the lattice: smooth noise, zero at the origin, and the drift."""
        if self.frame is not None and self.drift is not None:
            return np.asarray(self.frame.warp + self.drift, np.float32)
        noise, wide = self.build.noise, self.build.wide
        fields = np.float32(_FRAME_MM * wide) * self.spread(noise.frame)
        fields += np.float32(_WARP_MM * wide) * self.spread(noise.warp)
        z, y, x = (round(-o / 6.0) for o in LATTICE.origin_mm_xyz[::-1])
        return np.asarray(fields - fields[:, z : z + 1, y : y + 1, x : x + 1], np.float32)

    @staticmethod
    def spread(coarse: Float32[np.ndarray, "3 a b c"]) -> Float32[np.ndarray, "3 z y x"]:
        """Spread coarse noise for three axes over the lattice, to unit variance."""
        return np.stack([_spread(axis) for axis in coarse])

    @cached_property
    def clumps(self) -> Volume:
        """Unit noise of about 45 mm on the lattice, for what lies in bundles."""
        return _spread(self.build.noise.grain[::3, ::3, ::3])

    @cached_property
    def grain(self) -> Volume:
        """Unit noise of about 18 mm on the lattice, for the surfaces of organs."""
        return self.frame.grain if self.frame is not None else _spread(self.build.noise.grain)

    @cached_property
    def coordinates(self) -> tuple[Volume, Volume, Volume]:
        """Reference coordinates x, y, z in mm of each lattice point."""
        z, y, x = (v.astype(np.float32) for v in LATTICE.axes_mm())
        world = (x[None, None, :] - self.warp[0], y[None, :, None] - self.warp[1], z[:, None, None] - self.warp[2])
        return self._to_reference(world)

    def place(self, points_mm: Float[np.ndarray, "n 3"]) -> Float64[np.ndarray, "n 3"]:
        """Map reference points (x, y, z) to the world of this body."""
        rigid = self._from_reference(np.asarray(points_mm, np.float64))
        world = rigid
        for _ in range(3 if self.frame is None else 7):  # until they agree to a fraction of a millimetre
            world = rigid + _at(self.warp, world)
        return world

    def value(
        self, field: Float32[np.ndarray, "z y x"], points_mm: Float[np.ndarray, "n 3"]
    ) -> Float64[np.ndarray, " n"]:
        """Interpolate a field of the lattice at world points (x, y, z)."""
        return _at(field[None], points_mm)[:, 0]

    def tube(
        self,
        rows: Rows,
        thicker: Number = 1.0,
        step_mm: Number = 7.0,
        squash_zyx: tuple[Number, Number, Number] = (1.0, 1.0, 1.0),
    ) -> Tube:
        """Carry a smooth tube of reference rows (x, y, z, radius) into the world.

        Args:
            rows: centres and radii in mm; the radii grow with the frame.
            thicker: a further factor on the radii.
            step_mm: distance between samples of the result.
            squash_zyx: see `Tube`.
        """
        return self.tubes([rows], thicker, step_mm, squash_zyx)[0]

    def tubes(
        self,
        many: Sequence[Rows],
        thicker: Number = 1.0,
        step_mm: Number = 7.0,
        squash_zyx: tuple[Number, Number, Number] = (1.0, 1.0, 1.0),
    ) -> list[Tube]:
        """Carry several tubes into the world at once; arguments as for `tube`."""
        controls = [np.array(rows, np.float64) for rows in many]
        key = (b"".join(part.tobytes() for part in controls), thicker, step_mm, squash_zyx)
        if key not in self._routed:
            self._routed[key] = self._route(controls, thicker, step_mm, squash_zyx)
        return self._routed[key]

    def hull(
        self, low_mm: Float64[np.ndarray, " 3"], high_mm: Float64[np.ndarray, " 3"]
    ) -> tuple[Float64[np.ndarray, " 3"], Float64[np.ndarray, " 3"]]:
        """Lowest and highest world coordinates of a cuboid of reference coordinates."""
        key = low_mm.tobytes() + high_mm.tobytes()
        if key not in self._hulls:
            steps = np.linspace(0, 1, 3)
            corners = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(-1, 3) * (high_mm - low_mm) + low_mm
            world = self.place(corners)
            self._hulls[key] = world.min(0), world.max(0)
        return self._hulls[key]

    @cached_property
    def _hulls(self) -> dict[bytes, tuple[Float64[np.ndarray, " 3"], Float64[np.ndarray, " 3"]]]:
        return {}

    @cached_property
    def _routed(self) -> dict[tuple[object, ...], list[Tube]]:
        return {}

    def _route(
        self,
        controls: list[Float64[np.ndarray, "_ 4"]],
        thicker: Number,
        step_mm: Number,
        squash_zyx: tuple[Number, Number, Number],
    ) -> list[Tube]:
        joined = np.vstack(controls)
        joined[:, :3] = self.place(joined[:, :3])
        joined[:, 3] *= self.build.scale * thicker
        ends = np.cumsum([len(part) for part in controls])[:-1]
        return tubes(np.split(joined, ends), step_mm, squash_zyx)

    def _to_reference(self, world: tuple[Volume, Volume, Volume]) -> tuple[Volume, Volume, Volume]:
        habitus, turn = self.build.habitus, self.build.posture.rotation.T.astype(np.float32)
        sx, sy, sz = habitus.scale_xyz
        start = (_PIVOT_MM + self._offset).astype(np.float32)
        rel = [along - first for along, first in zip(world, start, strict=True)]
        x, y, z = (
            row[0] * rel[0] + row[1] * rel[1] + row[2] * rel[2] + np.float32(first)
            for row, first in zip(turn, _PIVOT_MM, strict=True)
        )
        z = z / np.float32(sz)
        x = (x - self._sideways(z)) / (np.float32(sx) * self._breadth(z))
        y = (y - self._backward(z)) / np.float32(sy)
        y = np.where(y < _FRONT_MM, (y - _FRONT_MM) / self._forward(z) + _FRONT_MM, y)
        return np.asarray(x, np.float32), np.asarray(y, np.float32), np.asarray(z, np.float32)

    def _from_reference(self, points: Float64[np.ndarray, "n 3"]) -> Float64[np.ndarray, "n 3"]:
        sx, sy, sz = self.build.habitus.scale_xyz
        x, y, z = points.T
        y = np.where(y < _FRONT_MM, (y - _FRONT_MM) * self._forward(z) + _FRONT_MM, y) * sy + self._backward(z)
        x = x * sx * self._breadth(z) + self._sideways(z)
        straight = np.stack([x, y, z * sz], axis=1)
        return np.asarray((straight - _PIVOT_MM) @ self.build.posture.rotation.T + _PIVOT_MM + self._offset)

    @property
    def _offset(self) -> Float64[np.ndarray, " 3"]:
        return np.array([*self.build.posture.offset_mm, 0.0])

    @cached_property
    def _breadth(self) -> Profile:
        habitus = self.build.habitus

        def factor(z: Float64[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
            pelvic = 1 + (habitus.pelvis - 1) * np.clip((-z - 90) / 80, 0, 1)
            trunk = (1 + habitus.flank * _WAIST(z)) * (1 + habitus.chest_breadth * _CHEST(z))
            return pelvic * trunk * (1 + habitus.shoulders * _SHOULDERS(z) + habitus.hips * _HIPS(z))

        return Profile.of(factor, _ENDS_MM)

    @cached_property
    def _forward(self) -> Profile:
        habitus = self.build.habitus
        return Profile.of(lambda z: (1 + habitus.belly * _BELLY(z)) * (1 + habitus.chest_depth * _CHEST(z)), _ENDS_MM)

    @cached_property
    def _backward(self) -> Profile:
        posture = self.build.posture
        return Profile.of(lambda z: posture.kyphosis_mm * _KYPHOSIS(z) - posture.lordosis_mm * _LORDOSIS(z), _ENDS_MM)

    @cached_property
    def _sideways(self) -> Profile:
        chest, loins = self.build.posture.scoliosis_mm
        return Profile.of(lambda z: chest * _SCOLIOSIS_CHEST(z) + loins * _SCOLIOSIS_LOINS(z), _ENDS_MM)


def _spread(coarse: Float32[np.ndarray, "a b c"]) -> Volume:
    """Stretch a coarse lattice over the fine one with cubic splines, to unit variance."""
    field = coarse
    for axis, count in enumerate(LATTICE.shape_zyx):
        knots = np.arange(coarse.shape[axis])
        weights = CubicSpline(knots, np.eye(len(knots)))(np.linspace(0, len(knots) - 1, count))
        field = np.moveaxis(np.tensordot(weights.astype(np.float32), field, (1, axis)), 0, axis)
    return np.ascontiguousarray(field / max(float(field.std()), 1e-6), np.float32)
