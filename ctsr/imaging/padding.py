"""Scanner padding: what fills the corners of a round field of view is neither tissue nor air."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from ctsr.imaging.volume import Volume

AIR_HU = -1024
PADDING_BELOW_HU = -1500.0  # darker than any air with its noise


def mark_padding(volume: Volume, padding: npt.NDArray[np.bool_]) -> Volume:
    """Note padding in `Volume.outside` and give it the grey of air; the volume itself where there is none."""
    if not padding.any():
        return volume
    array = volume.array.copy()
    array[padding] = AIR_HU
    return replace(volume, array=array, outside=padding if volume.outside is None else padding | volume.outside)
