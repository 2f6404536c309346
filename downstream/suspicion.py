"""Where an organ looks like a lesion: a classifier of voxels, which learns from the lesion maps of training cases and never sees another.

Each voxel of an organ that may bear a tumour is described by its HU and by local means, spread and extremes against the median of the organ,
by its depth, and by the organ itself; gradient boosting tells those in lesions from the others. What it finds in an organ is summed up
in a few numbers, which `classifier.py` reads beside the organ's looks.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32
from scipy import ndimage

from downstream.looks import ORGAN_OF, ORGANS, Coarse, coarse, local_mean, organ_boxes
from manifests.anatomy import structures
from manifests.case import Arrays

__all__ = ["FOUND", "Samples", "Suspicion", "samples_of"]

FOUND = 7
"""Numbers that sum up what is found in an organ: `Suspicion.of`."""
SIGMAS = (0.7, 1.2, 2.0, 3.5)  # voxels of 6 mm
AROUND = (1.2, 3.0)
MOST = 250  # voxels of an organ that are learnt from, of each kind
LEAST_WEIGHT = 50  # voxels that a smaller lesion counts as
_MARGIN = 4
_SMALLEST_ODDS = 1e-4
_TOPS = (5, 20, 100)  # voxels
_AORTA = next(entry.id for entry in structures() if entry.name == "aorta")


@dataclass(frozen=True, slots=True)
class Samples:
    """Voxels to learn from.

    Attributes:
        looks: numbers of each voxel.
        inside: whether it lies in a lesion.
        weights: how much it counts.
    """

    looks: Float32[np.ndarray, "n f"]
    inside: Bool[np.ndarray, " n"]
    weights: Float32[np.ndarray, " n"]


def samples_of(arrays: Arrays, seed: int) -> Samples:
    """Draw voxels of a case to learn from: as many in lesions as outside, of each organ."""
    case, rng = coarse(arrays), np.random.default_rng(seed)
    found = []
    for _, looks, organ, around in _organs(case):
        lesion = case.lesions[around][organ] > 0
        outside = rng.permutation(np.flatnonzero(~lesion))[:MOST]
        within = rng.permutation(np.flatnonzero(lesion))[:MOST]
        weights = np.repeat([1.0, MOST / max(len(within), LEAST_WEIGHT)], [len(outside), len(within)])
        chosen = np.concatenate([outside, within])
        found.append(Samples(looks[chosen], lesion[chosen], weights.astype(np.float32)))
    return _joined(found)


class Suspicion:
    """A classifier of voxels; equal samples give equal answers on one machine.

    Args:
        samples: of the training cases; without any voxel in a lesion nothing is ever suspected.
    """

    def __init__(self, samples: Sequence[Samples]) -> None:
        from sklearn.ensemble import HistGradientBoostingClassifier

        self._model = None
        all_ = _joined([one for one in samples if len(one.inside)])
        if all_.inside.any() and not all_.inside.all():
            organ = all_.looks.shape[1] - 1
            model = HistGradientBoostingClassifier(
                max_iter=200, max_leaf_nodes=31, min_samples_leaf=50, categorical_features=[organ], random_state=0
            )
            self._model = model.fit(all_.looks, all_.inside, sample_weight=all_.weights)

    def of(self, arrays: Arrays) -> Float32[np.ndarray, "k 7"]:
        """What is suspected in each organ of `looks.ORGANS`; NaN where it is not there.

        The highest log odds of a voxel, the highest local mean of its probability, mean probabilities of the 5, 20 and 100 likeliest
        voxels, and logarithms of the voxels expected in lesions and of the largest piece likelier than not.
        """
        rows = np.full((len(ORGANS), FOUND), np.nan, np.float32)
        for index, looks, organ, _ in _organs(coarse(arrays)):
            likely = self._model.predict_proba(looks)[:, 1] if self._model else np.zeros(len(looks))
            rows[index] = _summary(likely, organ)
        return rows


def _summary(likely: np.ndarray, organ: Bool[np.ndarray, "z y x"]) -> list[float]:
    volume = np.zeros(organ.shape, np.float32)
    volume[organ] = likely
    ranked = np.sort(likely)[::-1]
    most = float(np.clip(ranked[0], _SMALLEST_ODDS, 1 - _SMALLEST_ODDS))
    pieces, count = ndimage.label(volume > 0.5)
    largest = np.bincount(pieces.ravel())[1:].max() if count else 0
    return [
        float(np.log(most / (1 - most))),
        float(ndimage.gaussian_filter(volume, 1.0)[organ].max()),
        *(float(ranked[:top].mean()) for top in _TOPS),
        float(np.log1p(likely.sum())),
        float(np.log1p(largest)),
    ]


def _organs(
    case: Coarse,
) -> Iterator[tuple[int, Float32[np.ndarray, "n f"], Bool[np.ndarray, "z y x"], tuple[slice, ...]]]:
    """By organ: its place in `ORGANS`, the looks of its voxels, where they lie in a box, and the box."""
    aorta = case.hu[case.anatomy == _AORTA]
    blood = float(np.median(aorta)) if aorta.size else 0.0
    for index, around, organ in organ_boxes(ORGAN_OF[case.anatomy], _MARGIN):
        looks = _voxels(case.hu[around], organ)
        constant = np.full((len(looks), 2), (blood, index), np.float32)
        yield index, np.hstack([looks, constant]), organ, around


def _voxels(hu: Float32[np.ndarray, "z y x"], organ: Bool[np.ndarray, "z y x"]) -> Float32[np.ndarray, "n f"]:
    """Numbers of every voxel of an organ: itself, around it, where it lies, and of the organ as a whole."""
    median, spread = float(np.median(hu[organ])), float(hu[organ].std())
    off = np.where(organ, hu - median, 0).astype(np.float32)
    means = [local_mean(off, organ, sigma)[organ] for sigma in SIGMAS]
    squares = local_mean(off**2, organ, SIGMAS[1])[organ]
    smooth = ndimage.gaussian_filter(hu, SIGMAS[0])
    highest = ndimage.maximum_filter(np.where(organ, smooth, hu.min()), 3)[organ] - median
    lowest = ndimage.minimum_filter(np.where(organ, smooth, hu.max()), 3)[organ] - median
    place = np.argwhere(organ)
    columns = [
        hu[organ],
        off[organ],
        *means,
        means[0] - means[2],
        means[1] - means[3],
        np.sqrt(np.maximum(squares - means[1] ** 2, 0)),
        *(ndimage.gaussian_filter(hu.clip(-300, 400), sigma)[organ] for sigma in AROUND),
        highest,
        lowest,
        ndimage.distance_transform_edt(organ)[organ],
        ndimage.gaussian_filter(organ.astype(np.float32), 2.0)[organ],
        *((place - place.mean(0)) / (place.std(0) + 1)).T,
        *(np.full(len(place), number) for number in (median, spread, np.log(len(place)))),
    ]
    return np.stack(columns, 1).astype(np.float32)


def _joined(samples: Sequence[Samples]) -> Samples:
    if not samples:
        return Samples(np.zeros((0, 1), np.float32), np.zeros(0, bool), np.zeros(0, np.float32))
    return Samples(
        np.concatenate([one.looks for one in samples]),
        np.concatenate([one.inside for one in samples]),
        np.concatenate([one.weights for one in samples]),
    )
