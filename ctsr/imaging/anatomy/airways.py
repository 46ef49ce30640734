"""The windpipe and the main bronchi, which open into the lungs but are none.

A tube of gas with a wall is found in the slices above the lungs' roots, and grown from there (region growing with leak
control; K. Mori et al., IEEE TMI 2000, grow the same way).
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from ctsr.imaging.storage import Allocate, zeros
from ctsr.imaging.volume import Image, Mask, Spacing

GAS_BELOW_HU = -900
WALL_ABOVE_HU = -500
NARROWEST_MM, WIDEST_MM = 7.0, 40.0  # a windpipe's sides
FLATTEST = 2.5  # its longer side, of the shorter one; a strip of emphysema between lung and ribs is flatter
ROUNDEST_FILL = 0.5  # share of its bounding rectangle that it covers
SHORTEST_MM = 15.0
REACH_MM = 70.0  # main bronchi end within this distance of the windpipe, to the sides and below
ABOVE_GAS_HU = 60  # the lumen's grey may be so much brighter than the windpipe's
OPENINGS_MM = (2.5, 3.5, 5.0)  # radii: bronchi that are narrower are not entered, nor are leaks through their walls
LARGEST_ML = 150.0  # of windpipe and main bronchi; more is a leak into a lung
WALL_MM = 2.0


def central_airways(hu: Image, spacing: Spacing, allocate: Allocate = np.empty) -> Mask:
    """Find windpipe and main bronchi, as far as they can be told from lung.

    Args:
        hu: Clinical CT (z, y, x), axis 0 across the slices, on a grid of about 1 to 2 mm.
        spacing: Voxel size (z, y, x) in mm.
        allocate: Where the mask is put, and what else is as large as the image.

    Returns:
        True in their lumen and wall; nowhere, where no windpipe is in view over `SHORTEST_MM` or more.
    """
    found: Mask = zeros(hu.shape, bool, allocate)
    walled: Mask = allocate(hu.shape, bool)
    for plane, out in zip(hu, walled, strict=True):
        out[:] = _walled_pieces(plane, spacing[1:])
    labels = allocate(hu.shape, np.int32)
    ndimage.label(walled, np.ones((3, 3, 3)), output=labels)
    for label, box in enumerate(ndimage.find_objects(labels), start=1):
        if (box[0].stop - box[0].start) * spacing[0] >= SHORTEST_MM:
            near = _within_reach(box, hu.shape, spacing)
            found[near] |= _grown(hu[near], labels[near] == label, spacing)
    return found


def _walled_pieces(hu: Image, spacing: tuple[float, float]) -> Mask:
    """Pieces of gas, cut off by walls in their slice, that could be a windpipe cut across."""
    labels, _ = ndimage.label(hu < WALL_ABOVE_HU)
    area = np.bincount(labels.ravel()) * spacing[0] * spacing[1]
    fits = (area >= ROUNDEST_FILL * NARROWEST_MM**2) & (area <= WIDEST_MM**2)
    walled = np.zeros(hu.shape, dtype=bool)
    boxes = ndimage.find_objects(labels)
    for label in np.flatnonzero(fits[1:]) + 1:
        box = boxes[label - 1]
        height, width = ((side.stop - side.start) * step for side, step in zip(box, spacing, strict=True))
        narrow, wide = min(height, width), max(height, width)
        round_enough = wide <= FLATTEST * narrow and area[label] >= ROUNDEST_FILL * height * width
        if round_enough and narrow >= NARROWEST_MM and wide <= WIDEST_MM:
            piece = labels[box] == label
            if np.median(hu[box][piece]) < GAS_BELOW_HU:
                walled[box] |= piece
    return walled


def _within_reach(box: tuple[slice, ...], shape: tuple[int, ...], spacing: Spacing) -> tuple[slice, ...]:
    """The box with a margin of `REACH_MM`, as far as the image goes."""
    margins = [int(np.ceil(REACH_MM / step)) for step in spacing]
    return tuple(
        slice(max(0, side.start - margin), min(size, side.stop + margin))
        for side, margin, size in zip(box, margins, shape, strict=True)
    )


def _grown(hu: Image, seed: Mask, spacing: Spacing) -> Mask:
    """The tube grown from its seed through gas, with its wall; nothing where it spreads through a lung."""
    smooth = ndimage.gaussian_filter(hu, 0.7)
    depth = ndimage.distance_transform_edt(smooth < np.median(smooth[seed]) + ABOVE_GAS_HU, sampling=spacing)
    for radius in OPENINGS_MM:
        labels, _ = ndimage.label(depth > radius)
        core = np.isin(labels, np.setdiff1d(labels[seed], 0))
        if core.any():
            tube = seed | (ndimage.distance_transform_edt(~core, sampling=spacing) <= radius)
            if tube.sum() * np.prod(spacing) <= LARGEST_ML * 1000:
                walled: Mask = ndimage.distance_transform_edt(~tube, sampling=spacing) <= WALL_MM
                return walled
    return np.zeros_like(seed)
