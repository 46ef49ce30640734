"""Every key of a run says what it takes: wrong values of each, and values that clash, are a line that names the key."""

from __future__ import annotations

import copy
import subprocess
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from math import inf, nan
from pathlib import Path
from typing import Any

import pytest
import yaml
from omegaconf import OmegaConf

import train
from ctsr.errors import CollectedError, UserError
from ctsr.records.run import MADE, Run, as_yaml, read_run
from ctsr.records.settings import Settings, takes
from ctsr.training.check import refuse
from tests.test_conf import composed, options

Command = Callable[..., "subprocess.CompletedProcess[str]"]
Composed = dict[str, Any]

STAGES = ("synth", "sr", "sr_cyclegan")
GIVEN = {"synth": (), "sr": ("sr.inputs=fx",), "sr_cyclegan": ()}  # so that stage sr needs no checkpoint

# --- wrong values of each kind of key, and values at the edge that are right

WHOLE = ((-1, 1.5, "many", None, True, nan), (0, 7))
COUNT = ((0, -1, 2.0, "3", None, True), (1, 7))
FLAG = ((2, "yes", None), (True, False))
WORD = ("sharp", 3, None)
NOT_NEGATIVE = ((-0.1, "much", None, nan, inf, False), (0, 0.5, 10))
POSITIVE = ((0, -1e-4, "slow", None, nan, inf, True), (1e-9, 3))
SHARE = ((-0.1, 1.01, 2, "half", None, nan, True), (0, 0.5, 1))
LESS_THAN_ALL = ((-0.1, 1, 2, "half", nan, True), (0, 0.999, None))
TEXT = (("", 3, True, [1]), ("a/b", None))
MILLIMETRES = ((0, -1, 21, nan, inf, "inch", [1, 1, 1], None, True), (0.05, 20, "native"))
FACTORS = ((2, [2, 1], [-1, 1], [1], [1, 2, 3], ["a", "b"], None, [nan, 1]), ([1, 1], [0.25, 1.75]))
ODD = ((0, 10, -1, 3.0, "wide", True), (1, 11))

NETWORK = {
    "filters": COUNT,
    "blocks": WHOLE,
    "downsamplings": ((-1, 0.5, "two", None), (0, 1)),
    "norm": (("layer", 1, None), ("batch", "instance", "none")),
    "padding": (("same", 1), ("reflect", "zeros")),
    "residual": FLAG,
    "output": (("relu", None), ("linear", "tanh")),
    "layers": ((0, -1, 1.5, "deep", None), (1, 2)),
    "spectral": FLAG,
    "highpass": NOT_NEGATIVE,
}
OPTIMIZER = {
    "lr": POSITIVE,
    "betas": ((0.9, [0.5], [0.5, 1], [-0.1, 0.9], [0.5, 0.9, 0.9], None, "adam"), ([0, 0.9], [0.5, 0.999])),
    "decay": (("cosine", 1, None), ("linear", "step")),
    "decay_start": ((-0.1, 1.5, 9, "late", None), (0, 0.5)),
    "clip": ((0, -1, "hard", nan), (1, 0.5, None)),
}
SSIM = {
    "C1": POSITIVE,
    "C2": POSITIVE,
    "window": (ODD[0], (1, 11, None)),
    "sigma": POSITIVE,
    "as_printed": FLAG,
    "domain": (("[0,1]", None), ("signed", "unit")),
}
BEST = {"mode": (("least", None), ("min", "max")), "best": WHOLE}
DOMAIN = {
    "root": TEXT,
    "files": TEXT,
    "patient": (("", True, [1]), (None, "case", 7)),
    "spacing": MILLIMETRES,
    "file_spacing": ((0, -1, 21, "inch", [1, 1], [1, 1, 0], True), (None, 0.05, [1, 0.05, 0.05])),
    "series": (("", True, [1]), (None, 3, "LUNG")),
    "masks": TEXT,
    "cover": SHARE,
}
NAMES_OR_SHARE = ((1, 1.5, -0.1, True, None, [True], ""), (0, 0.15, ["a", 7], "patient1", []))


def below(prefix: str, *groups: Mapping[str, Any]) -> dict[str, Any]:
    return {f"{prefix}.{key}": values for group in groups for key, values in group.items()}


def network(name: str, *keys: str) -> dict[str, Any]:
    return below(f"networks.{name}", {key: NETWORK[key] for key in keys})


