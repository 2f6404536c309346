"""The maps of a bank: deformations that never fold, votes of labels, places, sizes of organs."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from factory.config import preset
from factory.engines.bank.deforming import LATTICE, compose, draw_velocity, exponential, jacobian
from factory.engines.bank.editing import PIECES, face, join, remove, resize, smooth_outline, tidy
from factory.engines.bank.fitting import draw_warp, fit
from factory.engines.bank.outline import outline_from_ct, outline_from_labels
from factory.engines.bank.placing import Placement, place
from factory.engines.bank.resampling import LabelMap, Warp, pull, sampled, vote
from factory.engines.bank.resemblance import canonical, organ_dice
from factory.engines.bank.sources import Source
from manifests.anatomy import group, structure, structures
from manifests.geometry import Grid
from manifests.identity import rng
from prompts.schema import Patient

SEEDS = st.integers(0, 2**32 - 1)
CENTRAL = (slice(None), *(slice(5, -5),) * 3)


def source(**known) -> Source:
    given = {"sex": None, "age_years": None, "height_cm": None, "weight_kg": None, "whole": True, "licence": None}
    return Source(case_id="s", patient_id="s", volumes_ml={}, grid=LATTICE, **(given | known))


def dice(one, other) -> float:
    return 2 * float((one & other).sum()) / float(one.sum() + other.sum())


@settings(max_examples=5, deadline=None)
@given(SEEDS)
def test_deformations_keep_orientation_and_can_be_undone(seed: int) -> None:
    velocity = draw_velocity(np.random.default_rng(seed))
    there, back = exponential(velocity), exponential(-velocity)
    assert jacobian(there).min() > 0.1
    assert 2.0 < there[CENTRAL].std() < 16.0  # it does deform
    assert np.abs(compose(back, there)[CENTRAL]).max() < 1.5


@settings(max_examples=4, deadline=None)
@given(SEEDS, st.floats(150, 195), st.floats(50, 120))
def test_the_whole_map_into_a_source_never_folds_between_the_nodes(seed: int, height: float, weight: float) -> None:
    patient = Patient(sex="male", height_cm=height, weight_kg=weight)
    base = fit(Placement((1.0, 1.0, 1.0), (5.0, -9.0, 40.0), True), source(height_cm=170.0, weight_kg=70.0), patient)
    warp = draw_warp(base, np.random.default_rng(seed))
    axes = tuple(axis[4:-4] + 5.0 for axis in preset("tiny").grid("abdomen").axes_mm())
    points = np.stack([sampled(part, axes, warp.lattice) for part in warp.points_mm])
    slopes = [[np.gradient(part, 6.0, axis=axis) for axis in (2, 1, 0)] for part in points]
    determinant = np.linalg.det(np.moveaxis(np.array(slopes), (0, 1), (-2, -1)))
    assert determinant.min() > 0.05


def test_taller_and_heavier_patients_get_longer_and_broader_bodies() -> None:
    placement = Placement((1.0, 1.0, 1.0), (0.0, 0.0, 0.0), True)
    known = source(height_cm=175.0, weight_kg=75.0)

    def extent(height: float, weight: float) -> tuple[float, float]:
        matrix = fit(placement, known, Patient(sex="male", height_cm=height, weight_kg=weight)).matrix
        return 1 / float(matrix[2, 2]), 1 / float(matrix[0, 0])  # body per source

    long, broad = extent(175.0, 75.0)
    assert (long, broad) == pytest.approx((1.0, 1.0))
    assert extent(190.0, 75.0)[0] > long > extent(160.0, 75.0)[0]
    assert extent(175.0, 100.0)[1] > broad > extent(175.0, 55.0)[1]


@settings(max_examples=20, deadline=None)
@given(SEEDS)
def test_a_vote_is_the_argmax_of_linear_interpolation_of_every_mask(seed: int) -> None:
    draw = np.random.default_rng(seed)
    labels = draw.integers(0, 5, (6, 7, 8)).astype(np.uint8)
    index = [draw.uniform(0, n - 1, 300).astype(np.float32) for n in labels.shape]
    found = vote(LabelMap(labels, Grid(labels.shape, (1.0, 1.0, 1.0))), (index[0], index[1], index[2]))
    shares = np.stack([ndimage.map_coordinates((labels == v).astype(np.float64), index, order=1) for v in range(5)])
    margin = np.diff(np.sort(shares, axis=0)[-2:], axis=0)[0]
    clear = margin > 1e-4
    assert clear.sum() > 200
    assert np.array_equal(found[clear], shares.argmax(axis=0)[clear])


def test_an_identity_pull_changes_nothing_and_beyond_the_source_is_nothing() -> None:
    draw = np.random.default_rng(0)
    grid = Grid((9, 8, 7), (3.0, 3.0, 3.0), (-9.0, 4.0, 10.0))
    labels = draw.integers(1, 9, grid.shape_zyx).astype(np.uint8)
    x, y, z = grid.axes_mm()[::-1]
    points = np.stack(np.broadcast_arrays(x, y[:, None], z[:, None, None])).astype(np.float32)
    warp = Warp(points, grid)
    assert np.array_equal(pull(LabelMap(labels, grid), warp, grid), labels)
    away = Warp(points + np.float32(1000), grid)
    assert not pull(LabelMap(labels, grid), away, grid).any()
    kept = np.where(labels > 4, labels, 0).astype(np.uint8)
    assert np.array_equal(pull(LabelMap(labels, grid), warp, grid, kept), labels)
    assert np.array_equal(pull(LabelMap(labels, grid), away, grid, kept), kept)


def test_a_source_is_found_where_it_was_moved_to(bodies) -> None:
    body = bodies[0]
    one = place(body.anatomy, body.grid, "a")
    assert one.measured
    moved = Grid(body.grid.shape_zyx, body.grid.spacing_mm_zyx, tuple(np.add(body.grid.origin_mm_xyz, (31, -12, 400))))
    assert np.allclose(place(body.anatomy, moved, "a").shift_mm_xyz, np.add(one.shift_mm_xyz, (31, -12, 400)))
    larger = Grid(body.grid.shape_zyx, (6.6, 6.6, 6.6), tuple(np.multiply(1.1, body.grid.origin_mm_xyz)))
    assert place(body.anatomy, larger, "a").scales_xyz[2] == pytest.approx(1.1 * one.scales_xyz[2])
    assert np.abs(one.shift_mm_xyz).max() < 25  # it was painted in the torso frame, a little off its centre


@pytest.mark.parametrize(("name", "factor"), [("spleen", 1.9), ("liver", 1.3), ("kidney_left", 0.6)])
def test_an_organ_gets_its_volume_and_pushes_others_aside(bodies, name: str, factor: float) -> None:
    body, organ = bodies[0], structure(name)
    before = np.bincount(body.anatomy.ravel(), minlength=256)
    wanted = factor * before[organ.id] * body.grid.voxel_volume_ml
    after = np.bincount(resize(body.anatomy, body.grid, name, wanted).ravel(), minlength=256)
    # one layer of 6 mm voxels is half of a small kidney
    assert after[organ.id] * body.grid.voxel_volume_ml == pytest.approx(wanted, rel=0.25 if factor < 1 else 0.12)
    others = [entry.id for entry in structures() if entry.tissue == "parenchyma" and before[entry.id] > 150]
    others.remove(organ.id)
    assert all(after[id] > 0.6 * before[id] for id in others)


def test_what_is_removed_leaves_fat_and_muscle_and_nothing_else_changes(bodies) -> None:
    anatomy = bodies[0].anatomy.copy()
    spleen = anatomy == structure("spleen").id
    remove(anatomy, {"spleen"})
    soft = {entry.id for entry in structures() if entry.tissue in ("fat", "soft", "muscle")}
    assert set(np.unique(anatomy[spleen]).tolist()) <= soft
    assert np.array_equal(anatomy[~spleen], bodies[0].anatomy[~spleen])


def test_tidying_leaves_one_piece_of_each_structure(bodies) -> None:
    anatomy = bodies[0].anatomy.copy()
    draw = rng("tidy", "specks")
    for name in ("liver", "aorta", "colon_transverse"):
        at = tuple(draw.integers(0, n, 60) for n in anatomy.shape)
        inside = anatomy[at] > 0
        anatomy[tuple(part[inside] for part in at)] = structure(name).id
    tidy(anatomy)
    for entry in structures():
        if entry.name not in PIECES:
            assert ndimage.label(anatomy == entry.id, np.ones((3, 3, 3)))[1] <= 1, entry.name
    assert (anatomy != bodies[0].anatomy).mean() < 0.01


def test_a_colon_in_pieces_is_joined_along_its_course(bodies) -> None:
    body = bodies[0]
    ids = [entry.id for entry in group("colon") if (body.anatomy == entry.id).any()]
    whole = body.anatomy.copy()
    join(whole, body.grid, "colon")
    assert (whole != body.anatomy).mean() < 1e-3  # it holds together already
    anatomy = body.anatomy.copy()
    for id in ids:  # two thirds of each segment are left, with a gap in the middle and at both ends
        along = np.argwhere(anatomy == id)
        place = along @ np.linalg.svd(along - along.mean(0), full_matrices=False)[2][0]
        low, high, left, right = np.quantile(place, (0.1, 0.9, 0.45, 0.55))
        cut = along[(place < low) | (place > high) | ((place > left) & (place < right))]
        anatomy[tuple(cut.T)] = structure("visceral_fat").id
    before = anatomy.copy()
    join(anatomy, body.grid, "colon")
    tidy(anatomy)
    colon = np.isin(anatomy, ids)
    assert ndimage.label(colon, np.ones((3, 3, 3)))[1] == 1
    assert {id for id in ids if ndimage.label(anatomy == id, np.ones((3, 3, 3)))[1] != 1} == set()
    kept = [entry.id for entry in structures() if entry.tissue not in ("fat", "soft", "muscle", "bowel")]
    hard = np.isin(before, kept)
    assert (anatomy[hard] != before[hard]).mean() < 5e-3  # a way of one voxel at most


def test_an_outline_comes_from_the_ct_or_from_a_hull(bodies) -> None:
    body = bodies[0]
    truth = body.anatomy > 0
    ground = [structure(name).id for name in ("body", "subcutaneous_fat", "visceral_fat", "skeletal_muscle")]
    organs = np.where(np.isin(body.anatomy, ground), 0, body.anatomy).astype(np.uint8)
    seen = outline_from_ct(body.ct, organs, body.grid, whole=True)
    assert seen.grid == body.grid  # 6 mm are not thinned
    assert dice(seen.labels > 0, truth) > 0.97
    fat = np.isin(body.anatomy, ground[1:3])
    assert dice((np.isin(seen.labels, ground[1:3])) & (organs == 0), fat) > 0.8
    grown = outline_from_labels(organs, body.grid)
    z, y, x = grown.grid.axes_mm()
    inner = [np.searchsorted(axis, own - 0.1) for axis, own in zip((z, y, x), body.grid.axes_mm(), strict=True)]
    kept = [i[i < n] for i, n in zip(inner, grown.labels.shape, strict=True)]
    hull = grown.labels[np.ix_(*kept)] > 0
    assert dice(hull, truth) > 0.85
    assert hull[organs > 0].mean() > 0.99


def test_a_copy_resembles_its_source_wholly_and_other_bodies_less(bodies) -> None:
    aligned = [canonical(LabelMap(b.anatomy, b.grid), place(b.anatomy, b.grid, "b")) for b in bodies]
    elsewhere = Grid(bodies[0].grid.shape_zyx, bodies[0].grid.spacing_mm_zyx, (55.0, -300.0, 12.0))
    moved = canonical(LabelMap(bodies[0].anatomy, elsewhere), place(bodies[0].anatomy, elsewhere, "b"))
    assert organ_dice(aligned[0], aligned[0]) == 1.0
    assert organ_dice(aligned[0], moved) > 0.9
    assert organ_dice(aligned[0], aligned[1]) < 0.75
    assert organ_dice(aligned[0], np.zeros_like(aligned[0])) == 0.0


def test_a_smooth_outline_has_neither_bumps_nor_notches_and_keeps_the_body() -> None:
    grid = Grid((12, 40, 40), (3.0, 3.0, 3.0))
    fat, muscle = structure("subcutaneous_fat").id, structure("skeletal_muscle").id
    anatomy = np.zeros(grid.shape_zyx, np.uint8)
    anatomy[:, 8:32, 8:32], anatomy[:, 12:28, 12:28] = fat, muscle
    whole = anatomy.copy()
    anatomy[5:7, 18:20, 32:34] = structure("body").id
    anatomy[5:7, 30:32, 18:20] = 0
    smooth_outline(anatomy, grid, 8.0)
    assert not anatomy[:, :, 33:].any()
    assert (anatomy[5:7, 30:32, 18:20] == fat).all()
    np.testing.assert_array_equal(anatomy == muscle, whole == muscle)
    assert (anatomy > 0).sum() == pytest.approx((whole > 0).sum(), rel=0.05)


def test_partners_on_each_others_side_change_their_names() -> None:
    """Names follow the place, except of organs that may bear tumours: their sites have been told by then."""
    anatomy = np.zeros((3, 4, 10), np.uint8)
    ids = {name: structure(name).id for name in ("hip_left", "hip_right", "rib_left_1", "rib_right_1", "kidney_left")}
    anatomy[0, 0, 1:3], anatomy[0, 0, 7:9] = ids["hip_left"], ids["hip_right"]  # x grows to the left: exchanged
    anatomy[1, 0, 1:3], anatomy[1, 0, 7:9] = ids["rib_right_1"], ids["rib_left_1"]
    anatomy[2, 0, 1], anatomy[2, 0, 8] = ids["kidney_left"], structure("kidney_right").id
    before = anatomy.copy()
    face(anatomy)
    assert (anatomy[0, 0, 1:3] == ids["hip_right"]).all()
    assert (anatomy[0, 0, 7:9] == ids["hip_left"]).all()
    np.testing.assert_array_equal(anatomy[1:], before[1:])
