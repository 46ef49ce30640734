from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from ctsr.errors import UserError
from ctsr.imaging.anatomy.specimen import check_greys, specimen_mask
from ctsr.imaging.formats.readers import read_volume

SPACING = (0.08, 0.08, 0.08)
SHAPE = (24, 192, 192)


@pytest.fixture(scope="module")
def radius() -> np.ndarray:
    y, x = (np.arange(n) - (n - 1) / 2 for n in SHAPE[1:])
    return np.broadcast_to(np.hypot(y[:, None], x[None]), SHAPE)


@pytest.fixture(scope="module")
def foam() -> np.ndarray:
    """Air with thin walls, a few solid vessels and an airway 1.3 mm wide, as greys 1000 (air) to 20000 (tissue)."""
    rng = np.random.default_rng(0)
    cells = ndimage.gaussian_filter(rng.normal(size=SHAPE), 1.2)
    tissue = np.clip(1 - np.abs(cells) / (0.25 * cells.std()), 0, 1)
    y, x = np.indices(SHAPE[1:])
    for cy, cx in rng.uniform(20, 170, (6, 2)):
        tissue[:, np.hypot(y - cy, x - cx) < 6] = 1
    tissue[:, np.hypot(y - 96, x - 60) < 8] = 0
    return 1000 + 19000 * tissue


def scanned(greys: np.ndarray, noise: float = 600) -> np.ndarray:
    return np.clip(greys + np.random.default_rng(1).normal(0, noise, greys.shape), 0, 65535).astype(np.uint16)


def dice(a: np.ndarray, b: np.ndarray) -> float:
    return float(2 * (a & b).sum() / (a.sum() + b.sum()))


@pytest.mark.parametrize("noise", [300, 2000])
def test_lung_in_air(foam, radius, noise) -> None:
    inside = radius < 70
    mask = specimen_mask(scanned(np.where(inside, foam, 1000) + 9000, noise), SPACING)
    assert dice(mask, inside) > 0.97


def test_round_field_of_view(foam, radius) -> None:
    """Constant zero in the corners, air around the specimen."""
    inside = radius < 60
    array = scanned(np.where(inside, foam, 1000) + 4000)
    array[radius > 90] = 0
    assert dice(specimen_mask(array, SPACING), inside) > 0.96


def test_specimen_that_fills_the_image(foam) -> None:
    assert specimen_mask(scanned(foam), SPACING).mean() > 0.99


def test_what_lies_beside_is_dropped(foam, radius) -> None:
    inside = radius < 70
    greys = np.where(inside, foam, 1000)
    greys[:, :8, :20] = 20000
    mask = specimen_mask(scanned(greys), SPACING)
    assert not mask[:, :8, :20].any()
    assert dice(mask, inside) > 0.97


@pytest.mark.realdata
def test_marrow_belongs_to_bone(shared_data) -> None:
    bone = read_volume(shared_data / "micro" / "lhdl-3155-trabecular", spacing=0.0195)
    assert specimen_mask(bone.array, bone.spacing).mean() > 0.99


@pytest.mark.parametrize("values", [(0, 1), (0, 255), (1, 2)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_two_greys_are_a_segmentation(foam, values, dtype) -> None:
    greys = np.where(foam > 10000, values[1], values[0]).astype(dtype)
    with pytest.raises(UserError, match=rf"only two greys \({values[0]} and {values[1]}\): a segmentation\?"):
        check_greys(greys)
    with pytest.raises(UserError, match=r"only one grey \(7\): is the volume empty\?"):
        check_greys(np.full_like(greys, 7))
    greys[3, 4, 5] = 3
    check_greys(greys)


@pytest.mark.parametrize("spacing", [0.02, 0.2, 0.5])
@pytest.mark.parametrize("step", [50.0, 1e-4])
def test_a_few_greys_are_no_reason_to_fail(radius, spacing, step) -> None:
    """Local means of hardly more than two values; all that is brighter than what lies around belongs to it."""
    greys = np.where(radius[:8] < 60, 200.0, 0.0)
    greys[:, :3] += step
    mask = specimen_mask(greys.astype(np.float32), (spacing,) * 3)
    assert mask[4, 96, 96]
    assert mask.shape == greys.shape


def test_a_single_slice(foam, radius) -> None:
    inside = radius[:1] < 70
    mask = specimen_mask(scanned(np.where(inside, foam[:1], 1000) + 9000), SPACING)
    assert dice(mask, inside) > 0.95
