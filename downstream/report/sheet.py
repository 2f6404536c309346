"""The contact sheet: one PNG, two cases a row, each as axial, coronal and sagittal slice with its prompt."""

import math
import textwrap
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch
from matplotlib.path import Path as Curve

from downstream.report.colours import TUMOUR, colour_of
from downstream.report.picture import Outline, Picture, Plane

__all__ = ["write_sheet"]

_BACKGROUND, _PANEL, _TEXT, _MUTED = "#0b0e14", "#11161f", "#e8ecf3", "#8b95a7"
_MM_PER_INCH, _DPI = 105.0, 110
_GAP_MM, _HEAD_MM, _TEXT_MM = 14.0, 60.0, 430.0
_LINE_MM, _LEGEND_MM, _CHARACTERS, _LEGEND_COLUMNS = 27.0, 20.0, 43, 3


def write_sheet(pictures: Sequence[Picture], path: Path, title: str, *, synthetic: bool) -> None:
    """Draw cases on one sheet, all at one scale.

    Args:
        pictures: at least one case.
        path: of the PNG.
        title: name of the dataset, for the head line.
        synthetic: whether to mark the sheet so.
    """
    columns = min(2, len(pictures))
    rows = math.ceil(len(pictures) / columns)
    card = _card_size(pictures)
    size = (columns * (card[0] + _GAP_MM) + _GAP_MM, rows * (card[1] + _GAP_MM) + _GAP_MM + _HEAD_MM)
    figure = Figure(figsize=(size[0] / _MM_PER_INCH, size[1] / _MM_PER_INCH), dpi=_DPI, facecolor=_BACKGROUND)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, size[0]), ylim=(size[1], 0), aspect="equal")
    axes.axis("off")
    axes.text(
        _GAP_MM * 1.5, 0.55 * _HEAD_MM, title, color=_TEXT, fontsize=20, va="center", weight="bold", parse_math=False
    )
    mark = "SYNTHETIC, not for diagnosis · " if synthetic else ""
    note = f"{mark}{len(pictures)} cases · W 400 L 40 HU · patient's left on the image's right"
    axes.text(size[0] - _GAP_MM * 1.5, 0.55 * _HEAD_MM, note, color=_MUTED, fontsize=13, va="center", ha="right")
    for number, picture in enumerate(pictures):
        row, column = divmod(number, columns)
        corner = (_GAP_MM + column * (card[0] + _GAP_MM), _HEAD_MM + _GAP_MM + row * (card[1] + _GAP_MM))
        _draw_card(axes, picture, corner, card)
    FigureCanvasAgg(figure)
    figure.savefig(path, format="png", facecolor=_BACKGROUND)


def _card_size(pictures: Sequence[Picture]) -> tuple[float, float]:
    """Width and height in mm that hold every case: axial above its text, then coronal and sagittal."""
    axial, coronal, sagittal = ([picture.planes[number] for picture in pictures] for number in range(3))
    left = max(_TEXT_MM, *(plane.width_mm for plane in axial))
    width = left + max(plane.width_mm for plane in coronal) + max(plane.width_mm for plane in sagittal)
    text = max(_text_height(picture) for picture in pictures)
    height = max(
        max(plane.height_mm for plane in (*coronal, *sagittal)), max(plane.height_mm for plane in axial) + text
    )
    return width + 4 * _GAP_MM, height + 2 * _GAP_MM


def _caption(picture: Picture) -> list[str]:
    record = picture.record
    return textwrap.wrap(record.prompt_text or "no prompt", _CHARACTERS)


def _text_height(picture: Picture) -> float:
    legend = math.ceil(len(picture.families) / _LEGEND_COLUMNS)
    return (len(_caption(picture)) + 2) * _LINE_MM + (legend + 0.5) * _LEGEND_MM


def _draw_card(axes: Axes, picture: Picture, corner: tuple[float, float], card: tuple[float, float]) -> None:
    x, y = corner
    axes.add_patch(
        PathPatch(
            Curve([(x, y), (x + card[0], y), (x + card[0], y + card[1]), (x, y + card[1]), (x, y)]), fc=_PANEL, lw=0
        )
    )
    axial, coronal, sagittal = picture.planes
    top = y + _GAP_MM
    right = x + card[0] - _GAP_MM
    _draw_plane(axes, sagittal, (right - sagittal.width_mm, top))
    _draw_plane(axes, coronal, (right - sagittal.width_mm - _GAP_MM - coronal.width_mm, top))
    _draw_plane(axes, axial, (x + _GAP_MM, top))
    _write_text(axes, picture, (x + _GAP_MM, top + axial.height_mm + _LINE_MM))


def _draw_plane(axes: Axes, plane: Plane, corner: tuple[float, float]) -> None:
    x, y = corner
    axes.imshow(
        plane.grey,
        cmap="gray",
        vmin=0,
        vmax=255,
        extent=(x, x + plane.width_mm, y + plane.height_mm, y),
        interpolation="bilinear",
        zorder=2,
        aspect="equal",
    )
    for outline in plane.outlines:
        tumour = outline.name == TUMOUR
        colour = colour_of(outline.name)
        axes.add_patch(
            PathPatch(
                _curve(outline, corner),
                facecolor=to_rgba(colour, 0.4 if tumour else 0.2),
                edgecolor=colour,
                linewidth=1.5 if tumour else 0.8,
                zorder=3,
            )
        )


def _curve(outline: Outline, corner: tuple[float, float]) -> Curve:
    """All lines of an outline as one path, so that a hole is cut out of what surrounds it."""
    parts = [Curve(line + np.asarray(corner), closed=True) for line in outline.lines]
    return Curve.make_compound_path(*parts)


def _write_text(axes: Axes, picture: Picture, corner: tuple[float, float]) -> None:
    x, y = corner
    lines = _caption(picture)
    for number, line in enumerate(lines):
        axes.text(x, y + number * _LINE_MM, line, color=_TEXT, fontsize=13, va="center", parse_math=False)
    y += len(lines) * _LINE_MM
    axes.text(x, y, picture.record.case_id, color=_MUTED, fontsize=9, va="center", family="monospace", parse_math=False)
    y += 1.1 * _LINE_MM
    rows = math.ceil(len(picture.families) / _LEGEND_COLUMNS)
    for number, family in enumerate(picture.families):
        column, row = divmod(number, rows)
        left, middle = x + column * _TEXT_MM / _LEGEND_COLUMNS, y + row * _LEGEND_MM
        axes.plot([left + 5], [middle], "s", color=colour_of(family), markersize=7)
        axes.text(left + 16, middle, family.replace("_", " "), color=_MUTED, fontsize=10, va="center")
