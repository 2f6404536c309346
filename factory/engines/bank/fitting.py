"""From a patient who is asked for to points of a source: size of the frame, a random pose, a random deformation."""

import numpy as np
from jaxtyping import Float64

from factory.engines.bank.deforming import LATTICE, Affine, draw_velocity, exponential
from factory.engines.bank.placing import Placement
from factory.engines.bank.resampling import Warp
from factory.engines.bank.sources import Source
from prompts.schema import Patient

__all__ = ["draw_warp", "fit"]

_TALL_CM = 175.0
_HEIGHT_POWER, _ACROSS_POWER, _BMI_POWER = 0.68, 0.8, 0.35
"""Trunk length with height, as in the embedded population; breadth with trunk length and body mass index."""
_RATIOS = (0.8, 1.25)
_LEAN_BMI = 23.0
_TURNS_DEG = (2.0, 2.0, 3.0)
_STRETCH, _SHIFT_MM = 0.03, (4.0, 4.0, 5.0)
_CENTRE_MM = (0.0, 10.0, 0.0)


def fit(placement: Placement, source: Source, patient: Patient) -> Affine:
    """The map from the torso frame of a patient to a source that stretches the one to the size of the other.

    Trunk length follows height, and breadth also follows body mass index. What neither the spine
    nor the bank tells of a source's size leaves it as it is.
    """
    long = (patient.height_cm or _TALL_CM) / _TALL_CM
    frame = long**_HEIGHT_POWER
    size = placement.scales_xyz[2] if placement.measured else frame
    if not placement.measured and source.height_cm:
        size = (source.height_cm / _TALL_CM) ** _HEIGHT_POWER
    along = float(np.clip(size / frame, *_RATIOS))
    across = along**_ACROSS_POWER
    there, asked = _bmi(source.height_cm, source.weight_kg), _bmi(patient.height_cm, patient.weight_kg)
    if there and asked:
        across *= (there / asked) ** _BMI_POWER
    breadth = depth = across
    if not source.whole:  # set into a body drawn for the patient, it must have that body's breadth and depth
        breadth, depth = (scale / _breadth(patient) for scale in placement.scales_xyz[:2])
    ratios = np.clip([breadth, depth, along], *_RATIOS)
    return Affine(np.diag(ratios), np.array(placement.shift_mm_xyz))


def _breadth(patient: Patient) -> float:
    """Breadth of the embedded phantom's trunk relative to the reference man."""
    long = (patient.height_cm or _TALL_CM) / _TALL_CM
    bmi = _bmi(patient.height_cm, patient.weight_kg) or _LEAN_BMI
    return float(long**0.55 * (0.95 if patient.sex == "female" else 1.0) * (1 + 0.012 * (min(bmi, 45.0) - _LEAN_BMI)))


def draw_warp(base: Affine, rng: np.random.Generator) -> Warp:
    """Draw a pose and a deformation, and follow them by a map into a source.

    Args:
        base: the map from the torso frame to the source.
        rng: the case's generator; the number of draws is fixed.
    """
    pose = _pose(rng)
    flow = exponential(draw_velocity(rng))
    z, y, x = (axis.astype(np.float32) for axis in LATTICE.axes_mm())
    points = np.stack(np.broadcast_arrays(x, y[:, None], z[:, None, None])) + flow
    return Warp(base.after(pose)(points), LATTICE)


def _pose(rng: np.random.Generator) -> Affine:
    """A small rotation, stretch and shift about a point in front of L1."""
    normal = rng.standard_normal((3, 3)).clip(-2, 2)
    turn = np.eye(3)
    for axis, angle in enumerate(np.deg2rad(_TURNS_DEG) * normal[0]):
        turn = turn @ _rotation(axis, float(angle))
    matrix = turn @ np.diag(np.exp(_STRETCH * normal[1]))
    centre = np.array(_CENTRE_MM)
    return Affine(matrix, centre - matrix @ centre + np.array(_SHIFT_MM) * normal[2])


def _rotation(axis: int, angle: float) -> Float64[np.ndarray, "3 3"]:
    matrix = np.eye(3)
    a, b = (axis + 1) % 3, (axis + 2) % 3
    matrix[a, a] = matrix[b, b] = np.cos(angle)
    matrix[a, b], matrix[b, a] = -np.sin(angle), np.sin(angle)
    return matrix


def _bmi(height_cm: float | None, weight_kg: float | None) -> float | None:
    return weight_kg / (height_cm / 100) ** 2 if height_cm and weight_kg else None
