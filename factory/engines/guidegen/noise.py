"""Noise of latents that the voxels of a structure partly share.

What differs from patient to patient in a CT is above all the HU of whole organs. In white noise the mean over an organ
is next to nothing, so a sampler had to blow it up manifold within its first steps, and a network that sees
a neighbourhood alone could not find it: all drawings of a phase came out alike (offset noise, as Guttenberg 2023 describes it
for whole pictures, met the same). Here a share of the noise's variance is common to a structure, half of that to its
tissue; blood is one tissue. Lesions are a structure of their own.
"""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from factory.diffusion.chance import normal
from factory.engines.guidegen.config import LatentsConfig
from manifests.anatomy import structures

__all__ = ["NoiseKeys", "latent_noise"]

_BLOOD = ("artery", "vein", "heart")
_NOWHERE, _LESION = "outside", "lesion"


class NoiseKeys:
    """Which group and which tissue each label belongs to, and how much its voxels share.

    Label `classes` + c is a lesion in class c.

    Args:
        config: of the stage.
    """

    def __init__(self, config: LatentsConfig) -> None:
        self.share, self.factor = config.shared_noise, 2**config.halvings
        entries = {entry.id: entry for entry in structures()}
        found = [entries[int(id)] for id in config.id_of_class()[1:]]
        tissues = ["blood" if entry.tissue in _BLOOD else entry.tissue for entry in found]
        lesions = [_LESION] * config.classes
        groups = [_NOWHERE, *(entry.group for entry in found), *lesions]
        self.group, self.tissue = _numbered(groups), _numbered([_NOWHERE, *tissues, *lesions])


def latent_noise(
    keys: NoiseKeys,
    generators: Sequence[torch.Generator],
    like: Float[Tensor, "b c zl yl xl"],
    labels: Int64[Tensor, "b z y x"],
    temperature: float = 1.0,
) -> Float[Tensor, "b c zl yl xl"]:
    """Noise in the shape of `like`: of variance 1 where a latent lies in one structure, a little less where in several.

    Args:
        keys: of the stage.
        generators: one for each case.
        like: latents.
        labels: of the voxels, `factor` along a side for each latent: class + `classes` where a lesion is.
        temperature: factor on what is shared.
    """
    white = normal(generators, like)
    if not keys.share:
        return white
    shared = torch.stack(
        [_offsets(keys, one, like.shape[1])[of] for one, of in zip(generators, labels.cpu(), strict=True)]
    )
    common = torch.nn.functional.avg_pool3d(shared.movedim(-1, 1), keys.factor)
    return (1 - keys.share) ** 0.5 * white + temperature * keys.share**0.5 * common.to(like.device)


def _offsets(keys: NoiseKeys, generator: torch.Generator, channels: int) -> Float[Tensor, "labels c"]:
    """One number for each label and channel: half of the variance is that of its tissue."""
    by_tissue, by_group = (
        torch.randn(int(key.max()) + 1, channels, generator=generator)[key] for key in (keys.tissue, keys.group)
    )
    return (by_tissue + by_group) / 2**0.5


def _numbered(names: Sequence[str]) -> Int64[Tensor, " labels"]:
    return torch.from_numpy(np.unique(names, return_inverse=True)[1])
