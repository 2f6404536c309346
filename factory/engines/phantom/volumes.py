"""How large the organs of one body are: reference volumes by sex, size and age, with a lognormal residual."""

from collections.abc import Iterable

import numpy as np

from factory.engines.phantom.habitus import Person
from manifests.anatomy import group, structure
from manifests.errors import InvalidValueError

__all__ = ["ENLARGEMENT", "aorta_mm", "draw_volumes", "enlarged", "members"]

ENLARGEMENT = 1.75
"""Factor on the volume of an organ that is asked for as enlarged; never below this times the mean."""

_SIZE_POWER = {"liver": 1.0, "spleen": 0.8, "kidney_left": 0.8, "kidney_right": 0.8, "pancreas": 0.6, "heart": 0.8,
               "urinary_bladder": 0.0, "gallbladder": 0.2, "stomach": 0.6, "prostate": 0.2, "uterus": 0.2}  # fmt: skip
_TREND = {"liver": -0.003, "spleen": -0.005, "kidney_left": -0.005, "kidney_right": -0.005, "pancreas": -0.006,
          "heart": 0.002, "prostate": 0.014, "uterus": -0.008}  # fmt: skip
_SPARE_ML = {"uterus": 76.0, "prostate": 30.0}
_VOLUMED = ("liver", "spleen", "kidney_left", "kidney_right", "pancreas", "heart", "urinary_bladder", "gallbladder",
            "stomach", "prostate", "uterus", "adrenal_gland_left", "adrenal_gland_right", "thyroid_gland",
            "small_bowel", "duodenum", "colon_ascending", "colon_transverse", "colon_descending", "colon_sigmoid",
            "rectum")  # fmt: skip
_TUBULAR = ("aorta", "inferior_vena_cava", "portal_vein_and_splenic_vein", "iliac_artery_left", "iliac_artery_right",
            "esophagus", "trachea", "brachiocephalic_trunk", "subclavian_artery_left", "subclavian_artery_right",
            "common_carotid_artery_left", "common_carotid_artery_right")  # fmt: skip
_EFFUSION_RATE, _EFFUSION_ML = 0.08, 170.0
_ASCITES_RATE, _ASCITES_ML = 0.04, 600.0
_OWN_SPREAD = {"gallbladder": 0.32, "stomach": 0.38, "urinary_bladder": 0.48}
"""Residual spread of organs whose filled and emptied variants bring the rest of the published one."""
_MOST = 2.1
"""Residuals end here, in standard deviations."""


def members(names: Iterable[str]) -> set[str]:
    """Structures that belong to the named structures and groups."""
    return {entry.name for name in names for entry in group(name)}


def enlarged(names: Iterable[str]) -> set[str]:
    """Structures to enlarge for these names.

    Raises:
        InvalidValueError: if one has neither a volume nor a calibre.
    """
    wanted = members(names) - {"colon"}  # its segments stand for it
    if unable := sorted(wanted - {*_VOLUMED, *_TUBULAR}):
        raise InvalidValueError(
            "enlarged organs of the phantom",
            got=", ".join(unable),
            need=f"some of {', '.join((*_VOLUMED, *_TUBULAR))}",
            do="Leave the others out, or use a mask model that can draw them.",
        )
    return wanted


def aorta_mm(person: Person) -> float:
    """Outer diameter of the descending thoracic aorta; plus 1.3 mm a decade (Wolak 2008, Rogers 2013)."""
    size = 3.0 * float(np.clip(person.surface_m2 - 1.9, -0.6, 0.6))
    return 24.5 + 0.13 * (person.age_years - 50) + size - (1.6 if person.female else 0.0)


def draw_volumes(person: Person, rng: np.random.Generator, larger: set[str], wide: float = 1.0) -> dict[str, float]:
    """Target volumes in ml: mean by sex, body surface, age trend, lognormal residual.

    Kidneys share most of their residual, as the segments of the colon do.

    Args:
        person: age, sex and size.
        rng: source of the residuals; their number is fixed.
        larger: structures that are asked for as enlarged.
        wide: factor on the spread.
    """
    surface = person.surface_m2 / (1.76 if person.female else 2.0)
    kidneys, bowel = rng.standard_normal(2)
    volumes = {}
    for name in _VOLUMED:
        entry = structure(name)
        own = float(rng.standard_normal())
        if name.startswith("kidney"):
            own = 0.85 * kidneys + 0.53 * own
        if entry.group == "colon":
            own = 0.7 * bowel + 0.7 * own
        mean = entry.volume_ml.get(person.sex) or _SPARE_ML.get(name, 10.0)
        mean *= float(np.clip(surface, 0.6, 1.5)) ** _SIZE_POWER.get(name, 0.3)
        mean *= float(np.clip(1 + _TREND.get(name, 0.0) * (person.age_years - 55), 0.6, 1.5))
        # age and size account for part of the published spread
        spread = min(0.93 * _OWN_SPREAD.get(name, entry.volume_cv or 0.2) * wide, 0.75)
        drawn = mean * float(np.exp(spread * np.clip(own, -_MOST, _MOST) - spread**2 / 2))
        volumes[name] = max(drawn, mean) * ENLARGEMENT if name in larger else drawn
    return volumes | _effusions_ml(rng) | _ascites_ml(rng)


def _effusions_ml(rng: np.random.Generator) -> dict[str, float]:
    """Fluid on both lungs; most people have none, and what one side has the other often shares."""
    chance, side, sizes = rng.random(), rng.random(), np.exp(0.8 * rng.standard_normal(2).clip(-2, 2))
    on = (side < 0.66, side > 0.30)  # half of them on both sides, the right alone more often than the left
    names = ("pleural_effusion_right", "pleural_effusion_left")
    return {
        name: float(np.clip(_EFFUSION_ML * size, 20, 1000)) if there and chance < _EFFUSION_RATE else 0.0
        for name, there, size in zip(names, on, sizes, strict=True)
    }


def _ascites_ml(rng: np.random.Generator) -> dict[str, float]:
    """Free fluid in the abdomen; most people have none."""
    chance, size = rng.random(), float(np.exp(0.9 * np.clip(rng.standard_normal(), -2, 2)))
    return {"ascites": float(np.clip(_ASCITES_ML * size, 100, 3500)) if chance < _ASCITES_RATE else 0.0}
