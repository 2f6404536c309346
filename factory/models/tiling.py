"""Large volumes through the autoencoder in tiles whose overlaps are blended, so that memory stays that of a tile.

Along each axis neighbouring tiles share `overlap` latents. The outer `margin` of them on either side, where a tile sees its
own padding instead of its neighbour, counts nothing; in between one tile fades into the other linearly. The weights of
all tiles add up to one everywhere. All layers being local, tiles equal the whole once the margin covers their reach; what a smaller
margin leaves is the seam that `benchmarks/tiled_autoencoder.py` measures.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise, product

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from factory.models.autoencoder import Autoencoder

__all__ = ["WHOLE_BYTES", "Tiling", "decode", "encode", "reconstruct"]

WHOLE_BYTES = 2**30
"""Size of one feature map of the finest level up to which a volume goes through whole."""

Volume = Float[Tensor, "b one z y x"]
Latents = Float[Tensor, "b l zl yl xl"]
Labels = Int64[Tensor, "b z y x"]
Box = tuple[slice, slice, slice]


@dataclass(frozen=True, slots=True)
class Tiling:
    """How a volume is cut, in latents along a side; `overlap` is at least twice `margin`, `tile` twice `overlap`."""

    tile: int = 48
    overlap: int = 16
    margin: int = 4

    def spans(self, count: int) -> list[tuple[int, int]]:
        """First and one past the last latent of each tile along an axis, evenly spread."""
        if count <= self.tile:
            return [(0, count)]
        tiles = -(-(count - self.overlap) // (self.tile - self.overlap))
        starts = [round(k * (count - self.tile) / (tiles - 1)) for k in range(tiles)]
        return [(start, start + self.tile) for start in starts]

    def weights(self, count: int, scale: int) -> list[Float[Tensor, " n"]]:
        """Weights of the tiles along an axis, `scale` values a latent; they add up to one at each place."""
        spans = self.spans(count)
        places = (torch.arange(count * scale) + 0.5) / scale
        risen = [torch.ones_like(places)]
        for (_, before), (start, _) in pairwise(spans):
            low, high = start + self.margin, before - self.margin
            rising = ((places - low) / max(high - low, 1e-6)).clamp(0, 1)  # a step where margins meet
            risen.append(torch.minimum(risen[-1], rising))
        risen.append(torch.zeros_like(places))
        fades = [this - following for this, following in pairwise(risen)]
        return [fade[start * scale : stop * scale] for fade, (start, stop) in zip(fades, spans, strict=True)]


def encode(net: Autoencoder, ct: Volume, anatomy: Labels, lesions: Labels, tiling: Tiling | None = None) -> Latents:
    """Latents of stage III; in tiles where the volume is large, or `tiling` says how."""
    if tiling is None and _fits(net, ct):
        return net.encode(ct, anatomy, lesions)[2]

    def run(box: Box) -> Latents:
        fine = _scaled(box, net.size.factor)
        return net.encode(ct[..., *fine], anatomy[..., *fine], lesions[..., *fine])[2]

    shape = tuple(count // net.size.factor for count in ct.shape[2:])
    return _blended(run, shape, 1, tiling or Tiling())


def decode(
    net: Autoencoder, latents: Latents, anatomy: Labels, lesions: Labels, tiling: Tiling | None = None
) -> Volume:
    """CT of latents in HU / 1000; in tiles where the volume is large, or `tiling` says how."""
    if tiling is None and _fits(net, anatomy):
        return net.decode(latents, anatomy, lesions)

    def run(box: Box) -> Volume:
        fine = _scaled(box, net.size.factor)
        return net.decode(latents[..., *box], anatomy[..., *fine], lesions[..., *fine])

    return _blended(run, tuple(latents.shape[2:]), net.size.factor, tiling or Tiling())


def reconstruct(net: Autoencoder, ct: Volume, anatomy: Labels, lesions: Labels) -> Volume:
    """Encode and decode; in tiles where the volume is large."""
    return decode(net, encode(net, ct, anatomy, lesions), anatomy, lesions)


def _fits(net: Autoencoder, volume: Tensor) -> bool:
    return 4 * net.size.width * volume.numel() <= WHOLE_BYTES


def _blended(
    run: Callable[[Box], Float[Tensor, "b c n m k"]], shape: tuple[int, ...], scale: int, tiling: Tiling
) -> Float[Tensor, "b c z y x"]:
    """Join what `run` makes of each tile; `shape` in latents, `scale` values a latent come out along each axis."""
    whole: Tensor | None = None
    for box, weights in _tiles(shape, scale, tiling):
        made = run(box).float()
        for axis, weight in enumerate(weights):
            made = made * weight.to(made.device).view([-1 if axis == other else 1 for other in range(3)])
        if whole is None:
            whole = made.new_zeros(*made.shape[:2], *(count * scale for count in shape))
        whole[..., *_scaled(box, scale)] += made
    assert whole is not None
    return whole


def _tiles(shape: tuple[int, ...], scale: int, tiling: Tiling) -> Iterator[tuple[Box, list[Tensor]]]:
    axes = [
        [(slice(*span), weight) for span, weight in zip(tiling.spans(n), tiling.weights(n, scale), strict=True)]
        for n in shape
    ]
    for z, y, x in product(*axes):
        yield (z[0], y[0], x[0]), [z[1], y[1], x[1]]


def _scaled(box: Box, scale: int) -> Box:
    z, y, x = (slice(part.start * scale, part.stop * scale) for part in box)
    return z, y, x
