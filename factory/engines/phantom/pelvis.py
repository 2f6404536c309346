"""The pelvis: sacrum, hip bones, femora, gluteal muscles, bladder, prostate and uterus."""

import math

import numpy as np
from jaxtyping import Float32, Float64

from factory.engines.phantom.bending import bent
from factory.engines.phantom.canvas import SOFT, Box, Canvas
from factory.engines.phantom.curves import Tube, mirrored
from factory.engines.phantom.shapes import Number, Profile, ellipsoid, oval, smooth_max, smooth_min
from factory.engines.phantom.space import Space

__all__ = ["LINES", "paint_gluteals", "paint_pelvic_bones", "paint_pelvic_organs", "sheet_tubes", "wing_sheet"]

Volume = Float32[np.ndarray, "z y x"]

_SACRUM_Y = Profile({-285: 74, -272: 82, -256: 84, -236: 79, -212: 68, -188: 53, -172: 40, -150: 27})
_SACRUM_WIDTH = Profile({-285: 4, -272: 10, -258: 20, -236: 30, -212: 40, -190: 50, -172: 55, -158: 46, -148: 34})
_SACRUM_DEPTH = Profile({-285: 4, -272: 5, -256: 8, -236: 11, -212: 15, -188: 19, -165: 22, -148: 18})
# crest of the iliac wing from front to back, and the line where the wing meets the pelvic brim
_CREST = [
    (119, -50, -172),
    (130, -30, -146),
    (128, -4, -126),
    (115, 28, -116),
    (94, 56, -122),
    (66, 76, -142),
    (50, 84, -162),
]
_BRIM = [
    (96, -42, -214),
    (97, -30, -216),
    (92, -4, -214),
    (80, 20, -208),
    (68, 38, -200),
    (58, 52, -192),
    (52, 66, -186),
]
LINES = 30
_HEAD = (92.0, 4.0, -262.0)


def wing_sheet(sign: Number, out_mm: Number, depth: tuple[Number, Number]) -> Float64[np.ndarray, "u v 3"]:
    """Points of a surface beside the iliac wing.

    Args:
        sign: 1 for the left side, -1 for the right.
        out_mm: distance from the middle of the bone, positive outwards.
        depth: where to start and end between crest (0) and brim (1).
    """
    u = np.linspace(0, 1, LINES)
    knots = np.linspace(0, 1, len(_CREST))
    crest = np.stack([np.interp(u, knots, c) for c in np.array(_CREST, float).T], axis=1)
    brim = np.stack([np.interp(u, knots, c) for c in np.array(_BRIM, float).T], axis=1)
    v = np.linspace(*depth, 9)[None, :, None]
    sheet = crest[:, None] * (1 - v) + brim[:, None] * v
    hollow = 9.0 * np.sin(np.pi * np.clip(v, 0, 1))
    normal = np.array([0.86, 0.45, -0.22])
    sheet = sheet + normal * (out_mm - 0.6 * hollow + 4)
    sheet[..., 0] *= sign
    return np.asarray(sheet)


def sheet_tubes(space: Space, sheet: Float64[np.ndarray, "u v 3"], radii: Float64[np.ndarray, "u v"]) -> list[Tube]:
    """Carry a sheet of lines with a radius at each point into the world."""
    return space.tubes([np.column_stack([line, r]) for line, r in zip(sheet, radii, strict=True)], step_mm=12.0)


