"""A chest whose windpipe parts into two bronchi that open into the lungs: air is one piece, and each part is known."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from ctsr.imaging.anatomy.airways import central_airways
from ctsr.imaging.anatomy.lung import lung_mask
from ctsr.imaging.formats.readers import read_volume
from ctsr.imaging.orientation import canonical
from ctsr.imaging.storage import MappedFiles
from ctsr.imaging.volume import Volume

SPACING = (2.0, 1.25, 1.25)
SHAPE = (80, 144, 224)  # 160 x 180 x 280 mm
CARINA = (90.0, 85.0, 140.0)  # mm
WALL_MM = 1.5

Point = tuple[float, float, float]


@dataclass
class Chest:
    lungs: np.ndarray  # without the airways outside them
    outside: np.ndarray  # lumen of windpipe and bronchi up to the lungs
    volume: Volume


def grid() -> list[np.ndarray]:
    return [(index + 0.5) * step for index, step in zip(np.ogrid[tuple(map(slice, SHAPE))], SPACING, strict=True)]


def tube(start: Point, end: Point, radius: float) -> np.ndarray:
    """The voxels within `radius` of a straight line."""
    points, way = grid(), np.subtract(end, start)
    along = sum((p - s) * w for p, s, w in zip(points, start, way, strict=True)) / (way @ way)
    along = np.clip(along, 0, 1)
    return sum((p - s - along * w) ** 2 for p, s, w in zip(points, start, way, strict=True)) <= radius**2


def ellipsoid(centre: Point, radii: Point) -> np.ndarray:
    return sum(((p - c) / r) ** 2 for p, c, r in zip(grid(), centre, radii, strict=True)) <= 1


def make(lung_hu: float) -> Chest:
    """A chest with lungs of one grey."""
    rng = np.random.default_rng(0)
    _, y, x = grid()
    hu = np.full(SHAPE, -1000.0)
    hu[np.broadcast_to(((y - 90) / 85) ** 2 + ((x - 140) / 132) ** 2 <= 1, SHAPE)] = 20
    sides = [ellipsoid((75, 90, 140 + side * 75), (68, 50, 45)) for side in (-1, 1)]
    air = sides[0] | sides[1]
    lumen, wall = np.zeros(SHAPE, bool), np.zeros(SHAPE, bool)
    for start, end, radius in (
        ((160.0, 85.0, 140.0), CARINA, 9.0),
        (CARINA, (70.0, 90.0, 75.0), 6.5),
        (CARINA, (65.0, 90.0, 205.0), 6.0),
        ((70.0, 90.0, 75.0), (30.0, 90.0, 60.0), 2.5),
        ((65.0, 90.0, 205.0), (30.0, 90.0, 220.0), 2.5),
    ):
        lumen |= tube(start, end, radius)
        wall |= tube(start, end, radius + WALL_MM)
    # The thin ends have no wall: there, lumen and lung are one.
    wall[: int(34 / SPACING[0])] = False
    hu[air] = lung_hu
    hu[wall] = 20
    hu[lumen] = -1000
    hu = ndimage.gaussian_filter(hu, 0.4) + rng.normal(0, 25, SHAPE)
    volume = Volume(hu.astype(np.int16), np.diag([*SPACING, 1.0]))
    return Chest(lungs=air, outside=lumen & ~ndimage.binary_dilation(air, iterations=2), volume=volume)


@pytest.fixture(scope="module", params=[-850, -950], ids=["lung", "emphysema"])
def chest(request) -> Chest:
    return make(request.param)


def dice(a: np.ndarray, b: np.ndarray) -> float:
    return float(2 * (a & b).sum() / (a.sum() + b.sum()))


def test_lungs_without_windpipe_and_bronchi(chest) -> None:
    assert chest.outside.sum() * np.prod(SPACING) > 15_000  # mm³: without removal all of it would be mask
    mask = lung_mask(chest.volume)
    assert dice(mask, chest.lungs) > 0.98
    assert mask[chest.outside].mean() < 0.01


def test_the_same_in_files(chest, tmp_path: Path) -> None:
    np.testing.assert_array_equal(lung_mask(chest.volume, MappedFiles(tmp_path)), lung_mask(chest.volume))


def test_airways_within_the_lungs_stay_in(chest) -> None:
    mask = lung_mask(chest.volume)
    for x in (60, 220):
        assert mask[tube((45, 90, x), (30, 90, x), 2.0) & chest.lungs].all()


def test_windpipe_cut_by_the_edge_of_the_image(chest) -> None:
    half = np.s_[:, :, : round(143 / SPACING[2])]
    volume = replace(chest.volume, array=chest.volume.array[half])
    mask = lung_mask(volume)
    assert mask[chest.outside[half]].mean() < 0.03
    assert dice(mask, chest.lungs[half]) > 0.98


@pytest.mark.parametrize("centre", [(60, 90, 60), (75, 90, 28), (128, 90, 65)], ids=["inside", "at the ribs", "apex"])
def test_a_bulla_is_no_airway(chest, centre) -> None:
    bulla = ellipsoid(centre, (14, 12, 12)) & chest.lungs
    array = chest.volume.array.copy()
    array[bulla] = -1000
    mask = lung_mask(replace(chest.volume, array=array))
    assert mask[bulla].mean() > 0.98
    assert mask[chest.outside].mean() < 0.01


def test_nothing_is_removed_where_no_windpipe_is_in_view(chest) -> None:
    below = np.s_[:22]  # 44 mm: lung with thin bronchi
    assert not central_airways(chest.volume.array[below].astype(np.float32), SPACING).any()


def test_growth_that_starts_in_a_lung_is_dropped() -> None:
    """The tip of an emphysematous lung looks like a windpipe: round, and of gas."""
    hu = np.full((60, 100, 100), 20, dtype=np.float32)
    z, y, x = np.ogrid[:60, :100, :100]
    hu[(y - 50) ** 2 + (x - 50) ** 2 <= np.where(z < 12, 7, 7 + 3 * (z - 12)) ** 2] = -960
    assert not central_airways(hu, (2.0, 1.5, 1.5)).any()


@pytest.mark.realdata
def test_real_windpipe(shared_data) -> None:
    """Points read off the pictures: in windpipe, carina and both main bronchi; and in lung beside them."""
    path = shared_data / "clinical" / "totalsegmentator" / "aorta_ct_cropped_1p5mm.nii.gz"
    volume, _ = canonical(read_volume(path))
    mask = lung_mask(volume)
    for z, y, x in ((163, 59, 47), (148, 63, 45), (133, 69, 44), (119, 74, 30), (119, 76, 50)):
        assert volume.array[z, y, x] < -900
        assert mask[z - 1 : z + 2, y - 2 : y + 3, x - 2 : x + 3].mean() < 0.05
    # Between the two lungs, which are one region of air: they touch in front of the heart.
    assert not mask[38:45, 64:69, 50:55].any()
    for z, y, x in ((148, 80, 20), (148, 80, 100), (133, 90, 20), (60, 90, 20), (60, 90, 110)):
        assert mask[z, y, x]


@pytest.mark.realdata
def test_real_windpipe_cut_by_the_edge(shared_data) -> None:
    """One lung with emphysema (its median is -953 HU), and half a windpipe."""
    volume, _ = canonical(read_volume(shared_data / "clinical" / "elastix-3dct-lung" / "3DCT_lung.mha"))
    mask = lung_mask(volume)
    for z, y, x in ((94, 82, 106), (98, 80, 107), (102, 78, 107), (106, 76, 108), (110, 74, 109), (116, 73, 110)):
        assert volume.array[z, y, x] < -900
        assert not mask[z, y - 2 : y + 3, x - 1 : x + 2].any()
    assert 3200 < mask.sum() * np.prod(volume.spacing) / 1000 < 3400  # ml
