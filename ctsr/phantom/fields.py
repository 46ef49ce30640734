"""Smooth random fields: the slow variation of density, of outlines and of which airspaces are ducts."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from ctsr.phantom.compiled import compiled

Array = npt.NDArray[np.float32]


def smooth_field(shape: tuple[int, int, int], sigma: float, rng: np.random.Generator) -> Array:
    """Gaussian random field of mean 0 and standard deviation 1.

    Args:
        shape: Grid (z, y, x).
        sigma: Standard deviation of the Gaussian that smooths white noise, in grid steps.
        rng: Source of the noise.

    Returns:
        Array of `shape`.
    """
    margin = int(np.ceil(3 * sigma))  # cut off afterwards, so that the border is as random as the middle
    padded = rng.standard_normal([size + 2 * margin for size in shape], dtype=np.float32)
    smooth = ndimage.gaussian_filter(padded, sigma, truncate=3)
    z, y, x = shape
    inner = smooth[margin : margin + z, margin : margin + y, margin : margin + x]
    # White noise smoothed by a Gaussian keeps 1 / (2 sigma sqrt(pi)) of its variance along each axis.
    return np.asarray(inner * (2 * sigma * np.sqrt(np.pi)) ** 1.5, dtype=np.float32)


def coarse_shape(shape: tuple[int, int, int], step: int) -> tuple[int, int, int]:
    """Size of the grid that `stretch` needs to fill `shape`: one point every `step` voxels, and one beyond."""
    z, y, x = (-(-size // step) + 1 for size in shape)
    return z, y, x


def stretch(coarse: Array, shape: tuple[int, int, int], step: int) -> Array:
    """Trilinear interpolation of a grid whose point (i, j, k) lies at voxel (i, j, k) * step."""
    out = np.empty(shape, np.float32)
    _stretch(coarse, step, out)
    return out


@compiled
def _stretch(coarse: Array, step: int, out: Array) -> None:
    shape = out.shape
    for z in range(shape[0]):
        i, u = z // step, np.float32((z % step) / step)
        for y in range(shape[1]):
            j, v = y // step, np.float32((y % step) / step)
            for x in range(shape[2]):
                k, w = x // step, np.float32((x % step) / step)
                near = (1 - v) * coarse[i, j, k] + v * coarse[i, j + 1, k]
                far = (1 - v) * coarse[i, j, k + 1] + v * coarse[i, j + 1, k + 1]
                low = (1 - w) * near + w * far
                near = (1 - v) * coarse[i + 1, j, k] + v * coarse[i + 1, j + 1, k]
                far = (1 - v) * coarse[i + 1, j, k + 1] + v * coarse[i + 1, j + 1, k + 1]
                out[z, y, x] = (1 - u) * low + u * ((1 - w) * near + w * far)
