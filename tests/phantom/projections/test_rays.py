from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage
from skimage.transform import iradon, radon

from ctsr.phantom.projections.body import Body, Ellipse
from ctsr.phantom.projections.kernels import Kernel
from ctsr.phantom.projections.rays import TOGETHER, add_line_integrals, backproject
from ctsr.phantom.projections.scanner import PITCH, SAMPLES, ProjectionScanner

PIXEL = 0.5


def picture() -> np.ndarray:
    """A smooth picture without symmetry, zero at its border, (127, 127)."""
    image = np.zeros((127, 127), np.float32)
    image[30:50, 60:100], image[70:100, 40:55] = 1.0, 2.0
    return ndimage.gaussian_filter(image, 3)


@pytest.mark.parametrize("degrees", [0, 20, 45, 70, 90, 110, 160])
def test_line_integrals_are_those_of_scikit_image(degrees: float) -> None:
    image = picture()
    turn = np.deg2rad(degrees)
    cos, sin = np.cos(turn), np.sin(turn)
    out = np.zeros((127, 1), np.float32)
    if abs(cos) >= abs(sin):
        add_line_integrals(image[:, :, None], PIXEL, (0, 0), cos, sin, -63 * PIXEL, PIXEL, out)
    else:
        add_line_integrals(np.ascontiguousarray(image.T)[:, :, None], PIXEL, (0, 0), sin, cos, -63 * PIXEL, PIXEL, out)
    # scikit-image turns the other way, for its rows run to the top.
    theirs = radon(image, [-degrees], circle=True)[:, 0] * PIXEL
    assert np.abs(out[:, 0] - theirs).max() < 0.01 * theirs.max()


def test_line_integrals_of_a_disc_are_its_chords() -> None:
    y, x = (np.indices((512, 512)) - 255.5) * 0.078125
    disc = np.clip((8.0 - np.hypot(y - 3, x + 5)) / 0.078125 + 0.5, 0, 1).astype(np.float32)
    offsets = (-20 + 0.15 * np.arange(268)).astype(np.float32)
    for turn in (0.2, 0.7):
        cos, sin = float(np.cos(turn)), float(np.sin(turn))
        out = np.zeros((268, 1), np.float32)
        add_line_integrals(disc[:, :, None], 0.078125, (2.0, 1.0), cos, sin, -20.0, 0.15, out)
        chords = Ellipse((5.0, -4.0), (8.0, 8.0), 1.0).chords(cos, sin, offsets)
        steep = chords > 4  # a chord's ends are vertical, voxels have a width
        assert np.abs(out[:, 0] - chords)[steep].max() < 0.08


def test_chords_of_an_ellipse_add_up_to_its_area() -> None:
    offsets = np.arange(-100, 100, 0.05, dtype=np.float32)
    for turn in (0.0, 0.4, 1.5):
        chords = Ellipse((10.0, -20.0), (30.0, 12.0), 1.0).chords(np.cos(turn), np.sin(turn), offsets)
        assert chords.sum() * 0.05 == pytest.approx(np.pi * 30 * 12, rel=1e-3)
        assert (chords * offsets).sum() / chords.sum() == pytest.approx(
            -20 * np.cos(turn) + 10 * np.sin(turn), abs=0.01
        )


def test_a_body_sums_its_parts() -> None:
    body = Body([Ellipse((0, 0), (50, 50), 1.0), Ellipse((0, 0), (10, 10), -0.5, bone=1.0, blood=0.25)])
    water, bone, blood = body.paths(1.0, 0.0, np.zeros(1, np.float32))
    assert (water[0], bone[0], blood[0]) == pytest.approx((90, 20, 5))


def test_backprojection_is_that_of_scikit_image() -> None:
    image = picture()
    degrees = (np.arange(180) + 0.5) * 180 / 180
    views = radon(image, -degrees, circle=True)
    theirs = iradon(views, -degrees, circle=True, filter_name=None)  # π / 360 of the sum, and no filter
    together = np.zeros((180, 127, TOGETHER), np.float32)
    together[:, :, 0] = views.T
    ours = np.zeros((127, 127, TOGETHER), np.float32)
    backproject(together, np.deg2rad(degrees), 63.0, 1.0, 1.0, ours)
    inside = np.hypot(*(np.indices((127, 127)) - 63)) < 60
    np.testing.assert_allclose(ours[inside, 0], 2 * theirs[inside], rtol=0.01, atol=0.01 * ours.max())
    assert not ours[:, :, 1:].any()


def test_a_picture_comes_back() -> None:
    scanner = ProjectionScanner(views=360)
    samples = (np.arange(SAMPLES) - SAMPLES // 2) * PITCH
    sigma, at = 3.0, (6.0, -11.0)
    # A Gaussian's line integrals are Gaussians; so is its image.
    middles = at[1] * np.cos(scanner.angles()) + at[0] * np.sin(scanner.angles())
    views = np.exp(-((samples - middles[:, None]) ** 2) / (2 * sigma**2)) * sigma * np.sqrt(2 * np.pi)
    hu = scanner.reconstruct(views[:, None].astype(np.float32), Kernel(mtf10=1.1), 64, 1.0)[0]
    y, x = np.indices((64, 64)) - 31.5
    truth = np.exp(-((y - at[0]) ** 2 + (x - at[1]) ** 2) / (2 * sigma**2))
    np.testing.assert_allclose(hu / 1000 + 1, truth, atol=0.01)
