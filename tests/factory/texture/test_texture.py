"""The image model on a torso of ellipsoids: HU of the table, edges in place, physics of content and noise."""

from collections.abc import Callable

import numpy as np
import pytest
from scipy import ndimage

from factory.engines.base import Masks, Request
from factory.engines.texture import Texture
from manifests.anatomy import PHASES, structure
from manifests.errors import InvalidValueError
from prompts.schema import Prompt

SOLID = ("liver", "spleen", "pancreas", "aorta", "inferior_vena_cava", "subcutaneous_fat", "skeletal_muscle")
Ask = Callable[..., Request]


def core(masks: Masks, name: str, iterations: int = 1) -> np.ndarray:
    return ndimage.binary_erosion(masks.anatomy == structure(name).id, iterations=iterations)


@pytest.fixture(scope="module")
def scans(masks: Masks, ask: Ask) -> dict[str, np.ndarray]:
    return {phase: Texture().render(ask(phase=phase), masks) for phase in PHASES}


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("name", SOLID)
def test_mean_hu_is_that_of_the_table(masks: Masks, scans: dict[str, np.ndarray], name: str, phase: str) -> None:
    entry = structure(name)
    mean = scans[phase][core(masks, name, 2 if name == "subcutaneous_fat" else 1)].mean()
    assert abs(mean - entry.hu[phase]) <= 2 * entry.hu_sd + 8


@pytest.mark.parametrize("name", ["lung_lower_lobe_right", "kidney_left", "vertebrae_L1", "heart"])
def test_inner_structure_keeps_the_mean(masks: Masks, scans: dict[str, np.ndarray], name: str) -> None:
    entry = structure(name)
    mean = scans["portal_venous"][masks.anatomy == entry.id].mean()
    assert abs(mean - entry.hu["portal_venous"]) <= 2 * entry.hu_sd + 25


def test_patients_differ_around_the_table(masks: Masks, ask: Ask) -> None:
    liver = core(masks, "liver")
    means = [Texture().render(ask(case=f"c{i}"), masks)[liver].mean() for i in range(6)]
    assert 2 < np.std(means) < 2 * structure("liver").hu_sd


@pytest.mark.parametrize("name", ["liver", "kidney_left", "aorta", "lung_lower_lobe_right", "vertebrae_L1", "spleen"])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_edges_lie_where_the_mask_ends(masks: Masks, scans: dict[str, np.ndarray], name: str, axis: int) -> None:
    """Correlation of mask and CT edges over a window of shifts peaks at no shift."""
    ct, mask = scans["arterial"].astype(np.float32), masks.anatomy == structure(name).id
    edge = np.abs(np.diff(mask.astype(np.float32), axis=axis)) > 0
    slope = np.abs(np.diff(np.clip(ct, -400, 400), axis=axis))
    strength = [float(np.roll(slope, -shift, axis)[edge].mean()) for shift in (-2, -1, 0, 1, 2)]
    assert int(np.argmax(strength)) == 2, strength


def test_same_request_same_voxels_whatever_was_drawn_before(masks: Masks, ask: Ask) -> None:
    np.random.seed(1)  # noqa: NPY002 - a global generator must not matter
    first = Texture().render(ask(), masks)
    np.random.seed(2)  # noqa: NPY002
    before = masks.anatomy.copy()
    np.testing.assert_array_equal(first, Texture().render(ask(), masks))
    np.testing.assert_array_equal(before, masks.anatomy)
    assert (first != Texture().render(ask(case="c1"), masks)).mean() > 0.5


def test_no_slice_is_constant_and_all_values_are_in_range(scans: dict[str, np.ndarray]) -> None:
    for ct in scans.values():
        assert ct.min() >= -1024
        assert ct.max() <= 3071
        assert all(ct.std(axis=axes).min() > 0 for axes in ((1, 2), (0, 2), (0, 1)))


def test_contrast_arrives_and_leaves(masks: Masks, scans: dict[str, np.ndarray]) -> None:
    aorta = {phase: scans[phase][core(masks, "aorta")].mean() for phase in PHASES}
    assert aorta["arterial"] > aorta["portal_venous"] + 80
    assert aorta["portal_venous"] > aorta["native"] + 60
    urine = {phase: scans[phase][core(masks, "urinary_bladder")] for phase in PHASES}
    assert urine["delayed"].max() > urine["portal_venous"].max() + 60


def test_excreted_contrast_sinks(masks: Masks, scans: dict[str, np.ndarray]) -> None:
    bladder = core(masks, "urinary_bladder")
    rows = np.flatnonzero(bladder.any(axis=(0, 2)))
    front, back = (scans["delayed"][:, part][bladder[:, part]].mean() for part in (rows[:3], rows[-3:]))
    assert back > front + 40


