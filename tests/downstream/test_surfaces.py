"""Surface metrics against brute force, published cases, MONAI and medpy, and the conventions for empty masks."""

import itertools
import math

import numpy as np
import pytest
from scipy.ndimage import binary_erosion, gaussian_filter
from scipy.spatial.distance import cdist

from downstream import surfels
from downstream.surfaces import boundary, check_masks, nearest_mm, paper_scores, surface_scores
from manifests.errors import InvalidValueError


def random_pairs(count, seed, largest=11):
    """Pairs of masks from speckle to smooth blobs, with thin axes, some touching the image's ends."""
    rng = np.random.default_rng(seed)
    while count:
        shape = tuple(int(n) for n in rng.integers(1, largest, 3))
        sigma = rng.choice([0.0, 0.7, 1.5])
        field = gaussian_filter(rng.standard_normal(shape), sigma)
        other = field + rng.uniform(0, 1.5) * gaussian_filter(rng.standard_normal(shape), sigma)
        level = np.quantile(field, rng.uniform(0.05, 0.98))
        spacing = tuple(float(s) for s in rng.uniform(0.5, 5, 3).round(2))
        if (field >= level).any() and (other >= level).any():
            count -= 1
            yield other >= level, field >= level, spacing, float(rng.uniform(0, 6))


def brute_boundary(mask):
    around = np.lib.stride_tricks.sliding_window_view(np.pad(mask, 1), (3, 3, 3))
    cross = np.array([(1, 1, 0), (1, 1, 2), (1, 0, 1), (1, 2, 1), (0, 1, 1), (2, 1, 1)])
    surrounded = around[..., cross[:, 0], cross[:, 1], cross[:, 2]].all(-1)
    return np.argwhere(mask & ~surrounded)


def brute_surfels(mask, spacing):
    """Corner points that some, not all, of their eight voxels surround, with their areas."""
    around = np.lib.stride_tricks.sliding_window_view(np.pad(mask, 1), (2, 2, 2)).reshape(*np.add(mask.shape, 1), 8)
    points = np.argwhere(around.any(-1) & ~around.all(-1))
    code = around[tuple(points.T)] @ (1 << np.arange(8))
    return points, surfels.areas_mm2(spacing)[code]


def brute_distances(ours, theirs, spacing):
    pairs = cdist(ours * spacing, theirs * spacing)
    return pairs.min(1), pairs.min(0)


def brute_scores(predicted, reference, spacing, tolerance):
    there, back = brute_distances(brute_boundary(predicted), brute_boundary(reference), spacing)
    (ours, our_areas), (theirs, their_areas) = brute_surfels(predicted, spacing), brute_surfels(reference, spacing)
    out, home = brute_distances(ours, theirs, spacing)
    both = np.concatenate([there, back])
    return {
        "dice": 2 * (predicted & reference).sum() / (predicted.sum() + reference.sum()),
        "nsd": (our_areas[out <= tolerance].sum() + their_areas[home <= tolerance].sum())
        / (our_areas.sum() + their_areas.sum()),
        "hd95_mm": max(np.percentile(there, 95), np.percentile(back, 95)),
        "hd95_pooled_mm": np.percentile(both, 95),
        "mean_distance_mm": both.mean(),
    }


def test_scores_equal_brute_force_on_200_random_pairs():
    for predicted, reference, spacing, tolerance in random_pairs(200, seed=0):
        scores = surface_scores(predicted, reference, spacing, tolerance_mm=tolerance)
        for name, value in brute_scores(predicted, reference, spacing, tolerance).items():
            assert getattr(scores, name) == pytest.approx(value, abs=1e-6), (name, predicted.shape)


def test_scores_equal_brute_force_on_every_pair_of_masks_of_two_by_two_voxels():
    masks = [np.array(bits, bool).reshape(1, 2, 2) for bits in itertools.product((0, 1), repeat=4)]
    spacing = (3.0, 2.0, 1.0)
    for predicted, reference in itertools.product(masks[1:], masks[1:]):
        scores = surface_scores(predicted, reference, spacing, tolerance_mm=1.0)
        for name, value in brute_scores(predicted, reference, spacing, 1.0).items():
            assert getattr(scores, name) == pytest.approx(value, abs=1e-6), name


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 1, 7), (5, 1, 1), (4, 5, 6)])
def test_empty_masks_follow_the_table(shape):
    spacing = (3.0, 2.0, 1.0)
    diagonal = math.dist((0, 0, 0), np.multiply(shape, spacing))
    some, none = np.ones(shape, bool), np.zeros(shape, bool)
    ml = math.prod(shape) * 6 / 1000
    miss, alarm, absent = (surface_scores(*pair, spacing) for pair in ((none, some), (some, none), (none, none)))
    for scores in (miss, alarm):
        assert (scores.dice, scores.nsd) == (0, 0)
        assert scores.hd95_mm == scores.hd95_pooled_mm == scores.mean_distance_mm == pytest.approx(diagonal)
    assert (miss.outcome, alarm.outcome, absent.outcome) == ("miss", "false alarm", "absent")
    assert miss.volume_error_ml == -alarm.volume_error_ml == pytest.approx(-ml)
    assert (miss.volume_error_relative, alarm.volume_error_relative) == (-1, math.inf)
    assert absent.volume_error_ml == 0
    values = (absent.dice, absent.nsd, absent.hd95_mm, absent.mean_distance_mm, absent.volume_error_relative)
    assert all(math.isnan(value) for value in values)
    same = surface_scores(some, some, spacing, tolerance_mm=0.0)
    assert (same.dice, same.nsd, same.hd95_mm, same.mean_distance_mm, same.volume_error_ml) == (1, 1, 0, 0, 0)


