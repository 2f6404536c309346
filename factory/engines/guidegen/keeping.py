"""What a drawing keeps while it is made sharper: the volume of each class, and the number and amount of lesions."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from scipy import ndimage
from torch import Tensor

from factory.diffusion.rows import few, rows

__all__ = ["adding_up", "chances", "expected_voxels", "in_parts", "kept_voxels", "near_parts", "not_none", "of_volume"]

_ROUNDS, _PACE, _NEAR = 24, 2.0, 0.05
"""Most rounds in which classes are weighed, the largest change of a logit in one, and the largest that ends them."""
_LOSS = 1.3
"""How far an organ may fall below the volume that was expected of it at first, as a factor."""
_LARGER = 1.5
"""Least volume of an enlarged organ, in usual ones."""
_MOST = 2.0
"""Largest volume of any other, in usual ones."""
_SHARPER = (2.0, 4.0, 8.0, 16.0)
"""How sharp chances are taken, one after another, until they are nearly those of the likeliest class."""
_SLACK = 1.25
"""How far the number of lesion voxels may leave what is asked, as a factor."""
_FACTOR, _HALVINGS = 40.0, 24
"""Largest logarithm of the factor on the odds of a lesion, and how finely it is sought."""
_NEVER = -1e4
_CORNERS = np.ones((3, 3, 3), bool)

Lesions = Int64[Tensor, "one z y x"]
LesionLogits = Float[Tensor, "one two z y x"]


def of_volume(
    logits: Float[Tensor, "one k z y x"],
    voxels: Float[Tensor, "one k"],
    before: Float[Tensor, " k"] | None = None,
    *,
    likeliest: bool,
) -> tuple[Float[Tensor, "one k z y x"], Float[Tensor, " k"]]:
    """Weigh classes until each has the voxels given: as expected, or as the likeliest class of each voxel.

    Sharper chances give every voxel to whoever is likelier there, and thin organs, which nowhere are, would vanish.

    Args:
        logits: of the classes.
        voxels: that each should have.
        before: what was added to the logits of each class a step earlier; rounds begin there.
        likeliest: see above.

    Returns:
        Logits, and what was added to those of each class.
    """
    added = torch.zeros_like(voxels[0]) if before is None else before
    scores = rows(logits)
    share = torch.empty_like(scores)
    for sharpness in _SHARPER if likeliest else (1.0,):
        for some, of_some in zip(few(scores), few(share), strict=True):
            torch.softmax((some + added) * sharpness, -1, out=of_some)
        weight = torch.ones_like(added)
        for _ in range(_ROUNDS):
            found = weight * torch.stack([(one @ weight).reciprocal() @ one for one in few(share)]).sum(0)
            change = ((voxels[0] + 0.5) / (found + 0.5)).log()
            if float(change.abs().max()) < _NEAR:
                break
            weight = weight * change.clamp(-_PACE * sharpness, _PACE * sharpness).exp()
        added = added + weight.log() / sharpness
    return logits + added.view(-1, 1, 1, 1), added


def expected_voxels(logits: Float[Tensor, "one k z y x"]) -> Float[Tensor, "one k"]:
    """How many voxels of each class the logits let expect."""
    return torch.stack([some.softmax(-1).sum(0) for some in few(rows(logits))]).sum(0, keepdim=True)


def kept_voxels(
    voxels: Float[Tensor, "one k"],
    first: Float[Tensor, "one k"],
    usual: Float[Tensor, " k"],
    enlarged: Bool[Tensor, "one k"],
) -> Float[Tensor, "one k"]:
    """Expected voxels of classes, no less than a share of what was expected of those organs that are surely there.

    What a predictor expects must not fall on average, but small organs fade, step by step. An organ is taken to be there if at
    least half of its usual volume was expected at first; else it may be missing, or the grid hold only a part of it. One that the text
    says is enlarged has more than its usual volume. Others have at most twice their usual
    volume: of small organs a faint chance everywhere adds up to several, which sharper chances would gather in one place.
    """
    most = torch.where(enlarged, torch.inf, usual * _MOST)
    least = torch.where(enlarged, usual * _LARGER, first / _LOSS)
    return torch.where(first >= usual / 2, voxels.maximum(least), voxels).minimum(most)


def chances(logits: LesionLogits) -> Float[Tensor, "one z y x"]:
    """The chance of a lesion at each voxel."""
    return (logits[:, 1] - logits[:, 0]).sigmoid()


def adding_up(logits: LesionLogits, shown: Lesions, asked: float) -> LesionLogits:
    """Logits of no lesion and of a lesion whose chances add up to the voxels asked for, within `_SLACK`.

    Voxels that show a lesion count and stay as they are; only the others are moved.
    """
    hidden = (shown == 0).to(logits.dtype)
    total, found = float((chances(logits) * hidden).sum()), float(shown.sum())
    wanted = max(0.0, min(max(total, asked / _SLACK - found), asked * _SLACK - found))
    low, high = -_FACTOR, _FACTOR
    for _ in range(_HALVINGS if wanted != total else 0):
        middle = (low + high) / 2
        less = float(((logits[:, 1] - logits[:, 0] + middle).sigmoid() * hidden).sum()) < wanted
        low, high = (middle, high) if less else (low, middle)
    return torch.stack([logits[:, 0], logits[:, 1] + (low + high) / 2 * hidden], 1)


def near_parts(logits: LesionLogits, shown: Lesions, most: int) -> LesionLogits:
    """Logits under which no further part of a lesion begins where `most` parts show: only next to one may more appear."""
    there = _on_cpu(shown)
    if ndimage.label(there, _CORNERS)[1] < most:
        return logits
    near = torch.from_numpy(ndimage.binary_dilation(there, _CORNERS)).to(logits.device)[None]
    return torch.stack([logits[:, 0], torch.where(near, logits[:, 1], logits[:, 0] + _NEVER)], 1)


def in_parts(drawn: Lesions, shown: Lesions, chance: Float[Tensor, "one z y x"], most: int) -> Lesions:
    """A drawing with at most `most` parts: those that showed before, then those of most chance; the rest does not show yet."""
    parts, count = ndimage.label(_on_cpu(drawn), _CORNERS)
    if count <= most:
        return drawn
    index = np.arange(1, count + 1)
    before = ndimage.maximum(_on_cpu(shown), parts, index)
    likely = ndimage.sum(chance[0].float().cpu().numpy(), parts, index)
    kept = index[np.lexsort((-likely, -before.astype(int)))][:most]
    return torch.from_numpy(np.isin(parts, kept).astype(np.int64)).to(drawn.device)[None]


def not_none(drawn: Lesions, chance: Float[Tensor, "one z y x"], generators: Sequence[torch.Generator]) -> Lesions:
    """A drawing with a lesion: where it has none, of one voxel, drawn by its chance among all."""
    if drawn.any():
        return drawn
    place = torch.multinomial(chance.flatten().double().cpu(), 1, generator=generators[0])
    one = torch.zeros(drawn.numel(), dtype=drawn.dtype)
    one[place] = 1
    return one.view(drawn.shape).to(drawn.device)


def _on_cpu(lesions: Lesions) -> Bool[np.ndarray, "z y x"]:
    return np.asarray(lesions[0].cpu().numpy() > 0)
