"""Placing every tumour of a subject, the largest first, and writing the record of each instance."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import UInt8

from factory.engines.base import Request
from factory.engines.lesions.canvas import Canvas, Index
from factory.engines.lesions.fitting import Fitted, Wanted, fit
from factory.engines.lesions.kinds import draw_kind, draw_style
from factory.engines.lesions.reserving import reserved
from factory.engines.lesions.spreading import metastases, scatters
from manifests.anatomy import Structure, structure
from manifests.case import Lesion
from manifests.errors import InvalidValueError
from manifests.geometry import Grid
from prompts.schema import Tumour

__all__ = ["lesion_notes", "place_lesions"]

_log = logging.getLogger(__name__)

_SMALLER = (0.3, 0.85)
"""Size of the further tumours of a group, relative to the largest."""
_SATELLITE, _SATELLITE_REACH_MM = (0.15, 0.45), 35.0
"""The same for satellites, and how far from the surface of the largest tumour they lie at most."""
_SMALLEST_MM = 3.0
_SHRINK = 0.6


def place_lesions(
    anatomy: UInt8[np.ndarray, "z y x"], request: Request
) -> tuple[UInt8[np.ndarray, "z y x"], UInt8[np.ndarray, "z y x"], tuple[Lesion, ...]]:
    """Paint the tumours of a request's subject into an anatomy.

    The largest of a tumour's `count` instances has `size_mm` to within a voxel, and to within a
    tenth where the grid resolves that; the others are smaller. Where the prompt states M1, metastases
    follow at sites that hold no asked tumour. Under a lesion the anatomy is its site. A large
    tumour of a solid organ pushes what lies around it outward; bone and the outside never move. A lesion never takes
    bone, vessels, heart or the outside, keeps a gap to other lesions and to the edge of the grid,
    and never cuts another organ. No tumours: the anatomy unchanged and no lesions.

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


def lesion_notes(records: Sequence[Lesion]) -> dict[str, str]:
    """What was drawn and no gate can measure: kind, form and role of each lesion, as one note; none without lesions."""
    drawn = [f"{record.id} {record.site} {record.kind} {record.form} {record.role}" for record in records]
    return {"lesions_drawn": "; ".join(drawn)} if drawn else {}


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
        for wanted, role, kind in _group(tumour, site, records, canvas.grid, rng):
            if places:
                canvas.lesions[places.pop(0)] = 0
            fitted = fit(canvas, wanted, rng) if wanted.size_mm == tumour.size_mm else _fit_smaller(canvas, wanted, rng)
            records.append(_paint(canvas, wanted, fitted, (len(records) + 1, kind, role)))
    _spread(canvas, request, records, rng)
    return canvas.anatomy, canvas.lesions, tuple(records)


def _group(
    tumour: Tumour, site: Structure, records: list[Lesion], grid: Grid, rng: np.random.Generator
) -> Iterator[tuple[Wanted, str, str]]:
    """Draw the lesions of a tumour one by one, the largest first: satellites lie near it; `records` grows meanwhile."""
    first, scattered = len(records), scatters(tumour)
    for number, size_mm in enumerate(_instance_sizes(tumour, rng, _SATELLITE if scattered else _SMALLER)):
        role = "satellite" if scattered and number else "primary"
        kind = draw_kind(site, size_mm, role, rng)
        wanted = Wanted(site, size_mm, draw_style(site, size_mm, kind, role, rng))
        if role == "satellite":
            reach_mm = records[first].size_mm / 2 + _SATELLITE_REACH_MM
            wanted = replace(wanted, near=_index(records[first], grid), near_mm=reach_mm)
        yield wanted, role, kind


def _index(record: Lesion, grid: Grid) -> Index:
    """The voxel nearest to the centre of a lesion."""
    x, y, z = (
        round((c - o) / s)
        for c, o, s in zip(record.center_mm_xyz, grid.origin_mm_xyz, grid.spacing_mm_zyx[::-1], strict=True)
    )
    return z, y, x


def _spread(canvas: Canvas, request: Request, records: list[Lesion], rng: np.random.Generator) -> None:
    """Add the metastases of a prompt that states M1, as many as find room."""
    taken = {str(tumour.site) for tumour in request.subject.tumours}
    for site, size_mm in metastases(canvas, request.prompt, taken, rng):
        kind = draw_kind(site, size_mm, "metastasis", rng)
        wanted = Wanted(site, size_mm, draw_style(site, size_mm, kind, "metastasis", rng))
        try:
            fitted = _fit_smaller(canvas, wanted, rng)
        except InvalidValueError:
            _log.info("%s: no room for a metastasis of %.0f mm", site.name, size_mm)
            continue
        records.append(_paint(canvas, wanted, fitted, (len(records) + 1, kind, "metastasis")))


def _fit_smaller(canvas: Canvas, wanted: Wanted, rng: np.random.Generator) -> Fitted:
    """Fit one of the further tumours of a group; where there is no room it becomes smaller."""
    while wanted.size_mm > _SMALLEST_MM:
        try:
            return fit(canvas, wanted, rng)
        except InvalidValueError:
            wanted = replace(wanted, size_mm=max(_SHRINK * wanted.size_mm, _SMALLEST_MM), near=None)
    return fit(canvas, replace(wanted, near=None), rng)


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


def _instance_sizes(tumour: Tumour, rng: np.random.Generator, smaller: tuple[float, float]) -> list[float]:
    """Sizes of a tumour's instances in mm, largest first."""
    assert tumour.count
    assert tumour.size_mm
    others = np.maximum(tumour.size_mm * rng.uniform(*smaller, size=tumour.count - 1), _SMALLEST_MM)
    return [tumour.size_mm, *sorted(map(float, np.minimum(others, tumour.size_mm)), reverse=True)]


def _paint(canvas: Canvas, wanted: Wanted, fitted: Fitted, said: tuple[int, str, str]) -> Lesion:
    """Paint a lesion, with what it pushes away, and write its record: instance, kind and role."""
    instance, kind, role = said
    if fitted.pushed:
        whole = fitted.pushed.box
        canvas.voxels -= np.bincount(canvas.anatomy[whole].ravel(), minlength=256)
        canvas.voxels += np.bincount(fitted.pushed.anatomy.ravel(), minlength=256)
        canvas.anatomy[whole] = fitted.pushed.anatomy
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
        kind=kind,
        form=fitted.form,
        role=role,
        size_mm=round(fitted.size_mm, 3),
        volume_ml=round(float(taken.sum()) * canvas.grid.voxel_volume_ml, 4),
        center_mm_xyz=(round(float(x), 3), round(float(y), 3), round(float(z), 3)),
    )
