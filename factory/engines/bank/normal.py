"""The size that an organ shall have: its own, brought into the range of adults, or above it where asked for.

Real label maps show shrunken kidneys and half-labelled oesophagi that no prompt asked for. An
organ outside reference / f to reference * f, with f = max(1.8, exp(3.5 cv)) from the anatomy
table, is resized to the end of that range, which lies inside what the quality gate accepts.
"""

import numpy as np
from jaxtyping import Bool, UInt8

from manifests.anatomy import Structure, structures
from manifests.geometry import Grid
from prompts.schema import Patient

__all__ = ["cut_ids", "range_ml", "remnants", "wanted_ml"]

_SD, _LEAST_FACTOR, _MOST_FACTOR = 3.5, 1.8, 8.0
_ENLARGED = 1.6
"""Volume of an enlarged organ relative to its reference, or to itself where there is none."""
_ENDS_MM, _REMNANT = 45.0, 0.3
"""How near to the end of a scan, and below which share of the range, a structure is what a cut left over."""
_ADULT_CM, _ADULT_KG = 165.0, 75.0


def range_ml(entry: Structure, patient: Patient) -> tuple[float, float] | None:
    """Smallest and largest volume in ml that is left as it is; None where the table has no reference.

    Scaled down with the cube of a short patient's height, up with a heavy patient's weight.
    """
    reference = entry.volume_ml.get(patient.sex or "male")
    if reference is None or entry.volume_cv is None:
        return None
    factor = float(np.clip(np.exp(_SD * entry.volume_cv), _LEAST_FACTOR, _MOST_FACTOR))
    small = min(1.0, (patient.height_cm or _ADULT_CM) / _ADULT_CM) ** 3
    large = max(1.0, (patient.weight_kg or _ADULT_KG) / _ADULT_KG)
    return reference * small / factor, reference * large * factor


def wanted_ml(entry: Structure, patient: Patient, here_ml: float, *, enlarged: bool) -> float:
    """Volume in ml that a structure shall have, given the one it has."""
    if enlarged:
        return max(here_ml, _ENLARGED * entry.volume_ml.get(patient.sex or "male", here_ml))
    span = range_ml(entry, patient)
    return float(np.clip(here_ml, *span)) if span else here_ml


def cut_ids(anatomy: UInt8[np.ndarray, "z y x"]) -> Bool[np.ndarray, "256"]:
    """Structures that the edge of the grid cuts, or the first or last slice with any anatomy."""
    filled = np.flatnonzero(anatomy.any(axis=(1, 2)))
    cut = np.zeros(256, bool)
    if len(filled):
        faces = [
            anatomy[filled[0]],
            anatomy[filled[-1]],
            anatomy[:, 0],
            anatomy[:, -1],
            anatomy[:, :, 0],
            anatomy[:, :, -1],
        ]
        for face in faces:
            cut[np.unique(face)] = True
    return cut


def remnants(anatomy: UInt8[np.ndarray, "z y x"], grid: Grid, patient: Patient) -> set[str]:
    """Structures that the end of the source's scan must have cut: too small, near the end, and not cut here."""
    filled = np.flatnonzero(anatomy.any(axis=(1, 2)))
    if not len(filled):
        return set()
    near = round(_ENDS_MM / grid.spacing_mm_zyx[0])
    sizes = np.bincount(anatomy.ravel(), minlength=256) * grid.voxel_volume_ml
    ends = np.zeros(256, bool)
    ends[np.unique(anatomy[: filled[0] + near])] = True
    ends[np.unique(anatomy[max(filled[-1] + 1 - near, 0) :])] = True
    cut = cut_ids(anatomy)
    found = set()
    for entry in structures():
        span = range_ml(entry, patient)
        if span and sizes[entry.id] < _REMNANT * span[0] and ends[entry.id] and not cut[entry.id]:
            found.add(entry.name)
    return found
