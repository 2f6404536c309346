"""Organs that a prompt speaks of, as the stored masks have them: those of the sex, and those asked absent."""

import numpy as np

from manifests.anatomy import by_id, group
from manifests.case import Arrays, CaseRecord

__all__ = ["absent_agrees", "sex_agrees", "shown_structures"]

_SEX_ORGANS = {"male": "prostate", "female": "uterus"}


def shown_structures(arrays: Arrays) -> frozenset[str]:
    """Names of the structures that have voxels."""
    return frozenset(by_id(value).name for value in np.unique(arrays.anatomy).tolist() if value)


def sex_agrees(record: CaseRecord, shown: frozenset[str]) -> bool | None:
    """Whether the organ of the sex asked for is there and the other's is not.

    None where no sex was asked for, the scan shows no pelvis, or that organ was asked absent.
    """
    sex, region = record.requested.sex, record.drawn.region or record.requested.region or "torso"
    pelvic = region == "torso" or region.endswith("pelvis")
    if sex is None or not pelvic or _SEX_ORGANS[sex] in _members(record.requested.absent_organs):
        return None
    return shown & set(_SEX_ORGANS.values()) == {_SEX_ORGANS[sex]}


def absent_agrees(record: CaseRecord, shown: frozenset[str]) -> bool | None:
    """Whether no organ asked absent has voxels; None where none was."""
    names = record.requested.absent_organs
    return not _members(names) & shown if names else None


def _members(names: tuple[str, ...]) -> set[str]:
    return {entry.name for name in names for entry in group(name)}
