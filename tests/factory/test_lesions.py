"""Placed tumours have the prompted site, count and size, and respect what lies around them."""

from pathlib import Path

import nibabel
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from scipy.spatial.distance import pdist

from factory.engines.base import Request
from factory.engines.lesions import place_lesions
from factory.engines.lesions.growing import axial_diameter_mm
from manifests.anatomy import structure, structures
from manifests.case import Lesion
from manifests.errors import InvalidValueError
from manifests.geometry import Grid
from prompts.schema import Prompt, Tumour

TOUCHING = np.ones((3, 3, 3), bool)

ELLIPSOIDS_MM = {
    # name: centre and semi-axes, both x, y, z
    "body": ((0, 0, 0), (150, 105, 400)),
    "visceral_fat": ((0, 0, 0), (130, 85, 400)),
    "lung_lower_lobe_left": ((60, 10, 95), (45, 55, 60)),
    "lung_upper_lobe_left": ((60, -20, 130), (40, 40, 30)),
    "heart": ((0, -20, 100), (28, 30, 35)),
    "liver": ((-60, -10, 0), (60, 60, 55)),
    "kidney_left": ((60, 35, -40), (25, 28, 50)),
    "kidney_right": ((-60, 40, -70), (25, 25, 45)),
    "adrenal_gland_left": ((52, 30, 22), (10, 6, 12)),
    "vertebrae_L1": ((0, 55, -40), (22, 20, 70)),
    "aorta": ((12, 25, -40), (10, 10, 400)),
    "colon_descending": ((95, -5, -60), (18, 18, 70)),
    "colon_sigmoid": ((95, -5, -140), (18, 18, 20)),
    "small_bowel": ((20, -40, -60), (50, 30, 40)),
    "spleen": ((85, 10, 18), (25, 28, 22)),
}
SITES = ("liver", "kidney_left", "lung_lower_lobe_left", "colon_descending", "adrenal_gland_left", "spleen")
RIGID = {"bone", "cartilage", "nervous", "airway"}
FORBIDDEN = {"bone", "artery", "vein", "heart", "airway", "nervous", "cartilage"}


def torso(spacing_mm: float) -> tuple[Grid, np.ndarray]:
    shape = tuple(int(mm / spacing_mm) for mm in (300, 222, 312))
    grid = Grid(shape, (spacing_mm,) * 3, tuple(-spacing_mm * (n - 1) / 2 for n in shape[::-1]))
    z, y, x = grid.axes_mm()
    anatomy = np.zeros(shape, np.uint8)
    for name, ((cx, cy, cz), (rx, ry, rz)) in ELLIPSOIDS_MM.items():
        radius = ((z[:, None, None] - cz) / rz) ** 2 + ((y[:, None] - cy) / ry) ** 2 + ((x - cx) / rx) ** 2
        anatomy[radius <= 1] = structure(name).id
    return grid, anatomy


TORSOS = {spacing: torso(spacing) for spacing in (3.0, 6.0)}


def ask(grid: Grid, *tumours: Tumour, case_id: str = "c1") -> Request:
    prompt = Prompt(tumours=tumours)
    return Request(case_id, prompt, prompt, grid)


def tumour(site: str, size_mm: float, count: int = 1) -> Tumour:
    return Tumour(organ=str(structure(site).organ), site=site, side=structure(site).side, size_mm=size_mm, count=count)


def longest_mm(mask: np.ndarray, spacing_yx: tuple[float, float]) -> float:
    """Largest distance between two voxel corners of one slice, over all pairs."""
    best = 0.0
    for plane in mask[mask.any(axis=(1, 2))]:
        rim = plane & ~ndimage.binary_erosion(plane)
        corners = np.concatenate([np.argwhere(rim) + shift for shift in ((0, 0), (0, 1), (1, 0), (1, 1))])
        best = max(best, float(pdist(np.unique(corners, axis=0) * spacing_yx).max()))
    return best


def parts(mask: np.ndarray) -> int:
    return int(ndimage.label(mask, TOUCHING)[1])


def check(before: np.ndarray, grid: Grid, asked: Tumour, placed: tuple) -> None:
    """Every promise of `place_lesions`, checked on the arrays alone."""
    after, lesions, records = placed
    site, voxel = structure(str(asked.site)), grid.spacing_mm_zyx[1]
    marked = lesions > 0
    assert parts(marked) == len(records) == asked.count
    assert set(np.unique(lesions)) - {0} == {record.id for record in records}
    assert (after[marked] == site.id).all()
    check_surroundings(before, grid, (after, lesions, records))
    largest = max(longest_mm(lesions == record.id, grid.spacing_mm_zyx[1:]) for record in records)
    smallest = voxel * 2**0.5
    assert abs(largest - max(asked.size_mm or 0, smallest)) <= voxel
    assert not (before[ndimage.binary_dilation(marked, TOUCHING)] == 0).any()
    edge = np.ones(lesions.shape, bool)
    edge[1:-1, 1:-1, 1:-1] = False
    assert not marked[edge].any()


