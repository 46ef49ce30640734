"""What each method is, key by key: names are true, and mixtures that contradict themselves are refused."""

from __future__ import annotations

import re
from typing import Any

import pytest
from omegaconf import OmegaConf

import train
from ctsr.errors import CollectedError, UserError
from ctsr.methods import IN_PLACE, METHODS, PAPER, SCANNER, check_g1, current_name, described, misnamed
from ctsr.records.clashes import Values
from tests.conftest import REPOSITORY
from tests.test_conf import composed, options

TRANSLATOR = {
    "filters": 64,
    "blocks": 9,
    "downsamplings": 2,
    "norm": "instance",
    "padding": "reflect",
    "residual": False,
    "output": "tanh",
}
JUDGE = {"filters": 64, "layers": 2, "norm": "instance", "spectral": False, "highpass": 0.0}
SYNTH: dict[str, Any] = {  # section 3.2, and what it takes over from CycleGAN (READING 1 to 5, 8)
    "loss.lambda_cycle": 10.0,
    "loss.lambda_identity": 0.0,
    "loss.lambda1": 0.5,
    "loss.lambda2": 0.4,
    "loss.lambda_detail": 0.0,
    "loss.ssim": {
        "C1": 0.02, "C2": 0.06, "window": 11, "sigma": 1.5, "as_printed": False, "domain": "signed",
    },
    "networks.G1": {"kind": "resnet", "greys": "learned", "kernel": 7, "noise": False, **TRANSLATOR},
    "networks.G2": TRANSLATOR,
    "networks.D1": JUDGE,
    "networks.D2": JUDGE,
    "synth": {
        "best": {"monitor": "val/swd", "mode": "min", "best": 1},
        "epochs": 200,
        "pool_size": 50,
        "optimizer": {"lr": 2e-4, "betas": [0.5, 0.999], "decay": "linear", "decay_start": 0.5, "clip": None},
    },
}  # fmt: skip
SR: dict[str, Any] = {  # section 3.2 and SRGAN (READING 7, 8)
    "loss.lambda_adv": 0.001,
    "loss.warmup": 0.0,
    "networks.GS": {
        "channels": 64, "blocks": 16, "norm": "batch", "kernel": 9, "skip": "none", "icnr": True, "blur": False,
    },
    "networks.DS": {"filters": 64, "pairs": 4, "features": 1024, "norm": "batch", "spectral": True},  # READING 21
    "sr": {
        "inputs": "G1",
        "pairs": None,
        "best": {"monitor": "val/ssim", "mode": "max", "best": 1},
        "epochs": 200,
        "margin": 0,
        "noise": [1.0, 1.0],
        "spread": [1.0, 1.0],
        "ema": None,
        "optimizer": {"lr": 1e-4, "betas": [0.9, 0.999], "decay": "step", "decay_start": 0.5, "clip": None},
    },
}  # fmt: skip
DATA = {
    "data.clinical.patch": 32,
    "data.micro.patch": 256,
    "data.clinical.window": [-1000, 100],
    "data.micro.percentiles": [0.5, 99.5],
    "data.micro.target": "centre",
    "data.patches_per_case": 2000,
    "data.global_batch_size": 64,
}
MATCHED = {"data.clinical.spacing": 0.625, "data.micro.spacing": 0.078125, "data.micro.slab_mm": "auto"}
NATIVE = {"data.clinical.spacing": "native", "data.micro.spacing": "native", "data.micro.slab_mm": 0}
BEYOND: dict[str, Any] = {  # all that method=scanner changes
    "loss.lambda_cycle": 5.0,
    "loss.lambda_detail": 10.0,
    "networks.G1.kind": "scanner",
    "networks.G1.greys": "calibrated",
    "networks.G1.noise": True,
    "networks.G2.downsamplings": 0,
    "networks.G2.norm": "none",
    "networks.G2.padding": "zeros",
    "networks.G2.residual": True,
    "networks.G2.output": "linear",
    "networks.D1.highpass": 8.0,
    "networks.D2.highpass": 8.0,
    "loss.warmup": 0.6,
    "networks.GS.skip": "bicubic",
    "networks.GS.blur": True,
    "sr.margin": 3,
    "sr.noise": [1.0, 3.0],
    "sr.spread": [0.25, 1.75],
    "sr.ema": 0.999,
}
KEEPING: dict[str, Any] = {  # all that method=paper_in_place changes
    **{
        f"networks.{translator}.{key}": value
        for translator in ("G1", "G2")
        for key, value in {"downsamplings": 0, "norm": "none", "residual": True, "output": "linear"}.items()
    },
    "loss.warmup": 0.6,
    "networks.GS.skip": "bicubic",
    "networks.GS.blur": True,
}
STAGES = {"synth": SYNTH, "sr": SR, "all": SYNTH | SR}


def flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested keys with dots between them."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        found |= flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return found


def chosen(*overrides: str) -> dict[str, Any]:
    """The keys that a method consists of; the rest (devices, logging, folders) is the same for all."""
    cfg = composed(*overrides, "data=volumes")
    values = flat(OmegaConf.to_container(cfg, resolve=False))  # type: ignore[arg-type]
    known = {key for key in values if re.match(r"loss\.|networks\.|synth\.|sr\.", key)}
    return {key: values[key] for key in known | (DATA | MATCHED).keys()}


@pytest.mark.parametrize("stage", STAGES)
def test_bare_commands_are_the_papers_method_at_matched_scale(stage: str) -> None:
    assert composed(f"stage={stage}").name == PAPER
    assert chosen(f"stage={stage}") == flat(STAGES[stage]) | DATA | MATCHED


@pytest.mark.parametrize("stage", STAGES)
def test_experiment_paper_is_section_3_2_for_any_stage(stage: str) -> None:
    cfg = composed(f"stage={stage}", "experiment=paper")
    assert (cfg.name, cfg.published) == (PAPER, True)
    expected = flat(STAGES[stage]) | DATA | NATIVE
    assert chosen(f"stage={stage}", "experiment=paper") == expected | {"networks.DS.spectral": False}


@pytest.mark.parametrize("stage", ["synth", "sr"])
def test_the_papers_stages_have_presets_of_their_own(stage: str) -> None:
    assert chosen(f"experiment=paper_{stage}") == chosen(f"stage={stage}", "experiment=paper")
    assert chosen(f"experiment=paper_{stage}", "stage=all") == chosen("stage=all", "experiment=paper")


def test_the_papers_baseline() -> None:
    cfg = composed("experiment=paper_sr_cyclegan")
    assert (cfg.name, cfg.stage, cfg.data.global_batch_size) == ("sr_cyclegan", "sr_cyclegan", 4)
    assert {key: OmegaConf.select(cfg, key) for key in NATIVE} == NATIVE


@pytest.mark.parametrize(("method", "beyond"), [(SCANNER, BEYOND), (IN_PLACE, KEEPING)])
@pytest.mark.parametrize("stage", STAGES)
def test_a_method_changes_what_its_file_says_and_nothing_else(stage: str, method: str, beyond: dict[str, Any]) -> None:
    assert composed(f"stage={stage}", f"method={method}").name == method
    papers, changed = chosen(f"stage={stage}"), chosen(f"stage={stage}", f"method={method}")
    for key, value in papers.items():
        assert changed[key] == beyond.get(key, value), key
    assert {key: changed[key] for key in beyond} == beyond


def test_each_departure_stands_once_with_what_it_earned() -> None:
    lines = (REPOSITORY / "conf/method/scanner.yaml").read_text().splitlines()
    keys = [line.split(":")[0].strip() for line in lines if ": " in line and not line.lstrip().startswith("#")]
    settings = [line for line in lines if re.match(r" +\w+: +\S", line)]
    assert len(settings) >= 12
    for line in settings[:-1]:
        assert "# " in line or "D2" in line, f"without a comment: {line}"
    assert {"lambda_cycle", "kind", "skip", "margin"} <= set(keys)
    others = [path for path in (REPOSITORY / "conf").rglob("*.yaml") if path.parent.name != "method"]
    for path in others:
        if path.parent.name in ("experiment", "data", "sweep"):
            assert not re.search(
                r"kind: scanner|lambda_detail|warmup|highpass: [1-9]|ema: 0|blur: true", path.read_text()
            )


@pytest.mark.parametrize(
    "name", [name for name in options("method") if name not in (SCANNER, IN_PLACE, "no_ssim", "sr_cyclegan")]
)
def test_rows_of_comparison_differ_from_scanner_in_what_they_are_named_for(name: str) -> None:
    row, scanner = chosen(f"method={name}"), chosen("stage=sr", "method=scanner")
    changed = {key for key in row if row[key] != scanner.get(key)}
    assert changed == ({"loss.lambda_adv"} if name == "l2" else {"sr.inputs"})


