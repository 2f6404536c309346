"""A segmenter: a CT in, a label map on the same grid out. What judges whether an image shows what its masks say.

    totalsegmentator     TotalSegmentator's 3 mm model, from the weights its own package has put on this machine
    nnunet:FOLDER        any trained nnU-Net v2 model folder (TRAINER__PLANS__CONFIGURATION)
    builtin, builtin:FOLDER   weights that the project ships, or others of that form

An own one subclasses `Segmenter`. One object is opened once and stays in memory for all cases.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Int16, UInt8

from manifests.errors import InvalidValueError, UnknownNameError
from manifests.geometry import Grid
from manifests.schemes import Scheme, scheme, scheme_names

__all__ = ["Segmenter", "SegmenterCard", "open_segmenter", "scheme_of"]

UNDIVIDED_TOO = "full"
"""Scheme to look at last: its "kidneys" are those alone that a source did not divide."""


@dataclass(frozen=True, slots=True)
class SegmenterCard:
    """What a segmenter says of itself.

    Attributes:
        name: of the network.
        labels: values of its label map by name, without background.
        held_out_dice: by label, mean DSC on held-out cases of its own training set; empty where unknown.
        held_out_on: what these cases were.
    """

    name: str
    labels: Mapping[str, int]
    held_out_dice: Mapping[str, float] = field(default_factory=dict)
    held_out_on: str = ""


class Segmenter(ABC):
    """Turns CTs into label maps.

    Attributes:
        card: its name, labels and what it reached on held-out cases.
    """

    card: SegmenterCard

    @abstractmethod
    def segment(self, ct: Int16[np.ndarray, "z y x"], grid: Grid) -> UInt8[np.ndarray, "z y x"]:
        """Label every voxel of a CT in HU: 0 or a value of `card.labels`, on the CT's own grid."""


def open_segmenter(text: str, device: str = "cpu") -> Segmenter:
    """Open a segmenter by its name and folder, as the table of the module lists them.

    Raises:
        UnknownNameError: no such kind.
        InvalidValueError: a folder where none belongs, or none where one does.
        MissingDependencyError: the package behind it is not installed.
        LocationError: no weights there.
        FileFormatError: weights that cannot be read.
    """
    kind, colon, place = text.partition(":")
    openers: dict[str, Callable[[Path | None, str], Segmenter]] = {
        "builtin": _builtin,
        "nnunet": _nnunet,
        "totalsegmentator": _totalsegmentator,
    }
    if kind not in openers:
        raise UnknownNameError(
            "--segmenter", got=repr(text), need="totalsegmentator, nnunet:FOLDER or builtin", do="Choose one."
        )
    if bool(place) != bool(colon) or (kind == "nnunet" and not place) or (kind == "totalsegmentator" and place):
        raise InvalidValueError(
            "--segmenter", got=repr(text), need="totalsegmentator, nnunet:FOLDER or builtin[:FOLDER]", do="Correct it."
        )
    return openers[kind](Path(place) if place else None, device)


def scheme_of(card: SegmenterCard, asked: str | None = None) -> Scheme:
    """Label scheme by which stored masks are painted for a segmenter: the one asked for, or the first with all its labels.

    Raises:
        UnknownNameError: no such scheme.
        InvalidValueError: it lacks a label of the segmenter, or none has all.
    """
    names = sorted(scheme_names(), key=lambda name: name == UNDIVIDED_TOO)
    for name in (asked,) if asked else names:
        if set(card.labels) <= set(scheme(name).labels):
            return scheme(name)
    known = set(scheme(asked).labels) if asked else {label for name in scheme_names() for label in scheme(name).labels}
    strange = sorted(set(card.labels) - known)
    raise InvalidValueError(
        f"labels of {card.name}",
        got=", ".join(strange) or "labels of several schemes",
        need=f"labels of the scheme {asked}" if asked else "the labels of one scheme of manifests/schemes.toml",
        do="Name a scheme that has them with --scheme, or add one to manifests/schemes.toml.",
    )


def _builtin(folder: Path | None, device: str) -> Segmenter:
    from downstream.segmenter_builtin import BuiltinSegmenter, shipped_weights

    return BuiltinSegmenter(folder or shipped_weights(), device)


def _nnunet(folder: Path | None, device: str) -> Segmenter:
    from downstream.segmenter_nnunet import NnunetSegmenter

    assert folder
    return NnunetSegmenter(folder, device)


def _totalsegmentator(_: Path | None, device: str) -> Segmenter:
    from downstream.segmenter_totalsegmentator import TotalSegmentator

    return TotalSegmentator(device)
