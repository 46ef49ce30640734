"""Checkpoints are read as data; what is not one is refused in a line."""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from ctsr.errors import UserError
from ctsr.imaging.intensity import Window
from ctsr.inference.checkpoint import load_g1, load_sr


def test_sr_checkpoint_needs_no_other_file(checkpoint: Path, contents: dict[str, Any]) -> None:
    model = load_sr(checkpoint)
    assert model.window("clinical") == Window(-1000, 100)
    assert model.window("micro") == Window(100, 5000)
    assert model.spacing == (0.625, 0.625)
    assert model.sha256 == hashlib.sha256(checkpoint.read_bytes()).hexdigest()
    assert not model.GS.training
    weights = contents["state_dict"]
    assert all(torch.equal(value, weights[f"GS.{name}"]) for name, value in model.GS.state_dict().items())


def test_g1_is_read_from_both_stages(checkpoint: Path, contents: dict[str, Any], tmp_path: Path) -> None:
    synth = contents
    synth["ctsr"]["stage"] = "synth"
    synth["state_dict"] = {
        name.replace("G1.net.", "G1."): value for name, value in synth["state_dict"].items() if name.startswith("G1.")
    }
    torch.save(synth, tmp_path / "synth.ckpt")
    from_sr, _ = load_g1(checkpoint)
    from_synth, meta = load_g1(tmp_path / "synth.ckpt")
    assert meta["stage"] == "synth"
    assert all(torch.equal(a, b) for a, b in zip(from_sr.parameters(), from_synth.parameters(), strict=True))
    assert not any(parameter.requires_grad for parameter in from_sr.parameters())


def stage_synth(checkpoint: dict[str, Any]) -> None:
    checkpoint["ctsr"]["stage"] = "synth"


def older_format(checkpoint: dict[str, Any]) -> None:
    checkpoint["ctsr"]["format"] = 1


def newer_format(checkpoint: dict[str, Any]) -> None:
    checkpoint["ctsr"]["format"] = 99


def another_program(checkpoint: dict[str, Any]) -> None:
    del checkpoint["ctsr"]


def other_weights(checkpoint: dict[str, Any]) -> None:
    checkpoint["state_dict"].popitem()
    checkpoint["state_dict"] = {k: v for k, v in checkpoint["state_dict"].items() if k != "GS.last.bias"}


def unknown_argument(checkpoint: dict[str, Any]) -> None:
    checkpoint["ctsr"]["networks"]["GS"] = {"chanels": 4}


def no_network(checkpoint: dict[str, Any]) -> None:
    del checkpoint["ctsr"]["networks"]["GS"]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (stage_synth, "is a synth checkpoint: train stage=sr with synth_ckpt="),
        (newer_format, "checkpoint format 99.*update ctsr"),
        (older_format, "checkpoint format 1.*train it again"),
        (another_program, "not a ctsr checkpoint"),
        (other_weights, "damaged"),
        (unknown_argument, "damaged"),
        (no_network, "no network GS"),
    ],
)
def test_refused_in_one_line(
    tmp_path: Path, contents: dict[str, Any], spoil: Callable[[dict[str, Any]], None], message: str
) -> None:
    spoil(contents)
    torch.save(contents, tmp_path / "spoiled.ckpt")
    with pytest.raises(UserError, match=message) as caught:
        load_sr(tmp_path / "spoiled.ckpt")
    assert "\n" not in str(caught.value)
    assert "spoiled.ckpt" in str(caught.value)


class Bomb:
    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return Path.touch, (Path("exploded"),)  # type: ignore[return-value]


def test_nothing_is_executed(tmp_path: Path, contents: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save(contents | {"bomb": Bomb()}, "bomb.ckpt")
    Path("bomb.pkl").write_bytes(pickle.dumps(Bomb(), protocol=2))
    for name in ("bomb.ckpt", "bomb.pkl"):
        with pytest.raises(UserError, match="not a ctsr checkpoint"):
            load_sr(name)
    assert not Path("exploded").exists()


@pytest.mark.parametrize("content", [b"", b"no checkpoint", b"PK\x03\x04 half a zip"])
def test_other_files_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.ckpt").write_bytes(content)
    with pytest.raises(UserError, match="not a ctsr checkpoint"):
        load_sr(tmp_path / "x.ckpt")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere\.ckpt is not a file"):
        load_sr(tmp_path / "nowhere.ckpt")


def test_an_average_is_used_where_there_is_one(tmp_path: Path, contents: dict[str, Any]) -> None:
    state = contents["state_dict"]
    averaged = {name: value + 1 for name, value in state.items() if name.startswith("GS.")}
    state |= {f"average.module.{name.removeprefix('GS.')}": value for name, value in averaged.items()}
    torch.save(contents, tmp_path / "averaged.ckpt")
    loaded = load_sr(tmp_path / "averaged.ckpt").GS.state_dict()
    assert all(torch.equal(loaded[name.removeprefix("GS.")], value) for name, value in averaged.items())
