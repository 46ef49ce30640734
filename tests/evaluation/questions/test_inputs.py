"""Samples of each protocol: a scanner's physics against scipy, and truths at their place."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from scipy.ndimage import gaussian_filter, map_coordinates
from torch import Tensor, nn

from ctsr.data.preparing.store import PreparedCase
from ctsr.evaluation.questions.inputs import UNSEEN, UnseenScanner, scanned_samples, synthetic_samples
from ctsr.evaluation.questions.tiles import Cut
from ctsr.imaging.intensity import Window
from ctsr.records.phantom import PhantomSettings

FINE = 0.078125
HU = Window(-1000, 100)


def same_greys(case: PreparedCase) -> Callable[[npt.ArrayLike], npt.NDArray[np.float32]]:
    return HU.restore


QUIET = UnseenScanner(psf=1.8, slice_width=1.2, noise=0.0, cutoff=0.2)


def micro_case(folder: Path, image: npt.NDArray[np.floating], thickness: float = FINE) -> PreparedCase:
    """A prepared case; its slab, a marker, is the image's negative, and its outer 16 pixels are no specimen."""
    folder.mkdir(parents=True)
    mask = np.zeros(image.shape, bool)
    mask[:, 16:-16, 16:-16] = True
    for name, array in (("image", image.astype(np.float16)), ("slab", -image.astype(np.float16)), ("mask", mask)):
        np.save(folder / f"{name}.npy", array)
    affine = np.zeros((4, 4))
    affine[[2, 1, 0, 3], [0, 1, 2, 3]] = thickness, -FINE, -FINE, 1
    height, width = image.shape[1:]
    return PreparedCase(folder, folder.name, "micro", Window(0, 1), affine, (height, width), range(len(image)))


def blobs(shape: tuple[int, int, int], thickness: float = FINE) -> npt.NDArray[np.float64]:
    """Structures of about a millimetre in all directions, values within [-1, 1]."""
    sigma = 0.4 / np.array([thickness, FINE, FINE])
    field = gaussian_filter(np.random.default_rng(0).normal(size=shape), sigma)
    clipped: npt.NDArray[np.float64] = np.clip(field / field.std() / 3, -1, 1)
    return clipped


@pytest.mark.parametrize("thickness", [FINE, 2 * FINE])
def test_a_scan_is_the_point_spread_at_clinical_pixels(tmp_path: Path, thickness: float) -> None:
    image = blobs((48, 128, 96), thickness)
    case = micro_case(tmp_path / "a", image, thickness)
    (sample,) = scanned_samples([case], QUIET, HU, same_greys, Cut(tile=32, slices=1))
    assert sample.z == 24
    pixel, sigma = 8 * FINE, 1 / np.sqrt(8 * np.log(2))
    widths = sigma * pixel * np.array([1.2 / thickness, 1.8 / FINE, 1.8 / FINE])
    smooth = gaussian_filter(image, widths, mode="nearest")
    rows, columns = (8 * np.arange(n // 8) + 3.5 for n in image.shape[1:])  # in the middle of 8x8 pixels
    grid = np.meshgrid([24], rows, columns, indexing="ij")
    expected = map_coordinates(smooth, grid, order=1)[0]
    assert expected.std() > 0.1
    np.testing.assert_allclose(sample.lr, expected, rtol=0, atol=0.02)  # HU are whole, profiles end at two widths


def test_truth_is_the_slice_itself_and_tiles_lie_inside(tmp_path: Path) -> None:
    image = blobs((8, 128, 96))
    samples = list(scanned_samples([micro_case(tmp_path / "a", image)], QUIET, HU, same_greys, Cut(tile=32, slices=2)))
    assert [sample.z for sample in samples] == [2, 6]
    for sample in samples:
        np.testing.assert_array_equal(sample.truth, image[sample.z].astype(np.float16))
        corners = {(rows.start, columns.start) for rows, columns in sample.tiles}
        assert corners == {(y, x) for y in range(16, 81, 16) for x in range(16, 49, 16)}
        assert (sample.case, sample.pixel_mm, sample.labels) == ("a", FINE, None)


def test_noise_is_the_scanners_and_differs_from_case_to_case(tmp_path: Path) -> None:
    flat = np.zeros((4, 512, 512))
    cases = [micro_case(tmp_path / name, flat) for name in "ab"]
    noisy = UnseenScanner(psf=1.5, slice_width=0.9, noise=20.0, cutoff=0.3)
    a, b = (sample.lr for sample in scanned_samples(cases, noisy, HU, same_greys, Cut(tile=256, slices=1)))
    for scan in (a, b):
        assert 550 * scan.std() == pytest.approx(20, rel=0.02)  # half the window is 550 HU
        assert scan.mean() == pytest.approx(0, abs=0.002)
    assert abs(np.corrcoef(a.ravel(), b.ravel())[0, 1]) < 0.1
    (other,) = scanned_samples(cases[:1], noisy, HU, same_greys, Cut(tile=256, slices=1), seed=1)
    assert abs(np.corrcoef(a.ravel(), other.lr.ravel())[0, 1]) < 0.1


def test_greys_become_clinical_before_the_scan(tmp_path: Path) -> None:
    flat = np.full((4, 64, 64), 0.5)
    to_hu = Window(-1100, -300).restore  # 400 greys - 700
    (sample,) = scanned_samples([micro_case(tmp_path / "a", flat)], QUIET, HU, lambda _: to_hu, Cut(tile=32, slices=1))
    np.testing.assert_allclose(sample.lr, (-500 + 450) / 550, rtol=0, atol=0.001)
    np.testing.assert_array_equal(sample.truth, 0.5)


@pytest.mark.parametrize("name", list(UNSEEN))
def test_unseen_scanners_lie_outside_the_phantoms_ranges(name: str) -> None:
    scanner, seen = UNSEEN[name], PhantomSettings()
    pixel = seen.clinical_spacing
    for value, (low, high) in (
        (scanner.psf * pixel, seen.clinical_spread),
        (scanner.noise, seen.clinical_noise),
        (scanner.cutoff, seen.clinical_cutoff),
    ):
        assert not low <= value <= high
    assert scanner.slice_width * pixel != seen.slice_width


class Marked(nn.Module):
    """Every eighth pixel of x plus twice that of its slab; notes the mode it is used in."""

    def __init__(self) -> None:
        super().__init__()
        self.modes: list[bool] = []

    def forward(self, x: Tensor, slab: Tensor) -> Tensor:
        self.modes.append(self.training or torch.is_grad_enabled())
        return x[..., ::8, ::8] + 2 * slab[..., ::8, ::8]


def test_each_tile_is_synthesised_from_its_image_and_its_slab(tmp_path: Path) -> None:
    image = np.random.default_rng(0).uniform(-1, 1, (6, 96, 80))
    made = Marked().train()
    samples = list(synthetic_samples([micro_case(tmp_path / "a", image)], made, Cut(tile=32, cover=1.0, slices=2)))
    assert not any(made.modes)
    assert made.training
    places = [(z, y, x) for z in (1, 4) for y in (16, 32, 48) for x in (16, 32)]
    assert len(samples) == len(places)
    for sample, (z, y, x) in zip(samples, places, strict=True):
        truth = image[z, y : y + 32, x : x + 32].astype(np.float16).astype(np.float32)
        assert sample.z == z
        np.testing.assert_array_equal(sample.truth, truth)
        np.testing.assert_allclose(sample.lr, -truth[::8, ::8], rtol=1e-6)  # x + 2 (-x)
        assert sample.tiles == [(slice(0, 32), slice(0, 32))]
