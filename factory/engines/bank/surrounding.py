"""What stands around the organs of a source: its own ground, or a drawn body where it labels little.

A sparse source (a few organs, no body) is set into a body of the embedded phantom, drawn for
the same patient without the organs that the source has. Structures that the source does not
label are then the phantom's, and those that its organs cover are cut.
"""

from dataclasses import replace

import numpy as np
from jaxtyping import Bool, UInt8
from scipy import ndimage

from factory.engines.bank.library import Atlas
from factory.engines.bank.normal import range_ml
from factory.engines.bank.resampling import LabelMap, Warp, pull, sampled
from factory.engines.base import Request
from factory.engines.phantom import Phantom
from manifests.anatomy import by_id, group, structure
from manifests.geometry import Grid
from prompts.schema import Prompt

__all__ = ["BACKGROUND", "surround"]

BACKGROUND = Phantom
"""The mask model that draws what a sparse source leaves out."""

_UNDIVIDED = {"lungs": ("lung", None), "lung_left": ("lung", "left"), "lung_right": ("lung", "right"),
              "vertebral_column": ("vertebrae", None), "ribs": ("rib", None), "colon": ("colon", None)}  # fmt: skip
_RIM_MM = 6.0
"""Fat under the skin where an outline is narrower than the body that is drawn into it."""
_COVER_MM = (7.0, 20.0)
"""Muscle and fat that at least cover an organ."""


def surround(atlas: Atlas, warp: Warp, request: Request) -> tuple[UInt8[np.ndarray, "z y x"], float]:
    """Pull the organs of a source to the grid of a request and fill in what lies around them.

    Returns:
        The anatomy, and the share of its slices that the source shows. Where a whole source ends, so
        does the body, on a flat slice like a scan's.
    """
    organs = pull(atlas.organs, warp, request.grid)
    if atlas.source.whole:
        drawn = pull(atlas.ground, warp, request.grid, organs) if atlas.ground else organs
        seen = _seen(atlas, warp, request.grid)
        drawn[~seen] = 0
        return drawn, float(seen.mean())
    organs = _trusted(organs, atlas, request)
    body = BACKGROUND().draw(_without(request, organs)).anatomy
    if atlas.ground is not None:
        _trim(body, atlas.ground, warp, request)
    drawn = np.where(organs > 0, organs, body)
    _cover(drawn, organs > 0, request.grid)
    return drawn, 1.0


def _trusted(organs: UInt8[np.ndarray, "z y x"], atlas: Atlas, request: Request) -> UInt8[np.ndarray, "z y x"]:
    """Leave out of a sparse source what is too small to be whole, unless the prompt needs it: it is drawn instead."""
    subject = request.subject
    needed = {str(tumour.site) for tumour in subject.tumours}
    needed |= {entry.name for name in subject.enlarged_organs for entry in group(name)}
    kept = np.arange(256, dtype=np.uint8)
    for name, here_ml in atlas.source.volumes_ml.items():
        span = range_ml(structure(name), subject.patient)
        if span and here_ml < span[0] and name not in needed:
            kept[structure(name).id] = 0
    return np.asarray(kept[organs])


def _seen(atlas: Atlas, warp: Warp, grid: Grid) -> Bool[np.ndarray, " z"]:
    """Slices of a grid that lie wholly within the heights of a source."""
    own, lattice = atlas.source.grid, warp.lattice
    z, y, x = grid.axes_mm()
    half = own.spacing_mm_zyx[0] / 2
    low = own.origin_mm_xyz[2] - half
    high = low + own.extent_mm_zyx[0]
    across = [
        axis[(axis > edges[0]) & (axis < edges[-1])] for axis, edges in zip(lattice.axes_mm()[1:], (y, x), strict=True)
    ]
    heights = sampled(warp.points_mm[2], (z, *across), lattice)
    return np.asarray(((heights > low) & (heights < high)).all(axis=(1, 2)))


def _without(request: Request, organs: UInt8[np.ndarray, "z y x"]) -> Request:
    """The same patient without tumours, and without the organs that are there already."""
    names: set[str] = set()
    for id in np.unique(organs[organs > 0]).tolist():
        entry = by_id(id)
        whole = _UNDIVIDED.get(entry.name)
        if whole:
            names |= {part.name for part in group(whole[0]) if whole[1] in (None, part.side)}
        elif entry.group != "undivided":
            names.add(entry.name)
    absent = tuple(sorted(names | set(request.subject.absent_organs)))
    fields = {"tumours": (), "enlarged_organs": (), "absent_organs": absent}
    subject = Prompt.model_validate({**dict(request.subject), **fields})
    return replace(request, prompt=subject, subject=subject)


def _trim(body: UInt8[np.ndarray, "z y x"], outline: LabelMap, warp: Warp, request: Request) -> None:
    """Bring a drawn body, in place, to the outline that a CT showed, as far as the CT reaches."""
    view = LabelMap(np.ones_like(outline.labels), outline.grid)
    seen = pull(view, warp, request.grid) > 0
    inside = pull(outline, warp, request.grid) > 0
    body[seen & ~inside] = 0
    rim = [1, *(2 * max(1, round(_RIM_MM / s)) + 1 for s in request.grid.spacing_mm_zyx[1:])]
    deep = ndimage.minimum_filter((inside | ~seen).view(np.uint8), rim) > 0
    body[seen & inside & ((body == 0) | ~deep)] = structure("subcutaneous_fat").id


def _cover(drawn: UInt8[np.ndarray, "z y x"], organs: Bool[np.ndarray, "z y x"], grid: Grid) -> None:
    """Lay muscle and fat, in place, on organs that reach through the skin."""
    bare = drawn == 0
    reach = [int(np.ceil(_COVER_MM[-1] / s)) for s in grid.spacing_mm_zyx]
    close = ndimage.maximum_filter(organs.view(np.uint8), [2 * r + 1 for r in reach])
    if not (close & bare).any():
        return
    box = ndimage.find_objects(close)[0]
    depth = ndimage.distance_transform_edt(~organs[box], sampling=grid.spacing_mm_zyx)
    view, open_ = drawn[box], bare[box]
    view[open_ & (depth <= _COVER_MM[1])] = structure("subcutaneous_fat").id
    view[open_ & (depth <= _COVER_MM[0])] = structure("skeletal_muscle").id
