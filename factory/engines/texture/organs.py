"""Solid organs with inner structure: kidneys, heart, spleen, pancreas; and the caval vein, whose blood mixes."""

import numpy as np
from jaxtyping import Float32

from factory.engines.texture.fields import depth_mm, smooth_field, smoothstep
from factory.engines.texture.scene import Region, Scene
from manifests.anatomy import structure

__all__ = ["paint_cava", "paint_heart", "paint_kidneys", "paint_pancreas", "paint_spleen"]

_KIDNEY_S = (18.0, 35.0, 75.0, 120.0, 240.0)
_CORTEX_HU = (35.0, 55.0, 10.0, 2.0, 4.0)
_MEDULLA_HU = (-40.0, -65.0, -18.0, 0.0, 2.0)
"""Cortex and medulla relative to the whole kidney by seconds after injection (corticomedullary to excretory)."""

_PELVIS_HU = 8.0
"""Urine in the renal pelvis before any contrast comes there."""

_HILUM_MM = (9.0, 6.0)
"""A gap in a kidney of less than twice the first belongs to its sinus, down to the second below its lips."""

_LOBULE_MM, _LOBE_MM = 4.5, 18.0
_USUAL_FAT = 0.04
"""Fat between lobules that the table's mean includes; chosen."""

_BANDS_END_S = 60.0
_EXCRETION_S = 140.0

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
    """Separate cortex and pyramids, the mean of each kidney stays; fill the pelvis in its sinus."""
    for side in ("left", "right"):
        region = scene.region(f"kidney_{side}", margin_mm=15.0)
        if region is not None:
            _paint_kidney(scene, region, side)


def _paint_kidney(scene: Scene, region: Region, side: str) -> None:
    rng, spacing = scene.rng(f"kidney/{side}"), scene.grid.spacing_mm_zyx
    depth = depth_mm(region.mask, spacing, 13.0)
    pyramids = smooth_field(region.mask.shape, spacing, 7.0, rng)
    cortex_hu, medulla_hu = _kidney_hu(scene)
    medulla = smoothstep(depth + 2.2 * pyramids, 3.5, 7.0)
    pattern = cortex_hu + medulla * (medulla_hu - cortex_hu)
    values = scene.hu[region.box] + pattern
    mean = scene.base[structure(f"kidney_{side}").id]
    values += mean - values[region.mask].mean()
    hu = scene.hu[region.box]
    hu[region.mask] = values[region.mask]
    _paint_pelvis(scene, region, pyramids, float(rng.uniform(250, 900)))


def _paint_pelvis(scene: Scene, region: Region, where: Float32[np.ndarray, "z y x"], excreted_hu: float) -> None:
    """Lay calyces and pelvis into the fat of the sinus, which no mask holds; late they fill with contrast."""
    reach, lips = _HILUM_MM
    spacing = scene.grid.spacing_mm_zyx
    near = depth_mm(region.mask, spacing, reach) > -lips
    fat = scene.anatomy[region.box] == structure("visceral_fat").id
    sinus = fat & (depth_mm(near, spacing, reach) > lips)
    excreted = float(np.clip((scene.look.after_s - _EXCRETION_S) / 60, 0, 1))
    urine = np.float32(_PELVIS_HU + excreted * excreted_hu)
    hu = scene.hu[region.box]
    hu[sinus] += (smoothstep(where, -0.1, 0.6) * (urine - hu))[sinus]


def _kidney_hu(scene: Scene) -> tuple[float, float]:
    """Cortex and medulla relative to the whole kidney; equal without contrast."""
    if scene.look.after_s <= 0:
        return 0.0, 0.0
    when = np.log(scene.look.after_s)
    cortex, medulla = (float(np.interp(when, np.log(_KIDNEY_S), table)) for table in (_CORTEX_HU, _MEDULLA_HU))
    return scene.look.dose * cortex, scene.look.dose * medulla


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
    region, after_s = scene.region("spleen"), scene.look.after_s
    strength = float(np.clip((_BANDS_END_S - after_s) / 25, 0, 1)) if after_s > 0 else 0.0
    if region is None or strength <= 0:
        return
    rng, spacing = scene.rng("spleen"), scene.grid.spacing_mm_zyx
    field = smooth_field(region.mask.shape, spacing, 20.0, rng)
    bands = np.sin(2.6 * np.pi * field + rng.uniform(0, 2 * np.pi)).astype(np.float32)[region.mask]
    scene.hu[region.box][region.mask] += strength * rng.uniform(10, 30) * (bands - bands.mean())


def paint_pancreas(scene: Scene) -> None:
    """Part the pancreas into lobules with fat between them, most near its surface and more in some lobes than in others."""
    region = scene.region("pancreas", margin_mm=6.0)
    if region is None:
        return
    rng, spacing = scene.rng("pancreas"), scene.grid.spacing_mm_zyx
    lobules, lobes = (smooth_field(region.mask.shape, spacing, mm, rng)[region.mask] for mm in (_LOBULE_MM, _LOBE_MM))
    depth = depth_mm(region.mask, spacing, 6.0)[region.mask]
    clefts = lobules + np.float32(0.7) * lobes - np.float32(0.12) * depth
    start = float(np.quantile(clefts, 1 - scene.look.pancreas_fat))
    fat = smoothstep(clefts, start - 0.5, start + 0.5)
    gland = scene.base[structure("pancreas").id]
    lost = gland - scene.base[structure("visceral_fat").id]
    scene.hu[region.box][region.mask] -= lost * (fat - np.float32(_USUAL_FAT))


def paint_cava(scene: Scene) -> None:
    """Let unenhanced blood of the legs meet that of the kidneys in the inferior caval vein.

    Below the kidneys' middle the vein holds iliac blood; above it the mean of the table. Swirls
    of both run for some centimetres upwards.
    """
    region = scene.region("inferior_vena_cava")
    boxes = [box for side in ("left", "right") if (box := scene.boxes[structure(f"kidney_{side}").id - 1])]
    if region is None or not boxes or scene.look.after_s <= 0:
        return
    rng, spacing = scene.rng("cava"), scene.grid.spacing_mm_zyx
    middle = np.mean([(box[0].start + box[0].stop) / 2 for box in boxes]) - region.box[0].start
    above = ((np.arange(region.mask.shape[0]) - middle) * spacing[0]).astype(np.float32)[:, None, None]
    swirl = smooth_field(region.mask.shape, spacing, 8.0, rng)
    mixed = smoothstep(above + np.float32(rng.uniform(4, 16)) * swirl, -5.0, 40.0)[region.mask]
    cold = scene.base[structure("iliac_vena_left").id] - scene.base[structure("inferior_vena_cava").id]
    # the table's mean is of the whole vein
    scene.hu[region.box][region.mask] += (1 - mixed - 0.6 * float(1 - mixed.mean())) * cold
