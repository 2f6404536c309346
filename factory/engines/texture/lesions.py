"""Lesions, by what they are made of: solid, necrotic, cystic, calcified, ground-glass, part-solid.

The record of a lesion says kind and form; HU follow organ and phase (`lesion_hu`). Signs
outside the lesion, strands, dilated ducts, atelectasis, are painted after it (`lesion_signs`).
"""

from collections.abc import Callable
from types import MappingProxyType

import numpy as np
from jaxtyping import Bool, Float32
from scipy import ndimage

from factory.engines.texture.fields import depth_mm, sheets, smooth_field, smoothstep
from factory.engines.texture.lesion_hu import Vigour, viable_hu
from factory.engines.texture.lesion_signs import paint_signs
from factory.engines.texture.scene import Box, Region, Scene
from manifests.case import Lesion

__all__ = ["paint_lesions"]

_MARGIN_MM = 15.0
_DEAD_HU, _FLUID_HU = (24.0, 4.0), (10.0, 4.0)
"""Mean and standard deviation of necrosis and of cyst fluid."""
_GLASS_HU = (-560.0, 60.0)
_CHALK_HU = (280.0, 700.0)

Volume = Float32[np.ndarray, "z y x"]


class _Body:
    """One lesion in its box: mask, depth, two fields of unevenness, and what the painters need to know."""

    def __init__(self, scene: Scene, lesion: Lesion, region: Region, viable: float) -> None:
        self.scene, self.lesion, self.viable = scene, lesion, viable
        self.mask: Bool[np.ndarray, "z y x"] = region.mask
        self.spacing, self.voxel_mm = scene.grid.spacing_mm_zyx, scene.voxel_mm
        self.rng = scene.rng(f"lesion/{lesion.id}")
        self.rough = self.field(max(lesion.size_mm / 5, 3.0))
        self.fine = self.field(4.0)
        self.depth = self.below(min(max(lesion.size_mm / 4, scene.voxel_mm), 15.0))

    def field(self, scale_mm: float) -> Volume:
        """A unit random field."""
        return smooth_field(self.mask.shape, self.spacing, scale_mm, self.rng)

    def below(self, reach_mm: float) -> Volume:
        """Depth below the surface in mm."""
        return depth_mm(self.mask, self.spacing, reach_mm)

    def level(self, field: Volume, share: float) -> np.float32:
        """The value that this share of the lesion's voxels exceeds."""
        return np.float32(np.quantile(field[self.mask], 1 - share))

    def ball(self, centre: np.ndarray) -> Volume:
        """Distance in mm from a point in voxels of the box."""
        z, y, x = (
            ((np.arange(n) - c) * s).astype(np.float32) ** 2
            for n, c, s in zip(self.mask.shape, centre, self.spacing, strict=True)
        )
        return np.asarray(np.sqrt(z[:, None, None] + y[:, None] + x), np.float32)


def paint_lesions(scene: Scene) -> None:
    """Paint every recorded lesion, last, so that no other tissue shows through."""
    if not scene.masks.lesion_records:
        return
    boxes = ndimage.find_objects(scene.masks.lesions, max_label=255)
    vigour = Vigour(scene.rng("lesions"), scene.request.randomise)
    for lesion in scene.masks.lesion_records:
        if tight := boxes[lesion.id - 1]:
            region = _region(scene, lesion, (tight[0], tight[1], tight[2]))
            viable = viable_hu(scene, lesion, vigour, scene.rng(f"lesion/{lesion.id}/hu"))
            _paint(_Body(scene, lesion, region, viable), scene.hu[region.box])
            paint_signs(scene, lesion, region, viable)


def _region(scene: Scene, lesion: Lesion, tight: Box) -> Region:
    box = scene.grow([tight], _MARGIN_MM)
    return Region(box, scene.masks.lesions[box] == lesion.id)


def _paint(body: _Body, hu: Volume) -> None:
    """Replace the HU of a lesion's voxels in its box."""
    values = np.float32(body.viable) + 7 * body.rough + 4 * body.fine
    values = _KINDS.get(body.lesion.kind, _solid)(body, values, hu)
    if body.lesion.organ == "pancreas" and body.lesion.kind != "cystic":
        # ductal cancer infiltrates: its edge fades into the gland
        values = hu + smoothstep(body.below(4.0) + 1.2 * body.rough, -1.0, 3.0) * (values - hu)
    hu[body.mask] = values[body.mask]


