"""The SSIM loss against scikit-image, the printed equation, and its own invariants."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from skimage.metrics import structural_similarity

from ctsr.losses.ssim import SSIMLoss


def images(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    a = torch.rand(3, 1, 32, 32, generator=generator) * 2 - 1
    return a, (0.6 * a + 0.2 + 0.3 * torch.randn(3, 1, 32, 32, generator=generator)).clamp(-1, 1)


def reference(a: torch.Tensor, b: torch.Tensor, C1: float, C2: float) -> float:
    """scikit-image's map, cropped to where the window fits; its constants are (K L)²."""
    values = []
    for one, other in zip(a[:, 0].double().numpy(), b[:, 0].double().numpy(), strict=True):
        _, ssim_map = structural_similarity(
            one,
            other,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
            data_range=2.0,
            K1=np.sqrt(C1) / 2,
            K2=np.sqrt(C2) / 2,
            full=True,
        )
        values.append(ssim_map[5:-5, 5:-5].mean())
    return 1 - float(np.mean(values))


def whole_patch(a: torch.Tensor, b: torch.Tensor, C1: float, C2: float, factor: float) -> float:
    """Eq. (1) spelled out with the statistics of whole images."""
    values = []
    for one, other in zip(a[:, 0].double().numpy(), b[:, 0].double().numpy(), strict=True):
        covariance = np.cov(one.ravel(), other.ravel(), bias=True)[0, 1]
        luminance = (factor * one.mean() * other.mean() + C1) / (one.mean() ** 2 + other.mean() ** 2 + C1)
        values.append(luminance * (2 * covariance + C2) / (one.var() + other.var() + C2))
    return 1 - float(np.mean(values))


@pytest.mark.parametrize(("C1", "C2"), [(0.02, 0.06), (0.0004, 0.0036)])
@pytest.mark.parametrize("domain", ["signed", "unit"])
def test_equals_scikit_image(C1: float, C2: float, domain: str) -> None:
    a, b = images(0)
    expected = reference(a, b, C1, C2) if domain == "signed" else reference((a + 1) / 2, (b + 1) / 2, C1, C2)
    assert SSIMLoss(C1, C2, domain=domain)(a, b).item() == pytest.approx(expected, abs=1e-5)  # type: ignore[arg-type]


@pytest.mark.parametrize("as_printed", [False, True])
def test_whole_patch_statistics(as_printed: bool) -> None:
    a, b = images(1)
    loss = SSIMLoss(window=None, as_printed=as_printed)(a, b).item()
    assert loss == pytest.approx(whole_patch(a, b, 0.02, 0.06, 1 if as_printed else 2), abs=1e-5)


def test_zero_for_identical_images_but_not_as_printed() -> None:
    a, _ = images(2)
    assert SSIMLoss()(a, a).item() == pytest.approx(0, abs=1e-6)
    assert SSIMLoss(window=None)(a, a).item() == pytest.approx(0, abs=1e-6)
    constant = torch.full((1, 1, 16, 16), 0.5)
    # By hand: 1 - (0.25 + 0.02) / (0.5 + 0.02)
    assert SSIMLoss(as_printed=True)(constant, constant).item() == pytest.approx(1 - 0.27 / 0.52, abs=1e-6)


def test_gradient_pulls_images_together() -> None:
    a, b = images(3)
    b.requires_grad_()
    loss = SSIMLoss()
    before = loss(a, b)
    before.backward()
    assert b.grad is not None
    assert loss(a, b.detach() - 0.5 * b.grad / b.grad.norm()) < before


def test_float32_under_autocast() -> None:
    a, b = images(4)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = SSIMLoss()(a, b)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(reference(a, b, 0.02, 0.06), abs=1e-5)


@pytest.mark.parametrize("wrong", [{"window": 10}, {"domain": "hu"}])
def test_refuses_wrong_settings(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="SSIM"):
        SSIMLoss(**wrong)  # type: ignore[arg-type]
