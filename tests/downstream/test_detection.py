"""Lesion-wise detection against brute force over all matchings, its conventions, and hand-made cases."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from downstream.detection import Detection, Match, components, detect, pool
from manifests.errors import InvalidValueError

maps = arrays(np.uint8, (1, 3, 6), elements=st.sampled_from([0, 0, 2, 3, 7]))


def line(*ids):
    return np.array(ids, np.int32).reshape(1, 1, -1)


def brute_best(predicted, reference, threshold):
    """Largest number of allowed pairs and then of their overlaps, over every one-to-one matching."""
    ours, theirs = (sorted(set(ids.ravel().tolist()) - {0}) for ids in (predicted, reference))
    iou = {
        (p, r): ((predicted == p) & (reference == r)).sum() / ((predicted == p) | (reference == r)).sum()
        for p in ours
        for r in theirs
    }
    padded = [*theirs, *[None] * len(ours)]
    best = (0, 0.0)
    for choice in itertools.permutations(padded, len(ours)):
        kept = [iou[p, r] for p, r in zip(ours, choice, strict=True) if r is not None and iou[p, r] >= threshold]
        best = max(best, (len(kept), sum(kept)))
    return best, len(ours), len(theirs)


@settings(deadline=None, max_examples=60)
@given(maps, maps, st.sampled_from([0.01, 0.1, 0.5, 1.0]))
def test_matching_is_the_best_of_all(predicted, reference, threshold):
    found = detect(predicted, reference, iou_threshold=threshold)
    (hits, overlap), ours, theirs = brute_best(predicted, reference, threshold)
    assert (found.hits, found.hits + found.false_positives, found.hits + found.misses) == (hits, ours, theirs)
    assert sum(match.iou for match in found.matches) == pytest.approx(overlap)
    assert len({match.predicted_id for match in found.matches}) == hits
    for match in found.matches:
        pair = (predicted == match.predicted_id, reference == match.reference_id)
        assert match.dice == pytest.approx(2 * (pair[0] & pair[1]).sum() / (pair[0].sum() + pair[1].sum()))


def test_pieces_and_bridges_count_once():
    lesion = line(0, 1, 1, 1, 1, 1, 0)
    pieces = line(0, 4, 4, 0, 5, 0, 0)
    assert detect(pieces, lesion) == Detection(1, 1, 0, (Match(4, 1, 2 / 5),))
    assert detect(lesion, pieces) == Detection(1, 0, 1, (Match(1, 4, 2 / 5),))


def test_more_pairs_come_before_more_overlap():
    predicted, reference = line(1, 1, 1, 1, 1, 2), line(3, 4, 4, 4, 4, 4)
    found = detect(predicted, reference, iou_threshold=0.1)
    assert [(match.predicted_id, match.reference_id) for match in found.matches] == [(1, 3), (2, 4)]


def test_empty_maps_follow_the_table():
    some, none = line(1, 0, 2), line(0, 0, 0)
    miss, alarm, absent = detect(none, some), detect(some, none), detect(none, none)
    assert (miss.f1, miss.recall, math.isnan(miss.precision)) == (0, 0, True)
    assert (alarm.f1, alarm.precision, math.isnan(alarm.recall)) == (0, 0, True)
    assert all(math.isnan(rate) for rate in (absent.f1, absent.recall, absent.precision))
    assert (miss.misses, alarm.false_positives) == (2, 2)
    assert pool([]).hits == 0


def test_pool_weighs_lesions_not_cases():
    pooled = pool([Detection(8, 1, 1), Detection(0, 3, 0), Detection(0, 0, 0)])
    assert (pooled.hits, pooled.false_positives, pooled.misses) == (8, 4, 1)
    assert pooled.f1 == pytest.approx(16 / 21)


def test_components_join_across_corners():
    mask = np.zeros((3, 3, 5), bool)
    mask[0, 0, 0] = mask[1, 1, 1] = mask[2, 2, 4] = True
    assert [int(components(mask)[place]) for place in ((0, 0, 0), (1, 1, 1), (2, 2, 4), (0, 1, 0))] == [1, 1, 2, 0]


@pytest.mark.parametrize("threshold", [0.0, 1.1, math.nan])
def test_bad_threshold_is_named(threshold):
    with pytest.raises(InvalidValueError, match="iou_threshold"):
        detect(line(1), line(1), iou_threshold=threshold)
