"""The program as it is typed: any path works, a mistake is one line."""

from __future__ import annotations

import json
import re
import runpy
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pydicom
import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from tests.imaging.formats import scan_files
from tests.imaging.formats.scan_files import Scan
from tests.imaging.formats.tiff.tiff_by_hand import X_RESOLUTION, Y_RESOLUTION, write_tiff

PROGRAM = Path(__file__).resolve().parents[2] / "infer.py"
ODD_PATHS = [
    "a b,c=(d)[e]{f}/µ 日本.nii.gz",
    'it\'s "quoted"',
    "'x'",
    "back\\slash\\",
    "\\'",
    "${HOME}/\\${x}",
    "null",
    "~/a:b #%;&@$",
    " ",
]
OF_HYDRA = ["'x'", "${HOME}/\\${x}", "null", "~/a:b #%;&@$"]


def infer(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> object:
    """Run the program in this process; gives its exit code."""
    monkeypatch.setattr(sys, "argv", [str(PROGRAM), *arguments])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(PROGRAM), run_name="__main__")
    return ended.value.code


@pytest.mark.parametrize("path", ODD_PATHS)
@pytest.mark.parametrize("there", [True, False])
def test_hydra_takes_any_path_as_it_is(path: str, there: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if path in OF_HYDRA and not there:
        pytest.skip("has a meaning unless there is such a file")
    monkeypatch.chdir(tmp_path)
    if there:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).touch()
    program: dict[str, Any] = runpy.run_path(str(PROGRAM))
    arguments = program["AS_TYPED"].quoted([f"input={path}", "roi=[0,1,0,1,0,1]"])
    assert arguments[1] == "roi=[0,1,0,1,0,1]"
    override = OverridesParser.create().parse_override(arguments[0])
    cfg = OmegaConf.create({"input": None})
    OmegaConf.update(cfg, "input", str(override.value()))
    assert OmegaConf.to_container(cfg, resolve=True) == {"input": path}


