"""The filter before the network: what is asked for is done to the scan's own pixels, and told."""

from __future__ import annotations

import io
import json
import signal
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import numpy.typing as npt
import pydicom
import pytest
import torch
from rich.console import Console
from scipy import ndimage
from torch import Tensor

from ctsr.checkpoint import SRModel, load_sr
from ctsr.errors import Interrupted, Stopped, UserError
from ctsr.imaging.kernel.matching import Matching
from ctsr.imaging.kernel.measured import Measured
from ctsr.imaging.kernel.measuring import measure
from ctsr.imaging.kernel.transfer import Softening
from ctsr.imaging.pyramid import GaussianPyramid
from ctsr.inference import scan, source
from ctsr.inference.engine import Engine
from ctsr.inference.scan import Results, super_resolve_scan
from ctsr.phantom.projections.kernels import Kernel
from ctsr.records.scan_settings import ScanSettings
from tests.imaging.formats import scan_files
from tests.imaging.kernel.made_lungs import chest as made_chest
from tests.imaging.kernel.made_lungs import reference_kernel
from tests.inference.test_infer import infer
from tests.inference.test_scan import chest

SD = 0.8  # mm
ENHANCING = Kernel(mtf10=1.15, peak=1.9)


@pytest.fixture(autouse=True)
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What pictures were to show; they take longer than the rest, and are not drawn."""
    pictures: list[dict[str, Any]] = []

    def note(views: object, reformats: object, path: Path, title: str, softening: Softening | None) -> None:
        path.touch()
        pictures.append({"views": views, "title": title, "softening": softening})

    monkeypatch.setattr(scan, "write_picture", note)
    return pictures


@pytest.fixture
def source_scan(tmp_path: Path) -> Path:
    """Four slices of a round body with lungs."""
    return chest(tmp_path / "scan.nii", 4)[0]


def gaussian(path: Path, sd: float = SD) -> Path:
    """The file of a Gaussian's gain."""
    frequency = np.arange(0.0, 2.0, 0.005)
    gain = np.exp(-2 * np.pi**2 * sd**2 * frequency**2)
    path.write_text(json.dumps({"frequency_per_mm": frequency.tolist(), "gain": gain.tolist()}), encoding="utf-8")
    return path


def run(model: SRModel, scan_file: Path, output: Path, **settings: Any) -> tuple[Results, str]:
    text = io.StringIO()
    results = super_resolve_scan(model, scan_file, output, ScanSettings(**settings), Console(file=text, width=300))
    return results, text.getvalue()


def voxels(results: Results) -> npt.NDArray[np.int64]:
    return np.asarray(nibabel.load(results.volume).dataobj).astype(np.int64)


def record_of(results: Results) -> dict[str, Any]:
    return dict(json.loads(results.record.read_text()))


def write(path: Path, greys: npt.NDArray[np.generic], pixel: Sequence[float] = (0.625, 0.625)) -> Path:
    """A scan with axes (x, y, z)."""
    nibabel.save(nibabel.Nifti1Image(greys, np.diag([*pixel, 1.5, 1.0])), path)
    return path


@pytest.mark.parametrize(
    ("pixel", "settings"),
    [
        ((0.625, 0.625), {}),
        ((0.6, 0.68), {}),
        ((0.5, 0.7), {"spacing_tolerance": 0.5}),
        ((0.9, 0.9), {"grid": "model"}),
    ],
    ids=["square", "not square", "far from square", "resampled"],
)
def test_a_filter_from_a_file_is_scipy_s_of_the_scan(
    pixel: tuple[float, float], settings: dict[str, Any], model: SRModel, tmp_path: Path
) -> None:
    """To whole HU, which are rounded: gains are kept in four digits, with lines between, which comes to less than 1 HU.

    Where a scan is resampled, that may add up over pixels.
    """
    greys = np.asarray(nibabel.load(chest(tmp_path / "chest.nii", 3)[0]).dataobj).astype(np.float32)
    sharp = write(tmp_path / "sharp.nii", greys, pixel)
    blurred = ndimage.gaussian_filter(greys, (SD / pixel[0], SD / pixel[1], 0), truncate=6, mode="mirror")
    soft = write(tmp_path / "soft.nii", blurred, pixel)
    done = run(model, sharp, tmp_path / "filtered.nii", kernel=str(gaussian(tmp_path / "g.json")), **settings)[0]
    expected = voxels(run(model, soft, tmp_path / "before.nii", kernel="off", **settings)[0])
    left = voxels(run(model, sharp, tmp_path / "left.nii", kernel="off", **settings)[0])
    inner = np.s_[40:-40, 40:-40]
    assert np.abs(voxels(done) - expected)[inner].max() <= (2 if settings.get("grid") == "model" else 1)
    assert np.abs(left - expected)[inner].max() > 100


