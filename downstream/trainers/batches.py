"""Training patches from memory: drawn, turned, stretched, bent and recoloured, each from its own seed.

The patch of step i depends on (seed, i, place in the batch) alone, so a training that was interrupted goes on
with the patches that it would have seen. Everything works on tensors of one device. Ranges are those of nnU-Net's augmentation
(Isensee et al. 2021, supplement), with smaller rotations (a patient lies on a table) and without mirroring; bending as in U-Net
(Ronneberger et al. 2015) on a coarse grid.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional

from downstream.trainers.squeeze import Squeeze, unchanged

__all__ = ["Batches", "Case", "recolour", "warp_grid"]

_ROTATION = math.radians(15)
_SCALE = 1.25  # largest, and its inverse the smallest
_STRETCH = 1.1
_BEND_VOXELS = 2.5
_BEND_NODES = 5
_SLABS, _LEAST_SLICES = 0.15, 8  # share of patches that are slabs, and their least thickness in voxels
_FOREGROUND = 0.5  # share of patches that are centred on a label


@dataclass(frozen=True, slots=True)
class Case:
    """A preprocessed case in memory.

    Attributes:
        image: normalised values (1, z, y, x), half precision.
        labels: (1, z, y, x), 8 bits; what nnU-Net marks as outside (-1) is background.
        places: voxels of each foreground label that the case holds, (n, 3).
    """

    image: torch.Tensor
    labels: torch.Tensor
    places: tuple[torch.Tensor, ...]

    @classmethod
    def load(cls, dataset: Any, name: str, squeeze: Squeeze = unchanged) -> "Case":
        """Read a case from nnU-Net's preprocessed folder, its values squeezed."""
        data, labels, _, properties = dataset.load_case(name)
        found = properties["class_locations"].values()
        places = tuple(torch.as_tensor(rows[:, 1:].copy()) for rows in found if len(rows))
        image = squeeze(torch.as_tensor(data[:])).half()
        return cls(image, torch.as_tensor(labels[:]).clamp(min=0).to(torch.uint8), places)


