"""Label schemes: small tables that paint one label map from the two layers of a case.

A scheme is data (`schemes.toml`). Structures are painted first through one look-up table, then
lesions over them by the organ and kind of their records. Nothing is thrown away at generation:
the same case is painted as KiTS, AMOS or MAISI on demand.
"""

import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Any

import numpy as np
from jaxtyping import UInt8

from manifests.anatomy import group, sites, structure, structures
from manifests.case import Lesion, Row
from manifests.errors import InvalidValueError, UnknownNameError

__all__ = ["Label", "Scheme", "paint", "scheme", "scheme_names"]

BACKGROUND = "background"


class Label(Row):
    """One label of a scheme.

    Attributes:
        sources: names of the structures painted with it (`schemes.toml` may name groups, too).
        lesions: organs whose lesions it takes: "organ", "organ:kind" or "*".
        ingest: structure that a foreign mask with this label is read as; None where that is open.
    """

    name: str
    value: int
    sources: tuple[str, ...] = ()
    lesions: tuple[str, ...] = ()
    ingest: str | None = None

    @property
    def reads_as(self) -> str | None:
        """Name of the structure that this label means in a foreign mask, None if several or none."""
        return self.ingest or (self.sources[0] if len(self.sources) == 1 else None)


@dataclass(frozen=True)
class Scheme:
    """A named assignment of values to structures and lesions.

    Attributes:
        name: key in `schemes.toml`.
        about: one line on its origin.
        definitions: its labels, by painting order; `labels` adds the background.
    """

    name: str
    about: str
    definitions: tuple[Label, ...]

    @property
    def labels(self) -> Mapping[str, int]:
        """Label names and values by ascending value, "background" = 0 first."""
        pairs = sorted((label.value, label.name) for label in self.definitions)
        return MappingProxyType({BACKGROUND: 0} | {name: value for value, name in pairs})

    @property
    def consecutive(self) -> bool:
        """Whether the values run 0, 1, 2, … without gaps, as nnU-Net demands."""
        return list(self.labels.values()) == list(range(len(self.labels)))

    def structure_values(self) -> UInt8[np.ndarray, "256"]:
        """Look-up table from anatomy ids to values; 0 where no label names a structure."""
        table = np.zeros(256, np.uint8)
        for label in self.definitions:
            table[[structure(name).id for name in label.sources]] = label.value
        return table

    def lesion_value(self, lesion: Lesion) -> int:
        """Value of a lesion, 0 if the scheme has no label for its organ; the last match wins."""
        names = {lesion.organ, f"{lesion.organ}:{lesion.kind}", "*"}
        return next((label.value for label in reversed(self.definitions) if names & set(label.lesions)), 0)


def paint(
    anatomy: UInt8[np.ndarray, "z y x"],
    lesions: UInt8[np.ndarray, "z y x"],
    records: Iterable[Lesion],
    scheme: Scheme,
) -> UInt8[np.ndarray, "z y x"]:
    """Paint one label map from the two layers of a case.

    Args:
        anatomy: ids of the anatomy table.
        lesions: instance ids, 0 = none.
        records: one record for each instance; they say organ and kind.
        scheme: which value each gets.

    Raises:
        InvalidValueError: if an id is not in the anatomy table, or an instance has no record.
    """
    if anatomy.size and anatomy.max() > len(structures()):
        raise InvalidValueError(
            "anatomy layer",
            got=f"id {anatomy.max()}",
            need=f"ids up to {len(structures())}",
            do="Convert the source's labels with a scheme or a label map first.",
        )
    painted: UInt8[np.ndarray, "z y x"] = scheme.structure_values()[anatomy]
    if lesions.any():
        over = _lesion_values(lesions, records, scheme)[lesions]
        np.copyto(painted, over, where=over > 0)
    return painted


def _lesion_values(
    lesions: UInt8[np.ndarray, "z y x"], records: Iterable[Lesion], scheme: Scheme
) -> UInt8[np.ndarray, "256"]:
    values, known = np.zeros(256, np.uint8), np.zeros(256, bool)
    known[0] = True
    for record in records:
        values[record.id], known[record.id] = scheme.lesion_value(record), True
    if not known[lesions].all():
        raise InvalidValueError(
            "lesion layer",
            got=f"instances {sorted(set(np.unique(lesions).tolist()) - set(np.flatnonzero(known).tolist()))}",
            need="a record for each instance",
            do="Pass the lesions of the same case's record.",
        )
    return values


@cache
def _tables() -> dict[str, dict[str, Any]]:
    return tomllib.loads(files("manifests").joinpath("schemes.toml").read_text(encoding="utf-8"))


def scheme_names() -> tuple[str, ...]:
    """Names of all schemes."""
    return tuple(_tables())


@cache
def scheme(name: str) -> Scheme:
    """Look a label scheme up by name.

    Raises:
        UnknownNameError: if there is no such scheme.
    """
    if name not in _tables():
        raise UnknownNameError(
            "label scheme", got=repr(name), need=f"one of {', '.join(scheme_names())}", do="Choose one of these."
        )
    table = _tables()[name]
    base = scheme(table["extends"]).definitions if "extends" in table else ()
    base += _column(table["column"]) if "column" in table else ()
    own = [_written(entry) for entry in table["labels"]]
    return Scheme(name, table["about"], _checked(name, _merge(base, own)))


def _written(entry: dict[str, Any]) -> Label:
    """Read a label from TOML, each group replaced by its members."""
    members = (member.name for source in entry.get("sources", ()) for member in group(source))
    return Label.model_validate({**entry, "sources": tuple(members)})


def _column(column: str) -> tuple[Label, ...]:
    numbered = [(getattr(entry, column), entry.name) for entry in structures()]
    return tuple(Label(name=name, value=value, sources=(name,)) for value, name in numbered if value is not None)


def _merge(base: Sequence[Label], own: Sequence[Label]) -> tuple[Label, ...]:
    """Let a scheme's own label take the place of the numbered ones that share its value."""
    taken = {label.value for label in own}
    return (*(label for label in base if label.value not in taken), *own)


def _checked(name: str, labels: tuple[Label, ...]) -> tuple[Label, ...]:
    """Assert what painting relies on: values and names once, 1 to 255; each structure in one label; organs that exist."""
    claimed = [source for label in labels for source in label.sources]
    organs = {pattern.split(":")[0] for label in labels for pattern in label.lesions} - {"*"}
    values = [label.value for label in labels]
    assert len(set(claimed)) == len(claimed), (name, "a structure belongs to two labels")
    assert len({label.name for label in labels} | {BACKGROUND}) == len(labels) + 1, (name, "a label name is used twice")
    assert len(set(values)) == len(values), (name, "a value is used twice")
    assert min(values) >= 1, (name, "0 is the background")
    assert max(values) <= 255, (name, "values are stored in 8 bits")
    assert all(sites(organ) for organ in organs), (name, "an organ cannot hold a tumour")
    assert all(label.ingest is None or label.ingest in label.sources for label in labels), name
    return labels
