"""Do the images hold what the records say? A classifier is trained to read sex, age, phase and tumour organ off them.

A classifier (`classifier.py`) that is told where the organs are (`looks.py`) and what in them looks like a lesion (`suspicion.py`) is trained on four fifths of the training dataset and
read on two sets: the fifth held out, which is the ceiling that this classifier reaches on its own data, and the test dataset. Balanced
accuracy (mean over classes of the share read right) is compared with chance, one over the number of
classes. What the classifier cannot read may still be in the images: the ceiling is its own.

Targets come from the records: what was drawn, or what was asked where nothing was (real scans). The organ of the
tumour is that of the largest primary lesion, "none" without a lesion. Classes with fewer than `FEWEST`
training cases are left out of training, test and chance, and named in the result.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from math import ceil

import numpy as np
from jaxtyping import Float32, Float64, Int64

from downstream.looks import Looks, looks_of
from downstream.splits import groups
from downstream.stats import RESAMPLES, Interval
from downstream.suspicion import Suspicion, samples_of
from manifests.case import CaseRecord
from manifests.dataset import Dataset
from manifests.errors import InvalidValueError, MissingDependencyError
from manifests.identity import content_hash

__all__ = [
    "ATTRIBUTES",
    "AttributeReader",
    "AttributeScore",
    "balanced_accuracy",
    "read_attributes",
    "target",
]

ATTRIBUTES = ("sex", "age_decade", "contrast_phase", "tumour_organ")
FEWEST = 5
UNKNOWN = -1  # as in classifier.py, which needs scikit-learn
HELD_OUT = 5  # one group of patients in five


@dataclass(frozen=True, slots=True)
class AttributeScore:
    """How well one attribute is read.

    Attributes:
        attribute: one of `ATTRIBUTES`.
        classes: what is told apart.
        accuracy: balanced accuracy on the test dataset, with a 95 % interval over cases.
        ceiling: the same on the held-out part of the training dataset.
        chance: balanced accuracy of guessing.
        trained_on: number of training cases.
        confusion: test cases by true class (row) and read class (column).
        left_out: rare classes, with their number of training cases.
        right: by test case whose class is known, whether it was read.
    """

    attribute: str
    classes: tuple[str, ...]
    accuracy: Interval
    ceiling: Interval
    chance: float
    trained_on: int
    confusion: tuple[tuple[int, ...], ...]
    left_out: dict[str, int]
    right: dict[str, bool]


def target(record: CaseRecord, attribute: str) -> str | None:
    """Read the class of a case off its record; None where the record does not say."""
    drawn, asked = record.drawn, record.requested
    if attribute == "sex":
        return drawn.sex or asked.sex
    if attribute == "contrast_phase":
        return drawn.contrast_phase or asked.contrast_phase
    if attribute == "age_decade":
        age = asked.age_years if drawn.age_years is None else drawn.age_years
        return None if age is None else f"{int(age) // 10 * 10}s"
    primary = [lesion for lesion in record.lesions if lesion.role == "primary"]
    return max(primary, key=lambda lesion: lesion.size_mm).organ if primary else "none"


def read_attributes(
    training: Dataset,
    test: Dataset,
    seed: int = 0,
    advance: Callable[[], None] = lambda: None,
) -> list[AttributeScore]:
    """Train a classifier on a dataset and read the attributes of another with it.

    Args:
        training: labelled cases to learn from and to hold a fifth out of.
        test: cases to judge.
        seed: of the intervals.
        advance: called after each case that is measured.

    Raises:
        InvalidValueError: the datasets share cases, or no attribute has two classes to tell apart.
        MissingDependencyError: scikit-learn is not installed.
    """
    _require_apart(training.accepted(), test.accepted())
    return AttributeReader(training, seed, advance).read(test)


class AttributeReader:
    """A classifier trained on four fifths of a dataset, with its answers on the fifth held out.

    Args:
        training: labelled cases.
        seed: of the intervals.
        advance: called after each case that is measured.

    Raises:
        InvalidValueError: no attribute has two classes to tell apart.
        MissingDependencyError: scikit-learn is not installed.
    """

    def __init__(self, training: Dataset, seed: int = 0, advance: Callable[[], None] = lambda: None) -> None:
        _require_sklearn()
        from downstream.classifier import Classifier

        learn = training.accepted()
        held_out = _held_out(learn)
        self._seen, self._unseen = ([r for r in learn if (r.case_id in held_out) == out] for out in (False, True))
        self._classes, self._seed, self._advance = _classes(training, self._seen), seed, advance
        targets = {name: _ids(self._seen, name, values) for name, values in self._classes.items()}
        looks, self._suspicion = self._learn(training)
        self._classifier = Classifier(looks, targets, self._classes)
        self._ceiling = self._classifier.predict(self._looks(training, self._unseen))

    def read(self, test: Dataset) -> list[AttributeScore]:
        """Read the attributes of every delivered case of a dataset that has nothing in common with the training."""
        judge, seed = test.accepted(), self._seed
        answers = self._classifier.predict(self._looks(test, judge))
        return [
            AttributeScore(
                attribute=name,
                classes=values,
                accuracy=balanced_accuracy(_ids(judge, name, values), answers[name], seed=seed),
                ceiling=balanced_accuracy(_ids(self._unseen, name, values), self._ceiling[name], seed=seed),
                chance=_chance(_ids(judge, name, values)),
                trained_on=int((_ids(self._seen, name, values) != UNKNOWN).sum()),
                confusion=_confusion(_ids(judge, name, values), answers[name], len(values)),
                left_out={value: n for value, n in _counts(self._seen, name).items() if n < FEWEST},
                right=_right(judge, _ids(judge, name, values), answers[name]),
            )
            for name, values in self._classes.items()
        ]

    def _learn(self, training: Dataset) -> tuple[list[Looks], Suspicion]:
        """Looks of the training cases with what is suspected in them, by one that learnt from the other half, and one that learnt from all."""
        looks, samples = [], []
        for number, record in enumerate(self._seen):
            arrays = training.read(record.case_id)
            looks.append(looks_of(arrays))
            samples.append(samples_of(arrays, number))
            self._advance()
        halves = [Suspicion(samples[1::2]), Suspicion(samples[0::2])]
        cases = (training.read(record.case_id) for record in self._seen)
        found = [halves[n % 2].of(arrays) for n, arrays in enumerate(cases)]
        return [_joined(one, more) for one, more in zip(looks, found, strict=True)], Suspicion(samples)

    def _looks(self, dataset: Dataset, records: list[CaseRecord]) -> list[Looks]:
        found = []
        for record in records:
            arrays = dataset.read(record.case_id)
            found.append(_joined(looks_of(arrays), self._suspicion.of(arrays)))
            self._advance()
        return found


def _joined(looks: Looks, suspected: Float32[np.ndarray, "k s"]) -> Looks:
    return replace(looks, organs=np.hstack([looks.organs, suspected]))


def balanced_accuracy(
    truth: Int64[np.ndarray, "n"], answers: Int64[np.ndarray, "n"], *, seed: int, resamples: int = RESAMPLES
) -> Interval:
    """Mean share read right over the classes that occur, with its percentile interval.

    The cases of each class are drawn again among themselves, so that every resample has all classes; the
    number right of a class is then binomial. Cases of class `UNKNOWN` are left out; NaN without any other. A class
    of few cases that are all right or all wrong adds nothing to the width, which is then too small.
    """
    truth, answers = truth[truth != UNKNOWN], answers[truth != UNKNOWN]
    present = np.unique(truth)
    if not present.size:
        return Interval(float("nan"), float("nan"), float("nan"), 0)
    counts = np.array([(truth == value).sum() for value in present])
    right = np.array([((truth == value) & (answers == value)).sum() for value in present])
    rng = np.random.default_rng(seed)
    draws: Float64[np.ndarray, "resamples"] = (
        rng.binomial(counts, right / counts, (resamples, present.size)) / counts
    ).mean(1)
    low, high = np.quantile(draws, [0.025, 0.975])
    return Interval(float((right / counts).mean()), float(low), float(high), int(truth.size))


def _counts(records: list[CaseRecord], attribute: str) -> Mapping[str, int]:
    values = [value for record in records if (value := target(record, attribute)) is not None]
    return {value: values.count(value) for value in sorted(set(values))}


def _classes(training: Dataset, records: list[CaseRecord]) -> dict[str, tuple[str, ...]]:
    """Classes of each attribute that has at least two with enough cases.

    Raises:
        InvalidValueError: no attribute has.
    """
    enough = {name: [v for v, n in _counts(records, name).items() if n >= FEWEST] for name in ATTRIBUTES}
    classes = {name: tuple(values) for name, values in enough.items() if len(values) > 1}
    if not classes:
        raise InvalidValueError(
            str(training.root),
            got=f"{len(records)} cases to train on and no attribute with two classes of {FEWEST} cases",
            need="cases that differ in an attribute",
            do="Train on a larger dataset; 200 cases are a fair start.",
        )
    return classes


def _ids(records: list[CaseRecord], attribute: str, classes: tuple[str, ...]) -> Int64[np.ndarray, "n"]:
    values = [target(record, attribute) for record in records]
    return np.array([classes.index(value) if value in classes else UNKNOWN for value in values], np.int64)


def _chance(truth: Int64[np.ndarray, "n"]) -> float:
    """Balanced accuracy of any guess that does not look: one over the number of classes that occur."""
    present = set(truth.tolist()) - {UNKNOWN}
    return 1 / len(present) if present else float("nan")


def _confusion(
    truth: Int64[np.ndarray, "n"], answers: Int64[np.ndarray, "n"], classes: int
) -> tuple[tuple[int, ...], ...]:
    truth, answers = truth[truth != UNKNOWN], answers[truth != UNKNOWN]
    counts = np.bincount(truth * classes + answers, minlength=classes * classes).reshape(classes, classes)
    return tuple(tuple(row) for row in counts.tolist())


def _right(
    records: list[CaseRecord], truth: Int64[np.ndarray, "n"], answers: Int64[np.ndarray, "n"]
) -> dict[str, bool]:
    cases = zip(records, truth, answers, strict=True)
    return {record.case_id: bool(asked == read) for record, asked, read in cases if asked != UNKNOWN}


def _held_out(records: list[CaseRecord]) -> frozenset[str]:
    """Cases of the fifth of the groups that hash first; a group shares a patient, prompt or source."""
    group_of = groups(records)
    ordered = sorted(set(group_of.values()), key=lambda group: content_hash(["held out", group]))
    chosen = set(ordered[: ceil(len(ordered) / HELD_OUT)])
    return frozenset(case_id for case_id, group in group_of.items() if group in chosen)


def _require_apart(learn: list[CaseRecord], judge: list[CaseRecord]) -> None:
    shared = {record.case_id for record in learn} & {record.case_id for record in judge}
    if shared:
        raise InvalidValueError(
            "test dataset",
            got=f"{len(shared)} cases that are in the training dataset too, such as {min(shared)}",
            need="cases that were not trained on",
            do="Build the test dataset with another --seed.",
        )


def _require_sklearn() -> None:
    try:
        import sklearn  # noqa: F401
    except ImportError as error:
        raise MissingDependencyError(
            "scikit-learn", got="no such package", need="it to train classifiers", do="pip install 'ct-factory[nnunet]'"
        ) from error
