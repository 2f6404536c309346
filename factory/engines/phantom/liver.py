"""Liver and gallbladder: what fills the right dome above a slanting visceral surface."""

import math

import numpy as np
from jaxtyping import Bool, Float32

from factory.engines.phantom.ascites import around_organs_mm
from factory.engines.phantom.bending import bent
from factory.engines.phantom.body import Torso
from factory.engines.phantom.canvas import SOFT, Box, Canvas, Mask
from factory.engines.phantom.curves import Tube
from factory.engines.phantom.shapes import capsule, ellipsoid, smooth_max, smooth_min
from factory.engines.phantom.variants import Variants
from manifests.anatomy import structure

__all__ = ["paint_gallbladder", "paint_liver", "paint_liver_cysts"]

Volume = Float32[np.ndarray, "z y x"]
XYZ = tuple[Volume, Volume, Volume]


def paint_liver(canvas: Canvas, torso: Torso) -> None:
    """Paint the liver: its volume and form decide how far down and to the left it reaches."""
    build = canvas.space.build
    variants, low, gap = build.variants, build.lean["liver_low"] * 10, 0.2 + around_organs_mm(build)

    def shape(box: Box) -> Volume:
        x, y, z = bent(box.xyz, (-60, -20, 20), variants.wave("liver"), 8 * variants.widen, 160)
        return _lobes((x, y, z), variants, low) + 2.0 * box.at(canvas.space.grain)

    def inside(box: Box) -> Bool[np.ndarray, "z y x"]:
        return (box.at(torso.above) < -gap) & (box.at(torso.cavity) < -gap)

    bottom = -185 if "riedel_lobe" in variants.present else -125
    canvas.fill("liver", canvas.box((-150, -135, bottom), (128, 88, 125)), shape, SOFT, inside)


def _lobes(xyz: XYZ, variants: Variants, low: float) -> Volume:
    """Distance to the organ: visceral surface and left edge, less its fissures, with its processes."""
    x, y, z = xyz
    t = variants.trait
    left = 22 * t("liver_left") + 12 * ("right_hepatectomy" in variants.present)
    base = -82 - low - 9 * t("liver_low") + (0.74 + 0.13 * t("liver_tilt")) * (np.minimum(x, 0) + 112)
    base = base + (0.22 + 0.11 * t("liver_front")) * (y + 80) + (0.25 + 0.1 * t("liver_tilt")) * np.maximum(x, 0)
    base = base + 0.003 * math.exp(0.5 * t("liver_thin")) * np.maximum(x - 20, 0) ** 2
    under = (base - z) * np.float32(0.8)
    edge = 4 - 0.92 * (y + 22) + left * np.clip((-y - 10) / 60, 0, 1)
    medial = (x - np.minimum(edge, 65 + left)) * np.float32(0.74)
    kidney = ellipsoid(xyz, (-66, 34, -28), (42, 40, 66))
    column = 30 - np.hypot(x, np.minimum(y - 18, 0)).astype(np.float32)
    organ = smooth_max(smooth_max(under, medial, 22.0), -kidney, 12.0)
    organ = smooth_max(organ, -ellipsoid(xyz, (-24, -44, 10), (22, 12, 14)), 6.0)  # the porta
    size = 1 + 0.16 * t("caudate")
    organ = smooth_min(organ, ellipsoid(xyz, (-15, -26, 42), (13 * size, 13 * size, 25 * size)), 6.0)
    if "right_hepatectomy" in variants.present:  # what is left of it fills some of the room
        organ = smooth_max(organ, (-46 - x - 0.3 * (y + 20)) * np.float32(0.95), 10.0)
    if "left_lateral_hepatectomy" in variants.present:
        organ = smooth_max(organ, x - 4 - 0.12 * (y + 80), 8.0)
    if "riedel_lobe" in variants.present:
        organ = smooth_min(organ, capsule(xyz, ((-100, -30, -40), (-100, -40, -128)), 23.0), 20.0)
    return smooth_max(smooth_max(organ, _fissure(xyz, base, t("liver_fissure")), 5.0), column, 8.0)


def _fissure(xyz: XYZ, base: Volume, trait: float) -> Volume:
    """Distance out of the cleft of the round ligament: left of the gallbladder, open below and in front."""
    x, y, z = xyz
    width = 3.0 + 0.6 * trait
    cleft = np.abs(x - 6 * trait - 4 - 0.12 * (y + 80)) - width
    roof = (z - base - 26 - 8 * trait) * np.float32(0.8)
    return np.asarray(-np.maximum(np.maximum(cleft, roof), y + 46), np.float32)


def paint_gallbladder(canvas: Canvas, inside: Mask) -> None:
    """Paint a pear in its fossa under the liver, fundus to the front."""
    build = canvas.space.build
    t = build.variants.trait
    dx, dy, dz = build.moved("gallbladder") + np.array([11 * t("gall_site"), -6 * t("gall_front"), 8 * t("gall_low")])
    low = build.lean["liver_low"] * 6 + 6 * t("liver_low")
    size = float(np.clip(build.volumes_ml["gallbladder"] / 27, 0.15, 6) ** (1 / 3))
    fundus, neck = (-75 + dx, -84 + dy, -34 - low + dz), (-48, -50, 0)
    middle = (-64 + dx / 2, -68 + dy / 2, -16 - low / 3 + dz / 3)

    def shape(box: Box) -> Volume:
        xyz = bent(box.xyz, middle, build.variants.wave("gallbladder"), 4, 80)
        body = capsule(xyz, (fundus, middle), 13.0 * size)
        return smooth_min(body, capsule(xyz, (middle, neck), 7.0 * size), 10.0)

    box = canvas.box((-115, -130, -115), (-5, -20, 35))
    canvas.fill("gallbladder", box, shape, ("visceral_fat", "liver"), inside)


def paint_liver_cysts(canvas: Canvas) -> None:
    """Paint simple cysts: balls of fluid anywhere in the liver, cut by its surface."""
    for number, (place, choice, radius) in enumerate(canvas.space.build.variants.liver_cysts):
        name = f"liver_cyst_{number}"
        if canvas.solving:
            spots = np.argwhere(canvas.labels == structure("liver").id)
            if not len(spots):
                return
            # every part of the liver alike: slices from below to above, then anywhere in the slice
            level = spots[min(int(place * len(spots)), len(spots) - 1), 0]
            spots = spots[spots[:, 0] == level]
            z, y, x = spots[min(int(choice * len(spots)), len(spots) - 1)]
            centre = np.array(canvas.grid.origin_mm_xyz) + np.array((x, y, z)) * canvas.grid.spacing_mm_zyx[::-1]
            canvas.routes[name] = Tube(centre + np.array([(0, 0, 0), (0, 0, 0.5)]), np.array([radius, radius]))
        if name in canvas.routes:
            canvas.draw("liver_cyst", [canvas.routes[name]], ("liver",))
