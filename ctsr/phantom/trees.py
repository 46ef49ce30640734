"""Branching trees: arteries with the airways beside them, and veins between."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ctsr.phantom.compiled import compiled

Array = npt.NDArray[np.float32]

PIECES = 6  # straight pieces that a curved branch is drawn with
FORK = 0.45  # a branch ends this share of the way to the middle of what it supplies


@dataclass(frozen=True)
class Tubes:
    """Straight tapering tubes.

    Attributes:
        start: First end of each tube, (n, 3) as (z, y, x) in mm.
        end: Second end, (n, 3).
        radii: Radius at both ends in mm, (n, 2).
    """

    start: Array
    end: Array
    radii: Array

    @staticmethod
    def together(tubes: Sequence[Tubes]) -> Tubes:
        """All tubes of several sets."""
        start, end, radii = zip(*((t.start, t.end, t.radii) for t in tubes), strict=True)
        return Tubes(np.concatenate(start), np.concatenate(end), np.concatenate(radii))


@dataclass(frozen=True)
class Tree:
    """A tree of curved branches, parents before children.

    Attributes:
        start: Where each branch begins, (n, 3) as (z, y, x) in mm.
        bend: Control point of its quadratic Bézier curve, which goes on in the parent's direction.
        end: Where it ends.
        side: Unit vector across the branch, turned as little as possible from parent to child: the companion's side.
        parent: Index of the parent branch; the root's is its own.
        leaves: How many end points the branch supplies.
    """

    start: Array
    bend: Array
    end: Array
    side: Array
    parent: npt.NDArray[np.int64]
    leaves: npt.NDArray[np.int64]


def grow(points: Array, root: Array, rng: np.random.Generator) -> Tree:
    """Tree from `root` to every point, by splitting the points again and again across the branch that reaches them.

    Args:
        points: End points (n, 3) as (z, y, x) in mm, at least one.
        root: Where the tree begins.
        rng: Source of the uneven splits.

    Returns:
        The tree, 2n - 1 branches.
    """
    total = 2 * len(points) - 1
    start, bend, end, side, heading = (np.zeros((total, 3), np.float32) for _ in range(5))
    parents, leaves = np.zeros((2, total), np.int64)
    waiting = [(points, 0)]
    for branch in range(total):
        supplied, parent = waiting.pop()
        middle = supplied.mean(axis=0)
        begin = root if branch == 0 else end[parent]
        step = (middle - begin) * (1 if len(supplied) == 1 else FORK)
        onward = _unit(step) if branch == 0 else heading[parent]
        start[branch], end[branch] = begin, begin + step
        bend[branch] = begin + 0.4 * np.linalg.norm(step) * onward
        heading[branch] = _unit(end[branch] - bend[branch])
        across = np.array([0.3, 0.5, 0.8]) if branch == 0 else side[parent]
        side[branch] = _unit(across - (across @ heading[branch]) * heading[branch])
        parents[branch], leaves[branch] = parent, len(supplied)
        if len(supplied) > 1:
            waiting += [(part, branch) for part in _split(supplied, _unit(step), rng.uniform(0.2, 0.8))]
    return Tree(start, bend, end, side, parents, leaves)


def _split(points: Array, way: Array, ratio: float) -> tuple[Array, Array]:
    """Part the points where they spread widest across the branch's way."""
    around = points - points.mean(axis=0)
    around = around - np.outer(around @ way, way)
    widest = np.linalg.eigh(around.T @ around).eigenvectors[:, -1]
    order = np.argsort(around @ widest)
    cut = min(max(int(len(points) * ratio), 1), len(points) - 1)
    return points[order[:cut]], points[order[cut:]]


def _unit(vector: Array) -> Array:
    return np.asarray(vector / (np.linalg.norm(vector) + 1e-9), dtype=np.float32)


def vessels(tree: Tree, radii: Array) -> Tubes:
    """The branches as tubes of the given radii (n,) in mm; each begins as wide as its parent ends, and tips taper."""
    centres, around, _ = _curves(tree, radii)
    tips = np.linspace(1, 0.4, PIECES + 1, dtype=np.float32)
    return _tubes(centres, np.where((tree.leaves == 1)[:, None], tips * around, around))