@pytest.mark.parametrize(
    ("spacing", "told", "seen"),
    [
        ("[2,0.625,0.625]", None, [2, 0.625, 0.625]),
        ("0.625", None, [0.625] * 3),
        (None, "unit=mm\nspacing=2.0\n", [2, 0.625, 0.625]),
    ],
)
def test_a_scan_as_tiff(
    spacing: str | None,
    told: str | None,
    seen: list[float],
    tmp_path: Path,
    checkpoint: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its voxel size is given, or told by ImageJ."""
    description = f"ImageJ=1.54f\nimages=3\nslices=3\n{told}" if told else ""
    tags = {X_RESOLUTION: (1000, 625), Y_RESOLUTION: (1000, 625)} if told else {}
    write_tiff(tmp_path / "ct.tif", np.full((3, 16, 16), -900, np.int16), description, tags=tags)
    arguments = [f"ckpt={checkpoint}", f"input={tmp_path / 'ct.tif'}", f"output={tmp_path / 'sr.nii.gz'}"]
    assert infer(monkeypatch, *arguments, *([f"file_spacing={spacing}"] if spacing else [])) == 0
    record = json.loads((tmp_path / "sr.json").read_text())
    assert record["geometry"]["input_spacing"] == pytest.approx(seen)
    assert record["settings"]["file_spacing"] == (None if spacing is None else json.loads(spacing))
    zooms = nibabel.load(tmp_path / "sr.nii.gz").header.get_zooms()
    assert zooms == pytest.approx((0.625 / 8, 0.625 / 8, seen[0]))


@pytest.mark.parametrize(
    "spacing", ["null", "0", "-1", "nan", "inf", "abc", "[1,1]", "[1,0,1]", "[1,a,1]", "true", "50"]
)
def test_a_voxel_size_that_is_none(
    spacing: str,
    tmp_path: Path,
    checkpoint: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write_tiff(tmp_path / "ct.tif", np.full((3, 16, 16), -900, np.int16))
    arguments = [f"ckpt={checkpoint}", f"input={tmp_path / 'ct.tif'}", f"output={tmp_path / 'sr.nii.gz'}"]
    assert infer(monkeypatch, *arguments, f"file_spacing={spacing}") == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert "file_spacing=" in told
    assert not (tmp_path / "sr.nii.gz").exists()


def test_a_scan_with_odd_names(
    tmp_path: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    source, output = tmp_path / "scan, of a=b (µ).nii.gz", tmp_path / "it's new" / "{sr}.nii.gz"
    nibabel.save(nibabel.Nifti1Image(np.full((16, 16, 3), -900, np.int16), np.diag([0.625, 0.625, 1, 1])), source)
    arguments = [f"ckpt={checkpoint}", f"input={source}", f"output={output}", "roi=[0,2,0,16,0,16]"]
    assert infer(monkeypatch, *arguments) == 0
    assert nibabel.load(output).shape == (128, 128, 2)
    assert str(output) in capsys.readouterr().out
    # Nothing else was written where the program ran.
    assert sorted(file.name for file in tmp_path.iterdir()) == ["it's new", source.name]


@pytest.mark.parametrize(
    "series",
    ["LUNG 1.0 (B60f), iDose [3]", "3 'LUNG 1.0 (B60f), iDose [3]' (3 slices)", "LUNG 1.0", "3", "'LUNG 1.0 (B60f)'"],
)
def test_a_series_is_named_as_it_is_listed(
    tmp_path: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch, series: str
) -> None:
    for number, description, rows in ((3, "LUNG 1.0 (B60f), iDose [3]", 16), (4, "STD 1.0 (B30f)", 8)):
        greys = np.full((3, rows, 16), -900)
        scan = Scan(greys, (1.0, 0.625, 0.625), np.eye(3)[::-1], (0.0, 0.0, 0.0), intercept=-1024)
        for file in scan_files.dicom(scan, tmp_path / f"{number}").iterdir():
            data = pydicom.dcmread(file)
            data.SeriesNumber, data.SeriesDescription = number, description
            (tmp_path / "scan").mkdir(exist_ok=True)
            data.save_as(tmp_path / "scan" / f"{number}-{file.name}")
    output = tmp_path / "sr.nii.gz"
    arguments = [f"ckpt={checkpoint}", f"input={tmp_path}/scan", f"output={output}", f"series={series}"]
    assert infer(monkeypatch, *arguments, "roi=[0,1,0,8,0,8]") == 0
    record = json.loads((tmp_path / "sr.json").read_text())
    assert record["settings"]["series"] == series.strip("'")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "ckpt= input= output= missing"),
        (["inptu=a"], "inptu"),
        (["ckpt=nowhere.ckpt", "input=a", "output=b.nii"], "nowhere.ckpt is not a file"),
        (["ckpt=CKPT", "input=nowhere", "output=b.nii"], "nowhere does not exist"),
        (["ckpt=CKPT", "input=nowhere", "output=b.mha"], "b.mha cannot be written"),
        (["ckpt=CKPT", "input=nowhere", "output=b.nii", "tile=-1"], "tile=-1"),
        (["ckpt=CKPT", "input=nowhere", "output=b.nii", "slices=[null,a]"], "slices=[null, a]: give [z0,z1]"),
        (["ckpt=CKPT", "input=a", "output=b.nii", "slices=[0,1]", "box_mm=[null,1,0,-2.5,0,1]"], "slices= and box_mm="),
    ],
)
def test_a_mistake_is_one_line(
    tmp_path: Path,
    checkpoint: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    code = infer(monkeypatch, *(argument.replace("CKPT", str(checkpoint)) for argument in arguments))
    assert code == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_help_names_keys_that_exist(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert infer(monkeypatch, "--help") == 0
    text = capsys.readouterr().out
    assert len(text.splitlines()) < 60
    cfg, evaluate = (OmegaConf.load(PROGRAM.parent / f"conf/infer/task/{task}.yaml") for task in ("scan", "evaluate"))
    keys = set(re.findall(r"([a-z_]+)=", text)) - {"key", "stage"}
    assert {"ckpt", "input", "output", "region", "series", "device", "slices", "box_mm"} <= keys
    assert keys <= {*cfg, *evaluate}
    shown = {key: re.findall(rf"^  {key}=(\w+)", text, re.MULTILINE)[0] for key in ("tile", "batch", "level")}
    assert shown == {key: str(cfg[key]) for key in shown}


def test_a_run_that_is_terminated_before_its_first_slice_leaves_nothing(tmp_path: Path, checkpoint: Path) -> None:
    source, folder = tmp_path / "scan.nii", tmp_path / "out"
    nibabel.save(nibabel.Nifti1Image(np.full((256, 256, 200), -900, np.int16), np.diag([0.625, 0.625, 1, 1])), source)
    command = [sys.executable, str(PROGRAM), f"ckpt={checkpoint}", f"input={source}", f"output={folder}/sr.nii.gz"]
    running = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while not (folder.is_dir() and any(folder.iterdir())) and time.monotonic() < deadline and running.poll() is None:
        time.sleep(0.1)
    assert any(folder.iterdir())
    running.send_signal(signal.SIGTERM)
    _, error = running.communicate(timeout=60)
    assert running.returncode == 128 + signal.SIGTERM, error
    assert error.splitlines()[-1] == "stopped by SIGTERM: unfinished files are removed"
    assert list(folder.iterdir()) == []


def disc_with(folder: Path, *series: str) -> Path:
    """A disc: each series in a folder of its own, a viewer and a text beside them."""
    (folder / "DICOM" / "[study]").mkdir(parents=True)
    for name in series:
        greys = np.full((3, 16, 16), -900)
        scan = Scan(greys, (1.0, 0.625, 0.625), np.eye(3)[::-1], (0.0, 0.0, 0.0), intercept=-1024)
        for file in scan_files.dicom(scan, folder / "DICOM" / "[study]" / name).iterdir():
            data = pydicom.dcmread(file)
            if name == "scout":
                data.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
                data.save_as(file)
    (folder / "VIEWER").mkdir()
    (folder / "VIEWER" / "viewer.exe").write_bytes(bytes(500))
    (folder / "README.TXT").write_text("to be shown by VIEWER")
    return folder


def test_the_one_scan_of_a_disc(
    tmp_path: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    disc, output = disc_with(tmp_path / "disc", "chest", "scout"), tmp_path / "sr.nii.gz"
    assert infer(monkeypatch, f"ckpt={checkpoint}", f"input={disc}", f"output={output}") == 0
    told, chest = capsys.readouterr(), disc / "DICOM" / "[study]" / "chest"
    assert f"input={disc}: the scan in it is {chest}\n" in told.out
    assert "a scout (DICOM/[study]/scout)" in told.err
    assert json.loads((tmp_path / "sr.json").read_text())["input"]["path"] == str(chest)
    assert nibabel.load(output).shape == (128, 128, 3)


@pytest.mark.parametrize(
    ("series", "told"), [(("chest", "abdomen"), ["holds 2 scans", "abdomen", "chest"]), ((), ["holds no scan"])]
)
def test_no_one_scan_of_a_disc(
    series: tuple[str, ...],
    told: list[str],
    tmp_path: Path,
    checkpoint: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    disc, output = disc_with(tmp_path / "disc", *series), tmp_path / "sr.nii.gz"
    assert infer(monkeypatch, f"ckpt={checkpoint}", f"input={disc}", f"output={output}") == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: input={disc} ")
    assert error.count("\n") == 1
    assert all(part in error for part in told)
    assert not output.exists()
