"""Stomach walls, collapsed loops, gas that rises to the front, renal pelvis, mesenteric vessels."""

from collections.abc import Callable

import numpy as np
import pytest
from scipy import ndimage

from factory.engines.base import Masks, Request
from factory.engines.texture import Texture
from manifests.anatomy import structure
from manifests.geometry import Grid
from prompts.schema import Patient, Prompt, Study

SPACING = (3.0, 3.0, 3.0)
SHAPE = (48, 72, 96)
FAT = structure("visceral_fat").id


def ball(centre: tuple[float, ...], half: tuple[float, ...]) -> np.ndarray:
    axes = (np.arange(n) * s for n, s in zip(SHAPE, SPACING, strict=True))
    z, y, x = (((axis - c) / h) ** 2 for axis, c, h in zip(axes, centre, half, strict=True))
    return z[:, None, None] + y[None, :, None] + x <= 1


def abdomen(*parts: tuple[str, np.ndarray]) -> Masks:
    anatomy = np.full(SHAPE, FAT, np.uint8)
    for name, part in parts:
        anatomy[part] = structure(name).id
    return Masks(anatomy, np.zeros(SHAPE, np.uint8), ())


def render(masks: Masks, case: str, phase: str = "native") -> np.ndarray:
    patient = Patient(age_years=60, sex="male", height_cm=175, weight_kg=75)
    subject = Prompt(patient=patient, study=Study(contrast_phase=phase, region="torso"))
    return Texture().render(Request(case, subject, subject, Grid(SHAPE, SPACING)), masks)


@pytest.fixture(scope="module")
def mean_of() -> Callable[..., float]:
    """Mean HU of some voxels over eight cases."""

    def mean(masks: Masks, where: np.ndarray, phase: str = "native") -> float:
        return float(np.mean([render(masks, f"c{n}", phase)[where].mean() for n in range(8)]))

    return mean


def test_an_empty_stomach_is_mostly_wall(mean_of: Callable[..., float]) -> None:
    means = []
    for half in ((24, 14, 14), (54, 45, 45)):
        part = ball((70, 100, 140), half)
        inner = ndimage.binary_erosion(part, iterations=2)
        shell = ndimage.binary_erosion(part) & ~inner
        means.append(mean_of(abdomen(("stomach", part)), shell, "portal_venous"))
    # enhancing wall two voxels deep where it is empty, fluid and gas there where it is full
    assert means[0] > means[1] + 150  # 84 apart if both had the same wall, by these cases


def test_gas_lies_in_the_front_of_the_colon() -> None:
    front, back = ball((70, 50, 140), (18, 18, 90)), ball((70, 165, 140), (18, 18, 90))
    masks = abdomen(("colon_transverse", front | back))
    gas = [[(render(masks, f"c{n}")[part] < -600).mean() for part in (front, back)] for n in range(12)]
    shares = np.mean(gas, axis=0)
    assert shares[0] > shares[1] + 0.25  # 0.13 apart if gas went anywhere, by these cases


def test_some_bowels_are_collapsed_and_some_are_open() -> None:
    part = ball((70, 100, 140), (40, 60, 90))
    inner = ndimage.binary_erosion(part, iterations=3)
    means = [np.median(render(abdomen(("small_bowel", part)), f"c{n}", "portal_venous")[inner]) for n in range(10)]
    # wall has 68 HU; fluid at most 34, or at least 90 with oral contrast
    assert any(50 < mean < 86 for mean in means)
    assert any(mean < 42 for mean in means)


def test_the_renal_pelvis_lies_in_the_sinus_and_fills_late(mean_of: Callable[..., float]) -> None:
    bean = ball((70, 100, 140), (54, 27, 30))
    hilum = ball((70, 100, 118), (24, 9, 24))
    masks = abdomen(("kidney_left", bean & ~hilum))
    deep = hilum & ball((70, 100, 128), (15, 9, 12))
    far = ball((70, 100, 40), (15, 9, 12))
    early, late, fat = (
        mean_of(masks, part, phase) for part, phase in ((deep, "native"), (deep, "delayed"), (far, "native"))
    )
    assert fat + 15 < early < 0  # fat with some water in it
    assert late > early + 60


def test_mesenteric_vessels_branch_in_the_fat_between_coils() -> None:
    coils = ball((70, 100, 70), (60, 60, 20)) | ball((70, 100, 210), (60, 60, 20))
    vein = ball((70, 110, 140), (40, 5, 5))
    between = ball((70, 100, 140), (40, 40, 40)) & ~ndimage.binary_dilation(vein, iterations=2)
    bare, supplied = (abdomen(("small_bowel", coils), *more) for more in ((), (("superior_mesenteric_vein", vein),)))
    near = between & (ndimage.distance_transform_edt(~coils) * 3.0 < 40.0)
    bright = [(render(masks, "c0", "portal_venous")[near] > -30).mean() for masks in (bare, supplied)]
    assert bright[1] > bright[0] + 0.01
