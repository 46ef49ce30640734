"""How near an image is to the truth when contrast and brightness are given: measures after the best line of greys."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from ctsr.evaluation.measures.metrics import dice, psnr, ssim, ssim_312um
from ctsr.imaging.volume import Image

FLAT = 1e-12  # variance of an image without contrast


def fitted_scores(tiles: Sequence[tuple[Image, Image]], pixel_mm: float) -> Iterator[dict[str, float]]:
    """Measures of each tile of a slice, after the one line that suits all of them best.

    Args:
        tiles: Image, not clipped, and truth; 2-D each. [0, 1] are the greys that are compared.
        pixel_mm: Pixel size in millimetres.
    """
    gain, offset = best_line(tiles)
    for image, truth in tiles:
        fitted = np.clip(gain * image + offset, 0.0, 1.0)
        yield {
            "ssim_fitted": ssim(fitted, truth),
            "ssim_312um_fitted": ssim_312um(fitted, truth, pixel_mm),
            "dice_fitted": dice(fitted, truth, pixel_mm),
            "psnr_fitted": psnr(fitted, truth),
        }


def best_line(tiles: Sequence[tuple[Image, Image]]) -> tuple[float, float]:
    """Gain and offset that bring the images nearest to their truths, by least squares over all pixels.

    The images are to be unclipped, so that greys beyond the compared range count; the truth is to be clipped, for the
    result is measured against that, and what lies beyond cannot be known of a scan that was clipped alike. Where tiles
    overlap, a pixel counts as often as it is measured.

    Args:
        tiles: Image and truth.

    Returns:
        Both; gain 0 and the truth's mean for images without contrast, a gain below 0 for inverted ones.
    """
    image, truth = (np.concatenate([np.ravel(one) for one in of]).astype(float) for of in zip(*tiles, strict=True))
    variance = image.var()
    gain = float(np.mean((image - image.mean()) * (truth - truth.mean())) / variance) if variance > FLAT else 0.0
    return gain, float(truth.mean() - gain * image.mean())
