"""What lies around a patient in a scan: table, sheets, wires, tubes, and the edge of the field of view."""

import numpy as np
from jaxtyping import Bool, Float32
from scipy import ndimage

from factory.engines.texture.enhancement import AIR_HU
from factory.engines.texture.scene import Scene
from manifests.anatomy import structures
from manifests.geometry import HU_MIN

__all__ = ["crop_field", "surround"]

_OUTER = ("fat", "muscle", "soft")
_HALF_TABLE_MM = 205.0
_CROPPED = 0.35
_PADDED = 0.6


def surround(scene: Scene) -> None:
    """Lay the patient on a table, under sheets and wires; draws in air only."""
    body = scene.anatomy > 0
    if not body.any():
        return
    rng, air = scene.rng("surroundings"), ~body
    _lay_on_table(scene, air, rng)
    front = _front_mm(scene, body)
    for _ in range(rng.integers(0, 3)):
        _spread_sheet(scene, air, front, rng)
    for _ in range(rng.integers(0, 4)):
        _draw_wire(scene, air, front, rng)


def _lay_on_table(scene: Scene, air: Bool[np.ndarray, "z y x"], rng: np.random.Generator) -> None:
    """Draw a curved or flat shell below the patient, with a mattress on it and foam inside."""
    (_, sy, sx), (_, ny, nx) = scene.grid.spacing_mm_zyx, scene.grid.shape_zyx
    gap_mm, curve_mm = rng.uniform(2.0, 14.0), rng.choice((0.0, 18.0, 28.0, 40.0))
    shell_hu, core_hu, mattress_hu = rng.uniform((250, -980, -950), (700, -850, -600))
    rows = np.flatnonzero(~air.all(axis=(0, 2)))
    x = (np.arange(nx) - (nx - 1) / 2) * sx
    top = (rows[-1] + 1) * sy + gap_mm - (x / 200.0) ** 2 * curve_mm
    y = np.arange(ny)[:, None] * sy
    wide = np.abs(x) < _HALF_TABLE_MM
    shell = np.maximum(1 - np.abs(y - top) / max(sy, 2.5), 0) * min(1, 2.5 / sy) * wide
    core = ((y > top) & (y < top + 45) & wide) * (core_hu - AIR_HU) * 0.3
    mattress = ((y < top) & (y > top - min(gap_mm, 9.0)) & wide) * (mattress_hu - AIR_HU) * 0.3
    table = (shell * (shell_hu - AIR_HU) + core + mattress).astype(np.float32)
    first = int(np.argmax((table > 1).any(axis=1)))
    np.add(scene.hu[:, first:], table[first:], out=scene.hu[:, first:], where=air[:, first:] & (table[first:] > 1))


def _front_mm(scene: Scene, body: Bool[np.ndarray, "z y x"]) -> Float32[np.ndarray, "z x"]:
    """How far the front of the body lies from the first row, in mm; the lowest row where there is no body."""
    rows = np.where(body.any(axis=1), body.argmax(axis=1), scene.grid.shape_zyx[1])
    front: Float32[np.ndarray, "z x"] = (rows * scene.grid.spacing_mm_zyx[1]).astype(np.float32)
    return front


def _spread_sheet(
    scene: Scene, air: Bool[np.ndarray, "z y x"], front: Float32[np.ndarray, "z x"], rng: np.random.Generator
) -> None:
    """Spread a sheet or a gown over the front: it hangs some millimetres off the skin, in folds."""
    (_, sy, _), count = scene.grid.spacing_mm_zyx, scene.grid.shape_zyx[1]
    smooth = ndimage.gaussian_filter(ndimage.minimum_filter(front, 5), 3.0, mode="nearest")
    off = rng.uniform(4, 16) + rng.uniform(1, 6) * ndimage.gaussian_filter(rng.standard_normal(front.shape), 3.0) * 10
    rows = np.rint((np.minimum(smooth, front) - np.maximum(off, sy)) / sy).astype(np.intp)
    first, last = sorted(rng.integers(0, front.shape[0], 2))
    z, x = np.nonzero((rows >= 0) & (rows < count) & (front < (count - 1) * sy))
    kept = (z >= first) & (z <= last)
    _lay(scene, air, (z[kept], rows[z[kept], x[kept]], x[kept]), rng.uniform(100, 600) * min(1.0, 2.0 / sy))


def _draw_wire(
    scene: Scene, air: Bool[np.ndarray, "z y x"], front: Float32[np.ndarray, "z x"], rng: np.random.Generator
) -> None:
    """Draw a wire or a tube that runs over the skin."""
    sy = scene.grid.spacing_mm_zyx[1]
    count_z, count_x = front.shape
    z = np.arange(count_z)
    knots = rng.uniform(0.25, 0.75, 4) * count_x
    x = np.clip(np.interp(z, np.linspace(0, count_z, 4), knots).astype(np.intp), 0, count_x - 1)
    rows = np.rint(front[z, x] / sy - rng.uniform(1.0, 2.5)).astype(np.intp)
    kept = (rows >= 0) & (front[z, x] < (scene.grid.shape_zyx[1] - 1) * sy)
    kept &= (z >= rng.integers(0, count_z)) == bool(rng.integers(0, 2))
    _lay(scene, air, (z[kept], rows[kept], x[kept]), rng.uniform(500, 2200) * min(1.0, 2.0 / scene.voxel_mm) ** 2)


def _lay(
    scene: Scene,
    air: Bool[np.ndarray, "z y x"],
    where: tuple[np.ndarray, np.ndarray, np.ndarray],
    rise_hu: float,
) -> None:
    free = air[where]
    scene.hu[tuple(axis[free] for axis in where)] += np.float32(rise_hu)


def crop_field(hu: Float32[np.ndarray, "z y x"], scene: Scene) -> None:
    """Cut a circle out of every slice in some scans, and pad what lies outside, in place.

    The circle keeps every structure but fat, skin and muscle, and all but 4 % of the body's outline.
    """
    rng = scene.rng("field of view")
    cropped, padded, wider = rng.random(3)
    if cropped > _CROPPED or not (scene.anatomy > 0).any():
        return
    (_, sy, sx), (_, ny, nx) = scene.grid.spacing_mm_zyx, scene.grid.shape_zyx
    y, x = (np.arange(ny) - (ny - 1) / 2) * sy, (np.arange(nx) - (nx - 1) / 2) * sx
    radius = np.hypot(y[:, None], x)
    inner = np.ones(256, bool)
    inner[[0, *(entry.id for entry in structures() if entry.tissue in _OUTER)]] = False
    seen, body = inner[scene.anatomy].any(axis=0), (scene.anatomy > 0).any(axis=0)
    least = max(float(radius[seen].max(initial=0.0)) + 6.0, float(np.quantile(radius[body], 0.96)))
    hu[:, radius > least + 60.0 * wider] = HU_MIN if padded < _PADDED else AIR_HU
