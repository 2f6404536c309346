"""The anatomy vocabulary: one table, `anatomy.csv`, read once.

The first 117 rows are the classes of TotalSegmentator v2 under its own numbers; then come body,
fat, muscle and the sub-sites that prompts speak of; last, in the group "undivided", what real
label maps say when they part no sides or lobes ("kidneys"), which nothing here generates.
Left/right partners are listed in the `mirror` column, never computed from a name. Id 0 is
outside the body. `docs/anatomy.md` explains the columns and lists the references.
"""

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Literal

from manifests.errors import UnknownNameError
from manifests.identity import content_hash

__all__ = [
    "PHASES",
    "SEX_ORGANS",
    "Phase",
    "Sex",
    "Structure",
    "by_id",
    "by_word",
    "group",
    "sites",
    "structure",
    "structures",
    "table_hash",
]

Phase = Literal["native", "arterial", "portal_venous", "delayed"]
PHASES: tuple[Phase, ...] = ("native", "arterial", "portal_venous", "delayed")
"""Contrast phases: none, late arterial (about 35 s), portal venous (70 s), delayed (3 to 10 min)."""
Sex = Literal["male", "female"]
SEX_ORGANS: Mapping[Sex, str] = MappingProxyType({"male": "prostate", "female": "uterus"})
"""The structure by which each sex is told; the other has none."""


@dataclass(frozen=True, slots=True)
class Structure:
    """One row of the anatomy table.

    Attributes:
        id: value in anatomy arrays, 1 to 255.
        name: TotalSegmentator v2 class name, or ours where it has none.
        group: family that a prompt may name as a whole, e.g. "lung" for its five lobes.
        tissue: kind of tissue, which decides texture: parenchyma, bone, lung, bowel, ...
        side: "left", "right" or None.
        mirror: name of the partner on the other side, or None.
        organ: organ whose primary tumours lie in this structure, or None.
        hu: mean Hounsfield units by contrast phase; of bowel, wall and content without its gas.
        hu_sd: spread of the mean between patients, HU.
        volume_ml: reference volume in ml by sex ("male", "female"); absent where none is known.
        volume_cv: coefficient of variation of that volume between adults; None where none is known.
        synonyms: words of reports for it, lower case; a word shared by rows means any of them.
        totalsegmentator_id, maisi_id: numbers in those vocabularies, or None.
        source: citation of volumes and HU.
    """

    id: int
    name: str
    group: str
    tissue: str
    side: Literal["left", "right"] | None
    mirror: str | None
    organ: str | None
    hu: Mapping[Phase, float]
    hu_sd: float
    volume_ml: Mapping[str, float]
    volume_cv: float | None
    synonyms: tuple[str, ...]
    totalsegmentator_id: int | None
    maisi_id: int | None
    source: str


def _parse(row: dict[str, str]) -> Structure:
    def number(column: str) -> float | None:
        return float(row[column]) if row[column] else None

    def integer(column: str) -> int | None:
        return int(row[column]) if row[column] else None

    volumes = {sex: number(f"volume_ml_{sex}") for sex in ("male", "female")}
    return Structure(
        id=int(row["id"]),
        name=row["name"],
        group=row["group"],
        tissue=row["tissue"],
        side={"left": "left", "right": "right"}.get(row["side"]),  # type: ignore[arg-type]
        mirror=row["mirror"] or None,
        organ=row["organ"] or None,
        hu=MappingProxyType({phase: float(row[f"hu_{phase}"]) for phase in PHASES}),
        hu_sd=float(row["hu_sd"]),
        volume_ml=MappingProxyType({sex: ml for sex, ml in volumes.items() if ml is not None}),
        volume_cv=number("volume_cv"),
        synonyms=tuple(word for word in row["synonyms"].split("|") if word),
        totalsegmentator_id=integer("totalsegmentator_id"),
        maisi_id=integer("maisi_id"),
        source=row["source"],
    )


@cache
def structures() -> tuple[Structure, ...]:
    """All structures, by ascending id."""
    text = files("manifests").joinpath("anatomy.csv").read_text(encoding="utf-8")
    return tuple(_parse(row) for row in csv.DictReader(text.splitlines()))


@cache
def _index() -> dict[str, Structure]:
    return {entry.name: entry for entry in structures()}


@cache
def _by_id() -> dict[int, Structure]:
    return {entry.id: entry for entry in structures()}


@cache
def _by_word() -> dict[str, tuple[Structure, ...]]:
    words: dict[str, tuple[Structure, ...]] = {}
    for entry in structures():
        for word in entry.synonyms:
            words[word] = (*words.get(word, ()), entry)
    return words


def by_word(word: str) -> tuple[Structure, ...]:
    """Structures that a report may mean by a word, e.g. both kidneys for "renal"; empty if none."""
    return _by_word().get(word.strip().lower(), ())


def structure(name: str) -> Structure:
    """Look a structure up by name.

    Raises:
        UnknownNameError: if the table has no such name.
    """
    try:
        return _index()[name]
    except KeyError:
        raise UnknownNameError(
            "anatomical structure",
            got=repr(name),
            need="a name of the anatomy table",
            do="See manifests/anatomy.csv for the vocabulary.",
        ) from None


def by_id(id: int) -> Structure:
    """Look a structure up by its value in anatomy arrays.

    Raises:
        UnknownNameError: if the table has no such id.
    """
    try:
        return _by_id()[int(id)]
    except KeyError:
        raise UnknownNameError(
            "anatomy id", got=str(id), need=f"1 to {len(structures())}", do="Check the label map of the source."
        ) from None


@cache
def group(name: str) -> tuple[Structure, ...]:
    """Structures of a group, or the one structure of that name.

    Raises:
        UnknownNameError: if neither a group nor a structure is called so.
    """
    members = tuple(entry for entry in structures() if entry.group == name)
    return members or (structure(name),)


@cache
def sites(organ: str) -> tuple[str, ...]:
    """Names of the structures that can hold a primary tumour of an organ; empty for no such organ.

    Where an organ has named parts ("colon": its segments), the undivided structure is left out.
    """
    names = tuple(entry.name for entry in structures() if entry.organ == organ)
    return tuple(name for name in names if name != organ) or names


@cache
def table_hash() -> str:
    """Hash of ids and names: what makes stored anatomy arrays readable."""
    return content_hash([[entry.id, entry.name] for entry in structures()])
