"""How sharp the edges of vessels are."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from ctsr.evaluation.methods import Image
from ctsr.phantom.labels import Label

THICK_MM = 0.8  # vessels at least this thick have a plateau inside
OUTSIDE_MM, INSIDE_MM = 0.7, 0.36  # how far from the edge greys are taken
CLEAR_MM = 0.4  # from any other structure


def edge_width_um(
    images: Sequence[Image], labels: Sequence[npt.NDArray[np.uint8]], pixel_mm: float, bin_mm: float = 0.08
) -> float:
    """Distance over which a vessel's edge rises from 10 % to 90 %, in micrometres.

    Greys around the thick vessels of the truth are averaged by their signed distance from the true edge; the mean edge
    spread runs from the lowest to the highest mean. A step blurred by a Gaussian of standard deviation s gives 2.56 s.

    Args:
        images: Slices (H, W), any grey scale in which vessels are bright.
        labels: Their truth.
        pixel_mm: Pixel size in millimetres.
        bin_mm: Width of the classes of distance: a pixel at least, or some stay empty.

    Returns:
        The width; not a number where there is no thick vessel.
    """
    edges = np.arange(-OUTSIDE_MM, INSIDE_MM + bin_mm / 2, bin_mm)
    sums, counts = np.zeros(len(edges) - 1), np.zeros(len(edges) - 1)
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
        others = ndimage.distance_transform_edt((truth == Label.PARENCHYMA) | thick) * pixel_mm
        clear = others > CLEAR_MM
        place = np.digitize(signed[clear], edges) - 1
        kept = (place >= 0) & (place < len(sums))
        sums += np.bincount(place[kept], weights=image[clear][kept], minlength=len(sums))
        counts += np.bincount(place[kept], minlength=len(sums))
    if not counts.all():
        return float("nan")
    profile = np.maximum.accumulate(sums / counts)
    middles = (edges[:-1] + edges[1:]) / 2
    rise = (profile - profile[0]) / max(profile[-1] - profile[0], 1e-9)
    low, high = np.interp((0.1, 0.9), rise, middles)
    return 1000.0 * float(high - low)
