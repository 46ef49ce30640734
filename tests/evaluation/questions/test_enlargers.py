"""Interpolations against kernels worked by hand."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from ctsr.evaluation.questions.enlargers import MAPPED, interpolations, lanczos, mapped, network
from ctsr.imaging.grey_map import GreyMap

FloatImage = npt.NDArray[np.float32]
BENT = GreyMap(np.array([-1.0, 0.0, 1.0]), np.array([-0.8, 0.4, 1.0]))
METHODS = interpolations(BENT)


def scan(seed: int = 0) -> FloatImage:
    return np.random.default_rng(seed).uniform(-0.6, 0.6, (12, 20)).astype(np.float32)


def lanczos_weights(size: int) -> npt.NDArray[np.float64]:
    """(8 size, size): sinc(d) sinc(d / 3) within three pixels, normalised over those that there are."""
    distance = (np.arange(8 * size)[:, None] + 0.5) / 8 - 0.5 - np.arange(size)
    weights = np.where(np.abs(distance) < 3, np.sinc(distance) * np.sinc(distance / 3), 0.0)
    normalised: npt.NDArray[np.float64] = weights / weights.sum(axis=1, keepdims=True)
    return normalised


def test_lanczos_has_three_lobes() -> None:
    image = scan()
    expected = lanczos_weights(12) @ image @ lanczos_weights(20).T
    assert np.abs(expected).max() < 1
    np.testing.assert_allclose(lanczos(image), expected, rtol=0, atol=1e-5)


def test_lanczos_does_not_leave_the_range() -> None:
    step = np.where(np.arange(20) < 10, -1.0, 1.0).astype(np.float32)[None].repeat(12, axis=0)
    assert np.abs(lanczos_weights(12) @ step @ lanczos_weights(20).T).max() > 1.05
    assert np.abs(lanczos(step)).max() == 1


def test_blurring_adds_its_variance() -> None:
    point = np.zeros((31, 31), np.float32)
    point[15, 15] = 1
    places = np.arange(248) - 123.5
    bicubic, blurred = (METHODS[name](point).astype(np.float64) for name in ("bicubic", "bicubic_blurred"))
    variances = [(image.sum(axis=0) * places**2).sum() / image.sum() for image in (bicubic, blurred)]
    assert abs(variances[1] - variances[0] - (0.5 * 8) ** 2) < 0.1  # half a clinical pixel, in fine pixels


def test_every_method_maps_greys_before_it_enlarges() -> None:
    image = scan()
    greys = np.where(image < 0, 0.4 + 1.2 * image, 0.4 + 0.6 * image)
    for name in ("nearest", "bicubic", "lanczos", "bicubic_blurred"):
        expected = METHODS[name](greys.astype(np.float32))
        np.testing.assert_allclose(METHODS[f"{name}_mapped"](image), expected, rtol=0, atol=1e-6)
    np.testing.assert_allclose(METHODS["nearest_mapped"](image), np.kron(greys, np.ones((8, 8))), rtol=0, atol=1e-6)


def test_outer_edges_are_shared() -> None:
    ramp = np.linspace(-0.5, 0.5, 20, dtype=np.float32)[None].repeat(12, axis=0)
    for name in ("nearest", "bicubic", "lanczos", "bicubic_blurred"):
        fine = METHODS[name](ramp)
        assert fine.shape == (96, 160), name
        np.testing.assert_allclose(fine + fine[:, ::-1], 0, atol=1e-5, err_msg=name)
        back = fine[:, 40:120].reshape(96, 10, 8).mean(axis=2)  # beyond the reach of the borders
        np.testing.assert_allclose(back, ramp[:1, 5:15].repeat(96, axis=0), atol=5e-3, err_msg=name)


def test_few_are_the_three_of_a_training() -> None:
    assert list(interpolations(BENT, few=True)) == ["nearest", "bicubic", MAPPED]
    np.testing.assert_array_equal(interpolations(BENT, few=True)[MAPPED](scan()), METHODS["bicubic_mapped"](scan()))


def test_a_network_works_in_eval_mode_and_gets_its_mode_back() -> None:
    class Doubling(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.drop = nn.Dropout(0.5)

        def forward(self, image: Tensor) -> Tensor:
            dropped: Tensor = self.drop(2 * torch.repeat_interleave(torch.repeat_interleave(image, 8, 2), 8, 3))
            return dropped

    net = Doubling().train()
    image = scan()[:, ::-1]  # not contiguous
    np.testing.assert_allclose(network(net)(image), np.kron(2 * image, np.ones((8, 8))), rtol=1e-6)
    np.testing.assert_allclose(mapped(network(net), BENT)(np.zeros((2, 2), np.float32)), 0.8, rtol=1e-6)
    assert net.training