def test_cortex_is_brighter_than_medulla_in_the_arterial_phase_only(masks: Masks, scans: dict[str, np.ndarray]) -> None:
    kidney = masks.anatomy == structure("kidney_left").id
    outer, inner = core(masks, "kidney_left", 1) & ~core(masks, "kidney_left", 2), core(masks, "kidney_left", 3)
    contrast = {phase: scans[phase][outer].mean() - scans[phase][inner & kidney].mean() for phase in PHASES}
    assert contrast["arterial"] > contrast["native"] + 40


def test_gas_rises_to_a_horizontal_level(masks: Masks, ask: Ask) -> None:
    stomach, seen = core(masks, "stomach", 2), 0
    for case in ("c1", "c2", "c3", "c4"):
        ct = Texture().render(ask(case=case, phase="native"), masks)
        gas, rest = ((ct < -600) & stomach).sum(axis=(0, 2)), ((ct > -150) & stomach).sum(axis=(0, 2))
        if gas.sum() > 50:
            seen += 1
            level = np.flatnonzero(gas > rest).max()
            # below lies no gas but specks in food
            assert gas[level + 2 :].sum() < 0.05 * gas.sum() + 0.02 * rest.sum()
    assert seen >= 2


def test_bone_thins_and_arteries_calcify_with_age(masks: Masks, ask: Ask) -> None:
    young, old = (Texture().render(ask(age=age, phase="native"), masks) for age in (30, 85))
    bone = masks.anatomy == structure("vertebrae_L1").id
    assert young[bone].mean() > old[bone].mean() + 30
    artery = masks.anatomy == structure("aorta").id
    assert (old[artery] > 200).sum() > (young[artery] > 200).sum() + 5


def test_cortical_bone_encloses_marrow(masks: Masks, scans: dict[str, np.ndarray]) -> None:
    bone = masks.anatomy == structure("vertebrae_L1").id
    inner = core(masks, "vertebrae_L1", 2)
    shell = core(masks, "vertebrae_L1", 1) & ~inner
    assert scans["native"][shell | (bone & ~inner)].mean() > scans["native"][inner].mean() + 40


def test_lungs_and_liver_hold_vessels(masks: Masks, scans: dict[str, np.ndarray]) -> None:
    lung = core(masks, "lung_lower_lobe_right", 3)
    values = scans["portal_venous"][lung]
    assert np.percentile(values, 99.5) > -400
    assert np.percentile(values, 30) < -780
    liver = core(masks, "liver", 3)
    values = ndimage.uniform_filter(scans["portal_venous"].astype(np.float32), 3)[liver]
    skew = ((values - values.mean()) ** 3).mean() / values.std() ** 3
    assert skew > 0.2, "vessels are the bright tail of a smoothed liver"


def test_a_heavier_patient_is_noisier_behind_the_same_masks(masks: Masks, ask: Ask) -> None:
    urine = core(masks, "urinary_bladder", 3)

    def noise(weight: float) -> float:
        return float(Texture().render(ask(weight=weight), masks)[urine].std())

    assert noise(120) > 1.1 * noise(55)


@pytest.mark.parametrize(
    ("number", "host", "phase", "sign"),
    [
        (1, "kidney_left", "portal_venous", -1),
        (2, "liver", "portal_venous", -1),
        (3, "pancreas", "arterial", -1),
        (4, "lung_lower_lobe_right", "native", 1),
    ],
)
def test_tumours_stand_out_from_their_organ(
    ill: Masks, ask: Ask, number: int, host: str, phase: str, sign: int
) -> None:
    ct = Texture().render(ask(phase=phase), ill)
    tumour = ndimage.binary_erosion(ill.lesions == number)
    organ = core(ill, host) & (ndimage.maximum_filter(ill.lesions, 3) == 0)
    assert sign * (ct[tumour].mean() - ct[organ].mean()) > 15


def test_a_colon_tumour_is_enhancing_tissue(ill: Masks, ask: Ask) -> None:
    ct = Texture().render(ask(phase="portal_venous"), ill)
    tumour = ndimage.binary_erosion(ill.lesions == 5)
    assert 55 < np.median(ct[tumour]) < 130


def test_masks_without_a_body_give_air(ask: Ask) -> None:
    request = ask()
    empty = np.zeros(request.grid.shape_zyx, np.uint8)
    ct = Texture().render(request, Masks(empty, empty))
    assert abs(float(ct.mean()) + 1000) < 5


def test_an_unstated_subject_is_refused(ask: Ask, masks: Masks) -> None:
    request = Request("c0", Prompt(), Prompt(), ask().grid)
    with pytest.raises(InvalidValueError, match="phase None"):
        Texture().render(request, masks)