RESNET = ("filters", "blocks", "downsamplings", "norm", "padding", "residual", "output")
JUDGE = ("filters", "layers", "norm", "spectral", "highpass")
KEYS: dict[str, tuple[tuple[Any, ...], tuple[Any, ...]]] = {
    "stage": (("srr", None, 1), ()),
    "name": (("", None, True, ["a"]), ("mine", 7)),
    "seed": ((-1, 1.5, 2**32, "x", None, True), (0, 2**32 - 1)),
    "resume": (("", 3, True), (None, "auto")),
    "synth_ckpt": (("", 3, True), (None,)),
    "prepare_only": FLAG,
    "evaluate": FLAG,
    "published": ((2, "yes", None), (False,)),
    "data.list": TEXT,
    **below("data.clinical", DOMAIN),
    **below("data.micro", DOMAIN),
    "data.clinical.window": (([100, -1000], [0, 0], [1], [1, 2, 3], "lung", None, [nan, 1]), ([-1000, 100.5],)),
    "data.clinical.patch": ((0, 10, 8, 30, -4, 32.0, "big", None), (32,)),
    "data.micro.patch": ((0, -8, 256.0, "big", None), (256,)),
    "data.micro.slab_mm": ((-1, "thick", None, nan, True), ("auto", 0, 0.6)),
    "data.micro.target": (("middle", None), ("centre", "slab")),
    "data.micro.percentiles": (([99, 1], [0.5], [-1, 99], [1, 101], "all", None), ([0, 100],)),
    "data.micro.materials": (([45, -1000], [0, 0], [1], "air", None), ([-1000, 45],)),
    "data.paired.root": TEXT,
    "data.split.mode": (("fold", None), ("case", "slab")),
    "data.split.val": NAMES_OR_SHARE,
    "data.split.test": NAMES_OR_SHARE,
    "data.split.gap_mm": NOT_NEGATIVE,
    "data.phantom.root": (("", None, 3), ("lungs",)),
    "data.phantom.seed": ((-1, 0.5, None), (3,)),
    **{f"data.phantom.{kind}_cases": WHOLE for kind in ("clinical", "micro", "paired", "empty")},
    **{f"data.phantom.{kind}_slices": COUNT for kind in ("clinical", "micro", "paired")},
    **{f"data.phantom.{kind}_pixels": ((0, -1, 2.0, "3", None), (256,)) for kind in ("clinical", "micro", "paired")},
    "data.phantom.factor": COUNT,
    "data.phantom.clinical_spacing": ((0, -1, 30, None), (0.625,)),
    **{
        f"data.phantom.{name}": ((0.1, [0.2, 0.1], [-1, 1], None, [1, 2, 3]), ([0.1, 0.2],))
        for name in (
            *("cell_edge", "tissue_share", "vessel_diameter", "nodule_radius", "clinical_spread", "clinical_noise"),
            *("clinical_cutoff", "micro_gain", "micro_offset", "micro_blur", "micro_noise", "micro_rings"),
        )
    },
    "data.phantom.micro_spacing": (([0.2, 0.1], [0, 0.1], 0.1, None), ([0.05, 0.06],)),
    "data.phantom.nodule_probability": SHARE,
    "data.phantom.slice_width": NOT_NEGATIVE,
    "data.patches_per_case": COUNT,
    "data.val_patches": COUNT,
    "data.global_batch_size": COUNT,
    "data.accumulate": ((0, -1, 1.5, "two", None), (1, 2)),
    "data.augment": FLAG,
    "data.workers": WHOLE,
    "data.cache": (("", None, 3), ("cache",)),
    "trainer.accelerator": (("tpus", None, 1), ("auto", "cpu", "gpu")),
    "trainer.devices": (
        (0, -2, "0", "many", "1,,2", [], [-1], 1.5, None, True),
        (1, 4, -1, "auto", "4", "0,", "0,3", [0, 1], "-1"),
    ),
    "trainer.strategy": (("dpp", None, "fsdp"), ("auto", "ddp_find_unused_parameters_true")),
    "trainer.precision": (("foo", 8, None), ("auto", "32-true", "bf16-mixed", "16-mixed", 32, "bf16")),
    "trainer.num_nodes": ((0, -1, "two", None), (1, 2)),
    "trainer.max_epochs": ((0, -1, 1.5, "long"), (None, 1)),
    "trainer.limit_train_batches": ((-1, 1.5, "all", None, nan, True, 0, 0.0), (1.0, 0.5, 1, 20)),
    "trainer.limit_val_batches": ((-1, 1.5, "all", None, nan, True), (1.0, 0.5, 0, 20)),
    "trainer.check_val_every_n_epoch": COUNT,
    "trainer.log_every_n_steps": COUNT,
    "trainer.val_check_interval": ((0, 0.0, -1, 1.5, "often", True), (0.5, 3, None)),
    "trainer.srun": FLAG,
    "trainer.sync_batchnorm": FLAG,
    "trainer.enable_progress_bar": FLAG,
    "trainer.deterministic": ((2, "very", None), (True, False, "warn")),
    "checkpoint.every_n_batches": WHOLE,
    "guard.action": (("panic", None, 1), ("warn", "stop", "rewind")),
    "guard.rewinds": WHOLE,
    "guard.patience": COUNT,
    "panels.count": COUNT,
    "panels.every": COUNT,
    # synth
    **network("G1", *RESNET),
    **network("G2", *RESNET),
    "networks.G1.kind": (("unchanged", 1, None), ("resnet", "scanner")),
    "networks.G1.greys": (("guessed", 1, None), ("calibrated", "learned")),
    "networks.G1.kernel": ODD,
    "networks.G1.noise": FLAG,
    **{key: values for judge in ("D1", "D2", "DA", "DB") for key, values in network(judge, *JUDGE).items()},
    "loss.lambda_cycle": NOT_NEGATIVE,
    "loss.lambda_identity": NOT_NEGATIVE,
    "loss.lambda1": NOT_NEGATIVE,
    "loss.lambda2": NOT_NEGATIVE,
    "loss.lambda_detail": NOT_NEGATIVE,
    **below("loss.ssim", SSIM),
    # sr
    "networks.GS.channels": COUNT,
    "networks.GS.blocks": WHOLE,
    "networks.GS.norm": NETWORK["norm"],
    "networks.GS.kernel": ODD,
    "networks.GS.skip": (("linear", 1, None), ("none", "bilinear", "bicubic")),
    "networks.GS.icnr": FLAG,
    "networks.GS.blur": FLAG,
    "networks.DS.filters": COUNT,
    "networks.DS.pairs": COUNT,
    "networks.DS.features": COUNT,
    "networks.DS.norm": NETWORK["norm"],
    "networks.DS.spectral": FLAG,
    "loss.lambda_adv": NOT_NEGATIVE,
    "loss.warmup": SHARE,
    "sr.inputs": (("G2", 1, None), ("fx", "quantiles")),
    "sr.pairs": TEXT,
    "sr.margin": ((-1, 1.5, "wide", None), (0, 3)),
    "sr.noise": FACTORS,
    "sr.spread": FACTORS,
    "sr.ema": LESS_THAN_ALL,
    # sr_cyclegan
    "networks.GA.filters": ((0, 12, 8.0, "many", None), (8, 64)),
    "networks.GA.blocks": WHOLE,
    "networks.GA.norm": NETWORK["norm"],
    "networks.GB.filters": COUNT,
    "networks.GB.blocks": WHOLE,
    "networks.GB.norm": NETWORK["norm"],
    "loss.lambda_scale": NOT_NEGATIVE,
    "sr_cyclegan.aligned_fraction": SHARE,
    **{f"{stage}.epochs": COUNT for stage in STAGES},
    **{f"{stage}.pool_size": WHOLE for stage in ("synth", "sr_cyclegan")},
    **{key: values for stage in STAGES for key, values in below(f"{stage}.optimizer", OPTIMIZER).items()},
    **{key: values for stage in STAGES for key, values in below(f"{stage}.best", BEST).items()},
    "synth.best.monitor": (("val/ssim", "swd", 1), ("val/swd", "val/ssim_G1", None)),
    "sr.best.monitor": (("val/swd", "ssim", 1), ("val/ssim", "val/bicubic_psnr", None)),
    "sr_cyclegan.best.monitor": (("val/swd", "ssim", 1), ("val/psnr", None)),
}