def paint_pelvic_bones(canvas: Canvas) -> None:
    """Paint femora, hip bones, sacrum and S1."""
    space = canvas.space
    for side, sign in (("left", 1.0), ("right", -1.0)):
        canvas.draw(f"femur_{side}", _femur(space, sign))
        canvas.draw(f"hip_{side}", _hip(space, sign))

    def sacrum(box: Box) -> Volume:
        x, y, z = box.xyz
        depth = _SACRUM_DEPTH(z)
        bow = 0.004 * np.clip(np.abs(x), 0, 60) ** 2
        body = oval(x, y - _SACRUM_Y(z) - bow, (_SACRUM_WIDTH(z), depth), 2.3) * np.float32(0.8)
        return smooth_max(body, np.asarray(np.abs(z + 217) - 68, np.float32), 4.0)

    def first(box: Box) -> Volume:
        x, y, z = box.xyz
        tilt = 0.5
        u, v = (z + 162) + tilt * (y - 30), (y - 30) - tilt * (z + 162)
        return smooth_max(oval(x, v, (27.0, 18.0), 2.4), np.asarray(np.abs(u) - 13, np.float32), 3.0)

    canvas.fill(
        "sacrum",
        canvas.box((-75, -5, -292), (75, 110, -138)),
        sacrum,
        (*SOFT, "intervertebral_discs", "hip_left", "hip_right"),
    )
    canvas.fill(
        "vertebrae_S1", canvas.box((-40, 0, -186), (40, 70, -136)), first, (*SOFT, "sacrum", "intervertebral_discs")
    )


def _femur(space: Space, sign: Number) -> list[Tube]:
    x, y, z = _HEAD
    neck = [(x, y, z, 15), (x + 22, y + 6, z - 8, 14), (x + 42, y + 12, z - 22, 17)]
    trochanter = [
        (x + 40, y + 16, z - 10, 12),
        (x + 44, y + 12, z - 30, 17),
        (x + 36, y + 12, z - 70, 15),
        (x + 28, y + 8, z - 170, 14),
    ]
    head = [(x - 0.5, y, z, 23.5), (x + 0.5, y, z, 23.5)]
    return space.tubes([mirrored(rows, sign) for rows in (head, neck, trochanter)])


def _hip(space: Space, sign: Number) -> list[Tube]:
    """Iliac wing, acetabulum as a cup of rods around the head, pubic and ischial rami."""
    sheet = wing_sheet(sign, 0.0, (0.0, 1.0))
    v = np.linspace(0, 1, sheet.shape[1])
    profile = np.interp(v, [0, 0.12, 0.35, 0.7, 1.0], [7.5, 6.5, 4.6, 6.5, 12.0])
    radii = np.repeat(profile[None], sheet.shape[0], axis=0)
    tubes = sheet_tubes(space, sheet, radii)
    x, y, z = _HEAD
    rings: list[list[tuple[Number, ...]]] = []
    for turn in np.radians(np.arange(-60, 181, 20.0)):
        ring = []
        for lift in np.radians([-55, -15, 25, 60, 85]):
            inward = np.array([-np.cos(turn) * np.cos(lift), np.sin(turn) * np.cos(lift), np.sin(lift)])
            ring.append((*(np.array([x, y, z]) + 30 * inward), 5.5))
        rings.append(ring)
    rods: list[list[tuple[Number, ...]]] = [
        [(x - 20, y - 18, z + 10, 9), (45, -38, -266, 7.5), (20, -48, -278, 7.5), (7, -48, -284, 9)],
        [(7, -47, -284, 9), (12, -40, -297, 6.5), (32, -10, -312, 6), (52, 20, -318, 9)],
        [(x - 18, y + 20, z - 6, 13), (72, 30, -290, 13), (58, 28, -314, 14)],
        [(x - 16, y - 8, z + 34, 14), (x - 24, y + 10, z + 18, 12)],
        [(x - 24, y + 26, z + 30, 9), (x - 22, y + 28, z + 4, 10)],
        [(x + 2, y - 30, z + 36, 9), (x - 4, y - 20, z + 42, 11)],
        [(x - 8, y - 14, z + 38, 15), (x - 14, y + 18, z + 36, 14), (x - 26, y + 40, z + 48, 11)],
        [(x - 30, y - 14, z + 8, 9), (x - 30, y + 12, z + 6, 9), (x - 24, y + 24, z - 12, 10)],
    ]
    return tubes + space.tubes([mirrored(rows, sign) for rows in (*rings, *rods)])


