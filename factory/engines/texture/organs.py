"""Solid organs with inner structure: kidneys, heart, spleen."""

import numpy as np
from jaxtyping import Float32

from factory.engines.texture.fields import depth_mm, smooth_field, smoothstep
from factory.engines.texture.scene import Region, Scene
from manifests.anatomy import structure

__all__ = ["paint_heart", "paint_kidneys", "paint_spleen"]

_KIDNEY = {"native": (0.0, 0.0), "arterial": (55.0, -65.0), "portal_venous": (10.0, -18.0), "delayed": (4.0, 2.0)}
"""Cortex and medulla relative to the whole kidney, HU by phase (corticomedullary, nephrographic, excretory)."""

_MYOCARDIUM = {"native": 1.05, "arterial": 0.55, "portal_venous": 0.74, "delayed": 0.85}
"""HU of heart muscle relative to the heart as a whole, by phase."""

# centre and half-axes of each cavity as shares of the heart's box (z, y, x), and which blood it holds
_CAVITIES = (
    ((0.36, 0.47, 0.70), (0.24, 0.20, 0.17), "aorta"),
    ((0.34, 0.25, 0.40), (0.22, 0.15, 0.26), "superior_vena_cava"),
    ((0.70, 0.78, 0.55), (0.18, 0.15, 0.24), "pulmonary_vein"),
    ((0.52, 0.50, 0.17), (0.26, 0.20, 0.15), "superior_vena_cava"),
    ((0.90, 0.40, 0.50), (0.16, 0.16, 0.20), "aorta"),
)


def paint_kidneys(scene: Scene) -> None:
    """Separate cortex, pyramids and sinus; the mean of each kidney stays."""
    for side in ("left", "right"):
        region = scene.region(f"kidney_{side}", margin_mm=9.0)
        if region is not None:
            _paint_kidney(scene, region, side)


def _paint_kidney(scene: Scene, region: Region, side: str) -> None:
    rng, spacing = scene.rng(f"kidney/{side}"), scene.grid.spacing_mm_zyx
    depth = depth_mm(region.mask, spacing, 13.0)
    pyramids = smooth_field(region.mask.shape, spacing, 7.0, rng)
    cortex_hu, medulla_hu = _KIDNEY[scene.subject.phase]
    medulla = smoothstep(depth + 2.2 * pyramids, 3.5, 7.0)
    pattern = cortex_hu + medulla * (medulla_hu - cortex_hu)
    values = scene.hu[region.box] + pattern
    mean = scene.base[structure(f"kidney_{side}").id]
    values += mean - values[region.mask].mean()
    sinus = _sinus(region, side, depth)
    fat = np.float32(-70 if scene.subject.age_years > 30 else -30)
    values += sinus * (fat - values) * (0.55 + 0.25 * np.clip(pyramids, -1, 1))
    if scene.subject.phase == "delayed":
        pelvis = smoothstep(pyramids, 0.4, 1.0) * sinus
        values += pelvis * (np.float32(rng.uniform(350, 700)) - values)
    hu = scene.hu[region.box]
    hu[region.mask] = values[region.mask]


def _sinus(region: Region, side: str, depth: Float32[np.ndarray, "z y x"]) -> Float32[np.ndarray, "z y x"]:
    """Share of renal sinus: deep, and shifted towards the hilum, which faces medially."""
    z, y, x = (np.linspace(-1, 1, n, dtype=np.float32) for n in region.mask.shape)
    medial = -0.3 if side == "left" else 0.3
    radius = np.sqrt((z / 0.40)[:, None, None] ** 2 + (y / 0.24)[None, :, None] ** 2 + ((x - medial) / 0.30) ** 2)
    share: Float32[np.ndarray, "z y x"] = (1 - smoothstep(radius, 0.6, 1.2)) * smoothstep(depth, 2.0, 6.0)
    return share


def paint_heart(scene: Scene) -> None:
    """Set cavities filled with blood into myocardium, and fat into the outer grooves."""
    region = scene.region("heart", margin_mm=9.0)
    if region is None:
        return
    rng, spacing = scene.rng("heart"), scene.grid.spacing_mm_zyx
    depth = depth_mm(region.mask, spacing, 9.0)
    wobble = smooth_field(region.mask.shape, spacing, 16.0, rng)
    tight = scene.boxes[structure("heart").id - 1]
    assert tight
    axes = [
        (np.arange(part.start, part.stop, dtype=np.float32) - inner.start) / (inner.stop - inner.start)
        for part, inner in zip(region.box, tight, strict=True)
    ]
    hu = scene.hu[region.box]
    values = hu + np.float32(_MYOCARDIUM[scene.subject.phase] - 1) * scene.base[structure("heart").id]
    for centre, half, blood in _CAVITIES:
        cavity = _ellipsoid(axes, centre, half) + 0.10 * wobble
        share = (1 - smoothstep(cavity, 0.85, 1.1)) * smoothstep(depth, 1.0, 4.0)
        values += share * (scene.base[structure(blood).id] - values)
    missing = scene.base[structure("heart").id] - float(values[region.mask].mean())
    values += np.float32(np.clip(missing, -60, 60))
    groove = smoothstep(wobble - 0.35 * depth, 0.6, 1.6)
    values += groove * (-60 - values)
    hu[region.mask] = values[region.mask]


def _ellipsoid(
    axes: list[Float32[np.ndarray, "_"]], centre: tuple[float, float, float], half: tuple[float, float, float]
) -> Float32[np.ndarray, "z y x"]:
    z, y, x = (np.square((axis - c) / h) for axis, c, h in zip(axes, centre, half, strict=True))
    radius: Float32[np.ndarray, "z y x"] = np.sqrt(z[:, None, None] + y[None, :, None] + x)
    return radius


def paint_spleen(scene: Scene) -> None:
    """Band the spleen in the arterial phase, when red and white pulp fill at different speeds."""
    region = scene.region("spleen")
    if region is None or scene.subject.phase != "arterial":
        return
    rng, spacing = scene.rng("spleen"), scene.grid.spacing_mm_zyx
    field = smooth_field(region.mask.shape, spacing, 20.0, rng)
    bands = np.sin(2.6 * np.pi * field + rng.uniform(0, 2 * np.pi)).astype(np.float32)[region.mask]
    scene.hu[region.box][region.mask] += rng.uniform(10, 24) * (bands - bands.mean())