@cache
def base(stage: str) -> Composed:
    return train.plain(composed(f"stage={stage}", "name=mine", *GIVEN[stage]))


def leaves(node: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in node.items():
        if isinstance(value, dict) and value:
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}"


def having(of: str, /, **changes: Any) -> Composed:
    """A composed configuration with some values changed, by dotted key."""
    values = copy.deepcopy(base(of))
    for key, value in changes.items():
        *groups, last = key.split(".")
        node = values
        for group in groups:
            node = node.setdefault(group, {})
        node[last] = value
    return values


def stage_of(key: str) -> str:
    return next((stage for stage in STAGES if key in set(leaves(base(stage)))), "synth")


def problems(values: Composed) -> list[str]:
    with pytest.raises(CollectedError) as refusal:
        read_run(values)
    return refusal.value.problems


def test_the_table_holds_every_key() -> None:
    known = {key for stage in STAGES for key in leaves(base(stage)) if key != "logger"}
    assert known <= KEYS.keys()
    appended = {"trainer.val_check_interval", *(key for key in KEYS if key.startswith("data.phantom."))}
    assert KEYS.keys() - known <= appended
    assert all(len(wrong) >= 2 for wrong, _ in KEYS.values())


@pytest.mark.parametrize("key", KEYS)
def test_wrong_values_are_one_line_that_names_the_key(key: str) -> None:
    for value in KEYS[key][0]:
        lines = problems(having(stage_of(key), **{key: value}))
        assert len(lines) == 1, (value, lines)
        assert lines[0].startswith(f"{key}="), (value, lines)
        assert ": give " in lines[0], (value, lines)
        assert len(lines[0]) < 250


