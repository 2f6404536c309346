"""Keeping room for several lesions in a small site, before the first one takes it all."""

import numpy as np
from scipy import ndimage

from factory.engines.lesions.canvas import Canvas, Index, closed, padded
from manifests.anatomy import Structure

__all__ = ["RESERVED", "reserved"]

RESERVED = 255
"""Mark of a reserved voxel in the lesion layer; other lesions keep away from it as from a lesion."""
_APART = 2
"""Distance in voxels along some axis at which two voxels do not touch."""


def reserved(canvas: Canvas, site: Structure, count: int) -> list[Index]:
    """Mark up to `count` voxels of a site, far from each other, and return them, the most central first.

    Fewer where the site has no more places that do not touch.
    """
    box = ndimage.find_objects((canvas.anatomy == site.id).view(np.uint8))[0]
    box = padded(box, [1, 1, 1], canvas.anatomy.shape)
    free = np.argwhere((canvas.anatomy[box] == site.id) & ~closed(canvas, box)) + [part.start for part in box]
    if not len(free):
        return []
    distance = np.full(len(free), np.inf)
    chosen = int(np.square(free - free.mean(axis=0)).sum(axis=1).argmin())
    places: list[Index] = []
    while len(places) < count and distance[chosen] >= _APART:
        z, y, x = (int(i) for i in free[chosen])
        places.append((z, y, x))
        canvas.lesions[z, y, x] = RESERVED
        np.minimum(distance, np.abs(free - free[chosen]).max(axis=1), out=distance)
        chosen = int(distance.argmax())
    return places
