"""The best and the worst predicted scan as overlays: in each plane the best and the worst slice, reference against prediction.

Solid lines are the prediction, dashed ones the reference, one colour for each label. Slices hang as radiologists hang them.
"""

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64, Int16, UInt8

from downstream.ledger import writing
from downstream.report.colours import colour_of
from downstream.report.grey import windowed
from downstream.transfer_scores import REAL, load_pair
from downstream.transfer_tables import TransferResult
from manifests.dataset import Dataset
from manifests.durable import temporary_beside
from manifests.schemes import Scheme, scheme

__all__ = ["draw_best_and_worst", "slice_dice"]

_PLANES = ("axial", "coronal", "sagittal")
_SHARE = 0.3  # of the area of the fullest slice, that a slice needs to be chosen


def draw_best_and_worst(result: TransferResult) -> list[Path]:
    """Draw the scan with the highest and the one with the lowest mean DSC into `figures`.

    Returns:
        The pictures; one for a single scan.
    """
    means = {case: _case_mean(result, case) for case in dict.fromkeys(r.case_id for r in result.scores.where(arm=REAL))}
    ranked = sorted(means, key=lambda case: means[case])
    chosen = {"worst": ranked[0], "best": ranked[-1]} if len(ranked) > 1 else {"best": ranked[0]}
    dataset = Dataset.open(result.facts["targets"][REAL]["dataset"])
    wanted = scheme(result.facts["options"]["scheme"])
    pictures = []
    for kind, case in chosen.items():
        path = result.out / "figures" / f"{kind}-{case}.png"
        arrays, predicted, reference = load_pair(result.out, dataset, REAL, case, wanted)
        scored = {row.structure for row in result.scores.where(arm=REAL) if row.case_id == case}
        values = [value for name, value in wanted.labels.items() if name in scored]
        title = f"{case}: mean DSC {means[case]:.3f} over {len(scored)} labels"
        shown = (np.isin(np.arange(256), values) * np.arange(256)).astype(np.uint8)
        layers = arrays.ct, shown[predicted], shown[reference]
        _draw(path, title, layers, arrays.grid.spacing_mm_zyx, wanted)
        pictures.append(path)
    return pictures


def slice_dice(
    predicted: UInt8[np.ndarray, "z y x"], reference: UInt8[np.ndarray, "z y x"], axis: int
) -> Float64[np.ndarray, " n"]:
    """DSC of each slice along an axis, over all labels together; NaN where the reference is small."""
    others = tuple(one for one in range(3) if one != axis)
    same = ((predicted == reference) & (reference > 0)).sum(axis=others)
    area = (reference > 0).sum(axis=others)
    size = area + (predicted > 0).sum(axis=others)
    full = area > _SHARE * area.max(initial=0)
    return np.where(full, 2 * same / np.maximum(size, 1), np.nan)


def _case_mean(result: TransferResult, case: str) -> float:
    values = [row.value for row in result.scores.where(arm=REAL, metric="dice") if row.case_id == case]
    return float(np.mean(values))


def _draw(
    path: Path,
    title: str,
    layers: tuple[Int16[np.ndarray, "z y x"], UInt8[np.ndarray, "z y x"], UInt8[np.ndarray, "z y x"]],
    spacing: tuple[float, float, float],
    wanted: Scheme,
) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(15, 11), facecolor="black")
    panels = figure.subplots(2, 3)
    for axis, plane in enumerate(_PLANES):
        scores = slice_dice(layers[1], layers[2], axis)
        for row, (kind, index) in enumerate((("worst", np.nanargmin(scores)), ("best", np.nanargmax(scores)))):
            cuts = [np.take(layer, int(index), axis) for layer in layers]
            _panel(panels[row, axis], cuts, tuple(np.delete(spacing, axis)), axis > 0, wanted)
            panels[row, axis].set_title(f"{kind} {plane}, DSC {scores[index]:.2f}", color="white", fontsize=10)
    figure.suptitle(f"{title}; solid: prediction, dashed: reference", color="white")
    figure.tight_layout()
    with writing(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary_beside(path) as partial:
            figure.savefig(partial, format="png")
            partial.replace(path)


def _panel(panel: Any, cuts: list[Any], spacing: tuple[float, ...], upside_down: bool, wanted: Scheme) -> None:
    ct, predicted, reference = cuts
    panel.imshow(windowed(ct), cmap="gray", vmin=0, vmax=255, aspect=spacing[0] / spacing[1])
    for mask, style in ((reference, "dashed"), (predicted, "solid")):
        for name, value in wanted.labels.items():
            if value and (inside := mask == value).any() and not inside.all():
                panel.contour(inside, levels=[0.5], colors=[colour_of(name)], linewidths=0.9, linestyles=style)
    if upside_down:
        panel.invert_yaxis()
    panel.set_axis_off()
