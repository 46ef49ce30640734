"""The SSIM loss of eq. (1)."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class SSIMLoss(nn.Module):
    """L_S(a, b) = 1 - SSIM(a, b), eq. (1) of the paper for images in [-1, 1].

    The paper prints (mu_a mu_b + C1) in the numerator; the measure it cites (Wang et al. 2004) has
    (2 mu_a mu_b + C1), without which L_S(a, a) > 0 (READING 1). Statistics are taken in a Gaussian window and the map
    is averaged where the window fits whole; `window=None` takes them over the whole image, the text's other reading
    (READING 3). Always computed in float32: variances as differences of moments do not survive half precision.

    Args:
        C1: Constant beside the means.
        C2: Constant beside the (co)variances.
        window: Side of the Gaussian window in pixels, odd; None for statistics over the whole image.
        sigma: Standard deviation of the Gaussian in pixels.
        as_printed: Use the printed numerator without the factor 2.
        domain: "signed" works on [-1, 1] as the paper; "unit" maps to [0, 1] first.
    """

    taps: Tensor

    def __init__(
        self,
        C1: float = 0.02,
        C2: float = 0.06,
        window: int | None = 11,
        sigma: float = 1.5,
        as_printed: bool = False,
        domain: Literal["signed", "unit"] = "signed",
    ) -> None:
        super().__init__()
        if window is not None and (window < 1 or window % 2 == 0):
            raise ValueError(f"SSIM window must be odd, not {window}")
        if domain not in ("signed", "unit"):
            raise ValueError(f"SSIM domain must be signed or unit, not {domain}")
        self.C1, self.C2, self.as_printed, self.domain, self.window = C1, C2, as_printed, domain, window
        offsets = torch.arange(window or 1) - ((window or 1) - 1) / 2
        gaussian = torch.exp(-(offsets**2) / (2 * sigma**2))
        self.register_buffer("taps", gaussian / gaussian.sum(), persistent=False)

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """Mean loss over a batch of image pairs (N, C, H, W)."""
        with torch.autocast(a.device.type, enabled=False):
            a, b = a.float(), b.float()
            if self.domain == "unit":
                a, b = (a + 1) / 2, (b + 1) / 2
            mean_a, mean_b, mean_aa, mean_bb, mean_ab = self._mean(torch.cat((a, b, a * a, b * b, a * b))).chunk(5)
            luminance = (1 if self.as_printed else 2) * mean_a * mean_b + self.C1
            luminance = luminance / (mean_a**2 + mean_b**2 + self.C1)
            covariance = mean_ab - mean_a * mean_b
            variances = (mean_aa - mean_a**2) + (mean_bb - mean_b**2)
            structure = (2 * covariance + self.C2) / (variances + self.C2)
            return 1 - (luminance * structure).mean()

    def _mean(self, images: Tensor) -> Tensor:
        """Local means under the Gaussian window, or the mean of each whole image."""
        if self.window is None:
            return images.mean(dim=(-2, -1), keepdim=True)
        channels = images.shape[1]
        rows = self.taps.view(1, 1, -1, 1).repeat(channels, 1, 1, 1)
        columns = self.taps.view(1, 1, 1, -1).repeat(channels, 1, 1, 1)
        return F.conv2d(F.conv2d(images, rows, groups=channels), columns, groups=channels)
