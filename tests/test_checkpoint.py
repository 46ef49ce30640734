"""Checkpoints are read as data, and whole; what is not one, is damaged or makes no sense is refused in a line."""

from __future__ import annotations

import hashlib
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from ctsr.checkpoint import load_sr, main, read_checkpoint, weights_digest, write_card
from ctsr.errors import UserError
from ctsr.imaging.intensity import Window
from ctsr.records.card import ModelCard
from tests.checkpoints import card, plain_card, sr_checkpoint
from tests.conftest import REPOSITORY

SHIPPED = REPOSITORY / "docs/results/phantom.ckpt"


@pytest.fixture
def contents() -> dict[str, Any]:
    """What a checkpoint holds, to be spoiled."""
    return sr_checkpoint()


@pytest.fixture
def checkpoint(contents: dict[str, Any], tmp_path: Path) -> Path:
    torch.save(contents, tmp_path / "last.ckpt")
    return tmp_path / "last.ckpt"


def test_sr_checkpoint_needs_no_other_file(checkpoint: Path, contents: dict[str, Any]) -> None:
    model = load_sr(checkpoint)
    assert model.card.window("clinical") == Window(-1000, 100)
    assert model.card.window("micro") == Window(100, 5000)
    assert model.card.pixel == (0.625, 0.625)
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
    from_sr, of_synth = read_checkpoint(checkpoint).network("G1"), read_checkpoint(tmp_path / "synth.ckpt").only("G1")
    assert of_synth.card.stage == "synth"
    from_synth = of_synth.network("G1")
    assert all(torch.equal(a, b) for a, b in zip(from_sr.parameters(), from_synth.parameters(), strict=True))
    assert not any(parameter.requires_grad for parameter in from_sr.parameters())


def test_an_average_is_used_where_there_is_one(tmp_path: Path, contents: dict[str, Any]) -> None:
    state = contents["state_dict"]
    averaged = {name: value + 1 for name, value in state.items() if name.startswith("GS.")}
    state |= {f"average.module.{name.removeprefix('GS.')}": value for name, value in averaged.items()}
    torch.save(contents, tmp_path / "averaged.ckpt")
    loaded = load_sr(tmp_path / "averaged.ckpt").GS.state_dict()
    assert all(torch.equal(loaded[name.removeprefix("GS.")], value) for name, value in averaged.items())


def test_what_is_given_away_is_held_no_longer(checkpoint: Path) -> None:
    read = read_checkpoint(checkpoint)
    assert set(read.release()) == {"state_dict", "ctsr"}
    assert read.card.stage == "sr"
    with pytest.raises(UserError, match="damaged"):
        read.network("GS")


# --- the card


@pytest.mark.parametrize(
    "former",
    [
        {},
        {"inputs": None, "stage": "synth", "batches": 5, "patients": {"train": ["9f"]}, "scale_ratio": 1.02},
        {"name": 7},
        {"grey_maps": {"clinical": {"knots": [-1.0, 0.0, 1.0], "values": [0.1, 0.1 - 2e-17, 0.1 - 1e-16]}}},
        {"clinical_slice_mm": 30.0},
        {"preparation": plain_card()["preparation"] | {"data.micro.spacing": 0.05}},
        {"cases": {"micro": {"train": ["b"], "val": [], "test": []}}, "grey_maps": {}, "clinical_slice_mm": 0.6},
        {"of_a_later_version": [1, {"two": 3.5}]},
        {"slice_thickness_mm": 1.25, "weights_sha256": "0" * 64},
    ],
)
def test_a_card_is_told_as_it_was_read(former: dict[str, Any]) -> None:
    plain = plain_card(**former)
    expected = plain | {"name": str(plain["name"])}
    assert card(**former).to_plain() == expected
    assert yaml.safe_load(yaml.safe_dump(expected)) == expected


def test_the_shipped_checkpoint_keeps_its_card() -> None:
    plain = torch.load(SHIPPED, weights_only=True)["ctsr"]
    assert plain["name"] == "ours"  # what is now called scanner
    assert read_checkpoint(SHIPPED).card.to_plain() == plain | {"name": "scanner"}


def test_calibrated_greys_are_hu() -> None:
    line = {"knots": [-2.0, 2.0], "values": [-2.0, 1.6]}  # 0.9 g - 0.2
    calibrated = card(grey_maps=plain_card()["grey_maps"] | {"calibrated": line})
    # -1 and 1 become -1.1 and 0.7, of which -450 HU are the middle and 550 HU one unit
    assert (calibrated.hu.low, calibrated.hu.high) == pytest.approx((-1055.0, -65.0), abs=1e-3)
    assert card().hu == Window(-1000, 100)


