"""The image model `guidegen-slices`: masks and text to CT, one axial slice after another, from below."""

from collections.abc import Mapping
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float, Float32, Int16, UInt8
from torch import Tensor

from factory.diffusion.chance import normal
from factory.diffusion.gaussian import Gaussian
from factory.diffusion.guidance import guided
from factory.diffusion.schedule import cosine
from factory.engines.base import ImageModel, Masks, Request
from factory.engines.guidegen.config import SlicesConfig
from factory.engines.guidegen.masks import open_package, seeded
from factory.engines.guidegen.networks import Told, slices
from factory.engines.guidegen.resampling import coarse_labels, coarse_lesions, resampled_ct, working_grid
from factory.engines.guidegen.sampling import Drawing, condition_of
from factory.models.autoencoder import HU_UNIT
from factory.models.slice_generator import SliceGenerator
from manifests.geometry import HU_MAX, HU_MIN
from prompts.render import render

__all__ = ["GuideGenSlices", "draw_slices", "neighbourhood"]

Labels = UInt8[np.ndarray, "z y x"]


class GuideGenSlices(ImageModel):
    """The slice-by-slice stage of trained weights; arguments and errors as `GuideGenMasks`."""

    def __init__(self, folder: str = "") -> None:
        self._folder = folder
        self._package = open_package(folder)
        self._config = self._package.config("slices", SlicesConfig)
        self.identity: Mapping[str, str] = {
            "name": "guidegen-slices",
            "version": "1",
            "weights_sha256": self._package.sha256("slices"),
        }

    def __reduce__(self) -> tuple[type["GuideGenSlices"], tuple[str]]:
        """Travel as a path: the process that draws reads the weights itself."""
        return type(self), (self._folder,)

    @cached_property
    def _network(self) -> tuple[SliceGenerator, Told]:
        net, told = slices(self._config)
        self._package.load("slices", net)
        return net.eval(), told

    def render(self, request: Request, masks: Masks) -> Int16[np.ndarray, "z y x"]:
        """Render the CT in HU on the request's grid."""
        net, told = self._network
        config = self._config
        grid = working_grid(request.grid, config.spacing_mm)
        anatomy = config.class_of_id()[coarse_labels(masks.anatomy, request.grid, grid)]
        lesions = coarse_lesions(masks.lesions, request.grid, grid)
        generators = [seeded(request, "guidegen/slices")]
        drawing = Drawing(render(request.subject), grid, generators, config.sample_steps, config.guidance)
        ct = draw_slices(net, told, config, drawing, (anatomy, lesions))
        return np.clip(np.round(resampled_ct(ct, grid, request.grid)), HU_MIN, HU_MAX).astype(np.int16)


def draw_slices(
    net: SliceGenerator, told: Told, config: SlicesConfig, drawing: Drawing, masks: tuple[Labels, Labels]
) -> Float32[np.ndarray, "z y x"]:
    """Draw CT in HU for classes and lesions on the drawing's grid, from the lowest slice up."""
    device = next(net.parameters()).device
    process = Gaussian(config.prediction, cosine(config.steps))
    condition = condition_of(told, drawing, 1, device)
    places = condition.view.coordinates(drawing.grid.shape_zyx)
    anatomy, lesions = (torch.from_numpy(mask).long().to(device) for mask in masks)
    ct = torch.zeros(drawing.grid.shape_zyx, device=device)
    with torch.inference_mode():
        for z in range(len(ct)):
            before = _before(ct, z, config.size.before)[None]
            near = neighbourhood(anatomy, z)[None], neighbourhood(lesions, z)[None]
            around = net.surroundings(near, before, z), places[:, :, z : z + 1]

            def predict(x: Tensor, t: Tensor, around: tuple[Tensor, Tensor] = around) -> Tensor:
                with_text = net(x, t, around, condition)
                if drawing.guidance == 1:
                    return with_text
                return guided(with_text, net(x, t, around, condition.without_text()), drawing.guidance)

            like = ct[None, None, z : z + 1]
            ct[z] = process.sample(predict, normal(drawing.generators, like), drawing.steps)[0, 0, 0]
    return (ct * HU_UNIT).float().cpu().numpy()


def neighbourhood(labels: Tensor, z: int) -> Tensor:
    """The slices z - 1, z, z + 1; beyond the ends, the last one again."""
    return labels[[max(0, z - 1), z, min(len(labels) - 1, z + 1)]]


def _before(ct: Float[Tensor, "z y x"], z: int, count: int) -> Float[Tensor, "n y x"]:
    """The slices below z, the nearest last; zeros where there are none."""
    found = torch.zeros(count, *ct.shape[1:], device=ct.device)
    if z:
        have = ct[max(0, z - count) : z]
        found[count - len(have) :] = have
    return found
