"""A grid that enlarging leaves in an image, seen in its power spectrum."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torchmetrics import Metric

WINDOW = 64  # pixels, of a validation: the least


def grid_peak(images: Iterable[npt.ArrayLike], window: int = 256) -> float:
    """Strength of a grid left by upsampling x8: pitches of 8, 4, 2 pixels and their overtones.

    The power spectra of half-overlapping Hann windows are averaged over all images. At each frequency (m/8, n/8),
    m and n not both 0, the power is divided by that of its neighbourhood, 3 to 6 frequency bins away and so beyond the
    window's main lobe: the median of a ring, or of the same row or column of the spectrum where that is more, for
    interpolated images have a cross of power through these frequencies. What 8-bit rounding would add is part of the
    neighbourhood: a grid below that cannot be seen.

    Args:
        images: 2-D images, values in [0, 1], each at least `window` pixels both ways. The more, the surer: from a few
            windows alone, the largest of 63 chance values is well above 1.
        window: Width of the spectral window in pixels, a multiple of 8 and at least 64.

    Returns:
        The largest of these quotients: about 1 without a grid, clean below 3.

    Raises:
        ValueError: If the window will not do.
    """
    if window % 8 or window < 64:
        raise ValueError(f"a spectral window of {window} pixels: give a multiple of 8, at least 64")
    power, windows = _summed_power(images, window)
    return _largest_quotient(power / windows)


class GridPeak(Metric):
    """`grid_peak` of all patches of a validation, over all processes, in windows of 64 pixels.

    A few patches have many such windows: chance leaves 1.1 to 2 of 16 or 32 patches of 128 pixels of a phantom's µCT.
    Interpolation's own remains are not told apart from a grid: bicubic has 4 to 10, a network near it 2 to 4.
    """

    full_state_update = False
    power: Tensor
    windows: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("power", default=torch.zeros(WINDOW, WINDOW), dist_reduce_fx="sum")
        self.add_state("windows", default=torch.tensor(0), dist_reduce_fx="sum")

    def update(self, images: Tensor) -> None:
        """Adds images (N, 1, H, W) in [0, 1]; smaller ones than a window tell nothing."""
        if min(images.shape[-2:]) >= WINDOW:
            power, windows = _summed_power(images[:, 0].detach().float().cpu().numpy(), WINDOW)
            self.power += torch.from_numpy(power).to(self.power)
            self.windows += windows

    def compute(self) -> Tensor:
        """A scalar; not a number where no image was large enough."""
        if not self.windows:
            return torch.tensor(torch.nan, device=self.power.device)
        peak = _largest_quotient((self.power / self.windows).cpu().numpy())
        return torch.tensor(peak, device=self.power.device)


def _summed_power(images: Iterable[npt.ArrayLike], window: int) -> tuple[npt.NDArray[np.floating], int]:
    """Power spectra of all windows, summed, and how many there are."""
    patches = np.concatenate([_half_overlapping(np.asarray(image, dtype=np.float32), window) for image in images])
    patches = (patches - patches.mean(axis=(1, 2), keepdims=True)) * _taper(window)
    return (np.abs(np.fft.fft2(patches)) ** 2).sum(axis=0), len(patches)


def _largest_quotient(power: npt.NDArray[np.floating]) -> float:
    """The largest power at a frequency of the grid, as a multiple of that around it."""
    window = len(power)
    rounding = (_taper(window) ** 2).sum() / 255**2 / 12
    centre = 6
    arm = np.r_[0:4, 9:13]  # 3 to 6 bins from the centre
    outside = np.ones((13, 13), dtype=bool)
    outside[4:9, 4:9] = False
    quotients = []
    for row, column in np.ndindex(8, 8):
        if row or column:
            shift = (centre - row * window // 8, centre - column * window // 8)
            near = np.roll(power, shift, axis=(0, 1))[:13, :13]
            around = max(np.median(near[outside]), np.median(near[centre, arm]), np.median(near[arm, centre]))
            quotients.append(near[centre, centre] / (around + rounding))
    return float(np.max(quotients))


def _taper(window: int) -> npt.NDArray[np.float64]:
    return np.outer(np.hanning(window + 1)[:-1], np.hanning(window + 1)[:-1])


def _half_overlapping(image: npt.NDArray[np.float32], window: int) -> npt.NDArray[np.float32]:
    views = np.lib.stride_tricks.sliding_window_view(image, (window, window))
    return views[:: window // 2, :: window // 2].reshape(-1, window, window)
