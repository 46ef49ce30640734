"""A lung's air is an ellipsoid, with pieces taken out of it that are known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from ctsr.imaging.anatomy.pleura import around, without_holes, without_notches

SPACING = (1.5, 1.25, 1.25)
SHAPE = (80, 96, 80)
NOTHING = np.zeros(SHAPE, dtype=bool)


def ball(centre: tuple[float, float, float], radii: tuple[float, float, float]) -> np.ndarray:
    """An ellipsoid; centre and radii in mm from the corner."""
    points = np.ogrid[tuple(map(slice, SHAPE))]
    return sum((((p + 0.5) * s - c) / r) ** 2 for p, s, c, r in zip(points, SPACING, centre, radii, strict=True)) <= 1


@pytest.fixture(scope="module")
def lung() -> np.ndarray:
    return ball((60, 60, 50), (55, 50, 40))


def whole(air: np.ndarray) -> np.ndarray:
    return without_notches(air, SPACING)


@pytest.mark.parametrize("diameter", [5, 10, 20, 30])
@pytest.mark.parametrize("way", [(0, 0, -1), (0, 1, 0), (0, 0.6, 0.8)])
def test_a_nodule_that_touches_the_pleura(lung, diameter, way) -> None:
    """On the coarse grid's edge a little of it may stay out, and nothing beyond the lung comes in."""
    radius = diameter / 2
    surface = np.array([55, 50, 40]) / np.linalg.norm(way) * way
    centre = tuple(np.array([60, 60, 50]) + surface * (1 - 0.85 * radius / np.linalg.norm(surface)))
    nodule = ball(centre, (radius,) * 3) & lung
    filled = whole(lung & ~nodule)
    assert filled[nodule].mean() > 0.85
    assert not filled[~lung].any()


def test_a_dome_is_not_filled(lung) -> None:
    """The diaphragm, 70 mm wide, from below."""
    dome = ball((5, 60, 50), (50, 40, 35)) & lung
    assert whole(lung & ~dome)[dome].mean() < 0.05


def test_a_vessel_as_wide_as_a_nodule_along_the_lung_is_not_filled(lung) -> None:
    """The descending aorta juts in, over the whole height."""
    aorta = ball((60, 60, 10), (500, 14, 14)) & lung
    assert whole(lung & ~aorta)[aorta].mean() < 0.1


@pytest.mark.parametrize("spacing", [SPACING, (1.5, 1.0, 0.8), (1.0, 2.5, 0.6)])
@pytest.mark.parametrize("first", [0, 3, 30])
def test_what_is_around_a_lung_is_enough(lung, spacing, first) -> None:
    """A lung with a nodule at its edge, inside of the image or cut off by it, on grids of several widths."""
    air = (lung & ~ball((60, 18, 50), (9, 9, 9)) & ~ball((60, 60, 85), (6, 6, 6)))[:, first:, first // 2 :]
    (box,) = ndimage.find_objects(air.view(np.uint8))
    here = around(box, air.shape, spacing)
    expected = without_notches(air, spacing)
    assert expected.sum() > air.sum()
    np.testing.assert_array_equal(without_notches(air[here], spacing), expected[here])
    expected[here] = False
    assert not expected.any()


def test_holes_as_wide_as_a_nodule_are_filled_and_no_open_ones(lung) -> None:
    plane = lung[40]
    small, large, edge = (ball((60, y, 50), (500, r, r))[40] for y, r in ((40, 8), (80, 19), (10, 8)))
    filled = without_holes(plane & ~small & ~large & ~edge, SPACING[1] * SPACING[2])
    np.testing.assert_array_equal(filled, plane & ~large & ~edge)
