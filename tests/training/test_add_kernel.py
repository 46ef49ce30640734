"""Checkpoints of before cards told a kernel: the program adds what a training would have written, and nothing else."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import torch

from ctsr.checkpoint import load_sr, read_checkpoint
from ctsr.errors import UserError
from ctsr.imaging.kernel.measured import Measured
from ctsr.records.card import read_card
from ctsr.training.add_kernel import add_kernel, main
from tests.checkpoints import plain_card, sr_checkpoint


@pytest.fixture(scope="module")
def scans(smoke_run: Path, workplace: Path) -> Path:
    """All clinical scans of that run, also those that it did not train on."""
    return workplace / "phantom-data/tiny/clinical"


@pytest.fixture
def before(smoke_run: Path, tmp_path: Path) -> Path:
    """That run's checkpoint as it would have been written before."""
    content = torch.load(smoke_run / "checkpoints/last.ckpt", weights_only=True)
    assert content["ctsr"].pop("kernel")["slices"] > 0
    torch.save(content, tmp_path / "before.ckpt")
    return tmp_path / "before.ckpt"


def trained_on(checkpoint: Path) -> str:
    (name,) = read_checkpoint(checkpoint).card.cases["clinical"]["train"]
    return name


def check_same(one: Any, other: Any) -> None:
    """Make sure that two contents of checkpoints are one."""
    assert type(one) is type(other)
    if isinstance(one, torch.Tensor):
        assert torch.equal(one, other)
    elif isinstance(one, dict):
        assert list(one) == list(other)
        for key, value in one.items():
            check_same(value, other[key])
    elif isinstance(one, list | tuple):
        assert len(one) == len(other)
        for here, there in zip(one, other, strict=True):
            check_same(here, there)
    else:
        assert one == other


def test_the_card_becomes_the_one_that_the_training_wrote(
    before: Path, scans: Path, smoke_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    written = torch.load(smoke_run / "checkpoints/last.ckpt", weights_only=True)
    main([str(before), str(scans), "--cache", str(tmp_path / "cache")])
    after = torch.load(before, weights_only=True)
    kernel = after["ctsr"].pop("kernel")
    assert kernel == written["ctsr"].pop("kernel")
    check_same(after, written)  # weights, their digest, the rest of the card, and what a training goes on from
    *_, line = capsys.readouterr().out.splitlines()
    assert line == f"{before}: its card tells what {kernel['slices']} slices show of the kernel"
    card = load_sr(before).card  # which checks the weights against their digest
    assert card.kernel is not None
    assert card.kernel.to_plain() == kernel
    assert sorted(path.name for path in tmp_path.iterdir()) == ["before.ckpt", "cache"]


def test_the_scans_of_the_training_are_enough(before: Path, scans: Path, smoke_run: Path, tmp_path: Path) -> None:
    only = tmp_path / "only"
    only.mkdir()
    name = trained_on(before)
    shutil.copy(scans / f"{name}.nii.gz", only)
    shown = add_kernel(before, only, tmp_path / "cache")
    assert shown.to_plain() == torch.load(smoke_run / "checkpoints/last.ckpt", weights_only=True)["ctsr"]["kernel"]


def test_a_missing_scan_is_named(before: Path, scans: Path, tmp_path: Path) -> None:
    content, lacking, name = before.read_bytes(), tmp_path / "lacking", trained_on(before)
    shutil.copytree(scans, lacking)
    (lacking / f"{name}.nii.gz").unlink()
    with pytest.raises(UserError) as caught:
        add_kernel(before, lacking, tmp_path / "cache")
    assert str(caught.value) == f"{lacking} lacks {name}, which {before} was trained on: add it"
    assert before.read_bytes() == content


def test_another_scan_of_the_same_name_is_refused(before: Path, scans: Path, tmp_path: Path) -> None:
    content, others, name = before.read_bytes(), tmp_path / "others", trained_on(before)
    others.mkdir()
    image = nibabel.load(scans / f"{name}.nii.gz")
    voxels = np.asarray(image.dataobj).copy()
    voxels[0, 0, 0] += 1
    nibabel.save(nibabel.Nifti1Image(voxels, image.affine), others / f"{name}.nii.gz")
    with pytest.raises(UserError, match=rf"/{name}\.nii\.gz is not the {name} that the checkpoint was trained on"):
        add_kernel(before, others, tmp_path / "cache")
    assert before.read_bytes() == content


def test_the_same_voxels_in_another_file_are_the_training_s(before: Path, scans: Path, tmp_path: Path) -> None:
    """As after a conversion: a scan is known by its files or by its greys."""
    others, name = tmp_path / "others", trained_on(before)
    others.mkdir()
    image = nibabel.load(scans / f"{name}.nii.gz")
    nibabel.save(nibabel.Nifti1Image(np.asarray(image.dataobj), image.affine), others / f"{name}.nii")
    assert add_kernel(before, others, tmp_path / "cache").slices > 0
    assert read_checkpoint(before).card.kernel is not None


def test_several_scans_are_summed_and_those_beside_them_passed_over(scans: Path, tmp_path: Path) -> None:
    """By a card that names two scans, and by the cases that are prepared of them."""
    content = sr_checkpoint()
    first, second = (read_one(scans / f"lung_00{number}.nii.gz", tmp_path) for number in (0, 1))
    content["ctsr"]["cases"]["clinical"]["train"] = ["lung_000", "lung_001"]
    content["ctsr"]["trained_on"] = {one["voxels"]: f"clinical case {one['name']}" for one in (first, second)}
    torch.save(content, tmp_path / "two.ckpt")
    shown = add_kernel(tmp_path / "two.ckpt", scans, tmp_path / "cache")
    assert shown.slices == first["kernel"]["slices"] + second["kernel"]["slices"]
    for part in ("wall", "skin"):
        pixels = np.add(first["kernel"][part]["pixels"], second["kernel"][part]["pixels"])
        np.testing.assert_array_equal(shown.to_plain()[part]["pixels"], pixels)
        hu = [np.multiply(one["kernel"][part]["hu"], one["kernel"][part]["pixels"]) for one in (first, second)]
        np.testing.assert_allclose(shown.to_plain()[part]["hu"], sum(hu) / np.maximum(pixels, 1), atol=0.011)


def read_one(scan: Path, folder: Path) -> dict[str, Any]:
    """The `case.json` of a scan that is prepared alone, with the settings of the card by hand."""
    from ctsr.data.finding.cases import Case
    from ctsr.data.preparing.settings import ClinicalSettings
    from ctsr.data.preparing.store import prepare

    name = scan.name.removesuffix(".nii.gz")
    case = prepare(Case(name, scan), ClinicalSettings(spacing=0.625), folder / "alone")
    return dict(json.loads((case.folder / "case.json").read_text()))


def test_a_card_keeps_what_scans_show(tmp_path: Path) -> None:
    plain = Measured().to_plain()
    assert read_card(plain_card(kernel=plain)).to_plain()["kernel"] == plain
    assert read_card(plain_card()).kernel is None
    with pytest.raises(UserError, match=r"kernel=.*needed: profiles of wall and skin, and the spectrum of the lung"):
        read_card(plain_card(kernel={"wall": plain["wall"]}))
