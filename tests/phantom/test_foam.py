from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from ctsr.phantom.foam import alveolar_foam, matched_grain
from ctsr.phantom.scanners import ClinicalScanner


def test_mean_diameter_of_counted_cells() -> None:
    voxel, edge = 0.02, 0.19
    foam = alveolar_foam(np.ones((128, 128, 128), bool), voxel, edge, np.random.default_rng(0), ducts=0)
    cells, count = ndimage.label(foam == 0)
    index = np.arange(1, count + 1)[ndimage.sum_labels(foam == 0, cells, np.arange(1, count + 1)) > 30]
    centres = np.array(ndimage.center_of_mass(foam == 0, cells, index))
    inner = (centres > 25).all(axis=1) & (centres < 103).all(axis=1)  # whole cells, far from the border
    volume = (78 * voxel) ** 3 / inner.sum()
    diameter = (6 * volume / np.pi) ** (1 / 3)
    assert diameter == pytest.approx(1.24 * edge, rel=0.05)
    assert 0.2 < diameter < 0.25  # mm: human alveoli


def test_mean_is_one_where_wanted_and_zero_elsewhere() -> None:
    where = np.zeros((16, 40, 40), bool)
    where[:, 10:] = True
    foam = alveolar_foam(where, 0.08, 0.19, np.random.default_rng(0))
    assert foam[where].mean() == pytest.approx(1, abs=1e-4)
    assert not foam[~where].any()
    assert foam.min() >= 0


def test_ducts_are_airspaces_wider_than_alveoli() -> None:
    def widest(ducts: float) -> float:
        foam = alveolar_foam(np.ones((64, 64, 64), bool), 0.04, 0.19, np.random.default_rng(0), ducts=ducts)
        return float(ndimage.distance_transform_edt(foam == 0).max() * 0.04)

    assert widest(0.3) > 1.3 * widest(0)


@pytest.mark.parametrize("edge", [0.18, 0.2])
def test_a_clinical_scanner_cannot_tell_grain_from_foam(edge: float) -> None:
    scanner = ClinicalScanner(pixel=0.625, spread=1.15, slice_width=0.6, noise=0, cutoff=0.2)
    rng = np.random.default_rng(0)
    foam = alveolar_foam(np.ones((32, 256, 256), bool), 0.078125, edge, rng)
    grain = matched_grain(np.ones((16, 128, 128), bool), 0.15625, edge, rng)
    slices = np.array([0.8, 1.7])
    fine, coarse = (
        scanner.scan(120 * share - 1000, voxel, slices, rng)[:, 2:-2, 2:-2]
        for share, voxel in ((foam, 0.078125), (grain, 0.15625))
    )
    assert coarse.mean() == pytest.approx(fine.mean(), abs=2)
    assert coarse.std() == pytest.approx(fine.std(), rel=0.2)
    assert fine.std() > 4  # HU