@pytest.mark.parametrize("key", KEYS)
def test_values_at_the_edge_are_taken_as_they_are_and_names_are_texts(key: str) -> None:
    for value in KEYS[key][1]:
        values = having(stage_of(key), **{key: value})
        if key in ("data.list", "data.clinical.root", "data.micro.root"):
            del values["data"]["phantom"]  # which does not go with scans of one's own
        run = read_run(values)
        expected = str(value) if (key == "name" or key.endswith((".series", ".patient"))) and value else value
        if isinstance(value, list):
            expected = tuple(map(str, value)) if key.startswith("data.split.") else tuple(value)
        assert found(run, key) == expected
        assert type(found(run, key)) is type(expected), "no number changes its type, but for names"


def found(run: Run, key: str) -> Any:
    """A value of a typed run, by the key that is typed."""
    first, *rest = key.split(".")
    node, path = (run.stages[0], rest) if first in STAGES else (run, [first, *rest])
    if first in ("networks", "loss"):
        node = run.stages[0]
    for part in path:
        node = getattr(node, {"list": "listed"}.get(part, part))
    return node


@pytest.mark.parametrize(
    ("stage", "changes", "words"),
    [
        ("synth", {"networks": 3}, ("networks=3", "a group of keys: G1, G2, D1, D2")),
        ("synth", {"networks.G1": None}, ("networks.G1=null", "a group of keys: filters, ")),
        ("synth", {"loss.ssim": 1}, ("loss.ssim=1", "C1")),
        ("sr", {"sr": None}, ("sr=null", "optimizer")),
        ("synth", {"data": "volumes"}, ("data=volumes", "clinical")),
        ("synth", {"trainer": 1}, ("trainer=1", "devices")),
        ("synth", {"foo": 1}, ("foo: ", "no such key")),
        ("synth", {"sed": 1}, ("sed: ", "did you mean seed?")),
        ("synth", {"networks.G1.fitlers": 4}, ("networks.G1.fitlers", "did you mean filters?")),
        ("synth", {"networks.G3": {}}, ("networks.G3", "no such key")),
        ("synth", {"loss.lambda3": 1.0}, ("loss.lambda3", "did you mean lambda")),
        ("sr", {"sr.optimizer.momentum": 0.9}, ("sr.optimizer.momentum", "no such key")),
        ("sr_cyclegan", {"sr_cyclegan.noise": 1}, ("sr_cyclegan.noise", "no such key")),
        ("synth", {"data.clinical.spacings": 1}, ("data.clinical.spacings", "did you mean spacing?")),
        ("synth", {"data.phantom.slices": 1}, ("data.phantom.slices", "no such key")),
        ("synth", {"guard.rewind": 1}, ("guard.rewind", "did you mean rewinds?")),
        ("synth", {"panels.rows": 1}, ("panels.rows", "no such key")),
        ("synth", {"checkpoint.every": 1}, ("checkpoint.every", "it has every_n_batches")),
    ],
)
def test_keys_that_there_are_not_and_groups_that_are_none(
    stage: str, changes: dict[str, Any], words: tuple[str, ...]
) -> None:
    (line,) = problems(having(stage, **changes))
    assert all(word in line for word in words), line


