"""Measures that need local weights: FID in three planes, FVD, LPIPS.

- FID 2.5-D: axial, coronal and sagittal slices of all cases, each through a 2-D encoder; one Fréchet distance per plane
  over all vectors, and their mean. The vectors of a case belong together, so the bootstrap draws cases.
- FVD: the Fréchet distance of one vector per volume from a 3-D encoder. A video has many clips and a dataset has as many
  vectors as cases, so 512 features need 1,024 cases of each kind.
- LPIPS: of cases that share a prompt or a source in both datasets (same place in the same anatomy), and between cases of
  one dataset as a measure of variety.

No figure comes from less than `fewest(features)` vectors, and none is a mean of distances of batches.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from jaxtyping import Float32, Float64, Int16

from downstream.fidelity.encoders import Encoder, PerceptualDistance
from downstream.fidelity.frechet import Normal, fewest, frechet_distance
from downstream.fidelity.measures import FEWEST_CASES, Measurement
from downstream.fidelity.portrait import BODY_HU, body_mask
from downstream.fidelity.samples import Draws, normal_interval
from downstream.resampling import resampled
from downstream.stats import bootstrap_mean
from manifests.case import CaseRecord
from manifests.dataset import Dataset
from manifests.geometry import HU_MAX, HU_MIN

__all__ = ["PLANES", "Sample", "fid", "fvd", "lpips"]

PLANES = ("axial", "coronal", "sagittal")
MOST_FEATURES_RESAMPLED = 512  # a bootstrap of larger covariances takes hours
PAIRED_SLICES, MOST_PAIRS = 8, 60

_NAN = float("nan")
Volume = Int16[np.ndarray, "_ _ _"]
Vectors = Float32[np.ndarray, "_ _"]
"""Vectors of the images of one case, a row each."""


@dataclass(frozen=True, slots=True)
class Sample:
    """Cases of a dataset, read one at a time at one spacing, cut to the body."""

    dataset: Dataset
    records: Sequence[CaseRecord]
    spacing_mm: float

    def volumes(self) -> Iterator[Volume]:
        """CTs in the order of the records."""
        for record in self.records:
            yield self.volume(record)

    def volume(self, record: CaseRecord) -> Volume:
        """CT of one case in the box of its body."""
        arrays = self.dataset.read(record.case_id)
        values, _ = resampled(arrays.ct, arrays.grid, self.spacing_mm)
        ct: Volume = np.rint(values).clip(HU_MIN, HU_MAX).astype(np.int16)
        body = body_mask(ct)
        ends = [
            np.flatnonzero(body.any(tuple(other for other in range(3) if other != axis)))[[0, -1]] for axis in range(3)
        ]
        cut: Volume = ct[tuple(slice(first, last + 1) for first, last in ends)]
        return cut


def fid(
    real: Sample, synthetic: Sample, encoder: Encoder, draws: Draws, advance: Callable[[], None] = lambda: None
) -> list[Measurement]:
    """FID of each plane and their mean, every second slice of the body."""
    vectors = [_slice_vectors(sample, encoder, advance) for sample in (real, synthetic)]
    rows = [_distance(f"fid_{plane}", vectors[0][axis], vectors[1][axis], draws) for axis, plane in enumerate(PLANES)]
    values = [row.value for row in rows]
    mean = float(np.mean(values)) if all(value == value for value in values) else _NAN
    sizes = len(real.records), len(synthetic.records)
    return [*rows, Measurement("fid_2_5d", "", mean, _NAN, _NAN, _NAN, _NAN, *sizes, rows[0].note)]


def fvd(
    real: Sample, synthetic: Sample, encoder: Encoder, draws: Draws, advance: Callable[[], None] = lambda: None
) -> Measurement:
    """Fréchet distance of whole volumes."""
    vectors: list[list[Vectors]] = [[], []]
    for sample, found in zip((real, synthetic), vectors, strict=True):
        for volume in sample.volumes():
            found.append(encoder.encode(volume[None]))
            advance()
    return _distance("fvd", vectors[0], vectors[1], draws)


def lpips(real: Sample, synthetic: Sample, distance: PerceptualDistance, draws: Draws) -> list[Measurement]:
    """Perceptual distance of matching cases, and of the cases of each dataset among themselves."""
    partners = {link: record for record in real.records for link in _links(record)}
    pairs = [
        (partners[link], record) for record in synthetic.records for link in _links(record)[:1] if link in partners
    ]
    sizes = len(real.records), len(synthetic.records)
    if len(pairs) < FEWEST_CASES:
        note = "fewer than 5 cases share a prompt or source"
        paired = Measurement("lpips_paired", "", _NAN, _NAN, _NAN, _NAN, _NAN, *sizes, note)
    else:
        values = [_pair_distance(real.volume(a), synthetic.volume(b), distance) for a, b in pairs[:MOST_PAIRS]]
        mean = bootstrap_mean(values, seed=draws.seed)
        paired = Measurement("lpips_paired", "", mean.mean, mean.low, mean.high, 0.0, _NAN, *sizes)
    variety = [_variety(sample, distance, draws.seed) for sample in (real, synthetic)]
    note = f"real {variety[0]:.3f}, synthetic {variety[1]:.3f}"
    difference = variety[1] - variety[0]
    return [paired, Measurement("lpips_variety", "", difference, _NAN, _NAN, 0.0, _NAN, *sizes, note)]


def _slice_vectors(sample: Sample, encoder: Encoder, advance: Callable[[], None]) -> list[list[Vectors]]:
    """Vectors by plane and case; slices that hold no body are left out."""
    found: list[list[Vectors]] = [[], [], []]
    for volume in sample.volumes():
        for axis in range(3):
            slices = np.moveaxis(volume, axis, 0)[::2]
            kept = slices[(slices > BODY_HU).any((1, 2))]
            found[axis].append(encoder.encode(kept))
        advance()
    return found


def _distance(
    name: str,
    real: Sequence[Vectors],
    synthetic: Sequence[Vectors],
    draws: Draws,
) -> Measurement:
    """Fréchet distance over the vectors of all cases, or why there is none."""
    features = real[0].shape[1]
    counts = [sum(map(len, cases)) for cases in (real, synthetic)]
    empty = Measurement(name, "", _NAN, _NAN, _NAN, _NAN, _NAN, len(real), len(synthetic))
    if min(counts) < fewest(features) or min(len(real), len(synthetic)) < FEWEST_CASES:
        note = f"{min(counts)} vectors of {features} features; {fewest(features)} needed, of {FEWEST_CASES} cases"
        return Measurement(name, "", *(_NAN,) * 5, len(real), len(synthetic), note)
    value = frechet_distance(*(Normal.of(np.concatenate(cases)) for cases in (real, synthetic)))
    low, high = _interval(real, synthetic, value, draws) if features <= MOST_FEATURES_RESAMPLED else (_NAN, _NAN)
    note = "" if low == low else f"no interval above {MOST_FEATURES_RESAMPLED} features"
    return Measurement(name, "", value, low, high, _NAN, _NAN, empty.real, empty.synthetic, note)


def _interval(
    real: Sequence[Vectors],
    synthetic: Sequence[Vectors],
    value: float,
    draws: Draws,
) -> tuple[float, float]:
    """Bootstrap interval over cases, not over their slices."""
    rng = np.random.default_rng(draws.seed)
    sums = [[_Sums.of(case) for case in cases] for cases in (real, synthetic)]
    again = []
    for _ in range(draws.resamples):
        drawn = [[cases[place] for place in rng.integers(0, len(cases), len(cases))] for cases in sums]
        again.append(frechet_distance(*(_Sums.total(cases) for cases in drawn)))
    return normal_interval(value, np.array(again), floor=0.0)


@dataclass(frozen=True, slots=True)
class _Sums:
    """Count, sum and sum of squares of the vectors of a case: what a covariance over many cases is made of."""

    n: int
    first: Float64[np.ndarray, "features"]
    second: Float64[np.ndarray, "features features"]

    @classmethod
    def of(cls, vectors: Float32[np.ndarray, "n features"]) -> "_Sums":
        x = vectors.astype(np.float64)
        return cls(len(x), x.sum(0), x.T @ x)

    @staticmethod
    def total(cases: Sequence["_Sums"]) -> Normal:
        n = sum(case.n for case in cases)
        mean = np.sum([case.first for case in cases], 0) / n
        second = np.sum([case.second for case in cases], 0)
        return Normal(mean, (second - n * np.outer(mean, mean)) / (n - 1), n)


def _links(record: CaseRecord) -> list[str]:
    """What two datasets may share: the source of the anatomy, or the prompt."""
    return [link for link in (record.source, record.prompt_id) if link]


def _pair_distance(first: Volume, second: Volume, distance: PerceptualDistance) -> float:
    """Mean over axial slices at the same heights of the two bodies."""
    heights = [
        np.linspace(0, len(volume) - 1, PAIRED_SLICES + 2)[1:-1].round().astype(int) for volume in (first, second)
    ]
    slices = [volume[places] for volume, places in zip((first, second), heights, strict=True)]
    y, x = (max(part.shape[axis] for part in slices) for axis in (1, 2))
    return distance.between(_filled(slices[0], (y, x)), _filled(slices[1], (y, x)))


def _filled(slices: Int16[np.ndarray, "n y x"], shape: tuple[int, int]) -> Int16[np.ndarray, "n a b"]:
    """Air around slices, up to a common shape."""
    fill = [(0, 0)] + [
        ((want - have) // 2, want - have - (want - have) // 2)
        for have, want in zip(slices.shape[1:], shape, strict=True)
    ]
    return np.pad(slices, fill, constant_values=HU_MIN)


def _variety(sample: Sample, distance: PerceptualDistance, seed: int) -> float:
    """Mean distance of pairs of cases, drawn at random where there are many."""
    pairs = list(combinations(range(len(sample.records)), 2))
    chosen = np.random.default_rng(seed).permutation(len(pairs))[:MOST_PAIRS]
    records = sample.records
    drawn = [(records[pairs[place][0]], records[pairs[place][1]]) for place in chosen]
    values = [_pair_distance(sample.volume(a), sample.volume(b), distance) for a, b in drawn]
    return float(np.mean(values))
