"""Hollow organs: wall, fluid, food and stool, gas above with a level, urine and bile.

The patient lies supine, so gas collects anteriorly. Each pool of an axial slice has one
horizontal level; how far it is filled varies smoothly through the body.
"""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float32
from scipy import ndimage

from factory.engines.texture.fields import depth_mm, smooth_field, smoothstep
from factory.engines.texture.scene import Region, Scene
from manifests.anatomy import structure

__all__ = ["paint_bladder", "paint_bowel"]

_GAS_HU = -970.0
_WALL_MM = 2.5
_POOL_MM = 18.0
_STOMACH_ML, _STOMACH_WALL_MM, _FOLD = (70.0, 380.0), (7.0, 3.0), 0.4
"""Volume and wall of an empty and of a full stomach, and how much of its wall is folds; chosen."""
_SHUT_MM = 45.0
_FRONT = 1.6
"""How much more gas lies in the foremost than in the rearmost loops of a colon, in the units of `_levels`; chosen."""
_COLON = ("colon",)
_SMALL = ("small_bowel", "duodenum")


@dataclass(frozen=True, slots=True)
class _Meal:
    """What a patient has drunk and eaten, and how far it has come.

    Attributes:
        oral_hu: HU of positive oral contrast; None without.
        reached: how far it has come: 1 stomach, 2 small bowel, 3 colon.
        food: share of the stomach that is food, 0 to 1.
        colon: what the colon holds: stool, fluid, gas, or tagged stool.
    """

    oral_hu: float | None
    reached: int
    food: float
    colon: str

    @classmethod
    def draw(cls, dial: float, rng: np.random.Generator) -> "_Meal":
        """Draw it; rates are chosen."""
        chance, density, eaten = rng.random(3)
        reached = int(rng.integers(1, 4))
        colon = str(rng.choice(("stool", "fluid", "gas", "tagged"), p=(0.68, 0.12, 0.14, 0.06)))
        oral = float(90.0 * 5.0**density) if chance < 0.16 + 0.2 * dial else None
        return cls(oral, reached, float(np.clip(1.6 * eaten - 0.6, 0, 1)), colon)

    def fluid_hu(self, place: int, plain_hu: float) -> float:
        """Mean HU of the fluid in a place: 1 stomach, 2 small bowel, 3 colon."""
        if self.oral_hu is None or place > self.reached:
            return plain_hu
        return self.oral_hu * (0.85, 1.0, 1.25)[place - 1]


def paint_bowel(scene: Scene) -> None:
    """Fill stomach, small bowel, colon and oesophagus."""
    rng = scene.rng("bowel")
    meal = _Meal.draw(scene.request.randomise, rng)
    if "obstructed_colon" in str(scene.masks.notes.get("variants", "")):
        meal = replace(meal, colon="fluid")
    stomach = scene.region("stomach", margin_mm=6.0)
    if stomach is not None:
        content = _stomach(scene, stomach, meal, rng)
        bubble = _single_level(stomach, rng.uniform(0.03, 0.55))
        _fill(scene, stomach, content, bubble, _stomach_lumen(scene, stomach, rng))
    small = scene.region(*_SMALL, margin_mm=6.0)
    if small is not None:
        look = (meal.fluid_hu(2, rng.uniform(8.0, 34.0)), 9.0 if meal.oral_hu is None else 22.0)
        gas = (rng.uniform(-3.0, -1.2), rng.uniform(0.2, 0.55))
        open_ = _thin_lumen(scene, small) * (1 - 0.9 * _shut(scene, small, rng))
        _fill(scene, small, _mixed(scene, small, rng, look), _levels(scene, small, rng, gas), open_)
    colon = scene.region(*_COLON, margin_mm=6.0)
    if colon is not None:
        content = _colon(scene, colon, meal, rng)
        gas = (rng.uniform(0.3, 1.2), 0.95) if meal.colon == "gas" else (rng.uniform(-1.9, -0.4), 0.9)
        _fill(scene, colon, content, _levels(scene, colon, rng, gas, _FRONT), _thin_lumen(scene, colon))
    gullet = scene.region("esophagus", margin_mm=6.0)
    if gullet is not None:
        gas = (rng.uniform(-2.5, -0.8), 0.6)
        content = _mixed(scene, gullet, rng, (30.0, 6.0))
        _fill(scene, gullet, content, _levels(scene, gullet, rng, gas), _thin_lumen(scene, gullet))


