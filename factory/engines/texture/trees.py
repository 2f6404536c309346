"""Vessel trees inside a mask: grown from coarse to fine, with radii by Murray's law, then rasterised.

Points are scattered in the mask, few first, then more. Each generation joins the tree so far
along shortest paths over near neighbours. A hop costs its length to the power 1.7: long hops are
dear, so twigs join branches instead of running beside them, yet paths stay fairly straight. A branch that feeds n twigs has radius
r_twig n^(1/2.7) (Murray 1926; exponent of Nordsletten 2006 for real vessels).
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int
from scipy import sparse
from scipy.spatial import cKDTree

__all__ = ["Habit", "Tree", "companion", "grow", "rasterise"]

_NEIGHBOURS = 7
_MURRAY = 2.7
_HOP_POWER = 1.7
_CHUNK = 2_000_000
_PIECE_MM, _TAPER = 5.0, 1.35
_SWAY_MM = 1.8
_SWAY = 2 * np.pi / 41.0 * np.array([[0.2, 0.7, -0.6], [0.8, 0.4, 0.5], [-0.5, 0.6, 0.6]])
"""Wave vectors in radians per mm, one per column: three oblique waves some 40 mm long."""


@dataclass(frozen=True, slots=True)
class Tree:
    """Nodes in mm along z, y, x from the centre of voxel 0; parents come before children, the root is node 0."""

    points_mm: Float64[np.ndarray, "n 3"]
    parent: Int[np.ndarray, " n"]
    radius_mm: Float64[np.ndarray, " n"]


@dataclass(frozen=True, slots=True)
class Habit:
    """How a tree branches: points of each generation, radius of a twig, largest radius, in mm."""

    generations: tuple[int, ...]
    twig_mm: float
    trunk_mm: float


def grow(
    mask: Bool[np.ndarray, "z y x"],
    spacing_mm: tuple[float, float, float],
    root_mm: Float64[np.ndarray, "3"],
    habit: Habit,
    rng: np.random.Generator,
) -> Tree:
    """Grow one connected tree that fills a mask from a root point.

    Args:
        mask: where the tree may branch; not empty.
        spacing_mm: voxel spacing along z, y, x.
        root_mm: first node, in mm from the centre of voxel 0.
        habit: how it branches.
        rng: source of randomness.
    """
    inside = np.flatnonzero(mask)
    points, parent = np.asarray(root_mm)[None], np.array([-1])
    for count in habit.generations:
        chosen = rng.choice(inside, min(count, inside.size), replace=False)
        index = np.stack(np.unravel_index(chosen, mask.shape), axis=1)
        fresh = (index + rng.uniform(-0.5, 0.5, index.shape)) * spacing_mm
        points, parent = _join(points, parent, fresh)
    return _bend(Tree(points, parent, _radii(parent, habit)))


def _join(
    points: Float64[np.ndarray, "n 3"],
    parent: Int[np.ndarray, " n"],
    fresh: Float64[np.ndarray, "m 3"],
) -> tuple[Float64[np.ndarray, "k 3"], Int[np.ndarray, " k"]]:
    """Join new points to a tree along shortest paths; points that no path reaches are dropped."""
    old, everything = len(points), np.concatenate([points, fresh])
    degree = min(_NEIGHBOURS, len(everything))
    found = cKDTree(everything).query(everything, degree)
    length, near = np.asarray(found[0]), np.asarray(found[1])
    rows = np.repeat(np.arange(len(everything)), degree)
    graph = sparse.csr_array((length.ravel() ** _HOP_POWER + 1e-6, (rows, near.ravel())), shape=(len(everything),) * 2)
    reached, before, _ = sparse.csgraph.dijkstra(
        graph, directed=False, indices=np.arange(old), return_predecessors=True, min_only=True
    )
    order = np.argsort(reached[old:], kind="stable")
    order = order[np.isfinite(reached[old:][order])] + old
    place = np.full(len(everything), -1)
    place[:old] = np.arange(old)
    place[order] = old + np.arange(len(order))
    joined = np.concatenate([np.arange(old), order])
    return everything[joined], np.concatenate([parent, place[before[order]]])


def _radii(parent: Int[np.ndarray, " n"], habit: Habit) -> Float64[np.ndarray, " n"]:
    """Radius of every node from the number of twigs that hang on it."""
    leaves = np.ones(len(parent))
    leaves[np.unique(parent[parent >= 0])] = 0
    for node in range(len(parent) - 1, 0, -1):
        leaves[parent[node]] += leaves[node]
    radius: Float64[np.ndarray, " n"] = np.minimum(habit.twig_mm * leaves ** (1 / _MURRAY), habit.trunk_mm)
    return radius


def _bend(tree: Tree) -> Tree:
    """Cut long branches into pieces that taper, and sway them, since no vessel runs straight.

    The sway is one smooth displacement of space, so that joints stay joints.
    """
    child = np.arange(1, len(tree.parent))
    above = tree.parent[child]
    span = tree.points_mm[child] - tree.points_mm[above]
    pieces = np.maximum(np.ceil(np.linalg.norm(span, axis=1) / _PIECE_MM).astype(np.int64), 1)
    place = np.concatenate([[0], np.cumsum(pieces)])
    edge = np.repeat(np.arange(len(child)), pieces)
    number = np.arange(edge.size) - np.repeat(place[:-1], pieces)
    part = (number + 1) / pieces[edge]
    points = np.concatenate([tree.points_mm[:1], tree.points_mm[above][edge] + part[:, None] * span[edge]])
    parent = np.concatenate([[-1], np.where(number == 0, place[above][edge], np.arange(edge.size))])
    wide = np.minimum(tree.radius_mm[above], _TAPER * tree.radius_mm[child])[edge]
    radius = np.concatenate([tree.radius_mm[:1], wide + part * (tree.radius_mm[child][edge] - wide)])
    waves = points @ _SWAY + np.array([0.3, 1.9, 4.1])
    sway = _SWAY_MM * (np.sin(waves) + 0.6 * np.sin(2.3 * waves[:, [1, 2, 0]]))
    return Tree(points + sway - sway[0], parent, radius)


def companion(tree: Tree, smallest_mm: float, extra_mm: float) -> Tree:
    """A tube beside the larger branches, as a bronchus runs beside its artery.

    Args:
        tree: the vessels.
        smallest_mm: radius below which a branch has no companion.
        extra_mm: added to the radius: the thickness of a wall.
    """
    kept = tree.radius_mm >= smallest_mm
    kept[0] = True
    place = np.cumsum(kept) - 1
    parent = np.where(tree.parent[kept] >= 0, place[tree.parent[kept]], -1)
    radius = 0.8 * tree.radius_mm[kept]
    beside = np.array([0.2, 0.75, 0.63]) * (radius + tree.radius_mm[kept] + 1.0)[:, None]
    return Tree(tree.points_mm[kept] + beside, parent, radius + extra_mm)


def rasterise(
    tree: Tree, shape: tuple[int, int, int], spacing_mm: tuple[float, float, float]
) -> Float32[np.ndarray, "z y x"]:
    """Share of each voxel that the tree fills, 0 to 1.

    Branches thinner than a voxel are deposited by volume over the eight nearest voxels, so
    that a thin vessel is faint, not wide; thick ones are stamped as balls with soft edges.
    """
    spacing = np.asarray(spacing_mm)
    child = np.arange(1, len(tree.parent))
    start, stop = tree.points_mm[tree.parent[child]], tree.points_mm[child]
    radius = tree.radius_mm[child]
    # balls a third of a radius apart leave a tube smooth within 2 percent
    step = np.maximum(spacing.min() / 2, 0.35 * radius)
    length = np.linalg.norm(stop - start, axis=1)
    count = np.maximum(np.ceil(length / step).astype(int), 1)
    branch = np.repeat(np.arange(len(child)), count)
    offset = (np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count) + 0.5) / count[branch]
    points = (start[branch] + offset[:, None] * (stop - start)[branch]) / spacing
    volume = np.pi * radius[branch] ** 2 * (length / count)[branch] / spacing.prod()
    thin = radius[branch] < 0.75 * np.cbrt(spacing.prod())
    share = _deposit(points[thin], volume[thin], shape)
    _stamp(share, points[~thin], radius[branch][~thin], spacing)
    np.minimum(share, 1, out=share)
    return share


def _deposit(
    points: Float64[np.ndarray, "n 3"], volume: Float64[np.ndarray, " n"], shape: tuple[int, int, int]
) -> Float32[np.ndarray, "z y x"]:
    """Spread volumes over the eight voxels around each point, trilinearly."""
    low = np.floor(points).astype(np.int64)
    part = points - low
    corners = np.array(list(np.ndindex(2, 2, 2)))
    weight = np.prod(np.where(corners[:, None], part, 1 - part), axis=2) * volume
    flat, valid = _flat(low + corners[:, None], shape)
    total = np.bincount(flat[valid], weight[valid], minlength=int(np.prod(shape)))
    return total.reshape(shape).astype(np.float32)


def _stamp(
    share: Float32[np.ndarray, "z y x"],
    points: Float64[np.ndarray, "n 3"],
    radius: Float64[np.ndarray, " n"],
    spacing: Float64[np.ndarray, "3"],
) -> None:
    """Raise `share` to the cover of balls with edges one voxel soft; `points` in voxels, `radius` in mm."""
    voxel = float(np.cbrt(spacing.prod()))
    # a cover above 0 reaches radius + voxel / 2 from a point that lies up to half a step off its nearest voxel
    reach = np.floor((radius[:, None] + voxel / 2) / spacing + 0.5).astype(np.int64)
    centre = np.rint(points).astype(np.int64)
    kept = ((centre + reach >= 0) & (centre - reach < share.shape)).all(axis=1)
    members = np.flatnonzero(kept)
    if not len(members):
        return
    kinds, kind = np.unique(reach[members], axis=0, return_inverse=True)
    for number, extent in enumerate(kinds):
        group = members[kind == number]
        for part in np.array_split(group, max(len(group) * int((2 * extent + 1).prod()) // _CHUNK, 1)):
            _stamp_equal(share, (points[part], centre[part], radius[part]), extent, spacing)


def _stamp_equal(
    share: Float32[np.ndarray, "z y x"],
    balls: tuple[Float64[np.ndarray, "n 3"], Int[np.ndarray, "n 3"], Float64[np.ndarray, " n"]],
    reach: Int[np.ndarray, "3"],
    spacing: Float64[np.ndarray, "3"],
) -> None:
    """Stamp balls that reach equally many voxels: points, nearest voxels and radii."""
    points, centre, radius = balls
    count = len(points)
    squared: np.ndarray = np.zeros((count, 1, 1, 1), np.float32)
    flat: np.ndarray = np.zeros((count, 1, 1, 1), np.int64)
    inside: np.ndarray = np.ones((count, 1, 1, 1), bool)
    for axis, strides in enumerate((share.shape[1] * share.shape[2], share.shape[2], 1)):
        index = centre[:, axis, None] + np.arange(-reach[axis], reach[axis] + 1)
        apart = ((index - points[:, axis, None]) * spacing[axis]).astype(np.float32)
        shape = (count, *(-1 if other == axis else 1 for other in range(3)))
        squared = squared + np.square(apart).reshape(shape)
        flat = flat + (index * strides).reshape(shape)
        inside = inside & ((index >= 0) & (index < share.shape[axis])).reshape(shape)
    voxel = np.float32(np.cbrt(spacing.prod()))
    reached = (radius / voxel + 0.5).astype(np.float32)[:, None, None, None]
    hit = inside & (squared < np.square(reached * voxel))
    cover = np.broadcast_to(reached, hit.shape)[hit] - np.sqrt(squared[hit]) / voxel
    np.maximum.at(share.reshape(-1), flat[hit], np.minimum(cover, 1))


def _flat(
    index: Int[np.ndarray, "*n 3"], shape: tuple[int, ...]
) -> tuple[Int[np.ndarray, "*n"], Bool[np.ndarray, "*n"]]:
    """Flat voxel numbers, and which of them lie inside the array."""
    z, y, x = index[..., 0], index[..., 1], index[..., 2]
    valid: Bool[np.ndarray, "*n"] = (z >= 0) & (z < shape[0]) & (y >= 0) & (y < shape[1]) & (x >= 0) & (x < shape[2])
    return (z * shape[1] + y) * shape[2] + x, valid