def check_surroundings(before: np.ndarray, grid: Grid, placed: tuple) -> None:
    """What lies around lesions moves at most within reach, keeps its pieces and most of its volume; bone never moves."""
    after, lesions, records = placed
    marked, count = lesions > 0, len(records)
    changed = (after != before) & ~marked
    pushing = [record for record in records if record.size_mm >= 14.9 and structure(record.site).tissue == "parenchyma"]
    assert pushing or not changed.any()
    if pushing:
        away = ndimage.distance_transform_edt(~np.isin(lesions, [record.id for record in pushing]))
        reach_mm = 1.1 * max(record.size_mm for record in pushing)
        assert (away[changed] * max(grid.spacing_mm_zyx) <= reach_mm + 3 * max(grid.spacing_mm_zyx)).all()
    for entry in structures():
        if not (before == entry.id).any():
            continue
        if entry.tissue in RIGID:
            assert ((after == entry.id) == (before == entry.id)).all()
        elif entry.tissue not in ("fat", "soft"):
            assert 1 <= parts(after == entry.id) <= parts(before == entry.id)
            if entry.name not in {record.site for record in records}:
                most = 0.0 if entry.tissue in FORBIDDEN and not pushing else 0.08 + 0.12 * bool(pushing)
                assert (after == entry.id).sum() >= (1 - most * count) * (before == entry.id).sum()
    assert ((after == 0) == (before == 0)).all()


@settings(deadline=None, max_examples=25)
@given(
    spacing=st.sampled_from(sorted(TORSOS)),
    site=st.sampled_from(SITES),
    size=st.floats(1.0, 90.0),
    count=st.integers(1, 4),
    case=st.integers(0, 1000),
)
def test_places_what_was_asked(spacing, site, size, count, case):
    grid, anatomy = TORSOS[spacing]
    original = anatomy.copy()
    asked = tumour(site, size, 1 if site == "adrenal_gland_left" else count)
    placed = place_lesions(anatomy, ask(grid, asked, case_id=f"c{case}"))
    assert (anatomy == original).all()
    check(anatomy, grid, asked, placed)


@pytest.mark.parametrize("size_mm", [3, 5, 8, 12, 20, 35, 60, 100, 150])
def test_meets_sizes_from_one_voxel_to_150_mm(size_mm):
    grid, anatomy = TORSOS[3.0]
    asked = tumour("liver", size_mm)
    placed = place_lesions(anatomy, ask(grid, asked))
    check(anatomy, grid, asked, placed)
    if size_mm >= 20:
        assert placed[2][0].size_mm == pytest.approx(size_mm, rel=0.1)


def test_records_say_what_is_painted():
    grid, anatomy = TORSOS[3.0]
    asked = (tumour("liver", 40, 3), tumour("kidney_left", 30), tumour("lung_lower_lobe_left", 25, 2))
    _, lesions, records = place_lesions(anatomy, ask(grid, *asked))
    assert [record.id for record in records] == [1, 2, 3, 4, 5, 6]
    for record in records:
        mask = lesions == record.id
        assert record.size_mm == pytest.approx(longest_mm(mask, grid.spacing_mm_zyx[1:]), rel=2e-4)
        assert record.volume_ml == pytest.approx(mask.sum() * grid.voxel_volume_ml, abs=1e-3)
        index = np.argwhere(mask).mean(axis=0)
        center = index * grid.spacing_mm_zyx + np.array(grid.origin_mm_xyz)[::-1]
        assert record.center_mm_xyz == pytest.approx(tuple(center[::-1]), abs=1e-2)
    assert [(record.organ, record.side) for record in records if record.site == "kidney_left"] == [("kidney", "left")]
    assert max(record.size_mm for record in records if record.site == "liver") == records[0].size_mm


def test_draws_the_same_lesions_from_the_same_case_only():
    grid, anatomy = TORSOS[6.0]
    asked = (tumour("liver", 40, 3),)
    first, again, other = (place_lesions(anatomy, ask(grid, *asked, case_id=name)) for name in ("c1", "c1", "c2"))
    assert (first[1] == again[1]).all()
    assert first[2] == again[2]
    assert not (first[1] == other[1]).all()


def test_leaves_an_anatomy_without_tumours_as_it_is():
    grid, anatomy = TORSOS[6.0]
    after, lesions, records = place_lesions(anatomy, ask(grid))
    assert (after == anatomy).all()
    assert not lesions.any()
    assert records == ()


def test_a_lesion_larger_than_its_organ_bulges_into_fat():
    grid, anatomy = TORSOS[3.0]
    asked = tumour("adrenal_gland_left", 60)
    after, lesions, _ = placed = place_lesions(anatomy, ask(grid, asked))
    check(anatomy, grid, asked, placed)
    site = structure("adrenal_gland_left").id
    assert (after == site).sum() > 2 * (anatomy == site).sum()
    assert parts(after == site) == 1
    assert ((anatomy == structure("visceral_fat").id) & (lesions > 0)).any()