class Batches:
    """Batches by number.

    Args:
        cases: what to draw from.
        patch: size of a patch.
        batch: patches of a batch.
        seed: of all draws.
        device: where the patches are made and stay.
    """

    def __init__(
        self, cases: Iterable[Case], patch: Sequence[int], batch: int, seed: int, device: torch.device
    ) -> None:
        self.cases, self.patch, self.batch, self.seed, self.device = tuple(cases), tuple(patch), batch, seed, device

    def __getitem__(self, step: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Images (batch, 1, z, y, x) and labels (batch, 1, z, y, x) of a step."""
        pairs = [self._patch(step * self.batch + place) for place in range(self.batch)]
        images, labels = zip(*pairs, strict=True)
        return torch.cat(images), torch.cat(labels)

    def frequencies(self, labels: int) -> torch.Tensor:
        """Share of the voxels of all cases that each label has (labels,); at least one in a million."""
        counts = sum(torch.bincount(case.labels.flatten(), minlength=labels).double() for case in self.cases)
        assert isinstance(counts, torch.Tensor)
        return (counts / counts.sum()).clamp(min=1e-6).float()

    def _patch(self, number: int) -> tuple[torch.Tensor, torch.Tensor]:
        draw = torch.Generator().manual_seed((self.seed * 0x9E3779B1 + number * 0x85EBCA77 + 1) % 2**63)
        case = self.cases[_integer(draw, len(self.cases))]
        shape = torch.tensor(case.image.shape[1:])
        centre = _centre(case, torch.tensor(self.patch), draw)
        grid = warp_grid(self.patch, centre, draw)
        low = grid.reshape(-1, 3).amin(0).floor().long().clamp(min=0).minimum(shape - 1)
        high = (grid.reshape(-1, 3).amax(0).ceil().long() + 1).maximum(low + 1).minimum(shape)
        box = (slice(None), *(slice(int(a), int(b)) for a, b in zip(low, high, strict=True)))
        grid = ((grid - low) / (high - low - 1).clamp(min=1) * 2 - 1).flip(-1)[None].to(self.device)
        image = case.image[box][None].to(self.device).float()
        labels = case.labels[box][None].to(self.device).float()
        image = functional.grid_sample(image, grid, mode="bilinear", padding_mode="border", align_corners=True)
        inside = (grid.abs() <= 1).all(-1)[None]
        labels = functional.grid_sample(labels, grid, mode="nearest", padding_mode="border", align_corners=True)
        air = case.image.min().float().to(self.device)
        slices = _slab(self.patch[0], draw)
        return recolour(torch.where(inside, image, air)[:, :, slices], draw), (labels * inside)[:, :, slices]


def warp_grid(patch: Sequence[int], centre: torch.Tensor, draw: torch.Generator) -> torch.Tensor:
    """Voxel coordinates (z, y, x, 3) in the case that the voxels of a patch are taken from."""
    axes = [torch.arange(n, dtype=torch.float32) - (n - 1) / 2 for n in patch]
    grid = torch.stack(torch.meshgrid(*axes, indexing="ij"), -1)
    size = _SCALE ** _uniform(draw, 1) * _STRETCH ** _uniform(draw, 3)
    matrix = _rotation(_uniform(draw, 3) * _ROTATION) @ torch.diag(1 / size)
    nodes = torch.randn((1, 3, *(_BEND_NODES,) * 3), generator=draw) * _BEND_VOXELS * torch.rand(1, generator=draw)
    bend = functional.interpolate(nodes, size=tuple(patch), mode="trilinear", align_corners=True)[0]
    return grid @ matrix.T + bend.permute(1, 2, 3, 0) + centre


def recolour(image: torch.Tensor, draw: torch.Generator) -> torch.Tensor:
    """Change noise, sharpness, brightness, contrast and gamma of a patch (1, 1, z, y, x), each with its own chance."""
    if _chance(draw, 0.2):
        noise = torch.randn(image.shape, generator=draw).to(image.device)
        image = image + noise * 0.2 * torch.rand(1, generator=draw).to(image.device)
    if _chance(draw, 0.3):
        image = _coarsened(image, draw)
    if _chance(draw, 0.4):
        image = image * (1 + 0.25 * _uniform(draw, 1)).to(image.device)
    if _chance(draw, 0.4):
        image = image + (0.2 * _uniform(draw, 1)).to(image.device)
    if _chance(draw, 0.4):
        image = _gamma(image, float(1.5 ** _uniform(draw, 1)))
    return image


def _coarsened(image: torch.Tensor, draw: torch.Generator) -> torch.Tensor:
    """Lose resolution along each axis, as thick slices and soft kernels do."""
    scale = 0.5 + 0.5 * torch.rand(3, generator=draw)
    size = [max(2, int(n * s)) for n, s in zip(image.shape[2:], scale.tolist(), strict=True)]
    small = functional.interpolate(image, size=size, mode="trilinear", align_corners=False)
    return functional.interpolate(small, size=image.shape[2:], mode="trilinear", align_corners=False)


def _gamma(image: torch.Tensor, gamma: float) -> torch.Tensor:
    """Bend the values between their extremes, and give them their mean and spread back."""
    low, span = image.min(), (image.max() - image.min()).clamp(min=1e-6)
    bent = ((image - low) / span).pow(gamma)
    return (bent - bent.mean()) / bent.std().clamp(min=1e-6) * image.std() + image.mean()


def _centre(case: Case, patch: torch.Tensor, draw: torch.Generator) -> torch.Tensor:
    """Centre of a patch: a voxel of a label drawn first, or anywhere that keeps the patch inside where it fits."""
    if case.places and _chance(draw, _FOREGROUND):
        rows = case.places[_integer(draw, len(case.places))]
        return rows[_integer(draw, len(rows))].float()
    shape = torch.tensor(case.image.shape[1:])
    slack = (shape - patch).clamp(min=0).float()
    return (shape - 1) / 2 + (torch.rand(3, generator=draw) - 0.5) * slack


def _slab(depth: int, draw: torch.Generator) -> torch.Tensor:
    """Slices of a patch to take: all, or now and then a slab that its first and last slice continue, like a scan of few slices."""
    slices = torch.arange(depth)
    if depth < 2 * _LEAST_SLICES or not _chance(draw, _SLABS):
        return slices
    thick = _LEAST_SLICES + _integer(draw, depth - _LEAST_SLICES)
    first = _integer(draw, depth - thick + 1)
    return slices.clamp(first, first + thick - 1)


def _rotation(angles: torch.Tensor) -> torch.Tensor:
    matrix = torch.eye(3)
    for axis, angle in enumerate(angles.tolist()):
        a, b = (axis + 1) % 3, (axis + 2) % 3
        turn = torch.eye(3)
        turn[a, a] = turn[b, b] = math.cos(angle)
        turn[a, b], turn[b, a] = -math.sin(angle), math.sin(angle)
        matrix = matrix @ turn
    return matrix


def _uniform(draw: torch.Generator, count: int) -> torch.Tensor:
    """Numbers from -1 to 1."""
    return 2 * torch.rand(count, generator=draw) - 1


def _integer(draw: torch.Generator, below: int) -> int:
    return int(torch.randint(below, (1,), generator=draw))


def _chance(draw: torch.Generator, share: float) -> bool:
    return float(torch.rand(1, generator=draw)) < share
