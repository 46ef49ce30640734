"""f() against SciPy's filters, and its alignment against shapes whose place is known."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
import torch
from scipy.ndimage import convolve1d

from ctsr.imaging.pyramid import GaussianPyramid, pyramid_matrix


def reference(image: npt.NDArray[np.float64], octaves: int = 3) -> npt.NDArray[np.float64]:
    """Blur with [1 4 6 4 1]/16 (reflecting), average 2x2, as often as there are octaves."""
    taps = np.array([1, 4, 6, 4, 1]) / 16
    for _ in range(octaves):
        image = convolve1d(convolve1d(image, taps, axis=0, mode="mirror"), taps, axis=1, mode="mirror")
        image = image.reshape(image.shape[0] // 2, 2, image.shape[1] // 2, 2).mean(axis=(1, 3))
    return image


@pytest.mark.parametrize("shape", [(64, 64), (256, 256), (128, 72)])
def test_equals_reference(shape: tuple[int, int]) -> None:
    image = np.random.default_rng(0).standard_normal(shape)
    ours = GaussianPyramid()(torch.from_numpy(image).float()[None, None])[0, 0].numpy()
    np.testing.assert_allclose(ours, reference(image), atol=1e-5)


def test_low_pixel_stands_for_its_eight_high_pixels() -> None:
    ramp = torch.arange(256, dtype=torch.float32).expand(1, 1, 256, 256)
    low = GaussianPyramid()(ramp)[0, 0, 16]
    centres = torch.arange(32) * 8 + 3.5
    torch.testing.assert_close(low[4:-4], centres[4:-4], atol=1e-3, rtol=0)


def test_symmetric_under_flips() -> None:
    image = torch.randn(1, 1, 64, 64, generator=torch.Generator().manual_seed(0))
    f = GaussianPyramid()
    torch.testing.assert_close(f(image.flip(-1)), f(image).flip(-1))
    torch.testing.assert_close(f(image.flip(-2)), f(image).flip(-2))


def test_crop_differs_only_near_the_border() -> None:
    image = torch.randn(1, 1, 256, 256, generator=torch.Generator().manual_seed(1))
    f = GaussianPyramid()
    crop, whole = f(image[..., 64:192, 64:192]), f(image)[..., 8:24, 8:24]
    torch.testing.assert_close(crop[..., 3:-3, 3:-3], whole[..., 3:-3, 3:-3], atol=1e-5, rtol=0)
    assert not torch.allclose(crop, whole, atol=1e-3)


def test_refuses_sides_that_do_not_divide() -> None:
    with pytest.raises(ValueError, match="multiples of 8"):
        GaussianPyramid()(torch.zeros(1, 1, 60, 64))


@pytest.mark.parametrize("shape", [(16, 24), (256, 256), (128, 72)])
def test_as_matrices_it_equals_the_reference(shape: tuple[int, int]) -> None:
    image = np.random.default_rng(0).normal(size=shape)
    rows, columns = (pyramid_matrix(length) for length in shape)
    np.testing.assert_allclose(rows @ image @ columns.T, reference(image), rtol=0, atol=1e-6)
