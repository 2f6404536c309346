"""The datasets of a usability study, checked before hours are spent.

Refused are: no dataset or no case, a dataset of the wrong kind, too few synthetic cases, a label that a side
never shows, voxels too coarse for the plan, one id in both datasets, and anything that training cases share with test cases.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from downstream.leakage import require_no_leaks
from downstream.ledger import source_hash
from downstream.protocols import Split, benchmark_split
from downstream.splits import k_folds
from downstream.usability.arms import REAL, Arm, Training, ranked, trainings
from downstream.usability.options import UsabilityOptions, check_options
from manifests.case import CaseRecord
from manifests.dataset import Dataset
from manifests.errors import InvalidValueError
from manifests.geometry import HU_MIN
from manifests.schemes import Scheme

__all__ = ["Inputs", "check_inputs"]

COARSER = 2.0
"""How many times coarser than the network's voxels, or the real ones, those of a training case may be."""


@dataclass(frozen=True, slots=True)
class Inputs:
    """Datasets that passed every check.

    Attributes:
        real, synthetic: open datasets; the second is None where no arm needs it.
        wanted: label scheme.
        splits: sides of the real dataset, one for each fold.
        ranked: ids of the synthetic cases that the largest arm takes, in their order.
        sources: by case, hash of what its files are made from.
    """

    real: Dataset
    synthetic: Dataset | None
    wanted: Scheme
    splits: tuple[Split, ...]
    ranked: tuple[str, ...]
    sources: dict[str, str]

    def trainings(self, options: UsabilityOptions) -> tuple[Training, ...]:
        """All networks to be trained, in order."""
        pairs = [(split.train, split.test) for split in self.splits]
        return trainings(options.arms(), pairs, self.ranked, options.seeds)


def check_inputs(real: Path, synthetic: Path | None, options: UsabilityOptions) -> Inputs:
    """Open the datasets and make sure that the study can be done with them; nothing is written.

    Raises:
        InputError: saying which case or option is in the way.
    """
    wanted = check_options(options)
    scans = Dataset.open(real)
    _check_kind(scans, options)
    records = _delivered(scans)
    splits = _splits(scans, options)
    generated, order, chosen = _synthetic(synthetic, options.arms())
    by_id = {record.case_id: record for record in records}
    _check_apart(by_id, chosen)
    for split in splits:
        require_no_leaks(split, scans, [generated] if generated else [])
        _check_labels(split, by_id, chosen, (wanted, options))
    _check_voxels(options, records, chosen)
    sources = {record.case_id: source_hash(record) for record in (*records, *chosen)}
    return Inputs(scans, generated, wanted, splits, order, sources)


def _splits(scans: Dataset, options: UsabilityOptions) -> tuple[Split, ...]:
    """The sides of the protocol, or parts by hash that are tested one after the other."""
    if options.folds == 1:
        return (benchmark_split(scans, options.protocol),)
    records = scans.accepted()
    classes = {record.case_id: frozenset(lesion.organ for lesion in record.lesions) for record in records}
    parts = enumerate(k_folds(records, classes, options.folds))
    return tuple(Split(f"part {part} of {options.folds}", fold.train, (), fold.val) for part, fold in parts)


def _check_kind(scans: Dataset, options: UsabilityOptions) -> None:
    if (scans.spec.kind == "real") == options.stand_in:
        got = "real scans" if options.stand_in else "a generated dataset"
        raise InvalidValueError(
            f"--real {scans.root}",
            got=got,
            need="a generated dataset beside --stand-in, real scans without it",
            do="Leave --stand-in out."
            if options.stand_in
            else "Swap the datasets, or pass --stand-in where it stands for scans.",
        )


def _delivered(dataset: Dataset) -> list[CaseRecord]:
    records = dataset.accepted()
    empty = [one.case_id for one in records if one.structures and all(m.hu_mean == HU_MIN for m in one.structures)]
    if not records or empty:
        raise InvalidValueError(
            str(dataset.root),
            got=f"case {empty[0]} without an image" if empty else "no accepted case",
            need="cases with CT and labels",
            do="Ingest it with its images." if empty else "Build or ingest it first.",
        )
    return records


