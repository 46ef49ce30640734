"""Scanner padding: what fills the corners of a round field of view is neither tissue nor air."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from ctsr.imaging.volume import Array, Volume

AIR_HU = -1024
PADDING_BELOW_HU = -1500.0  # darker than any air with its noise


def mark_padding(volume: Volume, padding: npt.NDArray[np.bool_]) -> Volume:
    """Note padding in `Volume.outside` and give it the grey of air; the volume itself where there is none."""
    if not padding.any():
        return volume
    array, found = volume.array.copy(), float(volume.array[padding].min())
    array[padding] = AIR_HU
    return replace(
        volume,
        array=array,
        outside=padding if volume.outside is None else padding | volume.outside,
        padding=found if volume.padding is None else min(found, volume.padding),
    )


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
