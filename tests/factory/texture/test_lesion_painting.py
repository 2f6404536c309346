"""Lesions of each kind look like it: HU inside, and signs around them."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from factory.engines.base import Masks, Request
from factory.engines.texture import Texture
from factory.engines.texture.lesion_hu import Vigour
from manifests.anatomy import structure
from manifests.case import Lesion

Ask = Callable[..., Request]


def with_one(masks: Masks, site: str, place: tuple[slice, slice, slice], **said: object) -> Masks:
    """A torso with one ellipsoidal lesion that fills a box of a site."""
    lesions = np.zeros_like(masks.anatomy)
    shape = lesions[place].shape
    axes = [(np.arange(n) - (n - 1) / 2) / (n / 2) for n in shape]
    inside = axes[0][:, None, None] ** 2 + axes[1][:, None] ** 2 + axes[2] ** 2 <= 1
    lesions[place] = inside
    anatomy = np.where(lesions > 0, structure(site).id, masks.anatomy).astype(np.uint8)
    fields = {"id": 1, "organ": str(structure(site).organ), "site": site, "size_mm": 3.0 * shape[2]}
    record = Lesion.model_validate({**fields, "volume_ml": 1.0, "center_mm_xyz": (0, 0, 0), **said})
    return Masks(anatomy, lesions, (record,))


LIVER = (slice(22, 31), slice(24, 36), slice(26, 38))
LUNG = (slice(42, 50), slice(29, 40), slice(28, 39))
PANCREAS = (slice(21, 26), slice(32, 37), slice(45, 51))


def rendered(masks: Masks, ask: Ask, cases: int = 3, phase: str = "portal_venous") -> list[np.ndarray]:
    return [Texture().render(ask(case=f"k{i}", phase=phase), masks) for i in range(cases)]


def inner(masks: Masks, ct: np.ndarray, deep: int = 1) -> np.ndarray:
    return ct[ndimage.binary_erosion(masks.lesions > 0, iterations=deep)].astype(float)


@pytest.mark.parametrize(
    ("kind", "low", "high"),
    [("solid", 35, 110), ("cystic", -10, 42), ("necrotic", 18, 80), ("calcified", 60, 260)],
)
def test_mean_of_a_liver_lesion_is_that_of_its_kind(masks: Masks, ask: Ask, kind: str, low: float, high: float) -> None:
    ill = with_one(masks, "liver", LIVER, kind=kind)
    means = [inner(ill, ct).mean() for ct in rendered(ill, ask)]
    assert low < np.mean(means) < high


def test_calcium_stands_out_and_fluid_does_not_enhance(masks: Masks, ask: Ask) -> None:
    chalk = with_one(masks, "liver", LIVER, kind="calcified")
    assert np.mean([inner(chalk, ct).max() for ct in rendered(chalk, ask)]) > 250
    cyst = with_one(masks, "liver", LIVER, kind="cystic")
    native, late = (
        np.median([np.median(inner(cyst, ct, 2)) for ct in rendered(cyst, ask, 4, phase)])
        for phase in ("native", "portal_venous")
    )
    assert abs(native - late) < 14


def test_necrosis_lies_in_the_core_and_the_rim_lives(masks: Masks, ask: Ask) -> None:
    ill = with_one(masks, "liver", LIVER, kind="necrotic")
    deep = ndimage.binary_erosion(ill.lesions > 0, iterations=3)
    rim = ndimage.binary_erosion(ill.lesions > 0) & ~ndimage.binary_erosion(ill.lesions > 0, iterations=2)
    gaps = [ct[rim].mean() - ct[deep].mean() for ct in rendered(ill, ask, 4)]
    assert np.mean(gaps) > 12


def test_ground_glass_is_haze_and_a_part_solid_lesion_has_a_core(masks: Masks, ask: Ask) -> None:
    hazes = {}
    for kind in ("ground_glass", "part_solid", "solid"):
        ill = with_one(masks, "lung_lower_lobe_right", LUNG, kind=kind, form="rounded")
        hazes[kind] = np.mean([inner(ill, ct).mean() for ct in rendered(ill, ask, 2)])
    assert -720 < hazes["ground_glass"] < -400
    assert hazes["ground_glass"] + 80 < hazes["part_solid"] < hazes["solid"]


def test_a_tumour_of_the_pancreas_may_dilate_the_duct_towards_the_tail(masks: Masks, ask: Ask) -> None:
    ill = with_one(masks, "pancreas", PANCREAS, kind="solid")
    tail = ndimage.binary_erosion(ill.anatomy == structure("pancreas").id) & (np.arange(ill.anatomy.shape[2]) > 53)
    both = zip(rendered(masks, ask, 5), rendered(ill, ask, 5), strict=True)
    drop = [float(healthy[tail].mean() - ct[tail].mean()) for healthy, ct in both]
    assert max(drop) > 10
    assert min(drop) < 3


def test_equal_requests_give_equal_lesions_and_other_cases_others(masks: Masks, ask: Ask) -> None:
    ill = with_one(masks, "liver", LIVER, kind="cystic")
    first, again = rendered(ill, ask, 1)[0], rendered(ill, ask, 1)[0]
    np.testing.assert_array_equal(first, again)
    means = [inner(ill, ct).mean() for ct in rendered(ill, ask, 3)]
    assert np.std(means) > 0.5


def test_the_dial_widens_the_spread_of_lesions(ask: Ask) -> None:
    def spread(dial: float) -> float:
        shifts = []
        for i in range(200):
            request = replace(ask(case=f"d{i}"), randomise=dial)
            vigour = Vigour(request.rng("patient"), request.randomise)
            shifts.append(vigour.vary(90.0, 40.0, request.rng("own")))
        return float(np.std(shifts))

    assert 2 < spread(1.0) / spread(0.0) < 4.5
