"""The kernel distance against the polynomial kernel worked by hand, and sets of known difference."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
import torch
from scipy.ndimage import correlate, gaussian_filter

from ctsr.evaluation.features import RandomFeatures, kernel_distance

FloatImage = npt.NDArray[np.float32]


def texture(seed: int, sigma: float = 1.5, count: int = 4) -> list[FloatImage]:
    """Images 256x256 with values in [0, 1]: smoothed noise of one contrast."""
    rng = np.random.default_rng(seed)
    fields = [gaussian_filter(rng.normal(size=(256, 256)), sigma, mode="wrap") for _ in range(count)]
    return [np.clip(0.5 + 0.12 * field / field.std(), 0, 1).astype(np.float32) for field in fields]


def patches(images: list[FloatImage]) -> torch.Tensor:
    cut = [image[y : y + 64, x : x + 64] for image in images for y in range(0, 256, 64) for x in range(0, 256, 64)]
    return torch.from_numpy(np.stack(cut))[:, None]


def test_first_features_are_means_and_spreads_of_rectified_correlations() -> None:
    patch = texture(0, count=1)[0][:64, :64]
    network = RandomFeatures()
    found = network(torch.from_numpy(patch)[None, None])[0].numpy()
    assert found.shape == (2 * (32 + 64 + 128),)
    weights, bias = network.layers[0].weight[:, 0].numpy(), network.layers[0].bias.numpy()
    for k in (0, 17):
        response = np.maximum(correlate(2 * patch - 1, weights[k], mode="constant") + bias[k], 0)
        assert found[k] == pytest.approx(response.mean(), abs=1e-5)
        assert found[32 + k] == pytest.approx(response.std(ddof=1), abs=1e-5)


def test_distance_is_the_mean_discrepancy_of_a_cubic_kernel() -> None:
    made, real = texture(0, sigma=2.5), texture(1)
    a, b = (RandomFeatures()(patches(images)).numpy().astype(np.float64) for images in (made, real))
    spread = b.std(axis=0, ddof=1)
    spread = np.maximum(spread, np.median(spread) / 10)
    a, b = (a - b.mean(axis=0)) / spread, (b - b.mean(axis=0)) / spread

    def kernel(u: npt.NDArray[np.float64], v: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        cube: npt.NDArray[np.float64] = (u @ v.T / u.shape[1] + 1) ** 3
        return cube

    n = len(a)
    within = sum((kernel(u, u).sum() - np.trace(kernel(u, u))) / (n * (n - 1)) for u in (a, b))
    expected = within - 2 * kernel(a, b).mean()
    # The library averages over random halves of the patches, which are unbiased.
    assert kernel_distance(made, real) == pytest.approx(expected, rel=0.1)


def test_one_kind_is_near_and_another_far() -> None:
    real = texture(1)
    distances = [kernel_distance(texture(0, sigma), real) for sigma in (1.5, 1.8, 2.5)]
    assert abs(distances[0]) < 0.1 < distances[1] < distances[2]


def test_order_and_place_do_not_matter() -> None:
    real = texture(1)
    moved = [np.roll(image, (64, 128), axis=(0, 1)) for image in reversed(real)]
    assert abs(kernel_distance(moved, real)) < 0.1
    assert kernel_distance([1 - image for image in real], real) > 0.1


def test_a_response_that_real_patches_never_give_is_not_the_whole_distance() -> None:
    # Where all real patches leave a feature at rest, its spread is 0: measured by it, any difference is huge.
    flat = [np.full((256, 256), 0.4, np.float32) + 1e-3 * image for image in texture(1)]
    bright = [image.copy() for image in flat]
    bright[0][:64, :64] += 0.01 * texture(3)[0][:64, :64]
    assert abs(kernel_distance(bright, flat)) < 1e6


def test_chance_of_others_is_left_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    kernel_distance(texture(0, count=1), texture(1, count=1))
    torch.testing.assert_close(torch.rand(3), expected)
