"""Scanner padding: what fills the corners of a round field of view is neither tissue nor air."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from ctsr.imaging.storage import Allocate
from ctsr.imaging.volume import Array, Volume

AIR_HU = -1024
PADDING_BELOW_HU = -1500.0  # darker than any air with its noise
FEWEST = 16  # pixels of an arc that tell a circle
ROUND = 1.0  # pixels that an arc's pixels may lie off its circle, but for a few


def mark_padding(volume: Volume, padding: npt.NDArray[np.bool_], in_place: bool = False) -> Volume:
    """Note padding in `Volume.outside` and give it the grey of air; the volume itself where there is none.

    Args:
        volume: A scan.
        padding: True where there is padding, the same shape.
        in_place: Whether both arrays may be changed, instead of a copy: they may be larger than memory.
    """
    if not padding.any():
        return volume
    array, found = volume.array if in_place else volume.array.copy(), np.inf
    for image, outside in zip(array, padding, strict=True):
        if outside.any():
            found = min(found, float(image[outside].min()))
            image[outside] = AIR_HU
    if volume.outside is not None:
        padding = np.logical_or(padding, volume.outside, out=padding if in_place else None)
    return replace(
        volume,
        array=array,
        outside=padding,
        padding=found if volume.padding is None else min(found, volume.padding),
    )


def find_padding(scan: Array, allocate: Allocate = np.empty) -> npt.NDArray[np.bool_]:
    """Where a scan in HU holds padding: greys that no air has, or the grey of air around a round field of view.

    Converters, and some scanners, write -1024 there. Air may be clipped at that grey, too; but it is not in every
    slice, and its edge is no circle.

    Args:
        scan: (z, y, x), axis 0 across the slices.
        allocate: Where the result is put.

    Returns:
        True where there is padding, the same shape.
    """
    padding: npt.NDArray[np.bool_] = np.less(scan, PADDING_BELOW_HU, out=allocate(scan.shape, bool))
    lowest = scan.min()
    if not padding.any() and lowest <= AIR_HU:
        everywhere = np.ones(scan.shape[1:], dtype=bool)
        for plane in scan:
            everywhere &= plane == lowest
        corners = _at_the_border(everywhere)
        padding[:] = corners if _is_round(corners) else False
    return padding


def _at_the_border(plane: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    labels, _ = ndimage.label(np.pad(plane, 1, constant_values=True))
    connected: npt.NDArray[np.bool_] = (labels == 1)[1:-1, 1:-1]
    return connected


def _is_round(corners: npt.NDArray[np.bool_]) -> bool:
    """Whether all that is not in the corners is a circle, or what an image holds of one."""
    y, x = np.nonzero(ndimage.binary_dilation(corners) & ~corners)
    if len(y) < FEWEST:
        return False
    # A circle is y² + x² = 2 (a y + b x) + c, linear in a, b and c (Kåsa 1976).
    (a, b, c), *_ = np.linalg.lstsq(np.stack([2 * y, 2 * x, np.ones_like(y)], axis=1), y**2 + x**2, rcond=None)
    off = np.abs(np.hypot(y - a, x - b) - np.sqrt(max(c + a**2 + b**2, 0.0)))
    return bool(np.percentile(off, 98) <= ROUND)


def nearest_inside(image: Array, outside: npt.NDArray[np.bool_]) -> Array:
    """A slice whose field of view has no edge: each pixel outside it has the grey of the nearest pixel inside.

    Where the field of view ends inside the body, a network would take the step down to padding for anatomy.

    Args:
        image: (y, x).
        outside: True where there is padding, the same shape; where it is all of the image, nothing changes.
    """
    if not outside.any() or outside.all():
        return image
    nearest = ndimage.distance_transform_edt(outside, return_distances=False, return_indices=True)
    extended: Array = image[tuple(nearest)]
    return extended
