"""Surface elements of a mask as the field takes them for NSD: marching cubes with area weights.

Nikolov et al. (2021, doi:10.2196/26151) weigh each point of a surface by the area that it stands for. The
points lie where eight voxels meet; which of the eight are in the mask picks one of the 14 cases of marching
cubes (Lorensen & Cline 1987, cut halfway, the inside split on an ambiguous face), whose triangles give the area.
A case, its mirror images and rotations and its complement have the same area up to the order of the axes,
so that 14 rows make all 256. Three of the cases have polygons that are not flat; they are cut into triangles
as in the authors' published tables, which `tests/downstream/test_surfaces.py` pins by value.
"""

from functools import lru_cache
from itertools import permutations, product

import numpy as np
from jaxtyping import Bool, Float64, UInt8

__all__ = ["areas_mm2", "codes"]


CORNERS = tuple(product((0, 1), repeat=3))

# Corners inside the mask as (z, y, x) digits, and per triangle its area vector (z, y, x) in eighths of a voxel face.
CASES = {
    "": "",
    "111": "111",
    "110 111": "220 220",
    "101 110": "111 111",
    "011 100": "111 111",
    "101 110 111": "111 222 400",
    "011 101 110": "111 111 111",
    "011 100 111": "022 022 111",
    "100 101 110 111": "400 400",
    "011 101 110 111": "111 111 222 222",
    "011 100 110 111": "022 111 202 333",
    "011 100 101 110": "111 111 222 400",
    "010 011 100 101": "220 220 220 220",
    "001 010 100 111": "111 111 111 111",
}


def codes(mask: Bool[np.ndarray, "z y x"]) -> UInt8[np.ndarray, "z+1 y+1 x+1"]:
    """Write the eight voxels around each corner point as bits; 0 and 255 are no surface, outside counts as empty.

    Point (i, j, k) is the corner between voxels i-1 and i, and so on; bit 4z + 2y + x is the voxel on
    the lower (0) or upper (1) side of each axis.
    """
    code = np.zeros(tuple(n + 1 for n in mask.shape), np.uint8)
    voxels = mask.view(np.uint8)
    for bit, corner in enumerate(CORNERS):
        # the voxel on the upper side of point i is voxel i itself
        place = tuple(slice(None, -1) if upper else slice(1, None) for upper in corner)
        code[place] |= voxels << bit
    return code


@lru_cache(maxsize=64)
def areas_mm2(spacing_mm_zyx: tuple[float, float, float]) -> Float64[np.ndarray, "256"]:
    """Area of the surface in mm^2 that each neighbour code stands for, at this spacing."""
    z, y, x = spacing_mm_zyx
    faces_mm2 = np.array([y * x, z * x, z * y])
    table = np.zeros(256)
    for code, vectors in _vectors().items():
        table[code] = np.linalg.norm(vectors * faces_mm2, axis=1).sum()
    table.flags.writeable = False
    return table


@lru_cache(maxsize=1)
def _vectors() -> dict[int, np.ndarray]:
    """Area vectors of all 256 codes, from the 14 cases by symmetry."""
    table: dict[int, np.ndarray] = {}
    for inside, triangles in CASES.items():
        corners = [tuple(map(int, digits)) for digits in inside.split()]
        vectors = np.array([tuple(map(int, digits)) for digits in triangles.split()], float).reshape(-1, 3) / 8
        for order, flip in product(permutations(range(3)), product((0, 1), repeat=3)):
            code = sum(1 << _bit([c[axis] ^ f for axis, f in zip(order, flip, strict=True)]) for c in corners)
            table[code] = table[255 - code] = vectors[:, list(order)]
    return table


def _bit(corner: list[int]) -> int:
    return 4 * corner[0] + 2 * corner[1] + corner[2]
