"""Anatomical variants and the shapes of abdominal organs: what makes two people of equal size differ.

`draw_variants` draws from a generator of its own, so that the body and its variants do not
disturb each other. Rates, spreads and their sources stand in `docs/variants.md`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

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
_WAVED = ("liver", "spleen", "kidney_left", "kidney_right", "stomach", "pancreas", "gallbladder", "urinary_bladder",
          "uterus", "prostate")  # fmt: skip


@dataclass(frozen=True, slots=True)
class Variants:
    """What is particular about one abdomen; the default is the mean shape without any variant.

    Attributes:
        traits: numbers of mean 0 and standard deviation 1 by name (more at a wider dial): the shape of organs.
        waves: phases in radians by organ, of the slow waves that bend its shape.
        widen: factor on the size of these waves.
        present: names of the variants of this body.
    """

    traits: Mapping[str, float] = field(default_factory=dict)
    waves: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    widen: float = 1.0
    present: frozenset[str] = frozenset()

    def trait(self, name: str) -> float:
        """One number of the shape; 0 is the mean."""
        return self.traits.get(name, 0.0)

    def wave(self, name: str) -> tuple[float, ...]:
        """Phases of the waves of one organ; empty where its shape is not bent."""
        return self.waves.get(name, ())


def draw_variants(subject: Prompt, rng: np.random.Generator, widen: float = 0.0) -> Variants:  # noqa: ARG001
    """Draw the shapes and variants of one abdomen; the number of draws is fixed.

    Args:
        subject: what was asked; no variant contradicts it.
        rng: source of all of it.
        widen: 0 to 1; 1 widens the spread of shapes by half.
    """
    wide = 1 + 0.5 * widen
    normal = np.clip(rng.standard_normal(len(_TRAITS)), -2.2, 2.2) * wide
    phases = rng.uniform(0, 2 * np.pi, (len(_WAVED), 3))
    return Variants(
        traits=dict(zip(_TRAITS, normal.tolist(), strict=True)),
        waves={name: tuple(row) for name, row in zip(_WAVED, phases.tolist(), strict=True)},
        widen=wide,
    )
