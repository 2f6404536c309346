"""Stage I, the text-conditional semantic synthesizer: noisy masks and a text to what the masks were.

A case has two label layers, so the model has two categorical variables a voxel: the anatomy, and
whether a lesion lies there. They are noised apart and predicted together, each by its own head.
The organ thus stays under its lesion, and the lesion's loss has a weight of its own: rare as
lesions are, they do not drown, and no class weight distorts how often they occur.
"""

from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from factory.diffusion.rows import few
from factory.models.blocks import Conv3d
from factory.models.condition import Condition, Conditioner
from factory.models.facts import Facts
from factory.models.injection import InjectionSize
from factory.models.text_encoder import TextSize
from factory.models.unet import UNet, UNetSize
from factory.models.view import COORDINATES

__all__ = ["LESION_CLASSES", "Synthesizer", "SynthesizerSize"]

LESION_CLASSES = 2
_LEAST = 1e-4
"""Least chance, before the head has its say, that a voxel bears a lesion: prompts are read wrong at times."""

_AROUND = (3, 7, 15)
"""Sides, in voxels, of the boxes around each voxel in which what shows of lesions is counted."""

Labels = Int64[Tensor, "b z y x"]


@dataclass(frozen=True, slots=True)
class SynthesizerSize:
    """How large the synthesizer is.

    Attributes:
        label_width: channels that stand for each voxel's labels.
        patch: voxels along a side that the U-Net takes as one; labels are many and cheap, convolutions are not.
        hidden: channels of each voxel before the heads.
    """

    unet: UNetSize = field(default_factory=UNetSize)
    text: TextSize = field(default_factory=TextSize)
    injection: InjectionSize = field(default_factory=InjectionSize)
    label_width: int = 16
    patch: int = 2
    hidden: int = 64


class Synthesizer(nn.Module):
    """Predicts the distribution of the clean anatomy and lesion of each voxel.

    What the noisy label says of its own voxel is no matter of learning: `Categorical.informed` adds it to the logits.
    The U-Net works on patches; behind it each voxel gets its share of its patch's features back, and
    its own noisy labels with those of its neighbours. What is asked is said once more where it counts: a class that
    the text excludes is less likely everywhere, and the lesion head knows how likely each voxel's structure is asked to bear one,
    and how much of lesions shows near it and anywhere.

    Args:
        size: of the parts.
        classes: of the anatomy, the outside included.
        encoder: of the text.
    """

    def __init__(self, size: SynthesizerSize, classes: int, encoder: nn.Module) -> None:
        super().__init__()
        self.patch, labels = size.patch, size.label_width
        width, volume = size.unet.width, size.patch**3
        self.anatomy = nn.Embedding(classes, labels)
        self.lesions = nn.Embedding(LESION_CLASSES, labels)
        self.asked = nn.Parameter(torch.randn(labels))
        levels = (len(size.unet.multipliers), size.unet.attention)
        self.conditioner = Conditioner(encoder, size.injection, 4 * width, levels, classes=classes)
        self.gather = Conv3d(labels * volume, width, 1)
        self.unet = UNet(size.unet, width + COORDINATES, width, 4 * width, encoder.width)
        self.spread = Conv3d(width, 2 * labels * volume, 1)
        self.near = Conv3d(labels, 2 * labels, 3, padding=1)
        self.told = nn.Linear(4 * width, size.hidden)
        self.join = nn.Linear(2 * labels, size.hidden)
        self.anatomy_head = nn.Linear(size.hidden, classes)
        self.lesion_head = nn.Sequential(
            nn.Linear(size.hidden + 2 + len(_AROUND), size.hidden), nn.SiLU(), nn.Linear(size.hidden, LESION_CLASSES)
        )

    def forward(
        self,
        anatomy: Labels,
        lesions: Labels,
        t: Int64[Tensor, " b"],
        condition: Condition,
        at: Int64[Tensor, "b n"] | None = None,
    ) -> tuple[Float[Tensor, "b k *space"], Float[Tensor, "b two *space"]]:
        """Logits of the clean anatomy and of the clean lesions, from both as they are at step t.

        Args:
            anatomy: noisy.
            lesions: noisy.
            t: the step of each case.
            condition: what is told.
            at: flat indices of the voxels to predict; None = all, in their shape.
        """
        vector, contexts, facts = self.conditioner(t, condition)
        asked = facts.tumour.sigmoid()
        labels = self.anatomy(anatomy) + self.lesions(lesions)
        labels = labels + asked.gather(1, anatomy.flatten(1)).view(anatomy.shape)[..., None] * self.asked
        labels = labels.movedim(-1, 1).contiguous()
        patches = _gathered(_extended(labels, self.patch), self.patch)
        view = replace(condition.view, spacing_mm=condition.view.spacing_mm * self.patch)
        places = view.coordinates(tuple(patches.shape[2:])).to(labels.dtype)
        features = self.unet(torch.cat([self.gather(patches), places], 1), vector, contexts)
        nz, ny, nx = anatomy.shape[1:]
        voxels = _scattered(self.spread(features), self.patch)[:, :, :nz, :ny, :nx].flatten(2)
        if at is None:
            voxels = voxels + self.near(labels).flatten(2)
        else:
            voxels = voxels.gather(2, at[:, None].expand(-1, voxels.shape[1], -1)) + _at(self.near, labels, at)
        flat = lesions.flatten(1)
        shown = flat if at is None else flat.gather(1, at)
        counts = _counts(lesions).flatten(1, 3)
        around = counts if at is None else counts.gather(1, at[..., None].expand(-1, -1, counts.shape[2]))
        told, of_voxels = self.told(vector), (voxels.transpose(1, 2), shown, around.log1p())
        if at is not None:
            return tuple(logits.transpose(1, 2) for logits in self._heads(told, facts, *of_voxels))
        parts = zip(*(few(values, 1) for values in of_voxels), strict=True)
        found = zip(*(self._heads(told, facts, *part) for part in parts), strict=True)
        return tuple(torch.cat(logits, 1).unflatten(1, (nz, ny, nx)).movedim(-1, 1) for logits in found)

    def _heads(
        self,
        told: Float[Tensor, "b h"],
        facts: Facts,
        voxels: Float[Tensor, "b n c"],
        shown: Int64[Tensor, "b n"],
        around: Float[Tensor, "b n boxes"],
    ) -> tuple[Float[Tensor, "b n k"], Float[Tensor, "b n two"]]:
        h = nn.functional.silu(self.join(nn.functional.silu(voxels)) + told[:, None])
        anatomy = self.anatomy_head(h) + nn.functional.logsigmoid(facts.present)[:, None]
        # noise tends to no lesion, so one that shows is true, and lies in a structure that is asked to bear one
        anatomy = anatomy + shown[..., None] * facts.tumour.sigmoid().clamp_min(_LEAST).log()[:, None]
        bearing = anatomy.softmax(-1) @ facts.tumour.sigmoid()[..., None].to(anatomy.dtype)
        # once some of a lesion shows, the rest is near it
        lesions = self.lesion_head(torch.cat([h, bearing, around.to(h.dtype)], -1))
        # a lesion is as likely as its structure is asked to bear one, but for what the head sees around it
        return anatomy, lesions + torch.cat([0 * bearing, bearing.clamp_min(_LEAST).log()], -1)


