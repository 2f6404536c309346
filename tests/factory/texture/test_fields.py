"""Random fields, distances and vessel trees against closed forms."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factory.engines.texture.fields import depth_mm, filaments, sheets, smooth_field
from factory.engines.texture.noise import noise_spectrum
from factory.engines.texture.trees import Habit, Tree, companion, grow, rasterise


def generator(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@settings(deadline=None, max_examples=8)
@given(scale=st.floats(2, 40), spacing=st.floats(0.7, 6))
def test_fields_have_unit_variance_at_every_voxel(scale: float, spacing: float) -> None:
    draws = np.stack([smooth_field((7, 6, 5), (spacing,) * 3, scale, generator(i)) for i in range(200)])
    assert np.abs(draws.mean(axis=0)).max() < 0.4
    np.testing.assert_allclose(draws.std(axis=0), 1, atol=0.3)


@pytest.mark.parametrize("spacing", [1.0, 2.0, 3.0])
def test_correlation_length_is_in_millimetres(spacing: float) -> None:
    """The same decay with distance in mm, whatever the voxel."""
    scale = 12.0
    field = smooth_field((int(240 / spacing),) * 2 + (20,), (spacing,) * 3, scale, generator())
    lag = round(0.9 * scale / spacing)
    correlation = float((field[lag:] * field[:-lag]).mean() / field.var())
    assert 0.35 < correlation < 0.7


def test_depth_of_a_half_space_is_the_distance_to_its_face() -> None:
    mask = np.zeros((21, 21, 21), bool)
    mask[:, 10:] = True
    depth = depth_mm(mask, (2.0, 2.0, 2.0), 6.0)[10, :, 10]
    # the face lies half a voxel before row 10
    np.testing.assert_allclose(depth[8:12], [-3, -1, 1, 3], atol=1e-4)
    assert depth[20] <= 7 + 1e-4


@pytest.mark.parametrize("voxel", [0.5, 1.0])
def test_sheets_and_filaments_are_as_thick_as_asked(voxel: float) -> None:
    """Filled share near thickness times surface density: the same on finer grids."""
    shares = []
    for spacing in (voxel, 2 * voxel):
        count = int(80 / spacing)
        a, b = (smooth_field((count, count, count), (spacing,) * 3, 12.0, generator(i)) for i in range(2))
        shares.append((sheets(a, 12.0, 1.0, spacing).mean(), filaments((a, b), 12.0, 2.0, spacing).mean()))
    np.testing.assert_allclose(shares[0], shares[1], rtol=0.3)


def ball() -> np.ndarray:
    z, y, x = np.ogrid[-20:21, -20:21, -20:21]
    return z**2 + y**2 + x**2 <= 400


def test_a_tree_is_one_piece_that_thins_outwards_and_stays_inside() -> None:
    mask, spacing = ball(), (2.0, 2.0, 2.0)
    tree = grow(mask, spacing, np.array([40.0, 40.0, 2.0]), Habit((10, 60, 300), 0.5, 5.0), generator())
    assert tree.parent[0] == -1
    assert (tree.parent[1:] < np.arange(1, len(tree.parent))).all(), "every node hangs on an earlier one"
    assert (tree.parent[1:] >= 0).all()
    assert (tree.radius_mm[tree.parent[1:]] >= tree.radius_mm[1:] - 1e-9).all()
    assert len(tree.parent) > 350
    share = rasterise(tree, mask.shape, spacing)
    assert share.min() >= 0
    assert share.max() <= 1
    assert share[~mask].sum() < 0.05 * share.sum()


def test_radii_follow_murray() -> None:
    """A fork of two equal branches: the trunk is 2^(1/2.7) times as wide."""
    mask = np.ones((3, 3, 60), bool)
    tree = grow(mask, (1.0, 1.0, 1.0), np.array([1.0, 1.0, 0.0]), Habit((30,), 0.4, 50.0), generator())
    leaves = len(tree.parent) - len(np.unique(tree.parent[1:]))
    assert tree.radius_mm[0] == pytest.approx(0.4 * leaves ** (1 / 2.7))


@settings(deadline=None, max_examples=20)
@given(radius=st.floats(0.1, 0.7), shift=st.floats(-0.49, 0.49))
def test_a_thin_vessel_keeps_its_volume(radius: float, shift: float) -> None:
    points = np.array([[10.0 + shift, 10.0, 4.0], [10.0 - shift, 11.0, 24.0]])
    tree = Tree(points, np.array([-1, 0]), np.full(2, radius))
    share = rasterise(tree, (20, 20, 30), (1.0, 1.0, 1.0))
    length = np.linalg.norm(points[1] - points[0])
    assert share.sum() == pytest.approx(min(np.pi * radius**2, 1e9) * length, rel=0.25 if radius > 0.5 else 1e-3)


def test_a_thick_vessel_has_its_cross_section() -> None:
    tree = Tree(np.array([[20.0, 20.0, 0.0], [20.0, 20.0, 39.0]]), np.array([-1, 0]), np.full(2, 5.0))
    share = rasterise(tree, (40, 40, 40), (1.0, 1.0, 1.0))
    assert share[:, :, 20].sum() == pytest.approx(np.pi * 25, rel=0.05)


def test_a_bronchus_runs_beside_its_artery() -> None:
    mask, spacing = ball(), (2.0, 2.0, 2.0)
    tree = grow(mask, spacing, np.array([40.0, 40.0, 2.0]), Habit((10, 60, 300), 0.5, 5.0), generator())
    tube = companion(tree, smallest_mm=1.5, extra_mm=0.0)
    artery, airway = (rasterise(each, mask.shape, spacing) for each in (tree, tube))
    assert airway.sum() > 0
    assert np.minimum(artery, airway).sum() < 0.35 * airway.sum()


@pytest.mark.parametrize("shape", [(40, 64), (41, 63)])
@pytest.mark.parametrize("spacing", [(3.0, 3.0), (1.0, 0.8)])
def test_noise_spectrum_gives_unit_variance(shape: tuple[int, int], spacing: tuple[float, float]) -> None:
    weight, rng = noise_spectrum(shape, spacing, 0.2), generator()
    size = (400, *weight.shape)
    spectrum = (rng.standard_normal(size) + 1j * rng.standard_normal(size)) * weight
    noise = np.fft.irfft2(spectrum, s=shape, norm="ortho")
    np.testing.assert_allclose(noise.std(axis=0).mean(), 1, atol=0.02)
    power = (np.abs(np.fft.rfft2(noise, norm="ortho")) ** 2).mean(axis=0)
    inner = (slice(1, None), slice(1, -1))
    np.testing.assert_allclose(power[inner], 2 * np.square(weight)[inner], rtol=0.4)
