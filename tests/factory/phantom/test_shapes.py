"""Shapes and curves against closed forms."""

from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factory.engines.phantom.canvas import Box, Canvas
from factory.engines.phantom.curves import Tube, centreline, polyline, tube
from factory.engines.phantom.interpolation import LATTICE, interpolate
from factory.engines.phantom.shapes import ellipsoid, smooth_max, smooth_min
from manifests.geometry import Grid

AXES = np.arange(-40, 41, 2, dtype=np.float32)
Z, Y, X = np.meshgrid(AXES, AXES, AXES, indexing="ij")


def test_a_sphere_has_its_exact_distance():
    distance = ellipsoid((X, Y, Z), (4, -6, 2), (20, 20, 20))
    exact = np.sqrt((X - 4) ** 2 + (Y + 6) ** 2 + (Z - 2) ** 2) - 20
    np.testing.assert_allclose(distance, exact, atol=2e-3)


def test_an_ellipsoid_has_its_volume():
    inside = (ellipsoid((X, Y, Z), (0, 0, 0), (30, 20, 12)) < 0).sum() * 8
    assert inside == pytest.approx(4 / 3 * np.pi * 30 * 20 * 12, rel=0.02)


def test_blends_stay_beyond_the_sharp_ones_and_meet_them_far_away():
    a, b = X.astype(np.float32), Y.astype(np.float32)
    assert (smooth_min(a, b, 10.0) <= np.minimum(a, b)).all()
    assert (smooth_max(a, b, 10.0) >= np.maximum(a, b)).all()
    far = np.abs(a - b) >= 10
    np.testing.assert_array_equal(smooth_min(a, b, 10.0)[far], np.minimum(a, b)[far])


def test_a_centreline_passes_its_points_with_even_steps():
    controls = np.array([(0, 0, 0), (30, 10, 0), (40, 40, 20), (10, 60, 40)], float)
    line = centreline(controls, 2.0)
    steps = np.linalg.norm(np.diff(line, axis=0), axis=1)
    assert steps.max() < 2.05
    assert steps.min() > 0.9 * steps.max()
    assert max(np.linalg.norm(line - point, axis=1).min() for point in controls) < 1.1


@settings(max_examples=25, deadline=None)
@given(st.floats(2.0, 12.0), st.floats(-15, 15), st.floats(-15, 15))
def test_a_painted_rod_is_the_set_of_points_near_its_axis(radius, dy, dx):
    grid = Grid((20, 22, 24), (3.0, 2.5, 2.0), (-24.0, -27.5, -30.0))
    canvas = Canvas(_blank(), grid, {}, {})
    canvas.labels[:] = 120
    start, end = np.array([-4.0, 0, -10]), np.array([-4.0 + dx, dy, 12])
    canvas.draw("aorta", [Tube(np.array([start, end]), np.array([radius, radius]))])
    z, y, x = np.meshgrid(*grid.axes_mm(), indexing="ij")
    rel = np.stack([x, y, z], axis=-1) - start
    t = np.clip(rel @ (end - start) / ((end - start) @ (end - start)), 0, 1)
    distance = np.linalg.norm(rel - t[..., None] * (end - start), axis=-1)
    painted = canvas.labels == 52
    assert painted[distance < radius - 0.01].all()
    assert not painted[distance > max(radius, 2.3) + 0.01].any()


def test_a_hair_is_connected_on_a_coarse_grid():
    from scipy import ndimage

    grid = Grid((20, 20, 20), (6.0, 6.0, 6.0), (-57.0, -57.0, -57.0))
    canvas = Canvas(_blank(), grid, {}, {})
    canvas.labels[:] = 120
    canvas.draw("aorta", [tube([(-50, -40, -45, 0.5), (10, 30, -20, 0.5), (40, -20, 48, 0.5)])])
    assert ndimage.label(canvas.labels == 52, np.ones((3, 3, 3)))[1] == 1


