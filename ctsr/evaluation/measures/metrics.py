"""How near an image is to the truth: measures on one pair of 2-D images with values in [0, 1].

None is to be trusted alone: SSIM at full resolution rewards blur and punishes realistic texture, PSNR sees greys,
the correlation of gradients sees structure and shift but not inversion.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from scipy.ndimage import gaussian_filter, sobel
from torch import Tensor
from torch.nn.functional import pad
from torchmetrics.functional.image import (
    multiscale_structural_similarity_index_measure,
    peak_signal_noise_ratio,
    structural_similarity_index_measure,
)

from ctsr.imaging.volume import Image
from ctsr.losses.ssim import SSIMLoss

FWHM_PER_SIGMA = 2.0 * np.sqrt(2.0 * np.log(2.0))
DENSE_MM = 0.156
MS_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # of the scales of MS-SSIM, from the finest
OTHER_SCALES_UM = (156, 625, 1250)
STRUCTURE_MM = 0.312
"""Scale, as a Gaussian's full width at half maximum, above which structure is told from texture."""


_SSIM = SSIMLoss(C1=0.01**2, C2=0.03**2, window=11, sigma=1.5)  # constants of a data range of 1


def ssim(image: npt.ArrayLike, truth: npt.ArrayLike) -> float:
    """Structural similarity (Wang et al. 2004): Gaussian window 11x11, sigma 1.5, K1 0.01, K2 0.03, data range 1.

    Args:
        image: 2-D, values in [0, 1], at least 11 pixels each way.
        truth: As `image`.

    Returns:
        Mean over all pixels, the images mirrored at their borders; 1 for equal images.
    """
    # The loss's separable windows are twice as fast as torchmetrics' square ones, with the same result.
    a, b = (pad(_tensor(values), [5] * 4, mode="reflect") for values in (image, truth))
    return 1.0 - float(_SSIM(a, b))


def psnr(image: npt.ArrayLike, truth: npt.ArrayLike) -> float:
    """Peak signal-to-noise ratio in decibels for a data range of 1; infinite for equal images."""
    return float(peak_signal_noise_ratio(_tensor(image), _tensor(truth), data_range=1.0))


def ssim_312um(image: npt.ArrayLike, truth: npt.ArrayLike, pixel_mm: float) -> float:
    """`ssim` of both images after a Gaussian of 312 um full width at half maximum: structure without foam texture.

    Args:
        image: 2-D, values in [0, 1].
        truth: As `image`.
        pixel_mm: Pixel size in millimetres.
    """
    return ssim(*(smoothed(values, STRUCTURE_MM, pixel_mm) for values in (image, truth)))


def grad_corr(image: npt.ArrayLike, truth: npt.ArrayLike) -> float:
    """Pearson correlation of gradient magnitudes (Sobel, pixel to pixel): are the edges where the truth has them?

    Args:
        image: 2-D, any grey scale: gain and offset do not matter.
        truth: As `image`.

    Returns:
        From -1 to 1; 0 where one of the images is flat.
    """
    a, b = (
        np.hypot(*(sobel(_array(values), axis) for axis in (0, 1))).astype(float).ravel() for values in (image, truth)
    )
    a, b = a - a.mean(), b - b.mean()
    norm = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(a @ b) / norm if norm > 1e-12 else 0.0


def ms_ssim(image: npt.ArrayLike, truth: npt.ArrayLike) -> float:
    """Multi-scale SSIM (Wang et al. 2003), 11x11 Gaussian window, data range 1; as many of the five scales as fit.

    Args:
        image: 2-D, values in [0, 1].
        truth: As `image`.
    """
    a, b = _tensor(image), _tensor(truth)
    side = min(a.shape[-2:])
    # torchmetrics asks for more than its window at the coarsest scale.
    octaves = sum(min(side // 2**k, side // max(1, k) ** 2) > 10 for k in range(len(MS_WEIGHTS)))
    betas = np.array(MS_WEIGHTS[:octaves]) / sum(MS_WEIGHTS[:octaves])
    value = multiscale_structural_similarity_index_measure(
        a, b, sigma=1.5, data_range=1.0, betas=tuple(map(float, betas)), normalize="relu"
    )
    return float(value)


def ssim_paper(image: npt.ArrayLike, truth: npt.ArrayLike) -> float:
    """SSIM as the loss of eq. (1) has it: images in [-1, 1], C1 = 0.02, C2 = 0.06.

    Args:
        image: 2-D, values in [0, 1].
        truth: As `image`.
    """
    loss = SSIMLoss(C1=0.02, C2=0.06, window=11)
    return 1.0 - float(loss(2 * _tensor(image) - 1, 2 * _tensor(truth) - 1))


def smoothed(image: npt.ArrayLike, fwhm_mm: float, pixel_mm: float) -> Image:
    """A Gaussian of the given full width at half maximum."""
    fine: Image = gaussian_filter(_array(image), fwhm_mm / FWHM_PER_SIGMA / pixel_mm)
    return fine


def dice(image: npt.ArrayLike, truth: npt.ArrayLike, pixel_mm: float) -> float:
    """Overlap of what is dense: of the pixels above 1/2 after a Gaussian of 156 um full width at half maximum.

    Args:
        image: 2-D, values in [0, 1].
        truth: As `image`.
        pixel_mm: Pixel size in millimetres.

    Returns:
        2 |A and B| / (|A| + |B|); 1 where both have nothing dense.
    """
    a, b = (smoothed(values, DENSE_MM, pixel_mm) > 0.5 for values in (image, truth))
    total = int(a.sum()) + int(b.sum())
    return 2.0 * int((a & b).sum()) / total if total else 1.0


def ssim_map(image: npt.ArrayLike, truth: npt.ArrayLike) -> Image:
    """The local values whose mean is `ssim`, (H, W)."""
    _, local = structural_similarity_index_measure(
        _tensor(image), _tensor(truth), sigma=1.5, data_range=1.0, k1=0.01, k2=0.03, return_full_image=True
    )
    values: Image = local[0, 0].numpy()
    return values


def score(image: npt.ArrayLike, truth: npt.ArrayLike, pixel_mm: float, full: bool = False) -> dict[str, float]:
    """Measures of an image against its truth, by name.

    Args:
        image: 2-D, values in [0, 1].
        truth: As `image`.
        pixel_mm: Pixel size in millimetres.
        full: Those of an evaluation, not only those of a training's end.
    """
    scores = {
        "ssim": ssim(image, truth),
        "psnr": psnr(image, truth),
        "ssim_312um": ssim_312um(image, truth, pixel_mm),
        "grad_corr": grad_corr(image, truth),
        "dice": dice(image, truth, pixel_mm),
    }
    if not full:
        return scores
    scores |= {"ms_ssim": ms_ssim(image, truth), "ssim_paper": ssim_paper(image, truth)}
    for um in OTHER_SCALES_UM:
        scores[f"ssim_{um}um"] = ssim(*(smoothed(values, um / 1000, pixel_mm) for values in (image, truth)))
    return scores


def _array(image: npt.ArrayLike) -> Image:
    return np.asarray(image, dtype=np.float32)


def _tensor(image: npt.ArrayLike) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(_array(image)))[None, None]
