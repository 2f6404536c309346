"""What an engine is: a mask model and an image model that combine freely.

A mask model turns a prompt into anatomy and lesions; an image model turns prompt and masks
into CT. Each has one method. Randomness comes from `request.rng(stage)` alone, so a case is
the same on any worker, in any order, in any batch.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from jaxtyping import Int16, UInt8

from manifests.case import Lesion
from manifests.errors import EngineContractError
from manifests.geometry import HU_MAX, HU_MIN, Grid
from manifests.identity import rng
from prompts.schema import Prompt

__all__ = ["ImageModel", "MaskModel", "Masks", "Request", "as_drawn", "check_ct", "check_masks"]


@dataclass(frozen=True, slots=True)
class Request:
    """One case to make.

    Attributes:
        case_id: identity of the case; all randomness derives from it.
        prompt: what was asked, with its unstated fields.
        subject: the same with every field stated: what was unstated is drawn.
        grid: where the voxels lie, in the torso frame of `factory.config`.
        randomise: how far shapes and intensities leave the population, 0 to 1. At 0 they vary as
            in patients and scanners; at 1 far beyond (domain randomisation).
    """

    case_id: str
    prompt: Prompt
    subject: Prompt
    grid: Grid
    randomise: float = 0.0

    def rng(self, stage: str) -> np.random.Generator:
        """The random generator of one stage of this case; a stage name is used once."""
        return rng(self.case_id, stage)


@dataclass(frozen=True, slots=True)
class Masks:
    """What a mask model draws.

    Attributes:
        anatomy: ids of the anatomy table, 0 outside the body. Under a lesion it keeps the id of
            the structure that holds the lesion.
        lesions: instance ids from 1, 0 = none; instances do not touch, diagonals included.
        lesion_records: one record for each instance id.
        notes: facts worth keeping in the case's record, e.g. the source case of a bank.
        patient_id: patient whose anatomy this is, where it is someone's; splits keep a patient together.
        licence: terms of that anatomy.
        absent, enlarged: structures that this body lacks or has enlarged without being asked: drawn
            variants. They join those of the subject, so that gate and record know of them.
    """

    anatomy: UInt8[np.ndarray, "z y x"]
    lesions: UInt8[np.ndarray, "z y x"]
    lesion_records: tuple[Lesion, ...] = ()
    notes: Mapping[str, str] = field(default_factory=dict)
    patient_id: str | None = None
    licence: str | None = None
    absent: frozenset[str] = frozenset()
    enlarged: frozenset[str] = frozenset()


class MaskModel(ABC):
    """Prompt to anatomy and lesions.

    `identity` names the model and version, and for learned models `weights_sha256`; it is part
    of each case's identity, so change it whenever the output changes. Constructors are cheap
    (weights load at the first drawing, in the process that draws) and take no argument, or one
    text: what follows the colon in `--masks NAME:ARGUMENT`.

    Attributes:
        unlabelled: structures or groups that this model never draws, because nothing that it
            draws from labels them; the quality gate does not ask for them.
    """

    identity: Mapping[str, str]
    unlabelled: frozenset[str] = frozenset()

    @abstractmethod
    def draw(self, request: Request) -> Masks:
        """Draw the masks of one case; deterministic in the request.

        Raises:
            InvalidValueError: if the prompt asks for what this model can never draw.
            WorkerError: if another attempt may succeed, e.g. the device ran out of memory. Any
                other exception counts as deterministic and is not repeated.
        """


class ImageModel(ABC):
    """Prompt and masks to CT; `identity` as in `MaskModel`."""

    identity: Mapping[str, str]

    @abstractmethod
    def render(self, request: Request, masks: Masks) -> Int16[np.ndarray, "z y x"]:
        """Render the CT in HU on the request's grid; deterministic in its arguments."""


def as_drawn(request: Request, masks: Masks) -> Request:
    """The request with the variants that the mask model drew, for the image model, the gate and the record."""
    if not masks.absent and not masks.enlarged:
        return request
    subject = request.subject
    absent = (*subject.absent_organs, *sorted(masks.absent - {*subject.absent_organs}))
    enlarged = (*subject.enlarged_organs, *sorted(masks.enlarged - {*subject.enlarged_organs}))
    drawn = subject.model_copy(update={"absent_organs": absent, "enlarged_organs": enlarged})
    return replace(request, subject=drawn)


def check_masks(masks: Masks, grid: Grid) -> None:
    """Check what a mask model returned against its contract.

    Raises:
        EngineContractError: on a wrong shape or type, or lesions and records that do not match.
    """
    for name, array in (("anatomy", masks.anatomy), ("lesions", masks.lesions)):
        _check_array(f"mask model, {name}", array, grid, np.dtype(np.uint8))
    drawn = {int(value) for value in np.unique(masks.lesions)} - {0}
    recorded = [lesion.id for lesion in masks.lesion_records]
    if drawn != set(recorded) or len(set(recorded)) != len(recorded):
        raise EngineContractError(
            "mask model, lesions",
            got=f"instances {sorted(drawn)} with records {sorted(recorded)}",
            need="one record for each instance",
            do="Report it to the author of the engine.",
        )


def check_ct(ct: np.ndarray, grid: Grid) -> None:
    """Check what an image model returned against its contract.

    Raises:
        EngineContractError: on a wrong shape, type or range of HU.
    """
    _check_array("image model, ct", ct, grid, np.dtype(np.int16))
    if int(ct.min()) < HU_MIN or int(ct.max()) > HU_MAX:
        raise EngineContractError(
            "image model, ct",
            got=f"{ct.min()} to {ct.max()} HU",
            need=f"{HU_MIN} to {HU_MAX} HU",
            do="Report it to the author of the engine.",
        )


def _check_array(what: str, array: np.ndarray, grid: Grid, dtype: np.dtype) -> None:
    if array.shape != grid.shape_zyx or array.dtype != dtype:
        raise EngineContractError(
            what,
            got=f"{array.dtype} {array.shape}",
            need=f"{dtype} {grid.shape_zyx}",
            do="Report it to the author of the engine.",
        )
