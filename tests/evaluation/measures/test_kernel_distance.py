"""The kernel distance against the polynomial kernel worked by hand, and sets of known difference."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest
import torch
from scipy.ndimage import correlate, gaussian_filter

from ctsr.evaluation.measures.kernel_distance import RandomFeatures, kernel_distance

FloatImage = npt.NDArray[np.float32]


def texture(seed: int, sigma: float = 1.5, mean: float = 0.5, contrast: float = 0.12) -> list[FloatImage]:
    """Eight images 128x128 with values in [0, 1]: smoothed noise."""
    rng = np.random.default_rng(seed)
    fields = [gaussian_filter(rng.normal(size=(128, 128)), sigma, mode="wrap") for _ in range(8)]
    return [np.clip(mean + contrast * field / field.std(), 0, 1).astype(np.float32) for field in fields]


def features(images: list[FloatImage]) -> npt.NDArray[np.float64]:
    corners = [(y, x) for y in (0, 64) for x in (0, 64)]
    patches = np.stack([image[y : y + 64, x : x + 64] for image in images for y, x in corners])
    found: npt.NDArray[np.float64] = RandomFeatures()(torch.from_numpy(patches)[:, None]).numpy().astype(np.float64)
    return found


def test_first_features_are_means_and_spreads_of_rectified_correlations() -> None:
    patch = texture(0)[0][:64, :64]
    network = RandomFeatures()
    found = network(torch.from_numpy(patch)[None, None])[0].numpy()
    assert found.shape == (2 * (32 + 64 + 128),)
    state = network.state_dict()
    weights, bias = state["layers.0.weight"][:, 0].numpy(), state["layers.0.bias"].numpy()
    for k in (0, 17):
        response = np.maximum(correlate(2 * patch - 1, weights[k], mode="constant") + bias[k], 0)
        assert found[k] == pytest.approx(response.mean(), abs=1e-5)
        assert found[32 + k] == pytest.approx(response.std(ddof=1), abs=1e-5)


@pytest.mark.parametrize("mean", [0.5, 0.15])
def test_distance_is_the_mean_discrepancy_of_a_cubic_kernel(mean: float) -> None:
    # Dark patches leave many features at rest; against their own spread of nearly 0 any other patch would be far away.
    made, real = texture(0, sigma=2.5, mean=mean + 0.1), texture(1, mean=mean, contrast=0.1)
    a, b = features(made), features(real)
    spread = b.std(axis=0, ddof=1)
    spread = np.maximum(spread, np.median(spread) / 10)
    a, b = (a - b.mean(axis=0)) / spread, (b - b.mean(axis=0)) / spread

    def kernel(u: npt.NDArray[np.float64], v: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        cube: npt.NDArray[np.float64] = (u @ v.T / u.shape[1] + 1) ** 3
        return cube

    n = len(a)
    within = sum((kernel(u, u).sum() - np.trace(kernel(u, u))) / (n * (n - 1)) for u in (a, b))
    expected = within - 2 * kernel(a, b).mean()
    # The library takes the mean over random halves of the patches; each is an unbiased estimate.
    assert kernel_distance(made, real) == pytest.approx(expected, rel=0.05)


def test_few_patches_tell_nothing() -> None:
    strips = [np.concatenate(texture(seed)[:4], axis=1)[:64, : 64 * 8] for seed in (0, 1)]
    made, real = ([strip] for strip in strips)
    assert math.isfinite(kernel_distance(made, real))
    seven = [strips[1][:, : 64 * 7]]
    assert math.isnan(kernel_distance(seven, real))
    assert math.isnan(kernel_distance(made, seven))


def test_one_kind_is_near_and_another_far() -> None:
    real = texture(1)
    same, softer, soft = (kernel_distance(texture(0, sigma), real) for sigma in (1.5, 1.8, 2.5))
    assert abs(same) < 0.5 < softer < soft


def test_chance_of_others_is_left_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    kernel_distance(texture(0)[:1], texture(1)[:1])
    torch.testing.assert_close(torch.rand(3), expected)