def test_a_key_that_is_missing_is_named() -> None:
    values = having("synth")
    del values["networks"]["G1"]["filters"], values["guard"]
    first, second = problems(values)
    assert first == "networks.G1.filters is missing: give a whole number, 1 or more"
    assert second == "guard is missing: give a group of keys: action, rewinds, patience"


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        # the method that a run's name says
        (("stage=synth", "networks.G1.kind=scanner"), ("networks.G1.kind=scanner", "resnet", "name=")),
        (("stage=synth", "experiment=paper", "method=scanner"), ("experiment=paper", "method=scanner")),
        (("stage=synth", "method=fx"), ("method=fx", "stage=sr")),
        # checkpoints
        (("stage=all", "resume=last.ckpt"), ("resume=", "one stage")),
        (("stage=synth", "resume=nowhere.ckpt"), ("resume=nowhere.ckpt", "no such file")),
        (("stage=sr", "synth_ckpt=nowhere.ckpt"), ("synth_ckpt=nowhere.ckpt", "no such file")),
        # what stage sr learns from
        (("stage=sr",), ("synth_ckpt",)),
        (("method=ceiling",), ("sr.inputs=pairs", "sr.pairs=")),
        (("method=ceiling", "sr.pairs=lungs", "data.split.val=[a]"), ("sr.inputs=pairs", "data.split.val, no names")),
        (("stage=all", "sr.inputs=fx", "name=mine"), ("sr.inputs=fx", "stage=sr")),
        (("method=fx", "data=volumes"), ("sr.inputs=fx", "data.clinical.root")),
        # scans of one's own, and lungs that are made
        (
            ("stage=synth", "data.clinical.root=mine"),
            (
                *("data.clinical.root=mine: ", "data.micro.root=phantom-data/demo/micro", "data.paired.root=phantom"),
                "give data=volumes",
            ),
        ),
        (("stage=synth", "data.micro.root=mine"), ("data.micro.root=mine: ", "data.clinical.root=phantom", "=volumes")),
        (
            ("stage=synth", "data.clinical.root=a", "data.micro.root=b"),
            ("data.clinical.root=a, data.micro.root=b: ", "data.paired.root=phantom-data/demo/paired", "data=volumes"),
        ),
        (("stage=synth", "data.list=mine.csv"), ("data.list=mine.csv: ", "data.micro.root=phantom", "data=volumes")),
        (
            ("experiment=smoke", "data.clinical.root=phantom-data/tiny/clinical", "data.micro.root=a", "stage=synth"),
            ("data.micro.root=a: ", "(data.clinical.root=phantom-data/tiny/clinical", "data=volumes"),
        ),
        # patches
        (("stage=synth", "data.micro.patch=128"), ("data.micro.patch=128", "data.clinical.patch=32")),
        (("stage=synth", "data.clinical.patch=16"), ("data.micro.patch=256", "data.clinical.patch=16")),
        (("stage=synth", "loss.ssim.window=33"), ("loss.ssim.window=33", "data.clinical.patch=32")),
        (("stage=sr_cyclegan", "loss.ssim.window=35"), ("loss.ssim.window=35", "data.clinical.patch=32")),
        (("method=fx", "sr.margin=15"), ("sr.margin=15", "data.clinical.patch=32")),
        (("method=fx", "sr.margin=100"), ("sr.margin=100", "data.clinical.patch=32")),
        (
            ("method=fx", "networks.DS.norm=instance", "networks.DS.pairs=8"),
            ("networks.DS.pairs=8", "norm=instance"),
        ),
        (
            ("method=fx", "sr.margin=14", "networks.DS.norm=instance", "networks.DS.pairs=5"),
            ("networks.DS.pairs=5", "one pixel of 32"),
        ),
        (("stage=synth", "networks.G1.downsamplings=5"), ("networks.G1.downsamplings=5", "data.clinical.patch=32")),
        (
            ("stage=synth", "networks.G2.downsamplings=3", "data.clinical.patch=36", "data.micro.patch=288"),
            ("networks.G2.downsamplings=3", "data.clinical.patch=36"),
        ),
        (("stage=synth", "networks.D1.layers=4"), ("networks.D1.layers=4", "data.clinical.patch=32")),
        (("stage=sr_cyclegan", "networks.DA.layers=7"), ("networks.DA.layers=7", "data.micro.patch=256")),
        # schedules
        (("stage=synth", "synth.optimizer.decay_start=1"), ("synth.optimizer.decay_start=1", "decay=step")),
        (
            ("method=fx", "sr.optimizer.decay=linear", "sr.optimizer.decay_start=1.0"),
            ("sr.optimizer.decay_start=1", "decay=step"),
        ),
        # splits
        (("stage=synth", "data.split.mode=slab", "data.split.val=[a]"), ("data.split.mode=slab", "no names")),
        (
            ("stage=synth", "data.split.mode=slab", "data.split.val=0.5", "data.split.test=0.5"),
            ("data.split.val=0.5", "data.split.test=0.5", "nothing to train on"),
        ),
        # devices
        (("stage=synth", "trainer.devices=3"), ("data.global_batch_size=64", "3 devices")),
        (("stage=synth", "data.accumulate=5"), ("data.global_batch_size=64", "data.accumulate=5")),
        (("stage=synth", "trainer.devices='0,1,2'"), ("data.global_batch_size=64", "3 devices")),
        (("stage=synth", "trainer.devices=2", "trainer.strategy=ddp"), ("trainer.strategy=ddp", "auto")),
        (("stage=synth", "trainer.num_nodes=2", "trainer.strategy=ddp"), ("trainer.strategy=ddp", "auto")),
        # loggers, the phantom
        (("stage=synth", "+logger.tags=[a]"), ("logger.tags", "logger=wandb")),
        (("stage=synth", "+logger.name=a"), ("logger.name", "logger=wandb")),
        (("stage=synth", "logger=wandb", "logger.offline=maybe"), ("logger.offline=maybe", "true or false")),
        (("stage=synth", "logger=wandb", "logger.log_model=some"), ("logger.log_model=some", "all")),
        (("stage=synth", "+data.phantom.clinical_pixels=8"), ("data.phantom", "clinical_pixels shows 5 mm")),
        (("stage=synth", "+data.phantom.paired_pixels=4"), ("data.phantom", "paired_pixels shows 2.5 mm")),
    ],
)
def test_values_that_clash_are_one_line(overrides: tuple[str, ...], words: tuple[str, ...]) -> None:
    (line,) = problems(train.plain(composed(*overrides)))
    assert all(word in line for word in words), line


