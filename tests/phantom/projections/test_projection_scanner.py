from __future__ import annotations

import numpy as np
import pytest
from scipy import integrate, special

from ctsr.phantom.projections.beam import water_path
from ctsr.phantom.projections.body import MUSCLE, Body, Ellipse
from ctsr.phantom.projections.kernels import Kernel
from ctsr.phantom.projections.kinds import SETS
from ctsr.phantom.projections.scanner import (
    PITCH,
    REACH,
    SAMPLES,
    STILL,
    Acquisition,
    Lung,
    ProjectionScanner,
    aperture,
    slices_of,
)

SCANNER = ProjectionScanner()
WATER = Ellipse((0, 0), (80, 80), 1.0)
WIRE = Ellipse((1.2, -2.1), (0.4, 0.4), 1.0)  # thick, so that many of the thin rays meet it
KERNELS = {kind.kernel for kind in SETS["judging"].values()}
RNG = np.random.default_rng(0)


def quiet(*parts: Ellipse, lung: Lung | None = None, acquisition: Acquisition = STILL) -> np.ndarray:
    """Paths without noise, (view, row, sample)."""
    return SCANNER.measure(SCANNER.shares(Body(parts), lung, acquisition), np.inf, RNG)


@pytest.fixture(scope="module")
def water() -> np.ndarray:
    return quiet(WATER)


@pytest.fixture(scope="module")
def wire(water: np.ndarray) -> np.ndarray:
    return quiet(WATER, WIRE) - water


@pytest.mark.parametrize("kernel", KERNELS, ids=str)
def test_water_and_air(water: np.ndarray, kernel: Kernel) -> None:
    hu = SCANNER.reconstruct(water, kernel, 320, 0.625)[0]
    radius = np.hypot(*((np.indices(hu.shape) - 159.5) * 0.625))
    for ring in range(0, 75, 15):  # no cupping
        assert hu[(radius >= ring) & (radius < ring + 5)].mean() == pytest.approx(0, abs=0.5)
    assert hu[(radius > 86) & (radius < 100)].mean() == pytest.approx(-1000, abs=1)
    assert (hu[radius > REACH] == -1024).all()


@pytest.mark.parametrize("kernel", KERNELS, ids=str)
def test_point_spread_is_the_kernels(wire: np.ndarray, kernel: Kernel) -> None:
    size, pixel = 128, 0.1
    image = SCANNER.reconstruct(wire, kernel, size, pixel)[0] + 1000
    spectrum = np.abs(np.fft.fft2(image)) * pixel**2
    frequency = np.arange(14) / (size * pixel)  # to 1.0 /mm
    turn = 2 * np.pi * frequency * WIRE.half[0]
    disc = np.divide(2 * special.j1(turn), turn, out=np.ones_like(turn), where=turn > 0) * np.pi * WIRE.half[0] ** 2
    wanted = 1000 * disc * kernel.transfer(frequency)
    for along in (spectrum[0, :14], spectrum[:14, 0]):
        np.testing.assert_allclose(along, wanted, rtol=0.02, atol=0.01 * wanted[0])


@pytest.mark.parametrize("kernel", KERNELS, ids=str)
def test_overshoot_at_an_edge_is_the_kernels(water: np.ndarray, kernel: Kernel) -> None:
    """A straight edge answers with 1/2 + 1/π ∫ K(f) sin(2π f x) / f df; the disc's is nearly straight."""
    way = np.linspace(0, 3, 121)
    frequency = np.linspace(1e-4, 2.0, 4001)
    waves = np.sin(2 * np.pi * frequency * way[:, None]) / frequency * kernel.transfer(frequency)
    response = 0.5 + integrate.trapezoid(waves, frequency, axis=1) / np.pi
    hu = SCANNER.reconstruct(water, kernel, 400, 0.5)[0]
    places = (np.arange(400) - 199.5) * 0.5
    depth = 80 - np.hypot(places[:, None], places)
    wall = (hu[(depth > 0) & (depth < 3)] + 1000) / 1000
    seen = np.interp(depth[(depth > 0) & (depth < 3)], way, response)
    assert np.sqrt(np.mean((wall - seen) ** 2)) < 0.012
    assert wall.max() - 1 == pytest.approx(response.max() - 1, abs=0.02)
    if kernel.peak == 1:
        assert wall.max() < 1.03
    if kernel.peak > 2:
        assert wall.max() > 1.15


