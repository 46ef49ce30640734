"""Profiles of borders that were blurred by a Gaussian: error functions of the distance."""

from __future__ import annotations

import json

import numpy as np
import numpy.typing as npt
import pytest
from scipy.special import ndtr, ndtri

from ctsr.imaging.kernel.borders import ALONG, DRAWN_ON, LEVEL, border_profiles
from ctsr.imaging.kernel.measured import BINS, DISTANCES, STEP, Profile
from ctsr.imaging.volume import Image, Mask

Array = npt.NDArray[np.float64]

TISSUE, LUNG, AIR = 40.0, -850.0, -1000.0
UNIT = 0.625  # mm


def blurred(depth: Array, into_lung: Array, sd: float) -> Image:
    """Tissue, by the depth below its skin and the distance into a lung within it, all in one unit."""
    return np.asarray(AIR + (TISSUE - AIR) * ndtr(depth / sd) + (LUNG - TISSUE) * ndtr(into_lung / sd), np.float32)


def straight(sd: float, pixel: float, side: int = 220) -> tuple[Image, Mask, Mask]:
    """Air, 50 units of tissue and lung, cut at 20 degrees; the image, its lung, and all but its rim."""
    y, x = np.indices((side, side)) * (pixel / UNIT)
    across = np.cos(np.radians(20)) * x + np.sin(np.radians(20)) * y
    skin = np.median(across) - 25.3
    image = blurred(across - skin, across - skin - 50, sd)
    rim = np.zeros((side, side), dtype=bool)
    rim[16:-16, 16:-16] = True
    return image, across - skin > 50, rim


def round_chest(sd: float, squeezed: float = 1.0, side: int = 256) -> tuple[Image, Mask, Mask]:
    """A disc of tissue with a lung in it that is round, or narrower by a factor; pixels of one unit."""
    y, x = np.indices((side, side)) - (side - 1) / 2 + 0.2
    radius, lung = np.hypot(y, x), np.hypot(y, x / squeezed)
    slope = np.hypot(y, x / squeezed**2) / np.maximum(lung, 1e-9)  # makes it a distance near the border
    image = blurred(110 - radius, (70 - lung) / np.maximum(slope, 1e-9), sd)
    return image, lung < 70, np.ones((side, side), dtype=bool)


def expected(low: float, sd: float, shift: float) -> Array:
    """Of an edge whose border was drawn so many units too far in air or lung; bins have a width."""
    return np.asarray(low + (TISSUE - low) * ndtr((DISTANCES - shift) / np.hypot(sd, STEP / np.sqrt(12))))


def drawn_at(low: float, sd: float) -> float:
    """How far before the middle of an edge a border at `LEVEL` is drawn, in units."""
    return -float(np.hypot(sd, DRAWN_ON) * ndtri((LEVEL - low) / (TISSUE - low)))


@pytest.mark.parametrize(("sd", "pixel"), [(0.7, 0.625), (1.2, 0.625), (0.9, 0.8), (0.8, 0.4)])
def test_profiles_of_straight_borders_are_error_functions(sd: float, pixel: float) -> None:
    image, lung, valid = straight(sd, pixel)
    wall, skin = border_profiles(image, image, lung, valid, pixel)
    for profile, low in ((wall, LUNG), (skin, AIR)):
        assert profile.count.min() > 10
        off = profile.mean - expected(low, sd, drawn_at(low, sd))
        assert np.abs(off).max() < 12  # of some 500 per unit, by pixels that lie anywhere within their bin
        assert np.sqrt(np.mean(off**2)) < 4


@pytest.mark.parametrize("squeezed", [1.0, 0.7])
def test_profiles_of_round_borders_are_error_functions(squeezed: float) -> None:
    sd = 0.8
    image, lung, valid = round_chest(sd, squeezed)
    wall, skin = border_profiles(image, image, lung, valid, UNIT)
    # A circle that is smoothed along itself shrinks, so that the body's border lies deeper in it, and the lung's in it.
    shrunk = {radius: radius * (1 - np.exp(-(ALONG**2) / (2 * radius**2))) for radius in (70, 110)}
    np.testing.assert_allclose(skin.mean, expected(AIR, sd, drawn_at(AIR, sd) - shrunk[110]), atol=12)
    assert skin.count.sum() > 0.9 * 2 * np.pi * 110 * BINS * STEP
    if squeezed == 1:
        np.testing.assert_allclose(wall.mean, expected(LUNG, sd, drawn_at(LUNG, sd) + shrunk[70]), atol=12)
        assert wall.count.sum() > 0.9 * 2 * np.pi * 70 * BINS * STEP
    else:
        shifts = np.linspace(-0.4, 0.4, 81)  # its radius differs from place to place
        assert min(np.abs(wall.mean - expected(LUNG, sd, shift)).max() for shift in shifts) < 12


def test_the_greys_are_the_image_s_whatever_the_borders_are_drawn_on() -> None:
    sharp, lung, valid = straight(0.5, UNIT)
    soft, _, _ = straight(1.5, UNIT)
    wall, skin = border_profiles(sharp, soft, lung, valid, UNIT)
    for profile, low in ((wall, LUNG), (skin, AIR)):
        np.testing.assert_allclose(profile.mean, expected(low, 0.5, drawn_at(low, 1.5)), atol=10)