def paint_gluteals(canvas: Canvas) -> None:
    """Paint gluteus minimus, medius and maximus."""
    space, bulk = canvas.space, canvas.space.build.bulk
    for side, sign in (("left", 1.0), ("right", -1.0)):
        u = np.sin(np.linspace(0.1, 0.92, LINES) * np.pi) ** 0.5
        deep = np.repeat((u * 7.0)[:, None], 9, axis=1)
        thick = np.repeat((u * 15.0)[:, None], 9, axis=1) * np.linspace(0.7, 1.1, 9)
        minimus = sheet_tubes(space, wing_sheet(sign, 12.0, (0.45, 1.35)), deep * bulk)
        medius = sheet_tubes(space, wing_sheet(sign, 24.0, (0.12, 1.5)), thick * bulk)
        canvas.draw(f"gluteus_medius_{side}", medius, ("skeletal_muscle",))
        canvas.draw(f"gluteus_minimus_{side}", minimus, ("skeletal_muscle", f"gluteus_medius_{side}"))
        rows = []
        for k in np.linspace(0, 1, 7):
            start = np.array([42 + 28 * (1 - k), 92 - 6 * k, -165 - 105 * k])
            end = np.array([138, 40 - 10 * k, -262 - 75 * k])
            middle = (start + end) / 2 + np.array([0, 15, 0])
            rows.append([(*start, 13), (*middle, 20), (*end, 13)])
        maximus = space.tubes([mirrored(r, sign) for r in rows], bulk**0.5)
        canvas.draw(f"gluteus_maximus_{side}", maximus, ("skeletal_muscle", "subcutaneous_fat"))


def paint_pelvic_organs(canvas: Canvas) -> None:
    """Paint bladder, then prostate or uterus by sex."""
    build = canvas.space.build
    t, wave = build.variants.trait, build.variants.wave
    dx, dy, dz = build.moved("urinary_bladder") + np.array([4 * t("bladder_side"), 0, 0])
    full = float(np.clip(build.volumes_ml["urinary_bladder"] / 220, 0.1, 4.0)) ** 0.3
    tall = full**0.7 * (1 + 0.12 * build.lean["bladder_form"]) * math.exp(0.14 * t("bladder_tall"))
    wide = full * math.exp(0.12 * t("bladder_wide"))
    low = -258.0 if not build.female else -262.0

    def bladder(box: Box) -> Volume:
        xyz = bent(box.xyz, (0, -25, low), wave("urinary_bladder"), 4, 110)
        top = ellipsoid(xyz, (dx, -32 + dy * 0.5, low + dz * 0.5 + 20 * (full - 1)), (38 * wide, 30 * full, 24 * tall))
        base = ellipsoid(xyz, (dx / 2, -20, low - 8), (24, 22, 16))
        return smooth_min(top, base, 12.0) + 0.8 * box.at(canvas.space.grain)

    def prostate(box: Box) -> Volume:
        xyz = bent(box.xyz, (0, -4, -293), wave("prostate"), 2, 45)
        tall = math.exp(0.12 * t("prostate_tall"))
        return ellipsoid(xyz, (0, -4, -293), (22, 16 / tall**0.5, 17 * tall)) + 0.6 * box.at(canvas.space.grain)

    def uterus(box: Box) -> Volume:
        tip = build.lean["uterus_turn"] * 8 + 10 * t("uterus_side")
        back = max(t("uterus_tip") - 0.8, 0.0) * 40  # the fundus lies over the bladder, or tips backwards
        xyz = bent(box.xyz, (0, 10, -245), wave("uterus"), 4, 80)
        centre = (tip, -8 + 6 * t("uterus_wide") + min(back, 40), -228 - 0.4 * min(back, 40))
        corpus = ellipsoid(xyz, centre, (27 * math.exp(0.12 * t("uterus_wide")), 26, 22))
        cervix = ellipsoid(xyz, (0, 22, -254), (14, 14, 18))
        return smooth_min(corpus, cervix, 18.0) + 0.8 * box.at(canvas.space.grain)

    pelvic = ("visceral_fat", "skeletal_muscle")
    if build.female:
        canvas.fill("uterus", canvas.box((-75, -70, -295), (75, 75, -165)), uterus, pelvic)
    else:
        canvas.fill("prostate", canvas.box((-50, -45, -335), (50, 45, -250)), prostate, pelvic)
    canvas.fill("urinary_bladder", canvas.box((-95, -115, -310), (95, 45, -130)), bladder, pelvic)