def test_keeps_room_for_all_in_a_site_that_one_could_fill():
    grid, anatomy = TORSOS[3.0]
    asked = tumour("adrenal_gland_left", 50, 3)
    check(anatomy, grid, asked, place_lesions(anatomy, ask(grid, asked)))


def kinds(site: str, size_mm: float) -> list[tuple[np.ndarray, np.ndarray, Lesion]]:
    grid, anatomy = TORSOS[3.0]
    placed = [place_lesions(anatomy, ask(grid, tumour(site, size_mm), case_id=f"c{i}")) for i in range(16)]
    return [(after, lesions > 0, records[0]) for after, lesions, records in placed]


def test_kidney_tumours_often_lie_half_outside():
    _, anatomy = TORSOS[3.0]
    kidney = anatomy == structure("kidney_left").id
    out = {form: [] for form in ("exophytic", "lobulated", "rounded")}
    for _, mask, record in kinds("kidney_left", 30):
        out[record.form].append(float((mask & ~kidney).sum() / mask.sum()))
    inside = out["lobulated"] + out["rounded"]
    assert len(out["exophytic"]) > len(inside)
    assert 0.2 < np.mean(out["exophytic"]) < 0.8
    assert np.mean(out["exophytic"]) > 2 * np.mean(inside)


def test_bowel_tumours_sit_on_the_wall_and_leave_a_lumen():
    _, anatomy = TORSOS[3.0]
    colon = anatomy == structure("colon_descending").id
    wall = colon & ~ndimage.binary_erosion(colon)
    for after, mask, record in kinds("colon_descending", 30):
        assert record.form in ("annular", "polypoid")
        assert (mask & wall).any()
        open_lumen = (after == structure("colon_descending").id) & ~mask
        slices = mask.any(axis=(1, 2))
        assert (open_lumen.any(axis=(1, 2)) | ~slices).mean() > 0.9


def test_spiculated_lesions_have_more_surface_than_rounded_ones():
    surface = {"spiculated": [], "rounded": []}
    for _, mask, record in kinds("lung_lower_lobe_left", 45):
        rim = mask & ~ndimage.binary_erosion(mask)
        surface[record.form].append(float(rim.sum() / mask.sum() ** (2 / 3)))
    assert np.mean(surface["spiculated"]) > np.mean(surface["rounded"])


@pytest.mark.parametrize("site", ["prostate", "colon_ascending"])
def test_refuses_a_site_that_is_not_there(site):
    grid, anatomy = TORSOS[6.0]
    with pytest.raises(InvalidValueError, match=f"no {site} in the anatomy"):
        place_lesions(anatomy, ask(grid, tumour(site, 20)))


def test_refuses_what_cannot_fit():
    grid, anatomy = TORSOS[6.0]
    alone = np.where(anatomy == structure("adrenal_gland_left").id, anatomy, structure("heart").id).astype(np.uint8)
    with pytest.raises(InvalidValueError, match="no room"):
        place_lesions(alone, ask(grid, tumour("adrenal_gland_left", 80)))


def test_refuses_an_incomplete_tumour():
    grid, anatomy = TORSOS[6.0]
    with pytest.raises(InvalidValueError, match="all three stated"):
        place_lesions(anatomy, ask(grid, Tumour(organ="liver", site="liver", count=1)))


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2**32 - 1), st.sampled_from([(1.0, 1.0), (0.7, 2.5)]))
def test_calliper_equals_the_longest_distance_between_corners(seed, spacing):
    random = np.random.default_rng(seed)
    mask = random.random(random.integers(1, 9, 3)) < random.uniform(0.05, 0.9)
    mask.flat[0] = True
    assert axial_diameter_mm(mask, spacing) == pytest.approx(longest_mm(mask, spacing), rel=1.5e-4)


REAL_SITES = [("liver", 45.0, 3), ("kidney_right", 60.0, 1), ("lung_lower_lobe_left", 35.0, 2), ("pancreas", 35.0, 1)]
REAL_SITES += [("adrenal_gland_left", 40.0, 1), ("stomach", 50.0, 1), ("spleen", 60.0, 1), ("colon", 45.0, 2)]


@pytest.mark.real
@pytest.mark.parametrize("subject", ["s0327", "s0328"])
@pytest.mark.parametrize(("site", "size_mm", "count"), REAL_SITES)
def test_places_tumours_in_real_anatomy(real_data: Path, subject, site, size_mm, count):
    image = nibabel.load(real_data / "masks_totalseg_s0327_s0328" / f"{subject}_seg.nii.gz")
    labels = np.ascontiguousarray(np.asarray(image.dataobj)[::-2, ::-2, ::2].transpose(2, 1, 0))
    labels[labels == 0] = structure("visceral_fat").id
    grid = Grid(labels.shape, (3.0, 3.0, 3.0))
    asked = Tumour.model_construct(organ=str(structure(site).organ), site=site, size_mm=size_mm, count=count)
    prompt = Prompt.model_construct(tumours=(asked,))
    check(labels, grid, asked, place_lesions(labels, Request("c1", prompt, prompt, grid)))