def test_a_region_of_lung_is_filtered_as_the_whole_is(checkpoint: Path, tmp_path: Path) -> None:
    path, lungs = chest(tmp_path / "chest.nii", 2)
    settings = {"kernel": str(gaussian(tmp_path / "g.json")), "tile": 16, "slices": (0, 1)}
    model = load_sr(checkpoint)
    torch.nn.init.normal_(model.GS.last.weight, 0.0, 0.05)  # else it interpolates, as is done elsewhere
    whole, part = (
        voxels(run(model, path, tmp_path / f"{region}.nii", region=region, **settings)[0]) for region in ("all", "lung")
    )
    fine = np.kron(lungs[..., :1], np.ones((8, 8, 1), bool))
    assert np.array_equal(part[fine], whole[fine])
    assert not np.array_equal(part, whole)


def test_the_record_tells_the_filter_and_how_far_it_took_the_scan(
    model: SRModel, source_scan: Path, tmp_path: Path
) -> None:
    results, text = run(model, source_scan, tmp_path / "sr.nii", kernel=str(gaussian(tmp_path / "g.json")))
    record = record_of(results)
    told = record["kernel"]
    assert told["applied"] is True
    assert told["named"] is None
    assert told["said"] == next(line for line in text.splitlines() if line.startswith("kernel="))
    assert told["said"].startswith(f"kernel={tmp_path / 'g.json'}: softened by a filter of 0.60 at 0.2, 0.13 at 0.4")
    frequency = np.asarray(told["frequency_per_mm"])
    np.testing.assert_allclose(told["gain"], np.exp(-2 * np.pi**2 * SD**2 * frequency**2), atol=6e-5)
    below_half = np.linspace(0, 0.8, 2001)  # /mm
    away = 1 - np.exp(-2 * np.pi**2 * SD**2 * below_half**2)
    assert told["from_one"] == pytest.approx(np.sqrt(np.mean(away**2)), abs=5e-3)
    assert record["settings"]["kernel"] == str(tmp_path / "g.json")

    # |f(SR) - y| by hand, of the scan before and after the filter; f by the pyramid of the networks.
    fine = np.clip((voxels(results).T + 1000) / 550 - 1, -1, 1).astype(np.float32)
    with torch.no_grad():
        down = 550 * (GaussianPyramid()(torch.from_numpy(fine[:, None]))[:, 0].numpy() + 1) - 1000
    before = np.asarray(nibabel.load(source_scan).dataobj).T.astype(np.float32)
    after = ndimage.gaussian_filter(before, (0, SD / 0.625, SD / 0.625), truncate=6, mode="mirror")
    lung = np.zeros(before.shape, bool)
    for middle in (22, 58):
        lung[:, ((np.arange(80) - middle) / 12) ** 2 + (((np.arange(64) - 32) / 18) ** 2)[:, None] < 1] = True
    for key, scan_hu in (("consistency", after), ("consistency_before_filter", before)):
        apart = np.abs(down - np.clip(scan_hu, -1000, 100))
        assert record[key]["lung"]["mean_hu"] == pytest.approx(apart[lung].mean(), abs=3), key
    assert record["consistency_before_filter"]["lung"]["mean_hu"] > record["consistency"]["lung"]["mean_hu"] + 10
    assert "|f(SR) - scan before the filter|: " in text


def test_nothing_is_done_where_it_is_off_or_nobody_knows_the_training_s_kernel(
    model: SRModel, source_scan: Path, tmp_path: Path
) -> None:
    assert model.card.kernel is None
    off, _ = run(model, source_scan, tmp_path / "off.nii", kernel="off")
    unknown, text = run(model, source_scan, tmp_path / "unknown.nii")
    assert np.array_equal(voxels(off), voxels(unknown))
    for results in (off, unknown):
        record = record_of(results)
        assert record["kernel"].keys() == {"named", "said", "applied"}
        assert record["kernel"]["applied"] is False
        assert record["consistency_before_filter"] is None
        assert record["warnings"] == []
    assert record_of(unknown)["settings"]["kernel"] == "estimate"
    assert "kernel: the checkpoint does not tell that of its training; the scan is left as it is\n" in text
    assert "before the filter" not in text


