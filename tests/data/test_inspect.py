"""`python -m ctsr.data.inspect`, on scans written by other libraries."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import tifffile
import yaml
from hydra import compose, initialize_config_dir
from PIL import Image
from rich.console import Console

from ctsr.data import inspect as inspection
from ctsr.data.finding.cases import Case
from ctsr.data.findings import print_findings
from ctsr.data.inspect import inspect
from ctsr.data.preparing.settings import ClinicalSettings, MicroSettings
from ctsr.imaging.formats import readers
from ctsr.imaging.volume import Header
from ctsr.sweeps.callback import plain
from tests.conftest import REPOSITORY
from tests.data.trees import chest, dicom, foam, lung, nifti


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    """A coronal scan with thick slices, and one that is no scan."""
    folder = tmp_path / "scans"
    folder.mkdir()
    greys = np.full((20, 7, 30), -800, np.int16)
    greys[0, 0, 0], greys[1, 0, 0] = 350, -3024
    nibabel.save(nibabel.Nifti1Image(greys, np.diag([1.0, 4.0, 1.0, 1.0])), folder / "coronal.nii.gz")
    (folder / "broken.nii").write_bytes(b"nothing")
    return folder


def test_what_is_seen_and_what_would_be_done(scans: Path) -> None:
    finding = inspect(Case("coronal", scans / "coronal.nii.gz"), ClinicalSettings(spacing=0.5))
    assert finding.refused is None
    assert finding.seen == {
        "format": "nifti",
        "size": "7 x 30 x 20",
        "spacing": "4 x 1 x 1",
        "as stored": "SAR",
        "greys": "int16, -1024 ... 350; 0% is padding",
    }
    turned, resampled = finding.steps
    (coarse,) = finding.doubts
    assert turned.endswith("run to PIL")
    assert resampled == "slices resampled to 0.5 mm: 60 x 40 pixels"
    assert "interpolated" in coarse


def test_micro_is_cut_to_whole_low_resolution_pixels(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((4, 20, 30), np.uint8), photometric="minisblack")
    finding = inspect(Case("a", tmp_path / "a.tif"), MicroSettings(spacing=None, file_spacing=0.05), headers_only=True)
    assert finding.steps == ["slices cut to 16 x 24 pixels, a multiple of 8"]
    assert "greys" not in finding.seen


def test_one_refused_case_does_not_hide_the_others(scans: Path, capsys) -> None:
    assert inspection.main([str(scans)]) == 2
    printed = capsys.readouterr().out
    assert "broken: " in printed
    assert "broken.nii is not a readable NIfTI file" in printed
    assert "7 x 30 x 20" in printed
    assert "1 of 2 clinical cases can be used" in printed
    (scans / "broken.nii").unlink()
    assert inspection.main([str(scans), "--headers"]) == 0


def test_json_tells_what_the_table_does(scans: Path, tmp_path: Path, capsys) -> None:
    dicom(tmp_path / "Größe", chest(3), "P 7", Modality="MR")
    arguments = [str(scans), str(tmp_path / "nowhere"), str(tmp_path / "Größe"), "--spacing", "0.5", "--json"]
    assert inspection.main(arguments) == 2
    told = json.loads(capsys.readouterr().out)
    broken, coronal, other = told["cases"]
    assert coronal | {"doubts": 1} == {
        "name": "coronal",
        "domain": "clinical",
        "path": str(scans / "coronal.nii.gz"),
        "patient": "coronal",
        "format": "nifti",
        "size": [7, 30, 20],
        "spacing": [4.0, 1.0, 1.0],
        "orientation": "SAR",
        "greys": {"type": "int16", "lowest": -1024, "highest": 350, "padding": pytest.approx(1 / 4200)},
        "steps": ["turned: slices, rows, columns run to PIL", "slices resampled to 0.5 mm: 60 x 40 pixels"],
        "doubts": 1,
        "refused": None,
    }
    assert len(coronal["doubts"]) == 1
    assert "interpolated" in coronal["doubts"][0]
    assert "broken.nii is not a readable NIfTI file" in broken["refused"]
    assert (broken["size"], broken["greys"]) == (None, None)
    assert (other["name"], other["patient"], other["format"]) == ("Größe", "P 7", "dicom")
    assert other["doubts"][-1] == "its header calls it MR (Modality), not CT"
    assert told["notes"] == []
    (problem,) = told["problems"]
    assert "nowhere does not exist" in problem
    assert inspection.main([str(scans / "coronal.nii.gz"), "--spacing", "0.5", "--headers", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["cases"][0]["greys"] is None
    assert "would_train" not in told


def test_json_of_a_training(both: Path, capsys) -> None:
    assert inspection.main(["--config", str(config(both, clinical={"spacing": 1.0, "cover": 0.3})), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [case["name"] for case in told["cases"]] == ["c0", "c1", "c2", "m0", "m1", "m2"]
    assert (told["would_train"], told["problems"]) == (True, [])
    assert any("differ in scale" in note for note in told["notes"])
    assert inspection.main(["--config", str(config(both, micro={"target": "edge"})), "--json"]) == 2
    assert json.loads(capsys.readouterr().out) == {
        "cases": [],
        "problems": ["data.micro.target=edge: give centre or slab"],
        "notes": [],
        "would_train": False,
    }
    assert inspection.main(["--config", str(both / "no.yaml"), "--json"]) == 2
    assert capsys.readouterr().out == ""


LONG = "sub-0001_ses-01_acq-thorax_run-1_ct"


@pytest.mark.parametrize("columns", [None, 300, 100, 80, 30])  # None: no terminal
def test_no_name_or_number_is_broken(tmp_path: Path, columns: int | None, capsys, monkeypatch) -> None:
    scan = nifti(tmp_path / f"{LONG}.nii", chest(1))
    if columns is None:
        monkeypatch.setenv("COLUMNS", "80")
        assert inspection.main([str(scan)]) == 0
        told = capsys.readouterr().out
    else:
        settings = ClinicalSettings(spacing=0.5)
        console = Console(width=columns, force_terminal=True, color_system=None, file=io.StringIO())
        print_findings([inspect(Case(LONG, scan), settings), inspect(Case("b", tmp_path), settings)], settings, console)
        told = console.file.getvalue()
        assert f"b: {tmp_path} " in told
    lines = told.splitlines()
    assert "…" not in told, "cut off"
    for text in (LONG, "4 x 48 x 48", "2 x 0.625 x 0.625", "int16, -1"):
        assert any(text in line for line in lines), text
    table = columns is None or columns == 300
    assert any(LONG in line and "int16" in line for line in lines) == table
    assert (f"case: {LONG}" in lines) != table
    if columns is None:
        assert "4 x 48 x 48" in next(line for line in lines if LONG in line), "for grep"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "nowhere does not exist"),
        ([".", "--file-spacing", "fine"], "--file-spacing fine is no size in mm"),
    ],
)
def test_mistakes_are_one_line(arguments: list[str], message: str, capsys) -> None:
    assert inspection.main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: ")
    assert message in captured.err
    assert captured.err.count("\n") == 1


def test_is_a_program() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "ctsr.data.inspect", "--help"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0
    assert "examples:" in done.stdout


def test_patients_and_what_is_passed_over_are_told(tmp_path: Path, capsys) -> None:
    for k in range(2):
        nifti(tmp_path / "p[1]" / f"s{k}.nii", chest(k))
        nifti(tmp_path / "p[1]" / f"s{k}_seg.nii", lung(chest(k)))
    nifti(tmp_path / "x.nii", chest(5))
    assert inspection.main([str(tmp_path)]) == 0
    captured = capsys.readouterr()
    assert "3 of 3 clinical cases can be used, of 2 patients." in captured.out
    assert "p[1]-s0" in captured.out
    assert "passed over 2 x a label map (p[1]/s0_seg.nii, p[1]/s1_seg.nii)" in captured.err
    assert inspection.main([str(tmp_path), "--files", "*/s?.nii", "--patient", "case", "--headers"]) == 0
    assert "2 of 2 clinical cases can be used, of 2 patients." in capsys.readouterr().out


def test_one_wrong_path_does_not_hide_the_others(scans: Path, tmp_path: Path, capsys) -> None:
    assert inspection.main([str(tmp_path / "nowhere"), str(scans / "coronal.nii.gz")]) == 2
    captured = capsys.readouterr()
    assert "nowhere does not exist" in captured.err
    assert "1 of 1 clinical cases" in captured.out


def config(root: Path, **changes: dict[str, object]) -> Path:
    """What `--cfg job --resolve` prints."""
    with initialize_config_dir(str(REPOSITORY / "conf"), version_base="1.3"):
        composed = plain(compose("train", ["stage=all", "data=volumes"]))
    keys = composed["data"]
    keys["clinical"] |= {"root": str(root / "clinical"), "patch": 12}
    keys["micro"] |= {"root": str(root / "micro"), "patch": 96, "cover": 0.5}
    for name, change in changes.items():
        keys[name] |= change
    file = root / "config.yaml"
    file.write_text(yaml.safe_dump(composed))
    return file


def counted_probes(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files whose headers are read, each time that they are."""
    asked: list[str] = []

    def probe(path: Path, *others: Any) -> Header:
        asked.append(Path(path).name)
        return readers.probe(path, *others)

    monkeypatch.setattr("ctsr.data.plan.probe", probe)
    monkeypatch.setattr("ctsr.data.inspect.probe", probe)
    return asked


