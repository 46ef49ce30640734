"""How sharp the edges of vessels are."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from scipy.optimize import curve_fit
from scipy.special import ndtr

from ctsr.imaging.volume import Image
from ctsr.phantom.labels import Label

THICK_MM = 0.8  # vessels at least this thick have a plateau inside
OUTSIDE_MM, INSIDE_MM = 0.7, 0.36  # how far from the edge greys are taken
CLEAR_MM = 0.4  # from any other structure
TEN_TO_NINETY = 2.563  # standard deviations of a Gaussian between 10 % and 90 % of its integral
FLAT = 1e-3  # greys: what rises by less is no edge

Profile = npt.NDArray[np.float64]


def edge_width_um(
    images: Sequence[Image], labels: Sequence[npt.NDArray[np.uint8]], pixel_mm: float, bin_mm: float = 0.04
) -> float:
    """Distance over which a vessel's edge rises from 10 % to 90 %, in micrometres.

    Greys around the thick vessels of the truth are averaged by their signed distance from the true edge, and a step
    blurred by a Gaussian is fitted to the means: one of standard deviation s gives 2.56 s. Being fitted, the width may
    be more than the distance over which greys are taken.

    Args:
        images: Slices (H, W), any grey scale in which vessels are bright.
        labels: Their truth.
        pixel_mm: Pixel size in millimetres.
        bin_mm: Width of the classes of distance.

    Returns:
        The width; not a number where there is no thick vessel, greys do not rise towards it, or no step fits
        them.
    """
    edges = np.arange(-OUTSIDE_MM, INSIDE_MM + bin_mm / 2, bin_mm)
    size = len(edges) - 1
    counts, distances, greys = np.zeros(size), np.zeros(size), np.zeros(size)
    for image, truth in zip(images, labels, strict=True):
        vessel = truth == Label.VESSEL
        inside = ndimage.distance_transform_edt(vessel) * pixel_mm
        pieces, number = ndimage.label(vessel)
        deepest = ndimage.maximum(inside, pieces, np.arange(number + 1)) if number else np.zeros(1)
        thick = (2 * np.atleast_1d(deepest) >= THICK_MM)[pieces] & vessel
        if not thick.any():
            continue
        # Distances of pixel centres from the border between pixels, half a pixel from either.
        outside = ndimage.distance_transform_edt(~thick)
        signed = np.where(thick, inside, -outside * pixel_mm) + np.where(thick, -0.5, 0.5) * pixel_mm
        others = (truth != Label.PARENCHYMA) & ~thick
        clear = ndimage.distance_transform_edt(~others) * pixel_mm > CLEAR_MM if others.any() else ~others
        place = np.digitize(signed[clear], edges) - 1
        kept = (place >= 0) & (place < size)
        counts += np.bincount(place[kept], minlength=size)
        distances += np.bincount(place[kept], weights=signed[clear][kept], minlength=size)
        greys += np.bincount(place[kept], weights=image[clear][kept], minlength=size)
    met = counts > 0
    return _fitted_um(distances[met] / counts[met], greys[met] / counts[met]) if met.sum() > 4 else float("nan")


def _fitted_um(distance: Profile, grey: Profile) -> float:
    height = grey[-1] - grey[0]
    if height < FLAT:
        return float("nan")
    lower, upper = (-np.inf, 0.0, -OUTSIDE_MM, 0.01), (np.inf, np.inf, INSIDE_MM, 2.0)
    try:
        found, _ = curve_fit(_blurred_step, distance, grey, (grey[0], height, 0.0, 0.1), bounds=(lower, upper))
    except RuntimeError:  # no fit is found, as to few and noisy greys
        return float("nan")
    return 1000.0 * TEN_TO_NINETY * float(found[3])


def _blurred_step(distance: Profile, floor: float, height: float, middle: float, standard_deviation: float) -> Profile:
    profile: Profile = floor + height * ndtr((distance - middle) / standard_deviation)
    return profile
