"""Write an image model of your own and build with it: anatomy from the phantom, grey values from a table.

To use it on the command line, give your package an entry point, and call `factory build --masks phantom --images flat`:

    [project.entry-points."ct_factory.image_models"]
    flat = "yourpackage:Flat"
"""

import sys
from pathlib import Path
from typing import ClassVar

import numpy as np
from jaxtyping import Int16

from factory.config import BuildConfig, preset
from factory.engines.base import ImageModel, Masks, Request
from factory.engines.registry import mask_model
from factory.executor import Models
from factory.quality import GATE, assess
from factory.run import Run
from manifests.anatomy import structures
from manifests.geometry import HU_MAX, HU_MIN


class Flat(ImageModel):
    """Each structure at its mean HU in the phase of the study, with white noise."""

    identity: ClassVar = {"name": "flat", "version": "1", "noise_hu": "12"}  # change it whenever the output changes

    def render(self, request: Request, masks: Masks) -> Int16[np.ndarray, "z y x"]:
        phase = request.subject.study.contrast_phase
        hu = np.full(256, -1000.0)
        for entry in structures():
            hu[entry.id] = entry.hu[phase]
        ct = hu[masks.anatomy]
        ct[masks.lesions > 0] -= 40
        ct += request.rng("flat noise").normal(0, 12, ct.shape)  # the only source of chance
        return ct.round().clip(HU_MIN, HU_MAX).astype(np.int16)


def load() -> Models:
    return Models(mask_model("phantom"), Flat(), assess, GATE)


def main(folder: Path, preset_name: str = "demo") -> int:
    config = BuildConfig(out=folder / "flat", n=1, preset=preset(preset_name))
    run = Run(config, load=load)
    for outcome in run:
        print(outcome.record.status, outcome.record.image_model, *outcome.record.reasons)
    return 0 if run.report().complete else 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), *sys.argv[2:]))