@pytest.fixture
def both(tmp_path: Path) -> Path:
    for k in range(3):
        nifti(tmp_path / "clinical" / f"c{k}.nii", chest(k))
        nifti(tmp_path / "micro" / f"m{k}.nii", foam(k), (0.078125,) * 3)
    return tmp_path


def test_would_this_train(both: Path, capsys) -> None:
    assert inspection.main(["--config", str(config(both))]) == 0
    assert capsys.readouterr().out.endswith("would this train? yes\n")


def test_why_this_would_not_train_all_at_once(both: Path, capsys) -> None:
    nifti(both / "clinical" / "small.nii", chest(7)[:, :9, :9])
    nifti(both / "clinical" / "twin.nii.gz", chest(0))
    (both / "clinical" / "broken.nii").write_bytes(b"nothing")
    (both / "masks").mkdir()
    changes = {"micro": {"masks": str(both / "masks"), "spacing": 0.02}, "split": {"val": ["c9"]}}
    assert inspection.main(["--config", str(config(both, **changes))]) == 2
    lines = capsys.readouterr().out.splitlines()
    problems = [line for line in lines if line.startswith("problem: ")]
    for what in (
        "small has 9 x 9 pixels",
        "broken.nii is not a readable NIfTI",
        "clinical case c0 (",
        "no mask of micro case m0",
        "no mask of micro case m2",
        "data.split.val names c9",
    ):
        assert sum(what in problem for problem in problems) == 1, what
    assert "and clinical case twin (" in "".join(problems)
    assert lines[-1] == f"would this train? no, {len(problems)} problems"


