"""Folds of a dataset: by hash, so that growth moves almost nothing, and without leakage.

Cases that share a patient, a prompt or a source form one group; a group lies in one
validation fold as a whole. Its fold is the one that hashes highest with it (rendezvous
hashing, Thaler and Ravishankar 1998), so it does not depend on the other cases. Small
datasets are then repaired: groups move, in an order that is fixed too, until every fold has
at least half its even share of each class and a size within a quarter of the even one. In large
datasets chance alone keeps within these bounds, and nothing moves.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int

from manifests.case import CaseRecord
from manifests.errors import DefectError, InvalidValueError
from manifests.identity import content_hash

__all__ = ["DEFAULT_FOLDS", "Fold", "check_leakage", "checked_folds", "groups", "k_folds", "possible_folds"]

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


def checked_folds(
    records: Sequence[CaseRecord], classes: Mapping[str, Iterable[str]], folds: int | None
) -> tuple[Fold, ...]:
    """Split cases as `k_folds` does and check it; None asks for as many folds as are possible, 0 for none.

    Raises:
        InvalidValueError: if the groups do not allow that many.
    """
    count = possible_folds(records) if folds is None else folds
    held = {case: frozenset(names) for case, names in classes.items()}
    made = k_folds(records, held, count) if count else ()
    check_leakage(made, records)
    return made


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


@dataclass(frozen=True, slots=True)
class _Bounds:
    """How many groups of each class a fold should hold; column 0 counts all groups."""

    low: Int[np.ndarray, " classes"]
    high: Int[np.ndarray, " classes"]

    @classmethod
    def of(cls, total: Int[np.ndarray, " classes"], folds: int) -> "_Bounds":
        """At least half an even share of each class that suffices for all folds; sizes within a quarter."""
        low = np.where(total >= folds, np.maximum(1, total // (2 * folds)), 0)
        high = total.copy()
        low[0], high[0] = max(1, 3 * total[0] // (4 * folds)), -(-5 * total[0] // (4 * folds))
        return cls(low, high)

    def violation(self, counts: Int[np.ndarray, "n classes"]) -> Int[np.ndarray, " n"]:
        """How far counts are outside the bounds, summed over classes."""
        return np.asarray((np.maximum(self.low - counts, 0) + np.maximum(counts - self.high, 0)).sum(axis=1))


def _repair(
    fold_of: Int[np.ndarray, " groups"], members: Bool[np.ndarray, "groups classes"], folds: int
) -> Int[np.ndarray, " groups"]:
    """Move or swap groups until every fold is within its bounds, as far as that can be had."""
    bounds = _Bounds.of(members.sum(axis=0), folds)
    fold_of = fold_of.copy()
    while True:
        counts = np.stack([members[fold_of == fold].sum(axis=0) for fold in range(folds)])
        step = _best_step(fold_of, members.astype(int), counts, bounds)
        if step is None:
            return fold_of
        for group, fold in step:
            fold_of[group] = fold


def _best_step(
    fold_of: Int[np.ndarray, " groups"],
    held: Int[np.ndarray, "groups classes"],
    counts: Int[np.ndarray, "folds classes"],
    bounds: _Bounds,
) -> tuple[tuple[int, int], ...] | None:
    """The move, or else the swap, that lowers the violations most; None if none lowers them."""
    violation = bounds.violation(counts)
    if not violation.any():
        return None

    def gains(moved: Int[np.ndarray, "groups classes"], target: int) -> Int[np.ndarray, " groups"]:
        after = bounds.violation(counts[fold_of] - moved) + bounds.violation(counts[target] + moved)
        gained = violation[fold_of] + violation[target] - after
        return np.where(fold_of == target, -1, gained)

    best = 0
    step: tuple[tuple[int, int], ...] | None = None
    for target in range(len(counts)):
        gained = gains(held, target)
        group = int(gained.argmax())
        if gained[group] > best:
            best, step = int(gained[group]), ((group, target),)
    if step is not None:
        return step
    for target in np.flatnonzero(violation).tolist():
        for returned in np.flatnonzero(fold_of == target).tolist():
            gained = gains(held - held[returned], target)
            group = int(gained.argmax())
            if gained[group] > best:
                best, step = int(gained[group]), ((group, target), (returned, int(fold_of[group])))
    return step
