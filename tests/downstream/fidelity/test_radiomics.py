"""Radiomic features against the published values of the standardisation initiative's digital phantom, and by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from downstream.fidelity.radiomics import FAMILIES, radiomic_features
from downstream.fidelity.textures import DIRECTIONS, discretise, glcm_features, glrlm_features

PHANTOM = """14411 14611 41641 44641
14411 11611 01311 44611
14400 11111 11011 11611
14400 11111 11111 11611"""
"""Levels of the digital phantom (doi:10.1148/radiol.2020191145), 0 outside; voxels of 2 mm."""

PUBLISHED = {
    "glcm": {
        "MaximumProbability": 0.503,
        "JointAverage": 2.14,
        "SumSquares": 3.1,
        "JointEntropy": 2.4,
        "DifferenceAverage": 1.43,
        "DifferenceVariance": 3.06,
        "DifferenceEntropy": 1.56,
        "SumEntropy": 1.92,
        "JointEnergy": 0.303,
        "Contrast": 5.32,
        "Id": 0.677,
        "Idn": 0.851,
        "Idm": 0.618,
        "Idmn": 0.898,
        "InverseVariance": 0.0604,
        "Correlation": 0.157,
        "Autocorrelation": 5.06,
        "ClusterTendency": 7.07,
        "ClusterShade": 16.6,
        "ClusterProminence": 145,
        "Imc1": -0.157,
        "Imc2": 0.52,
    },
    "glrlm": {
        "ShortRunEmphasis": 0.705,
        "LongRunEmphasis": 3.06,
        "LowGrayLevelRunEmphasis": 0.603,
        "HighGrayLevelRunEmphasis": 9.7,
        "ShortRunLowGrayLevelEmphasis": 0.352,
        "ShortRunHighGrayLevelEmphasis": 8.54,
        "LongRunLowGrayLevelEmphasis": 2.39,
        "LongRunHighGrayLevelEmphasis": 17.6,
        "GrayLevelNonUniformity": 21.8,
        "GrayLevelNonUniformityNormalized": 0.43,
        "RunLengthNonUniformity": 26.9,
        "RunLengthNonUniformityNormalized": 0.513,
        "RunPercentage": 0.68,
        "GrayLevelVariance": 3.46,
        "RunVariance": 0.574,
        "RunEntropy": 2.43,
    },
}
"""Published to three digits, features averaged over directions in three dimensions."""

FIRST_ORDER = {
    "Mean": 2.15,
    "Variance": 3.05,
    "Skewness": 1.08,
    "Kurtosis": 3 - 0.355,
    "Median": 1,
    "Minimum": 1,
    "Maximum": 6,
    "10Percentile": 1,
    "90Percentile": 4,
    "InterquartileRange": 3,
    "Range": 5,
    "MeanAbsoluteDeviation": 1.55,
    "RobustMeanAbsoluteDeviation": 1.11,
    "RootMeanSquared": 2.77,
}
SHAPE = {
    "VoxelVolume": (592, 0),
    "SurfaceArea": (388, 3),
    "Maximum3DDiameter": (13.1, 0.1),
    "MajorAxisLength": (11.4, 0.1),
    "MinorAxisLength": (9.31, 0.06),
    "LeastAxisLength": (8.54, 0.05),
    "Elongation": (0.816, 0.005),
    "Flatness": (0.749, 0.005),
}
"""Published value and tolerance."""


def phantom() -> np.ndarray:
    return np.array([[list(map(int, row)) for row in plane.split()] for plane in PHANTOM.splitlines()], np.int64)


@pytest.mark.parametrize("family", PUBLISHED)
def test_textures_equal_the_published_values_of_the_digital_phantom(family: str) -> None:
    found = {"glcm": glcm_features, "glrlm": glrlm_features}[family](phantom())
    assert found.keys() == PUBLISHED[family].keys()
    for name, value in PUBLISHED[family].items():
        assert found[name] == pytest.approx(value, rel=4e-3), name


def test_statistics_and_shape_equal_the_published_values_of_the_digital_phantom() -> None:
    levels = phantom()
    found = radiomic_features(levels.astype(np.int16), levels > 0, (2.0, 2.0, 2.0))
    assert tuple(found) == FAMILIES
    for name, value in FIRST_ORDER.items():
        assert found["firstorder"][name] == pytest.approx(value, abs=0.006), name
    for name, (value, tolerance) in SHAPE.items():
        assert found["shape"][name] == pytest.approx(value, abs=tolerance), name


@settings(max_examples=25)
@given(hnp.arrays(np.int64, st.tuples(*[st.integers(1, 3)] * 3), elements=st.integers(0, 3)))
def test_textures_do_not_depend_on_how_the_axes_lie(levels: np.ndarray) -> None:
    """All 13 directions are treated alike: turning or mirroring an image changes nothing."""
    if not levels.any():
        return
    turned = np.ascontiguousarray(levels.transpose(2, 0, 1)[:, ::-1])
    for features in (glcm_features, glrlm_features):
        np.testing.assert_allclose(
            list(features(levels).values()), list(features(turned).values()), rtol=1e-9, atol=1e-9
        )


def test_run_lengths_of_a_line_are_those_counted_by_hand() -> None:
    """1 1 2: along the line runs of 2 and 1, across it three runs of 1."""
    found = glrlm_features(np.array([[[1, 1, 2]]]))
    assert len(DIRECTIONS) == 13
    assert found["RunPercentage"] == pytest.approx((2 / 3 + 12) / 13)
    assert found["LongRunEmphasis"] == pytest.approx(((4 + 1) / 2 + 12) / 13)
    assert found["HighGrayLevelRunEmphasis"] == pytest.approx(((1 + 4) / 2 + 12 * (1 + 1 + 4) / 3) / 13)


def test_grey_levels_start_at_multiples_of_the_width() -> None:
    values = np.array([[[-26, -25, -1, 0, 24, 25]]])
    np.testing.assert_array_equal(discretise(values, np.ones_like(values, bool), 25.0), [[[1, 2, 2, 3, 3, 4]]])
    np.testing.assert_array_equal(discretise(values, values >= 0, 25.0), [[[0, 0, 0, 1, 1, 2]]])
