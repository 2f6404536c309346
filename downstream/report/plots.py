"""Plots as numbers: where the template puts bars and points."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from downstream.report.agreement import Pair
from manifests.case import Attributes, CaseRecord

__all__ = ["Bar", "Bars", "Point", "Scatter", "bars", "scatter"]

_EDGE = 260  # length of an axis of the scatter plot, in its own units
_POINTS_SHOWN = 1500
_TICKS = (5.0, 10.0, 20.0, 50.0, 100.0, 200.0)
_BARS_SHOWN = 12


@dataclass(frozen=True, slots=True)
class Point:
    """A pair on the plot, with the words that say what it is."""

    x: float
    y: float
    stated: bool
    title: str


@dataclass(frozen=True, slots=True)
class Scatter:
    """Measured over requested size on logarithmic axes of equal length.

    Attributes:
        points: at most 1500, evenly chosen.
        ticks: position and label.
        pairs: of all.
        bias_mm, p95_mm: mean of measured minus requested, and the 95th percentile of its amount.
    """

    points: tuple[Point, ...]
    ticks: tuple[tuple[float, str], ...]
    edge: int
    pairs: int
    bias_mm: float
    p95_mm: float


@dataclass(frozen=True, slots=True)
class Bar:
    """One value of an attribute: cases that request it, or draw it where the prompt is silent, and that show it."""

    name: str
    asked: int
    measured: int
    asked_length: float
    measured_length: float


@dataclass(frozen=True, slots=True)
class Bars:
    """One attribute; `measurable` if images can show it at all."""

    attribute: str
    bars: tuple[Bar, ...]
    measurable: bool


def scatter(pairs: Sequence[Pair]) -> Scatter:
    """Place at least one pair of sizes."""
    asked, measured = (np.array([getattr(pair, name) for pair in pairs]) for name in ("asked_mm", "measured_mm"))
    low, high = 0.85 * min(asked.min(), measured.min()), 1.15 * max(asked.max(), measured.max())

    def place(value: float) -> float:
        return round(_EDGE * float(np.log(value / low) / np.log(high / low)), 1)

    shown = [pairs[number] for number in np.unique(np.linspace(0, len(pairs) - 1, _POINTS_SHOWN).round().astype(int))]
    points = (
        Point(
            place(pair.asked_mm),
            round(_EDGE - place(pair.measured_mm), 1),
            pair.stated,
            f"{pair.asked_mm:.0f} mm requested, {pair.measured_mm:.0f} mm measured: {pair.label}",
        )
        for pair in shown
    )
    ticks = tuple((place(tick), f"{tick:g}") for tick in _TICKS if low <= tick <= high)
    error = measured - asked
    return Scatter(
        tuple(points),
        ticks,
        _EDGE,
        len(pairs),
        round(float(error.mean()), 1) + 0.0,
        float(np.quantile(np.abs(error), 0.95)),
    )


_READ: dict[str, Callable[[Attributes], list[str | None]]] = {
    "contrast phase": lambda of: [of.contrast_phase],
    "tumour organ": lambda of: list(dict.fromkeys(tumour.organ for tumour in of.tumours)) or ["none"],
    "region": lambda of: [of.region],
    "sex": lambda of: [of.sex],
    "age": lambda of: [_decade(of.age_years)] if of.age_years is not None else [],
}


def _decade(years: float) -> str:
    start = int(years // 10) * 10
    return f"{start}\u2013{start + 9}"


def bars(records: Iterable[CaseRecord]) -> list[Bars]:
    """Count the values of the attributes of delivered cases, as requested (drawn where silent) and as measured."""
    cases = list(records)
    return [found for name, read in _READ.items() if (found := _bars(name, read, cases)).bars]


def _bars(name: str, read: Callable[[Attributes], list[str | None]], cases: Sequence[CaseRecord]) -> Bars:
    asked: Counter[str] = Counter()
    measured: Counter[str] = Counter()
    for case in cases:
        wanted = read(case.requested) if read(case.requested) not in ([], [None], ["none"]) else read(case.drawn)
        asked.update(value for value in wanted if value)
        measured.update(value for value in read(case.measured) if value)
    measurable = name != "age"
    values = asked.keys() | (measured.keys() if measurable else set())
    longest = max((asked | measured).values(), default=1)
    ordered = sorted(values) if name == "age" else sorted(values, key=lambda value: (-asked[value], value))
    return Bars(
        name,
        tuple(
            Bar(value, asked[value], measured[value], *(round(100 * n[value] / longest, 1) for n in (asked, measured)))
            for value in ordered[:_BARS_SHOWN]
        ),
        measurable,
    )