def test_the_record_of_a_result_is_a_filter_for_another(
    model: SRModel, source_scan: Path, tmp_path: Path, drawn: list[dict[str, Any]]
) -> None:
    first, _ = run(model, source_scan, tmp_path / "first.nii", kernel=str(gaussian(tmp_path / "g.json")))
    again, _ = run(model, source_scan, tmp_path / "again.nii", kernel=str(first.record))
    assert np.array_equal(voxels(again), voxels(first))
    assert record_of(again)["kernel"]["gain"] == record_of(first)["kernel"]["gain"]
    assert drawn[0]["softening"] == drawn[1]["softening"]
    off, _ = run(model, source_scan, tmp_path / "off.nii", kernel="off")
    with pytest.raises(UserError, match=r"off\.json: that result was made without a filter: give kernel=off$"):
        run(model, source_scan, tmp_path / "third.nii", kernel=str(off.record))


def test_the_picture_shows_what_the_filter_made_of_the_scan(
    model: SRModel, source_scan: Path, tmp_path: Path, drawn: list[dict[str, Any]]
) -> None:
    run(model, source_scan, tmp_path / "sr.nii", kernel=str(gaussian(tmp_path / "g.json")))
    run(model, source_scan, tmp_path / "off.nii", kernel="off")
    with_filter, without = drawn
    greys = np.asarray(nibabel.load(source_scan).dataobj).astype(np.float32)
    soft = ndimage.gaussian_filter(greys, (SD / 0.625, SD / 0.625, 0), truncate=6, mode="mirror")
    # Canonical rows and columns run against those of this file.
    before, after = (np.clip((hu.T[:, ::-1, ::-1] + 1000) / 550 - 1, -1, 1) for hu in (greys, soft))
    assert with_filter["softening"].at(0.3) == pytest.approx(np.exp(-2 * np.pi**2 * SD**2 * 0.09), abs=1e-3)
    assert f"kernel={tmp_path / 'g.json'}: softened" in with_filter["title"]
    for view, plain in zip(with_filter["views"], without["views"], strict=True):
        assert plain.filtered is None
        z = int(view.title.removeprefix("slice "))
        (place,) = np.argwhere(
            (
                np.abs(np.lib.stride_tricks.sliding_window_view(before[z], view.clinical.shape) - view.clinical) < 1e-6
            ).all(axis=(2, 3))
        )
        part = tuple(slice(at, at + size) for at, size in zip(place, view.clinical.shape, strict=True))
        np.testing.assert_allclose(view.filtered, after[z][part], atol=2e-3)
        # This network gives back what it is given: the differences are those from the filtered scan.
        assert view.difference.mean() < 0.5 * np.abs(550 * (before[z] - after[z])[part]).mean()
    assert without["softening"] is None
    assert without["title"].endswith("kernel=off: the scan is left as it is")


@pytest.fixture(scope="module")
def reference() -> Measured:
    body = made_chest(1)
    return measure(body.seen_by(reference_kernel), body.lung)


def made_scan(path: Path, kernel: Any, seed: int = 2, slices: int = 2) -> Path:
    return write(path, np.ascontiguousarray(made_chest(seed, slices).seen_by(kernel).array.T))


def test_the_estimate_softens_a_sharper_scan_to_the_training_s_kernel(
    model: SRModel, reference: Measured, tmp_path: Path, drawn: list[dict[str, Any]]
) -> None:
    """And a part of it is the whole's there: its filter is that of the whole scan."""
    model = replace(model, card=model.card.changed(kernel=reference))
    sharp = made_scan(tmp_path / "sharp.nii", ENHANCING.transfer)
    whole, text = run(model, sharp, tmp_path / "whole.nii")
    record = record_of(whole)
    told = record["kernel"]
    assert told["applied"] is True
    assert told["said"].startswith("kernel: sharper than that of the training; softened by a filter of ")
    assert told["said"] in text.splitlines()
    assert drawn[0]["title"].endswith(told["said"])
    assert record["warnings"] == []
    frequency = np.array([0.2, 0.4, 0.6])
    found = np.interp(frequency, told["frequency_per_mm"], told["gain"])
    np.testing.assert_allclose(found, reference_kernel(frequency) / ENHANCING.transfer(frequency), atol=0.08)
    relative = np.interp(frequency, *(told["estimate"][key] for key in ("frequency_per_mm", "relative_transfer")))
    np.testing.assert_allclose(found, 1 / relative, atol=2e-3)
    # A gain below 1 takes power away.
    left, _ = run(model, sharp, tmp_path / "off.nii", kernel="off", slices=(1, 2))
    assert voxels(whole)[..., 1].std() < voxels(left)[..., 0].std()

    part, _ = run(model, sharp, tmp_path / "part.nii", slices=(1, 2))
    assert np.array_equal(voxels(part)[..., 0], voxels(whole)[..., 1])
    assert record_of(part)["kernel"] == told


