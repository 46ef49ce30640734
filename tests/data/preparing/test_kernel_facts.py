"""What `case.json` tells of the kernel: of clinical scans alone, and of their HU before these are clipped."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from scipy import ndimage

from ctsr.data.finding.cases import Case
from ctsr.data.preparing.settings import ClinicalSettings, MicroSettings, Settings
from ctsr.data.preparing.store import PreparedCase, prepare
from ctsr.imaging.kernel.measured import DISTANCES, Measured
from ctsr.imaging.kernel.measuring import measure
from tests.imaging.kernel.made_lungs import Chest, chest, reference_kernel

SLICES = 2


@pytest.fixture(scope="module")
def body() -> Chest:
    return chest(1, SLICES)


def prepared(folder: Path, greys: np.ndarray, settings: Settings, pixel: float = 0.625) -> PreparedCase:
    image = nibabel.Nifti1Image(np.ascontiguousarray(greys.T), np.diag([-pixel, -pixel, 1.0, 1.0]))
    nibabel.save(image, folder / "scan.nii")
    return prepare(Case("scan", folder / "scan.nii"), settings, folder / "cache")


def told(case: PreparedCase) -> dict[str, Any]:
    return dict(json.loads((case.folder / "case.json").read_text()))


def test_a_clinical_case_tells_what_it_shows_of_its_kernel(body: Chest, tmp_path: Path) -> None:
    scan = body.seen_by(reference_kernel)
    case = prepared(tmp_path, scan.array, ClinicalSettings(spacing=None))
    assert case.facts.kernel is not None
    assert case.facts.kernel.to_plain() == told(case)["kernel"]
    by_hand = measure(scan, np.asarray(case.mask))
    assert told(case)["kernel"] == by_hand.to_plain()
    assert by_hand.slices == SLICES
    # Far from the borders of this body: 40 HU in the wall, which its vessels share; air clipped at -1024.
    far = DISTANCES > 2.5
    np.testing.assert_allclose(case.facts.kernel.wall.mean[far], 40, atol=8)
    np.testing.assert_allclose(case.facts.kernel.skin.mean[DISTANCES < -2.5], -1000, atol=12)


def test_it_is_measured_before_greys_are_clipped_to_the_window(body: Chest, tmp_path: Path) -> None:
    scan = body.seen_by(reference_kernel)
    kernels = []
    for window in ((-1000.0, 100.0), (-800.0, -100.0)):
        (tmp_path / str(window[0])).mkdir()
        case = prepared(tmp_path / str(window[0]), scan.array, ClinicalSettings(spacing=None, window=window))
        inside = np.asarray(case.image)
        assert (inside == 1).any() == (window[1] < 0)
        kernels.append(told(case)["kernel"])
    assert kernels[0] == kernels[1]


@pytest.mark.parametrize("padding", [-2000, -1024])
def test_the_edge_of_the_field_of_view_is_no_skin(padding: int, body: Chest, tmp_path: Path) -> None:
    """It cuts the body's sides, which end 115 pixels from the middle, and leaves its back and front in air."""
    greys = body.seen_by(reference_kernel).array
    whole = prepared(tmp_path, greys, ClinicalSettings(spacing=None)).facts.kernel
    y, x = np.indices(greys.shape[1:]) - (greys.shape[1] - 1) / 2
    greys[:, np.hypot(y, x) > 114] = padding
    cut = prepared(tmp_path, greys, ClinicalSettings(spacing=None)).facts.kernel
    assert whole is not None
    assert cut is not None
    assert 100 < cut.skin.count.sum() < 0.8 * whole.skin.count.sum()
    air = DISTANCES < -2.5
    np.testing.assert_allclose(cut.skin.mean[air], whole.skin.mean[air], atol=6)


def test_a_micro_ct_tells_none(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    cells = ndimage.gaussian_filter(rng.normal(size=(8, 96, 96)), 1.2)
    greys = 5000 + 19000 * np.clip(1 - np.abs(cells) / (0.25 * cells.std()), 0, 1)
    case = prepared(tmp_path, greys.astype(np.uint16), MicroSettings(spacing=None), 0.08)
    assert case.facts.kernel is None
    assert told(case).get("kernel") is None


def test_a_scan_that_shows_no_border_shows_nothing_of_it(tmp_path: Path) -> None:
    """A chest of few pixels: it is measured, which is told apart from a case of before."""
    plane = np.full((60, 60), -1000)
    y, x = np.indices(plane.shape) - 29.5
    plane[np.hypot(y, x) < 27] = 30
    plane[np.hypot(y, x) < 20] = -850
    greys = np.repeat(plane[None], 4, axis=0) + np.random.default_rng(0).normal(0, 15, (4, 60, 60))
    case = prepared(tmp_path, greys.astype(np.int16), ClinicalSettings(spacing=None), 2.0)
    assert isinstance(case.facts.kernel, Measured)
    assert case.facts.kernel.slices == 4
