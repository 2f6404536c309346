"""The perceptual distance of stage II: how far slices are apart in the features of a frozen VGG network.

Features before each pooling, and the last, are scaled to unit length over channels; their squared differences, weighted
by channel where the weights say how (LPIPS, Zhang et al. 2018, arXiv:1801.03924), are averaged over places and added up. The
weights are given: tensors named as in the published VGG networks (`features.N.weight`, `features.N.bias`, convolutions of
3 x 3 without batch normalisation; a number left out is a pooling) and, for LPIPS, `linK.model.1.weight`.
"""

from collections.abc import Mapping

from jaxtyping import Float
from torch import Tensor, nn

__all__ = ["Perceptual"]

_SLICES = 4
_SHIFT, _SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
"""Normalisation of LPIPS for images in [-1, 1]."""

Volume = Float[Tensor, "b one z y x"]


class Perceptual(nn.Module):
    """A frozen network that compares slices of windowed volumes.

    Args:
        tensors: weights, as the module describes them.

    Raises:
        ValueError: if they are no such weights.
    """

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        super().__init__()
        numbers = sorted(
            int(name.split(".")[1]) for name in tensors if name.startswith("features.") and "weight" in name
        )
        if not numbers:
            raise ValueError("no tensor features.0.weight")
        self.stages = nn.ModuleList()
        layers: list[nn.Module] = []
        for before, number in zip([0, *numbers], numbers, strict=False):
            if number - before > 2:  # a convolution and its rectifier have two numbers, pooling the next
                self.stages.append(nn.Sequential(*layers))
                layers = [nn.MaxPool2d(2)]
            layers += [_convolution(tensors, number), nn.ReLU()]
        self.stages.append(nn.Sequential(*layers))
        linear = [tensors.get(f"lin{k}.model.1.weight") for k in range(len(self.stages))]
        self.linear = [None if one is None else one.float() for one in linear]
        self.channels = int(tensors[f"features.{numbers[0]}.weight"].shape[1])
        self.requires_grad_(False)

    def forward(self, real: Volume, made: Volume, axis: int) -> Float[Tensor, ""]:
        """Mean distance of a few slices across `axis` (0 = z) of volumes whose values lie about [-1, 1]."""
        every = max(1, real.shape[2 + axis] // _SLICES)
        a, b = (self._prepared(ct.movedim(2 + axis, 1)[:, ::every].flatten(0, 1)) for ct in (real, made))
        total = a.new_zeros(())
        for stage, weight in zip(self.stages, self.linear, strict=True):
            a, b = stage(a), stage(b)
            off = (_unit(a) - _unit(b)) ** 2
            total = total + (off if weight is None else off * weight.to(off).view(1, -1, 1, 1)).sum(1).mean()
        return total

    def _prepared(self, slices: Float[Tensor, "n one a b"]) -> Float[Tensor, "n c a b"]:
        grey = slices.clamp(-1, 1).expand(-1, self.channels, -1, -1)
        if self.channels != len(_SHIFT):
            return grey
        shift, scale = (grey.new_tensor(values).view(1, -1, 1, 1) for values in (_SHIFT, _SCALE))
        return (grey - shift) / scale


def _convolution(tensors: Mapping[str, Tensor], number: int) -> nn.Conv2d:
    weight, bias = tensors[f"features.{number}.weight"].float(), tensors.get(f"features.{number}.bias")
    if weight.ndim != 4 or tuple(weight.shape[2:]) != (3, 3) or bias is None or bias.shape != weight.shape[:1]:
        raise ValueError(f"features.{number} of shape {tuple(weight.shape)}, not a convolution of 3 x 3 with a bias")
    layer = nn.Conv2d(weight.shape[1], weight.shape[0], 3, padding=1)
    layer.weight.data, layer.bias.data = weight, bias.float()
    return layer


def _unit(x: Float[Tensor, "n c a b"]) -> Float[Tensor, "n c a b"]:
    return x / (x.pow(2).sum(1, keepdim=True) + 1e-10).sqrt()
