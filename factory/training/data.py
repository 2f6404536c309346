"""Cases of datasets as a network takes them: straight from the store, on the working grid, kept in memory."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32, UInt8

from factory.engines.guidegen.resampling import coarse_labels, coarse_lesions, resampled_ct, working_grid
from factory.models.autoencoder import HU_UNIT
from manifests.anatomy import structure
from manifests.case import CaseRecord
from manifests.dataset import Dataset
from manifests.errors import InvalidValueError
from manifests.geometry import Grid
from manifests.identity import rng

__all__ = ["Cases", "Example", "example_of"]

_KEPT_BYTES = 4 * 2**30


@dataclass(frozen=True, slots=True)
class Example:
    """One case on its working grid.

    Attributes:
        anatomy: ids of the anatomy table.
        lesions: 1 where a lesion is.
        ct: HU / 1000; None where it was not asked for.
    """

    record: CaseRecord
    grid: Grid
    anatomy: UInt8[np.ndarray, "z y x"]
    lesions: UInt8[np.ndarray, "z y x"]
    ct: Float32[np.ndarray, "z y x"] | None = None


class Cases:
    """The accepted cases of some datasets, split once and for all into those to train on and those held out.

    Patients are kept together: a case that names a patient goes where the patient goes.

    Args:
        roots: directories of datasets.
        spacing_mm: isotropic spacing of the working grids.
        held_out: share held out; at least one case.
        with_ct: whether examples carry CT.

    Raises:
        LocationError, FileFormatError: if a directory is no dataset.
        InvalidValueError: if there are fewer than two cases or patients.
    """

    def __init__(self, roots: Sequence[Path], spacing_mm: float, held_out: float, *, with_ct: bool) -> None:
        self.spacing_mm, self._with_ct = spacing_mm, with_ct
        self._datasets = [Dataset.open(root) for root in roots]
        found = [(dataset, record) for dataset in self._datasets for record in dataset.accepted()]
        order = sorted(found, key=lambda pair: _lot(pair[1]))
        whose = list(dict.fromkeys(_who(record) for _, record in order))
        if len(whose) < 2:
            raise InvalidValueError(
                f"dataset {', '.join(map(str, roots))}",
                got=f"{len(found)} accepted cases of {len(whose)} patients",
                need="at least two, one of them to validate on",
                do="Build or ingest more cases.",
            )
        aside = set(whose[: max(1, round(held_out * len(whose)))])
        self.training = [pair for pair in order if _who(pair[1]) not in aside]
        self.held_out = [pair for pair in order if _who(pair[1]) in aside]
        self._kept: dict[str, Example] = {}
        self._bytes = 0

    @property
    def records(self) -> list[CaseRecord]:
        """Records of all cases, those to train on first."""
        return [record for _, record in (*self.training, *self.held_out)]

    def anatomy_ids(self) -> tuple[int, ...]:
        """Ids of all structures that any case shows, ascending.

        Raises:
            InvalidValueError: if no case has any: a mask or image model has nothing to learn there.
        """
        found: set[int] = set()
        for pair in (*self.training, *self.held_out):
            measured = {structure(one.name).id for one in pair[1].structures}
            found |= measured or set(np.unique(self.load(pair).anatomy).tolist()) - {0}
        if not found:
            raise InvalidValueError(
                "dataset",
                got="cases without any labelled structure",
                need="anatomy masks",
                do="Ingest the dataset with its masks.",
            )
        return tuple(sorted(found))

    def description(self) -> dict[str, Any]:
        """What the weights will say they were trained on."""
        return {
            "datasets": [dataset.spec.spec_id for dataset in self._datasets],
            "from_patients": any(dataset.spec.from_patients for dataset in self._datasets),
            "cases": len(self.training),
            "held_out": len(self.held_out),
        }

    def load(self, pair: tuple[Dataset, CaseRecord]) -> Example:
        """Read a case, or take it from memory.

        Raises:
            CorruptDatasetError: if its arrays are missing or damaged.
        """
        record = pair[1]
        if (kept := self._kept.get(record.case_id)) is not None:
            return kept
        example = example_of(*pair, self.spacing_mm, with_ct=self._with_ct)
        size = sum(array.nbytes for array in (example.anatomy, example.lesions, example.ct) if array is not None)
        if self._bytes + size <= _KEPT_BYTES:
            self._kept[record.case_id] = example
            self._bytes += size
        return example


def example_of(dataset: Dataset, record: CaseRecord, spacing_mm: float, *, with_ct: bool) -> Example:
    """Read a case and bring it to its working grid.

    Raises:
        CorruptDatasetError: if its arrays are missing or damaged.
    """
    arrays = dataset.read(record.case_id)
    grid = working_grid(arrays.grid, spacing_mm)
    return Example(
        record,
        grid,
        coarse_labels(arrays.anatomy, arrays.grid, grid),
        coarse_lesions(arrays.lesions, arrays.grid, grid),
        resampled_ct(arrays.ct, arrays.grid, grid) / np.float32(HU_UNIT) if with_ct else None,
    )


def _who(record: CaseRecord) -> str:
    return record.patient_id or record.case_id


def _lot(record: CaseRecord) -> tuple[float, str]:
    """A random place in the order of patients that is the same on every machine and in every superset."""
    return float(rng(_who(record), "training/split").random()), record.case_id
