"""Folds of a dataset: by hash, so that growth moves almost nothing, and without leakage.

Cases that share a patient, a prompt or a source form one group; a group lies in one
validation fold as a whole. Its fold is the one that hashes highest with it (rendezvous
hashing, Thaler and Ravishankar 1998), so it does not depend on the other cases. Small
datasets are then repaired: groups move, in an order that is fixed too, until every fold has
at least half its even share of each class. From a few dozen groups a fold nothing moves.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int

from manifests.case import CaseRecord
from manifests.errors import DefectError, InvalidValueError
from manifests.identity import content_hash

__all__ = ["DEFAULT_FOLDS", "Fold", "check_leakage", "groups", "k_folds", "possible_folds"]

DEFAULT_FOLDS = 5
"""nnU-Net's number of cross-validation folds."""


@dataclass(frozen=True, slots=True)
class Fold:
    """Case ids of one training and validation split, each sorted."""

    train: tuple[str, ...]
    val: tuple[str, ...]


def groups(records: Iterable[CaseRecord]) -> dict[str, str]:
    """Map each case to the group of cases that must stay on one side of every split.

    Two cases are linked by the same `patient_id`, `prompt_id` or `source`; groups are the
    connected components. A group is named by a hash of the link of its first case, by index.
    Cases without any of the three are their own group. No records give an empty mapping.
    """
    ordered = sorted(records, key=lambda record: (record.index, record.case_id))
    links = list(dict.fromkeys(link for record in ordered for link in _links(record)))
    rank = {link: number for number, link in enumerate(links)}
    parent = {link: link for link in links}

    def root(link: str) -> str:
        while parent[link] != link:
            parent[link] = link = parent[parent[link]]
        return link

    for record in ordered:
        first, *others = _links(record)
        for other in others:
            earlier, later = sorted((root(first), root(other)), key=rank.__getitem__)
            parent[later] = earlier
    return {record.case_id: content_hash(root(_links(record)[0])) for record in ordered}


def possible_folds(records: Iterable[CaseRecord]) -> int:
    """Number of folds that the groups allow: at most `DEFAULT_FOLDS`; 0 with fewer than two groups."""
    count = len(set(groups(records).values()))
    return min(count, DEFAULT_FOLDS) if count > 1 else 0


def k_folds(records: Sequence[CaseRecord], classes: Mapping[str, frozenset[str]], folds: int) -> tuple[Fold, ...]:
    """Split cases into cross-validation folds; see the module's text for the rule.

    Args:
        records: the cases; their order has no effect.
        classes: names of the classes that are present in each case.
        folds: number of folds, at least 2 and at most the number of groups.

    Returns:
        One `Fold` per validation set; each case is in exactly one `val`.

    Raises:
        InvalidValueError: if there are fewer groups than folds, or folds < 2.
    """
    group_of = groups(records)
    names = sorted(set(group_of.values()))
    if not 2 <= folds <= len(names):
        raise InvalidValueError(
            "--folds",
            got=f"{folds} for {len(records)} cases from {len(names)} independent prompts, patients or sources",
            need=f"2 to {len(names)}" if len(names) > 1 else "cases of at least two prompts, patients or sources",
            do="Ask for fewer folds, or for 0 to write no split." if len(names) > 1 else "Use --folds 0.",
        )
    members = _membership(names, group_of, classes)
    scores = np.array([[int(content_hash([name, fold]), 16) for fold in range(folds)] for name in names])
    assigned = _repair(scores.argmax(axis=1), members, folds)
    fold_of = {name: int(fold) for name, fold in zip(names, assigned, strict=True)}
    cases = sorted(group_of)
    return tuple(
        Fold(
            train=tuple(case for case in cases if fold_of[group_of[case]] != fold),
            val=tuple(case for case in cases if fold_of[group_of[case]] == fold),
        )
        for fold in range(folds)
    )


def check_leakage(folds: Iterable[Fold], records: Iterable[CaseRecord]) -> None:
    """Make sure that no patient, prompt or source is on both sides of a split.

    Raises:
        DefectError: naming the first link that is on both sides.
    """
    by_id = {record.case_id: record for record in records}
    for number, fold in enumerate(folds):
        train = {link for case in fold.train for link in _links(by_id[case])}
        val = {link for case in fold.val for link in _links(by_id[case])}
        if shared := sorted(train & val):
            raise DefectError(
                f"fold {number}", got=f"{shared[0]} on both sides", need="each on one side", do="Please report it."
            )


def _links(record: CaseRecord) -> list[str]:
    named = (("patient", record.patient_id), ("prompt", record.prompt_id), ("source", record.source))
    return [f"{kind} {value}" for kind, value in named if value] or [f"case {record.case_id}"]


def _membership(
    names: Sequence[str], group_of: Mapping[str, str], classes: Mapping[str, frozenset[str]]
) -> Bool[np.ndarray, "groups classes"]:
    """Which classes each group holds; column 0 is true for all and stands for the group itself."""
    labels = sorted({label for present in classes.values() for label in present})
    row = {name: number for number, name in enumerate(names)}
    table = np.zeros((len(names), 1 + len(labels)), bool)
    table[:, 0] = True
    for case, name in group_of.items():
        table[row[name], 1:] |= np.isin(labels, sorted(classes.get(case, ())))
    return table


def _repair(
    fold_of: Int[np.ndarray, " groups"], members: Bool[np.ndarray, "groups classes"], folds: int
) -> Int[np.ndarray, " groups"]:
    """Move or swap groups until no fold lacks its minimum of a class, as far as that can be had."""
    total = members.sum(axis=0)
    minimum = np.where(total >= folds, np.maximum(1, total // (2 * folds)), 0)
    fold_of = fold_of.copy()
    while True:
        counts = np.stack([members[fold_of == fold].sum(axis=0) for fold in range(folds)])
        lacking = np.argwhere(counts < minimum)
        step = _best_step(fold_of, members, counts, minimum) if len(lacking) else None
        if step is None:
            return fold_of
        for group, fold in step:
            fold_of[group] = fold


def _best_step(
    fold_of: Int[np.ndarray, " groups"],
    members: Bool[np.ndarray, "groups classes"],
    counts: Int[np.ndarray, "folds classes"],
    minimum: Int[np.ndarray, " classes"],
) -> tuple[tuple[int, int], ...] | None:
    """The move, or else the swap, that lowers the total deficit most; None if none lowers it."""
    held = members.astype(int)
    deficit = np.maximum(minimum - counts, 0).sum(axis=1)
    needy = np.flatnonzero(deficit)

    def gain(left: Int[np.ndarray, "n classes"], source: Int[np.ndarray, " n"], target: int) -> Int[np.ndarray, " n"]:
        after_source = np.maximum(minimum - (counts[source] - left), 0).sum(axis=1)
        after_target = np.maximum(minimum - (counts[target] + left), 0).sum(axis=1)
        gained = deficit[source] + deficit[target] - after_source - after_target
        return np.where(source == target, -1, gained)

    best = 0
    step: tuple[tuple[int, int], ...] | None = None
    for target in needy.tolist():
        gains = gain(held, fold_of, target)
        group = int(gains.argmax())
        if gains[group] > best:
            best, step = int(gains[group]), ((group, int(target)),)
    if step is not None:
        return step
    for target in needy.tolist():
        for returned in np.flatnonzero(fold_of == target):
            gains = gain(held - held[returned], fold_of, target)
            group = int(gains.argmax())
            if gains[group] > best:
                best, step = int(gains[group]), ((group, int(target)), (int(returned), int(fold_of[group])))
    return step
