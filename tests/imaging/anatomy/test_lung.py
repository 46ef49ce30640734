from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from ctsr.errors import UserError
from ctsr.imaging.anatomy.lung import lung_mask
from ctsr.imaging.formats.readers import read_volume
from ctsr.imaging.padding import mark_padding
from ctsr.imaging.storage import MappedFiles
from ctsr.imaging.volume import Array, Volume
from tests.memory import no_more_memory_than

SPACING = (2.5, 1.5, 1.5)
SHAPE = (16, 200, 240)


@dataclass
class Chest:
    """An elliptic chest on a couch, and what in it is lung."""

    volume: Volume
    lungs: np.ndarray
    nodule: np.ndarray  # at the pleura
    couch: np.ndarray


def ellipse(centre: tuple[float, float], radii: tuple[float, float]) -> np.ndarray:
    """A cylinder along z; centre and radii (y, x) in mm, from the middle of the image."""
    y, x = ((np.arange(n) - (n - 1) / 2) * step for n, step in zip(SHAPE[1:], SPACING[1:], strict=True))
    plane = ((y[:, None] - centre[0]) / radii[0]) ** 2 + ((x[None] - centre[1]) / radii[1]) ** 2 <= 1
    return np.broadcast_to(plane, SHAPE)


@pytest.fixture(scope="module")
def chest() -> Chest:
    rng = np.random.default_rng(0)
    hu = np.full(SHAPE, -1000.0)
    couch = ellipse((132, 0), (10, 140)) & ~ellipse((100, 0), (8, 1))
    hu[couch] = 50
    foam = ellipse((132, 0), (7, 137))
    hu[foam] = -920
    body = ellipse((0, 0), (105, 160))
    hu[body] = 20
    right, left = ellipse((0, -75), (70, 50)), ellipse((0, 75), (70, 50))
    lungs = right | left
    hu[lungs] = -850
    for _ in range(150):
        hu[lungs & ellipse((rng.uniform(-70, 70), rng.uniform(-120, 120)), (2.5, 2.5))] = 40
    nodule = ellipse((0, -118), (5, 5)) & right
    nodule[:6] = nodule[10:] = False
    hu[nodule] = 40
    hu[ellipse((-20, 0), (9, 9))] = -1000  # windpipe
    hu[ellipse((60, 0), (15, 15))] = -1000  # gas
    hu += rng.normal(0, 25, SHAPE)
    affine = np.diag([*SPACING, 1.0])
    return Chest(Volume(hu.astype(np.int16), affine), lungs, nodule, couch)


def dice(a: np.ndarray, b: np.ndarray) -> float:
    return float(2 * (a & b).sum() / (a.sum() + b.sum()))


def test_finds_the_lungs_with_vessels_and_a_nodule_at_the_pleura(chest) -> None:
    mask = lung_mask(chest.volume)
    assert dice(mask, chest.lungs) > 0.98
    assert mask[chest.nodule].mean() > 0.9
    assert not mask[chest.couch].any()


def test_scanner_padding_is_not_lung(chest) -> None:
    padded = mark_padding(chest.volume, ~ellipse((0, 0), (148, 178)))
    mask = lung_mask(padded)
    assert not mask[padded.outside].any()
    assert dice(mask, chest.lungs) > 0.98


@pytest.mark.parametrize("crop", [np.s_[7:8], np.s_[:, 40:150, :120], np.s_[:, :, 60:], np.s_[4:8, 60:120, 50:90]])
def test_crops(chest, crop) -> None:
    """One slice; one lung; a lung cut by the image; nothing but lung with some chest wall."""
    volume = replace(chest.volume, array=chest.volume.array[crop])
    assert dice(lung_mask(volume), chest.lungs[crop]) > 0.95


def test_diaphragm_is_not_filled(chest) -> None:
    dome = ellipse((0, -75), (30, 25))
    array = chest.volume.array.copy()
    array[dome] = 40
    assert lung_mask(replace(chest.volume, array=array))[dome].mean() < 0.02


def test_lungs_that_touch_are_not_bridged_elsewhere(chest) -> None:
    """One region of air, by a membrane too thin to be seen; the tissue behind it is narrower than a vessel."""
    lungs = ellipse((0, -55), (70, 50)) | ellipse((0, 55), (70, 50))
    between = ellipse((0, 0), (35, 14)) & ~lungs
    seam = ellipse((-20, 0), (1.5, 20))
    array = np.where(lungs | seam, -850, np.where(ellipse((0, 0), (105, 160)), 20, -1000)).astype(np.int16)
    mask = lung_mask(replace(chest.volume, array=array))
    assert mask[between & ~seam].mean() < 0.1
    assert dice(mask, lungs | seam) > 0.98


def test_no_lung_is_an_error(chest) -> None:
    for array in (np.full(SHAPE, -1000), np.full(SHAPE, 40), chest.volume.array + 1024):
        with pytest.raises(UserError, match="no lung found"):
            lung_mask(replace(chest.volume, array=array))


def test_the_same_wherever_it_is_put(chest, tmp_path: Path) -> None:
    def dirty(shape: tuple[int, ...], dtype: npt.DTypeLike) -> Array:
        """What happened to be in the memory of another array."""
        return np.full(shape, 1, dtype)

    padded = mark_padding(chest.volume, ~ellipse((0, 0), (148, 178)))
    mask = lung_mask(padded)
    np.testing.assert_array_equal(lung_mask(padded, MappedFiles(tmp_path)), mask)
    np.testing.assert_array_equal(lung_mask(padded, dirty), mask)


def test_a_long_scan_need_not_fit_into_memory(tmp_path: Path) -> None:
    """Where lungs are is known, slice by slice; they taper off at both ends."""
    allocate = MappedFiles(tmp_path)
    shape, step = (240, 384, 384), 0.8
    array, outside = allocate(shape, np.int16), allocate(shape, bool)
    rng = np.random.default_rng(0)
    z, y, x = ((np.arange(n) - (n - 1) / 2) * step for n in shape)
    body = (y[:, None] / 100) ** 2 + (x / 140) ** 2 <= 1
    lungs = [(y[:, None] / 65) ** 2 + ((np.abs(x) - 68) / 50) ** 2 + (height / 85) ** 2 <= 1 for height in z]
    noise = rng.normal(0, 25, shape[1:])
    for plane, lung, padding in zip(array, lungs, outside, strict=True):
        plane[:] = np.where(lung, -850, np.where(body, 20, -1000)) + rng.permutation(noise)
        padding[:] = np.hypot(y[:, None], x) > 153
    volume = Volume(array, np.diag([step, step, step, 1.0]), outside)
    with no_more_memory_than(0.4 * array.nbytes / 1e6):
        mask = lung_mask(volume, allocate)
    overlap = sum(int((found & lung).sum()) for found, lung in zip(mask, lungs, strict=True))
    assert 2 * overlap / (mask.sum() + sum(int(lung.sum()) for lung in lungs)) > 0.99


@pytest.mark.realdata
def test_rider(shared_data) -> None:
    volume = read_volume(shared_data / "clinical" / "rider-pilot-0117")
    crop = np.s_[20:40]
    assert volume.outside is not None
    volume = replace(volume, array=volume.array[crop], outside=volume.outside[crop])
    mask = lung_mask(volume)
    # Two lungs of lower chest, nothing of the couch (rows from 430 on); the nodule in the left lower lobe is in.
    assert 0.1 < mask.mean() < 0.3
    assert not mask[:, 430:].any()
    assert -900 < np.median(volume.array[mask]) < -800
    assert 0.05 < (volume.array[mask] > -700).mean() < 0.2
