"""The form of a body: frame, belly, chest, hips, fat and muscle, given age, sex, height and weight.

Body mass index splits into fat under the skin and fat of the cavity, and the two shape a lying
trunk differently: cavity fat stands out to the front, fat under the skin spreads to the flanks.
Sources of the numbers stand in `docs/phantom.md`; what has none there is chosen.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

__all__ = ["Habitus", "Person", "draw_habitus"]

_LONGEST = 1.10  # T1 stays in the field of view of a torso scan


@dataclass(frozen=True, slots=True)
class Person:
    """What is known of someone before anything is drawn."""

    age_years: float
    female: bool
    height_cm: float
    weight_kg: float

    @property
    def sex(self) -> str:
        """As in prompts and tables."""
        return "female" if self.female else "male"

    @property
    def bmi(self) -> float:
        """Body mass index in kg/m², at most what can be drawn."""
        return min(self.weight_kg / (self.height_cm / 100) ** 2, 52.0)

    @property
    def surface_m2(self) -> float:
        """Body surface (Mosteller 1987)."""
        return float(np.sqrt(self.height_cm * self.weight_kg / 3600))


@dataclass(frozen=True, slots=True)
class Habitus:
    """Form relative to the reference man; fractions unless the name says otherwise.

    Attributes:
        scale_xyz: size of the frame; the reference man has 175 cm.
        belly, flank: growth of the abdomen to the front and to the sides.
        chest_depth, chest_breadth: growth of the chest to the front and to the sides.
        shoulders, hips: growth of shoulders and hips to the sides.
        pelvis: factor on the breadth of the bony pelvis.
        square: added to the power of the superellipses of all sections; flat bodies are squarer.
        fat_mm: subcutaneous fat in front of the abdomen.
        fat_side, fat_back, fat_hip: fat there relative to an even layer.
        bulk: muscle thickness.
        bust_ml: volume of one breast.
    """

    scale_xyz: tuple[float, float, float]
    belly: float
    flank: float
    chest_depth: float
    chest_breadth: float
    shoulders: float
    hips: float
    pelvis: float
    square: float
    fat_mm: float
    fat_side: float
    fat_back: float
    fat_hip: float
    bulk: float
    bust_ml: float


def draw_habitus(person: Person, normal: Mapping[str, float]) -> Habitus:
    """Turn standard normal numbers into the form of a person.

    Args:
        person: age, sex and size.
        normal: the residuals by name, one for each line below that uses one.
    """
    size, visceral, stands = person.bmi - 23.0, normal["fat_split"], normal["belly"]
    female = person.female
    belly = (0.014 if female else 0.019) * size + 0.0018 * (person.age_years - 55)
    belly += (0.04 + 0.003 * max(size, 0.0)) * visceral + 0.10 * stands
    barrel = 0.0016 * max(person.age_years - 50, 0.0)
    return Habitus(
        scale_xyz=_frame(person, normal),
        belly=float(np.clip(belly, -0.24, 0.75)),
        flank=_between(0.008 * size + 0.035 * normal["waist"] - 0.03 * stands - (0.03 if female else 0), -0.14, 0.26),
        chest_depth=_between(0.06 * normal["chest_depth"] + barrel + 0.003 * size, -0.16, 0.24),
        chest_breadth=0.022 * normal["chest_breadth"],
        shoulders=0.03 * normal["shoulders"] - (0.03 if female else 0.0),
        hips=0.03 * normal["hips"] + (0.03 if female else 0.0) + 0.002 * size,
        pelvis=(1.05 if female else 1.0) + 0.025 * normal["pelvis"],
        square=_between(0.16 * normal["square"] - 0.10 * stands, -0.35, 0.5),
        fat_mm=_fat_mm(person) * float(np.exp(-0.26 * visceral)),
        fat_side=float(np.exp(0.22 * normal["fat_side"])) * (0.85 if female else 1.0),
        fat_back=float(np.exp(0.20 * normal["fat_back"])),
        fat_hip=float(np.exp(0.20 * normal["hips"])) * (1.25 if female else 0.95),
        bulk=_bulk(person) * (1 + 0.09 * normal["bulk"]),
        bust_ml=float(np.exp(0.45 * normal["bust"])) * 360 * (person.bmi / 24) ** 1.3 if female else 0.0,
    )


def _between(value: float, low: float, high: float) -> float:
    return float(np.clip(value, low, high))


def _frame(person: Person, normal: Mapping[str, float]) -> tuple[float, float, float]:
    """Size of the frame: sitting height and breadths of adults grow slower than stature."""
    size = person.bmi - 23.0
    frame = (person.height_cm / 175.0) ** 0.55 * (0.95 if person.female else 1.0)
    long = (person.height_cm / 175.0) ** 0.68 * (1 + 0.025 * normal["length"]) * (0.985 if person.female else 1.0)
    return (
        frame * (1 + 0.035 * normal["width"] + 0.003 * size),
        frame * (1 + 0.045 * normal["depth"] + 0.002 * size),
        min(long, _LONGEST),
    )


def _fat_mm(person: Person) -> float:
    """Subcutaneous fat at the umbilicus: near 15 mm (men) and 22 mm (women) at BMI 25, more above."""
    slope, level = (1.15, 22.0) if person.female else (0.9, 15.0)
    return float(np.clip(slope * (person.bmi - 25) + level, 4.0, 48.0))


def _bulk(person: Person) -> float:
    """Muscle relative to a man of 40: less in women, minus 0.6 % a year after 45, more with weight."""
    years = 1 - 0.006 * max(person.age_years - 45, 0)
    return (0.86 if person.female else 1.0) * years * (1 + 0.006 * min(max(person.bmi - 24, -8), 14))
