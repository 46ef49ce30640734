"""No result takes the place of what it is made of, however that is spelled or linked."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from ctsr.checkpoint import SRModel, load_sr
from ctsr.errors import UserError
from ctsr.evaluation.reporting.report_folder import check_folders
from ctsr.inference import scan
from ctsr.inference.scan import super_resolve_scan
from ctsr.records.scan_settings import ScanSettings
from ctsr.records.tasks import Comparison, read_task
from infer import compare
from tests.data.trees import chest, nifti
from tests.imaging.formats import scan_files
from tests.imaging.formats.scan_files import Scan

AXIAL = Scan(np.full((3, 16, 16), -900), (1.0, 0.625, 0.625), np.eye(3)[::-1], (0.0, 0.0, 0.0), intercept=-1024)


@pytest.fixture
def model(checkpoint: Path, tmp_path: Path) -> SRModel:
    (tmp_path / "last.ckpt").write_bytes(checkpoint.read_bytes())
    return load_sr(tmp_path / "last.ckpt")


def linked(link: Path, target: Path) -> Path:
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(target, target.is_dir())
    return link


def hard(link: Path, target: Path) -> Path:
    link.hardlink_to(target)
    return link


def refusal(model: SRModel, source: Path, output: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """What is said, with overwrite=true and without; nothing is read, written or made."""
    monkeypatch.setattr(scan, "read_source", None)
    folder = model.path.parent
    before = {path: path.lstat().st_mtime_ns for path in folder.rglob("*")}
    said = set()
    for overwrite in (True, False):
        with pytest.raises(UserError) as raised:
            super_resolve_scan(model, source, output, ScanSettings(overwrite=overwrite), Console(file=io.StringIO()))
        said.add(str(raised.value))
    assert before == {path: path.lstat().st_mtime_ns for path in folder.rglob("*")}
    (line,) = said
    assert "\n" not in line
    return line


IS_SCAN = "is the scan that is read"


@pytest.mark.parametrize(
    "spelled",
    [
        lambda folder: folder / "scan.nii.gz",
        lambda folder: folder / "other" / ".." / "scan.nii.gz",
        lambda folder: Path(os.path.relpath(folder / "scan.nii.gz")),
        lambda folder: linked(folder / "link.nii.gz", folder / "scan.nii.gz"),
        lambda folder: hard(folder / "alias.nii.gz", folder / "scan.nii.gz"),
        lambda folder: linked(folder / "way", folder) / "scan.nii.gz",
    ],
)
def test_the_scan_itself(
    tmp_path: Path, model: SRModel, monkeypatch: pytest.MonkeyPatch, spelled: Callable[[Path], Path]
) -> None:
    (tmp_path / "other").mkdir()
    source = nifti(tmp_path / "scan.nii.gz", chest(0))
    output = spelled(tmp_path)
    assert refusal(model, source, output, monkeypatch) == f"output={output} {IS_SCAN}: give another output="


def test_the_scan_that_a_link_is_read_through(tmp_path: Path, model: SRModel, monkeypatch: pytest.MonkeyPatch) -> None:
    there = nifti(tmp_path / "store" / "ct.nii.gz", chest(0))
    link = linked(tmp_path / "mine" / "scan.nii.gz", there)
    assert IS_SCAN in refusal(model, link, there, monkeypatch)
    assert IS_SCAN in refusal(model, link, link, monkeypatch)
    assert IS_SCAN in refusal(model, tmp_path / "store", there, monkeypatch), "the one scan of a folder"


def test_the_checkpoint(tmp_path: Path, model: SRModel, monkeypatch: pytest.MonkeyPatch) -> None:
    source, output = nifti(tmp_path / "scan.nii.gz", chest(0)), tmp_path / "sr.nii.gz"
    record = linked(tmp_path / "sr.json", model.path)
    said = refusal(model, source, output, monkeypatch)
    assert said == f"output={output}: sr.json beside it is the checkpoint that is read: give another output="
    record.unlink()
    hard(output, model.path)
    assert refusal(model, source, output, monkeypatch).startswith(f"output={output} is the checkpoint")


@pytest.mark.parametrize("kind", [scan_files.dicom, scan_files.png_stack, scan_files.tiff_stack, scan_files.ome_zarr_2])
@pytest.mark.parametrize("name", ["sr.nii.gz", "0/new/sr.nii.gz", "../way/sr.nii"])
def test_within_a_folder_that_is_the_scan(
    tmp_path: Path, model: SRModel, monkeypatch: pytest.MonkeyPatch, kind: Callable[..., Path], name: str
) -> None:
    folder = kind(AXIAL, tmp_path / "files")
    linked(folder.parent / "way", folder)
    said = refusal(model, folder, folder / name, monkeypatch)
    assert said == f"output={folder / name} lies in the scan that is read: give another output="
    assert "lies in" in refusal(model, folder.parent / "way", folder / name, monkeypatch)


def test_a_slice_elsewhere(tmp_path: Path, model: SRModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """The slices of the folder are links, and the picture beside the result would be put over one of them."""
    store = scan_files.png_stack(AXIAL, tmp_path / "files")
    for file in sorted(store.iterdir()):
        linked(tmp_path / "series" / file.name, file)
    first = min(store.glob("*.png"))
    output = first.with_name(f"{first.stem}.nii")
    said = refusal(model, tmp_path / "series", output, monkeypatch)
    assert said == f"output={output}: {first.name} beside it {IS_SCAN}: give another output="


@pytest.mark.parametrize("kind", [scan_files.mhd_zraw, scan_files.nrrd_detached])
def test_the_voxels_of_a_header(
    tmp_path: Path, model: SRModel, monkeypatch: pytest.MonkeyPatch, kind: Callable[..., Path]
) -> None:
    header = kind(AXIAL, tmp_path / "files")
    (voxels,) = (file for file in header.parent.iterdir() if file != header)
    output = hard(tmp_path / "sr.nii", voxels)
    assert IS_SCAN in refusal(model, header, output, monkeypatch)


@pytest.mark.parametrize("sidecar", ['{"Modality": "CT"}', "[]", "no JSON", ""])
def test_what_came_with_the_scan_is_no_record(tmp_path: Path, model: SRModel, sidecar: str) -> None:
    """BIDS keeps a scan.json beside scan.nii.gz."""
    source = nifti(tmp_path / "scan.nii.gz", chest(0))
    (tmp_path / "scan.json").write_text(sidecar)
    with pytest.raises(UserError, match=r"scan\.json is no record of a result: choose another output="):
        super_resolve_scan(model, source, tmp_path / "scan.nii", ScanSettings(overwrite=True))
    assert (tmp_path / "scan.json").read_text() == sidecar


def test_a_link_to_nothing_is_not_replaced_unasked(tmp_path: Path, model: SRModel) -> None:
    source = nifti(tmp_path / "scan.nii.gz", chest(0))
    output = linked(tmp_path / "sr.nii.gz", tmp_path / "not fetched.nii.gz")
    with pytest.raises(UserError, match=r"sr\.nii\.gz exists: choose another output=, or give overwrite=true"):
        super_resolve_scan(model, source, output)


def test_beside_the_scan_is_right(tmp_path: Path, model: SRModel) -> None:
    folder = scan_files.dicom(AXIAL, tmp_path / "patient")
    output = folder.parent / "sr.nii.gz"
    for overwrite in (False, True):
        super_resolve_scan(model, folder, output, ScanSettings(overwrite=overwrite), Console(file=io.StringIO()))
    assert output.is_file()


def comparison(folder: Path, **given: object) -> Comparison:
    plain: dict[str, object] = {
        "task": "evaluate",
        "ckpt": str(folder / "last.ckpt"),
        "data": str(folder / "data"),
        "clinical": None,
    }
    plain |= {"overwrite": True, "cache": str(folder / "cache"), "tile_micro": 128, "cover": 0.8, "slices_per_case": 1}
    plain |= {"kernel": "off", "reference": None, "wandb": None, "device": "cpu", "workers": 1}
    task = read_task(plain | given)
    assert isinstance(task, Comparison)
    return task


@pytest.mark.parametrize(
    ("output", "said"),
    [
        ("data", "is data={folder}/data, which is read"),
        ("way", "is data={folder}/data, which is read"),
        ("data/micro", "lies in data={folder}/data, which is read"),
        ("way/paired/lung_1/report", "lies in data={folder}/data, which is read"),
        ("scans/new", "lies in clinical={folder}/scans, which is read"),
        ("cache", "lies in cache={folder}/cache, which is read"),
        ("report", "would put paired.png over ckpt={folder}/last.ckpt, which is read"),
    ],
)
def test_a_report_among_what_it_is_made_of(tmp_path: Path, output: str, said: str) -> None:
    for name in ("data/micro", "data/paired/lung_1", "scans", "cache", "report"):
        (tmp_path / name).mkdir(parents=True)
    linked(tmp_path / "way", tmp_path / "data")
    (tmp_path / "last.ckpt").write_bytes(b"")
    hard(tmp_path / "report" / "paired.png", tmp_path / "last.ckpt")
    (tmp_path / "data" / "report.html").write_text("a former one")
    task = comparison(tmp_path, output=str(tmp_path / output), clinical=str(tmp_path / "scans"))
    with pytest.raises(UserError) as raised:
        compare(task)
    assert str(raised.value) == f"output={task.output} {said.format(folder=tmp_path)}: give another output="


def test_a_report_beside_what_it_is_made_of(tmp_path: Path) -> None:
    for name in ("data/micro", "cache"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "last.ckpt").write_bytes(b"")
    for output in (".", "data/report", "new"):
        check_folders(comparison(tmp_path, output=str(tmp_path / output)))
