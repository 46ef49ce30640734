"""Filters that soften, beside waves and greys whose answer is known."""

from __future__ import annotations

import json

import numpy as np
import numpy.typing as npt
import pytest
from scipy import ndimage

from ctsr.imaging.kernel.transfer import CURVE, TERMS, RelativeTransfer, Softening

Array = npt.NDArray[np.float64]

ALTERNATING = (0.9, -0.6, 0.4, 0.3, -0.2)


def wave(frequency: tuple[float, float], pixel: tuple[float, float], shape: tuple[int, int] = (192, 208)) -> Array:
    """A sine of HU 100 along frequencies (y, x) in /mm."""
    y, x = np.indices(shape)
    phase = 2 * np.pi * (frequency[0] * pixel[0] * y + frequency[1] * pixel[1] * x)
    return np.asarray(100 * np.sin(phase + 0.3), dtype=np.float64)


def kept(softening: Softening, frequency: tuple[float, float], pixel: tuple[float, float]) -> tuple[float, float]:
    """By what the wave is multiplied well inside the image, and the largest HU that is no multiple of it."""
    before = wave(frequency, pixel)
    after = softening.apply(before.astype(np.float32), pixel).astype(np.float64)
    inner = (slice(56, -56), slice(56, -56))
    amplitude = float((before[inner] * after[inner]).sum() / (before[inner] ** 2).sum())
    return amplitude, float(np.abs(after[inner] - amplitude * before[inner]).max())


def gaussian(sd: float) -> Softening:
    """Of a standard deviation in mm."""
    return Softening.of(CURVE, np.exp(-2 * (np.pi * sd * CURVE) ** 2))


def test_the_logarithm_is_a_sum_of_cosines_that_is_nothing_at_no_frequency() -> None:
    relative = RelativeTransfer((0.5, 0.0, -0.25, 0.0, 0.0))
    # A quarter of a cycle per 0.625 mm is 0.4 /mm: cos(π/2) - 1 = cos(3π/2) - 1 = -1.
    # Half a cycle is 0.8 /mm: cos(π) - 1 = cos(3π) - 1 = -2. An eighth is 0.2 /mm, with cosines of ±√½.
    told = relative.log([0.0, 0.2, 0.4, 0.8])
    eighth = 0.5 * (np.sqrt(0.5) - 1) - 0.25 * (-np.sqrt(0.5) - 1)
    np.testing.assert_allclose(told, [0.0, eighth, -0.25, -0.5], atol=1e-12)


def test_the_logarithm_is_constant_above_half_a_cycle_per_unit() -> None:
    relative = RelativeTransfer(ALTERNATING)
    np.testing.assert_allclose(relative.log([0.85, 1.0, 7.0]), np.full(3, relative.log(0.8)), rtol=1e-12)
    assert relative.log(0.75) != pytest.approx(float(relative.log(0.8)), abs=1e-3)


def test_the_softening_undoes_what_is_sharper() -> None:
    # g = 0.5 (1 - cos 2πf) is 0.5 at 0.4 /mm and 1 at 0.8 /mm.
    softening = RelativeTransfer((-0.5, 0.0, 0.0, 0.0, 0.0)).softening()
    np.testing.assert_allclose(softening.at([0.0, 0.4, 0.8, 3.0]), np.exp([0.0, -0.5, -1.0, -1.0]), atol=6e-5)


def test_nothing_is_done_to_a_softer_kernel() -> None:
    softening = RelativeTransfer((0.5, 0.0, 0.0, 0.0, 0.0)).softening()
    assert set(softening.gain) == {1.0}
    assert softening.from_one == 0


@pytest.mark.parametrize("coefficients", [(-0.8, 0, 0, 0, 0), ALTERNATING, tuple(-c for c in ALTERNATING)])
def test_greys_are_kept_whatever_the_coefficients_are(coefficients: tuple[float, ...]) -> None:
    assert len(coefficients) == TERMS
    softening = RelativeTransfer(coefficients).softening()
    image = np.full((150, 131), 40.0, dtype=np.float32)
    # Far from its rim, so that nothing of it leaves the image.
    image[60:90, 50:80] += np.random.default_rng(0).normal(0, 300, (30, 30)).astype(np.float32)
    filtered = softening.apply(image, (0.625, 0.7))
    assert np.abs(filtered - image).max() > 20
    assert filtered.mean(dtype=np.float64) == pytest.approx(image.mean(dtype=np.float64), abs=0.02)