def test_noise_is_the_variance_of_each_bin() -> None:
    image, lung, valid = straight(0.8, UNIT)
    noisy = image + np.random.default_rng(0).normal(0, 30, image.shape).astype(np.float32)
    wall, _ = border_profiles(noisy, image, lung, valid, UNIT)
    far = np.abs(DISTANCES) > 3.5  # where the edge has no slope within a bin
    sd = np.sqrt(wall.variance[far])
    np.testing.assert_allclose(sd, 30, rtol=0.25)
    assert sd.mean() == pytest.approx(30, rel=0.03)


def test_only_what_the_scanner_saw_counts() -> None:
    image, lung, valid = straight(0.8, UNIT)
    upper = valid & (np.indices(valid.shape)[0] < 110)
    all_wall, all_skin = border_profiles(image, image, lung, valid, UNIT)
    wall, skin = border_profiles(image, image, lung, upper, UNIT)
    for part, whole in ((wall, all_wall), (skin, all_skin)):
        assert 0.35 < part.count.sum() / whole.count.sum() < 0.6
    # What is not valid may hold anything.
    image[~upper & (np.indices(valid.shape)[0] > 125)] = -3024
    again, _ = border_profiles(image, image, lung, upper, UNIT)
    np.testing.assert_allclose(again.mean, wall.mean, atol=3)
    assert not border_profiles(image, image, lung, np.zeros_like(valid), UNIT)[0].count.any()


def test_pixels_that_the_scanner_did_not_see_are_left_out_of_a_border_that_it_saw() -> None:
    image, lung, valid = straight(0.8, UNIT)
    y, x = np.indices(image.shape)
    across = np.cos(np.radians(20)) * x + np.sin(np.radians(20)) * y
    across -= across[lung].min()
    unseen = (across > 0.4) & (across < 1.2)  # nearer than where tissue and lung are looked for
    whole, _ = border_profiles(image, image, lung, valid, UNIT)
    found, _ = border_profiles(np.where(unseen, np.float32(3000), image), image, lung, valid & ~unseen, UNIT)
    missing = whole.count.sum() - found.count.sum()
    assert missing == pytest.approx(0.8 / (BINS * STEP) * whole.count.sum(), rel=0.15)
    assert found.mean.max() < TISSUE + 1


def test_a_wall_without_lung_behind_it_is_none() -> None:
    image, lung, valid = straight(0.8, UNIT)
    wall, skin = border_profiles(image, image, np.zeros_like(lung), valid, UNIT)
    assert not wall.count.any()
    assert skin.count.sum() > 1800
    # A lung's grey is no air.
    assert skin.mean[0] == pytest.approx(AIR, abs=1)


def test_bone_behind_a_border_leaves_it_out() -> None:
    image, lung, valid = straight(0.8, UNIT)
    image[(image > -100) & ~lung] = 400
    wall, skin = border_profiles(image, image, lung, valid, UNIT)
    assert not wall.count.any()
    assert not skin.count.any()


def test_where_nothing_is_seen_there_is_nothing() -> None:
    nothing = np.zeros((64, 64), dtype=bool)
    for image in (np.full((64, 64), 40, np.float32), straight(0.8, UNIT, 64)[0]):
        for profile in border_profiles(image, image, nothing, nothing, UNIT):
            assert not profile.count.any()
            assert not profile.mean.any()
            assert profile.count.shape == DISTANCES.shape


def test_sums_are_those_of_the_pixels() -> None:
    bins, greys = np.array([3, 3, 5, 3]), np.array([10.0, 20.0, -7.0, 60.0])
    profile = Profile.of(bins, greys)
    assert profile.count[[2, 3, 5]].tolist() == [0, 3, 1]
    assert profile.mean[[2, 3, 5]].tolist() == [0, 30, -7]
    assert profile.variance[[3, 5]] == pytest.approx([(400 + 100 + 900) / 3, 0])
    both = profile + Profile.of(np.array([5, 0]), np.array([-3.0, 1.0]))
    assert both.count.sum() == 6
    assert both.mean[[0, 3, 5]].tolist() == [1, 30, -5]
    assert both.variance[5] == pytest.approx(4)
    assert Profile.nothing().count.tolist() == [0] * BINS


def test_a_profile_goes_through_json() -> None:
    rng = np.random.default_rng(0)
    profile = Profile.of(rng.integers(0, BINS, 5000), rng.normal(-400, 300, 5000))
    again = Profile.from_plain(json.loads(json.dumps(profile.to_plain())))
    np.testing.assert_array_equal(again.count, profile.count)
    np.testing.assert_allclose(again.mean, profile.mean, atol=0.006)
    np.testing.assert_allclose(again.variance, profile.variance, atol=0.06)


def test_a_profile_of_other_bins_is_refused() -> None:
    plain = Profile.nothing().to_plain()
    with pytest.raises(ValueError, match="not 41 bins"):
        Profile.from_plain({name: values[1:] for name, values in plain.items()})
    with pytest.raises(ValueError, match="not 41 bins"):
        Profile.from_plain(plain | {"pixels": plain["pixels"][1:]})
