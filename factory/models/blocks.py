"""Blocks of the 3-D networks: residual convolutions, attention to tokens, and an embedding of time."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

__all__ = ["ChannelNorm", "Context", "Conv3d", "ResidualBlock", "TokenAttention", "embed_time", "norm", "silent"]

Volume = Float[Tensor, "b c z y x"]

_EPSILON = 1e-5


@dataclass(frozen=True, eq=False, slots=True)
class Context:
    """What cross-attention reads: tokens, and which of them are there (None = all)."""

    tokens: Float[Tensor, "b n d"]
    present: Bool[Tensor, "b n"] | None = None


class Conv3d(nn.Conv3d):
    """A convolution that is as fast for one small volume as for two, and right for thin ones.

    Over volumes of two slices oneDNN's bfloat16 gradient of a kernel of three has, at times, numbers in it that nothing computed
    (torch 2.13, AVX512-BF16): thin volumes are convolved in single precision.
    For a batch of one, torch on a CPU takes a loop of its own below some size, two to five times as slow as oneDNN. Where no
    gradient is needed oneDNN is asked outright.
    """

    def forward(self, x: Float[Tensor, "b c z y x"]) -> Float[Tensor, "b d zo yo xo"]:
        """Convolve, as `torch.nn.Conv3d`."""
        cast = x.device.type == "cpu" and torch.is_autocast_enabled("cpu")
        if cast and min(x.shape[2:]) < min(self.kernel_size):
            with torch.autocast("cpu", enabled=False):
                return super().forward(x.float())
        plain = x.dtype == torch.float32 and x.device.type == "cpu" and not cast
        if torch.is_grad_enabled() or not plain or not torch.backends.mkldnn.is_available():
            return super().forward(x)
        shape = self.padding, self.stride, self.dilation, self.groups
        return torch.ops.aten.mkldnn_convolution(x.contiguous(), self.weight, self.bias, *shape)


def norm(channels: int) -> nn.GroupNorm:
    """Group normalisation in up to eight groups of at least six channels.

    A channel alone would lose its level, and with it every HU.
    """
    groups = next(count for count in (8, 4, 2, 1) if (channels % count == 0 and channels >= 6 * count) or count == 1)
    return nn.GroupNorm(groups, channels)


class ChannelNorm(nn.Module):
    """Root mean square normalisation of the channels of each voxel by itself, so that a crop or a tile is treated as the whole is."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(channels))
        self.shift = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Volume) -> Volume:
        """Normalise."""
        scale = (x.square().mean(1, keepdim=True) + _EPSILON).rsqrt()
        gain, shift = (one[:, None, None, None].to(x.dtype) for one in (self.gain, self.shift))
        return x * scale * gain + shift


def silent(layer: nn.Module) -> nn.Module:
    """The same layer with all parameters zero, so that a block starts as the identity."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer


def embed_time(t: Int64[Tensor, " b"], width: int) -> Float[Tensor, "b w"]:
    """Sines and cosines of the step at geometrically spaced frequencies (Vaswani et al. 2017)."""
    rates = torch.exp(-math.log(10_000.0) * torch.arange(width // 2, device=t.device) / (width // 2))
    angles = t[:, None].float() * rates
    return torch.cat([angles.cos(), angles.sin()], 1)


class ResidualBlock(nn.Module):
    """Two convolutions with a shortcut; a vector, where there is one, scales and shifts between them.

    Args:
        inner, outer: channels.
        vector_width: of the vector; 0 = there is none.
        local: normalise each voxel by itself, not over the volume.
    """

    def __init__(self, inner: int, outer: int, vector_width: int = 0, *, local: bool = False) -> None:
        super().__init__()
        normal = ChannelNorm if local else norm
        self.before = nn.Sequential(normal(inner), nn.SiLU(), Conv3d(inner, outer, 3, padding=1))
        self.film = silent(nn.Linear(vector_width, 2 * outer)) if vector_width else None
        self.norm = normal(outer)
        self.after = nn.Sequential(nn.SiLU(), silent(Conv3d(outer, outer, 3, padding=1)))
        self.shortcut = Conv3d(inner, outer, 1) if inner != outer else nn.Identity()

    def forward(self, x: Volume, vector: Float[Tensor, "b v"] | None = None) -> Float[Tensor, "b d z y x"]:
        """Transform features; `vector` as wide as the constructor was told."""
        h = self.norm(self.before(x))
        if self.film is not None:
            scale, shift = self.film(vector)[:, :, None, None, None].chunk(2, 1)
            h = h * (1 + scale) + shift
        return self.shortcut(x) + self.after(h)


class TokenAttention(nn.Module):
    """A transformer block over the voxels: attention among them, to the tokens, and a feed-forward layer."""

    def __init__(self, channels: int, context_width: int, head_width: int = 32) -> None:
        super().__init__()
        self.heads = max(1, channels // head_width)
        self.norms = nn.ModuleList(nn.LayerNorm(channels) for _ in range(3))
        self.own = nn.Linear(channels, 3 * channels)
        self.own_out = silent(nn.Linear(channels, channels))
        self.query = nn.Linear(channels, channels)
        self.key_value = nn.Linear(context_width, 2 * channels)
        self.text_out = silent(nn.Linear(channels, channels))
        self.feed = nn.Sequential(
            nn.Linear(channels, 2 * channels), nn.GELU(), silent(nn.Linear(2 * channels, channels))
        )

    def forward(self, x: Volume, context: Context) -> Volume:
        """Mix features over space and read the present tokens."""
        h = x.flatten(2).transpose(1, 2)
        q, k, v = self.own(self.norms[0](h)).chunk(3, -1)
        h = h + self.own_out(self._attend(q, k, v, None))
        k, v = self.key_value(context.tokens).chunk(2, -1)
        h = h + self.text_out(self._attend(self.query(self.norms[1](h)), k, v, context.present))
        h = h + self.feed(self.norms[2](h))
        return h.transpose(1, 2).reshape(x.shape)

    def _attend(
        self,
        q: Float[Tensor, "b m d"],
        k: Float[Tensor, "b n d"],
        v: Float[Tensor, "b n d"],
        present: Bool[Tensor, "b n"] | None,
    ) -> Float[Tensor, "b m d"]:
        q, k, v = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in (q, k, v))
        mask = None if present is None else present[:, None, None]
        return nn.functional.scaled_dot_product_attention(q, k, v, mask).transpose(1, 2).flatten(2)
