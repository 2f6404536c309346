"""What a lesion is made of and how it grows: kinds and forms by organ, size and role.

Shares come from the literature where docs/lesions.md cites it, and are chosen elsewhere. Each lesion takes
the same number of draws, so the kind of one does not move the place of the next.
"""

from types import MappingProxyType

import numpy as np

from factory.engines.lesions.shape import Style
from manifests.anatomy import Structure

__all__ = ["FORMS", "KINDS", "ROLES", "draw_kind", "draw_style"]

KINDS = ("solid", "necrotic", "cystic", "calcified", "ground_glass", "part_solid")
"""What a lesion is made of."""
FORMS = ("rounded", "lobulated", "spiculated", "exophytic", "annular", "polypoid")
"""How a lesion grows."""
ROLES = ("primary", "satellite", "metastasis")
"""What a lesion is in the disease."""

Shares = tuple[tuple[float, MappingProxyType[str, float]], ...]


def _shares(*rows: tuple[float, dict[str, float]]) -> Shares:
    return tuple((limit, MappingProxyType(row)) for limit, row in rows)


_ANY = float("inf")
_BY_ORGAN = MappingProxyType(
    {
        "lung": _shares(
            (30.0, {"part_solid": 0.20, "ground_glass": 0.14, "calcified": 0.06}),
            (50.0, {"part_solid": 0.06, "necrotic": 0.16, "calcified": 0.06}),
            (_ANY, {"necrotic": 0.55, "calcified": 0.06}),
        ),
        "kidney": _shares(
            (30.0, {"cystic": 0.14, "calcified": 0.04, "necrotic": 0.05}),
            (60.0, {"cystic": 0.12, "calcified": 0.10, "necrotic": 0.45}),
            (_ANY, {"cystic": 0.06, "calcified": 0.14, "necrotic": 0.65}),
        ),
        "liver": _shares(
            (30.0, {"cystic": 0.05, "calcified": 0.06, "necrotic": 0.05}),
            (60.0, {"cystic": 0.05, "calcified": 0.07, "necrotic": 0.35}),
            (_ANY, {"cystic": 0.05, "calcified": 0.08, "necrotic": 0.55}),
        ),
        "pancreas": _shares(
            (50.0, {"cystic": 0.14, "calcified": 0.04, "necrotic": 0.05}),
            (_ANY, {"cystic": 0.22, "calcified": 0.05, "necrotic": 0.35}),
        ),
        "colon": _shares((50.0, {"calcified": 0.03}), (_ANY, {"calcified": 0.04, "necrotic": 0.25})),
    }
)
"""Shares of the kinds by organ and largest diameter in mm; what is left is solid."""
_OTHER = _shares(
    (30.0, {"cystic": 0.04, "calcified": 0.04}),
    (60.0, {"cystic": 0.05, "calcified": 0.05, "necrotic": 0.25}),
    (_ANY, {"cystic": 0.05, "calcified": 0.05, "necrotic": 0.50}),
)
_LEAST_MM = MappingProxyType(
    {"cystic": 8.0, "calcified": 8.0, "ground_glass": 5.0, "part_solid": 8.0, "necrotic": 20.0}
)
"""Diameter below which a kind cannot be told from a solid lesion, and is not drawn."""
_SPICULATED, _SPICULATED_FROM_MM = 0.45, 8.0
_EXOPHYTIC = 0.65
_ANNULAR_MM = (15.0, 30.0)
"""An annular form becomes likelier from 15 mm on, over the next 30 mm."""


def draw_kind(site: Structure, size_mm: float, role: str, rng: np.random.Generator) -> str:
    """Draw what a lesion is made of; metastases of the lung are solid."""
    chance = float(rng.random())
    if site.organ == "lung" and role == "metastasis":
        return "solid"
    rows = _BY_ORGAN.get(str(site.organ), _OTHER)
    shares = next(row for limit, row in rows if size_mm <= limit)
    for kind, share in shares.items():
        if chance < share:
            return kind if size_mm >= _LEAST_MM[kind] else "solid"
        chance -= share
    return "solid"


def draw_style(site: Structure, size_mm: float, kind: str, role: str, rng: np.random.Generator) -> Style:
    """Draw how a lesion grows.

    Lung: rounded or spiculated. Hollow organs: polypoid, or annular the larger it is. Kidney: mostly
    exophytic. Elsewhere lobulated. Metastases, cystic and ground-glass lesions are rounded.
    """
    axes = (1.0, float(rng.uniform(0.68, 0.98)), float(rng.uniform(0.65, 1.05)))
    rounder = (1.0, 0.5 + axes[1] / 2, 0.5 + axes[2] / 2)
    chance = float(rng.random())
    if site.tissue == "bowel":
        if chance < np.clip((size_mm - _ANNULAR_MM[0]) / _ANNULAR_MM[1], 0.0, 0.9):
            return Style("annular", (1.0, 0.6 + 0.4 * axes[1], axes[2]), 0.12, outside=1.5, pushes=False)
        return Style("polypoid", axes, 0.15, outside=2.0, pushes=False)
    if site.organ == "kidney" and role != "metastasis" and chance < _EXOPHYTIC:
        return Style(
            "exophytic", rounder if kind == "cystic" else axes, 0.05 if kind == "cystic" else 0.12, outside=0.85
        )
    if site.organ == "lung":
        spiky = role != "metastasis" and kind not in ("ground_glass", "calcified") and size_mm >= _SPICULATED_FROM_MM
        if spiky and chance < _SPICULATED:
            return Style("spiculated", axes, 0.12, spicules=0.45, pushes=False)
        return Style("rounded", rounder, 0.12 if kind == "ground_glass" else 0.07, pushes=False)
    if kind == "cystic":
        return Style("rounded", rounder, 0.05)
    return Style("rounded", rounder, 0.1) if role == "metastasis" else Style("lobulated", axes, 0.2)
