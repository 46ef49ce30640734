"""Power spectra of what is left in a region of any shape when slow changes are taken off."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import fft, ndimage

from ctsr.imaging.kernel.measured import LAG, RING, RINGS, UNIT_MM, Spectrum
from ctsr.imaging.volume import Image, Mask

Array = npt.NDArray[np.float64]

SLOW = 3.0  # units: standard deviation of the Gaussian mean that is taken off
FEWEST = 400  # pixels of a region


def region_spectrum(image: Image, region: Mask, pixel: float) -> Spectrum:
    """The spectrum of a region of one slice.

    Args:
        image: HU (y, x).
        region: Where.
        pixel: Size in mm.
    """
    if region.sum() < FEWEST:
        return Spectrum.nothing()
    scale = UNIT_MM / pixel
    mask = region.astype(np.float64)
    weight = np.maximum(ndimage.gaussian_filter(mask, SLOW * scale), 1e-6)
    rest = (image - ndimage.gaussian_filter(image * mask, SLOW * scale) / weight) * mask
    reach = round(LAG * scale)
    size = [fft.next_fast_len(side + reach + 1, real=True) for side in image.shape]
    products = [fft.irfft2(np.abs(fft.rfft2(of, size)) ** 2, s=size) for of in (rest, mask)]
    lags = np.arange(-reach, reach + 1)
    covariance, pairs = (of[np.ix_(lags, lags)] for of in products)
    covariance = np.where(pairs > 0.5, covariance / np.maximum(pairs, 0.5), 0.0)
    far = np.hypot(lags[:, None], lags) / (LAG * scale)
    covariance *= np.where(far < 1, 0.5 + 0.5 * np.cos(np.pi * far), 0.0)
    count = 8 * fft.next_fast_len(2 * reach + 1)
    power = fft.fft2(fft.ifftshift(_centred(covariance, count))).real * pixel**2
    frequency = np.hypot(fft.fftfreq(count, pixel)[:, None], fft.fftfreq(count, pixel)) * UNIT_MM
    ring = (frequency / RING).astype(int)
    told = (ring < len(RINGS)) & (frequency * pixel / UNIT_MM <= 0.5)
    sums = np.bincount(ring[told], power[told], len(RINGS))
    counts = np.bincount(ring[told], minlength=len(RINGS))
    full = (np.arange(1, len(RINGS) + 1) * RING) * pixel / UNIT_MM <= 0.5 + 1e-9
    means = np.where(full & (counts > 0), sums / np.maximum(counts, 1), np.nan)
    return Spectrum(means * float(region.sum()), float(region.sum()))


def _centred(small: Array, count: int) -> Array:
    """A small image in the middle of zeros, as ifftshift expects it."""
    large = np.zeros((count, count))
    start = count // 2 - small.shape[0] // 2
    large[start : start + small.shape[0], start : start + small.shape[1]] = small
    return large
