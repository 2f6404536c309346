"""Between a case's grid and a network's: the same place in millimetres, nothing lost, no stairs."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from factory.engines.guidegen.lesions import lesion_parts, recorded
from factory.engines.guidegen.resampling import (
    coarse_labels,
    coarse_lesions,
    fine_labels,
    fine_lesions,
    resampled_ct,
    working_grid,
)
from factory.engines.lesions.growing import axial_diameter_mm
from manifests.anatomy import structure
from manifests.geometry import Grid

sizes = st.tuples(*[st.integers(1, 40)] * 3)
spacings = st.tuples(*[st.floats(0.5, 9)] * 3)


@given(sizes, spacings, st.floats(1, 12))
def test_the_working_grid_covers_the_field_of_view_from_the_same_centre(shape, spacing, wide) -> None:
    grid = Grid(shape, spacing, (1.0, -2.0, 3.0))
    found = working_grid(grid, wide)
    for mine, theirs in zip(grid.extent_mm_zyx, found.extent_mm_zyx, strict=True):
        assert mine - 1e-5 * wide <= theirs < mine + wide
    for mine, theirs in zip(grid.axes_mm(), found.axes_mm(), strict=True):
        assert mine.mean() == pytest.approx(theirs.mean(), abs=1e-6)


@pytest.mark.parametrize("ratio", [0.5, 1.0, 1.7, 2.0, 3.0])
def test_a_ramp_of_hu_stays_the_same_ramp(ratio: float) -> None:
    grid = Grid((24, 24, 24), (2.0, 2.0, 2.0), (5.0, 6.0, 7.0))
    z, y, x = np.meshgrid(*grid.axes_mm(), indexing="ij")
    to = working_grid(grid, 2.0 * ratio)
    zt, yt, xt = np.meshgrid(*to.axes_mm(), indexing="ij")
    found = resampled_ct((3 * z - 2 * y + x).astype(np.float32), grid, to)
    inner = (slice(3, -3),) * 3
    np.testing.assert_allclose(found[inner], (3 * zt - 2 * yt + xt)[inner], atol=1e-3)


def test_no_lesion_is_lost_and_full_ones_keep_their_volume() -> None:
    grid = Grid((24, 24, 24), (1.0, 1.0, 1.0))
    to = working_grid(grid, 4.0)
    lesions = np.zeros(grid.shape_zyx, np.uint8)
    lesions[1, 1, 1] = 1
    lesions[8:16, 8:16, 8:16] = 2
    coarse = coarse_lesions(lesions, grid, to)
    assert coarse[0, 0, 0] == 1
    assert coarse[2:4, 2:4, 2:4].all()
    assert coarse.sum() == 9


def test_labels_on_a_finer_grid_are_smooth() -> None:
    """A ball drawn at 6 mm and refined to 1.5 mm is nearer to the ball than blocks of 6 mm are."""
    coarse = Grid((16, 16, 16), (6.0, 6.0, 6.0))
    fine = working_grid(coarse, 1.5)

    def ball(grid: Grid) -> np.ndarray:
        z, y, x = np.meshgrid(*grid.axes_mm(), indexing="ij")
        return (((z - 44) ** 2 + (y - 47) ** 2 + (x - 45) ** 2) < 30**2).astype(np.uint8) + np.uint8(1)

    true, drawn = ball(fine), fine_labels(ball(coarse), coarse, fine)
    blocks = ball(coarse).repeat(4, 0).repeat(4, 1).repeat(4, 2)
    wrong = [int((labels != true).sum()) for labels in (drawn, blocks)]
    assert wrong[0] < 0.6 * wrong[1]
    assert set(np.unique(drawn)) == {1, 2}
    assert drawn.sum() == pytest.approx(true.sum(), rel=0.02)


def test_what_is_thinner_than_a_voxel_keeps_its_volume_down_and_up() -> None:
    """A tube of 5 mm among voxels of 8 mm, and a lesion of one voxel, which blurring alone would lose."""
    grid = Grid((40, 40, 40), (2.0, 2.0, 2.0))
    labels = np.ones(grid.shape_zyx, np.uint8)
    _, y, x = np.meshgrid(*grid.axes_mm(), indexing="ij")
    labels[(y - 37) ** 2 + (x - 43) ** 2 < 5**2 / 2] = 2
    to = working_grid(grid, 8.0)
    coarse = coarse_labels(labels, grid, to)
    fine = fine_labels(coarse, to, grid)
    wanted = float((labels == 2).sum())
    assert (coarse == 2).sum() * 64 == pytest.approx(wanted, rel=0.5)
    assert (fine == 2).sum() == pytest.approx((coarse == 2).sum() * 64, rel=0.3)
    mask = np.zeros(to.shape_zyx, np.uint8)
    mask[2, 3, 4], mask[7, 7, 6:8] = 1, 2
    found = fine_lesions(mask, to, grid)
    assert np.bincount(found.ravel())[1:].tolist() == pytest.approx([64, 128], rel=0.15)
    assert [ndimage.label(found == number)[1] for number in (1, 2)] == [1, 1]


def test_equal_grids_change_nothing() -> None:
    grid = Grid((5, 6, 7), (2.0, 2.0, 2.0))
    labels = np.random.default_rng(0).integers(0, 9, grid.shape_zyx).astype(np.uint8)
    assert np.array_equal(fine_labels(labels, grid, grid), labels)
    assert np.array_equal(coarse_labels(labels, grid, working_grid(grid, 2.0)), labels)


def test_lesions_that_do_not_touch_still_do_not_when_smoothed() -> None:
    random = np.random.default_rng(0)
    to, grid = Grid((7, 7, 7), (12.0,) * 3, (6.0,) * 3), Grid((9, 9, 9), (9.0,) * 3, (4.5,) * 3)
    corners = np.ones((3, 3, 3))
    for _ in range(30):
        parts, count = ndimage.label(random.random(to.shape_zyx) < 0.25, corners)
        fine = fine_lesions(parts.astype(np.uint8), to, grid)
        for number in range(1, count + 1):
            near = ndimage.binary_dilation(fine == number, corners)
            assert set(np.unique(fine[near])) <= {0, number}


def test_a_lesion_stays_in_one_piece_on_a_finer_grid() -> None:
    to, grid = Grid((8, 8, 8), (10.0,) * 3, (5.0,) * 3), Grid((27, 27, 27), (3.0,) * 3, (1.0,) * 3)
    mask = np.zeros(to.shape_zyx, np.uint8)
    for place in ((2, 4, 5), (2, 4, 6), (3, 4, 6), (3, 5, 5), (4, 4, 4)):  # hangs together by corners
        mask[place] = 1
    fine = fine_lesions(mask, to, grid)
    assert ndimage.label(fine, np.ones((3, 3, 3)))[1] == 1
    assert 5 * 37 <= fine.sum() <= 1.5 * 5 * 37.1


def test_a_lesion_keeps_an_organ_too_small_for_the_finer_grid() -> None:
    grid, to = Grid((24, 24, 24), (2.0, 2.0, 2.0)), Grid((4, 4, 4), (12.0, 12.0, 12.0), (5.0, 5.0, 5.0))
    liver, pancreas = (structure(name).id for name in ("liver", "pancreas"))
    drawn, mask = np.full(to.shape_zyx, liver, np.uint8), np.zeros(to.shape_zyx, np.uint8)
    drawn[1, 2, 1], mask[1, 2, 1] = pancreas, 1
    parts, sites = lesion_parts(drawn, mask)
    anatomy = np.full(grid.shape_zyx, liver, np.uint8)
    instances, (record,) = recorded(anatomy, fine_lesions(parts, to, grid), sites, grid)
    assert record.site == "pancreas"
    assert record.center_mm_xyz == pytest.approx((17, 29, 17), abs=2)
    assert np.array_equal(anatomy == pancreas, instances == 1)
    assert int(instances.sum()) == pytest.approx(6**3, rel=0.15)


def test_lesions_get_the_organ_that_holds_them() -> None:
    grid = Grid((10, 10, 10), (2.0, 3.0, 3.0), (-10.0, 5.0, 7.0))
    liver, spleen, fat = (structure(name).id for name in ("liver", "spleen", "visceral_fat"))
    anatomy = np.full(grid.shape_zyx, fat, np.uint8)
    anatomy[:, :, :5], anatomy[0:3, 0:3, 7:] = liver, spleen
    mask = np.zeros(grid.shape_zyx, np.uint8)
    mask[4:8, 4:8, 2:6] = 1  # three quarters in the liver, the rest in fat
    mask[1, 1, 8] = 1
    mask[9, 9, 9] = 1  # in fat alone
    instances, records = recorded(anatomy, *lesion_parts(anatomy, mask), grid)
    assert [(one.id, one.organ, one.site) for one in records] == [(1, "liver", "liver"), (2, "spleen", "spleen")]
    assert (anatomy[instances == 1] == liver).all()
    assert instances[9, 9, 9] == 0
    assert records[0].volume_ml == pytest.approx(64 * 18 / 1000)
    assert records[0].center_mm_xyz == pytest.approx((-10 + 3 * 3.5, 5 + 3 * 5.5, 7 + 2 * 5.5))
    assert records[0].size_mm == pytest.approx(12 * 2**0.5, rel=0.05)
    assert recorded(anatomy, *lesion_parts(anatomy, np.zeros_like(mask)), grid)[1] == ()


@pytest.mark.parametrize("asked_mm", [24.0, 30.0, 38.0])
def test_the_first_lesion_gets_the_diameter_that_is_asked(asked_mm: float) -> None:
    to, grid = Grid((8, 8, 8), (10.0,) * 3, (5.0,) * 3), Grid((40, 40, 40), (2.0,) * 3, (1.0,) * 3)
    mask = np.zeros(to.shape_zyx, np.uint8)
    mask[2:4, 2:4, 2:5], mask[6, 6, 6] = 1, 2
    fine = fine_lesions(mask, to, grid, asked_mm)
    assert axial_diameter_mm(fine == 1, (2.0, 2.0)) == pytest.approx(asked_mm, abs=2.0)
    assert (fine == 2).sum() == pytest.approx(125, rel=0.05)  # the others keep their volume
    far = fine_lesions(mask, to, grid, 200.0)
    assert (far == 1).sum() == pytest.approx(2.5 * 12 * 125, rel=0.05)  # and none changes beyond measure
