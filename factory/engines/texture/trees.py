"""Vessel trees inside a mask: grown from coarse to fine, with radii by Murray's law, then rasterised.

Points are scattered in the mask, few first, then more. Each generation joins the tree so far
along shortest paths over near neighbours, hop cost being squared length, which makes twigs
join branches instead of running beside them. A branch that feeds n twigs has radius
r_twig n^(1/2.7) (Murray 1926; exponent of Nordsletten 2006 for real vessels).
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int
from scipy import sparse
from scipy.spatial import cKDTree

__all__ = ["Habit", "Tree", "grow", "rasterise"]

_NEIGHBOURS = 7
_MURRAY = 2.7
_CHUNK = 2_000_000


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
    points, parent, depth = np.asarray(root_mm)[None], np.array([-1]), np.zeros(1)
    for count in habit.generations:
        chosen = rng.choice(inside, min(count, inside.size), replace=False)
        index = np.stack(np.unravel_index(chosen, mask.shape), axis=1)
        fresh = (index + rng.uniform(-0.5, 0.5, index.shape)) * spacing_mm
        points, parent, depth = _join(points, parent, depth, fresh)
    return Tree(points, parent, _radii(parent, habit))


def _join(
    points: Float64[np.ndarray, "n 3"],
    parent: Int[np.ndarray, " n"],
    depth: Float64[np.ndarray, " n"],
    fresh: Float64[np.ndarray, "m 3"],
) -> tuple[Float64[np.ndarray, "k 3"], Int[np.ndarray, " k"], Float64[np.ndarray, " k"]]:
    """Join new points to a tree along shortest paths; points that no path reaches are dropped."""
    old, everything = len(points), np.concatenate([points, fresh])
    degree = min(_NEIGHBOURS, len(everything))
    length, near = cKDTree(everything).query(everything, degree)
    rows = np.repeat(np.arange(len(everything)), degree)
    graph = sparse.csr_array((length.ravel() ** 2 + 1e-6, (rows, near.ravel())), shape=(len(everything),) * 2)
    reached, before, _ = sparse.csgraph.dijkstra(
        graph, directed=False, indices=np.arange(old), return_predecessors=True, min_only=True
    )
    order = np.argsort(reached[old:], kind="stable")
    order = order[np.isfinite(reached[old:][order])] + old
    place = np.full(len(everything), -1)
    place[:old] = np.arange(old)
    place[order] = old + np.arange(len(order))
    joined = np.concatenate([np.arange(old), order])
    return everything[joined], np.concatenate([parent, place[before[order]]]), np.concatenate([depth, reached[order]])


def _radii(parent: Int[np.ndarray, " n"], habit: Habit) -> Float64[np.ndarray, " n"]:
    """Radius of every node from the number of twigs that hang on it."""
    leaves = np.ones(len(parent))
    leaves[np.unique(parent[parent >= 0])] = 0
    for node in range(len(parent) - 1, 0, -1):
        leaves[parent[node]] += leaves[node]
    return np.minimum(habit.twig_mm * leaves ** (1 / _MURRAY), habit.trunk_mm)


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
    radius, step = tree.radius_mm[child], spacing.min() / 2
    length = np.linalg.norm(stop - start, axis=1)
    count = np.maximum(np.ceil(length / step).astype(int), 1)
    branch = np.repeat(np.arange(len(child)), count)
    offset = (np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count) + 0.5) / count[branch]
    points = (start[branch] + offset[:, None] * (stop - start)[branch]) / spacing
    volume = np.pi * radius[branch] ** 2 * (length / count)[branch] / spacing.prod()
    thin = radius[branch] < 0.75 * np.cbrt(spacing.prod())
    share = _deposit(points[thin], volume[thin], shape)
    _stamp(share, points[~thin], radius[branch][~thin], spacing)
    return np.minimum(share, 1)


def _deposit(
    points: Float64[np.ndarray, "n 3"], volume: Float64[np.ndarray, " n"], shape: tuple[int, int, int]
) -> Float32[np.ndarray, "z y x"]:
    low = np.floor(points).astype(int)
    part = points - low
    total = np.zeros(int(np.prod(shape)))
    for corner in np.ndindex(2, 2, 2):
        weight = np.prod(np.where(corner, part, 1 - part), axis=1) * volume
        flat, valid = _flat(low + corner, shape)
        total += np.bincount(flat[valid], weight[valid], minlength=total.size)
    return total.reshape(shape).astype(np.float32)


def _stamp(
    share: Float32[np.ndarray, "z y x"],
    points: Float64[np.ndarray, "n 3"],
    radius: Float64[np.ndarray, " n"],
    spacing: Float64[np.ndarray, "3"],
) -> None:
    voxel = np.cbrt(spacing.prod())
    size = np.ceil(radius / voxel).astype(int)
    for extent in np.unique(size):
        reach = np.ceil(extent * voxel / spacing).astype(int) + 1
        ball = np.stack(np.meshgrid(*(np.arange(-n, n + 1) for n in reach), indexing="ij"), -1).reshape(-1, 3)
        members = np.flatnonzero(size == extent)
        for part in np.array_split(members, max(len(members) * len(ball) // _CHUNK, 1)):
            near = np.round(points[part])[:, None].astype(int) + ball
            gap = np.linalg.norm((near - points[part][:, None]) * spacing, axis=2)
            cover = np.clip(0.5 + (radius[part][:, None] - gap) / voxel, 0, 1).astype(np.float32)
            flat, valid = _flat(near, share.shape)
            valid &= cover > 0
            np.maximum.at(share.reshape(-1), flat[valid], cover[valid])


def _flat(
    index: Int[np.ndarray, "*n 3"], shape: tuple[int, ...]
) -> tuple[Int[np.ndarray, "*n"], Bool[np.ndarray, "*n"]]:
    valid = ((index >= 0) & (index < shape)).all(axis=-1)
    return (index[..., 0] * shape[1] + index[..., 1]) * shape[2] + index[..., 2], valid
