"""The weight-free measures: portraits of two datasets in, a row for each measure and structure out."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from jaxtyping import Float64, Int16

from downstream.fidelity.continuity import STATISTICS
from downstream.fidelity.distances import (
    decibels,
    frechet_of_features,
    histogram_wasserstein_hu,
    mean_difference,
    relative_wasserstein,
)
from downstream.fidelity.diversity import pair_similarities, resampled_pairs
from downstream.fidelity.frechet import fewest
from downstream.fidelity.memorisation import Neighbours, neighbours
from downstream.fidelity.portrait import Portrait
from downstream.fidelity.radiomics import FAMILIES
from downstream.fidelity.samples import Draws, Statistic, estimate
from downstream.stats import bootstrap_mean

__all__ = ["FEWEST_CASES", "UNITS", "Measurement", "measure"]

FEWEST_CASES = 5
"""Cases of a dataset below which nothing is said of it."""

MOST_PAIRED = 24  # cases whose pairs are compared: 276 pairs

UNITS: Mapping[str, str] = {
    "hu_wasserstein": "HU",
    "volume_wasserstein": "share of the real mean",
    "image_spectrum": "dB",
    "noise_spectrum": "dB",
    "noise_hu": "HU, synthetic - real",
    **dict.fromkeys(STATISTICS, "synthetic - real"),
    "ms_ssim": "synthetic - real",
    "authenticity": "share of synthetic cases",
    "copies": "share of synthetic cases",
    "duplicates": "share of synthetic cases",
}
"""Units by measure; squared distances of features have none."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """One measure of one structure; NaN for what is not defined, `note` says why.

    Attributes:
        measure: its name.
        structure: name of the label, "" for the whole image.
        value: the measure; `low` and `high` are its 95 % interval over cases.
        null: what two samples of one population give at these sizes.
        p: share of relabellings of the cases that reach the value.
        real, synthetic: number of cases behind it.
        note: why there is no value.
    """

    measure: str
    structure: str
    value: float
    low: float
    high: float
    null: float
    p: float
    real: int
    synthetic: int
    note: str = ""


_NAN = float("nan")
Rows = Float64[np.ndarray, "_ _"]
Volume = Int16[np.ndarray, "z y x"]


def measure(
    real: Sequence[Portrait],
    synthetic: Sequence[Portrait],
    structures: Sequence[str],
    draws: Draws,
    *,
    shrink: bool = False,
) -> list[Measurement]:
    """Take all measures.

    Args:
        real: portraits of the reference, at least `FEWEST_CASES`.
        synthetic: portraits of what is judged, at least as many.
        structures: names of the labels, "body" included, in the order of the rows.
        draws: resamples and their seed.
        shrink: whether covariances are shrunk where there are too few cases for one.
    """
    pair = _Pair(real, synthetic, draws)
    rows = [
        *pair.by_structure("hu_wasserstein", structures, lambda p, s: p.histograms.get(s), histogram_wasserstein_hu),
        *pair.by_structure("volume_wasserstein", structures, _volume, relative_wasserstein),
    ]
    for family in FAMILIES:
        rows += pair.frechet(family, structures, shrink)
    rows += [
        pair.whole("image_spectrum", lambda p: p.spectra.image, decibels),
        pair.whole("noise_spectrum", lambda p: p.spectra.noise, decibels),
        pair.whole("noise_hu", lambda p: np.array([p.spectra.noise_hu]), mean_difference, distance=False),
        *(pair.whole(name, partial(_statistic, name), mean_difference, distance=False) for name in STATISTICS),
        pair.similarity(),
        *pair.memory(),
    ]
    return rows


def _volume(portrait: Portrait, structure: str) -> Float64[np.ndarray, "1"] | None:
    volume = portrait.volumes_ml.get(structure)
    return None if volume is None else np.array([volume])


def _statistic(name: str, portrait: Portrait) -> Float64[np.ndarray, "1"]:
    return np.array([portrait.continuity[name]])


@dataclass(frozen=True, slots=True)
class _Pair:
    """Portraits of both datasets, and the draws."""

    real: Sequence[Portrait]
    synthetic: Sequence[Portrait]
    draws: Draws

    def rows(self, value: Callable[[Portrait], Float64[np.ndarray, "d"] | None]) -> tuple[Rows, Rows]:
        """A value of the cases that have it, by dataset."""
        found = []
        for portraits in (self.real, self.synthetic):
            values = [v for portrait in portraits if (v := value(portrait)) is not None and np.isfinite(v).all()]
            found.append(np.array(values, np.float64).reshape(len(values), -1 if values else 0))
        return found[0], found[1]

    def whole(
        self,
        name: str,
        value: Callable[[Portrait], Float64[np.ndarray, "d"] | None],
        statistic: Statistic,
        *,
        distance: bool = True,
    ) -> Measurement:
        """Measure what has no structure."""
        real, synthetic = self.rows(value)
        empty = Measurement(name, "", _NAN, _NAN, _NAN, _NAN, _NAN, len(real), len(synthetic))
        if min(len(real), len(synthetic)) < FEWEST_CASES:
            return replace(empty, note=f"fewer than {FEWEST_CASES} cases have it")
        found = estimate(real, synthetic, statistic, self.draws, distance=distance)
        return replace(empty, value=found.value, low=found.low, high=found.high, null=found.null, p=found.p)

    def by_structure(
        self,
        name: str,
        structures: Sequence[str],
        value: Callable[[Portrait, str], Float64[np.ndarray, "d"] | None],
        statistic: Statistic,
    ) -> Iterator[Measurement]:
        """Measure each structure that either dataset has."""
        for structure in structures:
            here = partial(_of_structure, value, structure)
            if any(len(rows) for rows in self.rows(here)):
                yield replace(self.whole(name, here, statistic), structure=structure)

    def frechet(self, family: str, structures: Sequence[str], shrink: bool) -> Iterator[Measurement]:
        """Measure a family of radiomic features, or say how many cases it takes."""
        name = f"radiomic_frechet_{family}" + ("_shrunk" if shrink else "")

        def features(portrait: Portrait, structure: str) -> Float64[np.ndarray, "d"] | None:
            of = portrait.features.get(structure)
            return None if of is None else np.array(list(of[family].values()))

        for structure in structures:
            here = partial(_of_structure, features, structure)
            real, synthetic = self.rows(here)
            if not len(real) and not len(synthetic):
                continue
            need = FEWEST_CASES if shrink else fewest(max(real.shape[1], synthetic.shape[1]))
            if min(len(real), len(synthetic)) < need:
                note = f"{min(len(real), len(synthetic))} cases; {need} needed for a covariance"
                empty = (_NAN,) * 5
                yield Measurement(name, structure, *empty, len(real), len(synthetic), note)
            else:
                yield replace(self.whole(name, here, partial(frechet_of_features, shrink=shrink)), structure=structure)

    def similarity(self) -> Measurement:
        """Compare the mean similarity of pairs."""
        chosen = [_spread([p.thumbnail for p in portraits], MOST_PAIRED) for portraits in (self.real, self.synthetic)]
        first, second = (pair_similarities(volumes) for volumes in chosen)
        resamples = self.draws.resamples
        real, synthetic, found = resampled_pairs(first, second, seed=self.draws.seed, resamples=resamples)
        note = f"real {real.mean:.3f}, synthetic {synthetic.mean:.3f}"
        return Measurement("ms_ssim", "", found.mean, found.low, found.high, 0.0, _NAN, real.n, synthetic.n, note)

    def memory(self) -> Iterator[Measurement]:
        """Tell how many synthetic cases are copies."""
        found = neighbours([p.thumbnail for p in self.real], [p.thumbnail for p in self.synthetic])
        for name, null in (("authenticity", 0.5), ("copies", 0.0), ("duplicates", 0.0)):
            shares = _shares(found, name)
            interval = bootstrap_mean(shares, seed=self.draws.seed, resamples=1000)
            bounds = interval.mean, interval.low, interval.high
            yield Measurement(name, "", *bounds, null, _NAN, len(self.real), len(self.synthetic))


def _shares(found: Neighbours, name: str) -> Float64[np.ndarray, "n"]:
    return {"authenticity": found.authentic, "copies": found.copy, "duplicates": found.duplicate}[name].astype(float)


def _of_structure(
    value: Callable[[Portrait, str], Float64[np.ndarray, "d"] | None], structure: str, portrait: Portrait
) -> Float64[np.ndarray, "d"] | None:
    return value(portrait, structure)


def _spread(items: list[Volume], most: int) -> list[Volume]:
    """At most so many items, evenly spread."""
    if len(items) <= most:
        return items
    return [items[round(place)] for place in np.linspace(0, len(items) - 1, most)]
