"""Drawing from trained networks: masks from a text, CT from masks and a text. Nothing of cases here."""

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float32, UInt8
from torch import Tensor

from factory.diffusion.categorical import Categorical
from factory.diffusion.gaussian import Gaussian
from factory.diffusion.guidance import guided
from factory.diffusion.schedule import cosine, growing, visits
from factory.engines.guidegen.config import LatentsConfig, MasksConfig
from factory.engines.guidegen.keeping import (
    adding_up,
    chances,
    expected_voxels,
    in_parts,
    kept_voxels,
    near_parts,
    not_none,
    of_volume,
)
from factory.engines.guidegen.networks import Told
from factory.engines.guidegen.noise import NoiseKeys, latent_noise
from factory.models.autoencoder import HU_UNIT, Autoencoder
from factory.models.condition import Condition
from factory.models.feature_generator import FeatureGenerator
from factory.models.synthesizer import LESION_CLASSES, Synthesizer
from factory.models.tiling import decode
from factory.models.view import View
from manifests.anatomy import structures
from manifests.geometry import Grid

__all__ = ["Drawing", "DrawnMasks", "condition_of", "draw_ct", "draw_masks", "padded", "processes", "view_of"]

_STRAY = 1e-7
"""Share of lesion voxels in pure noise."""
_GROWTH = 300.0
"""How much more of a lesion is there at t = 0 than when it begins to show: about the voxels of a large one."""

_ABSENT, _NEVER = 0.3, -1e4
"""Chance below which a structure is taken to be absent, and the logit that bars it."""
_ENLARGED = 0.3
"""Chance above which a structure is taken to be enlarged: of two that are, the text encoder is less sure."""

Labels = UInt8[np.ndarray, "z y x"]


@dataclass(frozen=True, slots=True)
class Drawing:
    """How one case is drawn.

    Attributes:
        text: what is asked.
        grid: the working grid of the stage.
        generators: one of the case, for all that is random, in a list.
        steps: visits of the sampler.
        guidance: scale of classifier-free guidance; 1 = none.
    """

    text: str
    grid: Grid
    generators: list[torch.Generator]
    steps: int
    guidance: float


class DrawnMasks(NamedTuple):
    """Classes of the anatomy, 1 where a lesion is, and the axial diameter in mm that the text asks of the first lesion."""

    classes: Labels
    lesions: Labels
    size_mm: float


def view_of(grids: list[Grid], scale: int = 1) -> View:
    """Spacing and field of view of each grid; `scale` voxels along a side make one of the network's."""
    spacing = [[step * scale for step in grid.spacing_mm_zyx] for grid in grids]
    return View(torch.tensor(spacing), torch.tensor([grid.extent_mm_zyx for grid in grids]))


def processes(config: MasksConfig) -> tuple[Categorical, Categorical]:
    """How anatomy and lesions are noised.

    Noise of the lesions tends to "none", not to even chances: what shows of a lesion at any step is then
    true, where among even noise a few voxels would be lost until the very last steps. It is done in half of the
    steps, so that in drawing the organs take shape first and lesions then find them; and lesions grow by equal
    factors, from one voxel on, so that they grow around it and not in many places.
    """
    sooner = (2 * torch.arange(config.steps + 1)).clamp_max(config.steps)
    lesions = growing(config.steps, _GROWTH)[sooner]
    return Categorical(config.classes, cosine(config.steps)), Categorical(LESION_CLASSES, lesions, (1 - _STRAY, _STRAY))