def _synthetic(root: Path | None, arms: Sequence[Arm]) -> tuple[Dataset | None, tuple[str, ...], list[CaseRecord]]:
    """The synthetic dataset, the ids that the largest arm takes in their order, and their records."""
    largest = max((arm.size for arm in arms), default=0)
    if not largest:
        return None, (), []
    if root is None:
        raise InvalidValueError(
            "--synthetic", got="nothing", need="a synthetic dataset", do="Build one, or use --arms real."
        )
    dataset = Dataset.open(root)
    if dataset.spec.kind != "synthetic":
        raise InvalidValueError(f"--synthetic {root}", got="real scans", need="a generated dataset", do="Swap them?")
    records = {record.case_id: record for record in _delivered(dataset)}
    if len(records) < largest:
        raise InvalidValueError(
            f"--synthetic {root}",
            got=f"{len(records)} cases",
            need=f"{largest}, the largest of --sizes",
            do=f"Build more (factory build --n {largest}), or ask for fewer.",
        )
    order = ranked(list(records))[:largest]
    return dataset, order, [records[case] for case in order]


def _check_apart(real: dict[str, CaseRecord], chosen: Iterable[CaseRecord]) -> None:
    if shared := sorted(record.case_id for record in chosen if record.case_id in real):
        raise InvalidValueError(
            "--synthetic", got=f"case {shared[0]} of --real", need="other cases", do="Give two different datasets."
        )


def _check_labels(
    split: Split, real: dict[str, CaseRecord], chosen: Sequence[CaseRecord], how: tuple[Scheme, UsabilityOptions]
) -> None:
    """Each label must be there to be learnt from every source that is used, and to be tested."""
    wanted, options = how
    sources = {
        "test cases of --real": [real[case] for case in split.test],
        "training cases of --real": [real[case] for case in split.train],
        "chosen cases of --synthetic": chosen,
    }
    used = {arm.kind for arm in options.arms()}
    for what, records in sources.items():
        if (what.startswith("training") and used == {"synthetic"}) or (what.startswith("chosen") and used == {REAL}):
            continue
        lacking = [name for name in _lacking(wanted, records) if name not in options.may_lack]
        if lacking:
            raise InvalidValueError(
                what,
                got=f"no {lacking[0]} in any of {len(records)}"
                + (f", nor {', '.join(lacking[1:])}" if lacking[1:] else ""),
                need=f"every label of scheme {wanted.name}",
                do=f"Choose another --scheme, or pass --may-lack {lacking[0]!r}.",
            )


def _lacking(wanted: Scheme, records: Sequence[CaseRecord]) -> list[str]:
    names = {source: label.name for label in wanted.definitions for source in label.sources}
    values = {value: name for name, value in wanted.labels.items()}
    found = {names[one.name] for record in records for one in record.structures if one.name in names}
    found |= {values[wanted.lesion_value(lesion)] for record in records for lesion in record.lesions}
    return [name for name, value in wanted.labels.items() if value and name not in found]


def _check_voxels(options: UsabilityOptions, real: Sequence[CaseRecord], chosen: Sequence[CaseRecord]) -> None:
    """Refuse training cases whose voxels are far coarser than the network's, or the real ones: they teach blur."""
    median = float(np.median([max(record.grid().spacing_mm_zyx) for record in real]))
    limit = COARSER * max(options.size()["spacing_mm"] or 0.0, median)
    for record in chosen:
        coarsest = max(record.grid().spacing_mm_zyx)
        if coarsest > limit:
            raise InvalidValueError(
                f"--synthetic, case {record.case_id}",
                got=f"voxels of {coarsest:g} mm",
                need=f"{limit:g} mm or less, for plan {options.plan} and real voxels of {median:g} mm",
                do="Build it at a finer --preset, or choose a coarser --plan.",
            )
