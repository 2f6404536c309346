"""Pictures of a validation: a row for each held-out case, the case and the sample side by side."""

import io
import textwrap
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float, Shaped, UInt8

from factory.training.checkpoint import write_bytes

__all__ = ["draw_grey", "draw_rows"]

Labels = UInt8[np.ndarray, "z y x"]


def draw_rows(path: Path, rows: Sequence[tuple[str, tuple[Labels, Labels], tuple[Labels, Labels]]]) -> None:
    """Draw masks (anatomy, lesions) of each case and its sample: a coronal and an axial slice, the text above.

    The slices go through the largest cut of the case's lesions, else through the middle.
    """
    tiles = []
    for _, case, sample in rows:
        z, y = _place(case[1])
        pairs = [zip(*(_upright(layer, z, y) for layer in masks), strict=True) for masks in (case, sample)]
        tiles.append([_coloured(anatomy, lesions) for pair in pairs for anatomy, lesions in pair])
    _draw(path, [text for text, _, _ in rows], tiles)


def draw_grey(path: Path, rows: Sequence[tuple[str, Sequence[Float[np.ndarray, "z y x"]]]]) -> None:
    """Draw CTs of 1 = 1000 HU in a soft-tissue window of -160 to 240 HU, a coronal and an axial slice of each."""
    tiles = []
    for _, volumes in rows:
        nz, ny, _ = volumes[0].shape
        shown = [slice_ for ct in volumes for slice_ in _upright(ct, nz // 2, ny // 2)]
        tiles.append([np.repeat(np.clip((slice_ + 0.16) / 0.4, 0, 1)[..., None], 3, -1) for slice_ in shown])
    _draw(path, [text for text, _ in rows], tiles)


def _place(lesions: Labels) -> tuple[int, int]:
    """The axial and the coronal slice with most lesion in them, the middle ones without."""
    if not lesions.any():
        return lesions.shape[0] // 2, lesions.shape[1] // 2
    return int(lesions.sum(axis=(1, 2)).argmax()), int(lesions.sum(axis=(0, 2)).argmax())


def _upright(volume: Shaped[np.ndarray, "z y x"], z: int, y: int) -> tuple[np.ndarray, np.ndarray]:
    """A coronal slice with the head up, and an axial one with the front up."""
    return volume[::-1, y], volume[z]


def _coloured(anatomy: UInt8[np.ndarray, "a b"], lesions: UInt8[np.ndarray, "a b"]) -> Float[np.ndarray, "a b 3"]:
    """Colours by id, neighbours apart; lesions white."""
    hue = (anatomy[..., None] * 0.618034 + np.array([0, 1 / 3, 2 / 3])) % 1.0
    colours = np.where(anatomy[..., None] > 0, 0.25 + 0.6 * np.abs(2 * hue - 1), 0.0)
    colours[lesions > 0] = 1.0
    return colours


def _draw(path: Path, texts: Sequence[str], tiles: Sequence[Sequence[np.ndarray]]) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = max((len(row) for row in tiles), default=1)
    figure = Figure(figsize=(2.6 * columns, 3.2 * max(1, len(tiles))), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(max(1, len(tiles)), columns, squeeze=False)
    for line, text, row in zip(axes, texts, tiles, strict=True):
        line[0].set_title(textwrap.fill(text, 60), fontsize=6, loc="left")
        for axis, tile in zip(line, row, strict=True):
            axis.imshow(tile, interpolation="nearest")
            axis.set_axis_off()
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=90)
    write_bytes(path, buffer.getvalue())