def test_no_hit_is_worse_than_a_miss():
    for predicted, reference, spacing, _ in random_pairs(50, seed=1):
        hit = surface_scores(predicted, reference, spacing)
        miss = surface_scores(np.zeros_like(predicted), reference, spacing)
        assert hit.hd95_mm <= miss.hd95_mm
        assert hit.mean_distance_mm <= miss.mean_distance_mm


def test_paper_conventions_call_a_miss_perfect():
    some, none = np.zeros((3, 3, 9), bool), np.zeros((3, 3, 9), bool)
    some[1, 1, 1] = True
    assert paper_scores(none, some) == paper_scores(some, none) == (0.0, 0.0)
    assert paper_scores(none, none) == (1.0, 1.0)
    assert paper_scores(some, np.roll(some, 4, axis=2)) == (0.0, 4.0)


def test_published_case_of_two_voxels_two_apart():
    """Nikolov et al., test "2 pixels 2 mm away": half of the corner points lie 1 mm off, half 2 mm."""
    predicted, reference = np.zeros((2, 128, 128, 128), bool)
    reference[50, 60, 70], predicted[50, 60, 72] = True, True
    scores = surface_scores(predicted, reference, (3.0, 2.0, 1.0), tolerance_mm=1.0)
    assert (scores.nsd, scores.dice) == (pytest.approx(0.5), 0)


def test_published_case_of_two_blocks_a_slice_apart():
    """Nikolov et al., test "two cubes shifted by one pixel": surface Dice at 1 mm printed as 0.836, Dice 0.990.

    Derived: 50 and 51 slabs of 100 x 100 voxels of 2 x 1 x 1 mm. Tops and walls agree, and of the reference's
    end also the rim and the points next to it, 1 mm from the other's wall. The rest of that end and all of
    the other's are 2 mm apart.
    """
    predicted, reference = np.zeros((2, 100, 100, 100), bool)
    reference[:50], predicted[:51] = True, True
    scores = surface_scores(predicted, reference, (2.0, 1.0, 1.0), tolerance_mm=1.0)
    face, edge, corner = 99 * 99 * 1.0, 4 * 99 * math.hypot(2, 1) / 2, 4 * math.sqrt(2 * 2 + 2 * 2 + 1) / 8
    cap = face + edge + corner
    ring = 4 * 99 * 2.0 + 4 * math.hypot(1, 1) / 2 * 2  # walls and upright edges of one layer of points
    total = (2 * cap + 49 * ring) + (2 * cap + 50 * ring)
    assert scores.nsd == pytest.approx((total - 97 * 97 - cap) / total, abs=1e-12)
    assert scores.nsd == pytest.approx(0.836, abs=5e-4)
    assert scores.dice == pytest.approx(100 / 101)
    assert scores.hd95_mm == 2


def test_areas_equal_the_published_table():
    """Values of google-deepmind/surface-distance 1f805ce at 3 x 2 x 1 mm, one for each case of marching cubes."""
    areas = surfels.areas_mm2((3.0, 2.0, 1.0))
    published = {
        "0 1 3 6 7 15 22": (0, 0.875, 1.802775638, 1.75, 3.625, 2.0, 2.625),
        "23 24 25 27 30 60 105": (5.25, 1.75, 4.229101966, 6.758189813, 4.5, 3.605551275, 3.5),
    }
    for codes, values in published.items():
        np.testing.assert_allclose(areas[[int(code) for code in codes.split()]], values, atol=1e-9)
    assert areas.sum() == pytest.approx(950.4895895094023)
    assert (areas * np.arange(256) ** 2).sum() == pytest.approx(19871303.498654805)


def test_nearest_is_exact_by_tree_and_by_transform():
    rng = np.random.default_rng(2)
    spacing = (2.5, 0.7, 0.9)
    for share in (0.001, 0.02, 0.3, 0.9):  # the transform takes over at a tenth
        points, targets = rng.random((2, 17, 19, 23)) < share
        targets[3, 4, 5] = True
        expected = cdist(np.argwhere(points) * spacing, np.argwhere(targets) * spacing).min(1)
        np.testing.assert_allclose(nearest_mm(points, targets, spacing), expected, atol=1e-9)
    assert nearest_mm(targets, np.zeros_like(targets), spacing).min() == math.inf


