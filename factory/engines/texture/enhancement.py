"""Mean HU of every structure in one patient and scan: the table's values, followed along time.

The anatomy table gives HU without contrast and in three phases. The enhancement of a structure
in between, before and after is read off its own curve through these points, straight over the
logarithm of time, and scaled by the patient's dose. Blood arrives in arteries first.

A scan shows the phase that was asked for: where dose, timing and deviations of a patient would make it that
of another phase, all of them shrink until it reads as its own.
"""

from types import MappingProxyType

import numpy as np
from jaxtyping import Float32

from factory.engines.texture.appearance import Appearance
from factory.engines.texture.subject import Subject
from manifests.anatomy import PHASES, Phase, Structure, structure, structures

__all__ = ["AIR_HU", "base_hu", "enhancement_hu", "phase_shown"]

AIR_HU = -1000.0

_SECONDS = (15.0, 22.0, 35.0, 75.0, 240.0, 900.0)
_EARLY = MappingProxyType({"artery": 0.95, "heart": 0.85, "vein": 0.4})
"""Enhancement at 22 s relative to the arterial phase; other tissues follow their straight line."""

_INFLOW = ("superior_vena_cava", "brachiocephalic_vein")
_BLOOD = ("artery", "vein", "heart")
_SHARED = 0.7
_PLAIN_SD_HU = 6.0
_BONE_LOSS_HU_PER_YEAR = 1.3
_MIDDLE_AGE = 55.0
_TELLING = ("aorta", "kidney_left", "kidney_right", "portal_vein_and_splenic_vein", "inferior_vena_cava", "liver",
            "spleen")  # fmt: skip
"""Structures whose enhancement over muscle tells the phase."""
_NOISE_HU = 15.0
_SHRINK, _TRIES = 0.7, 12
_LIVER_GAIN_HU = 4.0
"""What a liver without fat has above the table's mean, which counts fatty livers in."""

_SHIFT_HU = MappingProxyType(
    {
        "parenchyma": 35.0,
        "muscle": 25.0,
        "soft": 25.0,
        "nervous": 25.0,
        "bowel": 25.0,
        "fluid": 25.0,
        "fat": 20.0,
        "cartilage": 40.0,
        "heart": 60.0,
        "artery": 70.0,
        "vein": 60.0,
        "lung": 80.0,
        "bone": 110.0,
        "airway": 15.0,
    }
)
"""Standard deviation of a structure's mean at the dial's end, cut at 1.7 of it (chosen)."""


def base_hu(subject: Subject, look: Appearance, rng: np.random.Generator) -> Float32[np.ndarray, "256"]:
    """Draw the mean HU of every structure in one patient; air for ids without structure.

    Deviations are drawn per group (both kidneys share one), with a common share for blood and for
    bone. Bone loses 1.3 HU per year from age 55 on and gains as much before it (the trend of
    trabecular bone in Pickhardt 2013 is -2.1; cortex dilutes it).
    """
    usual, drawn = np.full(256, AIR_HU, np.float32), np.full(256, AIR_HU, np.float32)
    groups = sorted({entry.group for entry in structures()})
    own = dict(zip(groups, rng.standard_normal(len(groups)), strict=True))
    shift = dict(zip(groups, np.clip(rng.standard_normal(len(groups)), -1.7, 1.7), strict=True))
    shared = rng.standard_normal()
    for entry in structures():
        habit = _habit_hu(entry, subject, look)
        usual[entry.id] = entry.hu[subject.phase] + habit
        plain = entry.hu["native"] + _spread(entry, subject) * _deviation(entry, own[entry.group], shared)
        drawn[entry.id] = plain + habit + look.dial * _SHIFT_HU[entry.tissue] * shift[entry.group]
        drawn[entry.id] += look.dose * enhancement_hu(entry, look.after_s)
    for _ in range(_TRIES):
        if phase_shown(drawn) == subject.phase:
            break
        drawn = usual + np.float32(_SHRINK) * (drawn - usual)
    return drawn


def phase_shown(table_hu: Float32[np.ndarray, "256"]) -> Phase:
    """Phase whose enhancement over muscle in the anatomy table is nearest to that of a table of HU by id."""
    muscle, telling = structure("skeletal_muscle"), [structure(name) for name in _TELLING]

    def misfit(phase: Phase) -> float:
        apart = [
            (table_hu[entry.id] - table_hu[muscle.id] - entry.hu[phase] + muscle.hu[phase])
            / np.hypot(entry.hu_sd, _NOISE_HU)
            for entry in telling
        ]
        return float(np.square(apart).sum())

    return min(PHASES, key=misfit)


def enhancement_hu(entry: Structure, after_s: float) -> float:
    """Enhancement of a structure some seconds after a mean injection, in HU; 0 at 0 s."""
    if after_s <= 0:
        return 0.0
    arterial, portal, delayed = (
        entry.hu[phase] - entry.hu["native"] for phase in ("arterial", "portal_venous", "delayed")
    )
    times = np.log(_SECONDS)
    straight = float(np.interp(times[1], times[[0, 2]], (0.0, 1.0)))
    early = 1.3 if entry.group in _INFLOW else _EARLY.get(entry.tissue, straight)
    return float(np.interp(np.log(after_s), times, (0.0, early * arterial, arterial, portal, delayed, 0.6 * delayed)))


def _habit_hu(entry: Structure, subject: Subject, look: Appearance) -> float:
    """What age and fat do to a structure, in HU."""
    if entry.name == "liver":
        return _LIVER_GAIN_HU - look.liver_loss_hu
    if entry.tissue == "bone":
        years = float(np.clip(subject.age_years - _MIDDLE_AGE, -30, 30))
        return -_BONE_LOSS_HU_PER_YEAR * years * min(entry.hu["native"] / 200, 1.0)
    return 0.0


def _spread(entry: Structure, subject: Subject) -> float:
    """The table's spread covers all phases; without contrast, blood and urine hardly vary."""
    plain = (entry.tissue in _BLOOD and subject.phase == "native") or (
        entry.tissue == "fluid" and subject.phase != "delayed"
    )
    return min(entry.hu_sd, _PLAIN_SD_HU) if plain else entry.hu_sd


def _deviation(entry: Structure, own: float, shared: float) -> float:
    weight = _SHARED if entry.tissue in (*_BLOOD, "bone") else 0.4
    return float(np.clip(weight * shared + np.sqrt(1 - weight**2) * own, -2.0, 2.0)) * 0.6
