"""The diaphragm and its crura: what they keep apart, on a grid of 3 mm."""

import numpy as np
import pytest
from scipy import ndimage

from factory.config import preset
from factory.engines.phantom import draw_build, paint
from manifests.anatomy import group, structure
from manifests.identity import rng
from prompts.schema import Patient, Prompt

GRID = preset("demo").grid()
MAN = Patient(age_years=55, sex="male", height_cm=175, weight_kg=78)
WOMAN = Patient(age_years=62, sex="female", height_cm=162, weight_kg=66)
SLIGHT = Patient(age_years=60, sex="female", height_cm=152, weight_kg=48)


@pytest.fixture(scope="module", params=[MAN, WOMAN], ids=["man", "woman"])
def labels(request) -> np.ndarray:
    return paint(draw_build(Prompt(patient=request.param), rng("c1", "phantom")), GRID)


def mask(labels: np.ndarray, *names: str) -> np.ndarray:
    return np.isin(labels, [entry.id for name in names for entry in group(name)])


@pytest.mark.parametrize("organ", ["liver", "spleen", "stomach"])
def test_a_sheet_of_muscle_parts_lungs_from_the_organs_below(labels, organ):
    below, lungs = mask(labels, organ), mask(labels, "lung")
    top = len(below) - 1 - below[::-1].argmax(axis=0)
    z = np.arange(len(labels))[:, None, None]
    over = lungs & (z > top) & below.any(axis=0)
    gap = np.where(over.any(axis=0), over.argmax(axis=0) - top - 1, -1)
    y, x = np.nonzero(gap >= 0)
    assert len(y) > 40
    assert (gap[y, x] >= 1).mean() > 0.97
    near = gap[y, x] == 1
    between = labels[top[y, x] + 1, y, x][near]
    assert near.sum() > 20
    assert (between == structure("skeletal_muscle").id).mean() > 0.85


def test_crura_lie_around_the_aorta_where_it_leaves_the_chest(labels):
    levels = np.flatnonzero(mask(labels, "vertebrae_T12").any(axis=(1, 2)))
    muscle, shares = structure("skeletal_muscle").id, []
    for z in levels:
        aorta = labels[z] == structure("aorta").id
        front = np.argwhere(aorta)[:, 0].mean()
        ring = ndimage.binary_dilation(aorta, iterations=2) & ~aorta
        ring &= np.arange(labels.shape[1])[:, None] < front  # behind it lies the spine
        shares.append((labels[z][ring] == muscle).mean())
    assert np.mean(shares) > 0.35


@pytest.mark.parametrize("seed", [40, 42, 45])
def test_a_large_stomach_stays_before_the_pancreas(seed):
    full = Prompt(patient=SLIGHT, enlarged_organs=("stomach",))
    labels = paint(draw_build(full, rng(f"c{seed}", "phantom")), preset("tiny").grid())
    stomach, gland = mask(labels, "stomach"), mask(labels, "pancreas")
    y = np.arange(labels.shape[1])[None, :, None]
    back = np.where(gland, y, -1).max(axis=1, keepdims=True)
    behind = stomach & (y > back) & (back >= 0)
    assert behind.sum() < 0.06 * stomach.sum()
