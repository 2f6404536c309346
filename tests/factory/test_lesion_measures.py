"""What the gate measures of single lesions: kind from HU, form from contact; and the spread that a stage explains."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from factory.config import preset
from factory.engines.base import Request
from factory.quality import assess
from factory.quality.character import form_of, kind_of
from manifests.anatomy import by_id, structure
from manifests.case import Arrays
from prompts.schema import MStage, Patient, Prompt, Study, Tumour

SPACING = (1.5, 1.5, 1.5)
SHAPE = (48, 48, 48)
Z, Y, X = (np.arange(n, dtype=float)[(slice(None),) + (None,) * (2 - i)] for i, n in enumerate(SHAPE))


def ball(radius: float, centre: tuple[float, float, float] = (24, 24, 24)) -> np.ndarray:
    """A ball, in voxels."""
    return (Z - centre[0]) ** 2 + (Y - centre[1]) ** 2 + (X - centre[2]) ** 2 <= radius**2


def scanned(*parts: tuple[np.ndarray, float], around: float = 100.0, noise: float = 12.0) -> np.ndarray:
    """A CT of nested parts, blurred and noisy."""
    ct = np.full(SHAPE, around)
    for mask, hu in parts:
        ct[mask] = hu
    ct = ndimage.gaussian_filter(ct, 0.7) + np.random.default_rng(1).normal(0, noise, SHAPE)
    return np.rint(ct).astype(np.int16)


LESION = ball(14)
LIVER = {
    "solid": ((LESION, 65.0),),
    "cystic": ((LESION, 70.0), (ball(12), 9.0)),
    "necrotic": ((LESION, 90.0), (ball(9), 22.0)),
    "calcified": ((LESION, 65.0), (ball(4), 500.0)),
}
LUNG = {
    "solid": ((LESION, 60.0),),
    "ground_glass": ((LESION, -560.0),),
    "part_solid": ((LESION, -560.0), (ball(8), 50.0)),
}


@pytest.mark.parametrize("kind", LIVER)
def test_kind_of_a_liver_lesion(kind: str) -> None:
    assert kind_of(scanned(*LIVER[kind]), LESION, structure("liver"), SPACING) == kind


@pytest.mark.parametrize("kind", LUNG)
def test_kind_of_a_lung_lesion(kind: str) -> None:
    ct = scanned(*LUNG[kind], around=-850.0)
    assert kind_of(ct, LESION, structure("lung_upper_lobe_left"), SPACING) == kind


def test_kind_without_inner_voxels_is_unmeasured() -> None:
    small = ball(1.5)
    assert kind_of(scanned((small, 10.0)), small, structure("liver"), SPACING) == "unmeasured"


def tube() -> np.ndarray:
    """A straight tube along an oblique line."""
    return (Y - 24) ** 2 + (X - 24 - 0.4 * (Z - 24)) ** 2 <= 12**2


def test_a_ring_is_annular_and_a_ball_on_the_wall_polypoid() -> None:
    site, whole = structure("colon_descending"), tube()
    anatomy = np.where(whole, site.id, structure("visceral_fat").id).astype(np.uint8)
    inner = (Y - 24) ** 2 + (X - 24 - 0.4 * (Z - 24)) ** 2 <= 6**2
    ring = whole & ~inner & (np.abs(Z - 24) <= 10)
    polyp = whole & ball(8, (24, 14, 24))
    assert form_of(anatomy, ring, site, SPACING) == "annular"
    assert form_of(anatomy, polyp, site, SPACING) == "polypoid"


@pytest.mark.parametrize(("depth", "form"), [(0, "endophytic"), (12, "exophytic")])
def test_exophytic_is_what_leaves_the_kidney(depth: float, form: str) -> None:
    site, kidney, lesion = structure("kidney_left"), ball(16), ball(8, (24, 24, 24 + depth))
    anatomy = np.where(kidney | lesion, site.id, structure("visceral_fat").id).astype(np.uint8)
    assert form_of(anatomy, lesion, site, SPACING) == form


GRID = preset("tiny").grid("torso")


def spread_case(m_stage: MStage | None, in_liver: int, *, stated: bool = True) -> tuple[Request, Arrays]:
    """A pancreas tumour of a crude torso, and lesions of the liver that nobody asked for."""
    z, y, x = (axis[(slice(None),) + (None,) * (2 - i)] for i, axis in enumerate(GRID.axes_mm()))
    anatomy = np.full(GRID.shape_zyx, structure("body").id, np.uint8)
    anatomy[(z >= -30) & (z < 54) & (y >= -110) & (y < 20) & (x >= -150) & (x < -6)] = structure("liver").id
    anatomy[(z >= -60) & (z < -30) & (np.abs(y) < 20) & (np.abs(x) < 60)] = structure("pancreas").id
    lesions = np.zeros_like(anatomy)
    centres = [(-45.0, 0.0, 0.0), *((12.0, -80.0 + 30 * i, -80.0) for i in range(in_liver))]
    for number, (cz, cy, cx) in enumerate(centres, 1):
        lesions[(z - cz) ** 2 + (y - cy) ** 2 + (x - cx) ** 2 <= 12.5**2] = number
    hu = np.array([by_id(i).hu["portal_venous"] if i else -1000 for i in range(int(anatomy.max()) + 1)])
    ct = np.rint(hu[anatomy] + np.random.default_rng(0).normal(0, 10, anatomy.shape)).astype(np.int16)
    tumour = Tumour(organ="pancreas", site="pancreas", count=1, size_mm=25, m_stage=m_stage)
    study = Study(contrast_phase="portal_venous")
    subject = Prompt(patient=Patient(sex="male"), study=study, tumours=(tumour,))
    prompt = subject if stated else Prompt(study=study, tumours=(Tumour(organ="pancreas"),))
    return Request("c0", prompt, subject, GRID), Arrays(GRID, ct, anatomy, lesions)


def tumour_codes(request: Request, arrays: Arrays) -> set[str]:
    return {text.split(":")[0] for text in assess(request, arrays).reasons if text.startswith("tumour")}


@pytest.mark.parametrize(
    ("m_stage", "stated", "codes"),
    [("M1", True, set()), ("M1b", True, set()), ("M0", True, {"tumour-unasked"}), (None, True, {"tumour-unasked"}),
     ("M1", False, {"tumour-unasked"})],
)  # fmt: skip
def test_only_a_stated_m1_explains_lesions_that_nobody_asked_for(m_stage, stated: bool, codes: set[str]) -> None:
    assert tumour_codes(*spread_case(m_stage, 2, stated=stated)) == codes


def test_spread_is_measured_as_metastases_and_leaves_the_count_of_tumours_alone() -> None:
    request, arrays = spread_case("M1", 3)
    verdict = assess(request, arrays)
    assert sorted(lesion.role for lesion in verdict.lesions) == ["metastasis"] * 3 + ["primary"]
    assert [(tumour.organ, tumour.count, tumour.m_stage) for tumour in verdict.measured.tumours] == [
        ("pancreas", 1, "M1")
    ]


def test_m1_does_not_excuse_a_displaced_tumour() -> None:
    request, arrays = spread_case("M1", 1)
    gone = arrays.lesions.copy()
    gone[gone == 1] = 0
    assert tumour_codes(request, replace(arrays, lesions=gone)) == {"tumour-organ"}
