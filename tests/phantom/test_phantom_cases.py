from __future__ import annotations

import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from nibabel.processing import resample_from_to
from scipy import ndimage
from skimage.registration import phase_cross_correlation

from ctsr.cli import run_cli
from ctsr.errors import UserError
from ctsr.phantom.__main__ import main
from ctsr.phantom.cases import generate
from ctsr.phantom.labels import Label
from ctsr.records.phantom import PhantomSettings

ONE = PhantomSettings.tiny().changed(clinical_cases=1, micro_cases=0, paired_cases=0)  # a fraction of a second


def files_of(root: Path) -> dict[str, bytes]:
    return {file.relative_to(root).as_posix(): file.read_bytes() for file in root.rglob("*") if file.is_file()}


def test_layout_and_types(tiny: Path) -> None:
    assert sorted(files_of(tiny)) == [
        "clinical/lung_000.nii.gz",
        "clinical/lung_001.nii.gz",
        "micro/specimen_000.nii.gz",
        "micro/specimen_001.nii.gz",
        "paired/lung_100/clinical.nii.gz",
        "paired/lung_100/labels.nii.gz",
        "paired/lung_100/micro.nii.gz",
        "phantom.json",
    ]
    expected = {
        "clinical/lung_000": ((48, 48, 6), 0.625, np.int16),
        "micro/specimen_000": ((128, 128, 16), 0.078125, np.uint16),
        "paired/lung_100/clinical": ((16, 16, 2), 0.625, np.int16),
        "paired/lung_100/micro": ((128, 128, 16), 0.078125, np.uint16),
        "paired/lung_100/labels": ((128, 128, 16), 0.078125, np.uint8),
    }
    for name, (shape, spacing, kind) in expected.items():
        image = nib.load(tiny / f"{name}.nii.gz")
        assert image.shape == shape
        assert image.header.get_zooms() == pytest.approx((spacing,) * 3)
        assert image.get_data_dtype() == kind
        assert int(image.header["qform_code"]) == int(image.header["sform_code"]) == 1
        np.testing.assert_allclose(image.get_qform(), image.get_sform(), atol=1e-5)
        assert nib.aff2axcodes(image.affine) == ("L", "P", "S")
    record = json.loads((tiny / "phantom.json").read_text())
    assert record["settings"]["seed"] == 0
    assert set(record["cases"]) == {
        *(f"clinical/lung_00{i}.nii.gz" for i in (0, 1)),
        *(f"micro/specimen_00{i}.nii.gz" for i in (0, 1)),
        "paired/lung_100",
    }


def test_same_seed_same_bytes_also_with_other_counts(tiny: Path, tmp_path: Path) -> None:
    generate(tmp_path / "again", PhantomSettings.tiny().changed(clinical_cases=1, micro_cases=1), show_progress=False)
    generate(tmp_path / "other", ONE.changed(seed=1), show_progress=False)
    first, again, other = files_of(tiny), files_of(tmp_path / "again"), files_of(tmp_path / "other")
    for name in set(again) - {"phantom.json"}:
        assert again[name] == first[name], name
    assert other["clinical/lung_000.nii.gz"] != first["clinical/lung_000.nii.gz"]
    assert first["clinical/lung_000.nii.gz"] != first["clinical/lung_001.nii.gz"]


def test_second_call_does_nothing(tmp_path: Path) -> None:
    root = tmp_path / "phantom"
    generate(root, ONE, show_progress=False)
    before = {file: os.stat(file).st_mtime_ns for file in root.rglob("*")}
    generate(root, ONE, show_progress=False)
    assert before == {file: os.stat(file).st_mtime_ns for file in root.rglob("*")}


def test_half_made_is_made_anew(tmp_path: Path) -> None:
    half = tmp_path / "phantom.partial" / "clinical"
    half.mkdir(parents=True)
    (half / "lung_000.nii.gz").write_bytes(b"half")
    (half / "stray.nii.gz").write_bytes(b"half")
    generate(tmp_path / "phantom", ONE, show_progress=False)
    assert sorted(files_of(tmp_path / "phantom")) == ["clinical/lung_000.nii.gz", "phantom.json"]
    assert nib.load(tmp_path / "phantom/clinical/lung_000.nii.gz").get_fdata().std() > 0
    assert not half.parent.exists()


def test_two_at_once_make_one(tmp_path: Path) -> None:
    root = tmp_path / "phantom"
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda _: generate(root, ONE, show_progress=False), range(2)))
    assert sorted(files_of(root)) == ["clinical/lung_000.nii.gz", "phantom.json"]


