"""The specimen in a µCT volume, against the air and the empty corners around it.

Lung is mostly air inside too, so single voxels tell nothing: the decision is made on local means, on a coarse grid.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage
from skimage.filters import threshold_multiotsu, threshold_otsu

from ctsr.errors import UserError
from ctsr.imaging.anatomy.blocks import block_for, block_means, block_spacing, to_voxels
from ctsr.imaging.volume import Array, Image, Mask, Spacing

BLOCK_MM = 0.2  # the coarse grid: about one alveolus
SMOOTHING_MM = 0.3
CLOSING_MM = 1.0  # airways and marrow spaces that open at the surface, up to twice as wide, belong to the specimen
ALIKE = 1e-4  # relative difference of means that is rounding
VALLEY = 0.6  # air around a specimen has a peak of its own in the histogram: how deep the valley beside it must be


def check_greys(array: Array) -> None:
    """Make sure that a µCT volume is one.

    Args:
        array: Its greys, as read.

    Raises:
        UserError: There are one or two greys only.
    """
    low, high = array.min(), array.max()
    if low == high:
        raise UserError(f"only one grey ({low:g}): is the volume empty?")
    if all(bool(((plane == low) | (plane == high)).all()) for plane in array):
        raise UserError(f"only two greys ({low:g} and {high:g}): a segmentation? give the µCT volume itself")


def specimen_mask(array: Array, spacing: Spacing) -> Mask:
    """Find the specimen, with the air spaces inside it.

    Args:
        array: µCT greys (z, y, x); denser is brighter.
        spacing: Voxel size (z, y, x) in mm.

    Returns:
        True inside the specimen; everywhere, where it fills the image.
    """
    block = block_for(spacing, BLOCK_MM)
    coarse_spacing = block_spacing(spacing, block)
    sigma = [SMOOTHING_MM / step for step in coarse_spacing]
    # A reconstruction writes its darkest grey outside its round field of view; foam clipped to it has walls left.
    darkest = array.min()
    written = ndimage.gaussian_filter(block_means(array, block, lambda plane: plane > darkest), sigma)
    inside = written > 0.03
    # Capped half way to solid tissue, or the few large vessels would decide and not the many alveoli.
    cap = threshold_otsu(_sample(array, darkest))
    greys = block_means(array, block, lambda plane: np.where(plane > darkest, np.minimum(plane, cap), 0))
    means = ndimage.gaussian_filter(greys, sigma) / np.maximum(written, 1e-6)
    inside &= means > _background_below(means[inside])
    return to_voxels(_whole(inside, coarse_spacing), block, array.shape)


def _sample(array: Array, darkest: np.generic) -> Array:
    """About a million written voxels, which are enough for a threshold."""
    step = max(1, round((array.size / 1e6) ** (1 / 3)))
    some = array[::step, ::step, ::step]
    written = some[some > darkest]
    return written if written.size else some


def _background_below(means: Image) -> float:
    """The grey between background and specimen; -inf where there is no background.

    The local means are of three kinds: air around, lung, solid tissue. Where the histogram does not fall and rise again
    between the darkest two kinds, both are lung.
    """
    alike = means.size == 0 or np.ptp(means) <= ALIKE * np.abs(means).max()
    if alike or np.count_nonzero(np.histogram(means, bins=256)[0]) < 3:
        return -np.inf
    low, high = threshold_multiotsu(means, classes=3)
    counts, edges = np.histogram(means, bins=100, range=(means.min(), high))
    counts = ndimage.gaussian_filter1d(counts.astype(np.float64), 2)
    border = int(np.searchsorted(edges[1:], low))
    first, second = counts[: border + 1].argmax(), border + 1 + counts[border + 1 :].argmax()
    valley = counts[first : second + 1].min()
    return float(low) if valley < VALLEY * min(counts[first], counts[second]) else -np.inf


def _whole(mask: Mask, spacing: Spacing) -> Mask:
    """The largest piece, closed with a ball and without holes."""
    labels, count = ndimage.label(mask)
    if count == 0:
        return mask
    largest = labels == 1 + np.argmax(np.bincount(labels.ravel())[1:])
    margin = [(n, n) for n in (int(np.ceil(CLOSING_MM / step)) + 1 for step in spacing)]
    padded = np.pad(largest, margin, mode="edge")  # a specimen cut off by the image's edge goes on beyond it
    grown = ndimage.distance_transform_edt(~padded, sampling=spacing) <= CLOSING_MM
    closed = ndimage.distance_transform_edt(grown, sampling=spacing) > CLOSING_MM
    inner = closed[tuple(slice(start, -stop) for start, stop in margin)] | largest
    return np.stack([ndimage.binary_fill_holes(plane) for plane in inner])
