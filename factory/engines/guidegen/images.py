"""The image model `guidegen`: masks of any mask model, and the subject's text, to CT."""

from collections.abc import Mapping
from functools import cached_property

import numpy as np
from jaxtyping import Int16

from factory.engines.base import ImageModel, Masks, Request
from factory.engines.guidegen.config import AutoencoderConfig, LatentsConfig
from factory.engines.guidegen.masks import open_package, seeded
from factory.engines.guidegen.networks import Told, autoencoder, generator
from factory.engines.guidegen.resampling import coarse_labels, coarse_lesions, working_grid
from factory.engines.guidegen.sampling import Drawing, draw_ct
from factory.engines.guidegen.sharpening import sharpened_ct
from factory.engines.guidegen.weights import Package
from factory.models.autoencoder import Autoencoder
from factory.models.feature_generator import FeatureGenerator
from manifests.errors import FileFormatError
from manifests.geometry import HU_MAX, HU_MIN
from prompts.render import render

__all__ = ["GuideGenImages"]


class GuideGenImages(ImageModel):
    """Stages II and III of trained weights; arguments and errors as `GuideGenMasks`."""

    def __init__(self, folder: str = "") -> None:
        self._folder = folder
        self._package = open_package(folder)
        self._decoder_config = self._package.config("autoencoder", AutoencoderConfig)
        self._config = self._package.config("latents", LatentsConfig)
        _require_partners(self._package, self._config)
        stages = self._package.sha256("autoencoder"), self._package.sha256("latents")
        self.identity: Mapping[str, str] = {"name": "guidegen", "version": "1", "weights_sha256": "+".join(stages)}

    def __reduce__(self) -> tuple[type["GuideGenImages"], tuple[str]]:
        """Travel as a path: the process that draws reads the weights itself."""
        return type(self), (self._folder,)

    @cached_property
    def _networks(self) -> tuple[tuple[Autoencoder, FeatureGenerator], Told]:
        decoder = autoencoder(self._decoder_config)
        self._package.load("autoencoder", decoder)
        net, told = generator(self._config)
        self._package.load("latents", net)
        return (decoder.eval(), net.eval()), told

    def render(self, request: Request, masks: Masks) -> Int16[np.ndarray, "z y x"]:
        """Render the CT in HU on the request's grid."""
        nets, told = self._networks
        config = self._config
        grid = working_grid(request.grid, config.spacing_mm)
        drawing = Drawing(
            render(request.subject),
            grid,
            [seeded(request, "guidegen/images")],
            config.sample_steps,
            config.guidance,
        )
        anatomy = config.class_of_id()[coarse_labels(masks.anatomy, request.grid, grid)]
        lesions = coarse_lesions(masks.lesions, request.grid, grid)
        ct = draw_ct(nets, told, config, drawing, (anatomy, lesions))
        labels = masks.anatomy + 256 * (masks.lesions > 0).astype(np.int16)  # a lesion is not like its organ
        ct = sharpened_ct(ct, grid, labels, request.grid)
        return np.clip(np.round(ct), HU_MIN, HU_MAX).astype(np.int16)


def _require_partners(package: Package, config: LatentsConfig) -> None:
    """Refuse latents of another autoencoder than the one beside them."""
    beside = str(package.stages["autoencoder"]["sha256"])
    if config.autoencoder_sha256 != beside:
        raise FileFormatError(
            f"weights {package.folder}",
            got=f"latents of autoencoder {config.autoencoder_sha256[:16]}…",
            need=f"latents of the one beside them, {beside[:16]}…",
            do="Pack the autoencoder that `factory train latents` was given.",
        )
