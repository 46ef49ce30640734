"""Spectra of noise that was filtered by what is known."""

from __future__ import annotations

import json

import numpy as np
import numpy.typing as npt
import pytest
from scipy import fft

from ctsr.imaging.kernel.measured import RINGS, Spectrum
from ctsr.imaging.kernel.spectra import FEWEST, region_spectrum
from ctsr.imaging.volume import Mask

Array = npt.NDArray[np.float64]

SD = 30.0  # HU
SIDE = 256
UNIT = 0.625  # mm


def noise(seed: int, blur: float) -> Array:
    """White noise through a Gaussian of so many pixels."""
    white = np.random.default_rng(seed).normal(0, SD, (SIDE, SIDE))
    frequency = np.hypot(fft.fftfreq(SIDE)[:, None], fft.rfftfreq(SIDE))
    return np.asarray(fft.irfft2(fft.rfft2(white) * np.exp(-2 * (np.pi * blur * frequency) ** 2), s=white.shape))


def disc(radius: float) -> Mask:
    y, x = np.indices((SIDE, SIDE)) - 120
    return np.asarray(np.hypot(y, x) < radius)


def everywhere() -> Mask:
    return np.ones((SIDE, SIDE), dtype=bool)


def ring_of_two_holes() -> Mask:
    region = disc(105)
    region[80:120, 60:100] = region[140:150, 100:200] = False
    return region


@pytest.mark.parametrize("blur", [0.0, 0.6])
@pytest.mark.parametrize("pixel", [0.625, 0.8, 0.5])
@pytest.mark.parametrize("region", [everywhere(), disc(100), ring_of_two_holes()], ids=["all", "disc", "holes"])
def test_the_power_of_filtered_noise_is_that_of_its_filter(blur: float, pixel: float, region: Mask) -> None:
    found = sum((region_spectrum(noise(seed, blur), region, pixel) for seed in (1, 2)), Spectrum.nothing())
    per_pixel = RINGS * pixel / UNIT  # cycles
    expected = SD**2 * pixel**2 * np.exp(-4 * (np.pi * blur * per_pixel) ** 2)
    told = (RINGS > 0.15) & ~np.isnan(found.power)
    assert told.sum() >= 8
    np.testing.assert_allclose(found.power[told], expected[told], rtol=0.15)
    assert np.mean(found.power[told] / expected[told]) == pytest.approx(1, abs=0.05)


def test_a_region_of_stripes_shows_what_all_of_it_shows() -> None:
    stripes = disc(110) & (np.indices((SIDE, SIDE))[1] % 12 < 6)
    found = [
        sum((region_spectrum(noise(seed, 0.8), of, UNIT) for seed in range(4)), Spectrum.nothing())
        for of in (stripes, everywhere())
    ]
    told = (RINGS > 0.15) & (RINGS < 0.4)
    np.testing.assert_allclose(found[0].power[told] / found[1].power[told], 1, atol=0.12)


def test_rings_that_the_pixels_cannot_show_are_not_told() -> None:
    # Half a cycle per pixel of 0.8 mm is 0.39 cycles per 0.625 mm: 15 rings of 0.025 end below that.
    power = region_spectrum(noise(1, 0), disc(100), 0.8).power
    assert np.flatnonzero(np.isnan(power)).tolist() == [15, 16, 17, 18, 19]
    assert not np.isnan(region_spectrum(noise(1, 0), disc(100), 0.625).power).any()


def test_slow_changes_are_taken_off() -> None:
    y, x = np.indices((SIDE, SIDE))
    image = noise(1, 0)
    slow = 3.0 * x - 2.0 * y + 200 * np.sin(x / 40)
    plain, tilted = (region_spectrum(of, disc(100), UNIT).power for of in (image, image + slow))
    np.testing.assert_allclose(tilted[RINGS > 0.1], plain[RINGS > 0.1], rtol=0.03)
    assert region_spectrum(np.full((SIDE, SIDE), -850.0), disc(100), UNIT).power.max() < 1e-9


def test_what_is_outside_the_region_does_not_count() -> None:
    image, region = noise(1, 0.6), disc(90)
    elsewhere = np.where(region, image, 5000.0)
    np.testing.assert_allclose(
        region_spectrum(elsewhere, region, UNIT).power, region_spectrum(image, region, UNIT).power, rtol=1e-6
    )


def test_a_wave_lies_in_its_ring() -> None:
    x = np.indices((SIDE, SIDE))[1]
    power = region_spectrum(100 * np.sin(2 * np.pi * 0.2875 * x), everywhere(), UNIT).power
    assert RINGS[int(power.argmax())] == pytest.approx(0.2875)
    # All of its variance, 100² / 2: sums over rings of 2πf df, in cycles per mm.
    area = 2 * np.pi * RINGS * 0.025 / UNIT**2
    assert (power * area).sum() == pytest.approx(100**2 / 2, rel=0.05)


def test_spectra_add_by_their_pixels() -> None:
    large, small = region_spectrum(noise(1, 0), disc(100), UNIT), region_spectrum(noise(2, 0), disc(40), UNIT)
    both = large + small
    assert both.weight == disc(100).sum() + disc(40).sum()
    share = disc(40).sum() / both.weight
    np.testing.assert_allclose(both.power, (1 - share) * large.power + share * small.power)
    assert both.freedom[10] == pytest.approx(large.freedom[10] + small.freedom[10])
    np.testing.assert_array_equal((large + Spectrum.nothing()).power, large.power)


def test_the_degrees_of_freedom_are_those_that_the_powers_scatter_by() -> None:
    region = disc(60)
    found = [region_spectrum(noise(seed, 0), region, UNIT) for seed in range(40)]
    powers = np.array([spectrum.power for spectrum in found])[:, 6:]
    scatter = powers.var(axis=0) / powers.mean(axis=0) ** 2  # what a logarithm's variance is, too
    assert 0.4 < np.mean(scatter * found[0].freedom[6:]) < 2.5


def test_small_regions_tell_nothing() -> None:
    region = np.zeros((SIDE, SIDE), dtype=bool)
    region[100:120, 100:120] = True
    assert region.sum() == FEWEST
    assert region_spectrum(noise(1, 0), region, UNIT).weight == FEWEST
    region[100, 100] = False
    assert region_spectrum(noise(1, 0), region, UNIT).weight == 0
    assert not region_spectrum(noise(1, 0), region, UNIT).power.any()


def test_a_spectrum_goes_through_json() -> None:
    spectrum = region_spectrum(noise(1, 0.6), disc(100), 0.8)
    plain = json.loads(json.dumps(spectrum.to_plain(), allow_nan=False))
    again = Spectrum.from_plain(plain)
    assert again.weight == spectrum.weight
    np.testing.assert_allclose(again.power, spectrum.power, atol=6e-4)
    with pytest.raises(ValueError, match="19 rings instead of 20"):
        Spectrum.from_plain(plain | {"power": plain["power"][1:]})
