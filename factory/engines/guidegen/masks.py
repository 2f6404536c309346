"""The mask model `guidegen`: the subject's text to masks, on the request's grid."""

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

import torch

from factory.engines.bank.editing import face, join, smooth_outline, tidy
from factory.engines.base import MaskModel, Masks, Request
from factory.engines.guidegen.config import MasksConfig
from factory.engines.guidegen.lesions import lesion_parts, recorded
from factory.engines.guidegen.networks import Told, synthesizer
from factory.engines.guidegen.resampling import fine_labels, fine_lesions, working_grid
from factory.engines.guidegen.sampling import Drawing, draw_masks
from factory.engines.guidegen.weights import SHIPPED, Package
from factory.engines.lesions import lesion_notes
from factory.models.synthesizer import Synthesizer
from manifests.anatomy import structures
from manifests.geometry import Grid
from prompts.render import render

__all__ = ["GuideGenMasks", "open_package", "seeded"]

_SKIN = 0.8
"""Standard deviation that smooths the skin, in voxels of the network."""


class GuideGenMasks(MaskModel):
    """Stage I of trained weights; see `docs/guidegen.md`.

    Args:
        folder: of the weights, those that ship if empty; `package.json` is read at once, the networks when first needed.

    Raises:
        InvalidValueError: if it has no stage `masks`.
        LocationError, FileFormatError: if there are no weights in it that can be read.
    """

    def __init__(self, folder: str = "") -> None:
        self._folder = folder
        self._package = open_package(folder)
        self._config = self._package.config("masks", MasksConfig)
        drawn = set(self._config.anatomy_ids)
        groups = {entry.group for entry in structures() if entry.id in drawn}
        self.unlabelled = frozenset(
            name
            for entry in structures()
            for name in (entry.name, entry.group)
            if entry.id not in drawn and name not in groups
        )
        self.identity: Mapping[str, str] = {
            "name": "guidegen",
            "version": "2",
            "weights_sha256": self._package.sha256("masks"),
        }

    def __reduce__(self) -> tuple[type["GuideGenMasks"], tuple[str]]:
        """Travel as a path: the process that draws reads the weights itself."""
        return type(self), (self._folder,)

    @cached_property
    def _network(self) -> tuple[Synthesizer, Told]:
        net, told = synthesizer(self._config)
        self._package.load("masks", net)
        return net.eval(), told

    def draw(self, request: Request) -> Masks:
        """Draw the masks of one case."""
        return self.draw_text(render(request.subject), request.grid, seeded(request, "guidegen/masks"))

    def draw_text(self, text: str, grid: Grid, generator: torch.Generator, steps: int | None = None) -> Masks:
        """Draw masks for any text, which the network reads as it is; `steps` of the sampler, else those of the config."""
        net, told = self._network
        config = self._config
        coarse = working_grid(grid, config.spacing_mm)
        drawing = Drawing(text, coarse, [generator], steps or config.sample_steps, config.guidance)
        classes, mask, size_mm = draw_masks(net, told, config, drawing)
        drawn = config.id_of_class()[classes]
        anatomy = fine_labels(drawn, coarse, grid)
        smooth_outline(anatomy, grid, _SKIN * config.spacing_mm)
        join(anatomy, grid, "colon")
        tidy(anatomy)
        join(anatomy, grid, "colon")  # what was joined to a piece that has been cleared away
        face(anatomy)
        parts, sites = lesion_parts(drawn, mask)
        lesions, records = recorded(anatomy, fine_lesions(parts, coarse, grid, size_mm), sites, grid)
        return Masks(anatomy, lesions, records, lesion_notes(records))


def open_package(folder: str) -> Package:
    """The weights that an engine was told to use; told none, those that ship.

    Raises:
        LocationError, FileFormatError: as `Package.open`.
    """
    return Package.open(Path(folder) if folder else SHIPPED)


def seeded(request: Request, stage: str) -> torch.Generator:
    """The generator of one stage of a case, for torch."""
    return torch.Generator().manual_seed(int(request.rng(stage).integers(2**63)))
