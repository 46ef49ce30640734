"""Where to look: regions of the lung that are worth a picture."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.ndimage import uniform_filter
from skimage.filters import sobel

from ctsr.imaging.intensity import Window
from ctsr.imaging.volume import Mask, Volume


@dataclass(frozen=True)
class Region:
    """A square in a slice.

    Attributes:
        z: Slice.
        y: First row.
        x: First column.
        size: Side in pixels.
    """

    z: int
    y: int
    x: int
    size: int


def lung_regions(volume: Volume, lung: Mask, window: Window, count: int = 3, size: int = 48) -> list[Region]:
    """Squares in the lung with many edges, from its bottom to its top; anywhere in the scan where no lung is found.

    The same scan gives the same regions.

    Args:
        volume: Scan in HU, canonical orientation.
        lung: True inside the lung, the scan's shape; all False where none was found.
        window: Greys that are seen.
        count: How many regions.
        size: Side of a square in pixels; made smaller where the scan is.
    """
    depth, height, width = volume.array.shape
    size = min(size, height, width)
    if not lung.any():
        lung = np.broadcast_to(np.True_, lung.shape)
    # Slices that split the lung's volume evenly.
    below = np.cumsum(lung.sum(axis=(1, 2)))
    slices = np.searchsorted(below, below[-1] * (np.arange(count) + 0.5) / count)
    regions: list[Region] = []
    for z in dict.fromkeys(int(z) for z in np.minimum(slices, depth - 1)):
        inside = _mean(lung[z].astype(np.float32), size)
        image = window.normalise(volume.array[z])
        seen = np.where(inside >= min(0.9, float(inside.max())), _mean(sobel(image), size), -10.0)
        for region in regions:  # somewhere else in the lung, where there is a choice
            seen[max(region.y - size, 0) : region.y + size, max(region.x - size, 0) : region.x + size] -= 2.0
        y, x = np.unravel_index(np.argmax(seen), seen.shape)
        regions.append(Region(z, int(y), int(x), size))
    return regions


def _mean(image: npt.NDArray[np.float32], size: int) -> npt.NDArray[np.float32]:
    """Mean over the square that starts at each pixel where a whole one fits."""
    filtered: npt.NDArray[np.float32] = uniform_filter(image, size, origin=-(size // 2))
    return filtered[: image.shape[0] - size + 1, : image.shape[1] - size + 1]
