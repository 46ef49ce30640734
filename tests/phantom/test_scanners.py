from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage, optimize, special

from ctsr.phantom.scanners import ClinicalScanner, MicroScanner, fbp_noise

QUIET = ClinicalScanner(pixel=0.625, spread=1.1, slice_width=0.6, noise=0.0, cutoff=0.2)
VOXEL = 0.078125


def edge_width(distance: np.ndarray, values: np.ndarray) -> tuple[float, float]:
    """Place and full width at half maximum of a blurred edge from -1000 to 0, fitted with an error function."""

    def edge(d: np.ndarray, place: float, sigma: float) -> np.ndarray:
        return -1000 + 1000 * special.ndtr((d - place) / sigma)

    place, sigma = optimize.curve_fit(edge, distance, values, p0=(0.1, 0.4))[0]
    return float(place), float(2.3548 * abs(sigma))


def test_point_spread_in_plane_on_a_slanted_edge() -> None:
    fine = (np.arange(512) + 0.5) * VOXEL - 20
    way = np.deg2rad(5)
    distance = fine[None, :] * np.cos(way) + fine[:, None] * np.sin(way)
    block = np.repeat(np.clip(distance / VOXEL + 0.5, 0, 1)[None] * 1000 - 1000, 8, axis=0).astype(np.float32)
    scan = QUIET.scan(block, VOXEL, np.array([4 * VOXEL]), np.random.default_rng(0))[0].astype(float)
    pixels = (np.arange(64) + 0.5) * 0.625 - 20
    distance = pixels[None, :] * np.cos(way) + pixels[:, None] * np.sin(way)
    near = np.abs(distance) < 4
    place, width = edge_width(distance[near], scan[near])
    assert place == pytest.approx(0, abs=0.005)  # no shift, not even of half a voxel
    assert width == pytest.approx(QUIET.spread, rel=0.02)


def test_slice_profile() -> None:
    block = np.full((64, 16, 16), -1000, np.float32)
    block[32:] = 0  # an edge 32 voxels from the first face
    slices = np.linspace(1.0, 4.0, 121)
    scan = QUIET.scan(block, VOXEL, slices, np.random.default_rng(0))[:, 0, 0].astype(float)
    place, width = edge_width(slices - 32 * VOXEL, scan)
    assert place == pytest.approx(0, abs=0.005)
    assert width == pytest.approx(QUIET.slice_width, rel=0.02)


def test_noise_level_on_uniform_tissue() -> None:
    scanner = ClinicalScanner(pixel=0.625, spread=1.1, slice_width=0.6, noise=12.0, cutoff=0.2)
    block = np.full((16, 512, 512), -850, np.float32)
    scan = scanner.scan(block, VOXEL, np.linspace(0.3, 0.9, 8), np.random.default_rng(0))
    assert scan.mean() == pytest.approx(-850, abs=0.2)
    assert scan.std() == pytest.approx(12, rel=0.02)


def test_noise_spectrum_rises_and_falls() -> None:
    noise = fbp_noise((16, 128, 128), 0.2, np.random.default_rng(0))
    power = (np.abs(np.fft.fft2(noise)) ** 2).mean(axis=0)
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(128), np.fft.fftfreq(128)))

    def around(f: float) -> float:
        return float(power[np.abs(frequency - f) < 0.015].mean())

    assert around(0.14) > 2 * around(0.02)
    assert around(0.14) > 4 * around(0.4)
    # The formula: (f + 0.02) exp(-f² / σ²).
    expected = (0.32 / 0.16) * np.exp(-(0.3**2 - 0.14**2) / 0.2**2)
    assert around(0.3) / around(0.14) == pytest.approx(expected, rel=0.1)
    assert np.corrcoef(noise[0].ravel(), noise[1].ravel())[0, 1] == pytest.approx(0, abs=0.05)


def test_micro_greys_noise_and_blur() -> None:
    density = np.full((16, 64, 64), -1000, np.float32)
    density[:, 32:] = 45
    noisy, clear = (
        MicroScanner(gain=10000, offset=5000, blur=0.6, noise=noise, rings=0.0).scan(density, np.random.default_rng(0))
        for noise in (0.03, 0.0)
    )
    assert noisy.dtype == np.uint16
    assert noisy[:, :28].mean() == pytest.approx(5000, abs=10)
    assert noisy[:, 36:].mean() == pytest.approx(15000, abs=10)
    assert noisy[:, :28].std() == pytest.approx(300, rel=0.03)
    spread = np.diff(clear[8, :, 32].astype(float)) / 10000  # the derivative of an edge is the line spread
    place = np.arange(63) + 0.5
    assert (spread * place).sum() == pytest.approx(31.5, abs=0.01)
    assert (spread * (place - 31.5) ** 2).sum() == pytest.approx(0.6**2, rel=0.03)


def test_rings_are_round_and_as_strong_as_asked() -> None:
    scanner = MicroScanner(gain=10000, offset=5000, blur=0.6, noise=0.0, rings=0.01)
    greys = scanner.scan(np.full((4, 128, 128), -1000, np.float32), np.random.default_rng(0)).astype(float)
    assert greys.std() == pytest.approx(100 * np.sqrt(2 / 3), rel=0.2)  # interpolation between pixels loses a third
    np.testing.assert_array_equal(greys[0], greys[3])  # the same detector in every slice
    around = [greys[0] - ndimage.rotate(greys[0], turn, reshape=False, mode="nearest") for turn in (90, 180)]
    assert all(difference[40:88, 40:88].std() < 2 * greys.std() for difference in around)
