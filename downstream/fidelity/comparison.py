"""Compare the images of a dataset with those of another, without any weights.

Cases are read one at a time and reduced to portraits, so memory grows with half a megabyte a case; no dataset is written to.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from downstream.fidelity.measures import FEWEST_CASES, Measurement, measure
from downstream.fidelity.memorisation import neighbours
from downstream.fidelity.portrait import BODY, HU_WIDTH, Portrait, common_spacing_mm, portray
from downstream.fidelity.samples import Draws
from downstream.results import Result, Results
from manifests.case import CaseRecord
from manifests.dataset import Dataset
from manifests.errors import InvalidValueError, UnknownNameError
from manifests.geometry import HU_MIN
from manifests.schemes import Scheme, paint, scheme

__all__ = ["Comparison", "FidelityOptions", "Taking", "chosen_cases", "chosen_spacing_mm", "compare"]

ARMS = ("real", "synthetic")


@dataclass(frozen=True, slots=True)
class FidelityOptions:
    """How to compare.

    Attributes:
        scheme: label scheme whose labels are the structures.
        structures: some of its labels; empty for all.
        spacing_mm: isotropic spacing of the comparison; None is the coarsest at hand.
        cases: most cases of each dataset, evenly spread over it.
        draws: resamples and their seed.
        shrink: whether to shrink covariances, which needs fewer cases and is another measure.
    """

    scheme: str = "guidegen20-tumour"
    structures: tuple[str, ...] = ()
    spacing_mm: float | None = None
    cases: int = 200
    draws: Draws = field(default_factory=Draws)
    shrink: bool = False


@dataclass(frozen=True, slots=True)
class Comparison:
    """All measures with what they were taken on.

    Attributes:
        measurements: one row per measure and structure.
        cases: values of single cases in the tidy form, arms "real" and "synthetic".
        facts: datasets, sizes, spacing, scheme and seed.
    """

    measurements: tuple[Measurement, ...]
    cases: Results
    facts: dict[str, Any]

    def to_json(self) -> dict[str, Any]:
        """Plain data, NaN as None; the values of single cases are left out."""
        rows = [asdict(row) for row in self.measurements]
        clean = [{key: None if value != value else value for key, value in row.items()} for row in rows]
        return {"facts": self.facts, "measures": clean}


def compare(
    real: Dataset, synthetic: Dataset, options: FidelityOptions, advance: Callable[[], None] = lambda: None
) -> Comparison:
    """Compare a dataset with a reference.

    Args:
        real: the reference.
        synthetic: the dataset to judge.
        options: see `FidelityOptions`.
        advance: called after each case.

    Raises:
        InvalidValueError: too few cases, or a spacing finer than the data.
        UnknownNameError: no such scheme.
        CorruptDatasetError: arrays cannot be read.
    """
    wanted = scheme(options.scheme)
    records = [chosen_cases(dataset, options.cases) for dataset in (real, synthetic)]
    spacing_mm = chosen_spacing_mm(options.spacing_mm, records)
    taking = Taking(wanted, spacing_mm, options.structures)
    first, second = (
        taking.portraits(dataset, each, advance) for dataset, each in zip((real, synthetic), records, strict=True)
    )
    facts = {
        "real": str(real.root),
        "synthetic": str(synthetic.root),
        "cases": dict(zip(ARMS, map(len, records), strict=True)),
        "spacing_mm": spacing_mm,
        "scheme": options.scheme,
        **asdict(options.draws),
    }
    rows = measure(first, second, taking.names, options.draws, shrink=options.shrink)
    return Comparison(tuple(rows), Results(_tidy(first, second)), facts)


@dataclass(frozen=True, slots=True)
class Taking:
    """How portraits are taken: label scheme, spacing, and which of its labels (empty for all)."""

    scheme: Scheme
    spacing_mm: float
    structures: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse labels that the scheme lacks."""
        if strange := sorted(set(self.structures) - set(self.scheme.labels)):
            raise UnknownNameError(
                "--structures",
                got=", ".join(strange),
                need=f"labels of {self.scheme.name}: {', '.join(list(self.scheme.labels)[1:])}",
                do="Choose among these.",
            )

    @property
    def names(self) -> list[str]:
        """The structures, the body first."""
        labels = self.structures or tuple(name for name, value in self.scheme.labels.items() if value)
        return [BODY, *labels]

    def portraits(
        self, dataset: Dataset, records: Sequence[CaseRecord], advance: Callable[[], None] = lambda: None
    ) -> list[Portrait]:
        """Take the portraits of some cases, one case in memory at a time."""
        wanted = {name: self.scheme.labels[name] for name in self.names[1:]}
        found = []
        for record in records:
            arrays = dataset.read(record.case_id)
            painted = paint(arrays.anatomy, arrays.lesions, record.lesions, self.scheme)
            found.append(portray(record.case_id, arrays.ct, (painted, wanted), arrays.grid, self.spacing_mm))
            advance()
        return found


def chosen_cases(dataset: Dataset, most: int) -> list[CaseRecord]:
    """At most so many delivered cases, evenly spread.

    Raises:
        InvalidValueError: fewer than `FEWEST_CASES`.
    """
    records = dataset.accepted()
    if min(len(records), most) < FEWEST_CASES:
        raise InvalidValueError(
            str(dataset.root),
            got=f"{min(len(records), most)} cases to compare",
            need=f"at least {FEWEST_CASES}, and tens for an interval worth its name",
            do="Give a larger dataset.",
        )
    places = np.linspace(0, len(records) - 1, min(len(records), most))
    return [records[round(place)] for place in places]


def chosen_spacing_mm(asked: float | None, records: Sequence[Sequence[CaseRecord]]) -> float:
    """The spacing asked for, or the coarsest at hand.

    Raises:
        InvalidValueError: it is finer than the data.
    """
    coarsest = common_spacing_mm(records)
    if asked is not None and not asked >= coarsest * (1 - 1e-6):
        raise InvalidValueError(
            "--spacing",
            got=f"{asked:g} mm, finer than the data",
            need=f"{coarsest:g} mm or more: interpolated voxels have a texture of their own",
            do="Give a coarser spacing, or leave it out.",
        )
    return coarsest if asked is None else asked


def _tidy(real: Sequence[Portrait], synthetic: Sequence[Portrait]) -> list[Result]:
    """Values of single cases: volumes, mean HU, noise, continuity, nearest neighbours."""
    rows = []
    for arm, portraits in zip(ARMS, (real, synthetic), strict=True):
        for portrait in portraits:
            of_structure = {name: {"volume_ml": ml} for name, ml in portrait.volumes_ml.items()}
            for name, shares in portrait.histograms.items():
                centres = HU_MIN + HU_WIDTH * (np.arange(shares.size) + 0.5) - 0.5
                of_structure.setdefault(name, {})["hu_mean"] = float(shares @ centres)
            of_structure[""] = {"noise_hu": portrait.spectra.noise_hu, **portrait.continuity}
            rows += [
                Result(portrait.case_id, structure, metric, value, arm)
                for structure, values in of_structure.items()
                for metric, value in values.items()
            ]
    found = neighbours([p.thumbnail for p in real], [p.thumbnail for p in synthetic])
    for portrait, near in zip(synthetic, found.nearest_real_hu, strict=True):
        rows.append(Result(portrait.case_id, "", "nearest_real_hu", float(near), ARMS[1]))
    for portrait, near in zip(real, found.real_nearest_hu, strict=True):
        rows.append(Result(portrait.case_id, "", "nearest_real_hu", float(near), ARMS[0]))
    return rows