def test_materials_are_those_of_the_configuration() -> None:
    assert card().materials == (-1000, 45)
    assert card(config="data:\n  micro:\n    materials: [-990, 30.5]\n").materials == (-990, 30.5)


def test_a_digest_is_of_names_types_shapes_and_values() -> None:
    weights = {"b": torch.arange(6.0).reshape(2, 3), "a": torch.tensor(7)}
    by_hand = hashlib.sha256()
    by_hand.update(b"a torch.int64 ()\n" + np.int64(7).tobytes())
    by_hand.update(b"b torch.float32 (2, 3)\n" + np.arange(6, dtype=np.float32).tobytes())
    assert weights_digest(weights) == by_hand.hexdigest()
    turned = weights | {"b": weights["b"].t().contiguous().t()}  # in another order in memory
    assert weights_digest(turned) == by_hand.hexdigest()
    other = [{"b": weights["b"].reshape(3, 2)}, {"a": torch.tensor(7.0)}, {"b": -weights["b"]}, {"c": weights["b"]}]
    assert len({weights_digest(weights | one) for one in other} | {by_hand.hexdigest()}) == 5


def test_what_is_written_is_read(contents: dict[str, Any], tmp_path: Path) -> None:
    told = plain_card(networks=contents["ctsr"]["networks"])
    write_card(contents, card(networks=told["networks"]), batches=12)
    assert contents["ctsr"] == told | {"batches": 12, "weights_sha256": weights_digest(contents["state_dict"])}
    torch.save(contents, tmp_path / "new.ckpt")
    assert read_checkpoint(tmp_path / "new.ckpt").card.to_plain() == contents["ctsr"]


def test_a_card_is_printed_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    main([str(SHIPPED)])
    told = capsys.readouterr().out
    fields = yaml.safe_load(told)
    assert list(fields)[0:2] == ["format", "stage"]
    assert fields["spacing"]["clinical"] == [0.625, 0.625]
    assert fields["grey_maps"]["calibrated"] == "2 knots, -1 to 1 become -1.071 to 0.9577"
    assert "micro case specimen_000" in fields["trained_on"]
    assert fields["config"]["networks"]["GS"]["kernel"] == 5
    assert max(map(len, told.splitlines())) < 180


def test_the_page_lists_every_field() -> None:
    page = (REPOSITORY / "docs/checkpoint.md").read_text()
    told = re.findall(r"^\| `([a-z_0-9]+)` \|", page, re.MULTILINE)
    assert sorted(told) == sorted(ModelCard.model_fields)


# --- what is refused


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


def no_clinical_scans(checkpoint: dict[str, Any]) -> None:
    checkpoint["ctsr"] |= {"cases": {"micro": {"train": ["b"]}}, "grey_maps": {}}


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
        (no_clinical_scans, "trained without clinical scans"),
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


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a ctsr checkpoint"),
        (b"no checkpoint", "not a ctsr checkpoint"),
        (b"PK\x03\x04 half a zip", "is cut short"),
    ],
)
def test_other_files_are_refused(content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "x.ckpt").write_bytes(content)
    with pytest.raises(UserError, match=message):
        load_sr(tmp_path / "x.ckpt")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere\.ckpt is not a file"):
        load_sr(tmp_path / "nowhere.ckpt")


def test_no_flipped_bit_is_used(tmp_path: Path) -> None:
    """At any place of a file that has no digest: it is refused, or it is a place that holds nothing."""
    whole, state = SHIPPED.read_bytes(), torch.load(SHIPPED, weights_only=True)["state_dict"]
    damaged = tmp_path / "damaged.ckpt"
    refused = 0
    for place in np.random.default_rng(0).integers(0, len(whole), 60).tolist():
        spoiled = bytearray(whole)
        spoiled[place] ^= 1 << place % 8
        damaged.write_bytes(spoiled)
        try:
            read = read_checkpoint(damaged).release()["state_dict"]
        except UserError:
            refused += 1
        else:
            assert all(torch.equal(read[name], value) for name, value in state.items()), place
    assert refused > 50


def test_no_cut_file_is_used(tmp_path: Path) -> None:
    whole = SHIPPED.read_bytes()
    for share in (0.001, 0.1, 0.5, 0.9, 0.999):
        (tmp_path / "cut.ckpt").write_bytes(whole[: int(share * len(whole))])
        with pytest.raises(UserError, match=r"cut\.ckpt is cut short"):
            read_checkpoint(tmp_path / "cut.ckpt")
