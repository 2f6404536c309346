"""A torso of ellipsoids with every kind of tissue, and requests for it."""

from collections.abc import Callable

import numpy as np
import pytest

from factory.engines.base import Masks, Request
from manifests.anatomy import structure
from manifests.case import Lesion
from manifests.geometry import Grid
from prompts.schema import Patient, Prompt, Study

SPACING = (4.0, 3.0, 3.0)
SHAPE = (64, 72, 100)
PARTS = (
    # name, centre (z, y, x) and half-axes in mm
    ("subcutaneous_fat", (128, 108, 150), (140, 100, 135)),
    ("skeletal_muscle", (128, 108, 150), (150, 82, 117)),
    ("visceral_fat", (128, 104, 150), (140, 68, 100)),
    ("lung_upper_lobe_left", (205, 100, 197), (42, 55, 42)),
    ("lung_lower_lobe_left", (170, 118, 200), (30, 48, 42)),
    ("lung_lower_lobe_right", (185, 105, 102), (60, 58, 44)),
    ("heart", (190, 85, 160), (38, 34, 36)),
    ("liver", (105, 92, 98), (42, 52, 46)),
    ("spleen", (112, 125, 214), (28, 30, 22)),
    ("stomach", (108, 78, 190), (26, 34, 30)),
    ("colon_transverse", (60, 62, 150), (15, 18, 62)),
    ("small_bowel", (50, 95, 160), (22, 26, 46)),
    ("kidney_left", (80, 136, 206), (36, 20, 22)),
    ("kidney_right", (76, 136, 96), (36, 20, 22)),
    ("pancreas", (92, 104, 165), (9, 11, 40)),
    ("urinary_bladder", (18, 80, 150), (16, 26, 30)),
    ("vertebrae_L1", (110, 158, 150), (120, 22, 24)),
    ("aorta", (128, 124, 160), (140, 11, 11)),
    ("inferior_vena_cava", (90, 124, 136), (70, 11, 11)),
    ("portal_vein_and_splenic_vein", (100, 108, 130), (8, 8, 22)),
)
TUMOURS = (
    ("kidney", "kidney_left", (86, 134, 212), 22.0),
    ("liver", "liver", (108, 85, 84), 40.0),
    ("pancreas", "pancreas", (92, 104, 176), 16.0),
    ("lung", "lung_lower_lobe_right", (190, 98, 96), 24.0),
    ("colon", "colon_transverse", (60, 66, 175), 22.0),
)


def ellipsoid(centre: tuple[float, ...], half: tuple[float, ...]) -> np.ndarray:
    axes = (np.arange(n) * s for n, s in zip(SHAPE, SPACING, strict=True))
    z, y, x = (((axis - c) / h) ** 2 for axis, c, h in zip(axes, centre, half, strict=True))
    return z[:, None, None] + y[None, :, None] + x <= 1


def lesion(number: int, organ: str, site: str, size_mm: float) -> Lesion:
    return Lesion(id=number, organ=organ, site=site, size_mm=size_mm, volume_ml=1.0, center_mm_xyz=(0, 0, 0))


def torso(*, tumours: bool) -> Masks:
    anatomy, lesions, records = np.zeros(SHAPE, np.uint8), np.zeros(SHAPE, np.uint8), []
    for name, centre, half in PARTS:
        anatomy[ellipsoid(centre, half)] = structure(name).id
    for number, (organ, site, centre, size) in enumerate(TUMOURS if tumours else (), start=1):
        lesions[ellipsoid(centre, (size / 2,) * 3) & (anatomy == structure(site).id)] = number
        records.append(lesion(number, organ, site, size))
    return Masks(anatomy, lesions, tuple(records))


@pytest.fixture(scope="session")
def masks() -> Masks:
    return torso(tumours=False)


@pytest.fixture(scope="session")
def ill() -> Masks:
    return torso(tumours=True)


@pytest.fixture(scope="session")
def ask() -> Callable[..., Request]:
    def request(case: str = "c0", phase: str = "portal_venous", age: float = 60, weight: float = 75) -> Request:
        patient = Patient(age_years=age, sex="male", height_cm=175, weight_kg=weight)
        subject = Prompt(patient=patient, study=Study(contrast_phase=phase, region="torso"))
        return Request(case, subject, subject, Grid(SHAPE, SPACING))

    return request