def test_tolerance_is_met_by_equal_distance_despite_rounding():
    reference, predicted = np.zeros((2, 4, 4, 12), bool)
    reference[1:3, 1:3, 1:3], predicted[1:3, 1:3, 4:6] = True, True
    assert surface_scores(predicted, reference, (0.7, 0.7, 0.1), tolerance_mm=0.3).nsd == 1  # 3 * 0.1 > 0.3


def test_crop_changes_nothing_but_what_a_miss_costs():
    for predicted, reference, spacing, tolerance in random_pairs(20, seed=3):
        wide = [np.pad(mask, ((2, 3), (0, 4), (5, 1))) for mask in (predicted, reference)]
        assert surface_scores(*wide, spacing, tolerance_mm=tolerance) == surface_scores(
            predicted, reference, spacing, tolerance_mm=tolerance
        )
    scores = surface_scores(np.zeros_like(reference), reference, spacing, diagonal_mm=1234.0)
    assert scores.hd95_mm == 1234


def test_views_score_like_copies():
    predicted, reference, spacing, tolerance = next(random_pairs(1, seed=4))
    views = [np.asfortranarray(mask) for mask in (predicted, reference)]
    assert surface_scores(*views, spacing, tolerance_mm=tolerance) == surface_scores(
        predicted, reference, spacing, tolerance_mm=tolerance
    )


@pytest.mark.parametrize(
    ("spacing", "tolerance", "named"),
    [
        ((1.0, 0.0, 1.0), 1.0, "spacing_mm_zyx"),
        ((1.0, math.nan, 1.0), 1.0, "spacing_mm_zyx"),
        ((1.0, 1.0, 1.0), -1.0, "tolerance_mm"),
        ((1.0, 1.0, 1.0), math.nan, "tolerance_mm"),
    ],
)
def test_bad_input_is_named(spacing, tolerance, named):
    mask = np.ones((2, 2, 2), bool)
    with pytest.raises(InvalidValueError, match=named):
        surface_scores(mask, mask, spacing, tolerance_mm=tolerance)


def test_masks_on_two_grids_are_refused():
    with pytest.raises(InvalidValueError, match="masks to compare"):
        check_masks(np.ones((2, 2, 2), bool), np.ones((2, 2, 3), bool), (1.0, 1.0, 1.0), 1.0)


def test_scores_equal_medpy_on_random_pairs():
    binary = pytest.importorskip("medpy.metric.binary")
    for predicted, reference, spacing, _ in random_pairs(200, seed=5):
        scores = surface_scores(predicted, reference, spacing)
        assert scores.dice == pytest.approx(binary.dc(predicted, reference), abs=1e-6)
        assert scores.hd95_pooled_mm == pytest.approx(binary.hd95(predicted, reference, spacing), abs=1e-6)


@pytest.mark.filterwarnings("ignore:.*always_return_as_numpy:FutureWarning")  # of MONAI's own
def test_scores_equal_monai_on_random_pairs():
    """MONAI keeps distances in float32; its percentiles are taken again in float64 from its distances."""
    metrics = pytest.importorskip("monai.metrics")
    torch = pytest.importorskip("torch")
    for predicted, reference, spacing, tolerance in random_pairs(200, seed=6):
        scores = surface_scores(predicted, reference, spacing, tolerance_mm=tolerance)
        ours, theirs = (torch.tensor(mask)[None, None].float() for mask in (predicted, reference))
        nsd = metrics.compute_surface_dice(
            ours, theirs, [tolerance], include_background=True, spacing=spacing, use_subvoxels=True
        )
        mean = metrics.compute_average_surface_distance(
            ours, theirs, include_background=True, symmetric=True, spacing=spacing
        )
        hd95 = metrics.compute_hausdorff_distance(ours, theirs, include_background=True, percentile=95, spacing=spacing)
        _, there_back, _ = metrics.utils.get_edge_surface_distance(
            ours[0, 0], theirs[0, 0], spacing=spacing, symmetric=True
        )
        exact = max(np.percentile(distances.double().numpy(), 95) for distances in there_back)
        assert scores.nsd == pytest.approx(nsd.item(), abs=1e-6)
        assert scores.mean_distance_mm == pytest.approx(mean.item(), abs=1e-6, rel=1e-6)
        assert scores.hd95_mm == pytest.approx(exact, abs=1e-6, rel=1e-6)
        assert scores.hd95_mm == pytest.approx(hd95.item(), rel=1e-5, abs=1e-6)


def test_boundary_is_what_one_erosion_removes():
    for predicted, _, _, _ in random_pairs(20, seed=7):
        np.testing.assert_array_equal(boundary(predicted), predicted & ~binary_erosion(predicted))
