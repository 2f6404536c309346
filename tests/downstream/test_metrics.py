"""Dice against its definition and against nnU-Net's evaluator, and the conventions for empty masks."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from downstream.metrics import CaseScore, dice, mean_dice, score_case, summarise

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
