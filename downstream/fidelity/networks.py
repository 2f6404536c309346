"""Networks whose features compare images: residual networks in two or three dimensions, and LPIPS on VGG-16.

Names of weights are those of the published networks, so that a state dict becomes safetensors as it is: torchvision's
ResNet (also RadImageNet's and, in three dimensions, MedicalNet's layout) and VGG-16, LPIPS' linear layers.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import nn

__all__ = ["Lpips", "ResNet"]

VGG_CHANNELS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))


class _Block(nn.Module):  # type: ignore[misc]
    """Residual block of torchvision's ResNet: two 3-wide convolutions, or 1-3-1 with a bottleneck (He et al. 2016)."""

    def __init__(self, conv: Any, norm: Any, channels: tuple[int, int], stride: int, bottleneck: bool) -> None:
        super().__init__()
        inputs, width = channels
        outputs = width * (4 if bottleneck else 1)
        sizes = [(inputs, width, 1, 1), (width, width, 3, stride), (width, outputs, 1, 1)]
        if not bottleneck:
            sizes = [(inputs, width, 3, stride), (width, width, 3, 1)]
        for number, (a, b, kernel, step) in enumerate(sizes, start=1):
            self.add_module(f"conv{number}", conv(a, b, kernel, step, kernel // 2, bias=False))
            self.add_module(f"bn{number}", norm(b))
        self.depth = len(sizes)
        self.downsample = None
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(conv(inputs, outputs, 1, stride, bias=False), norm(outputs))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = x
        for number in range(1, self.depth + 1):
            y = getattr(self, f"bn{number}")(getattr(self, f"conv{number}")(y))
            y = y.relu() if number < self.depth else y
        return (y + (x if self.downsample is None else self.downsample(x))).relu()


class ResNet(nn.Module):  # type: ignore[misc]
    """A residual network without its classifier: images in, one vector each, the mean over places of the last stage."""

    def __init__(self, dimensions: int, channels: int, blocks: Sequence[int], width: int, bottleneck: bool) -> None:
        super().__init__()
        conv, norm, pool = {
            2: (nn.Conv2d, nn.BatchNorm2d, nn.MaxPool2d),
            3: (nn.Conv3d, nn.BatchNorm3d, nn.MaxPool3d),
        }[dimensions]
        self.conv1 = conv(channels, width, 7, 2, 3, bias=False)
        self.bn1 = norm(width)
        self.maxpool = pool(3, 2, 1)
        inputs = width
        self.stages = len(blocks)
        for stage, count in enumerate(blocks):
            layer = []
            for number in range(count):
                wide = width * 2**stage
                stride = 2 if stage and not number else 1
                layer.append(_Block(conv, norm, (inputs, wide), stride, bottleneck))
                inputs = wide * (4 if bottleneck else 1)
            self.add_module(f"layer{stage + 1}", nn.Sequential(*layer))
        self.features = inputs

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Images (n, channels, …) to vectors (n, features)."""
        x = self.maxpool(self.bn1(self.conv1(x)).relu())
        for stage in range(1, self.stages + 1):
            x = getattr(self, f"layer{stage}")(x)
        return x.flatten(2).mean(2)


class Lpips(nn.Module):  # type: ignore[misc]
    """Learned perceptual distance of two images in [-1, 1] (Zhang et al. 2018, arXiv:1801.03924).

    Activations of VGG-16 before each pooling are scaled to unit length over channels; the squared differences, weighted by
    channel, are averaged over places and added over the five depths. `width` divides the channels, for tests.
    """

    def __init__(self, width: int = 1) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        self.taps, channels = [], 3
        for number, stage in enumerate(VGG_CHANNELS):
            if number:
                layers.append(nn.MaxPool2d(2))
            for wide in stage:
                layers += [nn.Conv2d(channels, wide // width, 3, padding=1), nn.ReLU()]
                channels = wide // width
            self.taps.append(len(layers))
            self.add_module(f"lin{number}", _Linear(channels))
        self.features = nn.Sequential(*layers)
        self.register_buffer("shift", torch.tensor([-0.030, -0.088, -0.188])[:, None, None], persistent=False)
        self.register_buffer("scale", torch.tensor([0.458, 0.448, 0.450])[:, None, None], persistent=False)

    def forward(self, first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
        """Distance of each pair of images (n, 3, y, x)."""
        a, b = ((image - self.shift) / self.scale for image in (first, second))
        total = torch.zeros(len(first), device=first.device)
        for number, (start, end) in enumerate(pairwise((0, *self.taps))):
            a, b = (self.features[start:end](x) for x in (a, b))
            difference = (_unit(a) - _unit(b)) ** 2
            total = total + getattr(self, f"lin{number}").model[1](difference).mean((1, 2, 3))
        return total


class _Linear(nn.Module):  # type: ignore[misc]
    """A weight per channel, under the name that LPIPS gives it: `model.1.weight`."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.model = nn.Sequential(nn.Identity(), nn.Conv2d(channels, 1, 1, bias=False))


def _unit(x: torch.Tensor) -> torch.Tensor:
    return x / (x.pow(2).sum(1, keepdim=True).sqrt() + 1e-10)
