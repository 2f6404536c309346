"""A coarse CT on a finer grid: the HU of structures thinner than a coarse voxel come back, and so do their borders."""

import numpy as np
from scipy import ndimage

from factory.engines.guidegen.resampling import resampled_ct, working_grid
from factory.engines.guidegen.sharpening import sharpened_ct
from manifests.geometry import Grid

FINE = Grid((24, 30, 36), (2.0, 2.0, 2.0), (5.0, -7.0, 11.0))


def scene() -> tuple[np.ndarray, np.ndarray]:
    """Soft tissue with a gas-filled tube and a bright plate little wider than a coarse voxel, and air around; and its CT."""
    labels = np.zeros(FINE.shape_zyx, np.int16)
    labels[3:21, 4:26, 4:31] = 7
    labels[4:20, 10:15, 10:15] = 300
    labels[6:18, 17:21, 8:26] = 90
    hu = {0: -1000, 7: 40, 300: -900, 90: 260}
    return labels, np.vectorize(hu.get)(labels).astype(np.float32)


def test_thin_structures_regain_their_hu_and_sharp_borders() -> None:
    labels, truth = scene()
    coarse = working_grid(FINE, 6.0)
    seen = resampled_ct(truth, FINE, coarse)
    blurred, made = resampled_ct(seen, coarse, FINE), sharpened_ct(seen, coarse, labels, FINE)
    for label, least in ((300, 200), (90, 50)):
        inside = labels == label
        assert abs(blurred[inside].mean() - truth[inside].mean()) > least
        assert abs(made[inside].mean() - truth[inside].mean()) < 0.2 * least
    assert np.abs(made - truth).mean() < np.abs(blurred - truth).mean() / 4


def test_a_structure_gets_no_hu_that_are_not_seen_where_it_is() -> None:
    """An image is blurred more than its voxels: a skin one voxel thick must not become bone for that."""
    labels, truth = scene()
    coarse = working_grid(FINE, 6.0)
    skin = labels == 7
    skin[4:20, 5:25, 5:30] = False
    labels[skin] = 5
    seen = resampled_ct(ndimage.gaussian_filter(truth, 2.0), FINE, coarse)
    made = sharpened_ct(seen, coarse, labels, FINE)
    assert -500 < made[labels == 5].mean() < 60


def test_what_labels_do_not_explain_is_kept() -> None:
    labels, truth = scene()
    coarse = working_grid(FINE, 6.0)
    ramp = truth + np.linspace(0, 120, FINE.shape_zyx[0], dtype=np.float32)[:, None, None] * (labels == 7)
    made = sharpened_ct(resampled_ct(ramp, FINE, coarse), coarse, labels, FINE)
    tissue = made[:, 22, 14]
    assert 60 < tissue[18] - tissue[6] < 75  # 12 of 23 steps of 120 HU
    np.testing.assert_allclose(made[labels == 7].mean(), ramp[labels == 7].mean(), atol=15)


def test_on_its_own_grid_a_ct_stays_as_it_is() -> None:
    labels, truth = scene()
    assert sharpened_ct(truth, FINE, labels, FINE) is truth
