"""Scans that were made by known kernels, beside others of another kernel: what the filter between them is."""

from __future__ import annotations

from dataclasses import replace
from functools import cache, partial

import numpy as np
import numpy.typing as npt
import pytest
from scipy.special import ndtr

from ctsr.imaging.kernel.estimate import FREQUENCY, Estimate, edge, estimate, fit, line_spread, reference_noise
from ctsr.imaging.kernel.measured import DISTANCES, RINGS, Measured, Profile, Spectrum
from ctsr.imaging.kernel.measuring import measure
from ctsr.imaging.kernel.transfer import Softening
from ctsr.phantom.projections.kernels import Kernel
from tests.imaging.kernel.made_lungs import APERTURE, NOISE, REFERENCE_SD, Chest, Transfer, chest, reference_kernel

Array = npt.NDArray[np.float64]

TOLD = np.linspace(0, 0.8, 81)  # /mm
ENHANCING = Kernel(mtf10=1.0, peak=1.3)
HALOS = Kernel(mtf10=1.15, peak=1.9)
SHARP = Kernel(mtf10=1.1)


def soft(frequency: Array) -> Array:
    """A Gaussian half as wide again as the reference's."""
    return np.asarray(np.exp(-2 * np.pi**2 * (1.5 * REFERENCE_SD) ** 2 * frequency**2))


@cache
def made(seed: int, pixel: float = 0.625) -> Chest:
    return chest(seed, 6, pixel)


def found_by(body: Chest, kernel: Transfer, reference: Measured, noise: float = NOISE) -> Estimate:
    return estimate(partial(measure, body.seen_by(kernel, noise), body.lung), reference)


def off(found: Estimate, kernel: Transfer) -> float:
    """Root mean square of what the filter misses that from the kernel to the reference's by."""
    true = np.minimum(1, reference_kernel(TOLD) / kernel(TOLD))
    return float(np.sqrt(np.mean((found.relative.softening().at(TOLD) - true) ** 2)))


@pytest.fixture(scope="module")
def reference() -> Measured:
    return measure(made(1).seen_by(reference_kernel), made(1).lung)


@pytest.mark.parametrize("kernel", [ENHANCING, HALOS, SHARP], ids=str)
def test_the_filter_to_the_reference_is_found(kernel: Kernel, reference: Measured) -> None:
    found = found_by(made(2), kernel.transfer, reference)
    assert off(found, kernel.transfer) < 0.04
    assert found.noise == pytest.approx(1, abs=0.25)
    assert found.trust.wall is not None
    assert found.trust.wall < 1.5
    assert found.trust.skin is not None
    assert found.trust.skin < 1.5
    assert found.trust.apart is not None
    assert found.trust.apart < 0.06


def test_the_filter_is_found_on_coarser_pixels_than_the_reference_s(reference: Measured) -> None:
    assert off(found_by(made(4, 0.8), ENHANCING.transfer, reference), ENHANCING.transfer) < 0.06


def test_a_softer_scan_is_left(reference: Measured) -> None:
    found = found_by(made(2), soft, reference)
    assert found.relative.softening().at(TOLD).min() > 0.98
    true = soft(TOLD[:51]) / reference_kernel(TOLD[:51])
    assert np.exp(found.relative.log(TOLD[:51])) == pytest.approx(true, abs=0.1), "and it is known to be softer"


@pytest.mark.parametrize("seed", [2, 3])
def test_a_scan_by_the_reference_s_own_kernel_is_nearly_left(seed: int, reference: Measured) -> None:
    assert off(found_by(made(seed), reference_kernel, reference), reference_kernel) < 0.04


def test_the_reference_beside_itself_is_no_other(reference: Measured) -> None:
    found = fit(reference, reference)
    assert np.exp(found.relative.log(TOLD)) == pytest.approx(np.ones(len(TOLD)), abs=0.12)  # at 0.8 /mm little is left
    seen = TOLD[TOLD <= 0.7]
    assert np.exp(found.relative.log(seen)) == pytest.approx(np.ones(len(seen)), abs=0.05)
    assert found.noise == pytest.approx(1, abs=0.1)


def test_noise_is_told_from_sharpness(reference: Measured) -> None:
    found = found_by(made(2), ENHANCING.transfer, reference, 2.5 * NOISE)
    assert off(found, ENHANCING.transfer) < 0.06
    # Not 2.5: at the frequencies where the reference's noise is looked for, these lungs have texture, too.
    assert 1.25 < found.noise < 2.6


