"""What a lesion is made of and how it lies, measured from CT and masks; docs/quality.md has the rules.

Kind is read off HU inside the lesion, form off its contact with the organ that holds it. What
cannot be measured is said to be so: "unmeasured", or None.
"""

import numpy as np
from jaxtyping import Bool, Float32, Int16, UInt8
from scipy import ndimage

from factory.quality.limits import GATE
from manifests.anatomy import Structure

__all__ = ["form_of", "kind_of"]


def kind_of(
    ct: Int16[np.ndarray, "z y x"],
    lesion: Bool[np.ndarray, "z y x"],
    site: Structure | None,
    spacing_zyx: tuple[float, float, float],
) -> str:
    """Measure the kind of a lesion: "solid", "necrotic", "cystic", "calcified", "ground_glass", "part_solid".

    "unmeasured" where fewer than `GATE["kind"]["core_voxels"]` voxels lie so deep that they are free of
    partial volume. Necrosis and solid tissue look alike without contrast: such a lesion is called solid.

    Args:
        ct: HU in a box around the lesion.
        lesion: its voxels in that box, not on its faces.
        site: structure that holds it.
        spacing_zyx: of the voxels, in mm.
    """
    limits = GATE["kind"]
    core = ndimage.binary_erosion(lesion, iterations=max(1, round(limits["depth_mm"] / min(spacing_zyx))))
    if core.sum() < limits["core_voxels"]:
        return "unmeasured"
    inside = ct[core]
    if (inside > limits["calcium_hu"]).mean() >= limits["calcium_share"]:
        return "calcified"
    if site is not None and site.tissue == "lung":
        dense = float((inside > limits["dense_hu"]).mean())
        low, high = limits["part_solid_share"]
        if dense < high:
            return "ground_glass" if dense < low else "part_solid"
    if site is not None and site.tissue in ("lung", "bowel"):  # gas around blurs one voxel further
        core = ndimage.binary_erosion(core)
        if core.sum() < limits["core_voxels"]:
            return "solid" if site.tissue == "lung" else "unmeasured"
    return _of_tissue(_smoothed(ct, core)[core])


def _of_tissue(hu: Float32[np.ndarray, " n"]) -> str:
    """Tell fluid, partly dead and solid tissue apart by the spread of smoothed HU."""
    limits = GATE["kind"]
    low, median, high = np.percentile(hu, [15, 50, 97])
    if median <= limits["fluid_hu"]:
        return "cystic"
    dead = low <= limits["dead_hu"] and high >= limits["viable_hu"] and high - low >= limits["uneven_hu"]
    return "necrotic" if dead else "solid"


def _smoothed(ct: Int16[np.ndarray, "z y x"], core: Bool[np.ndarray, "z y x"]) -> Float32[np.ndarray, "z y x"]:
    """Mean HU over the inner voxels of a lesion among the 27 around each."""
    weight = ndimage.uniform_filter(core.astype(np.float32), 3, mode="constant")
    total = ndimage.uniform_filter(np.where(core, ct, 0).astype(np.float32), 3, mode="constant")
    smooth: Float32[np.ndarray, "z y x"] = total / np.maximum(weight, 1e-3)
    return smooth


def form_of(
    anatomy: UInt8[np.ndarray, "z y x"],
    lesion: Bool[np.ndarray, "z y x"],
    site: Structure | None,
    spacing_zyx: tuple[float, float, float],
) -> str | None:
    """Measure the form of a lesion: "annular" or "polypoid" in the bowel, "exophytic" on a kidney; None elsewhere.

    Args:
        anatomy: ids in a box around the lesion.
        lesion: its voxels in that box.
        site: structure that holds it.
        spacing_zyx: of the voxels, in mm.
    """
    if site is None or lesion.sum() < GATE["kind"]["form_voxels"]:
        return None
    if site.tissue == "bowel":
        return (
            "annular" if _encircled(anatomy == site.id, lesion, spacing_zyx) >= GATE["kind"]["annular"] else "polypoid"
        )
    if site.organ == "kidney":
        return "exophytic" if _bare(anatomy == site.id, lesion) >= GATE["kind"]["exophytic"] else "endophytic"
    return None


def _bare(site: Bool[np.ndarray, "z y x"], lesion: Bool[np.ndarray, "z y x"]) -> float:
    """Share of the faces of a lesion that do not touch its organ."""
    free = total = 0
    for axis in range(3):
        for step in (1, -1):
            face = lesion & ~np.roll(lesion, step, axis)
            free += int((face & ~np.roll(site, step, axis)).sum())
            total += int(face.sum())
    return free / max(total, 1)


def _encircled(
    site: Bool[np.ndarray, "z y x"], lesion: Bool[np.ndarray, "z y x"], spacing: tuple[float, float, float]
) -> float:
    """Share of the wall of a tube that a lesion takes, in the middle fifth of its length along the tube; 0 where a voxel is left of it."""
    tube = np.argwhere(site) * spacing
    if len(tube) < 2:  # no length to go along
        return 0.0
    middle = tube.mean(axis=0)
    axis = np.linalg.svd(np.cov((tube - middle).T))[0][:, 0]
    wall = site & ~ndimage.binary_erosion(site, border_value=1)
    along = (np.argwhere(lesion) * spacing - middle) @ axis
    half = max(0.1 * float(np.ptp(along)), max(spacing))
    spots = np.argwhere(wall)
    here = np.abs((spots * spacing - middle) @ axis - np.median(along)) <= half
    return float(lesion[tuple(spots[here].T)].mean()) if here.any() else 0.0
