"""Bodies painted once for all tests of the phantom."""

from collections.abc import Callable
from functools import cache

import numpy as np
import pytest

from factory.config import preset
from factory.engines.phantom import Build, draw_build, paint
from manifests.anatomy import group, structure
from manifests.geometry import Grid
from manifests.identity import rng
from prompts.schema import Patient, Prompt

GRID = preset("tiny").grid()


def subject(age: float = 55, sex: str = "male", height: float = 175, weight: float = 78, **stated) -> Prompt:
    patient = Patient(age_years=age, sex=sex, height_cm=height, weight_kg=weight)
    return Prompt(patient=patient, **stated)


class Body:
    """A painted body with measurements."""

    def __init__(self, build: Build, grid: Grid) -> None:
        self.build = build
        self.grid = grid
        self.labels = paint(build, grid)
        self._counts = np.bincount(self.labels.ravel(), minlength=256)

    def volume_ml(self, name: str) -> float:
        return float(self._counts[structure(name).id] * self.grid.voxel_volume_ml)

    def mask(self, *names: str) -> np.ndarray:
        return np.isin(self.labels, [entry.id for name in names for entry in group(name)])

    def centre_mm(self, name: str) -> np.ndarray:
        """Centroid (x, y, z)."""
        index = np.argwhere(self.mask(name)).mean(axis=0)
        return np.array(self.grid.origin_mm_xyz) + index[::-1] * self.grid.spacing_mm_zyx[0]


@cache
def _painted(seed: int, prompt: Prompt, grid: Grid) -> Body:
    return Body(draw_build(prompt, rng(f"c{seed}", "phantom")), grid)


@pytest.fixture(scope="session")
def body() -> Callable[..., Body]:
    """Paint a body of a seed and a subject, at 6 mm or on a grid; the same arguments give the same object."""
    return lambda seed=0, grid=GRID, **stated: _painted(seed, subject(**stated), grid)


PEOPLE = (
    {"seed": 1, "sex": "male"},
    {"seed": 2, "sex": "female", "age": 62, "height": 162, "weight": 66},
    {"seed": 3, "sex": "female", "age": 25, "height": 141, "weight": 40},
    {"seed": 4, "sex": "male", "age": 88, "height": 204, "weight": 158},
    {"seed": 5, "sex": "male", "age": 45, "height": 150, "weight": 130},
    {"seed": 6, "sex": "female", "age": 35, "height": 190, "weight": 52},
)


@pytest.fixture(scope="session", params=PEOPLE, ids=lambda p: f"{p['sex']}-{p.get('height', 175)}")
def person(request, body) -> Body:
    """People of ordinary and of extreme size."""
    return body(**request.param)