def test_all_wrong_rows_of_a_list_stand_against_a_training(both: Path, capsys) -> None:
    file = config(both)
    keys = yaml.safe_load(file.read_text())
    keys["data"]["list"] = str(both / "cases.csv")
    file.write_text(yaml.safe_dump(keys))
    (both / "cases.csv").write_text("domain,path\nclinical,clinical/c0.nii\nclinical,c8.nii\nct,clinical/c1.nii\n")
    assert inspection.main(["--config", str(file)]) == 2
    problem = f"problem: data.list={both}/cases.csv"
    assert capsys.readouterr().out.splitlines() == [
        f"{problem}, row 3 names {both}/c8.nii, which does not exist",
        f"{problem}, row 4 has the domain ct: give clinical, micro",
        "would this train? no, 2 problems",
    ]


def test_what_only_voxels_tell_stands_against_a_training_too(both: Path, capsys) -> None:
    """As preparation would: no lung, and a specimen of 24 pixels in which no patch of 96 lies."""
    nifti(both / "clinical" / "normalised.nii", (chest(8) / 1000).astype(np.float32))
    thin = np.full((10, 104, 104), 5000, np.uint16)
    thin[:, 40:64] = foam(5)[:, 40:64] + 9000
    nifti(both / "micro" / "thin.nii", thin, (0.078125,) * 3)
    assert inspection.main(["--config", str(config(both))]) == 2
    problems = [line for line in capsys.readouterr().out.splitlines() if line.startswith("problem: ")]
    assert [problem.split(": ")[1] for problem in problems] == ["clinical case normalised", "thin"]
    assert "no lung found" in problems[0]
    assert "no 96x96 patch lies 50% inside the micro mask; lower data.micro.cover" in problems[1]
    assert inspection.main(["--config", str(config(both)), "--headers"]) == 0


