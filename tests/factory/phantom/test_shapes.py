"""Shapes and curves against closed forms."""

from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factory.engines.phantom.canvas import Canvas
from factory.engines.phantom.curves import Tube, centreline, tube
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
