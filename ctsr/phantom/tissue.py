"""Lung tissue made by a seeded procedure: what both scanners look at."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ctsr.phantom.compiled import compiled
from ctsr.phantom.fields import coarse_shape, smooth_field, stretch
from ctsr.phantom.foam import alveolar_foam, matched_grain
from ctsr.phantom.labels import Label
from ctsr.phantom.nodule import nodule
from ctsr.phantom.outline import Outline
from ctsr.phantom.trees import Tree, Tubes, beside, draw, grow, vessels

Array = npt.NDArray[np.float32]
Shape = tuple[int, int, int]

AIR = -1000.0  # HU
SOFT = 45.0  # HU of septa, vessels, nodules, walls, pleura, muscle
FAT = -90.0  # HU
PLEURA = 0.2  # mm
GROUND_GLASS = np.float32(3.5)  # tissue share of a nodule's halo, of the parenchyma's around it
UNEVEN = 0.22  # standard deviation of the slow variation of parenchyma's tissue share, relative to its mean
MARGIN = 14.0  # mm above and below the block in which the trees grow, so that they cross it at all angles
LEAF_VOLUME = 126.0  # mm³ of lung for each end point of a tree
TREE_LEAVES = 500  # end points of one tree, at most on average
AIRWAY_LEAVES = 6  # thinner airways are ducts, which the foam has
LUMEN = 0.75  # radius of an airway's lumen, of the artery's beside it
OUTER_WALL = 0.9  # radius of its outer wall, of the artery's, to which 0.05 mm are added
FINEST_FOAM = 0.11  # mm: with larger voxels the foam's walls are not drawn, only their grain


@dataclass(frozen=True)
class Anatomy:
    """One lung, or a part of it.

    Attributes:
        lung: Outline of the lung's surface.
        body: Outline of what lies in the scanner: the body, or a resected specimen; beyond it is air.
            None: everything.
        chest_wall: Whether chest wall lies beyond the pleura; air otherwise.
        tissue_share: Mean share of tissue in parenchyma; 0.1 to 0.2 in inflated lungs.
        cell_edge: Cube root of the mean alveolar volume, in mm.
        vessel_diameter: Diameter in mm of a vessel that supplies one `LEAF_VOLUME`; n of them need n^(1/3) times it.
            0: neither vessels nor airways.
        nodule_radius: Of a nodule in mm; 0 for none.
        part_solid: Whether the nodule has a ground-glass halo.
    """

    lung: Outline
    body: Outline | None
    chest_wall: bool
    tissue_share: float
    cell_edge: float
    vessel_diameter: float
    nodule_radius: float
    part_solid: bool


@dataclass(frozen=True)
class Tissue:
    """A block of tissue.

    Attributes:
        density: X-ray density (z, y, x) on the HU scale: air -1000, soft tissue 45.
        labels: `Label` of every voxel, uint8.
        voxel: Size of a voxel along every axis, in mm.
    """

    density: Array
    labels: npt.NDArray[np.uint8]
    voxel: float


def make_tissue(anatomy: Anatomy, shape: Shape, voxel: float, rng: np.random.Generator) -> Tissue:
    """Grow the tissue of a block.

    Args:
        anatomy: What to grow; outlines in mm from the block's corner.
        shape: Block (z, y, x).
        voxel: Voxel size in mm.
        rng: Source of everything random: the same state gives the same bytes.

    Returns:
        The tissue, `shape`.
    """
    lung_depth = anatomy.lung.depth(shape, voxel)
    body_depth = anatomy.body.depth(shape, voxel) if anatomy.body else np.full(shape, 1e3, np.float32)
    make_foam = alveolar_foam if voxel <= FINEST_FOAM else matched_grain
    share = make_foam((lung_depth > -voxel) & (body_depth > -voxel), voxel, anatomy.cell_edge, rng)
    share *= anatomy.tissue_share * (1 + np.float32(UNEVEN) * _slow_field(shape, voxel, 8.0, rng))
    vessel, wall, lumen = _trees(anatomy, shape, voxel, rng)
    solid = np.zeros(shape, np.float32)
    if anatomy.nodule_radius:
        centre = _nodule_centre(anatomy, lung_depth, body_depth, voxel, rng)
        solid, halo = nodule(shape, voxel, centre, anatomy.nodule_radius, anatomy.part_solid, rng)
        share *= 1 + (GROUND_GLASS - 1) * halo
        solid_or_halo = np.maximum(solid, halo)
    else:
        solid_or_halo = solid
    outer = _chest_wall(shape, voxel, rng) if anatomy.chest_wall else np.full(shape, AIR, np.float32)
    beyond = np.uint8(Label.CHEST_WALL if anatomy.chest_wall else Label.OUTSIDE)
    density, labels = np.empty(shape, np.float32), np.empty(shape, np.uint8)
    layers = (share, vessel, wall, lumen, solid, solid_or_halo, lung_depth, body_depth, outer)
    _compose(*layers, beyond, np.float32(voxel), density, labels)
    return Tissue(density, labels, voxel)


def _slow_field(shape: Shape, voxel: float, scale: float, rng: np.random.Generator) -> Array:
    """Smooth random field with features of about `scale` mm."""
    step = max(int(scale / voxel / 4), 1)
    return stretch(smooth_field(coarse_shape(shape, step), 2.0, rng), shape, step)


def _chest_wall(shape: Shape, voxel: float, rng: np.random.Generator) -> Array:
    """Muscle with streaks of fat, in HU."""
    fat = np.clip(4 * _slow_field(shape, voxel, 2.5, rng), 0, 1)
    return np.asarray(SOFT + (FAT - SOFT) * fat, dtype=np.float32)


def _trees(anatomy: Anatomy, shape: Shape, voxel: float, rng: np.random.Generator) -> tuple[Array, Array, Array]:
    """Shares of vessel, of airway (wall and lumen together) and of airway lumen."""
    if not anatomy.vessel_diameter:
        nothing = np.zeros(shape, np.float32)
        return nothing, nothing, nothing
    blood, walls, lumens = [], [], []
    for points, root in _supplies(anatomy, shape, voxel, below=True, rng=rng):
        tree = grow(points, root, rng)
        radius = _radius(anatomy, tree)
        outer = OUTER_WALL * radius + np.float32(0.05)
        wide = tree.leaves >= AIRWAY_LEAVES
        blood.append(vessels(tree, radius))
        walls.append(beside(tree, outer, radius + outer + np.float32(0.05), wide))
        lumens.append(beside(tree, LUMEN * radius, radius + outer + np.float32(0.05), wide))
    for points, root in _supplies(anatomy, shape, voxel, below=False, rng=rng):
        tree = grow(points, root, rng)
        blood.append(vessels(tree, _radius(anatomy, tree)))
    vessel, wall, lumen = (draw(Tubes.together(tubes), shape, voxel) for tubes in (blood, walls, lumens))
    return vessel, wall, lumen


def _radius(anatomy: Anatomy, tree: Tree) -> Array:
    return np.asarray(0.5 * anatomy.vessel_diameter * np.cbrt(tree.leaves), dtype=np.float32)


def _supplies(
    anatomy: Anatomy, shape: Shape, voxel: float, below: bool, rng: np.random.Generator
) -> Iterator[tuple[Array, Array]]:
    """End points and root of each of the trees that supply the lung in and around the block, all from below or above.

    Several trees, so that the widest vessels are equally wide in small and in large pieces of lung.
    """
    lung, height = anatomy.lung, shape[0] * voxel
    middle = np.array([height / 2, *lung.centre])
    half = np.array([height / 2 + MARGIN, 1.3 * lung.half, 1.3 * lung.half])
    points = middle + half * rng.uniform(-1, 1, (int(np.prod(2 * half) / LEAF_VOLUME), 3))
    points = points[lung.depth_at(*points.T) > 0.5]
    roots = points[rng.choice(len(points), -(-len(points) // TREE_LEAVES), replace=False)]
    roots[:, 0] = middle[0] + half[0] * (-1 if below else 1)
    nearest = np.argmin(((points[:, None, 1:] - roots[None, :, 1:]) ** 2).sum(axis=-1), axis=1)
    for index, root in enumerate(roots):
        if (nearest == index).any():
            yield points[nearest == index].astype(np.float32), root.astype(np.float32)


def _nodule_centre(
    anatomy: Anatomy, lung_depth: Array, body_depth: Array, voxel: float, rng: np.random.Generator
) -> tuple[float, float, float]:
    """A random place near the middle slice, deep enough in lung and specimen that the nodule does not reach out."""
    middle = lung_depth.shape[0] // 2
    depth = np.minimum(lung_depth[middle], body_depth[middle])
    deep = np.argwhere(depth >= min(1.5 * anatomy.nodule_radius, 0.8 * float(depth.max())))
    y, x = deep[rng.integers(len(deep))]
    return (middle + 0.5) * voxel, (float(y) + 0.5) * voxel, (float(x) + 0.5) * voxel


@compiled
def _compose(
    share: Array,
    vessel: Array,
    wall: Array,
    lumen: Array,
    solid: Array,
    solid_or_halo: Array,
    lung_depth: Array,
    body_depth: Array,
    outer: Array,
    beyond: np.uint8,
    voxel: np.float32,
    density: Array,
    labels: npt.NDArray[np.uint8],
) -> None:
    """Lay the structures over each other: parenchyma, vessel, airway, nodule, pleura, chest wall, outside."""
    for z in range(share.shape[0]):
        for y in range(share.shape[1]):
            for x in range(share.shape[2]):
                at = (z, y, x)
                tissue = min(share[at], np.float32(1))
                tissue += vessel[at] * (1 - tissue)
                tissue = tissue * (1 - wall[at]) + wall[at] - lumen[at]
                tissue += solid[at] * (1 - tissue)
                inside = min(max(lung_depth[at] / voxel + np.float32(0.5), np.float32(0)), np.float32(1))
                pleura = min(max((lung_depth[at] + PLEURA) / voxel + np.float32(0.5), np.float32(0)), np.float32(1))
                body = min(max(body_depth[at] / voxel + np.float32(0.5), np.float32(0)), np.float32(1))
                value = AIR + (SOFT - AIR) * (inside * tissue + pleura - inside)
                value += (1 - pleura) * (outer[at] - AIR)
                density[at] = AIR + body * (value - AIR)
                if body < 0.5:
                    labels[at] = Label.OUTSIDE
                elif pleura < 0.5:
                    labels[at] = beyond
                elif inside < 0.5:
                    labels[at] = Label.PLEURA
                elif solid_or_halo[at] >= 0.5:
                    labels[at] = Label.NODULE
                elif lumen[at] >= 0.5:
                    labels[at] = Label.AIRWAY_LUMEN
                elif wall[at] >= 0.5:
                    labels[at] = Label.AIRWAY_WALL
                elif vessel[at] >= 0.5:
                    labels[at] = Label.VESSEL
                else:
                    labels[at] = Label.PARENCHYMA
