"""The learning curve: mean DSC over the number of synthetic cases, drawn from the tidy table alone."""

from pathlib import Path

from downstream.comparisons import ALL, ArmMean, arm_means, with_all
from downstream.ledger import writing
from downstream.results import Results
from downstream.usability.arms import KINDS, REAL
from manifests.durable import temporary_beside

__all__ = ["curves", "draw_curve"]

_SEED = 20261128
_COLOURS = dict(zip(KINDS, ("#444444", "#0072b2", "#d55e00"), strict=True))  # told apart by colour-blind eyes


def curves(scores: Results, metric: str = "dice") -> dict[str, list[tuple[int, ArmMean]]]:
    """Means over all labels by kind of arm and number of synthetic cases; mixed cases start at real ones alone."""
    whole = with_all(Results(row for row in scores if row.metric == metric), (metric,))
    found: dict[str, list[tuple[int, ArmMean]]] = {}
    for one in arm_means(whole, ALL, metric, seed=_SEED):
        kind, _, size = one.arm.partition(":")
        found.setdefault(kind, []).append((int(size or 0), one))
    if "real+synthetic" in found:
        found["real+synthetic"] += found.get(REAL, [])
    return {kind: sorted(points, key=lambda point: point[0]) for kind, points in found.items()}


def draw_curve(scores: Results, path: Path, title: str) -> Path:
    """Draw the curve as PNG or SVG by the name: lines with 95 % intervals over cases; real cases alone as a dashed line."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    for kind, points in curves(scores).items():
        sizes = [size for size, _ in points]
        means, lows, highs = ([getattr(one.interval, name) for _, one in points] for name in ("mean", "low", "high"))
        colour = _COLOURS.get(kind, "#009e73")
        if kind == REAL:
            axes.axhline(means[0], color=colour, linestyle="dashed", label="real alone")
            continue
        axes.plot(sizes, means, marker="o", color=colour, label=kind)
        axes.fill_between(sizes, lows, highs, color=colour, alpha=0.15, linewidth=0)
    axes.set(xlabel="synthetic cases", ylabel="DSC, mean over labels and test cases", title=title)
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    with writing(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary_beside(path) as partial:
            figure.savefig(partial, format=path.suffix[1:], dpi=150)
            partial.replace(path)
    return path