def test_a_long_value_is_cut_and_its_blanks_are_kept() -> None:
    (line,) = problems(having("synth", **{"data.clinical.patch": "Thorax  8.0.0 " + "x" * 80}))
    assert line.startswith("data.clinical.patch=Thorax  8.0.0 xxx")
    assert "x ...: give" in line


def made(*overrides: str) -> bool:
    return read_run(train.plain(composed("stage=all", *overrides))).data.made is not None


def test_lungs_are_made_only_for_runs_on_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    own = ("data.clinical.root=a", "data.micro.root=b")
    assert made()
    assert made("data.paired.root=tested"), "what is only measured on may be one's own"
    assert made("data.clinical.root=null"), "stage sr can do without"
    assert made(f"data.clinical.root={tmp_path}/phantom-data/demo/clinical"), "the same folder"
    assert not made("data=volumes", *own)
    for experiment in ("smoke", "study"):  # these have keys of a phantom
        assert made(f"experiment={experiment}")
        assert not made(f"experiment={experiment}", "data=volumes", *own)
        assert not made(f"experiment={experiment}", "data=volumes", "data.list=mine.csv")
    assert not made(*own, "data.paired.root=c")


def test_a_list_that_a_run_on_the_phantom_wrote_goes_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    rows = f"domain,path\r\nmicro,{tmp_path}/phantom-data/demo/micro/specimen_000.nii.gz\r\n"
    (tmp_path / "split.csv").write_text(rows)
    assert made("data.list=split.csv")
    (tmp_path / "unicode.txt").write_text(rows, encoding="utf-16")  # as a spreadsheet saves it
    assert made("data.list=unicode.txt")


def test_all_wrong_keys_of_a_command_are_told_together() -> None:
    wrong = {"seed": -1, "networks.D1.norm": "layer", "loss.lambda1": -1, "synth.epochs": 0, "trainer.devices": 0}
    lines = problems(having("synth", **wrong, **{"data.micro.patch": 128, "typo": 1}))
    assert {line.partition("=")[0].partition(":")[0] for line in lines} == {*wrong, "data.micro.patch", "typo"}
    assert len(lines) == len(wrong) + 2


