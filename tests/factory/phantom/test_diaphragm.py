"""The diaphragm and its crura: what they keep apart, on a grid of 3 mm."""

import numpy as np
import pytest
from scipy import ndimage

from factory.config import preset
from manifests.anatomy import structure

GRID = preset("demo").grid()
MUSCLE = structure("skeletal_muscle").id
SLIGHT = {"age": 60, "sex": "female", "height": 152, "weight": 48}


@pytest.fixture(
    scope="module", params=[{}, {"sex": "female", "age": 62, "height": 162, "weight": 66}], ids=["man", "woman"]
)
def fine(request, body):
    return body(seed=1, grid=GRID, **request.param)


@pytest.mark.parametrize("organ", ["liver", "spleen", "stomach"])
def test_a_sheet_of_muscle_parts_lungs_from_the_organs_below(fine, organ):
    below, lungs = fine.mask(organ), fine.mask("lung")
    top = len(below) - 1 - below[::-1].argmax(axis=0)
    z = np.arange(len(below))[:, None, None]
    over = lungs & (z > top) & below.any(axis=0)
    gap = np.where(over.any(axis=0), over.argmax(axis=0) - top - 1, -1)
    y, x = np.nonzero(gap >= 0)
    assert len(y) > 40
    assert (gap[y, x] >= 1).mean() > 0.97
    near = gap[y, x] == 1
    between = fine.labels[top[y, x] + 1, y, x][near]
    assert near.sum() > 20
    assert (between == MUSCLE).mean() > 0.85


def test_crura_lie_around_the_aorta_where_it_leaves_the_chest(fine):
    shares = []
    for z in np.flatnonzero(fine.mask("vertebrae_T12").any(axis=(1, 2))):
        aorta = fine.mask("aorta")[z]
        front = np.argwhere(aorta)[:, 0].mean()
        ring = ndimage.binary_dilation(aorta, iterations=2) & ~aorta
        ring &= np.arange(len(aorta))[:, None] < front  # behind it lies the spine
        shares.append((fine.labels[z][ring] == MUSCLE).mean())
    assert np.mean(shares) > 0.35


@pytest.mark.parametrize("seed", [40, 42, 45])
def test_a_large_stomach_stays_before_the_pancreas(body, seed):
    full = body(seed=seed, enlarged_organs=("stomach",), **SLIGHT)
    stomach, gland = full.mask("stomach"), full.mask("pancreas")
    y = np.arange(gland.shape[1])[None, :, None]
    back = np.where(gland, y, -1).max(axis=1, keepdims=True)
    behind = stomach & (y > back) & (back >= 0)
    assert behind.sum() < 0.06 * stomach.sum()
