"""Kinds of tissue that measures are taken apart over."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.ndimage import binary_dilation

from ctsr.evaluation.measures.metrics import ssim_map
from ctsr.imaging.volume import Image, Mask
from ctsr.phantom.labels import Label

REGIONS: dict[str, tuple[Label, ...]] = {
    "parenchyma": (Label.PARENCHYMA,),
    "airway": (Label.AIRWAY_WALL, Label.AIRWAY_LUMEN),
    "vessel": (Label.VESSEL,),
    "nodule": (Label.NODULE,),
    "pleura": (Label.PLEURA,),
}
RIM = 3  # pixels around a structure that belong to it: there its edge is judged


def regions(labels: npt.NDArray[np.uint8]) -> dict[str, Mask]:
    """Where each kind of tissue is, with a rim; parenchyma is what is left. Empty ones are not there."""
    found, taken = {}, np.isin(labels, (Label.OUTSIDE, Label.CHEST_WALL))
    for name, kinds in REGIONS.items():
        if name != "parenchyma":
            mask = np.isin(labels, kinds)
            found[name] = binary_dilation(mask, iterations=RIM) & ~np.isin(labels, (Label.OUTSIDE, Label.CHEST_WALL))
            taken |= found[name]
    found["parenchyma"] = ~taken
    return {name: mask for name, mask in found.items() if mask.any()}


def region_scores(image: Image, truth: Image, masks: dict[str, Mask]) -> dict[str, tuple[float, int]]:
    """SSIM and mean squared error over each region of one slice.

    Args:
        image: (H, W) in [0, 1].
        truth: As `image`.
        masks: Of `regions`.

    Returns:
        "ssim_vessel" and the like: sum over the region's pixels, and their number; "mse_vessel" likewise.
    """
    local, square = ssim_map(image, truth), (image - truth) ** 2
    sums = {}
    for name, mask in masks.items():
        count = int(mask.sum())
        sums[f"ssim_{name}"] = float(local[mask].sum(dtype=np.float64)), count
        sums[f"mse_{name}"] = float(square[mask].sum(dtype=np.float64)), count
    return sums
