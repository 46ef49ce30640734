"""What juts into a lung from its edge, or lies in it, and belongs to it: vessels and nodules."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from ctsr.imaging.blocks import block_for, block_means, block_spacing, spread
from ctsr.imaging.volume import Spacing

VESSEL_MM = 6.0  # radius of a closing that bridges notches up to twice as wide, whatever they are
NODULES_MM = (14.0, 24.0, 40.0)  # radii of closings that bridge a nodule at the pleura, the last almost flat
NODULE_GRID_MM = 2.5  # in the plane; fine enough for these
WIDEST_MM = 36.0  # of a nodule, along every axis; what is larger is heart, spine, diaphragm
DEEPEST_MM = 3.5  # a nodule holds a ball of this radius; along the heart, gaps are shallower or longer

Mask = npt.NDArray[np.bool_]
Box = tuple[slice, ...]


def without_notches(region: Mask, box: Box, excluded: Mask, spacing: Spacing) -> Mask:
    """A lung's air with the vessels and nodules at its edge and in it.

    Args:
        region: Air of one lung in the whole scan, axis 0 across the slices.
        box: Its bounding box.
        excluded: What must not be taken in from the edge.
        spacing: Voxel size in mm.

    Returns:
        The region without notches and holes up to the width of a nodule, in the box.
    """
    filled = region.copy()
    block = (1, *block_for(spacing, NODULE_GRID_MM)[1:])
    coarse = block_means(region, block) > 0.5
    for radius_mm in NODULES_MM:
        bridged = spread(_closed(coarse, block_spacing(spacing, block), radius_mm), block, region.shape)
        filled[box] |= _nodules(bridged & ~region, box, spacing) & ~excluded[box]
    filled |= _closed(filled, spacing, VESSEL_MM) & ~excluded
    pixel_mm2 = spacing[1] * spacing[2]
    return np.stack([_without_holes(plane, pixel_mm2) for plane in filled[box]])


def _closed(region: Mask, spacing: Spacing, radius_mm: float) -> Mask:
    """Each slice closed with a disk."""
    plane = spacing[1:]
    margins = [int(np.ceil(radius_mm / step)) + 1 for step in plane]
    # Lung cut off by the image's edge goes on beyond it.
    padded = np.pad(region, [(0, 0), *((margin, margin) for margin in margins)], mode="edge")
    closed = np.zeros_like(region)
    for image, out in zip(padded, closed, strict=True):
        if image.any():
            # Only where it can change: a closing stays within the bounding box, and looks no further than a margin.
            y, x = (slice(side[0], side[-1] + 1) for side in (np.flatnonzero(image.any(axis=axis)) for axis in (1, 0)))
            inner = tuple(
                slice(max(side.start, margin), min(side.stop, size + margin))
                for side, margin, size in zip((y, x), margins, out.shape, strict=True)
            )
            outer = tuple(
                slice(side.start - margin, side.stop + margin) for side, margin in zip(inner, margins, strict=True)
            )
            # By distances: their cost does not grow with the radius.
            grown = ndimage.distance_transform_edt(~image[outer], sampling=plane) <= radius_mm
            shrunk = ndimage.distance_transform_edt(grown, sampling=plane) > radius_mm
            y, x = margins
            out[tuple(slice(side.start - margin, side.stop - margin) for side, margin in zip(inner, margins))] = shrunk[
                y:-y, x:-x
            ]
    return closed
