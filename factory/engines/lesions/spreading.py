"""Spread: where metastases of a prompt that states M1 lie, how many and how large.

Only a stage that the prompt itself states makes metastases; one that was drawn for a silent prompt does not, so
that nothing appears which nobody asked for. Sites that hold an asked tumour are left out: their count is the
prompt's.
"""

from types import MappingProxyType

import numpy as np

from factory.engines.lesions.canvas import Canvas
from manifests.anatomy import Structure, structures
from prompts.schema import Prompt, Tumour

__all__ = ["metastases", "scatters"]

_SPREAD = MappingProxyType(
    {
        "colon": {"liver": 0.70, "lung": 0.24, "adrenal_gland": 0.03},
        "kidney": {"lung": 0.45, "liver": 0.20, "adrenal_gland": 0.09},
        "lung": {"lung": 0.32, "adrenal_gland": 0.17, "liver": 0.13},
        "pancreas": {"liver": 0.76, "lung": 0.20, "adrenal_gland": 0.04},
        "liver": {"lung": 0.55, "adrenal_gland": 0.10},
    }
)
"""Share of patients with metastases who have them in an organ, by the organ of the primary tumour."""
_ELSEWHERE = MappingProxyType({"liver": 0.5, "lung": 0.4, "adrenal_gland": 0.05})
_NUMBER = MappingProxyType({"liver": 3.0, "lung": 3.0, "adrenal_gland": 1.0})
"""Mean number of metastases of an organ that has any."""
_MOST = 8
_SIZES_MM = MappingProxyType({"liver": (6.0, 40.0), "lung": (4.0, 20.0), "adrenal_gland": (15.0, 45.0)})
"""Range of their diameters; small ones are more frequent."""


def metastases(
    canvas: Canvas, prompt: Prompt, taken: set[str], rng: np.random.Generator
) -> list[tuple[Structure, float]]:
    """Draw sites and diameters in mm of a patient's metastases, the largest first; none unless M1 is stated.

    At least one, where liver, lungs or adrenal glands that spread may reach are in view and hold no asked tumour.

    Args:
        canvas: the anatomy as painted so far.
        prompt: what was asked.
        taken: sites of asked tumours.
        rng: source of randomness.
    """
    primaries = [tumour for tumour in prompt.tumours if (tumour.m_stage or "").startswith("M1")]
    if not primaries:
        return []
    shares = _SPREAD.get(primaries[0].organ, _ELSEWHERE)
    free = {organ: [site for site in _sites(canvas, organ) if site.name not in taken] for organ in shares}
    reached = [organ for organ in shares if free[organ] and rng.random() < shares[organ]]
    if not reached:
        reached = [organ for organ in shares if free[organ]][:1]
    found = []
    for organ in reached:
        weights = np.array([float(canvas.voxels[site.id]) for site in free[organ]])
        for _ in range(min(int(rng.geometric(1 / _NUMBER[organ])), _MOST)):
            site = free[organ][int(rng.choice(len(weights), p=weights / weights.sum()))]
            low, high = _SIZES_MM[organ]
            found.append((site, float(low * (high / low) ** rng.random() ** 1.3)))
    return sorted(found, key=lambda each: -each[1])


def _sites(canvas: Canvas, organ: str) -> list[Structure]:
    return [entry for entry in structures() if entry.organ == organ and canvas.voxels[entry.id]]


def scatters(tumour: Tumour) -> bool:
    """Whether the further tumours of a group are satellites of the largest: T3 and T4 of lung and liver."""
    return tumour.organ in ("lung", "liver") and (tumour.t_stage or "")[:2] in ("T3", "T4")
