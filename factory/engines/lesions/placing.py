"""Placing every tumour of a subject, the largest first, and writing the record of each instance."""

from dataclasses import replace

import numpy as np
from jaxtyping import UInt8

from factory.engines.base import Request
from factory.engines.lesions.fitting import Canvas, Fitted, Wanted, fit
from factory.engines.lesions.reserving import reserved
from factory.engines.lesions.shape import draw_style
from manifests.anatomy import Structure, structure
from manifests.case import Lesion
from manifests.errors import InvalidValueError
from prompts.schema import Tumour

__all__ = ["place_lesions"]

_SMALLER = (0.3, 0.85)
"""Size of the further tumours of a group, relative to the largest."""
_SMALLEST_MM = 3.0
_SHRINK = 0.6


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
    rng = request.rng("lesions")
    try:
        return _attempt(anatomy, request, rng, reserve=False)
    except InvalidValueError:
        return _attempt(anatomy, request, rng, reserve=True)


def _attempt(
    anatomy: UInt8[np.ndarray, "z y x"], request: Request, rng: np.random.Generator, *, reserve: bool
) -> tuple[UInt8[np.ndarray, "z y x"], UInt8[np.ndarray, "z y x"], tuple[Lesion, ...]]:
    """Place all tumours; with `reserve`, a voxel is kept free for each before the first one grows."""
    canvas = Canvas(request.grid, anatomy.copy(), np.zeros_like(anatomy), np.bincount(anatomy.ravel(), minlength=256))
    tumours = sorted(request.subject.tumours, key=lambda entry: -(entry.size_mm or 0.0))
    sites = [_site(canvas, tumour) for tumour in tumours]
    kept = [
        reserved(canvas, site, tumour.count or 1) if reserve else []
        for site, tumour in zip(sites, tumours, strict=True)
    ]
    records: list[Lesion] = []
    for tumour, site, places in zip(tumours, sites, kept, strict=True):
        for size_mm in _instance_sizes(tumour, rng):
            if places:
                canvas.lesions[places.pop(0)] = 0
            wanted = Wanted(site, size_mm, draw_style(site, size_mm, rng))
            fitted = fit(canvas, wanted, rng) if size_mm == tumour.size_mm else _fit_smaller(canvas, wanted, rng)
            records.append(_paint(canvas, wanted, fitted, len(records) + 1))
    return canvas.anatomy, canvas.lesions, tuple(records)


def _fit_smaller(canvas: Canvas, wanted: Wanted, rng: np.random.Generator) -> Fitted:
    """Fit one of the further tumours of a group; where there is no room it becomes smaller."""
    while wanted.size_mm > _SMALLEST_MM:
        try:
            return fit(canvas, wanted, rng)
        except InvalidValueError:
            wanted = replace(wanted, size_mm=max(_SHRINK * wanted.size_mm, _SMALLEST_MM))
    return fit(canvas, wanted, rng)


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


def _paint(canvas: Canvas, wanted: Wanted, fitted: Fitted, instance: int) -> Lesion:
    """Paint a lesion and write its record."""
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
