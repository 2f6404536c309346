"""What an engine is: a mask model and an image model that combine freely.

A mask model turns a prompt into anatomy and lesions; an image model turns prompt and masks
into CT. Each has one method. Randomness comes from `request.rng(stage)` alone, so a case is
the same on any worker, in any order, in any batch.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Int16, UInt8

from manifests.case import Lesion
from manifests.geometry import Grid
from manifests.identity import rng
from prompts.schema import Prompt

__all__ = ["ImageModel", "MaskModel", "Masks", "Request"]


@dataclass(frozen=True, slots=True)
class Request:
    """One case to make.

    Attributes:
        case_id: identity of the case; all randomness derives from it.
        prompt: what was asked, with its unstated fields.
        subject: the same with every field stated: what was unstated is drawn.
        grid: where the voxels lie, in the torso frame of `factory.config`.
    """

    case_id: str
    prompt: Prompt
    subject: Prompt
    grid: Grid

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
        notes: facts worth keeping, e.g. the source case of a bank.
    """

    anatomy: UInt8[np.ndarray, "z y x"]
    lesions: UInt8[np.ndarray, "z y x"]
    lesion_records: tuple[Lesion, ...] = ()
    notes: Mapping[str, str] = field(default_factory=dict)


class MaskModel(ABC):
    """Prompt to anatomy and lesions.

    `identity` names the model and version, and for learned models `weights_sha256`; it is part
    of each case's identity, so change it whenever the output changes.
    """

    identity: Mapping[str, str]

    @abstractmethod
    def draw(self, request: Request) -> Masks:
        """Draw the masks of one case; deterministic in the request.

        Raises:
            InvalidValueError: if the prompt asks for what this model can never draw.
        """


class ImageModel(ABC):
    """Prompt and masks to CT; `identity` as in `MaskModel`."""

    identity: Mapping[str, str]

    @abstractmethod
    def render(self, request: Request, masks: Masks) -> Int16[np.ndarray, "z y x"]:
        """Render the CT in HU on the request's grid; deterministic in its arguments."""
