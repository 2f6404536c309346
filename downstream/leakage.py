"""Proof that nothing held out was seen in training: no patient, prompt, source or scan on both sides, no synthetic case held out.

A synthetic case can carry a patient without being one: its masks may be drawn from a case of a bank, and its prompt may
come from that patient's row of a clinical table or report. Both are told from its record.
"""

from collections.abc import Sequence, Set
from dataclasses import dataclass

from downstream.protocols import Split
from manifests.case import CaseRecord
from manifests.dataset import Dataset
from manifests.errors import InvalidValueError

__all__ = ["Leak", "find_leaks", "require_no_leaks"]

_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Leak:
    """One thing that a training case shares with a held-out one.

    Attributes:
        case_id: the training case.
        held_out: the case of validation or test.
        shared: what they share, such as "patient case_00012".
    """

    case_id: str
    held_out: str
    shared: str


def find_leaks(split: Split, real: Dataset, synthetic: Sequence[Dataset] = ()) -> tuple[Leak, ...]:
    """Find what training cases, real or synthetic, share with held-out cases.

    Args:
        split: sides of `real`.
        real: the dataset that is split.
        synthetic: datasets whose accepted cases may all be trained on.

    Returns:
        One leak for each shared thing of a case, real cases first; empty if the split is clean.

    Raises:
        InvalidValueError: if a case of the split is not one of the real dataset: synthetic cases are never held out.
    """
    records = {record.case_id: record for record in real.accepted()}
    _require_own(split, real, records.keys())
    owner: dict[str, str] = {}
    for case in (*split.val, *split.test):
        owner = dict.fromkeys(_shareable(records[case]), case) | owner
    training = [records[case] for case in split.train]
    training += [record for dataset in synthetic for record in dataset.accepted()]
    return tuple(
        Leak(record.case_id, owner[shared], shared)
        for record in training
        for shared in _shareable(record)
        if shared in owner
    )


def require_no_leaks(split: Split, real: Dataset, synthetic: Sequence[Dataset] = ()) -> None:
    """Refuse to train where `find_leaks` finds something.

    Raises:
        InvalidValueError: with the number of training cases that leak and the first of them.
    """
    if leaks := find_leaks(split, real, synthetic):
        shown = "; ".join(f"{leak.case_id} has {leak.shared} of {leak.held_out}" for leak in leaks[:_SHOWN])
        raise InvalidValueError(
            f"split {split.protocol} of {real.root}",
            got=f"{len({leak.case_id for leak in leaks})} training cases that show what is held out: {shown}",
            need="no patient, prompt, source or scan on both sides",
            do="Draw prompts and masks from training cases alone, and build these cases again.",
        )


def _require_own(split: Split, real: Dataset, own: Set[str]) -> None:
    foreign = sorted({*split.train, *split.val, *split.test} - own)
    if foreign:
        raise InvalidValueError(
            f"split {split.protocol} of {real.root}",
            got=f"{len(foreign)} cases that are not in that dataset: {', '.join(foreign[:_SHOWN])}",
            need="its own cases; synthetic ones are never held out",
            do="Split the dataset again.",
        )


def _shareable(record: CaseRecord) -> list[str]:
    """What a case must not share with one that is held out.

    Its patients are that of the scan, that of the masks' source, and that of the row behind the prompt ("kits.json#case_00012");
    a row that is a mere number names nobody.
    """
    row = record.source.partition("#")[2] if record.source else ""
    patients = (record.patient_id, record.case_id, record.notes.get("source_case"), "" if row.isdigit() else row)
    named = [("patient", patient) for patient in dict.fromkeys(patients)]
    named += [("prompt", record.prompt_id), ("source", record.source), ("scan", record.ct_blake3)]
    return [f"{kind} {value}" for kind, value in named if value]