def beside(tree: Tree, radii: Array, distance: Array, wide: npt.NDArray[np.bool_]) -> Tubes:
    """Tubes of radius `radii` that run beside the branches chosen by `wide`, `distance` mm from axis to axis."""
    centres, around, sides = _curves(tree, radii)
    _, gap, _ = _curves(tree, distance)
    return _tubes((centres + gap[..., None] * sides)[wide], around[wide])


def _curves(tree: Tree, radii: Array) -> tuple[Array, Array, Array]:
    """Points along each branch (n, PIECES + 1, 3), the radius there, and the companion's side there."""
    t = np.linspace(0, 1, PIECES + 1, dtype=np.float32)[None, :, None]
    start, bend, end = (a[:, None, :] for a in (tree.start, tree.bend, tree.end))
    centres = (1 - t) ** 2 * start + 2 * t * (1 - t) * bend + t**2 * end
    tangents = (1 - t) * (bend - start) + t * (end - bend)
    tangents /= np.linalg.norm(tangents, axis=-1, keepdims=True) + 1e-9
    own = np.clip(2 * t, 0, 1)  # the first half goes over from the parent's radius and side to the branch's own
    around = (own * radii[:, None, None] + (1 - own) * radii[tree.parent][:, None, None])[..., 0]
    sides = own * tree.side[:, None] + (1 - own) * tree.side[tree.parent][:, None]
    sides = sides - (sides * tangents).sum(axis=-1, keepdims=True) * tangents
    return centres, around, sides / np.linalg.norm(sides, axis=-1, keepdims=True)


def _tubes(centres: Array, around: Array) -> Tubes:
    """Cut (n, PIECES + 1) points into straight tubes."""
    radii = np.stack([around[:, :-1], around[:, 1:]], axis=-1)
    return Tubes(centres[:, :-1].reshape(-1, 3), centres[:, 1:].reshape(-1, 3), radii.reshape(-1, 2))


def draw(tubes: Tubes, shape: tuple[int, int, int], voxel: float, out: Array | None = None) -> Array:
    """Share of each voxel that lies inside a tube, in [0, 1].

    Args:
        tubes: What to draw, in mm from the block's corner.
        shape: Block (z, y, x).
        voxel: Voxel size in mm.
        out: Drawn over where given.

    Returns:
        `out`, or a new array of `shape`.
    """
    image = np.zeros(shape, np.float32) if out is None else out
    _draw(tubes.start, tubes.end, tubes.radii, np.float32(voxel), image)
    return image


@compiled
def _draw(starts: Array, ends: Array, radii: Array, voxel: np.float32, image: Array) -> None:
    size = image.shape
    for n in range(len(starts)):
        a, b = starts[n], ends[n]
        reach = max(radii[n, 0], radii[n, 1]) + voxel
        low = np.zeros(3, np.int64)
        high = np.zeros(3, np.int64)
        for i in range(3):
            low[i] = max(int(np.floor((min(a[i], b[i]) - reach) / voxel)), 0)
            high[i] = min(int(np.ceil((max(a[i], b[i]) + reach) / voxel)), size[i])
        vz, vy, vx = b[0] - a[0], b[1] - a[1], b[2] - a[2]
        squared = vz * vz + vy * vy + vx * vx + np.float32(1e-12)
        for z in range(low[0], high[0]):
            pz = (np.float32(z) + np.float32(0.5)) * voxel - a[0]
            for y in range(low[1], high[1]):
                py = (np.float32(y) + np.float32(0.5)) * voxel - a[1]
                for x in range(low[2], high[2]):
                    px = (np.float32(x) + np.float32(0.5)) * voxel - a[2]
                    t = min(max((pz * vz + py * vy + px * vx) / squared, np.float32(0)), np.float32(1))
                    dz, dy, dx = pz - t * vz, py - t * vy, px - t * vx
                    inside = radii[n, 0] + t * (radii[n, 1] - radii[n, 0]) - np.sqrt(dz * dz + dy * dy + dx * dx)
                    cover = min(inside / voxel + np.float32(0.5), np.float32(1))
                    if cover > image[z, y, x]:
                        image[z, y, x] = cover