def test_keys_of_stages_that_are_not_trained_are_left_out() -> None:
    run = read_run(train.plain(composed("stage=synth", "experiment=study", "method=scanner", "sr.margin=-1")))
    assert [type(stage).__name__ for stage in run.stages] == ["SynthStage"]
    both = read_run(train.plain(composed("stage=all", "experiment=smoke")))
    assert [type(stage).__name__ for stage in both.stages] == ["SynthStage", "SRStage"]


@pytest.mark.parametrize("stage", [*STAGES, "all"])
@pytest.mark.parametrize("group", ["data", "hardware", "logger", "experiment", "method"])
def test_every_composition_of_conf_is_right_or_clashes_by_its_name_alone(stage: str, group: str) -> None:
    for name in options(group):
        cfg = composed(f"stage={stage}", f"{group}={name}")
        try:
            read_run(train.plain(cfg))
        except CollectedError as error:
            for line in error.problems:
                assert line.startswith(("method=", "experiment=paper", "stage=sr needs synth_ckpt", "sr.inputs=")), line


def typed_alike(one: Any, other: Any) -> bool:
    """Equal, and of the same types throughout: 1 is not 1.0, which another prepared case would be made for."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(typed_alike(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(typed_alike, one, other))
    return type(one) is type(other) and one == other


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("group", ["data", "hardware", "logger", "experiment"])
def test_groups_give_back_what_was_composed(stage: str, group: str) -> None:
    for name in options(group):
        if name.startswith("paper"):
            continue
        own = ("data.clinical.root=scans",) if name == "volumes" else ()
        asked = (f"stage={stage}", f"{group}={name}", *GIVEN[stage], "name=mine", *own)
        values = train.plain(composed(*asked))
        run = read_run(values)
        (only,) = run.stages
        for key in ("data", "trainer", "checkpoint", "guard", "panels", "logger"):
            assert typed_alike(getattr(run, key).to_plain(), values[key]), key
        own = {key: values["networks"][key] for key in only.networks.to_plain()}
        assert typed_alike(only.networks.to_plain(), own)
        assert typed_alike(only.optimizer.to_plain(), values[stage]["optimizer"])


def test_a_stage_of_several_tells_its_own_configuration() -> None:
    values = train.plain(composed("stage=all", "experiment=smoke"))
    run = read_run(values).changed(synth_ckpt="g1.ckpt")
    synth, sr = run.stages
    assert run.config_of(synth) == values | {"stage": "synth", "synth_ckpt": "g1.ckpt"}
    assert run.config_of(sr)["stage"] == "sr"
    assert run.logger.to_plain() == {}, "a copy gives no keys that were not given"


def test_configurations_are_read_as_they_were_by_any_reader_of_yaml() -> None:
    texts = ["1e-3", "0x1f", "12:30:00", "yes", "null", "1_000", "nan", "~", "", "a: b", "# no", "ß µ λ", "-", "7", "'"]
    config = {"texts": texts, "numbers": [1, 1.0, 1e-05, -0.5, True, None], "groups": {"empty": {}, "none": []}}
    text = as_yaml(config)
    assert typed_alike(yaml.safe_load(text), config)
    assert typed_alike(OmegaConf.to_container(OmegaConf.create(text)), config)


def test_every_kind_of_value_says_what_it_takes() -> None:
    def walk(group: type[Settings]) -> Iterator[str]:
        for name, field in group.model_fields.items():
            if name not in MADE:
                yield takes(field.rebuild_annotation())

    assert all(words for words in walk(Run))


# --- as commands


@pytest.mark.parametrize(
    ("arguments", "keys"),
    [
        (
            ("stage=synth", "synth.optimizer.decay=cosine", "loss.ssim.window=10", "networks.D1.norm=layer"),
            {"synth.optimizer.decay", "loss.ssim.window", "networks.D1.norm"},
        ),
        (("stage=synth", "trainer.devices=0", "trainer.precision=foo"), {"trainer.devices", "trainer.precision"}),
        (("stage=synth", "data.global_batch_size=0", "synth.epochs=-1"), {"data.global_batch_size", "synth.epochs"}),
        (
            ("stage=synth", "loss.lambda1=-0.5", "loss.ssim.C1=0", "synth.optimizer.lr=0", "synth.optimizer.clip=-1"),
            {"loss.lambda1", "loss.ssim.C1", "synth.optimizer.lr", "synth.optimizer.clip"},
        ),
        (
            ("stage=synth", "data.clinical.window=[100,-1000]", "data.clinical.cover=1.2", "data.split.val=2"),
            {"data.clinical.window", "data.clinical.cover", "data.split.val"},
        ),
        (
            ("stage=synth", "networks.G1.filters=0", "networks.G1.blocks=-1", "synth.best.monitor=val/beauty"),
            {"networks.G1.filters", "networks.G1.blocks", "synth.best.monitor"},
        ),
        (
            ("method=fx", "sr.ema=2", "loss.warmup=2", "sr.margin=-1", "sr.epochs=0"),
            {"sr.ema", "loss.warmup", "sr.margin", "sr.epochs"},
        ),
        (("stage=synth", "+trainer.fast_dev_rum=1"), {"trainer.fast_dev_rum"}),
        (("stage=synth", "+trainer.gradient_clip_val=1"), {"trainer.gradient_clip_val"}),
        (("stage=synth", "+trainer.fast_dev_run=-3"), {"trainer"}),
        (("stage=synth", "logger=wandb", "+logger.tugs=[a]"), {"logger.tugs"}),
        (("stage=synth", "logger=tensorboard", "logger._target_=os.nothing"), {"logger._target_"}),
        (("stage=synth", "loss.lambda1=???"), {"loss.lambda1"}),
        (("-m", "stage=synth", "loss.lambda1=0.1,-1,0.5", "seed=0,x"), {"loss.lambda1", "seed"}),
        (("-m", "sweep=weights", "loss.ssim.C1=0.02,0"), {"loss.ssim.C1"}),
        (("-m", "stage=synth,sr", "seed=0,1"), {"stage"}),
    ],
)
def test_as_commands_nothing_is_written(
    arguments: tuple[str, ...], keys: set[str], tmp_path: Path, command: Command
) -> None:
    done = command("train.py", *arguments, cwd=tmp_path)
    lines = done.stderr.splitlines()
    assert done.returncode == 2
    assert {line.removeprefix("error: ").partition("=")[0].partition(":")[0] for line in lines} == keys
    assert len(lines) == len(keys)
    assert all(line.startswith("error: ") for line in lines)
    assert list(tmp_path.iterdir()) == []


def test_devices_are_asked_for_where_they_are_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Not where cases are prepared, nor where a sweep's jobs are sent from: a login node has none."""
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    asked = train.plain(composed("stage=synth", "hardware=gpu"))
    with pytest.raises(UserError, match=r"trainer\.accelerator=gpu trainer\.devices=1: no GPUs are found here"):
        refuse([asked], tmp_path)
    refuse([asked | {"prepare_only": True}], tmp_path)
    refuse([asked, asked | {"seed": 1}], None)


