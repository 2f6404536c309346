"""Placing every tumour of a subject, the largest first, and writing the record of each instance."""

import numpy as np
from jaxtyping import UInt8

from factory.engines.base import Request
from factory.engines.lesions.fitting import Canvas, Fitted, Wanted, fit
from factory.engines.lesions.shape import draw_style
from manifests.anatomy import Structure, structure
from manifests.case import Lesion
from manifests.errors import InvalidValueError
from prompts.schema import Tumour

__all__ = ["place_lesions"]

_SMALLER = (0.3, 0.85)
"""Size of the further tumours of a group, relative to the largest."""
_SMALLEST_MM = 3.0


def place_lesions(
    anatomy: UInt8[np.ndarray, "z y x"], request: Request
) -> tuple[UInt8[np.ndarray, "z y x"], UInt8[np.ndarray, "z y x"], tuple[Lesion, ...]]:
    """Paint the tumours of a request's subject into an anatomy.

    The largest of a tumour's `count` instances has `size_mm` to within a voxel, and to within a
    tenth where the grid resolves that; the others are smaller. Under a lesion the anatomy is its
    site. A lesion never takes bone, vessels, heart or the outside, keeps a gap to other lesions
    and to the edge of the grid, and never cuts another organ. No tumours: the anatomy unchanged
    and no lesions.

    Args:
        anatomy: ids of the anatomy table on the request's grid; not modified.
        request: its subject states organ, site, count and size of each tumour.

    Returns:
        Anatomy, instance ids from 1 (0 = none), and one record for each id.

    Raises:
        InvalidValueError: if a tumour is incompletely stated, or its site is missing from the
            anatomy or has no room for it.
    """
    canvas = Canvas(request.grid, anatomy.copy(), np.zeros_like(anatomy), np.bincount(anatomy.ravel(), minlength=256))
    rng = request.rng("lesions")
    records: list[Lesion] = []
    for tumour in sorted(request.subject.tumours, key=lambda entry: -(entry.size_mm or 0.0)):
        site = _site(canvas, tumour)
        for size_mm in _instance_sizes(tumour, rng):
            wanted = Wanted(site, size_mm, draw_style(site, size_mm, rng))
            records.append(_paint(canvas, wanted, fit(canvas, wanted, rng)))
    return canvas.anatomy, canvas.lesions, tuple(records)


def _site(canvas: Canvas, tumour: Tumour) -> Structure:
    if tumour.site is None or tumour.count is None or tumour.size_mm is None:
        raise InvalidValueError(
            f"tumour of the {tumour.organ}",
            got=f"site {tumour.site}, count {tumour.count}, size {tumour.size_mm}",
            need="all three stated",
            do="Complete the prompt first (prompts.sampling.complete).",
        )
    site = structure(tumour.site)
    if not canvas.voxels[site.id]:
        raise InvalidValueError(
            f"tumour of the {tumour.organ}",
            got=f"no {site.name} in the anatomy",
            need="a site inside the field of view that the patient has",
            do="Ask for another site or a scan region that covers it.",
        )
    return site


def _instance_sizes(tumour: Tumour, rng: np.random.Generator) -> list[float]:
    """Sizes of a tumour's instances in mm, largest first."""
    assert tumour.count
    assert tumour.size_mm
    others = np.maximum(tumour.size_mm * rng.uniform(*_SMALLER, size=tumour.count - 1), _SMALLEST_MM)
    return [tumour.size_mm, *sorted(map(float, np.minimum(others, tumour.size_mm)), reverse=True)]


def _paint(canvas: Canvas, wanted: Wanted, fitted: Fitted) -> Lesion:
    """Paint a lesion and write its record."""
    instance = int(canvas.lesions.max()) + 1
    taken = np.bincount(canvas.anatomy[fitted.box][fitted.mask], minlength=256)
    canvas.voxels -= taken
    canvas.voxels[wanted.site.id] += taken.sum()
    canvas.anatomy[fitted.box][fitted.mask] = wanted.site.id
    canvas.lesions[fitted.box][fitted.mask] = instance
    index = np.argwhere(fitted.mask).mean(axis=0) + [part.start for part in fitted.box]
    z, y, x = index * canvas.grid.spacing_mm_zyx + canvas.grid.origin_mm_xyz[::-1]
    return Lesion(
        id=instance,
        organ=str(wanted.site.organ),
        site=wanted.site.name,
        side=wanted.site.side,
        kind=wanted.style.kind,
        size_mm=round(fitted.size_mm, 3),
        volume_ml=round(float(taken.sum()) * canvas.grid.voxel_volume_ml, 4),
        center_mm_xyz=(round(float(x), 3), round(float(y), 3), round(float(z), 3)),
    )