@pytest.mark.parametrize("kernel", [Kernel(mtf10=0.66), Kernel(mtf10=1.1, peak=1.6)], ids=str)
def test_noise_power_spectrum(kernel: Kernel) -> None:
    """π/N σ² Δs f (K/A)²: white noise of variance σ² in N views of samples Δs apart (Kijewski and Judy 1987)."""
    shares = np.full((SCANNER.views, 24, SAMPLES), 0.05, np.float32)
    paths = SCANNER.measure(shares, 2e5, np.random.default_rng(1))
    size, pixel = 128, 0.3
    images = SCANNER.reconstruct(paths, kernel, 2 * size, pixel)[:, size // 2 : -size // 2, size // 2 : -size // 2]
    taper = np.outer(np.hanning(size), np.hanning(size))
    noise = (images - images.mean(axis=0)) * taper
    power = (np.abs(np.fft.fft2(noise)) ** 2).mean(axis=0) * pixel**2 / (taper**2).sum() * 24 / 23
    frequency = np.hypot(*np.meshgrid(*2 * [np.fft.fftfreq(size, pixel)]))
    shape = frequency * (kernel.transfer(frequency) / np.maximum(aperture(frequency), 0.05)) ** 2
    for f in (0.1, 0.2, 0.4, 0.6, 0.8):
        ring = np.abs(frequency - f) < 0.02
        wanted = np.pi / SCANNER.views * PITCH * paths.var() * shape[ring].mean() * 1e6
        assert power[ring].mean() == pytest.approx(wanted, rel=0.1)


@pytest.mark.parametrize("path", [0.0, 100.0, 250.0])
def test_noise_follows_attenuation(path: float) -> None:
    """Photons that are counted have the variance of their number, and a logarithm divides by it."""
    photons = 1e5
    share = np.interp(path, *_water_table())
    shares = np.full((60, 10, SAMPLES), share, np.float32)
    told = SCANNER.measure(shares, photons, np.random.default_rng(2))
    slope = np.diff(water_path(np.array([share * 0.999, share * 1.001])))[0] / np.log(0.999 / 1.001)
    assert told.mean() == pytest.approx(path, abs=0.1)
    assert told.std() == pytest.approx(slope * np.sqrt(1 / (photons * share) + (5 / (photons * share)) ** 2), rel=0.03)


def _water_table() -> tuple[np.ndarray, np.ndarray]:
    shares = np.geomspace(1e-4, 1.0, 20001)
    paths = water_path(shares)
    return paths[::-1], shares[::-1]


def lung_of(density: np.ndarray, voxel: float, vessels: np.ndarray | None = None) -> Lung:
    """A block in the middle of the body's left, with three detector rows."""
    rows = (density.shape[0] / 2 + 8 * np.arange(-1, 2)) * voxel
    return Lung(
        density, np.zeros(density.shape, bool) if vessels is None else vessels, voxel, (3.0, 35.0), rows, 8 * voxel
    )


def disc_in_muscle(hu: float, radius: float, size: int, voxel: float) -> np.ndarray:
    """(32, size, size) in HU."""
    places = (np.arange(size) - (size - 1) / 2) * voxel
    share = np.clip((radius - np.hypot(places[:, None], places)) / voxel + 0.5, 0, 1)
    muscle = 1000 * (MUSCLE - 1)
    return np.broadcast_to(muscle + share * (hu - muscle), (32, size, size)).astype(np.float32)


MUSCLES = Ellipse((0, 0), (70, 90), MUSCLE)


def test_a_block_of_voxels_is_seen_as_the_ellipse_that_it_shows() -> None:
    voxel = 0.15625
    seen = quiet(MUSCLES, lung=lung_of(disc_in_muscle(-860, 8.0, 128, voxel), voxel))
    drawn = quiet(MUSCLES, Ellipse((3.0, 35.0), (8.0, 8.0), 0.14 - MUSCLE))
    images = [SCANNER.reconstruct(paths[:, :1], Kernel(mtf10=0.94), 320, 0.625)[0] for paths in (seen, drawn)]
    cut = np.s_[150:180, 200:232]
    assert np.abs(images[0] - images[1]).max() < 30  # of 905 HU at the edge
    assert np.abs(images[0][cut] - images[1][cut]).mean() < 3
    assert images[0][160:170, 211:221].mean() == pytest.approx(-860, abs=1)


def test_contrast_agent_brightens_blood_only() -> None:
    voxel = 0.15625
    density = disc_in_muscle(-860, 8.0, 128, voxel)
    vessels = np.zeros(density.shape, bool)
    vessels[:, 44:84, 44:84] = True
    density = np.where(vessels, np.float32(45), density)
    plain, bright = (
        SCANNER.reconstruct(
            quiet(MUSCLES, lung=lung_of(density, voxel, vessels), acquisition=Acquisition(iodine=iodine))[:, 1:2],
            Kernel(mtf10=0.66), 320, 0.625,
        )[0]
        for iodine in (0.0, 6.0)
    )  # fmt: skip
    added = bright - plain
    assert added[163:167, 213:218].mean() == pytest.approx(6 * 27, abs=20)  # narrow bodies harden less
    assert added[100:130, 100:130].mean() == pytest.approx(0, abs=2)


def test_motion_smears_along_its_way_and_leaves_the_middle() -> None:
    voxel = 0.15625
    lung = lung_of(disc_in_muscle(-860, 8.0, 128, voxel), voxel)
    images = [
        SCANNER.reconstruct(
            quiet(MUSCLES, lung=lung, acquisition=Acquisition(drift=drift))[:, 1:2], Kernel(0.94), 320, 0.625
        )
        for drift in (0.0, 2.0)
    ]
    still, moved = (np.clip(-image[0, 140:190, 190:240], -40, 860) for image in images)
    middles = [np.sum(image * np.arange(50)[:, None]) / image.sum() for image in (still, moved)]
    assert middles[1] == pytest.approx(middles[0], abs=0.5)
    assert np.abs(moved - still).max() > 100


def test_bones_leave_a_dark_band_between_them() -> None:
    bones = [Ellipse((0.0, x), (10, 10), -MUSCLE, bone=1.0) for x in (-30, 30)]
    hu = SCANNER.reconstruct(quiet(MUSCLES, *bones), Kernel(mtf10=0.59), 320, 0.625)[0]
    between, aside = hu[155:165, 155:165].mean(), hu[70:80, 155:165].mean()
    assert between < aside - 20
    assert hu[158:162, 206:210].mean() > 1000


def test_slices_are_means_of_rows() -> None:
    paths = np.zeros((1, 10, 1), np.float32)
    paths[0, 4] = 1.0
    for width, wanted in ((1, [0, 0, 1, 0, 0, 0]), (2, [0, 0.25, 0.5, 0.25, 0, 0]), (5, [0.2, 0.2, 0.2, 0.2, 0.2, 0])):
        np.testing.assert_allclose(slices_of(paths, width, 6)[0, :, 0], wanted, atol=1e-6)


def test_rows_see_their_own_height() -> None:
    voxel = 0.15625
    density = np.full((32, 64, 64), 1000 * (MUSCLE - 1), np.float32)
    density[20:, 8:-8, 8:-8] = -1000  # the face between lies in the middle of the last row, of voxels 16 to 24 ...
    lung = lung_of(density, voxel)
    assert (lung.rows / voxel).tolist() == [8, 16, 24]  # ... whose middle is 24: it sees voxels 20 to 28
    images = [
        SCANNER.reconstruct(quiet(MUSCLES, lung=lung)[:, k : k + 1], Kernel(0.59), 320, 0.625)[0] for k in range(3)
    ]
    middle = [image[163:167, 214:218].mean() for image in images]
    assert middle == pytest.approx([45, 45, -1000], abs=4)