def test_other_settings_foreign_folders_and_missing_cases_are_refused(tmp_path: Path) -> None:
    root = tmp_path / "phantom"
    generate(root, ONE, show_progress=False)
    with pytest.raises(UserError, match="other settings"):
        generate(root, ONE.changed(seed=5), show_progress=False)
    (root / "clinical/lung_000.nii.gz").unlink()
    with pytest.raises(UserError, match=r"lung_000\.nii\.gz is missing"):
        generate(root, ONE, show_progress=False)
    mine = tmp_path / "mine"
    (mine / "clinical").mkdir(parents=True)
    with pytest.raises(UserError, match="no phantom"):
        generate(mine, ONE, show_progress=False)
    assert (mine / "clinical").is_dir()


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"tissue_share": (0.2, 0.1)}, "tissue_share"),
        ({"paired_pixels": 4}, "paired_pixels"),
        ({"factor": 0}, "factor"),
    ],
)
def test_settings_that_make_no_lung_are_refused(wrong: dict[str, object], named: str) -> None:
    with pytest.raises(UserError, match=f"^{named}"):
        PhantomSettings.tiny().changed(**wrong)


def test_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").touch()
    assert run_cli(lambda: main([str(tmp_path / "mine"), "--tiny"])) == 2
    told = capsys.readouterr().err
    assert told == f"error: {tmp_path}/mine holds something that is no phantom: name another folder for the phantom\n"


def test_lists_from_a_config_file_mean_the_same(tmp_path: Path) -> None:
    generate(tmp_path / "phantom", ONE, show_progress=False)
    generate(tmp_path / "phantom", ONE.changed(tissue_share=list(ONE.tissue_share)), show_progress=False)


def test_paired_grids_share_edges_and_slices(tiny: Path) -> None:
    clinical, micro = (nib.load(tiny / f"paired/lung_100/{name}.nii.gz") for name in ("clinical", "micro"))
    for corner in (-0.5, 15.5):  # voxel edges of the first and of the last clinical pixel
        low = clinical.affine @ [corner, corner, 0, 1]
        high = micro.affine @ [8 * (corner + 0.5) - 0.5, 8 * (corner + 0.5) - 0.5, 0, 1]
        np.testing.assert_allclose(low[:2], high[:2], atol=1e-5)
    for k in range(2):
        low, high = clinical.affine @ [0, 0, k, 1], micro.affine @ [0, 0, 8 * k + 4, 1]
        assert low[2] == pytest.approx(high[2], abs=1e-5)


def test_paired_scans_show_the_same_structures_at_the_same_place(tmp_path: Path) -> None:
    settings = ONE.changed(clinical_cases=0, paired_cases=1, paired_pixels=48, paired_slices=3, nodule_probability=1.0)
    generate(tmp_path / "phantom", settings, show_progress=False)
    folder = tmp_path / "phantom/paired/lung_100"
    clinical, micro, labels = (nib.load(folder / f"{name}.nii.gz") for name in ("clinical", "micro", "labels"))
    # The µCT blurred as a clinical scanner blurs, then brought onto the clinical grid by the files' own geometry.
    greys = ndimage.gaussian_filter(micro.get_fdata(), [6.2, 6.2, 3.3])
    seen = resample_from_to(nib.Nifti1Image(greys, micro.affine), clinical, order=1).get_fdata()
    scan = clinical.get_fdata()
    inner = np.s_[4:-4, 4:-4, :]
    assert np.corrcoef(seen[inner].ravel(), scan[inner].ravel())[0, 1] > 0.98
    taper = np.outer(np.hanning(40), np.hanning(40))
    for k in range(3):
        one, two = ((image[inner][:, :, k] - image[inner][:, :, k].mean()) * taper for image in (seen, scan))
        shift, _, _ = phase_cross_correlation(one, two, upsample_factor=100, normalization=None)
        assert np.abs(shift).max() < 0.05  # pixels, that is 0.03 mm
    # The nodule stands where its label says.
    share = ndimage.gaussian_filter((labels.get_fdata() == Label.NODULE).astype(float), 6.2)
    nodule = resample_from_to(nib.Nifti1Image(share, labels.affine), clinical, order=1).get_fdata()
    assert scan[nodule > 0.8].mean() > -300
    assert scan[inner][nodule[inner] < 0.01].mean() < -700


def test_ctrl_c_leaves_nothing_half_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(path: Path, settings: PhantomSettings, rng: np.random.Generator) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("ctsr.phantom.cases.MAX_WORKERS", 1)
    for kind in ("make_pair", "make_specimen", "make_chest", "make_empty"):
        monkeypatch.setattr(f"ctsr.phantom.cases.{kind}", interrupted)
    with pytest.raises(KeyboardInterrupt):
        generate(tmp_path / "phantom", PhantomSettings(), show_progress=False)
    assert [path.name for path in tmp_path.iterdir()] == [".phantom.lock"]
