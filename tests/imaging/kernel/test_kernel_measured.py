"""What is looked at of a scan, and what is left out."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy import ndimage

from ctsr.imaging.kernel.measured import BINS, STEP, Measured
from ctsr.imaging.kernel.measuring import FROM_PADDING, chosen_slices, measure, measure_slice
from ctsr.imaging.kernel.transfer import Softening
from ctsr.imaging.volume import Image, Mask, Volume

UNIT = 0.625  # mm
NO_SOFTENING = Softening.of([0.0, 1.0], [1.0, 1.0])


def lungs(areas: list[int]) -> Mask:
    mask = np.zeros((len(areas), 10, 10), dtype=bool)
    for plane, area in zip(mask, areas, strict=True):
        plane.flat[:area] = True
    return mask


def chest(seed: int = 0) -> tuple[Image, Mask]:
    """A disc of tissue with one of lung, blurred, with noise; pixels of one unit."""
    y, x = np.indices((220, 220)) - 109.5
    lung = np.hypot(y, x) < 60
    image = ndimage.gaussian_filter(np.where(lung, -850.0, np.where(np.hypot(y, x) < 90, 40.0, -1000.0)), 0.8)
    noise = np.random.default_rng(seed).normal(0, 20, image.shape)
    return (image + noise).astype(np.float32), lung


def test_slices_are_those_with_much_lung_evenly_spread() -> None:
    assert chosen_slices(lungs([0, 10, 60, 100, 51, 50, 3])) == [2, 3, 4], "more than half of the largest"
    assert chosen_slices(lungs([0, 0, 0])) == []
    assert chosen_slices(lungs([40] * 21)) == [0, 4, 8, 12, 16, 20]
    assert chosen_slices(lungs([0] * 5 + [40] * 9), count=3) == [5, 9, 13]
    assert chosen_slices(lungs([40, 40, 40]), count=3) == [0, 1, 2]


def test_a_scan_is_the_sum_of_its_slices() -> None:
    (one, lung), (two, _) = chest(0), chest(1)
    array = np.stack([one, two, one])
    masks = np.stack([lung, lung, np.zeros_like(lung)])
    found = measure(Volume(array, np.diag([2.0, UNIT, UNIT, 1.0])), masks)
    parts = [measure_slice(image, lung, None, UNIT) for image in (one, two)]
    assert found.slices == 2
    assert found.lung.weight == parts[0].lung.weight + parts[1].lung.weight
    np.testing.assert_allclose(found.wall.total, parts[0].wall.total + parts[1].wall.total)
    np.testing.assert_allclose(found.skin.squares, parts[0].skin.squares + parts[1].skin.squares)
    np.testing.assert_allclose(found.lung.total, parts[0].lung.total + parts[1].lung.total)


def test_the_lung_s_noise_is_that_of_its_pixels() -> None:
    image, lung = chest()
    found = measure_slice(image, lung, None, UNIT)
    # White: 20² HU² times a pixel of 0.625² mm². All but 4 pixels at the wall are parenchyma.
    np.testing.assert_allclose(found.lung.power[8:], 400 * UNIT**2, rtol=0.2)
    assert found.lung.weight == pytest.approx(np.pi * 56**2, rel=0.02)


def test_vessels_are_no_parenchyma() -> None:
    image, lung = chest()
    with_vessels = image.copy()
    for at in range(60, 160, 20):
        with_vessels[at : at + 6, 80:140] = 40
    clean, found = (measure_slice(of, lung, None, UNIT) for of in (image, with_vessels))
    assert found.lung.weight < clean.lung.weight - 5 * 60 * 6
    np.testing.assert_allclose(found.lung.power[8:], clean.lung.power[8:], rtol=0.3)


def test_padding_keeps_borders_away() -> None:
    image, lung = chest()
    whole = measure_slice(image, lung, None, UNIT)
    columns = np.indices(image.shape)[1]
    # The body's left is at 19.5 and its lung's at 49.5; padding up to 45 covers the skin there, and the wall is near.
    outside = columns < 45
    padded = np.where(outside, np.float32(-1024), image)
    found = measure_slice(padded, lung, outside, UNIT)
    assert found.wall.count.sum() < whole.wall.count.sum()
    # Both circles are looked at where x is beyond padding and its neighbourhood, by pixels and both ways of looking.
    for profile, radius in ((found.wall, 60.0), (found.skin, 90.0)):
        free = 2 * np.arccos((45 + FROM_PADDING - 109.5) / radius) if radius > 54.5 else 2 * np.pi
        expected = free * radius * BINS * STEP
        assert 0.8 * expected < profile.count.sum() < 1.03 * expected
    # Whatever the padding holds.
    other = measure_slice(np.where(outside, np.float32(500), image), lung, outside, UNIT)
    np.testing.assert_allclose(other.wall.mean, found.wall.mean, atol=3)
    assert other.wall.count.sum() == pytest.approx(found.wall.count.sum(), rel=0.02)


def test_all_padding_shows_nothing() -> None:
    image, lung = chest()
    found = measure_slice(image, lung, np.ones_like(lung), UNIT)
    assert not found.wall.count.any()
    assert not found.skin.count.any()
    assert found.lung.weight == 0


def test_greys_are_taken_before_the_softening() -> None:
    image, lung = chest()
    plain, same = (measure_slice(image, lung, None, UNIT, of) for of in (None, NO_SOFTENING))
    np.testing.assert_allclose(same.wall.mean, plain.wall.mean, atol=1)
    strong = Softening.of([0.0, 0.3, 0.6], [1.0, 0.3, 0.0])
    softened = measure_slice(image, lung, None, UNIT, strong)
    np.testing.assert_allclose(softened.lung.power[8:], plain.lung.power[8:], rtol=0.1)
    steepest = [np.abs(np.diff(of.skin.mean)).max() for of in (plain, softened)]
    assert steepest[1] > 0.9 * steepest[0], "the profile is the image's, not the softened one's"


def test_a_measurement_goes_through_json() -> None:
    image, lung = chest()
    found = measure_slice(image, lung, None, 0.8)
    again = Measured.from_plain(json.loads(json.dumps(found.to_plain(), allow_nan=False)))
    assert again.slices == 1
    assert again.lung.weight == found.lung.weight
    np.testing.assert_allclose(again.lung.power, found.lung.power, atol=6e-4)
    for ours, theirs in ((again.wall, found.wall), (again.skin, found.skin)):
        np.testing.assert_array_equal(ours.count, theirs.count)
        np.testing.assert_allclose(ours.mean, theirs.mean, atol=0.006)


@pytest.mark.parametrize("missing", ["wall", "skin", "lung", "slices"])
def test_what_is_no_measurement_is_refused(missing: str) -> None:
    plain = Measured().to_plain()
    assert Measured.from_plain(plain).slices == 0
    with pytest.raises(KeyError, match=missing):
        Measured.from_plain({name: value for name, value in plain.items() if name != missing})