def test_each_header_is_read_once(both: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = counted_probes(monkeypatch)
    assert inspection.main(["--config", str(config(both))]) == 0
    assert sorted(asked) == [f"{domain}{k}.nii" for domain in "cm" for k in range(3)]


def test_wrong_keys_stand_against_a_training(both: Path, capsys) -> None:
    file = config(both, micro={"patch": 100, "target": "edge"})
    assert inspection.main(["--config", str(file)]) == 2
    assert capsys.readouterr().out.splitlines() == [
        "problem: data.micro.target=edge: give centre or slab",
        "problem: data.micro.patch=100 must be 8 times data.clinical.patch=12: one image covers the other",
        "would this train? no, 2 problems",
    ]


def test_scales_that_differ_do_not_stand_against_a_training(both: Path, capsys) -> None:
    assert inspection.main(["--config", str(config(both, clinical={"spacing": 1.0})), "--headers"]) == 0
    assert "warning: the domains differ in scale by 1.6: " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a: [", "cannot be read"),
        ("just words", "is no configuration of a training: give a run's config.yaml"),
        (None, "holds ${data.phantom.root}/clinical, which is open: print it with --resolve, too"),
    ],
)
def test_other_files_are_no_configuration(both: Path, content: str | None, message: str, capsys) -> None:
    file = config(both, clinical={"root": "${data.phantom.root}/clinical"})
    if content is not None:
        file.write_text(content)
    assert inspection.main(["--config", str(file)]) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.err.count("\n") == 1


@pytest.mark.parametrize(
    ("add", "message"), [(1024, "look like HU + 1024: subtract 1024"), (-1024, "intercept applied twice"), (0, None)]
)
def test_a_scan_that_is_not_in_hu_is_refused(tmp_path: Path, add: int, message: str | None) -> None:
    random = np.random.default_rng(0)
    hu = random.normal(-1000, 10, (40, 40, 6))
    hu[5:35, 5:35], hu[10:30, 10:30] = random.normal(40, 10, (30, 30, 6)), random.normal(-850, 20, (20, 20, 6))
    nibabel.save(nibabel.Nifti1Image((hu + add).astype(np.int16), np.diag([1.0, 1.0, 2.0, 1.0])), tmp_path / "a.nii")
    finding = inspect(Case("a", tmp_path / "a.nii"), ClinicalSettings(spacing=None))
    assert (finding.refused is None) == (message is None)
    assert message is None or message in str(finding.refused)


@pytest.mark.parametrize("modality", ["CT", "MR", ""])
def test_another_modality_is_said_in_words(tmp_path: Path, modality: str, capsys) -> None:
    for name, greys in (("hu", chest(1)), ("mr", np.abs(chest(2) + 1100))):
        dicom(tmp_path / "scans" / name, greys, name, Modality=modality)
    assert inspection.main([str(tmp_path / "scans")]) == 2
    told = capsys.readouterr().out
    refused = next(line for line in told.splitlines() if line.startswith("mr: "))
    assert "greys of " in refused
    assert told.count("its header calls it MR (Modality), not CT") == 2 * (modality == "MR")
    assert refused.startswith("mr: its header calls it MR (Modality), not CT; greys of ") == (modality == "MR")
    assert "1 of 2 clinical cases can be used" in told


@pytest.mark.parametrize(
    ("domain", "shape", "patch", "problem"),
    [
        ("micro", (6, 24, 56), [], "too few for a patch of 96: set data.micro.spacing=native"),  # the smallest
        ("micro", (6, 24, 56), ["--spacing", "native"], "too few for a patch of 96: leave it out"),
        ("micro", (6, 24, 56), ["--patch", "256"], "256: set data.micro.spacing=native or a smaller data.micro.patch"),
        ("micro", (6, 260, 256), [], None),
        ("micro", (6, 24, 56), ["--patch", "24"], None),
        ("clinical", (6, 40, 11), [], "40 x 11 pixels at 0.625 mm, too few for a patch of 12"),
        ("clinical", (6, 40, 24), ["--spacing", "0.3"], None),  # 83 x 50
        ("clinical", (6, 40, 24), ["--patch", "0"], None),
    ],
)
def test_a_patch_must_fit(tmp_path: Path, domain: str, shape, patch, problem: str | None, capsys) -> None:
    assert inspection.main(patched(tmp_path, domain, shape, patch)) == (0 if problem is None else 2)
    told = capsys.readouterr().out
    if problem is not None:
        (line,) = (
            line for line in told.splitlines() if line.startswith(f"a: case a has {shape[1]} x {shape[2]} pixels")
        )
        assert problem in line
    assert f"{int(problem is None)} of 1 {domain} cases can be used, of" in told


