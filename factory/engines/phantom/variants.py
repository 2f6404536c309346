"""Anatomical variants and the shapes of abdominal organs and discs: what makes two people of equal size differ.

`draw_variants` draws from a generator of its own, so that the body and its variants do not
disturb each other. Rates, spreads and their sources stand in `docs/variants.md`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from factory.engines.phantom.rates import RATES, Rate, cyst_rate, liver_cyst_rate
from manifests.anatomy import group
from prompts.schema import Prompt

__all__ = ["Variants", "draw_variants"]

_TRAITS = (
    "liver_left", "liver_thin", "liver_tilt", "liver_front", "liver_low", "liver_fissure", "caudate", "gall_site",
    "gall_front", "gall_low", "spleen_long", "spleen_thick", "spleen_wide", "spleen_hollow", "spleen_yaw",
    "spleen_pitch", "spleen_roll", "spleen_bulge", "kidney_long_left", "kidney_long_right", "kidney_thick_left",
    "kidney_thick_right", "kidney_yaw_left", "kidney_yaw_right", "kidney_roll_left", "kidney_roll_right",
    "kidney_pitch_left", "kidney_pitch_right", "sinus_left", "sinus_right", "lobulation", "kidney_out_left",
    "kidney_out_right", "stomach_drop", "stomach_side", "stomach_front", "stomach_cascade", "stomach_antrum",
    "stomach_fundus", "stomach_shape", "pylorus_side", "pylorus_height", "pancreas_head", "head_side",
    "pancreas_rise", "pancreas_arch", "pancreas_tail", "pancreas_wave", "pancreas_depth", "pancreas_taper",
    "pancreas_tip", "duodenum_low", "duodenum_wide", "duodenum_third", "bladder_tall", "bladder_wide",
    "bladder_side", "uterus_side", "uterus_tip", "uterus_wide", "prostate_tall", "caecum", "hepatic_flexure",
    "splenic_flexure", "transverse_drop", "transverse_wave", "descending", "ascending_side", "sigmoid_high", "sigmoid_side",
    "sigmoid_depth", "haustra", "mesentery", "aorta_side", "aorta_front", "aorta_low",
)  # fmt: skip
_SPINE = ("discs", *sorted(f"disc_{entry.name.removeprefix('vertebrae_')}" for entry in group("vertebrae")))
_WAVED = ("liver", "spleen", "kidney_left", "kidney_right", "stomach", "pancreas", "gallbladder", "urinary_bladder",
          "uterus", "prostate")  # fmt: skip
Cyst = tuple[str, tuple[float, float, float], float]
LiverCyst = tuple[float, float, float]
_MOST_CYSTS, _MOST_LIVER_CYSTS = 4, 6
_OBSTRUCTED_FROM_MM, _OBSTRUCTED_RATE, _DILATION = 30.0, 0.16, (1.5, 2.4)
"""Smallest colonic tumour that obstructs, how often (8 to 29 % in Deans et al., Br J Surg 1994), growth upstream."""
_COURSE = ("colon_ascending", "colon_transverse", "colon_descending", "colon_sigmoid", "rectum")
_ALONE = ("horseshoe", "malrotated", "ptotic", "nephrectomy", "renal_agenesis")
_OPPOSED = (("full_", "empty_"), ("distended_", "collapsed_"), ("distended_", "contracted_"), ("distended_", "raised_"))


@dataclass(frozen=True, slots=True)
class Variants:
    """What is particular about one trunk; the default is the mean shape without any variant.

    Attributes:
        traits: numbers of mean 0 and standard deviation 1 by name (more at a wider dial): the shape of organs.
        waves: phases in radians by organ, of the slow waves that bend its shape.
        widen: factor on the size of these waves.
        present: names of the variants of this body.
        removed: structures that it lacks because of them.
        enlarged: structures that are enlarged because of them.
        factors: factors on target volumes, by structure.
        cysts: renal cysts: side, direction from the middle of the kidney, radius in mm.
        liver_cysts: hepatic cysts: place in the liver as two numbers from 0 to 1, radius in mm.
        spleens: accessory spleens: place between hilum and lower pole, radius in mm.
    """

    traits: Mapping[str, float] = field(default_factory=dict)
    waves: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    widen: float = 1.0
    present: frozenset[str] = frozenset()
    removed: frozenset[str] = frozenset()
    enlarged: frozenset[str] = frozenset()
    factors: Mapping[str, float] = field(default_factory=dict)
    cysts: tuple[Cyst, ...] = ()
    liver_cysts: tuple[LiverCyst, ...] = ()
    spleens: tuple[tuple[float, float], ...] = ()

    def trait(self, name: str) -> float:
        """One number of the shape; 0 is the mean."""
        return self.traits.get(name, 0.0)

    def wave(self, name: str) -> tuple[float, ...]:
        """Phases of the waves of one organ; empty where its shape is not bent."""
        return self.waves.get(name, ())


def draw_variants(subject: Prompt, rng: np.random.Generator, widen: float = 0.0) -> Variants:
    """Draw the shapes and variants of one trunk; the number of draws is fixed.

    Args:
        subject: what was asked; no variant contradicts it.
        rng: source of all of it.
        widen: 0 to 1; 1 widens the spread of shapes by half.
    """
    wide = 1 + 0.5 * widen
    traits = _traits(_TRAITS, rng, wide)
    phases = rng.uniform(0, 2 * np.pi, (len(_WAVED), 3))
    chances, amounts = rng.random(len(RATES)), rng.random(len(RATES))
    present = _present(subject, chances.tolist())
    factors: dict[str, float] = {}
    for (name, rate), amount in zip(RATES.items(), amounts.tolist(), strict=True):
        if name in present:
            factors |= {organ: low + (high - low) * amount for organ, (low, high) in rate.factors.items()}
            traits |= {trait: traits[trait] + shift for trait, shift in rate.traits.items()}
    removed = frozenset(organ for name in present for organ in RATES[name].removes)
    cysts, spleens = _cysts(subject, rng, removed), _spleens(rng)
    upstream = _obstructed(subject, rng)
    if upstream:
        factors = {**upstream, **{organ: factor * upstream.get(organ, 1.0) for organ, factor in factors.items()}}
    liver_cysts = _liver_cysts(subject, rng)
    return Variants(
        traits=traits | _traits(_SPINE, rng, wide),
        waves={name: tuple(row) for name, row in zip(_WAVED, phases.tolist(), strict=True)},
        widen=wide,
        present=present | {"obstructed_colon"} if upstream else present,
        removed=removed,
        enlarged=frozenset(organ for name in present for organ in RATES[name].enlarges),
        factors=factors,
        cysts=cysts,
        liver_cysts=liver_cysts,
        spleens=spleens if "accessory_spleen" in present else (),
    )


def _traits(names: tuple[str, ...], rng: np.random.Generator, wide: float) -> dict[str, float]:
    """Draw a number for each trait."""
    normal = np.clip(rng.standard_normal(len(names)), -2.2, 2.2) * wide
    return dict(zip(names, normal.tolist(), strict=True))


def _present(subject: Prompt, chances: list[float]) -> frozenset[str]:
    """Variants whose chance comes up, less those that the prompt or another variant excludes."""
    age, female = float(subject.patient.age_years or 55), subject.patient.sex == "female"
    named = {entry.name for name in (*subject.absent_organs, *subject.enlarged_organs) for entry in group(name)}
    hosts = {entry.name for tumour in subject.tumours for entry in group(tumour.organ)}
    found: list[str] = []
    for (name, rate), chance in zip(RATES.items(), chances, strict=True):
        possible = not (named & {*rate.organs} or hosts & {*rate.removes})
        if chance < rate.chance(age, female) and possible and not any(_clash(name, rate, other) for other in found):
            found.append(name)
    return frozenset(found)


def _clash(name: str, rate: Rate, other: str) -> bool:
    """Whether a variant cannot be beside one that was drawn before it."""
    if name.startswith(_ALONE) and other.startswith(_ALONE):
        return True
    if {*rate.organs} & {*RATES[other].removes}:
        return True
    same = bool({*rate.organs} & {*RATES[other].organs})
    return same and any(name.startswith(b) and other.startswith(a) for a, b in _OPPOSED)


def _cysts(subject: Prompt, rng: np.random.Generator, removed: frozenset[str]) -> tuple[Cyst, ...]:
    """Renal cysts: more often, more and larger with age and in men."""
    age, female = float(subject.patient.age_years or 55), subject.patient.sex == "female"
    some, more = rng.random(2)
    sides, sizes = rng.random(_MOST_CYSTS), rng.standard_normal(_MOST_CYSTS)
    ways = rng.standard_normal((_MOST_CYSTS, 3))
    count = 0 if some > cyst_rate(age, female) else min(1 + int(-0.75 * np.log(more)), _MOST_CYSTS)
    gone = {*removed, *(entry.name for name in subject.absent_organs for entry in group(name))}
    found = []
    for side, size, way in zip(sides[:count], sizes, ways, strict=False):
        name = "left" if side < 0.5 else "right"
        if f"kidney_{name}" not in gone:
            x, y, z = (way / np.linalg.norm(way)).tolist()
            radius = float(np.clip((5.5 if female else 7.0) * np.exp(0.5 * size), 2.5, 26.0))
            found.append((name, (x, y, z), radius))
    return tuple(found)


def _spleens(rng: np.random.Generator) -> tuple[tuple[float, float], ...]:
    """One accessory spleen, or two in a tenth of those who have any, 3 to 18 mm across (Romer 2012)."""
    second, *places = rng.random(3)
    sizes = np.clip(5.0 * np.exp(0.4 * rng.standard_normal(2)), 2.0, 9.0)
    return tuple(zip(places[: 2 if second < 0.1 else 1], sizes.tolist(), strict=False))


def _liver_cysts(subject: Prompt, rng: np.random.Generator) -> tuple[LiverCyst, ...]:
    """Simple hepatic cysts: more often and more with age; median radius 5 mm (chosen)."""
    some, more = rng.random(2)
    places, sizes = rng.random((_MOST_LIVER_CYSTS, 2)).tolist(), rng.standard_normal(_MOST_LIVER_CYSTS)
    count = 0
    if some < liver_cyst_rate(float(subject.patient.age_years or 55)):
        count = min(1 + int(-1.2 * np.log(more)), _MOST_LIVER_CYSTS)
    radii = np.clip(5.0 * np.exp(0.6 * sizes), 2.5, 32.0).tolist()
    return tuple((a, b, radius) for (a, b), radius in zip(places[:count], radii, strict=False))


def _obstructed(subject: Prompt, rng: np.random.Generator) -> dict[str, float]:
    """Factors on the volumes of the colon upstream of an obstructing tumour; empty where none obstructs."""
    chance, amount = rng.random(2)
    low, high = _DILATION
    large = [tumour.site for tumour in subject.tumours if (tumour.size_mm or 0.0) >= _OBSTRUCTED_FROM_MM]
    sites = [_COURSE.index(site) for site in large if site in _COURSE]
    if not sites or chance >= _OBSTRUCTED_RATE:
        return {}
    return dict.fromkeys(_COURSE[: max(sites)], low + (high - low) * float(amount))