def test_no_ssim_is_the_papers_without_its_terms() -> None:
    row, paper = chosen("method=no_ssim"), chosen("stage=all")
    assert {key for key in row if row[key] != paper[key]} == {"loss.lambda1", "loss.lambda2"}
    assert (row["loss.lambda1"], row["loss.lambda2"]) == (0.0, 0.0)


def named(*overrides: str) -> None:
    cfg = train.plain(composed(*overrides))
    if lines := list(misnamed(cfg["name"], cfg["stage"], cfg["published"], Values(cfg, ()).__getitem__)):
        raise CollectedError(lines)


@pytest.mark.parametrize("experiment", ["demo", "study", "smoke", "paper"])
@pytest.mark.parametrize("stage", STAGES)
def test_names_that_are_true_are_taken(stage: str, experiment: str) -> None:
    named(f"stage={stage}", f"experiment={experiment}")
    if experiment != "paper":
        named(f"stage={stage}", f"experiment={experiment}", "method=scanner")


@pytest.mark.parametrize("method", options("method"))
def test_every_method_is_what_it_is_called(method: str) -> None:
    stage = METHODS[method].stages[-1]
    named(f"stage={stage}", f"method={method}")
    named(f"stage={stage}", f"method={method}", "experiment=study")


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (("stage=synth", "experiment=paper", "method=scanner"), ("experiment=paper", "method=scanner")),
        (("stage=sr", "experiment=paper", "method=scanner"), ("experiment=paper", "method=scanner")),
        (("experiment=paper_sr", "method=scanner"), ("experiment=paper", "method=scanner")),
        (("stage=sr", "experiment=paper", "method=l2"), ("experiment=paper", "method=l2")),
        (("stage=sr_cyclegan", "experiment=paper"), ("experiment=paper", "sr_cyclegan")),
        (("stage=all", "networks.G1.kind=scanner"), ("networks.G1.kind=scanner", "paper", "resnet")),
        (("stage=all", "method=scanner", "networks.G1.kind=resnet"), ("networks.G1.kind=resnet", "scanner")),
        (("stage=sr", "sr.ema=0.999"), ("sr.ema=0.999", "null", "name=")),
        (("stage=sr", "sr.inputs=fx"), ("sr.inputs=fx", "G1")),
        (("stage=synth", "method=fx"), ("method=fx", "stage=synth", "stage=sr")),
        (("stage=sr", "method=sr_cyclegan"), ("method=sr_cyclegan", "stage=sr")),
        (("stage=sr_cyclegan", "method=scanner"), ("method=scanner", "stage=sr_cyclegan")),
        (("method=no_ssim", "loss.lambda1=0.5"), ("loss.lambda1=0.5", "no_ssim")),
        (("stage=synth", "name=scanner"), ("networks.G1.kind=resnet", "scanner")),
        (("stage=all", "name=paper_in_place"), ("networks.G1.residual=false", "paper_in_place", "true")),
        (("stage=all", "experiment=paper", "method=paper_in_place"), ("experiment=paper", "paper_in_place")),
    ],
)
def test_mixtures_that_contradict_themselves_are_refused(overrides: tuple[str, ...], words: tuple[str, ...]) -> None:
    with pytest.raises(UserError) as refusal:
        named(*overrides)
    assert all(word in str(refusal.value) for word in words), refusal.value


def test_a_name_of_ones_own_takes_any_mixture() -> None:
    named("stage=all", "networks.G1.kind=scanner", "sr.ema=0.999", "name=mine")
    assert described("mine").startswith("method mine")
    assert "in place of the paper's G1" in described(SCANNER)


def test_g1_comes_from_the_same_method() -> None:
    for name, made_by in (
        (PAPER, PAPER),
        (SCANNER, SCANNER),
        ("l2", SCANNER),
        ("mine", SCANNER),
        ("no_ssim", "no_ssim"),
    ):
        check_g1(name, made_by, "g1.ckpt")
    for name, made_by in ((PAPER, SCANNER), (SCANNER, PAPER), ("l2", PAPER), (PAPER, "mine"), (PAPER, "no_ssim")):
        with pytest.raises(UserError, match=rf"g1\.ckpt was trained with method={made_by}, this run is method={name}"):
            check_g1(name, made_by, "g1.ckpt")


def test_names_of_older_checkpoints() -> None:
    assert current_name("ours", {"G1": {"kind": "scanner"}}) == SCANNER
    assert current_name("ours", {"G1": {"kind": "resnet", "residual": True}}) == "ours", "not the paper's either"
    assert current_name("fx", {"G1": {"kind": "unchanged"}}) == "fx"
