"""In-plane resampling, slice by slice; z is never resampled.

The first outer edge stays where it is: in units of input pixels along an axis, output pixel k is centred on
(k + 1/2) r - 1/2 with r = spacing_out / spacing_in. With r = 1/8 this is the x8 grid of the networks.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from ctsr.imaging.volume import Affine, Array, spacing_of

Plane = tuple[float, float]


def resample_plane(
    image: Array,
    spacing_in: Plane,
    spacing_out: Plane,
    shape_out: tuple[int, int] | None = None,
    order: int = 3,
) -> npt.NDArray[np.float32]:
    """Resample a slice, or every slice of a stack, to another pixel size.

    Where pixels grow, the image is first smoothed by the Gaussian of `antialias_sigma`.

    Args:
        image: (y, x) or (z, y, x), any number type.
        spacing_in: Pixel size (y, x) in mm.
        spacing_out: Wanted pixel size (y, x) in mm.
        shape_out: (y, x); None: `resampled_shape`, the whole field of view to the nearest pixel.
        order: Spline order: 3 cubic, 1 linear (no overshoot), 0 nearest (no smoothing: for labels).

    Returns:
        float32 of shape (..., *shape_out). Beyond the last input pixel the image is reflected.
    """
    height, width = shape_out or resampled_shape(image.shape[-2:], spacing_in, spacing_out)
    ratio = np.divide(spacing_out, spacing_in)
    sigma = [antialias_sigma(float(r)) if order else 0.0 for r in ratio]
    stack = image.reshape(-1, *image.shape[-2:])
    resampled = np.empty((len(stack), height, width), dtype=np.float32)
    for plane, out in zip(stack, resampled, strict=True):
        smooth = plane.astype(np.float32)
        if any(sigma):
            ndimage.gaussian_filter(smooth, sigma, output=smooth, mode="reflect")
        ndimage.affine_transform(smooth, ratio, 0.5 * ratio - 0.5, out.shape, out, order=order, mode="reflect")
    return resampled.reshape(*image.shape[:-2], height, width)


def antialias_sigma(ratio: float) -> float:
    """Gaussian smoothing, in input pixels, before pixels grow by `ratio`; 0 where they do not grow.

    A pixel is taken for a Gaussian point spread with a full width at half maximum of one pixel. Variances add, so what
    is missing to the output's is sigma^2 = (ratio^2 - 1) / (8 ln 2) (Cardoso et al., MICCAI 2015).
    """
    return math.sqrt((ratio**2 - 1.0) / (8.0 * math.log(2.0))) if ratio > 1.0 else 0.0


def resampled_shape(shape: tuple[int, ...], spacing_in: Plane, spacing_out: Plane) -> tuple[int, int]:
    """Pixels (y, x) that cover the same field of view, to the nearest pixel and at least one."""
    height, width = (
        max(1, round(n * s_in / s_out)) for n, s_in, s_out in zip(shape, spacing_in, spacing_out, strict=True)
    )
    return height, width


def resampled_affine(affine: Affine, spacing_out: Plane) -> Affine:
    """Affine of the grid (z, y, x) after in-plane resampling: same slices, same first outer edges.

    With a target of an eighth of the spacing this is the x8 grid: the first centre moves by -7/16 of an input pixel.
    """
    ratio = np.array([1.0, *np.divide(spacing_out, spacing_of(affine)[1:])])
    resampled = affine.copy()
    resampled[:3, :3] = affine[:3, :3] * ratio
    resampled[:3, 3] += affine[:3, :3] @ (0.5 * ratio - 0.5)
    return resampled
