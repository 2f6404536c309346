"""The label map being painted, and the three ways to paint: fill a shape, draw tubes, tidy up.

One label per voxel, so nothing overlaps. Each call says what it may paint over. Filled shapes
have a target volume: on the lattice the canvas finds how far the surface must move out or in to
reach it, and remembers that level; on any other grid it uses the level it is told.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from jaxtyping import Bool, Float, Float32, Float64, Int64, UInt8
from scipy import ndimage

from factory.engines.phantom.cones import Cones
from factory.engines.phantom.curves import Tube
from factory.engines.phantom.interpolation import LATTICE, Stencil, interpolate
from factory.engines.phantom.shapes import Number
from factory.engines.phantom.space import Space
from manifests.anatomy import structure
from manifests.geometry import Grid

__all__ = ["SOFT", "Box", "Canvas", "Mask", "Shape"]

SOFT = ("subcutaneous_fat", "visceral_fat", "skeletal_muscle")
"""What organs are painted over when nothing else is said: the tissues between them."""

Volume = Float32[np.ndarray, "z y x"]
# what structures painted later cover of an organ, on average
_COVERED = {"spleen": 1.10, "liver": 1.07, "stomach": 1.06, "pancreas": 1.09, "gallbladder": 1.10, "prostate": 1.08,
            "kidney_left": 1.04, "kidney_right": 1.04}  # fmt: skip
_LEVEL_RANGE_MM = (-16.0, 36.0)
_NEAR_MM = 3.0
_STEP_MM = LATTICE.spacing_mm_zyx[0] / 2


@dataclass(frozen=True)
class Box:
    """A part of the canvas, with the reference coordinates of its voxels."""

    space: Space
    labels: UInt8[np.ndarray, "z y x"]
    axes_mm: tuple[Float64[np.ndarray, " z"], Float64[np.ndarray, " y"], Float64[np.ndarray, " x"]]

    @property
    def xyz(self) -> tuple[Volume, Volume, Volume]:
        """Reference coordinates in mm; computed at each call, so take them once."""
        x, y, z = (interpolate(c, self.axes_mm) for c in self.space.coordinates)
        return x, y, z

    def at(self, lattice_field: Float32[np.ndarray, "zl yl xl"]) -> Volume:
        """Interpolate a field of the lattice at the voxels."""
        return interpolate(lattice_field, self.axes_mm)

    def evaluate(self, shape: "Shape") -> Volume:
        """Evaluate a shape at the voxels; on fine grids at every 3 mm, and linearly in between."""
        if not self._is_fine:
            return shape(self)
        coarse = self._coarse()
        return self._between(coarse).apply(shape(coarse))

    def below(self, shape: "Shape", level_mm: Number) -> tuple["Box", Volume] | None:
        """The part of the box where a shape may lie below a level, with its values; None where it does nowhere."""
        if not self._is_fine:
            return self, shape(self)
        coarse = self._coarse()
        between, field = self._between(coarse), shape(coarse)
        part = between.touching(field < level_mm + 1e-3)  # what is interpolated may round below its neighbours
        if part is None:
            return None
        z, y, x = (axis[along] for axis, along in zip(self.axes_mm, part, strict=True))
        return Box(self.space, self.labels[part], (z, y, x)), between.part(part).apply(field)

    @property
    def _is_fine(self) -> bool:
        return bool(min(len(axis) for axis in self.axes_mm) > 1 and self.axes_mm[0][1] - self.axes_mm[0][0] <= 2.5)

    def _coarse(self) -> "Box":
        """The points of a grid of 3 mm around the voxels."""
        axes = []
        for axis, origin in zip(self.axes_mm, LATTICE.origin_mm_xyz[::-1], strict=True):
            first, last = np.floor((axis[0] - origin) / _STEP_MM), np.ceil((axis[-1] - origin) / _STEP_MM)
            axes.append(origin + _STEP_MM * np.arange(first, max(last, first + 1) + 1))
        labels = np.zeros([len(axis) for axis in axes], np.uint8)
        return Box(self.space, labels, (axes[0], axes[1], axes[2]))

    def _between(self, coarse: "Box") -> Stencil:
        z, y, x = (float(axis[0]) for axis in coarse.axes_mm)
        return Stencil.of(self.axes_mm, coarse.labels.shape, (z, y, x), _STEP_MM)


Shape = Callable[[Box], Volume]
Mask = Callable[[Box], Bool[np.ndarray, "z y x"]]


@dataclass
class Canvas:
    """A label map on a grid.

    Attributes:
        space: the body that is painted.
        grid: where the voxels lie.
        levels_mm: by structure, how far its surface moves out; filled on the lattice.
        routes: tubes whose course depends on what is painted; filled on the lattice.
        solving: whether this canvas finds levels and routes.
        growth_ml: by filled structure, what it gains when its surface moves out by 1 mm; found with its level.
    """

    space: Space
    grid: Grid
    levels_mm: dict[str, float]
    routes: dict[str, Tube]
    solving: bool = False
    growth_ml: dict[str, float] = field(default_factory=dict)
    labels: UInt8[np.ndarray, "z y x"] = field(init=False)

    def __post_init__(self) -> None:
        """Start with nothing but air."""
        self.labels = np.zeros(self.grid.shape_zyx, np.uint8)
        self._axes = self.grid.axes_mm()

    def through(self, space: Space) -> "Canvas":
        """The same label map, painted in the coordinates of another space."""
        other = Canvas(space, self.grid, self.levels_mm, self.routes, self.solving, self.growth_ml)
        other.labels = self.labels
        return other

    def slabs(self, voxels: int = 3_000_000) -> Iterable[Box]:
        """The whole canvas as boxes of full slices, each small enough to compute at once."""
        depth = max(1, voxels // (self.grid.shape_zyx[1] * self.grid.shape_zyx[2]))
        for start in range(0, self.grid.shape_zyx[0], depth):
            axes = (self._axes[0][start : start + depth], self._axes[1], self._axes[2])
            yield Box(self.space, self.labels[start : start + depth], axes)

    def box(
        self, low_mm: Sequence[Number] | Float[np.ndarray, " 3"], high_mm: Sequence[Number] | Float[np.ndarray, " 3"]
    ) -> Box | None:
        """The voxels around a cuboid of reference coordinates; None where the grid has none."""
        low, high = self.space.hull(np.asarray(low_mm, np.float64), np.asarray(high_mm, np.float64))
        return self._world_box(low - 6.0, high + 6.0)

    def fill(
        self,
        name: str,
        box: Box | None,
        shape: Shape,
        over: Iterable[str] = SOFT,
        inside: Mask | None = None,
    ) -> None:
        """Paint where a shape is negative, on the tissues `over`, inside a region if one is given.

        A structure with a target volume in `build.volumes_ml` is grown or shrunk to it.
        """
        if box is None or name in self.space.build.absent:
            return
        target = self.space.build.volumes_ml.get(name)
        if self.solving and target is not None:
            distance = box.evaluate(shape)
            allowed = self._allowed(box, over, inside)
            self.levels_mm[name] = level = self._level(distance[allowed], target * _COVERED.get(name, 1.0))
            near = np.abs(distance[allowed] - np.float32(level)) < _NEAR_MM
            self.growth_ml[name] = float(near.sum()) * self.grid.voxel_volume_ml / (2 * _NEAR_MM)
        else:
            found = box.below(shape, self.levels_mm.get(name, 0.0))
            if found is None:
                return
            box, distance = found
            allowed = self._allowed(box, over, inside)
        allowed &= distance < self.levels_mm.get(name, 0.0)
        box.labels[allowed] = structure(name).id

    @staticmethod
    def _allowed(box: Box, over: Iterable[str], inside: Mask | None) -> Bool[np.ndarray, "z y x"]:
        """Where a box may be painted."""
        allowed = np.take(_lut(over), box.labels)
        return allowed if inside is None else allowed & inside(box)

    def draw(self, name: str, tubes: Iterable[Tube], over: Iterable[str] = SOFT) -> None:
        """Paint tubes given in world coordinates; the voxels of their centrelines always belong.

        A tube thinner than a voxel is a line of voxels that touch at least by a corner.
        """
        if name in self.space.build.absent:
            return
        tubes = list(tubes)
        index = np.concatenate([self._cones(tubes), self._threads(tubes)])
        index = index[_lut(over)[self.labels.ravel()[index]]]
        self.labels.ravel()[index] = structure(name).id

    def tidy(self, names: Iterable[str], instead: Callable[[str], str]) -> None:
        """Keep the largest 26-connected part of each structure; other parts become another tissue."""
        boxes: list[tuple[slice, ...] | None] = [*ndimage.find_objects(self.labels, max_label=255)]
        for name in names:
            id = structure(name).id
            if (part := boxes[id - 1]) is None:
                continue
            view = self.labels[part]
            components, count = ndimage.label(view == id, np.ones((3, 3, 3)))
            if count > 1:
                sizes = np.bincount(components.ravel())
                sizes[0] = 0
                view[(components > 0) & (components != sizes.argmax())] = structure(instead(name)).id

    def _level(self, distances: Float32[np.ndarray, " n"], target_ml: float) -> float:
        wanted = round(target_ml / self.grid.voxel_volume_ml)
        count = max(0, min(wanted, len(distances) - 1))
        if count == 0:  # nowhere to grow
            return 0.0
        return float(np.clip(np.partition(distances, count)[count], *_LEVEL_RANGE_MM))

    def _world_box(self, low_mm: Float[np.ndarray, " 3"], high_mm: Float[np.ndarray, " 3"]) -> Box | None:
        part = self._slices(low_mm, high_mm)
        if any(s.start >= s.stop for s in part):
            return None
        axes = tuple(axis[s] for axis, s in zip(self._axes, part, strict=True))
        return Box(self.space, self.labels[part], axes)  # type: ignore[arg-type]

    def _slices(self, low_mm: Float[np.ndarray, " 3"], high_mm: Float[np.ndarray, " 3"]) -> tuple[slice, slice, slice]:
        spacing = np.array(self.grid.spacing_mm_zyx)
        origin = np.array(self.grid.origin_mm_xyz[::-1])
        first = np.ceil((low_mm[::-1] - origin) / spacing).astype(int)
        last = np.floor((high_mm[::-1] - origin) / spacing).astype(int) + 1
        first, last = np.maximum(first, 0), np.minimum(last, self.grid.shape_zyx)
        return tuple(slice(int(a), int(b)) for a, b in zip(first, last, strict=True))  # type: ignore[return-value]

    def _cones(self, tubes: list[Tube]) -> Int64[np.ndarray, " n"]:
        """Flat indices of the voxels in the round cones between successive centres of all tubes."""
        cones = Cones.of(tubes, self.grid)
        return np.concatenate([np.zeros(0, np.int64), *(part.inside(self.grid.shape_zyx) for part in cones.batches())])

    def _threads(self, tubes: list[Tube]) -> Int64[np.ndarray, " n"]:
        """Flat indices of the voxels that centrelines pass, where the cones may not hold them.

        The voxel nearest to a point of a centreline lies within half a diagonal of it, and so inside
        the cones of a tube that is thicker than that.
        """
        spacing = np.array(self.grid.spacing_mm_zyx)
        thin = [t for t in tubes if t.radii_mm.min() < 0.501 * np.linalg.norm(spacing * t.squash_zyx)]
        if not thin:
            return np.zeros(0, np.int64)
        points = np.concatenate([tube.sampled(0.45 * float(spacing.min())) for tube in thin])
        index = np.rint((points - self.grid.origin_mm_xyz)[:, ::-1] / spacing).astype(np.int64)
        index = index[((index >= 0) & (index < self.grid.shape_zyx)).all(axis=1)]
        return np.asarray(np.ravel_multi_index(tuple(index.T), self.grid.shape_zyx), np.int64)


@lru_cache(maxsize=256)
def _table(names: tuple[str, ...]) -> Bool[np.ndarray, "256"]:
    table = np.zeros(256, bool)
    table[[structure(name).id for name in names]] = True
    table.flags.writeable = False
    return table


def _lut(names: Iterable[str]) -> Bool[np.ndarray, "256"]:
    return _table(tuple(names))
