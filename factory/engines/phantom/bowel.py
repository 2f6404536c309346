"""Colon and small bowel: long tubes on their courses.

The colon is one centreline from caecum to anus, cut into its segments, with haustra; each segment
gets its volume by its calibre. The small bowel winds through what room the other organs leave: a
chain of points of the free space, ordered so that neighbours follow each other.
"""

import math

import numpy as np
from jaxtyping import Bool, Float64
from scipy.ndimage import distance_transform_edt

from factory.engines.phantom.body import Torso
from factory.engines.phantom.canvas import SOFT, Canvas
from factory.engines.phantom.curves import Tube, centreline, tube
from factory.engines.phantom.detour import around
from factory.engines.phantom.duodenum import duodenum_rows
from factory.engines.phantom.population import Build
from factory.engines.phantom.space import Space
from manifests.anatomy import structure

__all__ = ["COLON", "paint_colon", "paint_small_bowel"]

COLON = ("colon_ascending", "colon_transverse", "colon_descending", "colon_sigmoid", "rectum")
_COURSE = {
    "colon_ascending": [(-74, -48, -178, 14), (-84, -46, -160, 25), (-94, -34, -128, 26), (-99, -14, -96, 24),
                        (-99, 2, -68, 23), (-94, -6, -52, 22)],
    "colon_transverse": [(-84, -40, -50, 21), (-70, -74, -62, 21), (-40, -92, -82, 20), (0, -96, -88, 20),
                         (40, -92, -70, 20), (74, -72, -34, 20), (96, -52, -2, 19), (108, -30, 14, 18)],
    "colon_descending": [(115, -8, 4, 17), (115, 14, -34, 16), (109, 22, -76, 15.5), (103, 14, -118, 15.5),
                         (98, -12, -158, 15)],
    "colon_sigmoid": [(84, -40, -188, 15), (56, -56, -206, 15), (22, -46, -190, 15.5), (-8, -30, -182, 15.5),
                      (-26, -4, -198, 15), (-12, 26, -206, 15)],
    "rectum": [(0, 40, -216, 16), (0, 56, -238, 19), (0, 56, -264, 20), (0, 44, -286, 16), (0, 40, -306, 9), (0, 50, -326, 8)],
}  # fmt: skip
_HAUSTRA_MM = {"colon_ascending": 30.0, "colon_transverse": 27.0, "colon_descending": 26.0, "colon_sigmoid": 30.0}
_SOLID = ("liver", "spleen", "stomach", "pancreas", "gallbladder", "kidney_left", "kidney_right", "duodenum")
_KEPT = (*_SOLID, "superior_mesenteric_artery", "superior_mesenteric_vein", "urinary_bladder", "uterus", "prostate", "aorta", "inferior_vena_cava", "iliac_artery_left",
         "iliac_artery_right", "iliac_vena_left", "iliac_vena_right", "hip_left", "hip_right", "sacrum")  # fmt: skip
_STEP_MM = 4.0
_CALIBRE_MM = 13.0
_MESENTERY_FORM = (1.25, 0.9, 1.45)


# how far each trait moves the points of a segment along one axis (0 x, 1 y, 2 z), in mm
_MOVES = (
    ("colon_ascending", "caecum", 2, (-26, -20, -12, -4, 0, 0)),
    ("colon_ascending", "caecum", 0, (14, 8, 2, 0, 0, 0)),
    ("colon_ascending", "hepatic_flexure", 2, (0, 0, 4, 12, 19, 22)),
    ("colon_ascending", "ascending_side", 0, (4, 6, 7, 6, 4, 3)),
    ("colon_transverse", "hepatic_flexure", 2, (20, 12, 6, 2, 0, 0, 0, 0)),
    ("colon_transverse", "transverse_drop", 2, (-2, -14, -28, -36, -28, -16, -5, 0)),
    ("colon_transverse", "transverse_wave", 2, (0, 12, 14, -4, -18, -10, 6, 0)),
    ("colon_transverse", "splenic_flexure", 2, (0, 0, 0, 2, 6, 12, 20, 22)),
    ("colon_descending", "splenic_flexure", 2, (20, 12, 5, 0, 0)),
    ("colon_descending", "descending", 0, (2, 5, 8, 8, 6)),
    ("colon_sigmoid", "sigmoid_high", 2, (4, 16, 32, 34, 20, 4)),
    ("colon_sigmoid", "sigmoid_side", 0, (0, 8, 24, 28, 16, 2)),
    ("colon_sigmoid", "sigmoid_depth", 1, (0, -6, -14, -16, -10, 0)),
)


