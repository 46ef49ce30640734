"""Measures what a scan shows of its kernel: the profiles across its borders, and the spectrum of its lung."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from ctsr.imaging.kernel.borders import border_profiles
from ctsr.imaging.kernel.measured import UNIT_MM, Measured
from ctsr.imaging.kernel.spectra import region_spectrum
from ctsr.imaging.kernel.transfer import Softening
from ctsr.imaging.volume import Image, Mask, Volume

SLICES = 6  # of a scan
FROM_PADDING = 10.0  # units
SMOOTH = 1.5  # units, of the image on which regions are found
PARENCHYMA = 90.0  # HU above the lung's median that is more than parenchyma


def chosen_slices(lung: Mask, count: int = SLICES) -> Sequence[int]:
    """Slices with much lung, evenly spread over the scan."""
    areas = np.array([plane.sum() for plane in lung])
    full = np.flatnonzero(areas > max(0.5 * areas.max(), 1))
    if len(full) <= count:
        return [int(z) for z in full]
    return [int(z) for z in full[np.linspace(0, len(full) - 1, count).round().astype(int)]]


def measure(volume: Volume, lung: Mask, softening: Softening | None = None) -> Measured:
    """Measure a scan.

    Args:
        volume: HU, canonical orientation, padding marked.
        lung: Where the lung is, its shape.
        softening: Borders and regions are found after this filter, which shall take overshoot away; greys are taken as
            they are.
    """
    pixel = float(np.mean(volume.spacing[1:]))
    found = Measured()
    for z in chosen_slices(lung):
        image = volume.array[z].astype(np.float32)
        outside = None if volume.outside is None else volume.outside[z]
        found = found + measure_slice(image, lung[z], outside, pixel, softening)
    return found


def measure_slice(
    image: Image, lung: Mask, outside: Mask | None, pixel: float, softening: Softening | None = None
) -> Measured:
    """The same of one slice (y, x)."""
    scale = UNIT_MM / pixel
    valid = np.ones(image.shape, bool) if outside is None else _away_from(outside, FROM_PADDING * scale)
    clear = image if softening is None else softening.apply(image, (pixel, pixel))
    wall, skin = border_profiles(image, clear, lung, valid, pixel)
    smooth = ndimage.gaussian_filter(clear, SMOOTH * scale)
    return Measured(wall, skin, region_spectrum(image, _parenchyma(smooth, lung, scale) & valid, pixel), 1)


def _parenchyma(smooth: Image, lung: Mask, scale: float) -> Mask:
    """Lung away from its wall, without what is denser."""
    inner = _away_from(~lung, 4 * scale)
    if not inner.any():
        return inner
    dense = lung & (smooth > np.median(smooth[inner]) + PARENCHYMA)
    return inner & _away_from(dense, 2 * scale)


def _away_from(mask: Mask, reach: float) -> Mask:
    """Where a mask is further away than so many pixels."""
    if not mask.any():
        return np.ones_like(mask)
    away: Mask = ndimage.distance_transform_edt(~mask) > reach
    return away
