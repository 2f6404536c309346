"""How a body lies in the scanner: curves of the spine, turn, place on the table, breath, arms."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from factory.engines.phantom.habitus import Person

__all__ = ["Posture", "draw_posture"]

_TURN_SD_DEG = (0.8, 1.2, 2.2)
_OFFSET_SD_MM = (5.0, 4.0)
_BREATH_MEAN_MM, _BREATH_SD_MM, _BREATH_MOST_MM = 4.0, 11.0, 26.0
_SCOLIOSIS_RATE, _KYPHOSIS_RATE, _ARMS_RATE = 0.03, 0.03, 0.07


@dataclass(frozen=True, slots=True)
class Posture:
    """Pose of one body; lengths in mm.

    Attributes:
        turn_deg: rotation about x (nod), y (lean to a side) and z (roll on the table).
        offset_mm: displacement (x, y) of the whole body in the field of view.
        breath_mm: how far the domes of the diaphragm stand below those of the reference; positive = breathed in.
        kyphosis_mm, lordosis_mm: how far the chest bends back and the loins bend to the front.
        scoliosis_mm: how far the spine bends to the left in the chest and in the loins.
        arms_down: whether the left and the right arm lie beside the trunk.
    """

    turn_deg: tuple[float, float, float]
    offset_mm: tuple[float, float]
    breath_mm: float
    kyphosis_mm: float
    lordosis_mm: float
    scoliosis_mm: tuple[float, float]
    arms_down: tuple[bool, bool]

    @property
    def rotation(self) -> Float64[np.ndarray, "3 3"]:
        """Matrix that turns columns (x, y, z) of the body into the world."""
        a, b, c = np.radians(self.turn_deg)
        nod = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
        lean = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
        roll = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
        return np.asarray(roll @ nod @ lean)


def draw_posture(person: Person, normal: Mapping[str, float], rng: np.random.Generator) -> Posture:
    """Draw a pose; the number of draws is fixed.

    Marked scoliosis and hyperkyphosis are rare events on top of the common small residuals.

    Args:
        person: age and size; the obese breathe in less, the old bend more.
        normal: residuals shared with other parts of the body.
        rng: source of the rest.
    """
    turns, offsets = rng.standard_normal(3).clip(-2.2, 2.2), rng.standard_normal(2).clip(-2, 2)
    chance, amount, side = rng.random(4), rng.random(2), rng.standard_normal(2)
    marked = (6 + 10 * amount[0]) * np.sign(side[0]) * (chance[0] < _SCOLIOSIS_RATE * (1.5 if person.female else 0.7))
    stoop = 0.18 * max(person.age_years - 55, 0) + (8 + 10 * amount[1]) * (chance[1] < _KYPHOSIS_RATE)
    breath = _BREATH_MEAN_MM + _BREATH_SD_MM * normal["breath"] - 0.5 * (person.bmi - 25)
    both, one = chance[2] < _ARMS_RATE, chance[3]
    chest = 2.5 * normal["scoliosis"] + marked
    return Posture(
        turn_deg=(*(float(s * t) for s, t in zip(_TURN_SD_DEG, turns, strict=True)),),  # type: ignore[arg-type]
        offset_mm=(_OFFSET_SD_MM[0] * float(offsets[0]), _OFFSET_SD_MM[1] * float(offsets[1])),
        breath_mm=float(np.clip(breath, -_BREATH_MOST_MM, _BREATH_MOST_MM)),
        kyphosis_mm=float(np.clip(4.5 * normal["kyphosis"] + stoop, -9.0, 26.0)),
        lordosis_mm=4.5 * normal["lordosis"],
        scoliosis_mm=(float(chest), float(-0.6 * chest + 2.0 * side[1])),
        arms_down=(bool(both and one < 0.85), bool(both and one > 0.15)),
    )
