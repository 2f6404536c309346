"""Resampling for a network and back: linear functions are kept, edges stay in place, noise becomes that of thick voxels."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from downstream.body_box import body_box
from downstream.resampling import axis_weights, resampled, vote
from manifests.geometry import Grid


@given(st.integers(1, 40), st.floats(0.5, 8), st.integers(1, 40), st.floats(0.5, 8))
def test_weights_average_and_reproduce_positions(count, spacing, source_count, source_spacing):
    weights = axis_weights(count, spacing, source_count, source_spacing)
    assert np.allclose(weights.sum(1), 1, atol=1e-5)
    assert weights.min() >= 0
    places = weights @ ((np.arange(source_count) + 0.5) * source_spacing)
    wanted = (np.arange(count) + 0.5) * spacing
    low, high = source_spacing / 2, (source_count - 0.5) * source_spacing
    assert np.allclose(places, wanted.clip(low, high), rtol=1e-4, atol=1e-3)


def test_the_same_spacing_changes_nothing():
    grid = Grid((5, 6, 7), (3.0, 3.0, 3.0), (1.0, 2.0, 3.0))
    image = np.random.default_rng(0).integers(-1000, 1000, grid.shape_zyx).astype(np.int16)
    values, same = resampled(image, grid, 3.0)
    assert np.array_equal(values, image)
    assert same == grid


def test_a_ramp_keeps_its_world_coordinates():
    grid = Grid((40, 30, 50), (1.5, 2.0, 1.0), (-20.0, 5.0, 7.0))
    z, y, x = np.meshgrid(*grid.axes_mm(), indexing="ij")
    values, coarse = resampled(np.rint(3 * x - 2 * y + 5 * z).astype(np.int16), grid, 4.0)
    z, y, x = np.meshgrid(*coarse.axes_mm(), indexing="ij")
    inner = (slice(3, -3),) * 3
    assert np.allclose(values[inner], (3 * x - 2 * y + 5 * z)[inner], atol=0.6)


def test_white_noise_falls_as_thick_voxels_average_it():
    grid = Grid((60, 60, 60), (1.0, 1.0, 1.0))
    noise = np.random.default_rng(1).normal(0, 100, grid.shape_zyx).astype(np.int16)
    values, _ = resampled(noise, grid, 4.0)
    assert 5 < values.std() < 100 / 4**1.5 * 1.6  # a box average of 64 voxels leaves 12.5


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (5.0, 0.9, 0.9), (6.0, 4.0, 4.0)])
def test_an_organ_comes_back_where_it_was(spacing):
    grid = Grid(tuple(round(160 / s) for s in spacing), spacing, (10.0, -5.0, 3.0))
    z, y, x = np.meshgrid(*grid.axes_mm(), indexing="ij")
    organ = (z - 80) ** 2 + (y - 70) ** 2 + (x - 85) ** 2 < 40**2
    values, coarse = resampled((organ * 100).astype(np.int16), grid, 4.0)
    scores = np.stack([100 - values, values])
    found = vote(scores, coarse, grid) == 1
    assert found.shape == organ.shape
    assert 2 * (found & organ).sum() / (found.sum() + organ.sum()) > 0.97


def test_labels_of_a_coarse_grid_are_voted_unchanged():
    grid = Grid((4, 5, 6), (4.0, 4.0, 4.0))
    labels = np.random.default_rng(2).integers(0, 4, grid.shape_zyx)
    scores = np.eye(4, dtype=np.float32)[labels].transpose(3, 0, 1, 2)
    assert np.array_equal(vote(np.ascontiguousarray(scores), grid, grid), labels)


def test_the_box_holds_the_body_and_neither_table_nor_air():
    ct = np.full((6, 60, 80), -1000, np.float32)
    ct[:, 10:40, 15:65] = 40
    ct[:, 18:30, 20:38] = ct[:, 18:30, 44:60] = -850  # lungs
    ct[:, 45:47, 5:75] = 100  # a table of two boards
    ct[:, 52:54, 5:75] = 100
    z, y, x = body_box(ct, 4.0)
    assert (z.start, z.stop) == (0, 6)
    assert (y.start, y.stop) == (7, 43)
    assert (x.start, x.stop) == (12, 68)
    assert (ct[z, y, x] > -300).sum() == (ct[:, :44] > -300).sum()


def test_a_body_that_fills_the_scan_and_a_scan_without_a_body_are_kept_whole():
    full = (slice(0, 5), slice(0, 20), slice(0, 30))
    assert body_box(np.full((5, 20, 30), 40, np.float32), 4.0) == full
    assert body_box(np.full((5, 20, 30), -1000, np.float32), 4.0) == full
