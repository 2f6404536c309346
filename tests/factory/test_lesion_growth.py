"""Mass effect, spread by stage, and kinds and forms as they are drawn."""

from collections import Counter

import numpy as np
import pytest
from scipy import ndimage

from factory.engines.base import Request
from factory.engines.lesions import place_lesions
from factory.engines.lesions.canvas import Canvas
from factory.engines.lesions.kinds import FORMS, KINDS, draw_kind, draw_style
from factory.engines.lesions.pushing import pushed
from manifests.anatomy import structure
from manifests.geometry import Grid
from manifests.identity import rng
from prompts.schema import Prompt, Tumour

GRID = Grid((70, 70, 70), (2.0, 2.0, 2.0))
Z, Y, X = (axis[(slice(None),) + (None,) * (2 - i)] for i, axis in enumerate(GRID.axes_mm()))


def ellipsoid(centre_xyz: tuple[float, float, float], radii_xyz: tuple[float, float, float]) -> np.ndarray:
    parts = ((axis - c) / r for axis, c, r in zip((X, Y, Z), centre_xyz, radii_xyz, strict=True))
    return sum(part**2 for part in parts) <= 1


def upper_abdomen() -> np.ndarray:
    """A kidney between liver, spleen, aorta and spine."""
    anatomy = np.full(GRID.shape_zyx, structure("visceral_fat").id, np.uint8)
    anatomy[~ellipsoid((70, 70, 70), (68, 68, 400))] = 0
    for name, centre, radii in (
        ("liver", (28, 62, 80), (24, 40, 45)),
        ("kidney_right", (72, 84, 64), (22, 22, 40)),
        ("aorta", (108, 70, 70), (8, 8, 400)),
        ("vertebrae_L1", (112, 108, 70), (18, 18, 400)),
    ):
        anatomy[ellipsoid(centre, radii) & (anatomy > 0)] = structure(name).id
    return anatomy


ANATOMY = upper_abdomen()


def canvas() -> Canvas:
    return Canvas(GRID, ANATOMY, np.zeros_like(ANATOMY), np.bincount(ANATOMY.ravel(), minlength=256))


def test_a_push_swells_the_host_and_moves_its_neighbours_away() -> None:
    before, centre = ANATOMY, (32, 42, 36)
    push = pushed(canvas(), structure("kidney_right"), centre, 50.0)
    assert push is not None
    after = before.copy()
    after[push.box] = push.anatomy
    kidney, liver = structure("kidney_right").id, structure("liver").id
    assert (after == kidney).sum() > 1.25 * (before == kidney).sum()
    near, far = (
        np.linalg.norm((np.argwhere((part == liver) & (np.abs(Z - 64) < 20)) - centre) * 2.0, axis=1).min()
        for part in (before, after)
    )
    assert far > near + 3
    for name in ("liver", "aorta", "kidney_right"):
        assert ndimage.label(after == structure(name).id, np.ones((3, 3, 3)))[1] == 1
    assert (after == liver).sum() >= 0.88 * (before == liver).sum()
    for kept in (0, structure("vertebrae_L1").id):
        np.testing.assert_array_equal(after == kept, before == kept)
    assert (after == before)[ndimage.distance_transform_edt(~ellipsoid((72, 84, 64), (1, 1, 1))) * 2 > 57].all()


def test_small_tumours_and_soft_sites_do_not_push() -> None:
    assert pushed(canvas(), structure("kidney_right"), (32, 42, 36), 12.0) is None
    assert pushed(canvas(), structure("colon_ascending"), (32, 42, 36), 50.0) is None


def chest_and_abdomen() -> np.ndarray:
    anatomy = upper_abdomen()
    for name, centre in (("lung_lower_lobe_left", (100, 30, 100)), ("lung_upper_lobe_right", (60, 28, 108))):
        anatomy[ellipsoid(centre, (20, 20, 26))] = structure(name).id
    anatomy[ellipsoid((88, 80, 20), (30, 12, 12))] = structure("pancreas").id
    return anatomy


WHOLE = chest_and_abdomen()


def placed(tumour: Tumour, case: str, *, stated: bool = True) -> tuple:
    subject = Prompt(tumours=(tumour,))
    prompt = subject if stated else Prompt(tumours=(Tumour(organ=tumour.organ),))
    return place_lesions(WHOLE, Request(case, prompt, subject, GRID))


PANCREAS = Tumour(organ="pancreas", site="pancreas", count=1, size_mm=18, m_stage="M1")


def test_a_stated_m1_makes_metastases_at_sites_without_an_asked_tumour() -> None:
    organs: Counter[str] = Counter()
    for i in range(8):
        _, lesions, records = placed(PANCREAS, f"m{i}")
        spread = [record for record in records if record.role == "metastasis"]
        assert spread
        assert [record.site for record in records if record.role == "primary"] == ["pancreas"]
        assert {record.organ for record in spread} <= {"liver", "lung"}
        assert ndimage.label(lesions > 0, np.ones((3, 3, 3)))[1] == len(records)
        organs.update({record.organ for record in spread})
    assert organs["liver"] > organs["lung"]


def test_no_metastases_without_a_stated_m1() -> None:
    unstated = placed(PANCREAS, "m0", stated=False)[2]
    early = placed(PANCREAS.model_copy(update={"m_stage": "M0"}), "m0")[2]
    assert [record.role for record in (*unstated, *early)] == ["primary", "primary"]


def test_satellites_lie_near_the_tumour_and_are_smaller() -> None:
    tumour = Tumour(organ="liver", site="liver", count=3, size_mm=20, t_stage="T3")
    near, free = [], []
    for stage, distances in (("T3", near), ("T1", free)):
        for i in range(6):
            first, *others = placed(tumour.model_copy(update={"t_stage": stage}), f"s{i}")[2]
            assert {record.role for record in others} == {"satellite" if stage == "T3" else "primary"}
            centre = np.array(first.center_mm_xyz)
            distances += [float(np.linalg.norm(np.array(other.center_mm_xyz) - centre)) for other in others]
            if stage == "T3":
                assert all(other.size_mm <= 0.45 * 20 + 2 for other in others)
    assert np.mean(near) < np.mean(free)


@pytest.mark.parametrize(
    "name", ["lung_upper_lobe_left", "kidney_left", "colon_sigmoid", "liver", "pancreas", "spleen"]
)
def test_kinds_and_forms_follow_organ_and_size(name: str) -> None:
    site, kinds, forms = structure(name), Counter(), Counter()
    for i in range(400):
        size = float(5 + 90 * (i / 400))
        kind = draw_kind(site, size, "primary", rng(f"c{i}", "kind"))
        form = draw_style(site, size, kind, "primary", rng(f"c{i}", "style")).form
        assert size >= 20 or kind != "necrotic"
        assert size >= 5 or kind == "solid"
        kinds[kind] += 1
        forms[form] += 1
    assert set(kinds) <= set(KINDS)
    assert set(forms) <= set(FORMS)
    assert ("ground_glass" in kinds) == (site.organ == "lung") == ("spiculated" in forms)
    assert ("annular" in forms) == (site.organ == "colon") == ("polypoid" in forms)
    assert ("exophytic" in forms) == (site.organ == "kidney")
    assert kinds["solid"] > 0.3 * sum(kinds.values())