def _counts(lesions: Labels) -> Int64[Tensor, "b z y x boxes"]:
    """Lesion voxels in the boxes of `_AROUND` around each voxel, and in the whole volume."""
    counts = []
    for side in _AROUND:
        found = lesions
        for axis, length in enumerate(lesions.shape[1:], 1):
            up_to = nn.functional.pad(found.cumsum(axis).movedim(axis, -1), (1, 0))
            place = torch.arange(length, device=lesions.device)
            ends = (place + side // 2 + 1).clamp_max(length), (place - side // 2).clamp_min(0)
            found = (up_to[..., ends[0]] - up_to[..., ends[1]]).movedim(-1, axis)
        counts.append(found)
    return torch.stack([*counts, lesions.sum((1, 2, 3), keepdim=True).expand_as(lesions)], -1)


def _at(conv: nn.Conv3d, x: Float[Tensor, "b c z y x"], at: Int64[Tensor, "b n"]) -> Float[Tensor, "b d n"]:
    """What a 3 x 3 x 3 convolution gives at some voxels, computed at these alone."""
    b, c, _, ny, nx = x.shape
    step = torch.tensor([(ny + 2) * (nx + 2), nx + 2, 1], device=x.device)
    place = torch.stack([at // (ny * nx), at // nx % ny, at % nx], -1) @ step
    around = torch.cartesian_prod(*[torch.arange(3, device=x.device)] * 3) @ step
    index = (place[..., None] + around).flatten(1)
    found = nn.functional.pad(x, (1,) * 6).flatten(2).gather(2, index[:, None].expand(-1, c, -1))
    rows = found.view(b, c, -1, 27).transpose(1, 2).flatten(2)
    return nn.functional.linear(rows, conv.weight.flatten(1), conv.bias).transpose(1, 2)


def _extended(x: Float[Tensor, "b c z y x"], side: int) -> Float[Tensor, "b c zp yp xp"]:
    """Zeros behind the ends, so that patches divide every side."""
    missing = [-count % side for count in x.shape[2:]]
    return nn.functional.pad(x, (0, missing[2], 0, missing[1], 0, missing[0]))


def _gathered(x: Float[Tensor, "b c z y x"], side: int) -> Float[Tensor, "b cp zp yp xp"]:
    """Space to depth: the voxels of each patch as channels."""
    b, c, *sides = x.shape
    nz, ny, nx = (count // side for count in sides)
    parts = x.view(b, c, nz, side, ny, side, nx, side).permute(0, 1, 3, 5, 7, 2, 4, 6)
    return parts.reshape(b, c * side**3, nz, ny, nx)


def _scattered(x: Float[Tensor, "b cp zp yp xp"], side: int) -> Float[Tensor, "b c z y x"]:
    """Depth to space, the inverse of `_gathered`."""
    b, c, nz, ny, nx = x.shape
    parts = x.view(b, c // side**3, side, side, side, nz, ny, nx).permute(0, 1, 5, 2, 6, 3, 7, 4)
    return parts.reshape(b, c // side**3, nz * side, ny * side, nx * side)
