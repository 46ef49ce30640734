from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK
from nibabel.processing import resample_from_to
from scipy import ndimage
from skimage.registration import phase_cross_correlation

from ctsr.cli import run_cli
from ctsr.phantom import cases
from ctsr.phantom.__main__ import main
from ctsr.phantom.cases import generate
from ctsr.phantom.labels import Label
from ctsr.phantom.projections.kinds import SETS
from ctsr.records.phantom import ProjectionSettings
from tests.conftest import check_bars_have_ended

TINY = ProjectionSettings.tiny(seed=3)


@pytest.fixture(scope="module")
def lung(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("projections") / "set"
    generate(root, TINY.changed(pixels=48, slices=3, views=360), show_progress=False)
    return root / "projections/lung_000"


def test_layout_and_geometry(lung: Path) -> None:
    assert {file.name for file in lung.iterdir()} == {
        "micro.nii.gz", "labels.nii.gz", *(f"{kind}.nii.gz" for kind in SETS["settings"])
    }  # fmt: skip
    micro, labels, scan = (nib.load(lung / f"{name}.nii.gz") for name in ("micro", "labels", "standard"))
    assert micro.shape == labels.shape == (384, 384, 24)
    np.testing.assert_allclose(micro.affine, labels.affine)
    assert scan.shape == (320, 320, 3)
    assert [scan.get_data_dtype(), micro.get_data_dtype()] == [np.int16, np.int16]
    into = np.linalg.inv(scan.affine) @ micro.affine
    np.testing.assert_allclose(np.diag(into), (1 / 8, 1 / 8, 1 / 8, 1), atol=1e-5)
    edge = into @ [-0.5, -0.5, 0, 1]  # outer edges of the µCT lie between clinical pixels
    np.testing.assert_allclose((edge + 0.5)[:2], np.rint(edge + 0.5)[:2], atol=1e-4)
    for k in range(3):
        assert (into @ [0, 0, 8 * k + 4, 1])[2] == pytest.approx(k, abs=1e-4)
    # Another library sees the same grid.
    image = SimpleITK.ReadImage(str(lung / "standard.nii.gz"))
    np.testing.assert_allclose(image.GetOrigin(), scan.affine[:3, 3] * (-1, -1, 1), atol=1e-4)
    np.testing.assert_allclose(image.GetSpacing(), 0.625, atol=1e-6)


@pytest.mark.parametrize("kind", SETS["settings"])
def test_each_kind_shows_the_lung_at_its_place(lung: Path, kind: str) -> None:
    """The µCT's HU, blurred and brought onto the clinical grid by the files' own geometry, are the scan's."""
    micro, scan = nib.load(lung / "micro.nii.gz"), nib.load(lung / f"{kind}.nii.gz")
    blurred = nib.Nifti1Image(ndimage.gaussian_filter(micro.get_fdata(), [6, 6, 3]), micro.affine)
    seen = resample_from_to(blurred, scan, order=1, cval=np.nan).get_fdata()[:, :, 1]
    inside = np.isfinite(seen)
    rows, columns = (np.flatnonzero(inside.any(axis=axis)) for axis in (1, 0))
    cut = np.s_[rows[0] + 4 : rows[-1] - 3, columns[0] + 4 : columns[-1] - 3]
    # Kernels, slices and noise differ: structures of about 2 mm do not.
    seen, hu = (ndimage.gaussian_filter(image[cut], 1.3) for image in (seen, scan.get_fdata()[:, :, 1]))
    assert np.corrcoef(seen.ravel(), hu.ravel())[0, 1] > 0.97
    shift, _, _ = phase_cross_correlation(seen, hu, upsample_factor=50, normalization=None)
    assert np.abs(shift).max() < 0.12  # pixels
    assert np.mean(hu) == pytest.approx(np.mean(seen), abs=20)  # an edge-enhanced wall darkens the lung beside it


def test_hu_of_body_and_micro_ct(lung: Path) -> None:
    scan, micro, labels = (nib.load(lung / f"{name}.nii.gz").get_fdata() for name in ("soft", "micro", "labels"))
    middle = scan[150:170, 150:170]
    assert middle.mean() == pytest.approx(45, abs=8)  # bones take a little
    assert 2 < middle.std() < 20
    assert scan[2:5, 150:170].mean() == pytest.approx(-1000, abs=3)  # air beside the body
    assert (scan[0, 0] == -1024).all()
    walls = ndimage.binary_erosion(labels == Label.VESSEL, iterations=3)
    assert micro[walls].mean() == pytest.approx(45, abs=5)
    assert micro[labels == Label.PARENCHYMA].mean() == pytest.approx(-870, abs=45)


def test_record_and_reproducible_bytes(lung: Path, tmp_path: Path) -> None:
    record = json.loads((lung.parents[1] / "phantom.json").read_text())
    assert record["settings"]["set"] == "settings"
    drawn = record["cases"]["projections/lung_000"]
    assert {"micro_scanner", "body", "lung_centre", "tissue_share"} <= drawn.keys()
    one, again, other = tmp_path / "one", tmp_path / "again", tmp_path / "other"
    generate(one, TINY, show_progress=False)
    generate(again, TINY.changed(lungs=2), show_progress=False)
    generate(other, TINY.changed(set="training"), show_progress=False)
    first, second = ((root / "projections/lung_000/edge.nii.gz").read_bytes() for root in (one, again))
    assert first == second
    assert (other / "projections/lung_000/micro.nii.gz").read_bytes() != (
        one / "projections/lung_000/micro.nii.gz"
    ).read_bytes()


def test_what_was_stopped_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    make, made = cases.make_lung, []

    def second_is_stopped(path: Path, settings: ProjectionSettings, rng: np.random.Generator) -> cases.Drawn:
        if len(made) == 1:
            path.mkdir()
            (path / "micro.nii.gz").write_bytes(b"half")
            raise KeyboardInterrupt
        made.append(path.name)
        return make(path, settings, rng)

    monkeypatch.setattr(cases, "MAX_WORKERS", 1)
    monkeypatch.setattr(cases, "make_lung", second_is_stopped)
    typed = [str(tmp_path / "set"), "--scanner", "projections", "--tiny", "--lungs", "2", "--set", "training"]
    assert run_cli(lambda: main(typed)) == 130
    check_bars_have_ended()  # one that drew on would wait for the next one's lock, which would wait for its end
    assert "1 of 2 cases are kept" in capsys.readouterr().err
    assert not (tmp_path / "set").exists()
    monkeypatch.setattr(
        cases, "make_lung", lambda path, settings, rng: made.append(path.name) or make(path, settings, rng)
    )
    assert run_cli(lambda: main(typed)) == 0
    assert made == ["lung_000", "lung_001"]  # none twice
    assert {path.name for path in (tmp_path / "set").iterdir()} == {"phantom.json", "projections"}
    record = json.loads((tmp_path / "set/phantom.json").read_text())
    assert list(record["cases"]) == ["projections/lung_000", "projections/lung_001"]
    assert nib.load(tmp_path / "set/projections/lung_001/micro.nii.gz").shape == (128, 128, 16)


def test_options_of_the_other_scanner_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_cli(lambda: main([str(tmp_path / "x"), "--paired", "2", "--scanner", "projections"])) == 2
    assert "--paired is of --scanner gaussian, not of projections" in capsys.readouterr().err
    assert run_cli(lambda: main([str(tmp_path / "x"), "--set", "judging"])) == 2
    assert "--set is of --scanner projections, not of gaussian" in capsys.readouterr().err