def test_interpolation_keeps_linear_fields_exactly():
    z, y, x = (axis.astype(np.float32) for axis in LATTICE.axes_mm())
    field = 0.5 * z[:, None, None] - 2 * y[None, :, None] + 0.25 * x[None, None, :] + 3
    at = np.array([-200.3, 0.0, 111.1]), np.array([-100.0, 7.7]), np.array([-180.0, 3.3, 150.2, 200.0])
    exact = 0.5 * at[0][:, None, None] - 2 * at[1][None, :, None] + 0.25 * at[2][None, None, :] + 3
    np.testing.assert_allclose(interpolate(field.astype(np.float32), at), exact, atol=1e-3)


@cache
def _blank():
    from factory.engines.phantom.population import draw_build
    from factory.engines.phantom.space import Space
    from prompts.schema import Patient, Prompt

    prompt = Prompt(patient=Patient(age_years=50, sex="male", height_cm=175, weight_kg=75))
    return Space(draw_build(prompt, np.random.default_rng(0)))


@given(st.floats(-30, 30), st.floats(3, 40), st.tuples(*[st.floats(-25, 25)] * 3))
@settings(deadline=None, max_examples=25)
def test_the_part_below_a_level_holds_all_that_is_below_it(level, radius, centre):
    grid = Grid((40, 44, 50), (1.5, 1.5, 1.5), (-37.0, -33.0, -30.0))
    box = Box(_blank(), np.zeros(grid.shape_zyx, np.uint8), grid.axes_mm())
    box.labels[...] = np.arange(box.labels.size).reshape(box.labels.shape) % 251

    def ball(at: Box):
        z, y, x = (axis.astype(np.float32) for axis in at.axes_mm)
        return ellipsoid(tuple(np.meshgrid(z, y, x, indexing="ij"))[::-1], centre, (radius, radius, radius))

    whole = box.evaluate(ball)
    found = box.below(ball, level)
    if found is None:
        assert not (whole < level).any()
        return
    part, values = found
    assert (values < level).sum() == (whole < level).sum()
    np.testing.assert_array_equal(np.sort(values[values < level]), np.sort(whole[whole < level]))
    np.testing.assert_array_equal(np.sort(part.labels[values < level]), np.sort(box.labels[whole < level]))


@given(st.lists(st.tuples(*[st.floats(-60, 60)] * 3, st.floats(0.2, 14)), min_size=2, max_size=6))
@settings(deadline=None, max_examples=25)
def test_a_tube_is_its_round_cones_and_its_line_also_at_the_edge_of_the_grid(rows):
    grid = Grid((18, 16, 20), (3.0, 4.0, 2.5), (-24.0, -30.0, -27.0))
    canvas = Canvas(_blank(), grid, {}, {})
    canvas.labels[:] = 120
    route = polyline(rows)
    canvas.draw("aorta", [route])
    z, y, x = np.meshgrid(*grid.axes_mm(), indexing="ij")
    voxels = np.stack([x, y, z], axis=-1)
    margin = np.full(grid.shape_zyx, np.inf)
    for a, b, ra, rb in zip(route.points_mm, route.points_mm[1:], route.radii_mm, route.radii_mm[1:], strict=False):
        along = np.clip((voxels - a) @ (b - a) / max((b - a) @ (b - a), 1e-9), 0, 1)
        depth = np.linalg.norm(voxels - a - along[..., None] * (b - a), axis=-1) - ra - along * (rb - ra)
        margin = np.minimum(margin, depth)
    painted = canvas.labels == 52
    line = canvas._threads([Tube(route.points_mm, np.full(len(rows), 0.1))])
    on_line = np.zeros(painted.size, bool)
    on_line[line] = True
    assert painted[margin < -0.01].all()
    assert painted.ravel()[line].all()
    assert not (painted & (margin > 0.01) & ~on_line.reshape(painted.shape)).any()
