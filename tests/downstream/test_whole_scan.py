from collections.abc import Callable

import numpy as np
import pytest
from jaxtyping import Float32

from downstream.whole_scan import ScanNetwork, segment_scan
from manifests.geometry import Grid

GRID = Grid((50, 60, 70), (3.0, 2.0, 2.0), (-70.0, -60.0, 0.0))
SEEN: list[tuple[int, ...]] = []


def bright_is_liver(values: Float32[np.ndarray, "a b c"]) -> Float32[np.ndarray, "labels a b c"]:
    """Scores of a network that calls what is above 40 HU liver."""
    SEEN.append(values.shape)
    return np.stack([0 * values, values - 40])


@pytest.fixture
def network() -> Callable[..., ScanNetwork]:
    def make(*scales: float) -> ScanNetwork:
        SEEN.clear()
        return ScanNetwork(bright_is_liver, {"liver": 1}, 4.0, (8, 8, 8), (-1024.0, 3000.0), 0.0, 1.0, scales=scales)

    return make


@pytest.fixture
def ball() -> tuple[np.ndarray, np.ndarray]:
    """A water phantom with a bright ball of 30 mm radius off its middle, and the ball."""
    z, y, x = (np.arange(n) * s for n, s in zip(GRID.shape_zyx, GRID.spacing_mm_zyx, strict=True))
    apart = (z[:, None, None] - 80) ** 2 + (y[:, None] - 55) ** 2 + (x - 80) ** 2
    return np.where(apart < 30**2, 100, -20).astype(np.int16), apart < 30**2


@pytest.mark.parametrize("scales", [(1.0,), (0.9,), (0.8, 1.0, 1.3)])
def test_a_scan_read_at_any_scale_is_labelled_on_its_own_grid(network, ball, scales) -> None:
    ct, mask = ball
    found = segment_scan(ct, GRID, network(*scales)) == 1
    assert 2 * (found & mask).sum() / (found.sum() + mask.sum()) > 0.95
    centres = [np.argwhere(one).mean(0) * GRID.spacing_mm_zyx for one in (found, mask)]
    np.testing.assert_allclose(*centres, atol=0.5)


def test_a_smaller_scale_shows_the_network_more_voxels(network, ball) -> None:
    segment_scan(ball[0], GRID, network(0.5, 1.0))
    assert [shape[0] for shape in SEEN] == [75, 38]


def test_scores_of_scales_are_averaged(ball) -> None:
    """What one scale misses by less than another finds it by is found."""
    asked = iter((-10.0, 30.0))

    def uneven(values: np.ndarray) -> np.ndarray:
        return np.stack([0 * values, np.where(values > 40, next(asked), -10)]).astype(np.float32)

    network = ScanNetwork(uneven, {"liver": 1}, 4.0, (8, 8, 8), (-1024.0, 3000.0), 0.0, 1.0, scales=(1.0, 0.95))
    assert (segment_scan(ball[0], GRID, network)[ball[1]] == 1).mean() > 0.9


def test_what_the_finest_scale_alone_can_tell_apart_stays_apart() -> None:
    """Plates of 3 mm every 8 mm, which no grid of 4 mm holds."""
    grid = Grid((48, 40, 40), (1.0, 2.0, 2.0))
    mask = np.zeros(grid.shape_zyx, bool)
    mask[np.arange(48) % 8 < 3] = True
    ct = np.where(mask, 100, -20).astype(np.int16)
    dice = []
    for scales in ((1.0,), (0.5, 1.0)):
        network = ScanNetwork(bright_is_liver, {}, 4.0, (8, 8, 8), (-1024.0, 3000.0), 0.0, 1.0, scales=scales)
        found = segment_scan(ct, grid, network) == 1
        dice.append(2 * (found & mask).sum() / (found.sum() + mask.sum()))
    assert dice[1] > 0.8
    assert dice[0] < dice[1] - 0.1