# how far its left half lies higher and further in front, in mm, where it has risen before the stomach
_RAISED = np.array([(0, 0), (0, 0), (0, 6), (-2, 24), (-10, 52), (-20, 66), (-18, 48), (-8, 22)])


def _colon_rows(space: Space) -> tuple[Float64[np.ndarray, "n 4"], dict[str, int]]:
    """World control points of the whole colon, and how many belong to each segment."""
    build = space.build
    loop, bend = build.lean["colon_loop"], build.lean["sigmoid_loop"]
    rows, counts = [], {}
    for name, course in _COURSE.items():
        if name in build.variants.removed:  # its neighbours are joined
            continue
        part = np.array(course, float)
        weight = np.sin(np.linspace(0.1, np.pi - 0.1, len(part)))[:, None]
        amount = (0.45, 0.3, 0.5) if name in ("colon_transverse", "colon_sigmoid") else (0.3, 0.3, 0.6)
        part[:, :3] += weight * build.moved(name) * amount
        for segment, trait, axis, weights in _MOVES:
            if segment == name:
                part[:, axis] += build.variants.trait(trait) * np.array(weights)
        if name == "colon_transverse":
            part[:, 2] -= weight[:, 0] * (8 * loop + 16 * max(loop, 0.0) + 8)
            if "raised_transverse_colon" in build.variants.present:
                part[:, 1:3] += _RAISED
        if name == "colon_sigmoid":
            part[:, 2] += weight[:, 0] * 14 * bend
            part[:, 0] -= weight[:, 0] * 12 * bend
            part[3:, 0] = np.maximum(part[3:, 0], (-34, -20, -14))  # not into the iliac vessels of the other side
        part = _resected(build, name, part)
        rows.append(part)
        counts[name] = len(part)
    controls = np.vstack(rows)
    controls[:, :3] = space.place(controls[:, :3])
    controls[:, 3] *= space.build.scale
    return controls, counts


def _resected(build: Build, name: str, part: Float64[np.ndarray, "n 4"]) -> Float64[np.ndarray, "m 4"]:
    """What a resection leaves of the course of a segment; the ends meet at its anastomosis."""
    present = build.variants.present
    if name == "colon_transverse" and "right_hemicolectomy" in present:
        return part[3:]
    if name == "colon_descending" and "sigmoid_resection" in present:
        return np.vstack([part, [(72, -22, -186, 14), (34, 8, -202, 14), (8, 30, -212, 14)]])
    return part


def paint_colon(canvas: Canvas, torso: Torso) -> None:
    """Paint the five segments of the colon as one connected, haustrated tube."""
    if canvas.solving:
        _lay_colon(canvas, torso)
    organs = (*_SOLID, "uterus", "urinary_bladder", "iliopsoas_left", "iliopsoas_right")
    for name in COLON:
        if name not in canvas.routes:
            continue
        route = canvas.routes[name]
        canvas.draw(name, [route], (*SOFT, "uterus") if name in ("colon_sigmoid", "rectum") else ("visceral_fat",))
        # where neighbours leave no room it is narrow, and goes through
        narrow = Tube(route.points_mm, np.minimum(0.4 * route.radii_mm, 7.0))
        canvas.draw(name, [narrow], (*SOFT, *organs))


def _lay_colon(canvas: Canvas, torso: Torso) -> None:
    """Lead the colon around what is painted; its segments share their ends."""
    build = canvas.space.build
    controls, counts = _colon_rows(canvas.space)
    owner = np.repeat(np.arange(len(counts)), list(counts.values())).astype(float)
    line = centreline(np.column_stack([controls, owner]), _STEP_MM)
    segment = np.clip(np.rint(line[:, 4]), 0, len(counts) - 1).astype(int)
    line[:, :3] = torso.inward(line[:, :3], np.minimum(line[:, 3], 24.0) + 1.0)
    clear = np.where(
        line[:, 4] < len(counts) - 1.6, np.minimum(0.6 * line[:, 3], 10.0), -99.0
    )  # the rectum has its place
    line[:, :3] = around(canvas, line[:, :3], clear, _KEPT)
    line[:, :3] = torso.inward(line[:, :3], np.minimum(0.8 * line[:, 3], 18.0))
    line[:, :3] = torso.under(line[:, :3], np.minimum(0.5 * line[:, 3], 9.0) + 2.0)  # no flexure enters a lung
    for index, name in enumerate(counts):
        where = np.flatnonzero(segment == index)
        where = np.arange(where[0], min(where[-1] + 2, len(line)))
        route = Tube(line[where, :3], line[where, 3])
        route = route.of_volume(build.volumes_ml[name] * (1.1 if name == "rectum" else 0.95))
        along = np.arange(len(where)) * _STEP_MM
        pitch = _HAUSTRA_MM.get(name)
        deep = 0.13 * math.exp(0.35 * build.variants.trait("haustra"))
        waves = 1.0 if pitch is None else 1 + min(deep, 0.26) * np.cos(2 * np.pi * along / pitch + index)
        slow = 1 + 0.16 * np.sin(2 * np.pi * along / 170 + 3 * build.lean["gas"] + index)
        canvas.routes[name] = Tube(route.points_mm, route.radii_mm * waves * slow)


