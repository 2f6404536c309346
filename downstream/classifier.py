"""Attributes read off the looks of a case by logistic regression, each class of an attribute counting the same.

One regression an attribute reads HU of groups of structures; one that is missing counts as a usual one, so that an organ
does not tell the sex by being there. The organ of the tumour
is found by another question, asked of each organ alike: is it this one? What tells is much the same in all of them (something
stands out), so an answer is learnt from all organs, and how it differs between them besides. An L2 penalty holds both. Where no organ
has odds above a threshold the answer is "none"; it is the one that served best for training cases that the odds were not learnt from.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float, Float32, Float64, Int64
from sklearn.linear_model import LogisticRegression

from downstream.looks import ORGANS, Looks

__all__ = ["UNKNOWN", "Classifier", "least_odds"]

UNKNOWN = -1
"""Target of a case whose attribute is unknown: it is not trained on."""
BY_ORGAN = "tumour_organ"
C_GROUPS, C_ORGANS = 0.1, 0.01
"""Inverse strength of the penalty."""
OWN = 0.5
"""How easily an organ differs from the others."""
ITERATIONS = 500
_FLOOR_HU, _FLOOR = 5.0, 1e-3
_LEAST, _MOST = -4.0, 8.0
_NONE, _FOLDS, _THRESHOLDS = "none", 4, 101


class Classifier:
    """Regressions trained on the looks of cases; equal cases give equal answers on one machine.

    Args:
        looks: of the training cases.
        targets: by attribute, class of each case from 0, or `UNKNOWN`; every class occurs.
        classes: by attribute, names of its classes; those of `tumour_organ` are organs, or "none".
    """

    def __init__(
        self,
        looks: Sequence[Looks],
        targets: Mapping[str, Int64[np.ndarray, " n"]],
        classes: Mapping[str, tuple[str, ...]],
    ) -> None:
        self._groups = _Scale(np.stack([one.groups for one in looks]), _FLOOR_HU)
        self._organs = _Scale(np.stack([one.organs for one in looks]), _FLOOR)
        self._classes = dict(classes)
        self._models = {}
        for name, target in targets.items():
            known = target != UNKNOWN
            inputs = self._inputs(name, looks)[known]
            if name == BY_ORGAN:
                self._models[name] = _fit_organs(inputs, target[known])
                self._least = self._threshold(
                    inputs, target[known], [one for one, k in zip(looks, known, strict=True) if k]
                )
            else:
                model = LogisticRegression(C=C_GROUPS, class_weight="balanced", max_iter=ITERATIONS)
                self._models[name] = model.fit(inputs, target[known])

    def predict(self, looks: Sequence[Looks]) -> dict[str, Int64[np.ndarray, " n"]]:
        """The likeliest class of each attribute of each case."""
        answers = {}
        for name, model in self._models.items():
            inputs = self._inputs(name, looks)
            if name == BY_ORGAN:
                odds = self._odds(model, inputs, looks)
                if _NONE in self._classes[name]:
                    odds[:, self._classes[name].index(_NONE)] = self._least
                answers[name] = odds.argmax(1)
            else:
                answers[name] = model.predict(inputs)
        return {name: np.asarray(found, np.int64) for name, found in answers.items()}

    def _inputs(self, name: str, looks: Sequence[Looks]) -> Float32[np.ndarray, "n ..."]:
        """Numbers of each case, and of each class in it where the question is which organ."""
        if name != BY_ORGAN:
            return self._groups(np.stack([one.groups for one in looks])).reshape(len(looks), -1)
        organs = self._organs(np.stack([one.organs for one in looks]))
        organs = np.concatenate([organs, organs * np.abs(organs), np.abs(organs)], 2)
        count, width = len(self._classes[name]), organs.shape[2]
        rows = np.zeros((len(looks), count, width * (count + 1) + count), np.float32)
        for place, organ in enumerate(self._classes[name]):
            if organ in ORGANS:
                own = organs[:, ORGANS.index(organ)]
                rows[:, place, :width] = own
                rows[:, place, width * (place + 1) : width * (place + 2)] = OWN * own
            rows[:, place, place - count] = 1
        return rows

    def _odds(
        self, model: LogisticRegression, inputs: Float32[np.ndarray, "n k f"], looks: Sequence[Looks]
    ) -> Float[np.ndarray, "n k"]:
        """Odds of each organ that is there."""
        odds = model.decision_function(inputs.reshape(-1, inputs.shape[-1])).reshape(inputs.shape[:2])
        return np.where(self._there(looks), odds, -np.inf)

    def _threshold(
        self, inputs: Float32[np.ndarray, "n k f"], target: Int64[np.ndarray, " n"], looks: Sequence[Looks]
    ) -> float:
        """Odds below which the answer is "none"."""
        if _NONE not in self._classes[BY_ORGAN]:
            return -np.inf
        none, fold = self._classes[BY_ORGAN].index(_NONE), np.arange(len(target)) % _FOLDS
        odds = np.empty(inputs.shape[:2])
        for part in range(_FOLDS):
            model = _fit_organs(inputs[fold != part], target[fold != part])
            odds[fold == part] = self._odds(model, inputs, looks)[fold == part]
        odds[:, none] = -np.inf
        return least_odds(odds, target, none)

    def _there(self, looks: Sequence[Looks]) -> np.ndarray:
        """Whether a class is possible in a case: its organ is there, or it is no organ."""
        missing = np.isnan(np.stack([one.organs[:, 0] for one in looks]))
        places = [ORGANS.index(name) if name in ORGANS else None for name in self._classes[BY_ORGAN]]
        columns = [np.ones(len(looks), bool) if place is None else ~missing[:, place] for place in places]
        return np.stack(columns, 1)


class _Scale:
    """Brings numbers to mean 0 and standard deviation 1 over training cases; what is missing becomes 0."""

    def __init__(self, values: Float32[np.ndarray, "n k f"], floor: float) -> None:
        there = ~np.isnan(values)
        count = np.maximum(there.sum(0), 1)
        self._mean = np.where(there, values, 0).sum(0) / count
        self._sd = np.sqrt((np.where(there, values - self._mean, 0) ** 2).sum(0) / count) + floor

    def __call__(self, values: Float32[np.ndarray, "n k f"]) -> Float32[np.ndarray, "n k f"]:
        return np.asarray(np.nan_to_num((values - self._mean) / self._sd).clip(_LEAST, _MOST).astype(np.float32))


def least_odds(odds: Float[np.ndarray, "n k"], target: Int64[np.ndarray, " n"], none: int) -> float:
    """The threshold below which cases are best called "none", every class counting the same.

    Args:
        odds: of each class of each case; those of "none" are minus infinity.
        target: class of each case.
        none: which class is "none".
    """
    highest, likeliest = odds.max(1), odds.argmax(1)
    found = {
        float(least): _balanced(target, np.where(highest < least, none, likeliest))
        for least in np.quantile(highest, np.linspace(0, 1, _THRESHOLDS), method="lower")
    }
    return max(found, key=lambda least: found[least])


def _balanced(target: Int64[np.ndarray, " n"], answers: Int64[np.ndarray, " n"]) -> float:
    return float(np.mean([(answers[target == value] == value).mean() for value in np.unique(target)]))


def _fit_organs(rows: Float32[np.ndarray, "n k f"], target: Int64[np.ndarray, " n"]) -> LogisticRegression:
    """Fit "is it this one?", yes and no of each organ weighing as much as those of any other."""
    right = target[:, None] == np.arange(rows.shape[1])
    share = right.mean(0)
    weight: Float64[np.ndarray, "n k"] = np.where(right, 1 / share, 1 / (1 - share)) / rows.shape[1]
    model = LogisticRegression(C=C_ORGANS, max_iter=ITERATIONS)
    return model.fit(rows.reshape(-1, rows.shape[-1]), right.ravel(), sample_weight=weight.ravel())
