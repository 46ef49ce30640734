"""The program as it is typed: any path works, a mistake is one line."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

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


def infer(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> object:
    """Run the program in this process; gives its exit code."""
    monkeypatch.setattr(sys, "argv", [str(PROGRAM), *arguments])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(PROGRAM), run_name="__main__")
    return ended.value.code


@pytest.mark.parametrize("path", ODD_PATHS)
def test_hydra_takes_any_path_as_it_is(path: str) -> None:
    program: dict[str, Any] = runpy.run_path(str(PROGRAM))
    arguments = program["quoted"]([f"input={path}", "roi=[0,1,0,1,0,1]"], program["PATHS"])
    assert arguments[1] == "roi=[0,1,0,1,0,1]"
    override = OverridesParser.create().parse_override(arguments[0])
    cfg = OmegaConf.create({"input": None})
    OmegaConf.update(cfg, "input", str(override.value()))
    assert OmegaConf.to_container(cfg, resolve=True) == {"input": path}


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
    ("arguments", "message"),
    [
        ([], "ckpt= input= output= missing"),
        (["inptu=a"], "inptu"),
        (["ckpt=nowhere.ckpt", "input=a", "output=b.nii"], "nowhere.ckpt is not a file"),
        (["ckpt=CKPT", "input=nowhere", "output=b.nii"], "nowhere does not exist"),
        (["ckpt=CKPT", "input=nowhere", "output=b.mha"], "b.mha cannot be written"),
        (["ckpt=CKPT", "input=nowhere", "output=b.nii", "tile=-1"], "tile=-1"),
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
