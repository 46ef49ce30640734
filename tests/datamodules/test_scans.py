"""What a stage is given: splits, slab thickness, loaders, and refusals before work."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import torch
import yaml

from ctsr.data.plan import Plan
from ctsr.errors import UserError
from ctsr.phantom.cases import generate
from ctsr.records.data import Data
from ctsr.records.phantom import PhantomSettings
from ctsr.records.settings import checked
from datamodules import MicroDataModule, ScansDataModule, UnpairedDataModule
from tests.conftest import REPOSITORY

KEYS = yaml.safe_load((REPOSITORY / "conf/data/volumes.yaml").read_text())


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scans") / "phantom"
    settings = PhantomSettings(
        clinical_cases=3,
        micro_cases=3,
        paired_cases=1,
        clinical_slices=6,
        micro_slices=16,
        micro_pixels=128,
        paired_slices=2,
        paired_pixels=16,
        nodule_radius=(1.0, 1.5),
    )
    generate(folder, settings, show_progress=False)
    return folder


def build(root: Path, kind: type[ScansDataModule] = UnpairedDataModule, **changes: dict[str, Any]) -> ScansDataModule:
    keys: dict[str, Any] = {name: dict(value) if isinstance(value, dict) else value for name, value in KEYS.items()}
    keys["clinical"] |= {"root": str(root / "clinical"), "patch": 12, "cover": 0.5}
    keys["micro"] |= {"root": str(root / "micro"), "patch": 96, "cover": 0.5}
    keys |= {"patches_per_case": 8, "val_patches": 6, "global_batch_size": 4, "workers": 0}
    keys["cache"] = str(root.parent / "cache")
    for name, value in changes.items():
        keys[name] = keys.get(name, {}) | value if isinstance(value, dict) else value
    data = checked(Data, keys)
    return kind(Plan(data, 0, kind.domains), show_progress=False)


def ready(data: ScansDataModule) -> ScansDataModule:
    data.prepare_data()
    data.setup()
    return data


def test_an_epoch_without_a_batch_is_refused_before_work(root: Path, tmp_path: Path) -> None:
    few = {"patches_per_case": 1, "global_batch_size": 64, "cache": str(tmp_path / "cache")}
    for split in ({}, {"mode": "slab"}):
        with pytest.raises(UserError, match=r"an epoch of [13] patches is smaller than data.global_batch_size=64"):
            build(root, split=split, **few).check()
    assert not (tmp_path / "cache").exists()


def test_no_phantom_is_made_beside_scans_of_ones_own(root: Path, tmp_path: Path) -> None:
    """Experiments have keys of a phantom, whatever is trained on."""
    phantom = PhantomSettings.tiny().model_dump() | {"root": str(tmp_path / "made")}
    own = build(root, phantom=phantom, paired={"root": str(root / "paired")})
    own.check()
    assert not (tmp_path / "made").exists()
    assert [folder.name for folder in own._given_pairs()] == ["lung_100"], "test cases that nobody may train on"


def test_batches_of_each_stage(root: Path) -> None:
    synth, sr = ready(build(root)), ready(build(root, MicroDataModule))
    batches = list(synth.train_dataloader())
    assert len(batches) == 8 * len(synth.cases["micro"]["train"]) // 4
    assert {name: patches.shape for name, patches in batches[0].items()} == {
        "micro": (4, 1, 96, 96),
        "slab": (4, 1, 96, 96),
        "clinical": (4, 1, 12, 12),
        "noise": (4, 1, 12, 12),
        "scanner": (4, 2),
    }
    assert all(type(patches) is torch.Tensor and patches.dtype == torch.float32 for patches in batches[0].values())
    assert all(float(batches[0][name].abs().max()) <= 1 for name in ("micro", "slab", "clinical"))
    other = next(iter(sr.train_dataloader()))
    assert torch.equal(other["micro"], batches[0]["micro"]), "both stages draw from the same µCT stream"
    assert "clinical" not in other


def test_validation_is_fixed_and_whole(root: Path) -> None:
    data = ready(build(root))
    first, again = list(data.val_dataloader()), list(data.val_dataloader())
    assert sum(len(batch["micro"]) for batch in first) == 6, "no fixed patch is left out"
    assert all(torch.equal(a[name], b[name]) for a, b in zip(first, again, strict=True) for name in a)


def test_slab_follows_the_clinical_slices(root: Path) -> None:
    data = ready(build(root))
    assert data.plan.slab_mm == pytest.approx(0.625)  # the phantom's slice distance
    case = data.cases["micro"]["train"][0]
    # 0.625 mm / 0.078125 mm = 8 slices; of the odd numbers 7 and 9 are equally near.
    expected = [np.asarray(case.image[8 - h : 9 + h], np.float32).mean(axis=0) for h in (3, 4)]
    inside = np.asarray(case.mask[8]) & (np.abs(np.asarray(case.image[4:13], np.float32)).max(axis=0) < 0.99)
    slab = np.asarray(case.slab[8], np.float32)
    assert min(np.abs(slab - mean)[inside].max() for mean in expected) < 2e-3
    assert ready(build(root, micro={"slab_mm": 0})).cases["micro"]["train"][0].slab.std() > 1.2 * slab.std()


def test_target_slab_trains_on_the_slab(root: Path) -> None:
    batch = next(iter(ready(build(root, micro={"target": "slab"})).train_dataloader()))
    assert torch.equal(batch["micro"], batch["slab"])


def test_slab_split_sets_slices_of_one_case_apart(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = {"root": str(root / "micro/specimen_000.nii.gz")}
    alone = ready(build(root, MicroDataModule, micro=one))
    assert "specimen_000 is the only micro case" in capsys.readouterr().err
    assert [case.name for case in alone.cases["micro"]["val"]] == ["specimen_000"]
    parts = ready(build(root, MicroDataModule, micro=one, split={"mode": "slab", "gap_mm": 0.1})).cases["micro"]
    slices = [range(c.slices.start, c.slices.stop) for part in ("train", "val", "test") for c in parts[part]]
    assert len(slices) == 3
    assert all(a.stop + 1 < b.start for a, b in pairwise(slices)), "with a gap between"


def test_what_a_checkpoint_says_of_its_data_is_plain(root: Path) -> None:
    plain = ready(build(root)).describe().to_plain()
    assert yaml.safe_load(yaml.safe_dump(plain)) == plain
    assert plain["windows"]["clinical"] == [-1000.0, 100.0]
    assert plain["spacing"] == {"clinical": pytest.approx([0.625, 0.625]), "micro": pytest.approx([0.078125, 0.078125])}


def test_g1_must_have_seen_what_sr_makes(root: Path) -> None:
    card = ready(build(root)).describe()
    ready(build(root, MicroDataModule)).must_match(card, "synth.ckpt")
    with pytest.raises(UserError, match=r"data.micro.slab_mm=0.0, but synth.ckpt was trained with 0.625"):
        ready(build(root, MicroDataModule, micro={"slab_mm": 0})).must_match(card, "synth.ckpt")
    held_out = card.cases["micro"]["train"][0]
    other = ready(
        build(
            root,
            MicroDataModule,
            split={"val": card.cases["micro"]["val"], "test": [held_out]},
            clinical={"root": None},
            micro={"slab_mm": 0.625},
        )
    )
    with pytest.raises(UserError, match=f"{held_out} is a test case here, but synth.ckpt was trained on it"):
        other.must_match(card, "synth.ckpt")


def test_other_cases_than_those_of_g1_are_told_in_a_line(root: Path) -> None:
    """The cases of stage synth are two of three in each domain: one to train on, one to validate on."""
    card = ready(build(root)).describe()
    same = ready(build(root, MicroDataModule))
    assert same.unlike(card, "synth.ckpt") is None
    train, val, test = (card.cases["micro"][part][0] for part in ("train", "val", "test"))
    alone: dict[str, Any] = {"clinical": {"root": None}, "micro": {"slab_mm": 0.625}}
    other = ready(build(root, MicroDataModule, split={"val": [val], "test": [train]}, **alone))
    told = "the G1 of synth.ckpt was trained on other cases: "
    assert other.unlike(card, "synth.ckpt") == f"{told}of the micro ones here 1 of 2 are new to it ({test})"
    alone["micro"]["root"] = str(root / f"micro/{train}.nii.gz")
    fewer = ready(build(root, MicroDataModule, **alone))
    assert fewer.unlike(card, "synth.ckpt") == f"{told}of its 2 micro ones only 1 are here"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"micro": {"root": None}}, r"data.micro.root=<folder of scans> is needed"),
        ({"micro": {"patch": 192}, "clinical": {"patch": 24}}, r"specimen_000 has 128 x 128 pixels .* patch of 192"),
    ],
)
def test_refusals_before_work(root: Path, changes: dict[str, dict[str, Any]], message: str) -> None:
    with pytest.raises(UserError, match=message):
        build(root, **changes).check()


def test_the_slab_is_as_thick_as_slices_that_lie_along_another_axis(root: Path, tmp_path: Path) -> None:
    (tmp_path / "clinical").mkdir()
    coronal = nibabel.Nifti1Image(np.zeros((40, 12, 40), np.int16), np.diag([0.7, 2.5, 0.7, 1.0]))
    nibabel.save(coronal, tmp_path / "clinical" / "a.nii.gz")
    assert build(tmp_path, micro={"root": str(root / "micro")}).plan.slab_mm == 2.5
