"""The best line of greys, against numpy.polyfit and against images that are one line away from their truth."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest

from ctsr.evaluation.measures.fitted_line import best_line, fitted_scores
from ctsr.evaluation.measures.metrics import ssim

PIXEL_MM = 0.078125
FloatImage = npt.NDArray[np.float32]


def image(seed: int, low: float = 0.0, high: float = 1.0) -> FloatImage:
    return np.random.default_rng(seed).uniform(low, high, (32, 32)).astype(np.float32)


def test_the_line_is_that_of_polyfit_over_all_tiles() -> None:
    tiles = [(image(seed, -0.5, 1.5), image(seed + 9) ** 2) for seed in range(3)]
    tiles = [(made, 0.3 * made + truth) for made, truth in tiles]
    made, truth = (np.concatenate([one.ravel() for one in of]) for of in zip(*tiles, strict=True))
    assert best_line(tiles) == pytest.approx(tuple(np.polyfit(made.astype(float), truth.astype(float), 1)), abs=1e-9)


def test_what_is_a_line_away_is_equal_also_beyond_the_range() -> None:
    truth = image(0)
    (scores,) = fitted_scores([(3 * truth - 1, truth)], PIXEL_MM)
    assert set(scores) == {"ssim_fitted", "ssim_312um_fitted", "dice_fitted", "psnr_fitted"}
    assert scores["ssim_fitted"] == pytest.approx(1, abs=1e-5)
    assert scores["ssim_312um_fitted"] == pytest.approx(1, abs=1e-5)
    assert scores["dice_fitted"] == 1
    assert scores["psnr_fitted"] > 100
    assert ssim(np.clip(3 * truth - 1, 0, 1), truth) < 0.9


def test_tiles_of_a_slice_have_one_line() -> None:
    truth = image(0)
    one, other = fitted_scores([(0.5 * truth, truth), (0.5 * truth + 0.25, truth)], PIXEL_MM)
    assert max(one["psnr_fitted"], other["psnr_fitted"]) < 20


def test_a_flat_image_becomes_the_mean_of_the_truth() -> None:
    truth = image(1)
    (scores,) = fitted_scores([(np.full_like(truth, 0.9), truth)], PIXEL_MM)
    assert scores["psnr_fitted"] == pytest.approx(-10 * math.log10(truth.var()), abs=1e-3)


def test_fitted_greys_are_clipped() -> None:
    truth = np.zeros((32, 32), np.float32)
    truth[:16] = 1
    made = truth + np.where(np.arange(32) % 8 == 0, 3.0, 0.0)[None] * truth
    gain, offset = best_line([(made, truth)])
    fitted = np.clip(gain * made + offset, 0, 1)
    (scores,) = fitted_scores([(made, truth)], PIXEL_MM)
    assert (gain * made + offset).max() > 1
    assert scores["psnr_fitted"] == pytest.approx(-10 * math.log10(((fitted - truth) ** 2).mean()), abs=1e-3)