def test_one_border_is_enough_but_no_two_can_be_compared(reference: Measured) -> None:
    body = made(2)
    scan = measure(body.seen_by(ENHANCING.transfer), body.lung)
    without = [replace(reference, wall=Profile.nothing()), replace(reference, skin=Profile.nothing())]
    by_skin, by_wall = (estimate(lambda softening: scan, of) for of in without)
    assert by_skin.trust.wall is None
    assert by_wall.trust.skin is None
    for found in (by_skin, by_wall):
        assert found.trust.apart is None
        assert off(found, ENHANCING.transfer) < 0.08


def test_different_kernels_of_skin_and_lung_are_seen(reference: Measured) -> None:
    scans = [measure(made(2).seen_by(of), made(2).lung) for of in (HALOS.transfer, soft)]
    mixed = replace(scans[0], skin=scans[1].skin)
    found = estimate(lambda softening: mixed, reference)
    assert found.trust.apart is not None
    assert found.trust.apart > 0.25


def test_nothing_is_known_of_a_scan_that_shows_nothing(reference: Measured) -> None:
    found = estimate(lambda softening: Measured(), reference)
    assert found.trust.wall is None
    assert found.trust.skin is None
    assert found.relative.softening().at(TOLD).min() > 0.98


def test_a_scan_is_measured_again_with_the_filter_that_was_found(reference: Measured) -> None:
    body = made(2)
    scan, asked = body.seen_by(HALOS.transfer), list[Softening | None]()

    def measured(softening: Softening | None) -> Measured:
        asked.append(softening)
        return measure(scan, body.lung, softening)

    estimate(measured, reference)
    first, second = asked
    assert first is None
    assert second is not None
    assert np.abs(second.at(TOLD) - reference_kernel(TOLD) / HALOS.transfer(TOLD)).max() < 0.15


@pytest.mark.parametrize("shift", [0.0, 0.7, -1.3])
@pytest.mark.parametrize("width", [0.0, 0.5])
@pytest.mark.parametrize("sharper", [0.0, -0.3, 0.4])
def test_an_edge_through_a_gaussian_is_its_error_function(shift: float, width: float, sharper: float) -> None:
    """G of a Gaussian is that of its squared width's difference, here what it is sharper by."""
    of_line = np.exp(-2 * np.pi**2 * FREQUENCY**2).astype(np.complex128)
    made_edge = edge(of_line, 2 * np.pi**2 * sharper * FREQUENCY**2, width, shift)
    sd = np.sqrt(1 - sharper + width)
    # A sum up to a bin ends at its far end.
    np.testing.assert_allclose(made_edge, ndtr((DISTANCES - shift) / sd), atol=2e-3)


@pytest.mark.parametrize("height", [1.0, 890.0, -3.0])
def test_the_line_spread_of_an_error_function_is_a_gaussian(height: float) -> None:
    spread = line_spread(height * ndtr(DISTANCES / 0.9) - 850)
    assert spread[0] == pytest.approx(1)
    np.testing.assert_allclose(spread, np.exp(-2 * np.pi**2 * 0.9**2 * FREQUENCY**2), atol=0.02)


def test_a_border_elsewhere_turns_the_phase_of_its_line_spread() -> None:
    spread = line_spread(ndtr((DISTANCES - 0.5) / 0.9))[FREQUENCY < 0.4]
    turn = np.angle(spread * np.exp(2j * np.pi * FREQUENCY[FREQUENCY < 0.4] * 0.5))
    np.testing.assert_allclose(turn, 0, atol=1e-2)


def test_the_reference_s_noise_is_a_ramp_through_its_kernel_twice() -> None:
    sd = 0.8
    kernel = np.exp(-2 * np.pi**2 * sd**2 * RINGS**2)
    noise = 5000 * RINGS * kernel**2
    counts = np.full(len(DISTANCES), 500.0)
    hu = -850 + 890 * ndtr(DISTANCES / sd)
    measured = Measured(Profile(counts, hu * counts, hu**2 * counts), lung=Spectrum(noise * 1e4, 1e4))
    some = RINGS < 0.4
    np.testing.assert_allclose(reference_noise(measured)[some], noise[some], rtol=0.15)


def test_the_made_lungs_are_blurred_as_they_say() -> None:
    """Of the tests themselves: the wall's profile is that of kernel and aperture together."""
    body = made(2)
    profile = measure(body.seen_by(reference_kernel, 0.0), body.lung).skin
    sd = np.hypot(REFERENCE_SD, APERTURE / np.sqrt(12)) / 0.625
    slope = np.diff(profile.mean)
    middles = (DISTANCES[1:] + DISTANCES[:-1]) / 2
    mean = (slope * middles).sum() / slope.sum()
    assert np.sqrt((slope * (middles - mean) ** 2).sum() / slope.sum()) == pytest.approx(sd, rel=0.06)