def _fill(
    scene: Scene,
    region: Region,
    content: Float32[np.ndarray, "z y x"],
    gas: Float32[np.ndarray, "z y x"],
    lumen: Float32[np.ndarray, "z y x"],
) -> None:
    """Replace the lumen by its content and gas; the wall keeps the base value of the structure.

    Args:
        scene: what is painted.
        region: the organ.
        content: HU of what is not gas.
        gas: share of each voxel that is gas.
        lumen: share of each voxel that is no wall.
    """
    inside = content + gas * (np.float32(_GAS_HU) - content)
    hu = scene.hu[region.box]
    hu[region.mask] += (lumen * (inside - hu))[region.mask]


def _thin_lumen(scene: Scene, region: Region) -> Float32[np.ndarray, "z y x"]:
    """The lumen of an organ whose wall is thinner than a voxel."""
    depth = depth_mm(region.mask, scene.grid.spacing_mm_zyx, max(_WALL_MM, scene.voxel_mm))
    return smoothstep(depth, 0.15 * scene.voxel_mm, 0.75 * scene.voxel_mm)


def _stomach_lumen(scene: Scene, region: Region, rng: np.random.Generator) -> Float32[np.ndarray, "z y x"]:
    """The lumen of a stomach: the emptier it is, the thicker is its wall, in folds."""
    spacing, voxel = scene.grid.spacing_mm_zyx, scene.voxel_mm
    volume_ml = float(region.mask.sum()) * scene.grid.voxel_volume_ml
    wall = float(np.interp(volume_ml, _STOMACH_ML, _STOMACH_WALL_MM)) * rng.uniform(0.7, 1.3)
    depth = depth_mm(region.mask, spacing, wall + voxel)
    folds = np.float32(_FOLD * wall) * smooth_field(region.mask.shape, spacing, 7.0, rng)
    return smoothstep(depth - folds, wall - 0.4 * voxel, wall + 0.4 * voxel)


def _shut(scene: Scene, region: Region, rng: np.random.Generator) -> Float32[np.ndarray, "z y x"]:
    """Where loops are collapsed, so that wall lies on wall; from hardly any to most of them."""
    start = rng.uniform(-0.4, 1.6)
    return smoothstep(smooth_field(region.mask.shape, scene.grid.spacing_mm_zyx, _SHUT_MM, rng), start, start + 0.5)


def _mixed(
    scene: Scene, region: Region, rng: np.random.Generator, look: tuple[float, float]
) -> Float32[np.ndarray, "z y x"]:
    """Fluid with some food in it: mean and spread in HU."""
    mean, spread = look
    field = smooth_field(region.mask.shape, scene.grid.spacing_mm_zyx, 9.0, rng)
    return np.float32(mean + rng.normal(0, 4)) + np.float32(spread) * field


def _stomach(scene: Scene, region: Region, meal: _Meal, rng: np.random.Generator) -> Float32[np.ndarray, "z y x"]:
    """Fluid below, and food in lumps with fat and specks of gas in it."""
    content = _mixed(scene, region, rng, (meal.fluid_hu(1, rng.uniform(4.0, 30.0)), 6.0))
    if meal.food > 0:
        lumps, fine = (smooth_field(region.mask.shape, scene.grid.spacing_mm_zyx, mm, rng) for mm in (14.0, 5.0))
        food = 42 + 22 * fine - 320 * smoothstep(fine - 0.3 * lumps, 1.1, 2.2)
        share = smoothstep(lumps, 1.2 - 2.6 * meal.food, 1.8 - 2.6 * meal.food)
        content += share * (food - content)
    return content


def _colon(scene: Scene, region: Region, meal: _Meal, rng: np.random.Generator) -> Float32[np.ndarray, "z y x"]:
    """Fluid, or mottled stool: soft matter with pockets of gas, denser where it is tagged or dry."""
    spacing, shape = scene.grid.spacing_mm_zyx, region.mask.shape
    if meal.colon == "fluid":
        return _mixed(scene, region, rng, (meal.fluid_hu(3, rng.uniform(4.0, 45.0)), 8.0))
    coarse, fine, along = (smooth_field(shape, spacing, scale, rng) for scale in (22.0, 4.5, 60.0))
    bubbles = smoothstep(fine + 0.5 * coarse, rng.uniform(0.3, 1.1), 2.1)
    start = rng.uniform(-1.8, 0.6)  # some stretches hold even matter, more of them in some patients
    bubbles *= smoothstep(along, start, start + 0.8)
    mean = rng.uniform(180, 450) if meal.colon == "tagged" else rng.uniform(22, 62)
    mean = max(mean, meal.fluid_hu(3, mean)) * (1 + 0.25 * np.clip(coarse, -1, 1))
    content: Float32[np.ndarray, "z y x"] = mean.astype(np.float32) + 14 * fine - 560 * bubbles
    return content