@pytest.mark.parametrize(
    ("domain", "shape", "keys"),
    [
        ("micro", (6, 140, 128), "too small for a patch of 256: give data.clinical.patch=16 data.micro.patch=128"),
        ("micro", (6, 96, 300), "too small for a patch of 256: give data.clinical.patch=12 data.micro.patch=96"),
        ("clinical", (6, 40, 27), "too small for a patch of 32: give data.clinical.patch=24 data.micro.patch=192"),
    ],
)
def test_a_smaller_patch_that_fits_is_told(tmp_path: Path, domain: str, shape, keys: str, capsys) -> None:
    assert inspection.main(patched(tmp_path, domain, shape, [])) == 0
    told = capsys.readouterr().out
    assert keys in told
    assert f"1 of 1 {domain} cases can be used, 1 of them with a smaller patch only, of 1 patient" in told


def patched(folder: Path, domain: str, shape: tuple[int, ...], patch: list[str]) -> list[str]:
    spacing = (0.078125,) * 3 if domain == "micro" else (2.0, 0.625, 0.625)
    nifti(folder / "a.nii", np.arange(np.prod(shape), dtype=np.int32).reshape(shape), spacing)
    return [str(folder / "a.nii"), "--domain", domain, "--headers", *patch]


def test_a_segmentation_is_no_specimen(tmp_path: Path) -> None:
    greys = np.zeros((4, 16, 16), np.uint8)
    greys[:, 4:9] = 255
    tifffile.imwrite(tmp_path / "a.tif", greys, photometric="minisblack")
    finding = inspect(Case("a", tmp_path / "a.tif"), MicroSettings(spacing=None, file_spacing=0.05))
    assert str(finding.refused).startswith("only two greys (0 and 255): a segmentation?")


@pytest.mark.parametrize("ending", ["tif", "png"])
def test_single_sections_of_several_animals_are_no_volume(tmp_path: Path, ending: str, capsys) -> None:
    root = tmp_path / "sections"
    root.mkdir()
    for k, name in enumerate(("ratA_section", "mouseB_section", "ratC_section", "dogD_section")):
        Image.fromarray(foam(k, slices=1)[0]).save(root / f"{name}.{ending}")
    assert inspection.main([str(root), "--domain", "micro", "--file-spacing", "0.05"]) == 2
    told = capsys.readouterr()
    assert told.err == ""
    assert (
        f"sections: {root} holds slices of no common name, such as dogD_section.{ending}, mouseB_section.{ending}, "
        f"ratA_section.{ending}, ratC_section.{ending}: number those of one volume alike, and give each volume a "
        "folder of its own\n0 of 1 micro cases can be used"
    ) in told.out


def test_brackets_are_printed_as_they_are(tmp_path: Path, capsys, monkeypatch) -> None:
    """They are a markup for colours to the library that prints."""
    odd = tmp_path / "[red]"
    odd.mkdir()
    tifffile.imwrite(odd / "ct[bold]:lungs:.tif", np.zeros((4, 20, 30), np.uint8), photometric="minisblack")
    monkeypatch.setattr("ctsr.imaging.hounsfield.not_hu", lambda volume: "a doubt [z,y,x] of [blue]")
    nifti(odd / "scan[i].nii.gz", chest(4))
    assert inspection.main([str(odd), "--files", "*"]) == 2
    told = capsys.readouterr()
    for text in ("ct[bold]:lungs:", "[z,y,x]> (in training", "scan[i]: a doubt [z,y,x] of [blue]"):
        assert text in told.out, text
    assert inspection.main([str(tmp_path / "[nowhere]")]) == 2
    assert capsys.readouterr().err.startswith(f"error: PATH={tmp_path / '[nowhere]'} does not exist")


@pytest.mark.parametrize("spacing", ["0", "-1", "nan", "inf", "1,2", "abc"])
def test_a_pixel_size_that_is_none(spacing: str, tmp_path: Path, capsys) -> None:
    scan = nifti(tmp_path / "ct.nii.gz", chest(4))
    assert inspection.main([str(scan), f"--spacing={spacing}"]) == 2
    told = capsys.readouterr()
    assert told.err.startswith(f"error: --spacing {spacing} is no ")
    assert (told.err.count("\n"), told.out) == (1, "")