@pytest.mark.parametrize("shape", [(64, 64), (37, 101), (5, 9)])
def test_a_constant_image_stays(shape: tuple[int, int]) -> None:
    filtered = gaussian(0.9).apply(np.full(shape, -873.0, dtype=np.float32), (0.625, 0.8))
    assert filtered.dtype == np.float32
    assert filtered.shape == shape
    np.testing.assert_allclose(filtered, -873, atol=1e-3)


@pytest.mark.parametrize("pixel", [(0.625, 0.625), (0.5, 0.9), (0.9, 0.5), (0.35, 0.35)])
@pytest.mark.parametrize("frequency", [(0.1, 0.0), (0.0, 0.3), (0.2, 0.2), (0.35, -0.25), (0.5, 0.1)])
def test_a_wave_is_multiplied_by_the_gain_at_its_frequency(
    frequency: tuple[float, float], pixel: tuple[float, float]
) -> None:
    sd = 0.5
    expected = np.exp(-2 * np.pi**2 * sd**2 * (frequency[0] ** 2 + frequency[1] ** 2))
    amplitude, rest = kept(gaussian(sd), frequency, pixel)
    assert amplitude == pytest.approx(expected, abs=2e-3)
    assert rest < 1.0


def test_a_gaussian_is_that_of_another_library() -> None:
    image = ndimage.gaussian_filter(np.random.default_rng(1).normal(0, 500, (96, 110)), 0.7).astype(np.float32)
    sd, pixel = 1.1, (0.6, 0.9)
    expected = ndimage.gaussian_filter(image, (sd / pixel[0], sd / pixel[1]), mode="mirror", truncate=8)
    filtered = gaussian(sd).apply(image, pixel)
    # The rim, too: it is reflected. Lines between the frequencies are not quite a Gaussian.
    assert np.abs(filtered - expected).max() < 0.01 * np.abs(expected).max()


@pytest.mark.parametrize("coefficients", [ALTERNATING, tuple(-c for c in ALTERNATING), (1.5, 0.2, 0, 0, 0)])
def test_no_wave_is_ever_amplified(coefficients: tuple[float, ...]) -> None:
    softening = RelativeTransfer(coefficients).softening()
    for frequency in np.linspace(0.04, 0.76, 10):
        along = (frequency * 0.6, frequency * 0.8)
        amplitude, rest = kept(softening, along, (0.625, 0.625))
        assert amplitude < 1.005
        expected = min(1.0, float(np.exp(-RelativeTransfer(coefficients).log(frequency))))
        assert amplitude == pytest.approx(expected, abs=0.02)
        assert rest < 4


def test_gains_above_one_are_capped() -> None:
    softening = Softening.of([0.0, 0.4, 0.8], [1.0, 1.7, 0.5])
    assert softening.gain == (1.0, 1.0, 0.5)
    np.testing.assert_allclose(softening.at([0.2, 0.6, 0.8, 5.0]), [1.0, 0.75, 0.5, 0.5])


def test_the_distance_from_one_is_that_of_a_step() -> None:
    # 1 up to 0.4 /mm and 0.4 above: of 101 frequencies from 0 to 0.8 /mm, 0.6 is missing at the last 50.
    step = Softening.of([0.0, 0.4, 0.4001, 1.0], [1.0, 1.0, 0.4, 0.4])
    assert step.from_one == pytest.approx(0.6 * np.sqrt(50 / 101), abs=1e-6)
    # A line from 1 to 0: the mean square of (f / 0.8) is 1/3, up to the sum's ends.
    assert Softening.of([0.0, 0.8], [1.0, 0.0]).from_one == pytest.approx(np.sqrt(1 / 3), abs=2e-3)
    assert Softening.of([0.0, 0.8, 0.9], [1.0, 1.0, 0.0]).from_one == 0, "what is above half a cycle does not count"


def test_a_filter_goes_through_json() -> None:
    softening = RelativeTransfer(ALTERNATING).softening()
    plain = json.loads(json.dumps(softening.to_plain()))
    assert set(plain) == {"frequency_per_mm", "gain"}
    assert Softening.of(plain["frequency_per_mm"], plain["gain"]) == softening


def test_a_filter_tells_its_gains() -> None:
    assert (
        str(Softening.of([0.0, 1.0], [1.0, 0.0])) == "softened by a filter of 0.80 at 0.2, 0.60 at 0.4, 0.40 at 0.6 /mm"
    )
