"""What each measure sees: an image changed in ways whose worth is known, beside the image itself."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.ndimage import gaussian_filter

from ctsr.evaluation.questions.enlargers import Enlarge, Image

BLUR = 1.5  # standard deviation in micro-CT pixels
SHIFT = 4  # micro-CT pixels
FOAM = 4.0  # standard deviation in micro-CT pixels that parts structure from texture


def degraded(enlarge: Enlarge, other_truth: Image) -> dict[str, Enlarge]:
    """Methods that spoil what another method makes.

    Args:
        enlarge: The method.
        other_truth: Micro-CT slice of another lung, in [-1, 1], at least as large as what is made.

    Returns:
        "blurred", "shifted" (by 4 pixels), "inverted", "greys x0.8 - 0.1", and "foreign foam": its structure with the
        alveolar texture of the other lung.
    """

    def foam(image: Image) -> Image:
        texture = other_truth - gaussian_filter(other_truth, FOAM)
        return np.asarray(gaussian_filter(image, FOAM) + texture[: image.shape[0], : image.shape[1]], dtype=np.float32)

    spoils: dict[str, Callable[[Image], Image]] = {
        "unchanged": lambda image: image,
        "blurred": lambda image: np.asarray(gaussian_filter(image, BLUR), dtype=np.float32),
        "shifted": lambda image: np.roll(image, SHIFT, axis=1),
        "inverted": lambda image: -image,
        "greys x0.8 - 0.1": lambda image: np.asarray(0.8 * image - 0.1, dtype=np.float32),
        "foreign foam": foam,
    }

    def spoiled(spoil: Callable[[Image], Image]) -> Enlarge:
        return lambda lr: spoil(np.clip(enlarge(lr), -1.0, 1.0))

    return {name: spoiled(spoil) for name, spoil in spoils.items()}