def test_the_estimate_leaves_a_scan_of_the_training(model: SRModel, reference: Measured, tmp_path: Path) -> None:
    model = replace(model, card=model.card.changed(kernel=reference))
    same = made_scan(tmp_path / "same.nii", reference_kernel, 1, 4)
    results, text = run(model, same, tmp_path / "sr.nii", slices=(0, 1))
    told = record_of(results)["kernel"]
    assert told["applied"] is False
    assert told["said"] == "kernel: as soft as that of the training, or softer; the scan is left as it is"
    assert told["said"] in text
    assert not {"gain", "frequency_per_mm", "from_one"} & told.keys()
    assert told["estimate"]["trust"]["wall"] < 3.5
    assert record_of(results)["consistency_before_filter"] is None
    off, _ = run(model, same, tmp_path / "off.nii", slices=(0, 1), kernel="off")
    assert np.array_equal(voxels(results), voxels(off))


def test_a_scan_that_shows_no_kernel_is_left_with_a_warning(
    model: SRModel, reference: Measured, source_scan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of 80 x 64 pixels too few show it."""
    model = replace(model, card=model.card.changed(kernel=reference))
    greys = np.asarray(nibabel.load(source_scan).dataobj)[..., :1]
    few = write(tmp_path / "few.nii", greys)
    results, _ = run(model, few, tmp_path / "sr.nii")
    record = record_of(results)
    assert record["kernel"]["applied"] is False
    (line,) = [line for line in record["warnings"] if "kernel" in line]
    assert line.startswith(f"{few}: {record['kernel']['said']}: if its kernel enhances edges")
    assert f"warning: {line}" in capsys.readouterr().err.splitlines()


def test_padding_is_not_blurred_into_the_body(model: SRModel, tmp_path: Path) -> None:
    """A field of view that ends inside the body, whose tissue is 40 HU up to its edge, also after a wide filter."""
    x, y = np.ogrid[:80, :64]
    greys = np.full((80, 64, 2), 40.0, np.float32)
    for middle in (28, 52):
        greys[((x - middle) / 7) ** 2 + ((y - 32) / 12) ** 2 < 1] = -850
    radius = np.hypot(x - 39.5, y - 31.5)
    outside = radius > 31
    greys[outside] = -2000
    padded = write(tmp_path / "padded.nii", greys)
    done, _ = run(model, padded, tmp_path / "sr.nii", kernel=str(gaussian(tmp_path / "g.json", 0.7)))
    fine = voxels(done)
    apart = np.kron(outside, np.ones((8, 8), bool))
    assert np.unique(fine[apart]).tolist() == [-1024]
    # 9 pixels from the lungs are 8 of the filter's standard deviations.
    to_lung = ndimage.distance_transform_edt(greys[..., 0] != -850)
    rim = np.kron((to_lung > 9) & (radius > 25), np.ones((8, 8), bool)) & ~apart
    assert rim.sum() > 10_000
    assert set(np.unique(fine[rim])) <= {39, 40, 41}


def test_the_file_s_name_of_its_kernel_is_told(model: SRModel, source_scan: Path, tmp_path: Path) -> None:
    hu = np.ascontiguousarray(np.asarray(nibabel.load(source_scan).dataobj).T)
    made = scan_files.Scan(hu, (1.5, 0.625, 0.625), np.eye(3)[::-1], (0.0, 0.0, 0.0), intercept=-1200)
    folder = scan_files.dicom(made, tmp_path / "dicom")
    for file in folder.glob("*"):
        data = pydicom.dcmread(file)
        data.ConvolutionKernel = "B70f"
        data.save_as(file)
    results, text = run(model, folder, tmp_path / "sr.nii", kernel="off", slices=(0, 1))
    assert record_of(results)["kernel"]["named"] == "B70f"
    assert "kernel=off: the scan is left as it is (the file names its kernel B70f)\n" in text


def stop_at(monkeypatch: pytest.MonkeyPatch, call: int) -> None:
    enlarge, calls = Engine.enlarge, []

    def counted(engine: Engine, *arguments: Any) -> Tensor:
        calls.append(None)
        if len(calls) == call:
            raise Interrupted(signal.SIGTERM)
        return enlarge(engine, *arguments)

    monkeypatch.setattr(Engine, "enlarge", counted)


def stopped(model: SRModel, scan_file: Path, output: Path, **settings: Any) -> None:
    """A run that a signal ends after two of its slices."""
    with pytest.MonkeyPatch.context() as patch:
        stop_at(patch, 3)
        with pytest.raises(Stopped, match="2 slices are done"):
            run(model, scan_file, output, batch=1, **settings)


def test_a_run_goes_on_with_the_filter_that_it_began_with(
    model: SRModel, source_scan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the scan is estimated to need now, such as by another number of threads."""
    filters = [Softening.of([0.0, 0.4, 0.8], [1.0, middle, 0.0]) for middle in (0.5, 0.3)]

    def estimated(found: Softening) -> None:
        monkeypatch.setattr(source, "choose", lambda *_: Matching(found, f"kernel: {found}"))

    estimated(filters[0])
    whole, _ = run(model, source_scan, tmp_path / "whole.nii")
    stopped(model, source_scan, tmp_path / "parts.nii")
    estimated(filters[1])
    other, _ = run(model, source_scan, tmp_path / "other.nii")
    parts, text = run(model, source_scan, tmp_path / "parts.nii", batch=1)
    assert "2 of 4 slices are there from an earlier run" in text
    assert np.array_equal(voxels(parts), voxels(whole))
    assert not np.array_equal(voxels(other), voxels(whole))
    for key in ("consistency", "consistency_before_filter"):
        assert record_of(parts)[key] == record_of(whole)[key]
    assert record_of(parts)["kernel"] == record_of(whole)["kernel"]
    assert str(filters[0]) in text
    assert str(filters[1]) not in text


def test_a_run_with_another_filter_is_refused(model: SRModel, source_scan: Path, tmp_path: Path) -> None:
    mine, other = gaussian(tmp_path / "mine.json"), gaussian(tmp_path / "other.json", 0.5)
    output = tmp_path / "sr.nii"
    stopped(model, source_scan, output, kernel=str(mine))
    for asked in (str(other), "off", "estimate"):
        with pytest.raises(UserError, match=r"holds 2 slices of a run with another kernel \("):
            run(model, source_scan, output, batch=1, kernel=asked)
    content = mine.read_text()
    gaussian(mine, 0.5)
    with pytest.raises(UserError, match=r"holds 2 slices of a run with another kernel_file \("):
        run(model, source_scan, output, batch=1, kernel=str(mine))
    mine.write_text(content)
    _, text = run(model, source_scan, output, batch=1, kernel=str(mine))
    assert "2 of 4 slices are there" in text


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read (No such file or directory): give estimate, off or a file"),
        ('{"frequency_per_mm": [0, 0.5], "gain": [1, 1.5]}', "is no filter: give JSON with frequency_per_mm"),
        ("{", "is no filter: give JSON with frequency_per_mm"),
    ],
    ids=["missing", "enhances", "no JSON"],
)
def test_a_wrong_file_is_one_line_before_anything_is_written(
    content: str | None,
    message: str,
    checkpoint: Path,
    source_scan: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    asked, out = tmp_path / "a b,(c)=[d] µ.json", tmp_path / "out"
    if content is not None:
        asked.write_text(content)
    arguments = (f"ckpt={checkpoint}", f"input={source_scan}", f"output={out / 'sr.nii'}", f"kernel={asked}")
    assert infer(monkeypatch, *arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: kernel={asked} {message}")
    assert not out.exists() or not list(out.iterdir())


def test_the_program_takes_a_filter_of_any_name(
    checkpoint: Path,
    source_scan: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    asked = gaussian(tmp_path / "a b,(c)=[d] µ.json")
    same = (f"ckpt={checkpoint}", f"input={source_scan}", "slices=[1,2]")
    for name, kernel in (("filtered", str(asked)), ("off", "off"), ("default", None)):
        typed = () if kernel is None else (f"kernel={kernel}",)
        assert infer(monkeypatch, *same, f"output={tmp_path / name}.nii", *typed) == 0
    told = {name: json.loads((tmp_path / f"{name}.json").read_text()) for name in ("filtered", "off", "default")}
    assert [one["kernel"]["applied"] for one in told.values()] == [True, False, False]
    assert [one["settings"]["kernel"] for one in told.values()] == [str(asked), "off", "estimate"]
    assert f"kernel={asked}: softened by a filter" in capsys.readouterr().out