def test_what_is_appended_for_lightning_and_wandb_goes_through(tmp_path: Path) -> None:
    asked = ("stage=synth", "logger=wandb", "+logger.tags=[a]", "+logger.notes=two", "+trainer.fast_dev_run=5")
    more = ("+trainer.max_time='00:12:00:00'", "trainer.devices=${oc.decode:'2'}", "+trainer.benchmark=true")
    refuse([train.plain(composed(*asked, *more))], tmp_path)
    refuse([train.plain(composed(*asked)), train.plain(composed(*asked, "stage=all"))], None)


@pytest.mark.parametrize("stage", ["synth", "sr"])
def test_a_checkpoint_of_another_kind_is_refused_before_a_folder_is_made(
    stage: str, smoke_run: Path, tmp_path: Path, command: Command
) -> None:
    checkpoint = (
        smoke_run / ("checkpoints/last.ckpt" if stage == "synth" else "synth/checkpoints/last.ckpt")
    ).resolve()
    asked = ("experiment=smoke", "method=scanner", f"stage={stage}")
    key = "resume" if stage == "synth" else "synth_ckpt"
    arguments = (*asked, f"{key}={checkpoint}", *(("name=paper", "method=no_ssim") if stage == "sr" else ()))
    done = command("train.py", *arguments, cwd=tmp_path)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert str(checkpoint) in done.stderr
    assert list(tmp_path.iterdir()) == []