def draw_masks(net: Synthesizer, told: Told, config: MasksConfig, drawing: Drawing) -> DrawnMasks:
    """Draw the classes of the anatomy, and 1 where a lesion is, on the drawing's grid.

    The anatomy is drawn sharper than it is expected (`temperature`) while each class keeps the volume that it is expected to have;
    organs that are surely there do not fade from what was expected at first, and enlarged ones are larger than usual;
    what the text says is absent is not drawn.
    At the last step the likeliest class is taken, in the same way.

    Organs take shape before lesions show, and without the bulge of any; the network then doubts that there is one.
    What it knows better is where, so the odds of all voxels are moved by one factor until they add up to about the lesion that
    is read off the text. That also makes up for a temperature of lesions below 1.
    Lesions come in no more parts than tumours are read off the text, and are drawn to the end: of a small one that does not
    show yet no single voxel is likelier than not. Where one is asked for and none has come, a voxel of one is drawn by its chance.
    """
    both = processes(config)
    device = next(net.parameters()).device
    condition = condition_of(told, drawing, 1, device)
    like = torch.zeros((1, *drawing.grid.shape_zyx), dtype=torch.long, device=device)
    with torch.inference_mode():
        facts, first, added = net.conditioner.read(condition.ids), None, None
        most, asked = max(1, round(float(facts.tumours))), float(facts.lesion_voxels(drawing.grid.voxel_volume_ml))
        usual = _usual_voxels(config, drawing.grid).to(device)
        barred = torch.where(facts.present.sigmoid() < _ABSENT, _NEVER, 0.0)[..., None, None, None]
        classes, lesions = (process.pure_noise(like, drawing.generators) for process in both)
        for jump in visits(config.steps, drawing.steps):
            t = torch.full((1,), jump[0], device=device)
            raw = net(classes, lesions, t, condition)
            if drawing.guidance != 1:
                free = net(classes, lesions, t, condition.without_text())
                raw = tuple(guided(*pair, drawing.guidance) for pair in zip(raw, free, strict=True))
            raw = (raw[0] + barred, raw[1])
            known = both[0].informed(raw[0], classes, t)
            voxels = expected_voxels(known)
            first = voxels if first is None else first
            voxels = kept_voxels(voxels, first, usual, facts.enlarged.sigmoid() > _ENLARGED)
            sharper = known.add_(raw[0], alpha=1 / config.temperature - 1)
            sharper, added = of_volume(sharper, voxels, added, likeliest=not jump[1])

            hidden = torch.where(lesions[:, None] > 0, 1.0, config.lesion_temperature)  # what shows is no guess
            where = near_parts(both[1].informed(raw[1] / hidden, lesions, t), lesions, most)
            where = adding_up(where, lesions, asked)

            classes = both[0].draw(classes, sharper, jump, drawing.generators) if jump[1] else sharper.argmax(1)
            found = both[1].draw(lesions, where, jump, drawing.generators)
            lesions = in_parts(found, lesions, chances(where), most)
            if not jump[1] and float(facts.any_tumour) > 0.5:
                lesions = not_none(lesions, chances(where), drawing.generators)
    drawn, marked = (labels[0].to(torch.uint8).cpu().numpy() for labels in (classes, lesions))
    return DrawnMasks(drawn, marked, float(facts.size_mm))


def _usual_voxels(config: MasksConfig, grid: Grid) -> Float[Tensor, " k"]:
    """Published mean volume of each class, the smaller of both sexes; infinite where there is none."""
    known = {entry.id: min(entry.volume_ml.values()) for entry in structures() if entry.volume_ml}
    ml = [known.get(int(id), float("inf")) for id in config.id_of_class()]
    return torch.tensor(ml) / grid.voxel_volume_ml


def draw_ct(
    nets: tuple[Autoencoder, FeatureGenerator],
    told: Told,
    config: LatentsConfig,
    drawing: Drawing,
    masks: tuple[Labels, Labels],
) -> Float32[np.ndarray, "z y x"]:
    """Draw CT in HU for classes and lesions on the drawing's grid; large ones are decoded in tiles."""
    decoder, net = nets
    device = next(net.parameters()).device
    factor = 2**config.halvings
    anatomy, lesions = (padded(torch.from_numpy(mask).long()[None].to(device), factor) for mask in masks)
    condition = condition_of(told, drawing, factor, device)
    if not config.reads_text:
        condition, drawing = condition.without_text(), replace(drawing, guidance=1.0)
    process = Gaussian(config.prediction, cosine(config.steps))
    with torch.inference_mode():
        kinds = (condition,) if drawing.guidance == 1 else (condition, condition.without_text())
        told_by = [(net.encode_masks(anatomy, lesions, kind), kind) for kind in kinds]
        like = told_by[0][0].new_empty(1, config.latent_channels, *told_by[0][0].shape[2:])

        def predict(z: Tensor, t: Tensor) -> Tensor:
            with_text, *without = (net(z, t, *told) for told in told_by)
            return guided(with_text, without[0], drawing.guidance) if without else with_text

        labels = anatomy + config.classes * lesions
        noise = latent_noise(NoiseKeys(config), drawing.generators, like, labels, config.shared_temperature)
        z = process.sample(predict, noise, drawing.steps)
        mean, sd = (
            torch.tensor(values, device=device).view(1, -1, 1, 1, 1)
            for values in (config.latent_mean, config.latent_sd)
        )
        ct = decode(decoder, z * sd + mean, anatomy, lesions)[0, 0] * HU_UNIT
    nz, ny, nx = drawing.grid.shape_zyx
    return ct[:nz, :ny, :nx].float().cpu().numpy()


def padded(labels: Tensor, factor: int) -> Tensor:
    """Volumes (the last three axes) extended behind their ends with 0, so that `factor` divides every side."""
    missing = [-count % factor for count in labels.shape[-3:]]
    return torch.nn.functional.pad(labels, (0, missing[2], 0, missing[1], 0, missing[0]))


def condition_of(told: Told, drawing: Drawing, scale: int, device: torch.device) -> Condition:
    """What the networks are told of a drawing; `scale` as in `view_of`."""
    view = view_of([drawing.grid], scale)
    view = replace(view, spacing_mm=view.spacing_mm.to(device), extent_mm=view.extent_mm.to(device))
    return Condition(told([drawing.text]).to(device), torch.ones(1, dtype=torch.bool, device=device), view)