def paint_small_bowel(canvas: Canvas) -> None:
    """Paint the small bowel from the duodenal flexure to the caecum."""
    if canvas.solving:
        canvas.routes["small_bowel"] = _wander(canvas)
    canvas.draw("small_bowel", [canvas.routes["small_bowel"]], ("visceral_fat",))


def _wander(canvas: Canvas) -> Tube:
    """Chain points of the free space from the upper left to the lower right."""
    space, build = canvas.space, canvas.space.build
    knots = _free_points(canvas)
    start = space.place(duodenum_rows(build)[-1:, :3] + (6, -8, -2))[0]
    stop = _colon_rows(space)[0][1, :3] + np.array((18.0, -6, -12)) * build.scale
    order = _chain(knots, start)
    jitter = build.jitter[: len(order)]
    radii = build.scale * _CALIBRE_MM * np.clip(1 + 0.12 * jitter[:, 3], 0.7, 1.3)
    path = np.vstack([start, knots[order] + 3.0 * jitter[:, :3].clip(-1.5, 1.5), stop])
    rows = np.column_stack([path, np.concatenate([[11.0], radii, [10.0]])])
    route = tube(rows, _STEP_MM)
    # coils overlap each other and are clipped by neighbours, so the tube is longer than its share of room
    return route.of_volume(build.volumes_ml["small_bowel"] * 1.12)


def _free_points(canvas: Canvas) -> Float64[np.ndarray, "n 3"]:
    """Points of a jittered lattice that lie inside the fat of the abdomen, away from everything."""
    space, build = canvas.space, canvas.space.build
    free = canvas.labels == structure("visceral_fat").id
    room = distance_transform_edt(free, canvas.grid.spacing_mm_zyx)
    pitch = 31.0 * build.scale
    low, high = space.place(np.array([(-105.0, -112, -238), (105.0, 12, -22)]))
    axes = [np.arange(a, b, p) for a, b, p in zip(low, high, (pitch, pitch * 0.92, pitch * 0.92), strict=True)]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    order = np.resize(np.arange(len(build.jitter)), len(points))
    points = points + build.jitter[order, :3].clip(-2, 2) * 4.5
    index = np.rint((points - canvas.grid.origin_mm_xyz)[:, ::-1] / canvas.grid.spacing_mm_zyx).astype(int)
    index = np.clip(index, 0, np.array(canvas.grid.shape_zyx) - 1)
    points = points[(room[tuple(index.T)] > 9.0) & ~_in_mesentery(space, points)]
    length = build.volumes_ml["small_bowel"] * 1000 / (np.pi * (_CALIBRE_MM * build.scale) ** 2)
    centre = space.place(np.array([(14.0, -60, -108)]))[0]
    near = np.argsort(np.linalg.norm((points - centre) * (0.8, 0.7, 0.62), axis=1), kind="stable")
    return np.asarray(points[np.sort(near[: max(12, int(length / (1.12 * pitch)))])], np.float64)


def _in_mesentery(space: Space, points: Float64[np.ndarray, "n 3"]) -> Bool[np.ndarray, " n"]:
    """Which points lie in the fat around the mesenteric root, where no coils are; the heavier a body, the more of it."""
    build = space.build
    radius = 24.0 + 9.0 * build.variants.trait("mesentery") + 1.4 * (build.person.bmi - 26.0)
    root = space.place(np.array([(2.0, -50, -110)]))
    apart = np.linalg.norm((points - root) / _MESENTERY_FORM, axis=1)
    return np.asarray(apart < build.scale * float(np.clip(radius, 0.0, 58.0)))


def _chain(points: Float64[np.ndarray, "n 3"], start: Float64[np.ndarray, " 3"]) -> list[int]:
    """Visit all points, always the nearest next, with a pull from top to bottom."""
    left = np.ones(len(points), bool)
    order, at = [], start
    while left.any():
        step = points - at
        cost = np.linalg.norm(step * (1.0, 1.0, 1.15), axis=1) - 0.25 * (points[:, 2] - at[2])
        cost[~left] = np.inf
        nearest = int(cost.argmin())
        order.append(nearest)
        left[nearest] = False
        at = points[nearest]
    return order