def _solid(body: _Body, values: Volume, _hu: Volume) -> Volume:
    """Viable throughout; in the liver brighter at the rim while contrast arrives."""
    if body.lesion.organ == "liver" and body.scene.subject.phase in ("arterial", "portal_venous"):
        rim = smoothstep(body.depth, 0.0, 1.5) * (1 - smoothstep(body.depth, 2.5, 6.0))
        values = values + 16 * rim
    return values


def _necrotic(body: _Body, values: Volume, hu: Volume) -> Volume:
    """A third to two thirds of it dead: ragged, in the core, near water, unenhanced."""
    values = _solid(body, values, hu)
    ragged = max(body.lesion.size_mm / 10, 2.0)
    # exact distances: a box average would leave its corners in a wide core
    depth = ndimage.distance_transform_edt(body.mask, sampling=body.spacing).astype(np.float32)
    score = depth + np.float32(ragged) * (body.rough + 0.4 * body.fine)
    start = body.level(score, body.rng.uniform(0.35, 0.65))
    dead = np.float32(body.rng.normal(*_DEAD_HU))
    mixed: Volume = values + smoothstep(score, float(start) - 2.5, float(start) + 2.5) * (dead + 3 * body.fine - values)
    return mixed


def _cystic(body: _Body, values: Volume, _hu: Volume) -> Volume:
    """Fluid in an enhancing wall, often with septa, sometimes with a nodule on the wall."""
    wall_mm, size_mm, rng = float(body.rng.uniform(1.2, 3.0)), body.lesion.size_mm, body.rng
    septa, nodule = rng.random() < 0.6, rng.random() < 0.35
    below = body.below(max(wall_mm + 1.5, body.voxel_mm))
    tissue = 1 - smoothstep(below, wall_mm - 0.8, wall_mm + 0.8)
    if septa:
        tissue = np.maximum(tissue, 0.8 * sheets(body.field(size_mm / 2), size_mm / 2, 1.5, body.voxel_mm))
    edge = np.argwhere(body.mask & (below < 1.5 * wall_mm))
    spot = edge[int(rng.integers(len(edge)))] if len(edge) else np.argwhere(body.mask)[0]
    if nodule:
        radius = size_mm * rng.uniform(0.12, 0.25)
        tissue = np.maximum(tissue, 1 - smoothstep(body.ball(spot), radius - 1.0, radius + 1.0))
    fluid = np.float32(rng.normal(*_FLUID_HU)) + 2 * body.fine
    mixed: Volume = fluid + tissue * (values - fluid)
    return mixed


def _calcified(body: _Body, values: Volume, hu: Volume) -> Volume:
    """Clumps of calcium in solid tumour, some eighth of it."""
    score = body.field(max(body.lesion.size_mm / 6, 3.0)) + 0.15 * body.depth
    start = float(body.level(score, body.rng.uniform(0.05, 0.18)))
    chalk = np.float32(body.rng.uniform(*_CHALK_HU)) * smoothstep(score, start - 0.1, start + 0.4)
    summed: Volume = _solid(body, values, hu) + chalk
    return summed


def _ground_glass(body: _Body, _values: Volume, hu: Volume) -> Volume:
    """Haze that leaves vessels and bronchial walls visible, with a soft edge."""
    target = np.float32(body.rng.normal(*_GLASS_HU))
    mean = np.float32(hu[body.mask].mean())
    airy = np.clip(-hu / np.float32(900), 0, 1)  # what is blood already takes no haze
    haze = smoothstep(body.below(3.0), -1.5, 2.5) * airy * max(target - mean, np.float32(120)) + 25 * body.rough
    hazy: Volume = hu + haze
    return hazy


def _part_solid(body: _Body, values: Volume, hu: Volume) -> Volume:
    """Haze around a solid part of two to three quarters of the diameter, off the centre."""
    hazy = _ground_glass(body, values, hu)
    radius = body.lesion.size_mm * float(body.rng.uniform(0.22, 0.36))
    shift = body.rng.uniform(-0.25, 0.25, 3) * radius / np.asarray(body.spacing)
    distance = body.ball(np.argwhere(body.mask).mean(axis=0) + shift) + 0.12 * radius * body.rough
    core = 1 - smoothstep(distance, radius - 1.2, radius + 1.2)
    mixed: Volume = hazy + core * (values - hazy)
    return mixed


_KINDS: MappingProxyType[str, Callable[[_Body, Volume, Volume], Volume]] = MappingProxyType(
    {
        "solid": _solid,
        "necrotic": _necrotic,
        "cystic": _cystic,
        "calcified": _calcified,
        "ground_glass": _ground_glass,
        "part_solid": _part_solid,
    }
)
"""Painters by kind; an unknown kind is painted as solid."""
