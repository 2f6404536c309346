"""The embedded image model: from masks and a subject to CT, painter by painter, then scanned."""

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
from jaxtyping import Int16

from factory.engines.base import ImageModel, Masks, Request
from factory.engines.texture.appearance import Appearance
from factory.engines.texture.bones import paint_bones
from factory.engines.texture.bowel import paint_bladder, paint_bowel
from factory.engines.texture.calcifications import paint_calcifications
from factory.engines.texture.enhancement import base_hu
from factory.engines.texture.lesions import paint_lesions
from factory.engines.texture.metal import paint_metal
from factory.engines.texture.organs import paint_cava, paint_heart, paint_kidneys, paint_pancreas, paint_spleen
from factory.engines.texture.scanner import acquire
from factory.engines.texture.scene import Scene
from factory.engines.texture.subject import Subject
from factory.engines.texture.tissues import paint_fat, paint_grain, paint_muscle, paint_skin
from factory.engines.texture.vessels import paint_liver_vessels, paint_lungs, paint_mesentery

__all__ = ["Texture"]

_PAINTERS = (
    paint_grain,
    paint_fat,
    paint_muscle,
    paint_skin,
    paint_bones,
    paint_lungs,
    paint_liver_vessels,
    paint_mesentery,
    paint_kidneys,
    paint_spleen,
    paint_pancreas,
    paint_heart,
    paint_cava,
    paint_bowel,
    paint_bladder,
    paint_calcifications,
    paint_lesions,
    paint_metal,
)
"""In the order of painting: what comes later covers what came before."""


class Texture(ImageModel):
    """Tissue by tissue from random fields and grown vessels; needs no weights and no patients.

    Works on the masks of any mask model: it reads anatomy, lesions and their records alone.
    """

    identity: Mapping[str, str] = MappingProxyType({"name": "texture", "version": "5"})

    def render(self, request: Request, masks: Masks) -> Int16[np.ndarray, "z y x"]:
        """Render the CT in HU on the request's grid; deterministic in its arguments.

        Raises:
            InvalidValueError: if the subject leaves age, weight or contrast phase unstated.
        """
        subject = Subject.of(request)
        look = Appearance.draw(subject, request.randomise, request.rng("texture/look"))
        base = base_hu(subject, look, request.rng("texture/base"))
        scene = Scene(request, masks, subject, look, base, base[masks.anatomy])
        for paint in _PAINTERS:
            paint(scene)
        return acquire(scene)
