"""Who trains and who is held out in a benchmark: fixed lists for the public releases, official splits, or a hold-out by hash.

The lists of `protocols.toml` have the sizes of GuideGen's tables (arXiv 2403.07247), whose own lists are not published.
They follow one rule: the cases of the whole release in the order of a hash of protocol and case id, the first ones train.
So a case is on the same side however many cases of the release are there.
"""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from downstream.splits import DEFAULT_FOLDS, k_folds, possible_folds
from manifests.case import CaseRecord
from manifests.dataset import Dataset
from manifests.errors import InvalidValueError, UnknownNameError
from manifests.identity import content_hash

__all__ = ["HOLDOUT", "OFFICIAL", "Protocol", "Split", "benchmark_split", "by_hash", "protocol", "protocol_names"]

OFFICIAL, HOLDOUT = "official", "holdout"
_SIDES = ("train", "val", "test")
_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Split:
    """Case ids of each side, sorted; `val` is empty where the protocol holds none out for choosing."""

    protocol: str
    train: tuple[str, ...]
    val: tuple[str, ...]
    test: tuple[str, ...]

    @property
    def split_id(self) -> str:
        """Identity of the sides, whatever the protocol is called."""
        return content_hash([self.train, self.val, self.test])


@dataclass(frozen=True, slots=True)
class Protocol:
    """The published lists of one release.

    Attributes:
        name: key in `protocols.toml`.
        about: one line on the release.
        layout: the layout of `factory ingest` that reads it.
        scheme: label scheme that is scored.
        split: all cases of the release.
    """

    name: str
    about: str
    layout: str
    scheme: str
    split: Split


def protocol_names() -> tuple[str, ...]:
    """Names that `benchmark_split` takes: the lists, then "official" and "holdout"."""
    return (*_tables(), OFFICIAL, HOLDOUT)


@cache
def protocol(name: str) -> Protocol:
    """Look the lists of a release up.

    Raises:
        UnknownNameError: if there are none of that name.
    """
    if name not in _tables():
        raise UnknownNameError(
            "protocol", got=repr(name), need=f"one of {', '.join(protocol_names())}", do="Choose one of these."
        )
    table = _tables()[name]
    train, val, test = (tuple(table["case"].format(number) for number in table[side]) for side in _SIDES)
    return Protocol(name, table["about"], table["layout"], table["scheme"], Split(name, train, val, test))


def by_hash(name: str, cases: Sequence[str], train: int, val: int = 0) -> Split:
    """Deal cases by the rule of the lists: `train` of them first by hash, then `val`; the others test."""
    ranked = sorted(cases, key=lambda case: content_hash([name, case]))
    sides = ranked[:train], ranked[train : train + val], ranked[train + val :]
    return Split(name, *(tuple(sorted(side)) for side in sides))


def benchmark_split(dataset: Dataset, name: str | None = None, *, folds: int = DEFAULT_FOLDS) -> Split:
    """Split the accepted cases of a dataset into training, validation and test cases.

    Cases of one patient, prompt or source are never on two sides: the lists know one case a patient, and the hold-out keeps
    them together (`downstream.leakage` proves it).

    Args:
        dataset: real cases, or what stands for them.
        name: lists of a release; "official" for the sides that the release itself names, where a release without public
            test cases is tested on its validation cases; "holdout" for one part in `folds` by hash. None takes the lists
            of the release that was ingested, else the official sides, else the hold-out.
        folds: parts of the hold-out, of which one is tested; fewer where the dataset has fewer groups.

    Raises:
        UnknownNameError: if there is no such protocol, or a case is not of its release.
        InvalidValueError: if nothing is left to train on or to test, or a case has no official side.
    """
    records = dataset.accepted()
    chosen = name or _default(dataset, records)
    if chosen == HOLDOUT:
        return _filled(_held_out(records, folds), dataset)
    if chosen == OFFICIAL:
        return _filled(_official(records), dataset)
    return _filled(_listed(protocol(chosen).split, records), dataset)


def _default(dataset: Dataset, records: Sequence[CaseRecord]) -> str:
    origin = dataset.spec.prompts.get("origin", "")
    for name, table in _tables().items():
        known = {case for side in _sides(protocol(name).split).values() for case in side}
        if origin == f"ingest {table['layout']}" and any(record.case_id in known for record in records):
            return name
    sides = {record.split for record in records}
    return OFFICIAL if len(sides & set(_SIDES)) > 1 else HOLDOUT


def _sides(split: Split) -> Mapping[str, tuple[str, ...]]:
    return {side: getattr(split, side) for side in _SIDES}


def _listed(whole: Split, records: Sequence[CaseRecord]) -> Split:
    there = {record.case_id for record in records}
    known = {case for side in _sides(whole).values() for case in side}
    if foreign := sorted(there - known):
        raise UnknownNameError(
            f"protocol {whole.protocol}",
            got=f"{len(foreign)} cases that are not of the release: {', '.join(foreign[:_SHOWN])}",
            need=f"cases such as {whole.train[0]}",
            do=f"Choose another protocol, {HOLDOUT} for any dataset, or remove them.",
        )
    return Split(whole.protocol, *(tuple(case for case in side if case in there) for side in _sides(whole).values()))


def _official(records: Sequence[CaseRecord]) -> Split:
    lost = [record.case_id for record in records if record.split not in _SIDES]
    if lost:
        raise InvalidValueError(
            f"protocol {OFFICIAL}",
            got=f"{len(lost)} cases without a side: {', '.join(lost[:_SHOWN])}",
            need="train, val or test in every record, as releases with official splits have it",
            do=f"Use --protocol {HOLDOUT}.",
        )
    train, val, test = (tuple(sorted(r.case_id for r in records if r.split == side)) for side in _SIDES)
    return Split(OFFICIAL, train, val if test else (), test or val)


def _held_out(records: Sequence[CaseRecord], folds: int) -> Split:
    classes = {record.case_id: frozenset(lesion.organ for lesion in record.lesions) for record in records}
    first = k_folds(records, classes, min(folds, max(2, possible_folds(records))))[0]
    return Split(HOLDOUT, first.train, (), first.val)


def _filled(split: Split, dataset: Dataset) -> Split:
    empty = [side for side in ("train", "test") if not getattr(split, side)]
    if empty:
        raise InvalidValueError(
            f"{dataset.root}, protocol {split.protocol}",
            got=f"no {' and no '.join(empty)} case among {len(split.train + split.val + split.test)}",
            need="cases on both sides",
            do="Ingest more cases, or choose another protocol.",
        )
    return split


@cache
def _tables() -> dict[str, dict[str, Any]]:
    return tomllib.loads(files("downstream").joinpath("protocols.toml").read_text(encoding="utf-8"))
