"""What of sex, age, phase and tumour organ can be read off the images of a dataset, and what the ground truth itself allows.

    factory build --n 600 --preset tiny --out data/train
    factory build --n 300 --preset tiny --seed 1 --out data/new
    python benchmarks/attribute_ceiling.py data/train data/new

Two readers learn from TRAIN and are read on NEW, balanced accuracy with a 95 % interval over cases:

    images     that of `factory bench alignment --train`, which learns from four fifths of TRAIN: the CT and the map of organs, never that of lesions
    truth      two regressions on what the records of TRAIN know to the voxel: volume, mean and spread of HU of every structure,
               sex organs included; the better of the two, chosen by cross-validation on TRAIN

The second is what bodies and images hold of an attribute with nothing lost to reading. Of the organ of the tumour the truth holds all, because
lesions are labelled; what the images show of it depends on their size, so the share read right is given by size.
"""

import argparse
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
from jaxtyping import Float64, Int64
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from downstream.attributes import ATTRIBUTES, AttributeScore, balanced_accuracy, read_attributes, target
from downstream.stats import Interval
from manifests.anatomy import structures
from manifests.case import CaseRecord
from manifests.dataset import Dataset
from manifests.errors import InputError

LESIONS = "tumour_organ"
SIZES_MM = (0, 15, 30, 60, 1000)
NAMES = [entry.name for entry in structures()]


def facts(records: list[CaseRecord]) -> Float64[np.ndarray, "n f"]:
    """Logarithm of the volume, mean and spread of HU of every structure; 0 where it is not there."""
    rows = np.zeros((len(records), 3, len(NAMES)))
    for row, record in zip(rows, records, strict=True):
        for one in record.structures:
            row[:, NAMES.index(one.name)] = np.log1p(one.volume_ml), one.hu_mean, one.hu_sd
    return rows.reshape(len(records), -1)


def truth(train: list[CaseRecord], new: list[CaseRecord], score: AttributeScore) -> tuple[str, Interval]:
    """How well an attribute is told from the facts of the records."""
    known = [record for record in train if target(record, score.attribute) in score.classes]
    models = {
        "logistic": make_pipeline(StandardScaler(), LogisticRegression(C=0.03, class_weight="balanced", max_iter=1000)),
        "boosting": HistGradientBoostingClassifier(
            max_iter=150, learning_rate=0.05, max_leaf_nodes=8, class_weight="balanced", random_state=0
        ),
    }
    inputs, classes = facts(known), ids(known, score)
    found = {
        name: cross_val_score(model, inputs, classes, scoring="balanced_accuracy", cv=4).mean()
        for name, model in models.items()
    }
    name = max(found, key=lambda one: found[one])
    answers = models[name].fit(inputs, classes).predict(facts(new))
    return name, balanced_accuracy(ids(new, score), answers, seed=0)


def ids(records: list[CaseRecord], score: AttributeScore) -> Int64[np.ndarray, "n"]:
    """Class of each case; -1 where it is none of those that are told apart."""
    values = [target(record, score.attribute) for record in records]
    return np.array([score.classes.index(value) if value in score.classes else -1 for value in values])


def by_size(new: list[CaseRecord], score: AttributeScore) -> str:
    """Share of tumours whose organ is read right, by their largest diameter."""
    sizes = {record.case_id: largest for record in new if (largest := size_mm(record))}
    parts = []
    for low, high in pairwise(SIZES_MM):
        right = [score.right[case] for case, size in sizes.items() if low <= size < high and case in score.right]
        share = f"{np.mean(right):.2f}" if right else "none"
        parts.append(f"{low} to {high} mm {share} of {len(right)}")
    return ", ".join(parts)


def size_mm(record: CaseRecord) -> float:
    """Size of the largest primary lesion; 0 without one."""
    return max((lesion.size_mm for lesion in record.lesions if lesion.role == "primary"), default=0.0)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("train", type=Path)
    parser.add_argument("new", type=Path)
    asked = parser.parse_args()
    try:
        train, new = Dataset.open(asked.train), Dataset.open(asked.new)
        scores = read_attributes(train, new)
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    learn, judge = train.accepted(), new.accepted()
    print(f"{len(learn)} cases to learn from, {len(judge)} to read; {', '.join(ATTRIBUTES)}\n")
    print("| attribute | classes | chance | images (95 %) | truth (95 %) | by |\n|---|---|---|---|---|---|")
    for score in scores:
        name, ceiling = ("label", None) if score.attribute == LESIONS else truth(learn, judge, score)
        top = f"{ceiling.mean:.2f} ({ceiling.low:.2f} to {ceiling.high:.2f})" if ceiling else "1.00"
        seen = score.accuracy
        print(
            f"| {score.attribute} | {len(score.classes)} | {score.chance:.2f} |"
            f" {seen.mean:.2f} ({seen.low:.2f} to {seen.high:.2f}) | {top} | {name} |",
            flush=True,
        )
    for score in scores:
        if score.attribute == LESIONS:
            print(f"\nOrgan of the tumour by its size: {by_size(judge, score)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
