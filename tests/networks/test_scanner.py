"""G1 as a scanner, against SciPy and closed forms."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
import torch
from scipy.ndimage import convolve, gaussian_filter
from torch.nn.functional import mse_loss

from ctsr.networks.scanner import ScannerGenerator
from ctsr.networks.synthesis import build_g1


def image(seed: int = 0, size: int = 24) -> torch.Tensor:
    return torch.rand(2, 1, size, size, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def test_a_wide_point_spread_is_scipys_gaussian() -> None:
    network = ScannerGenerator(kernel=13, noise=False)
    with torch.no_grad():
        network.spread.fill_(1.3)
        network.gain.fill_(0.8)
        network.offset.fill_(0.25)
    expected = 0.8 * gaussian_filter(image()[0, 0].double().numpy(), 1.3, mode="mirror") + 0.25
    np.testing.assert_allclose(network(image())[0, 0].detach().numpy(), expected, atol=2e-3)


@pytest.mark.parametrize("frequency", [0.125, 0.25, 0.375])
def test_a_narrow_point_spread_has_a_gaussians_transfer(frequency: float) -> None:
    network = ScannerGenerator(kernel=15, noise=False)
    with torch.no_grad():
        network.spread.fill_(0.47)
    wave = torch.cos(2 * torch.pi * frequency * torch.arange(64.0)).expand(1, 1, 64, 64)
    passed = float((network(wave).detach() * wave)[..., 16:-16].mean() / (wave * wave)[..., 16:-16].mean())
    assert passed == pytest.approx(np.exp(-2 * (np.pi * 0.47 * frequency) ** 2), abs=0.015)


def test_noise_is_filtered_and_without_a_mean() -> None:
    network, noise = ScannerGenerator(kernel=3), torch.randn(2, 1, 24, 24)
    weights = np.random.default_rng(0).normal(size=(3, 3))
    assert network.noise_filter is not None
    with torch.no_grad():
        network.noise_filter.copy_(torch.from_numpy(weights))
    ways = [np.rot90(way, turns) for turns in range(4) for way in (weights, weights[:, ::-1])]
    kernel = np.mean(ways, axis=0) - np.mean(weights)
    added = (network(image(), noise) - network(image()))[0, 0].detach().numpy()
    np.testing.assert_allclose(added, convolve(noise[0, 0].double().numpy(), kernel, mode="mirror"), atol=1e-5)
    assert float((network(image(), torch.ones_like(noise)) - network(image())).abs().max()) < 1e-6


def test_commutes_with_turns_and_shifts() -> None:
    network = build_g1(kind="scanner")
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.normal_(std=0.5)
    made = network(image())
    torch.testing.assert_close(network(image().rot90(1, (-2, -1))), made.rot90(1, (-2, -1)))
    torch.testing.assert_close(network(image().roll(3, -1))[..., 8:-8], made.roll(3, -1)[..., 8:-8])


def test_learns_a_known_scanner() -> None:
    network = ScannerGenerator(noise=False)
    optimizer = torch.optim.Adam(network.parameters(), lr=0.03)
    for step in range(200):
        x = image(step, 32)
        blurred = torch.from_numpy(gaussian_filter(x.numpy(), (0, 0, 0.8, 0.8), mode="mirror"))
        optimizer.zero_grad()
        mse_loss(network(x), 0.8 * blurred - 0.1).backward()
        optimizer.step()
    assert float(network.offset.detach()) == pytest.approx(-0.1, abs=0.01)
    assert float(network.gain.detach()) == pytest.approx(0.8, abs=0.02)
    assert abs(float(network.spread.detach())) == pytest.approx(0.8, abs=0.05)


def test_small_images_and_wrong_kernels() -> None:
    assert ScannerGenerator()(torch.zeros(1, 1, 2, 2)).shape == (1, 1, 2, 2)
    with pytest.raises(ValueError, match="must be odd"):
        ScannerGenerator(kernel=4)
    with pytest.raises(ValueError, match="kind must be scanner"):
        build_g1(kind="other")


def test_each_image_has_a_scanner_of_its_own() -> None:
    """Its blur is a Gaussian's of its width; its noise goes through the same kernel as the image, relative to G1's."""
    network, wider = ScannerGenerator(kernel=15), torch.tensor([0.5, 2.0])
    with torch.no_grad():
        network.spread.fill_(0.6)
    impulse = torch.zeros(2, 1, 64, 64)
    impulse[..., 32, 32] = 1.0

    def passed(images: torch.Tensor) -> npt.NDArray[np.floating]:
        return np.abs(np.fft.fft2(images[:, 0].detach().numpy()))[:, 0, 16]  # at a quarter of the sampling frequency

    cut = -2 * (np.pi * 0.6 * 0.25) ** 2  # logarithm of the learned point spread's transfer there
    np.testing.assert_allclose(passed(network(impulse, None, wider)), np.exp(cut * np.array([0.25, 4])), atol=0.015)
    nothing = torch.zeros_like(impulse)
    factor = passed(network(nothing, impulse, wider)) / passed(network(nothing, impulse))
    np.testing.assert_allclose(factor, np.exp(cut * np.array([0.25 - 1, 4 - 1])), rtol=0.02)


def test_calibrated_greys_are_not_learned() -> None:
    network = build_g1(kind="scanner", greys="calibrated", gain=0.9, offset=-0.2, noise=False)
    assert {name for name, _ in network.named_parameters()} == {"spread"}
    flat = torch.full((1, 1, 16, 16), 0.5)
    torch.testing.assert_close(network(flat), torch.full_like(flat, 0.25))
    assert {"gain", "offset"} <= set(network.state_dict())
    with pytest.raises(ValueError, match="learned or calibrated"):
        ScannerGenerator(greys="guessed")
