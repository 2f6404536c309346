"""What is particular about the tissues of one patient and the timing of one scan.

All of it is drawn once, before anything is painted, so that what belongs together varies
together: a high dose brightens every vessel and organ, a late scan shifts all of them along
their curves. The dial `randomise` widens every spread.
"""

from dataclasses import dataclass

import numpy as np

from factory.engines.texture.subject import Subject

__all__ = ["Appearance"]

_SECONDS = {"native": (0.0, 0.0), "arterial": (35.0, 0.11), "portal_venous": (75.0, 0.12), "delayed": (240.0, 0.28)}
"""Median seconds from injection to scan, and the standard deviation of their logarithm (chosen)."""

_DOSES = (0.65, 1.4)
"""Least and largest enhancement relative to the table's, at any dial: scans outside are repeated, not read (chosen)."""


@dataclass(frozen=True, slots=True)
class Appearance:
    """How the tissues of one patient look in one scan.

    Attributes:
        dial: 0 = the spread of patients, 1 = far beyond it.
        dose: enhancement relative to the anatomy table's.
        after_s: seconds from injection to scan; 0 without contrast.
        liver_loss_hu: what fat takes from the liver's HU.
        pancreas_fat: share of the pancreas that is fat between its lobules, 0 to 0.6.
        infiltration: fat between and in muscle fibres, 0 to 1.2; its mean over adults is about 0.35, few have most of it.
        stranding: haze and thick septa in fat, about 0 to 1.5.
        sclerosis: degenerative density in bones, 0 to 1.
        marrow: unevenness of marrow relative to the mean patient's.
        grain: strength of heterogeneity relative to the mean patient's.
        grain_mm: lengths of fine and coarse heterogeneity.
    """

    dial: float
    dose: float
    after_s: float
    liver_loss_hu: float
    pancreas_fat: float
    infiltration: float
    stranding: float
    sclerosis: float
    marrow: float
    grain: float
    grain_mm: tuple[float, float]

    @classmethod
    def draw(cls, subject: Subject, dial: float, rng: np.random.Generator) -> "Appearance":
        """Draw the appearance of a subject; the number of draws does not depend on anything.

        The loss of the liver gives 7 % of adults a native liver of at most 40 HU with a standard
        deviation of 12 HU (6.2 % and 10.8 HU in Boyce 2010 AJR). Fat of the pancreas has a median of 6 %
        at 55 years and 75 kg (a third of adults have more than the normal 6.2 %, by the meta-analysis of Singh 2017 Metabolism; masks
        hold the fat between lobules, too); its tail and its growth with age and weight are chosen. A fixed dose meets more blood
        in a heavy patient; other spreads are chosen.
        """
        normal = rng.standard_normal(6)
        chance, loss, strand, fine, coarse, dense = rng.random(6)
        lobules = rng.standard_normal()
        median_s, spread = _SECONDS[subject.phase]
        years, heavy = (subject.age_years - 55) / 25, (subject.weight_kg - 75) / 25
        blood = (75 / subject.weight_kg) ** 0.25
        wide = 1 + dial
        return cls(
            dial=dial,
            dose=float(np.clip(blood * np.exp(0.14 * wide * normal[0]), *_DOSES)),
            after_s=float(median_s * np.exp(np.clip(wide * spread * normal[1], -0.5, 0.7))),
            liver_loss_hu=float(min(-14.0 * np.log1p(-loss), 60.0)) if chance < 0.3 + 0.2 * dial else 0.0,
            pancreas_fat=float(min(0.06 * np.exp(0.5 * years + 0.3 * heavy + 0.75 * wide * lobules), 0.6)),
            infiltration=float(min(0.27 * np.exp(0.35 * years + 0.2 * heavy + 0.6 * wide * normal[2]), 1.2)),
            stranding=float(1.2 * strand**2 * wide),
            sclerosis=float(np.clip(0.3 + 0.25 * years, 0.05, 0.8) * dense * wide),
            marrow=float(np.exp(0.3 * wide * normal[3])),
            grain=float(np.exp(0.25 * normal[4])) * (1 - dial + dial * float(np.clip(1.5 + normal[5], 0, 3))),
            grain_mm=(float(3.0 * 2.0**fine), float(10.0 * 4.0**coarse)),
        )
