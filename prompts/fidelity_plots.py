"""Plots of the fidelity report: marginals overlaid, and pairwise associations side by side (PNG bytes)."""

import io
from collections import Counter
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure

from prompts.fidelity import NUMBERS, Comparison, Fidelity, Reference, column_values
from prompts.schema import Prompt

__all__ = ["plot_associations", "plot_marginals"]

_REFERENCE, _SAMPLES = "#9aa5b1", ("#0b6e99", "#d1495b", "#e3a018")
_INK, _GRID = "#22303c", "#e4e8ec"
_UNITS = {"age_years": "age, years", "height_cm": "height, cm", "weight_kg": "weight, kg", "size_mm": "tumour size, mm"}
_MOST_LEVELS, _DPI = 12, 130


def plot_marginals(reference: Reference, tables: Sequence[tuple[str, Sequence[Prompt]]]) -> bytes:
    """Draw each column that varies: the reference filled, the others over it."""
    names = [name for name in reference.varied if not name.endswith(" stated")] or ["sex"]
    columns = min(3, len(names))
    rows = -(-len(names) // columns)
    figure = Figure(figsize=(4.6 * columns, 3.1 * rows + 0.6), layout="constrained")
    every = [("reference", reference.prompts), *tables]
    for place, name in enumerate(names):
        axes = figure.add_subplot(rows, columns, place + 1)
        values = [column_values(prompts, name) for _, prompts in every]
        (_numbers if name in NUMBERS else _levels)(axes, name, values)
        _plain(axes)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    titles = [f"{name} ({len(prompts)})" for name, prompts in every]
    figure.legend(handles, titles[: len(labels)], loc="outside upper left", ncols=len(every), frameon=False)
    return _png(figure)


def _numbers(axes: Axes, name: str, values: Sequence[Sequence[object]]) -> None:
    stated = [np.array([float(str(value)) for value in column if value is not None]) for column in values]
    whole = np.concatenate(stated)
    edges = np.linspace(whole.min(), whole.max() + 1e-9, 25).tolist()
    axes.hist(stated[0], bins=edges, density=True, color=_REFERENCE, alpha=0.55, label="reference")
    for colour, column in zip(_SAMPLES, stated[1:], strict=False):
        if len(column):
            axes.hist(column, bins=edges, density=True, histtype="step", linewidth=1.8, color=colour, label="table")
    missing = [np.mean([value is None for value in column]) for column in values]
    note = f" · unstated {' / '.join(f'{share:.0%}' for share in missing)}" if any(missing) else ""
    axes.set_title(f"{_UNITS[name]}{note}", loc="left", fontsize=10, color=_INK)
    axes.set_yticks([])


def _levels(axes: Axes, name: str, values: Sequence[Sequence[object]]) -> None:
    counts = [Counter(str(value) for value in column) for column in values]
    shown = [level for level, _ in counts[0].most_common(_MOST_LEVELS)]
    height = 0.8 / len(values)
    for number, (count, column) in enumerate(zip(counts, values, strict=True)):
        colour = _REFERENCE if number == 0 else _SAMPLES[(number - 1) % len(_SAMPLES)]
        shares = [count[level] / len(column) for level in shown]
        places = np.arange(len(shown)) + height * (number - (len(values) - 1) / 2)
        axes.barh(places, shares, height=height * 0.9, color=colour, label="table", alpha=0.55 if number == 0 else 1.0)
    axes.set_yticks(np.arange(len(shown)), [level.replace("_", " ") for level in shown], fontsize=8)
    axes.invert_yaxis()
    axes.xaxis.set_major_formatter(lambda share, _: f"{share:.0%}")
    hidden = len(counts[0]) - len(shown)
    more = f" · {hidden} more" if hidden > 0 else ""
    axes.set_title(name.replace("_", " ") + more, loc="left", fontsize=10, color=_INK)


def _plain(axes: Axes) -> None:
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(_REFERENCE)
    axes.tick_params(length=0, colors=_INK, labelsize=8)
    axes.grid(axis="x", color=_GRID, linewidth=0.8)
    axes.set_axisbelow(True)


def plot_associations(reference: Reference, comparison: Comparison) -> bytes:
    """Draw the pairwise associations of the reference, of the table, and their difference."""
    names = list(reference.varied)
    known, found = _matrix(names, reference.itself()), _matrix(names, comparison.sampled)
    size = max(2.8, 0.36 * len(names) + 1.0)
    figure = Figure(figsize=(3 * size + 2.4, size + 1.4), layout="constrained")
    first, second, third = figure.subplots(1, 3)
    strength = ("GnBu", 0.0, 1.0)
    image = _heat(first, np.abs(known), names, strength)
    _heat(second, np.abs(found), names, strength)
    gap = _heat(third, found - known, names, ("RdBu_r", -0.3, 0.3))
    for axes, title in zip((first, second, third), ("reference", comparison.name, "difference"), strict=True):
        axes.set_title(title, loc="left", fontsize=11, color=_INK)
    second.set_yticks([])
    third.set_yticks([])
    for shown, beside, label in (
        (image, (first, second), "strength of association"),
        (gap, (third,), "weaker · stronger than the reference"),
    ):
        bar = figure.colorbar(shown, ax=beside, shrink=0.75, pad=0.02, aspect=25)
        bar.set_label(label, fontsize=8, color=_INK)
        bar.ax.tick_params(labelsize=7, length=0, colors=_INK)
        bar.outline.set_visible(False)
    return _png(figure)


def _matrix(names: Sequence[str], figures: Fidelity) -> Float[np.ndarray, "k k"]:
    matrix = np.full((len(names), len(names)), np.nan)
    for (one, other), value in figures.association.items():
        i, j = names.index(one), names.index(other)
        matrix[max(i, j), min(i, j)] = value
    return matrix


def _heat(
    axes: Axes, matrix: Float[np.ndarray, "k k"], names: Sequence[str], scale: tuple[str, float, float]
) -> ScalarMappable:
    colours, low, high = scale
    matrix = matrix[1:, :-1]  # below the diagonal: the first has no row, the last no column
    image = axes.imshow(matrix, cmap=colours, vmin=low, vmax=high)
    labels = [name.replace("_", " ") for name in names]
    axes.set_xticks(np.arange(len(names) - 1), labels[:-1], rotation=35, ha="right", rotation_mode="anchor", fontsize=8)
    axes.set_yticks(np.arange(len(names) - 1), labels[1:], fontsize=8)
    axes.tick_params(length=0, colors=_INK)
    for spine in axes.spines.values():
        spine.set_visible(False)
    if len(names) <= _MOST_LEVELS:
        for (row, column), value in np.ndenumerate(matrix):
            if np.isfinite(value):
                dark = abs(value) > 0.6 * high
                axes.text(
                    column, row, f"{value:.2f}", ha="center", va="center", fontsize=7, color="w" if dark else _INK
                )
    return image


def _png(figure: Figure) -> bytes:
    stream = io.BytesIO()
    FigureCanvasAgg(figure)
    figure.savefig(stream, format="png", dpi=_DPI, facecolor="white")
    return stream.getvalue()
