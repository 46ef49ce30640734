from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from ctsr.imaging.resample import antialias_sigma, resample_plane, resampled_affine, resampled_shape

RATIOS = [0.125, 0.4, 0.8, 1.0, 1.3, 2.0, 4.0]


def outer_edges(affine: np.ndarray, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """World positions of the first and the last outer corner of the first slice."""
    first, last = np.array([0, -0.5, -0.5, 1]), np.array([0, shape[-2] - 0.5, shape[-1] - 0.5, 1])
    return affine @ first, affine @ last


@pytest.fixture
def affine() -> np.ndarray:
    directions = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    affine = np.eye(4)
    affine[:3, :3] = directions * (2.0, 0.6, 0.9)
    affine[:3, 3] = (10, 20, 30)
    return affine


@pytest.mark.parametrize("order", [1, 3])
@pytest.mark.parametrize("ratio", RATIOS)
def test_a_ramp_in_the_world_stays_the_same_ramp(affine, ratio, order) -> None:
    slope = np.array([0.0, 3.0, -2.0]) @ np.linalg.inv(affine[:3, :3])  # grey per mm, along rows and columns

    def ramp(a: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        points = a[:3, :3] @ np.indices(shape).reshape(3, -1) + a[:3, 3:]
        return (slope @ points).reshape(shape)

    shape = (2, 80, 64)
    target = (0.6 * ratio, 0.9 * ratio)
    resampled = resample_plane(ramp(affine, shape), (0.6, 0.9), target, order=order)
    expected = ramp(resampled_affine(affine, target), resampled.shape)
    inner = tuple(slice(n // 4, -(n // 4)) for n in resampled.shape[1:])
    np.testing.assert_allclose(resampled[:, *inner], expected[:, *inner], atol=2e-3)


@pytest.mark.parametrize("ratio", RATIOS)
def test_outer_edges_are_shared(affine, ratio) -> None:
    target = (0.6 * ratio, 0.9 * ratio)
    shape = resampled_shape((80, 64), (0.6, 0.9), target)
    new = resampled_affine(affine, target)
    first, last = outer_edges(affine, (80, 64))
    new_first, new_last = outer_edges(new, shape)
    np.testing.assert_allclose(new_first, first, atol=1e-9)
    exact = 80 / ratio == shape[0] and 64 / ratio == shape[1]
    np.testing.assert_allclose(new_last, last, atol=1e-9 if exact else 0.51 * max(target))
    np.testing.assert_allclose(new[:3, 0], affine[:3, 0])  # z as it was


def test_the_x8_grid(affine) -> None:
    """An eighth of the pixel moves the first centre by -7/16 of a pixel along both in-plane axes."""
    new = resampled_affine(affine, (0.6 / 8, 0.9 / 8))
    np.testing.assert_allclose(new[:, 3], affine @ [0, -7 / 16, -7 / 16, 1])


@pytest.mark.parametrize("ratio", [1.5, 2.0, 4.0])
def test_mean_is_kept_when_pixels_grow(ratio) -> None:
    image = ndimage.gaussian_filter(np.random.default_rng(0).normal(size=(96, 96)), 1) + 5
    assert resample_plane(image, (1, 1), (ratio, ratio)).mean() == pytest.approx(image.mean(), abs=2e-3)


def test_growing_pixels_average_noise_away() -> None:
    noise = np.random.default_rng(0).normal(size=(256, 256))
    # White noise under a Gaussian keeps 1 / (4 pi sigma^2) of its variance.
    expected = np.sqrt(1 / (4 * np.pi * antialias_sigma(4.0) ** 2))
    assert resample_plane(noise, (1, 1), (4, 4)).std() == pytest.approx(expected, rel=0.1)


def test_antialias_adds_up_to_the_coarse_pixels_width() -> None:
    fwhm_to_sigma = 1 / np.sqrt(8 * np.log(2))
    assert np.hypot(fwhm_to_sigma, antialias_sigma(3.0)) == pytest.approx(3 * fwhm_to_sigma)
    assert antialias_sigma(1.0) == antialias_sigma(0.5) == 0


def test_there_and_back() -> None:
    smooth = ndimage.gaussian_filter(np.random.default_rng(0).normal(size=(40, 40)), 3)
    fine = resample_plane(smooth, (1, 1), (0.4, 0.4))
    back = resample_plane(fine, (0.4, 0.4), (1, 1), shape_out=(40, 40))
    assert np.corrcoef(back.ravel(), smooth.ravel())[0, 1] > 0.999


def test_same_grid_is_untouched() -> None:
    image = np.random.default_rng(0).integers(0, 255, (3, 9, 11)).astype(np.uint8)
    np.testing.assert_allclose(resample_plane(image, (0.5, 0.5), (0.5, 0.5)), image, atol=1e-3)


def test_labels_stay_labels() -> None:
    labels = np.random.default_rng(0).integers(0, 3, (20, 20)).astype(np.uint8)
    assert set(np.unique(resample_plane(labels, (1, 1), (2.5, 2.5), order=0))) <= {0, 1, 2}


def test_shape_can_be_given() -> None:
    assert resample_plane(np.zeros((2, 10, 10)), (1, 1), (0.5, 0.5), shape_out=(7, 9)).shape == (2, 7, 9)
    assert resample_plane(np.zeros((10, 10), bool), (1, 1), (0.5, 0.25)).shape == (20, 40)
