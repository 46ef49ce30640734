"""Widths of edges whose blur is known."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest
from scipy.ndimage import gaussian_filter
from scipy.stats import norm

from ctsr.evaluation.measures.edges import edge_width_um
from ctsr.phantom.labels import Label

PIXEL_MM = 0.078125
TEN_TO_NINETY = 1000 * (norm.ppf(0.9) - norm.ppf(0.1))  # micrometres for each millimetre of standard deviation
FloatImage = npt.NDArray[np.float32]
Labels = npt.NDArray[np.uint8]
ROWS, COLUMNS = np.indices((256, 256))


def half_plane(degrees: float) -> npt.NDArray[np.float64]:
    """Signed distance in mm from a slanted line through the middle."""
    way = math.radians(degrees)
    distance: npt.NDArray[np.float64] = (COLUMNS - 127.5) * np.cos(way) + (ROWS - 127.5) * np.sin(way)
    return distance * PIXEL_MM


def disc(row: int, column: int, diameter_mm: float) -> npt.NDArray[np.bool_]:
    inside: npt.NDArray[np.bool_] = np.hypot(ROWS - row, COLUMNS - column) * PIXEL_MM < diameter_mm / 2
    return inside


def labelled(vessel: npt.NDArray[np.bool_]) -> Labels:
    return np.where(vessel, Label.VESSEL, Label.PARENCHYMA).astype(np.uint8)


def blurred(image: npt.ArrayLike, sigma_mm: float) -> FloatImage:
    fine: FloatImage = gaussian_filter(np.asarray(image, dtype=np.float32), sigma_mm / PIXEL_MM)
    return fine


@pytest.mark.parametrize("degrees", [0, 17, 45])
@pytest.mark.parametrize("sigma", [0.1, 0.2, 0.5])
def test_a_blurred_step_has_the_width_of_its_gaussian(sigma: float, degrees: float) -> None:
    distance = half_plane(degrees)
    image = 0.2 + 0.6 * norm.cdf(distance / sigma)
    width = edge_width_um([image.astype(np.float32)], [labelled(distance > 0)], PIXEL_MM)
    assert width == pytest.approx(TEN_TO_NINETY * sigma, rel=0.1)


@pytest.mark.parametrize("sigma", [0.1, 0.2, 0.3])
def test_round_vessels_have_the_width_of_their_blur(sigma: float) -> None:
    vessel = disc(60, 70, 1.2) | disc(180, 80, 2.0) | disc(120, 190, 3.0)
    image = np.where(vessel, 0.9, 0.15) + 0.1 * np.random.default_rng(0).normal(size=vessel.shape)  # noise is no edge
    width = edge_width_um([blurred(image, sigma)], [labelled(vessel)], PIXEL_MM)
    assert width == pytest.approx(TEN_TO_NINETY * sigma, rel=0.12)


def test_greys_do_not_matter() -> None:
    vessel = disc(128, 128, 2.0)
    width = edge_width_um([blurred(vessel, 0.2)], [labelled(vessel)], PIXEL_MM)
    other = edge_width_um([300 * blurred(vessel, 0.2) - 1000], [labelled(vessel)], PIXEL_MM)
    assert other == pytest.approx(width, rel=1e-3)


def test_thin_vessels_and_other_structures_do_not_count() -> None:
    thick, thin, wall = disc(60, 60, 2.0), disc(180, 180, 0.5), disc(60, 85, 1.0)
    labels = labelled(thick | thin)
    labels[wall] = Label.AIRWAY_WALL
    sharp = blurred(thick, 0.1)
    others = 3 * blurred(thin, 0.4) + 3 * blurred(wall, 0.1)  # the wall is 0.4 mm from the vessel
    width = edge_width_um([sharp + others], [labels], PIXEL_MM)
    assert width == pytest.approx(TEN_TO_NINETY * 0.1, rel=0.1)


def test_slices_are_pooled() -> None:
    vessel = disc(128, 128, 2.0)
    images, truths = [blurred(vessel, sigma) for sigma in (0.1, 0.3)], [labelled(vessel)] * 2
    sharp, soft = (edge_width_um([image], [labelled(vessel)], PIXEL_MM) for image in images)
    assert sharp < edge_width_um(images, truths, PIXEL_MM) < soft
    assert edge_width_um([images[0], images[1]], [labelled(vessel), labelled(disc(0, 0, 0))], PIXEL_MM) == sharp


@pytest.mark.parametrize("greys", ["flat", "inverted"])
def test_what_does_not_rise_towards_the_vessel_has_no_edge(greys: str) -> None:
    vessel = disc(128, 128, 2.0)
    image = {"flat": np.full((256, 256), 0.4, np.float32), "inverted": 1 - blurred(vessel, 0.1)}[greys]
    assert math.isnan(edge_width_um([image], [labelled(vessel)], PIXEL_MM))


def test_without_a_thick_vessel_there_is_no_number() -> None:
    thin = disc(128, 128, 0.5)
    assert math.isnan(edge_width_um([blurred(thin, 0.1)], [labelled(thin)], PIXEL_MM))
