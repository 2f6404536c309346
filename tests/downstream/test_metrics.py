"""Dice against its definition and nnU-Net's evaluator, conventions for empty masks, and whole cases at once."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.ndimage import gaussian_filter

from downstream.metrics import (
    METRICS,
    CaseScore,
    LabelledPair,
    dice,
    mean_dice,
    score_case,
    score_cases,
    score_labels,
    summarise,
    tidy,
)
from downstream.results import Results
from downstream.surfaces import surface_scores

SHAPE = (3, 4, 5)
masks = arrays(np.uint8, SHAPE, elements=st.integers(0, 3))
LABELS = {"background": 0, "kidney": 1, "tumour": 2, "cyst": 3}


@settings(deadline=None)
@given(masks, masks, st.integers(1, 3))
def test_dice_is_its_definition(predicted, reference, label):
    ours = {tuple(i) for i in np.argwhere(predicted == label)}
    theirs = {tuple(i) for i in np.argwhere(reference == label)}
    value = dice(predicted, reference, label)
    if not ours and not theirs:
        assert math.isnan(value)
    else:
        assert value == pytest.approx(2 * len(ours & theirs) / (len(ours) + len(theirs)), abs=1e-12)


@settings(max_examples=50, deadline=None)  # the first call imports nnU-Net
@given(masks, masks)
def test_dice_equals_nnunets_evaluator(predicted, reference):
    evaluate = pytest.importorskip("nnunetv2.evaluation.evaluate_predictions")
    for label in (1, 2, 3):
        tp, fp, fn, _ = evaluate.compute_tp_fp_fn_tn(reference == label, predicted == label, None)
        theirs = 2 * tp / (2 * tp + fp + fn) if tp + fp + fn else math.nan
        assert dice(predicted, reference, label) == pytest.approx(theirs, abs=1e-12, nan_ok=True)


def test_scores_have_one_row_per_foreground_label_in_order():
    reference = np.zeros(SHAPE, np.uint8)
    reference[0], reference[1, 0, 0] = 1, 2
    predicted = np.zeros(SHAPE, np.uint8)
    predicted[0, :2] = 1
    rows = score_case("a", predicted, reference, LABELS)
    assert [row.label for row in rows] == ["kidney", "tumour", "cyst"]
    assert rows[0] == CaseScore("a", "kidney", 2 * 10 / 30, voxels_reference=20, voxels_predicted=10)
    assert rows[1].dice == 0.0
    assert math.isnan(rows[2].dice)


def test_summary_counts_what_the_mean_leaves_out():
    rows = [
        CaseScore("a", "tumour", 0.5, 10, 10),
        CaseScore("b", "tumour", 0.0, 10, 0),
        CaseScore("c", "tumour", 0.0, 0, 5),
        CaseScore("d", "tumour", math.nan, 0, 0),
        CaseScore("a", "cyst", math.nan, 0, 0),
    ]
    tumour, cyst = summarise(rows)
    assert (tumour.cases, tumour.misses, tumour.false_alarms, tumour.absent) == (3, 1, 1, 1)
    assert tumour.dice_mean == pytest.approx(0.5 / 3)
    assert tumour.dice_sd == pytest.approx(np.std([0.5, 0, 0], ddof=1))
    assert (cyst.cases, cyst.absent) == (0, 1)
    assert math.isnan(cyst.dice_mean)
    assert mean_dice([tumour, cyst]) == (pytest.approx(0.5 / 3), 1)
    assert mean_dice([])[1] == 0


def blobs(shape, seed, labels=4):
    """A label map of smooth blobs and another one close to it; label 4 lacks in the first, 5 in both."""
    rng = np.random.default_rng(seed)
    fields = gaussian_filter(rng.standard_normal((labels, *shape)), (0, 2, 2, 2))
    noise = 0.4 * gaussian_filter(rng.standard_normal((labels, *shape)), (0, 2, 2, 2))
    maps = []
    for values in (fields, fields + noise):
        labelled = values.argmax(0) + 1
        labelled[values.max(0) < 0.07] = 0
        maps.append(labelled)
    maps[0][maps[0] == 4] = 0
    return maps


NAMES = {"background": 0, "d": 4, "a": 1, "b": 2, "absent": 5}


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int64])
def test_scores_of_boxes_equal_those_of_the_whole_image(dtype):
    predicted, reference = (labelled.astype(dtype) for labelled in blobs((14, 18, 22), seed=0))
    spacing = (2.0, 1.0, 0.8)
    scores = score_labels(LabelledPair("a", predicted, reference, spacing), NAMES, tolerance_mm=1.5)
    assert list(scores) == ["d", "a", "b", "absent"]
    for name, score in scores.items():
        whole = surface_scores(predicted == NAMES[name], reference == NAMES[name], spacing, tolerance_mm=1.5)
        assert repr(score) == repr(whole)  # NaN equals NaN in print
        assert score.dice == pytest.approx(dice(predicted, reference, NAMES[name]), nan_ok=True)
    assert [score.outcome for score in scores.values()] == ["miss", "scored", "scored", "absent"]


def test_workers_change_nothing_and_cases_keep_their_order():
    pairs = [LabelledPair(str(i), *blobs((9 + i, 12, 10), seed=i), (1.0, 1.0, 2.0)) for i in range(5)]
    alone = list(score_cases([lambda pair=pair: pair for pair in pairs], NAMES))
    threads = list(score_cases([lambda pair=pair: pair for pair in pairs], NAMES, workers=3))
    labels = [(pair.case_id, score_labels(pair, NAMES, workers=3)) for pair in pairs]
    assert repr(alone) == repr(threads) == repr(labels)
    assert [case_id for case_id, _ in alone] == ["0", "1", "2", "3", "4"]


def test_tidy_rows_hold_each_metric_once():
    pair = LabelledPair("a", *blobs((9, 12, 10), seed=1), (1.0, 1.0, 2.0))
    scores = score_labels(pair, NAMES)
    table = Results(tidy("a", scores, arm="synthetic", seed=2))
    assert len(table) == len(METRICS) * 4
    (row,) = table.where(structure="b", metric="hd95_mm", arm="synthetic", seed=2)
    assert (row.case_id, row.value) == ("a", scores["b"].hd95_mm)
