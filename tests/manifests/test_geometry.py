"""The grid: affine and axes against SimpleITK, and what is refused."""

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813 - its users call it so
from hypothesis import given
from hypothesis import strategies as st

from manifests.errors import InvalidValueError
from manifests.geometry import Grid

grids = st.builds(
    Grid,
    st.tuples(*[st.integers(1, 9)] * 3),
    st.tuples(*[st.floats(0.1, 10)] * 3),
    st.tuples(*[st.floats(-500, 500)] * 3),
)


@given(grids)
def test_positions_agree_with_simpleitk(grid):
    image = sitk.Image([int(n) for n in grid.shape_zyx[::-1]], sitk.sitkUInt8)
    image.SetSpacing(grid.spacing_mm_zyx[::-1])
    image.SetOrigin(grid.origin_mm_xyz)
    last = [n - 1 for n in grid.shape_zyx[::-1]]
    position = image.TransformIndexToPhysicalPoint(last)
    np.testing.assert_allclose((grid.affine_lps @ [*last, 1])[:3], position, atol=1e-9)
    np.testing.assert_allclose((grid.affine_ras @ [*last, 1])[:3], position * np.array([-1, -1, 1]), atol=1e-9)
    np.testing.assert_allclose([axis[-1] for axis in grid.axes_mm()], position[::-1], atol=1e-9)
    assert [len(axis) for axis in grid.axes_mm()] == list(grid.shape_zyx)


@given(grids)
def test_volume_and_extent(grid):
    whole = np.prod(grid.extent_mm_zyx) / 1000
    assert whole == pytest.approx(grid.voxel_volume_ml * np.prod(grid.shape_zyx))
    assert Grid(**{k: tuple(v) for k, v in grid.to_json().items()}) == grid


def test_numbers_of_numpy_make_equal_grids():
    one = Grid((2, 3, 4), (1.0, 2.0, 3.0))
    other = Grid(tuple(np.array([2, 3, 4]).tolist()), tuple(float(v) for v in np.array([1.0, 2.0, 3.0])))
    assert one == other
    assert hash(one) == hash(other)


@pytest.mark.parametrize(
    ("shape", "spacing", "origin", "what"),
    [
        ((0, 1, 1), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), "positive counts"),
        ((1, 1, 1), (1.0, -1.0, 1.0), (0.0, 0.0, 0.0), "spacings"),
        ((1, 1, 1), (1.0, float("nan"), 1.0), (0.0, 0.0, 0.0), "spacings"),
        ((1, 1, 1), (1.0, float("inf"), 1.0), (0.0, 0.0, 0.0), "spacings"),
        ((1, 1, 1), (1.0, 1.0, 1.0), (0.0, float("nan"), 0.0), "finite millimetres"),
    ],
)
def test_impossible_grids_are_refused(shape, spacing, origin, what):
    with pytest.raises(InvalidValueError, match=what):
        Grid(shape, spacing, origin)
