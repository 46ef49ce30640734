from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from ctsr.phantom.labels import Label
from ctsr.phantom.outline import Outline
from ctsr.phantom.tissue import Anatomy, Tissue, make_tissue

VOXEL = 0.078125


def tissue_of(seed: int) -> Tissue:
    lung = Outline.random((10.0, 10.0), 8.6, 4.0, 0.03, np.random.default_rng(seed))
    anatomy = Anatomy(lung, None, True, 0.12, 0.19, 0.5, nodule_radius=1.2, part_solid=False)
    return make_tissue(anatomy, (24, 256, 256), VOXEL, np.random.default_rng(seed))


@pytest.fixture(scope="module")
def tissue() -> Tissue:
    return tissue_of(3)


def test_same_seed_same_bytes(tissue: Tissue) -> None:
    again, other = tissue_of(3), tissue_of(4)
    assert again.density.tobytes() == tissue.density.tobytes()
    assert again.labels.tobytes() == tissue.labels.tobytes()
    assert other.density.tobytes() != tissue.density.tobytes()


def test_air_share_by_label(tissue: Tissue) -> None:
    air = {label: float((45 - tissue.density[tissue.labels == label]).mean() / 1045) for label in Label if label}
    assert 0.8 < air[Label.PARENCHYMA] < 0.92
    assert air[Label.PARENCHYMA] == pytest.approx(1 - 0.12, abs=0.02)
    assert air[Label.AIRWAY_LUMEN] > 0.9
    assert air[Label.AIRWAY_WALL] < 0.35  # thin: its voxels are shared with lumen and parenchyma
    assert air[Label.VESSEL] < 0.1
    assert air[Label.NODULE] < 0.1
    assert air[Label.PLEURA] < 0.15
    assert air[Label.CHEST_WALL] < 0.13  # fat


def test_lumen_lies_within_walls(tissue: Tissue) -> None:
    lumen = tissue.labels == Label.AIRWAY_LUMEN
    around = ndimage.binary_dilation(lumen) & ~lumen
    beside = np.bincount(tissue.labels[around], minlength=8) / around.sum()
    assert beside[Label.AIRWAY_WALL] > 0.85
    assert beside[Label.PARENCHYMA] < 0.08


def test_lung_is_sealed_by_pleura(tissue: Tissue) -> None:
    inner = np.isin(tissue.labels, [Label.PARENCHYMA, Label.AIRWAY_LUMEN, Label.AIRWAY_WALL, Label.VESSEL])
    around = np.stack([ndimage.binary_dilation(plane) & ~plane for plane in inner])
    assert set(np.unique(tissue.labels[around])) <= {Label.PLEURA, Label.NODULE}
    assert set(np.unique(tissue.labels[:, [0, -1]])) == {Label.CHEST_WALL}


def test_nodule_has_the_asked_size(tissue: Tissue) -> None:
    middle = (tissue.labels == Label.NODULE)[12]
    radius = np.sqrt(middle.sum() * VOXEL**2 / np.pi)
    assert radius == pytest.approx(1.2, rel=0.25)  # lumps and spiculae
