"""How often anatomical variants are met, by age and sex, and what each does to the organs.

Sources stand in `docs/variants.md`; a rate without one there is chosen.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

__all__ = ["RATES", "Rate", "cyst_rate", "liver_cyst_rate"]

Chance = Callable[[float, bool], float]


@dataclass(frozen=True, slots=True)
class Rate:
    """One variant.

    Attributes:
        chance: probability by age in years and whether female.
        organs: what it concerns; it is not drawn where the prompt names one of them as absent or enlarged.
        removes: what is missing in it; not drawn where a tumour is asked there.
        factors: smallest and largest factor on volumes.
        traits: amounts added to traits of shape.
        enlarges: structures that count as enlarged.
    """

    chance: Chance
    organs: tuple[str, ...]
    removes: tuple[str, ...] = ()
    factors: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    traits: Mapping[str, float] = field(default_factory=dict)
    enlarges: tuple[str, ...] = ()


def _always(chance: float) -> Chance:
    return lambda _age, _female: chance


def _ramp(age: float, start: int, stop: int) -> float:
    """From 0 at one age to 1 at another."""
    return min(max((age - start) / (stop - start), 0.0), 1.0)


def cyst_rate(age: float, female: bool) -> float:
    """Probability of at least one renal cyst (Mensel et al., Abdom Radiol 2018, whole-body MRI)."""
    low, high = (0.07, 0.43) if female else (0.14, 0.55)
    return low + (high - low) * _ramp(age, 25, 75)


def liver_cyst_rate(age: float) -> float:
    """Probability of at least one simple hepatic cyst (18 % of adults in Carrim and Murchison, Clin Radiol 2003)."""
    return 0.04 + 0.24 * _ramp(age, 25, 85)


_KIDNEYS = ("kidney_left", "kidney_right")

RATES: Mapping[str, Rate] = {
    "cholecystectomy": Rate(
        lambda age, female: 0.01 + (0.16 if female else 0.08) * _ramp(age, 20, 75), ("gallbladder",), ("gallbladder",)
    ),
    "hysterectomy": Rate(
        lambda age, female: (0.01 + 0.40 * _ramp(age, 30, 78)) if female else 0.0, ("uterus",), ("uterus",)
    ),
    "splenectomy": Rate(_always(0.005), ("spleen",), ("spleen",)),
    "nephrectomy_left": Rate(_always(0.005), _KIDNEYS, ("kidney_left",), {"kidney_right": (1.2, 1.5)}),
    "nephrectomy_right": Rate(_always(0.005), _KIDNEYS, ("kidney_right",), {"kidney_left": (1.2, 1.5)}),
    "renal_agenesis_left": Rate(_always(0.0003), _KIDNEYS, ("kidney_left",), {"kidney_right": (1.5, 1.8)}),
    "renal_agenesis_right": Rate(_always(0.0002), _KIDNEYS, ("kidney_right",), {"kidney_left": (1.5, 1.8)}),
    "horseshoe_kidney": Rate(_always(0.0022), _KIDNEYS),
    "malrotated_kidney_left": Rate(_always(0.003), _KIDNEYS),
    "malrotated_kidney_right": Rate(_always(0.003), _KIDNEYS),
    "ptotic_kidney_left": Rate(lambda _age, female: 0.01 if female else 0.003, _KIDNEYS),
    "ptotic_kidney_right": Rate(lambda _age, female: 0.03 if female else 0.01, _KIDNEYS),
    "splenomegaly": Rate(_always(0.03), ("spleen",), (), {"spleen": (1.8, 3.2)}, {}, ("spleen",)),
    "hepatomegaly": Rate(_always(0.04), ("liver",), (), {"liver": (1.3, 1.6)}, {}, ("liver",)),
    "riedel_lobe": Rate(lambda _age, female: 0.07 if female else 0.03, ("liver",)),
    "long_left_lobe": Rate(_always(0.06), ("liver",), (), {}, {"liver_left": 1.6, "liver_thin": -0.8}),
    "accessory_spleen": Rate(_always(0.13), ("spleen",)),
    "distended_stomach": Rate(_always(0.10), ("stomach",), (), {"stomach": (1.6, 2.2)}),
    "collapsed_stomach": Rate(_always(0.25), ("stomach",), (), {"stomach": (0.2, 0.5)}),
    "raised_transverse_colon": Rate(_always(0.15), ("stomach", "colon_transverse")),
    "full_bladder": Rate(_always(0.10), ("urinary_bladder",), (), {"urinary_bladder": (1.7, 2.6)}),
    "empty_bladder": Rate(_always(0.12), ("urinary_bladder",), (), {"urinary_bladder": (0.12, 0.4)}),
    "contracted_gallbladder": Rate(_always(0.08), ("gallbladder",), (), {"gallbladder": (0.2, 0.45)}),
    "distended_gallbladder": Rate(_always(0.03), ("gallbladder",), (), {"gallbladder": (1.8, 3.0)}),
    "gallstones": Rate(
        lambda age, female: (0.09 if female else 0.05) * _ramp(age, 20, 75), ("gallbladder",)
    ),
    "kidney_stones": Rate(_always(0.078), _KIDNEYS),
    "right_hemicolectomy": Rate(
        lambda age, _female: 0.015 * _ramp(age, 35, 75), ("colon_ascending", "colon_transverse"), ("colon_ascending",),
        {"colon_transverse": (0.55, 0.75)},
    ),
    "sigmoid_resection": Rate(
        lambda age, _female: 0.015 * _ramp(age, 35, 75), ("colon_sigmoid",), ("colon_sigmoid",),
        {"colon_descending": (1.0, 1.3)},
    ),
    "right_hepatectomy": Rate(
        lambda age, _female: 0.004 * _ramp(age, 30, 60), ("liver", "gallbladder"), ("gallbladder",), {"liver": (0.6, 0.85)},
        {"liver_left": 1.0, "liver_thin": -1.0},
    ),
    "left_lateral_hepatectomy": Rate(
        lambda age, _female: 0.004 * _ramp(age, 30, 60), ("liver",), (), {"liver": (0.75, 0.95)},
    ),
    "redundant_transverse_colon": Rate(
        _always(0.05), ("colon_transverse",), (), {"colon_transverse": (1.1, 1.4)}, {"transverse_drop": 1.6}
    ),
    "redundant_sigmoid_colon": Rate(
        lambda age, _female: 0.03 + 0.07 * _ramp(age, 40, 80), ("colon_sigmoid",), (), {"colon_sigmoid": (1.2, 1.6)},
        {"sigmoid_high": 1.7, "sigmoid_side": 0.5},
    ),
}  # fmt: skip
"""Variants in the order in which they are drawn; at most one of those that change the same organ's place."""
