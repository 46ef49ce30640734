"""Each measure against another library, a closed form, or a control whose answer is known."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest
import torch
from scipy import ndimage
from scipy.ndimage import gaussian_filter
from skimage import filters
from skimage.metrics import structural_similarity

from ctsr.evaluation.measures.grid_peak import GridPeak, grid_peak
from ctsr.evaluation.measures.metrics import (
    dice,
    grad_corr,
    ms_ssim,
    psnr,
    score,
    smoothed,
    ssim,
    ssim_312um,
    ssim_map,
    ssim_paper,
)

Image = npt.NDArray[np.float32]
PIXEL_MM = 0.078125


def tissue(seed: int = 0, size: int = 256) -> Image:
    """Bright blobs on a dark ground with fine texture, values in [0, 1]."""
    rng = np.random.default_rng(seed)
    blobs = gaussian_filter(rng.normal(size=(size, size)), 8) > 0.04
    texture = gaussian_filter(rng.normal(size=(size, size)), 1)
    return np.clip(0.2 + 0.6 * gaussian_filter(blobs.astype(float), 1) + 0.2 * texture, 0, 1).astype(np.float32)


TRUTH = tissue()


def test_ssim_equals_scikit_image() -> None:
    other = np.clip(gaussian_filter(TRUTH, 2) + 0.05, 0, 1)
    # scikit-image averages where the window lies inside; mirroring the border first makes that the image itself.
    expected = structural_similarity(
        *(np.pad(image, 5, mode="reflect") for image in (TRUTH, other)),
        data_range=1.0,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
    )
    assert ssim(other, TRUTH) == pytest.approx(expected, abs=1e-5)


def test_local_ssim_equals_scikit_image() -> None:
    other = np.clip(gaussian_filter(TRUTH, 2) + 0.05, 0, 1)
    _, expected = structural_similarity(
        *(np.pad(image, 5, mode="reflect") for image in (TRUTH, other)),
        data_range=1.0,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        full=True,
    )
    np.testing.assert_allclose(ssim_map(other, TRUTH), expected[5:-5, 5:-5], rtol=0, atol=1e-3)


def test_ssim_paper_has_the_losses_constants_on_signed_images() -> None:
    other = np.clip(gaussian_filter(TRUTH, 2) + 0.05, 0, 1)
    expected = structural_similarity(
        2.0 * TRUTH - 1,
        2.0 * other - 1,
        data_range=1.0,
        K1=math.sqrt(0.02),
        K2=math.sqrt(0.06),
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
    )
    assert ssim_paper(other, TRUTH) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(("size", "scales"), [(256, 5), (128, 4), (64, 3)])
def test_ms_ssim_is_the_weighted_product_over_the_scales_that_fit(size: int, scales: int) -> None:
    made, truth = np.clip(gaussian_filter(TRUTH, 2) + 0.05, 0, 1)[:size, :size], TRUTH[:size, :size]
    a, b = made.astype(np.float64), truth.astype(np.float64)
    weights = np.array([0.0448, 0.2856, 0.3001, 0.2363, 0.1333])[:scales]
    expected = 1.0
    for k, weight in enumerate(weights / weights.sum()):
        mean_a, mean_b, aa, bb, ab = (
            gaussian_filter(values, 1.5, truncate=3.5, mode="mirror") for values in (a, b, a * a, b * b, a * b)
        )
        structure = (2 * (ab - mean_a * mean_b) + 0.03**2) / (aa - mean_a**2 + bb - mean_b**2 + 0.03**2)
        luminance = (2 * mean_a * mean_b + 0.01**2) / (mean_a**2 + mean_b**2 + 0.01**2)
        # Structure where the window lies inside; at the coarsest scale luminance too, with mirrored borders.
        factor = structure[5:-5, 5:-5] if k < scales - 1 else structure * luminance
        expected *= factor.mean() ** weight
        a, b = (image.reshape(len(image) // 2, 2, -1, 2).mean(axis=(1, 3)) for image in (a, b))
    assert ms_ssim(made, truth) == pytest.approx(expected, abs=1e-4)


def test_smoothing_halves_a_line_at_half_its_width() -> None:
    line = np.zeros((16, 401), np.float32)
    line[:, 200] = 1
    profile = smoothed(line, 0.4, 0.01)[8]
    assert profile[[180, 220]] == pytest.approx(profile[200] / 2, rel=1e-3)
    assert profile.sum() == pytest.approx(1, abs=1e-5)


def test_dice_is_twice_the_overlap_over_the_sum() -> None:
    columns = np.arange(200)[None].repeat(64, axis=0)
    assert dice(columns >= 120, columns >= 100, PIXEL_MM) == pytest.approx(2 * 80 / (80 + 100))
    assert dice(columns < 100, columns >= 100, PIXEL_MM) == 0
    grey = 0.3 + 0.4 * (columns >= 100)
    assert dice(grey, columns >= 100, PIXEL_MM) == 1  # only the side of 1/2 counts


def test_dice_of_nothing_dense_is_one_and_hairs_are_texture() -> None:
    nothing, hairs = np.zeros((64, 64)), np.zeros((64, 64))
    hairs[:, 4::8] = 1
    thick = np.repeat(hairs, 4, axis=1)
    assert dice(nothing, nothing, PIXEL_MM) == 1
    assert dice(hairs, nothing, PIXEL_MM) == 1
    assert dice(thick, np.zeros((64, 256)), PIXEL_MM) == 0


def test_full_score_smooths_to_each_scale() -> None:
    full = score(tissue(1), TRUTH, PIXEL_MM, full=True)
    for um in (156, 312, 625, 1250):
        sigma = um / 1000 / (2 * math.sqrt(2 * math.log(2))) / PIXEL_MM
        smooth = [gaussian_filter(image, sigma) for image in (tissue(1), TRUTH)]
        assert full[f"ssim_{um}um"] == pytest.approx(ssim(*smooth), abs=1e-6)
    assert set(full) == {
        *("ssim", "psnr", "grad_corr", "dice", "ms_ssim", "ssim_paper"),
        *(f"ssim_{um}um" for um in (156, 312, 625, 1250)),
    }


def test_psnr_is_minus_ten_log_mean_square() -> None:
    assert psnr(TRUTH + np.float32(0.1), TRUTH) == pytest.approx(20.0, abs=1e-4)
    assert psnr(TRUTH, TRUTH) == math.inf


def test_smoothing_has_a_full_width_of_312_um() -> None:
    # Smoothing a step gives the error function; its slope's full width at half maximum is that of the Gaussian.
    fine_mm = 0.002
    step = np.zeros((16, 2000), dtype=np.float32)
    step[:, 1000:] = 1
    sigma = 0.312 / (2 * math.sqrt(2 * math.log(2))) / fine_mm
    slope = np.diff(gaussian_filter(step, sigma)[8])
    width_mm = np.count_nonzero(slope > slope.max() / 2) * fine_mm
    assert width_mm == pytest.approx(0.312, abs=0.005)
    smooth = [gaussian_filter(image, sigma * fine_mm / PIXEL_MM) for image in (TRUTH, tissue(1))]
    assert ssim_312um(TRUTH, tissue(1), PIXEL_MM) == pytest.approx(ssim(*smooth), abs=1e-6)


def test_equal_images_have_the_best_score() -> None:
    assert score(TRUTH, TRUTH, PIXEL_MM) == pytest.approx(
        {"ssim": 1.0, "psnr": math.inf, "ssim_312um": 1.0, "grad_corr": 1.0, "dice": 1.0}, abs=1e-5
    )


def test_grad_corr_sees_edges_not_greys() -> None:
    assert grad_corr(0.3 * TRUTH + 0.1, TRUTH) == pytest.approx(1.0, abs=1e-5)
    assert grad_corr(1 - TRUTH, TRUTH) == pytest.approx(1.0, abs=1e-5)
    assert grad_corr(np.roll(TRUTH, 8, axis=1), TRUTH) < 0.5
    assert abs(grad_corr(tissue(1), TRUTH)) < 0.2
    assert grad_corr(np.full_like(TRUTH, 0.5), TRUTH) == 0.0


def test_grad_corr_equals_scikit_image_and_numpy() -> None:
    other = tissue(1) + TRUTH
    magnitudes = [filters.sobel(image) for image in (other, TRUTH)]
    expected = np.corrcoef(*(magnitude.ravel() for magnitude in magnitudes))[0, 1]
    assert grad_corr(other, TRUTH) == pytest.approx(expected, abs=1e-6)


def test_controls_are_told_apart_by_the_measures_together() -> None:
    good = score(gaussian_filter(TRUTH, 1), TRUTH, PIXEL_MM)
    shifted = score(np.roll(gaussian_filter(TRUTH, 1), 4, axis=1), TRUTH, PIXEL_MM)
    inverted = score(1 - gaussian_filter(TRUTH, 1), TRUTH, PIXEL_MM)
    grey = score(np.clip(0.8 * gaussian_filter(TRUTH, 1) - 0.1, 0, 1), TRUTH, PIXEL_MM)
    for metric in ("ssim", "psnr", "ssim_312um", "grad_corr"):
        assert shifted[metric] < good[metric]
    assert inverted["ssim"] < 0.3
    assert inverted["psnr"] < good["psnr"] - 10
    assert grey["psnr"] < good["psnr"] - 3
    assert grey["grad_corr"] == pytest.approx(good["grad_corr"], abs=0.05)


def test_white_noise_has_no_grid() -> None:
    noise = np.random.default_rng(0).normal(size=(24, 256, 256))
    assert 0.8 < grid_peak(noise) < 2
    assert 0.8 < grid_peak(noise, window=64) < 1.2


@pytest.mark.parametrize("pitch", [2, 4, 8])
def test_a_planted_grid_is_found_with_its_power(pitch: int) -> None:
    rng = np.random.default_rng(1)
    amplitude = 0.1
    wave = amplitude * np.cos(2 * np.pi * np.arange(256) / pitch)
    images = rng.normal(size=(12, 256, 256)) + wave
    # A cosine has amplitude / 2 in each of two bins (all of it in the one bin at pitch 2), times the window's sum;
    # white noise of variance 1 has the sum of the window's squares.
    taper = np.outer(np.hanning(129)[:-1], np.hanning(129)[:-1])
    share = 1.0 if pitch == 2 else 0.5
    expected = 1 + (amplitude * share * taper.sum()) ** 2 / (taper**2).sum()
    assert expected > 3
    assert grid_peak(images, window=128) == pytest.approx(expected, rel=0.35)
    assert grid_peak(np.swapaxes(images, 1, 2), window=128) == pytest.approx(expected, rel=0.35)


def test_a_checkerboard_of_one_pixel_is_found() -> None:
    board = np.indices((256, 256)).sum(axis=0) % 2
    assert grid_peak([np.random.default_rng(0).normal(size=(256, 256)) + 0.2 * board]) > 10


def test_interpolation_is_clean_until_a_faint_grid_is_added() -> None:
    coarse = [tissue(seed)[::8, ::8] for seed in range(12)]
    smooth = [ndimage.zoom(image, 8, order=3, mode="grid-mirror", grid_mode=True) for image in coarse]
    assert grid_peak(smooth) < 2
    grid = 0.005 * np.cos(2 * np.pi * np.arange(256) / 4)
    assert grid_peak([image + grid for image in smooth]) > 10


def test_a_grid_below_eight_bits_does_not_count() -> None:
    grid = 5e-6 * np.cos(2 * np.pi * np.arange(256) / 4)
    assert grid_peak([np.full((256, 256), 0.5) + grid] * 4) < 1


def test_a_validations_grid_is_that_of_all_its_patches() -> None:
    """Gathered batch by batch, over two processes whose sums are added; smaller patches tell nothing."""
    noise = np.random.default_rng(2).normal(0.5, 0.05, size=(32, 1, 128, 128)).astype(np.float32)
    grid = np.float32(0.02) * np.cos(2 * np.pi * np.arange(128, dtype=np.float32) / 8)
    # As above, of a window of 64: a cosine has half its amplitude in a bin, noise of variance 0.05^2.
    taper = np.outer(np.hanning(65)[:-1], np.hanning(65)[:-1])
    expected = 1 + (0.01 * taper.sum()) ** 2 / (0.05**2 * (taper**2).sum())
    for images, peak in ((noise, 1.1), (noise + grid, expected)):
        here, there = GridPeak(), GridPeak()
        for first in range(0, 32, 4):
            (here if first < 12 else there).update(torch.from_numpy(images[first : first + 4]))
        here.power, here.windows = here.power + there.power, here.windows + there.windows
        assert float(here.compute()) == pytest.approx(peak, rel=0.35)
        assert float(here.compute()) == pytest.approx(grid_peak(images[:, 0], window=64), rel=1e-4)
    small = GridPeak()
    small.update(torch.rand(4, 1, 48, 48))
    assert small.compute().isnan()


@pytest.mark.parametrize("window", [32, 100])
def test_a_window_that_misses_the_frequencies_is_refused(window: int) -> None:
    with pytest.raises(ValueError, match="multiple of 8"):
        grid_peak([TRUTH], window)