def _single_level(region: Region, share: float) -> Float32[np.ndarray, "z y x"]:
    """One level through the whole organ, so that gas fills a share of its volume."""
    profile = region.mask.sum(axis=(0, 2)).cumsum()
    level = np.interp(share * profile[-1], profile, np.arange(profile.size) + 1.0)
    rows = np.clip(level - np.arange(profile.size), 0, 1).astype(np.float32)
    gas: Float32[np.ndarray, "z y x"] = np.broadcast_to(rows[None, :, None], region.mask.shape)
    return gas


def _levels(
    scene: Scene, region: Region, rng: np.random.Generator, gassy: tuple[float, float], front: float = 0.0
) -> Float32[np.ndarray, "z y x"]:
    """A level in each pool of each axial slice; `gassy` sets how much gas there is and its largest share.

    Gas rises: loops at the front get more of it than those at the back, by `front` from end to end.

    A pool spans several slices: levels are averaged over those above and below, voxel by voxel
    where the organ is, so that a level runs on through the slices instead of stepping.
    """
    mean, most = gassy
    plane = ndimage.generate_binary_structure(3, 1)
    plane[0] = plane[2] = False
    labels, _ = ndimage.label(region.mask, plane)
    field = smooth_field(region.mask.shape, scene.grid.spacing_mm_zyx, 60.0, rng)
    boxes = ndimage.find_objects(labels)
    tops = np.array([box[1].start for box in boxes], np.float32)
    stops = np.array([box[1].stop for box in boxes], np.float32)
    centres = tuple(np.array([(box[axis].start + box[axis].stop) // 2 for box in boxes], int) for axis in range(3))
    rise = front * (0.5 - centres[1] / region.mask.shape[1])
    share = np.clip(0.5 + 0.55 * (field[centres] * 1.3 + mean + rise), 0, most)
    levels: np.ndarray = np.concatenate([[0], tops + share * (stops - tops)]).astype(np.float32)[labels]
    size = 2 * max(round(_POOL_MM / 2 / scene.grid.spacing_mm_zyx[0]), 1) + 1
    weight = region.mask.astype(np.float32)
    for _ in range(2):
        total = ndimage.uniform_filter1d(levels * weight, size, axis=0, mode="constant")
        count = ndimage.uniform_filter1d(weight, size, axis=0, mode="constant")
        levels = total / np.maximum(count, np.float32(1e-3))
    gas: Float32[np.ndarray, "z y x"] = np.clip(levels - np.arange(levels.shape[1], dtype=np.float32)[:, None], 0, 1)
    return gas


def paint_bladder(scene: Scene) -> None:
    """Fill the bladder with urine; excreted contrast layers below it where there is some."""
    region = scene.region("urinary_bladder", margin_mm=6.0)
    if region is None:
        return
    rng, spacing = scene.rng("bladder"), scene.grid.spacing_mm_zyx
    mean = scene.base[structure("urinary_bladder").id]
    content = np.full(region.mask.shape, min(mean, 15.0), np.float32)
    if mean > 25.0:
        y = np.arange(region.mask.shape[1], dtype=np.float32)[None, :, None] * np.float32(spacing[1])
        filled = region.mask.sum(axis=(0, 2)).cumsum() / region.mask.sum()
        level = np.searchsorted(filled, rng.uniform(0.55, 0.85)) * spacing[1]
        layer = smoothstep(y - np.float32(level), -6.0, 10.0) * region.mask
        content += layer * np.float32(max(mean - min(mean, 15.0), 0) / max(layer[region.mask].mean(), 1e-3))
    depth = depth_mm(region.mask, spacing, max(3.0, scene.voxel_mm))
    wall = 1 - smoothstep(depth, 0.1 * scene.voxel_mm, 0.7 * scene.voxel_mm)
    content += wall * np.float32(18.0)
    scene.hu[region.box][region.mask] = content[region.mask]
