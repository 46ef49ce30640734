"""What juts into a lung from its edge, or lies in it, and belongs to it: vessels and nodules."""

from __future__ import annotations

import numpy as np
from scipy import ndimage
from skimage.segmentation import watershed

from ctsr.imaging.anatomy.blocks import Block, block_for, block_means, block_spacing, to_voxels
from ctsr.imaging.volume import Mask, Spacing

VESSEL_MM = 6.0  # radius of a closing that bridges notches up to twice as wide, whatever they are
NODULES_MM = (14.0, 24.0, 40.0)  # radii of closings that bridge a nodule at the pleura, the last almost flat
NODULE_GRID_MM = 2.5  # in the plane; fine enough for these
WIDEST_MM = 36.0  # of a nodule, along every axis; what is larger is heart, spine, diaphragm
DEEPEST_MM = 3.5  # a nodule holds a ball of this radius; along the heart, gaps are shallower or longer
SECOND_SHARE = 0.15  # of a region that is both lungs, each has this at least


def around(box: tuple[slice, ...], shape: tuple[int, ...], spacing: Spacing) -> tuple[slice, ...]:
    """The part of a scan that is enough to find a lung's notches.

    They lie in the lung's box. One voxel of the coarser grid around it tells where the lung ends: beyond the edge of an
    image, it is taken to go on.

    Args:
        box: Just around the lung.
        shape: The scan's.
        spacing: Voxel size in mm.
    """
    return tuple(
        slice(max(side.start // size - 1, 0) * size, min((-(-side.stop // size) + 1) * size, length))
        for side, size, length in zip(box, _coarser(spacing), shape, strict=True)
    )


def without_notches(region: Mask, spacing: Spacing) -> Mask:
    """Fill the notches in a lung's edge that are as wide as vessels, or have the size of a nodule.

    Args:
        region: Air of one lung, or of two that touch, in the whole scan or what is `around` them; axis 0 across the
            slices.
        spacing: Voxel size in mm.

    Returns:
        The region and its notches.
    """
    lungs = _apart(region)
    nodules = np.zeros_like(region)
    for radius_mm in NODULES_MM:
        found = _nodules(_bridged(region, spacing, radius_mm) & ~region, spacing)
        slices = found.any(axis=(1, 2))
        if len(lungs) > 1 and slices.any():  # what lies between two lungs is in neither
            found[slices] &= np.logical_or.reduce([_bridged(lung[slices], spacing, radius_mm) for lung in lungs])
        nodules |= found
    whole = region | nodules
    for lung in lungs:
        whole |= _closed(lung | nodules, spacing, VESSEL_MM)
    return whole


def without_holes(plane: Mask, pixel_mm2: float) -> Mask:
    """A slice with its holes filled, up to the area of a disk as wide as `WIDEST_MM`."""
    around, _ = ndimage.label(~plane)
    small = np.bincount(around.ravel()) * pixel_mm2 <= np.pi / 4 * WIDEST_MM**2
    for edge in (around[0], around[-1], around[:, 0], around[:, -1]):
        small[edge] = False  # open, not enclosed
    filled: Mask = plane | small[around]
    return filled


def _bridged(region: Mask, spacing: Spacing, radius_mm: float) -> Mask:
    """The region closed on a coarser grid."""
    block = _coarser(spacing)
    coarse = block_means(region, block) > 0.5
    return to_voxels(_closed(coarse, block_spacing(spacing, block), radius_mm), block, region.shape)


def _coarser(spacing: Spacing) -> Block:
    """The block of the grid that nodules are found on."""
    _, y, x = block_for(spacing, NODULE_GRID_MM)
    return 1, y, x


def _apart(region: Mask) -> list[Mask]:
    """The two lungs of a region, where they touch in front of the heart or the spine; else the region.

    What parts them is a membrane that the grid does not resolve, over a small area: without its outermost voxels the
    region falls into two large pieces, which one lung does not.
    """
    (box,) = ndimage.find_objects(region.view(np.uint8))
    pieces, _ = ndimage.label(ndimage.binary_erosion(region[box], border_value=1))
    large = 1 + np.flatnonzero(np.bincount(pieces.ravel())[1:] > SECOND_SHARE * region.sum())
    if large.size < 2:
        return [region]
    cores = np.where(np.isin(pieces, large), pieces, 0)
    nearest = watershed(np.zeros(cores.shape, np.uint8), cores, mask=region[box])
    parts = []
    for piece in large:
        part = np.zeros_like(region)
        part[box] = nearest == piece
        parts.append(part)
    return parts


def _closed(region: Mask, spacing: Spacing, radius_mm: float) -> Mask:
    """Each slice closed with a disk."""
    plane = spacing[1:]
    y, x = (int(np.ceil(radius_mm / step)) + 1 for step in plane)
    # Lung cut off by the image's edge goes on beyond it.
    padded = np.pad(region, ((0, 0), (y, y), (x, x)), mode="edge")
    closed = np.zeros_like(region)
    for image, wide, out in zip(region, padded, closed, strict=True):
        for rows, columns in ndimage.find_objects(image.view(np.uint8)):  # one box, or none
            # A closing stays within its region's bounding box. By distances: their cost does not grow with the radius.
            window = wide[rows.start : rows.stop + 2 * y, columns.start : columns.stop + 2 * x]
            grown = ndimage.distance_transform_edt(~window, sampling=plane) <= radius_mm
            shrunk = ndimage.distance_transform_edt(grown, sampling=plane) > radius_mm
            out[rows, columns] = shrunk[y:-y, x:-x]
    return closed


def _nodules(gaps: Mask, spacing: Spacing) -> Mask:
    """Those of the gaps between a lung and its closing that are nodules by their size.

    Where a gap is thinner than three voxels it joins nothing. One that reaches the scan's end could be anything.
    """
    labels, _ = ndimage.label(ndimage.binary_erosion(gaps, border_value=1))
    nodules = np.zeros_like(gaps)
    for label, box in enumerate(ndimage.find_objects(labels), start=1):
        inside = all(side.start > 0 and side.stop < size for side, size in zip(box, gaps.shape, strict=True))
        if inside and max((side.stop - side.start) * step for side, step in zip(box, spacing, strict=True)) < WIDEST_MM:
            wide = tuple(slice(side.start - 1, side.stop + 1) for side in box)
            piece = ndimage.binary_dilation(labels[wide] == label, np.ones((3, 3, 3))) & gaps[wide]
            depth = ndimage.distance_transform_edt(np.pad(piece, 1), sampling=spacing)
            nodules[wide] |= piece & bool(depth.max() > DEEPEST_MM)
    return nodules
