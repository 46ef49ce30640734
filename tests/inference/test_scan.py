"""A whole scan from file to file: where every voxel lands, what is written beside it, and what is refused."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK
import torch
from rich.console import Console
from scipy import ndimage

from ctsr.checkpoint import SRModel, load_sr
from ctsr.errors import UserError
from ctsr.files import content_hash
from ctsr.imaging.grey_map import GreyMap
from ctsr.inference import engine, results, scan
from ctsr.inference.engine import Engine
from ctsr.inference.scan import super_resolve_scan
from ctsr.records.scan_settings import ScanSettings
from tests.conftest import REPOSITORY, check_bars_have_ended


def with_maps(model: SRModel, **maps: GreyMap) -> SRModel:
    """The same network of a training with other grey maps."""
    return replace(model, card=model.card.changed(grey_maps=model.card.grey_maps | maps))


def rotation() -> np.ndarray:
    cos, sin = np.cos(0.3), np.sin(0.3)
    about_x = np.array([[1, 0, 0], [0, cos, -sin], [0, sin, cos]])
    about_z = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])
    return about_x @ about_z


# File axes to world: the slice axis is the one with 1.5 mm.
AFFINES = {
    "axial": np.diag([0.625, 0.625, 1.5]),
    "axial flipped": np.diag([-0.625, -0.625, -1.5]),
    "oblique": rotation() @ np.diag([-0.625, 0.625, 1.5]),
    "coronal": np.array([[0.625, 0, 0], [0, 0, 1.5], [0, 0.625, 0]]),
    "slices along the first axis": np.array([[0, 0.625, 0], [0, 0, -0.625], [1.5, 0, 0]]),
    "slices along the second axis": np.array([[0, 0, 0.625], [-0.625, 0, 0], [0, 1.5, 0]]),
}


def write_scan(path: Path, matrix: np.ndarray, greys: np.ndarray | None = None) -> Path:
    """A scan in HU with one bright voxel."""
    if greys is None:
        slice_axis = int(np.argmax(np.linalg.norm(matrix, axis=0)))
        greys = np.full([6 if axis == slice_axis else size for axis, size in enumerate((16, 14, 12))], -900, np.int16)
        greys[bright(slice_axis)] = 0
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = matrix, (11.0, -23.0, 40.0)
    nibabel.save(nibabel.Nifti1Image(greys, affine), path)
    return path


def bright(slice_axis: int) -> tuple[int, ...]:
    return tuple(2 if axis == slice_axis else 6 for axis in range(3))


def run(model: SRModel, source: Path, output: Path, settings: ScanSettings | None = None) -> tuple[scan.Results, str]:
    text = io.StringIO()
    return super_resolve_scan(model, source, output, settings, Console(file=text, width=200)), text.getvalue()


def edges(image: SimpleITK.Image) -> np.ndarray:
    """World positions of the image's eight outer corners, but slice centres along the axis that is not refined."""
    slice_axis = int(np.argmax(image.GetSpacing()))
    ends = [
        (0.0, size - 1.0) if axis == slice_axis else (-0.5, size - 0.5) for axis, size in enumerate(image.GetSize())
    ]
    corners = np.stack(np.meshgrid(*ends, indexing="ij"), axis=-1).reshape(-1, 3)
    return np.array([image.TransformContinuousIndexToPhysicalPoint(corner.tolist()) for corner in corners])


@pytest.mark.parametrize("name", AFFINES)
def test_geometry_in_another_library(tmp_path: Path, model: SRModel, name: str) -> None:
    source = write_scan(tmp_path / "scan.nii.gz", AFFINES[name])
    results, _ = run(model, source, tmp_path / "sr.nii.gz")
    before, after = SimpleITK.ReadImage(str(source)), SimpleITK.ReadImage(str(results.volume))
    slice_axis = int(np.argmax(before.GetSpacing()))
    refined = [1 if axis == slice_axis else 8 for axis in range(3)]
    assert after.GetSize() == tuple(np.multiply(before.GetSize(), refined))
    assert np.allclose(np.multiply(after.GetSpacing(), refined), before.GetSpacing(), atol=1e-6)
    assert np.allclose(after.GetDirection(), before.GetDirection(), atol=1e-6)
    assert np.abs(edges(after) - edges(before)).max() < 1e-5  # the header holds single precision
    # The bright voxel's centre of mass is where the voxel was.
    excess = SimpleITK.GetArrayFromImage(after).astype(float) + 900
    excess[excess < 1] = 0
    centre = [np.average(index, weights=excess) for index in np.indices(excess.shape)][::-1]
    landed = after.TransformContinuousIndexToPhysicalPoint(centre)
    assert np.allclose(landed, before.TransformIndexToPhysicalPoint(bright(slice_axis)), atol=0.01)
    assert nibabel.aff2axcodes(nibabel.load(results.volume).affine) == nibabel.aff2axcodes(nibabel.load(source).affine)


def test_a_region_lies_where_it_lies_in_the_whole(tmp_path: Path, model: SRModel) -> None:
    source = write_scan(tmp_path / "scan.nii.gz", AFFINES["oblique"])
    whole = nibabel.load(run(model, source, tmp_path / "whole.nii")[0].volume)
    part = nibabel.load(run(model, source, tmp_path / "part.nii", ScanSettings(roi=[1, 4, 2, 12, 3, 15]))[0].volume)
    assert part.shape == (96, 80, 3)
    offset = np.linalg.inv(whole.affine) @ part.affine @ [0, 0, 0, 1]
    x, y, z = np.rint(offset[:3]).astype(int)
    assert np.allclose(offset[:3], [x, y, z], atol=1e-3)
    inner = np.s_[8:-8, 8:-8]
    in_whole = np.asarray(whole.dataobj)[x : x + 96, y : y + 80, z : z + 3]
    assert np.array_equal(np.asarray(part.dataobj)[inner], in_whole[inner])


def test_a_box_in_millimetres_is_the_region_of_its_voxels(tmp_path: Path, model: SRModel) -> None:
    source = write_scan(tmp_path / "scan.nii.gz", AFFINES["axial flipped"])
    image = SimpleITK.ReadImage(str(source))
    # About the centres of the voxels of the region below; the six slices of the file run downwards.
    corners = [image.TransformContinuousIndexToPhysicalPoint(end) for end in ((2.8, 1.8, 1.8), (14.2, 11.2, 4.2))]
    box = np.sort(corners, axis=0).T.ravel().tolist()
    images, records = [], []
    for settings in (ScanSettings(roi=[1, 4, 2, 12, 3, 15]), ScanSettings(box_mm=box)):
        results, _ = run(model, source, tmp_path / f"{len(images)}.nii", settings)
        images.append(nibabel.load(results.volume))
        records.append(json.loads(results.record.read_text()))
    one, other = images
    assert np.array_equal(one.affine, other.affine)
    assert np.array_equal(np.asarray(one.dataobj), np.asarray(other.dataobj))
    assert [record["geometry"]["part"] for record in records] == [[1, 4, 2, 12, 3, 15]] * 2
    assert [record["settings"]["box_mm"] for record in records] == [None, box]


@pytest.mark.parametrize(("grid", "pixel"), [("input", 0.9 / 8), ("model", 0.625 / 8)])
def test_another_spacing_is_resampled_and_said(tmp_path: Path, model: SRModel, grid: str, pixel: float) -> None:
    ramp = np.broadcast_to(np.linspace(-900, 0, 40)[:, None, None], (40, 32, 2)).astype(np.float32)
    source = write_scan(tmp_path / "scan.nii.gz", np.diag([0.9, 0.9, 2.0]), ramp)
    results, text = run(model, source, tmp_path / "sr.nii", ScanSettings(grid=grid))  # type: ignore[arg-type]
    assert "0.9000 x 0.9000 mm" in text
    assert "trained at 0.6250 x 0.6250 mm: resampled" in text
    image = nibabel.load(results.volume)
    assert image.header.get_zooms()[:2] == pytest.approx((pixel, pixel))
    # The greys are the same function of the world position as before.
    x = image.affine[0, 0] * np.arange(image.shape[0]) + image.affine[0, 3]
    expected = np.interp(x, 11 + 0.9 * np.arange(40), np.linspace(-900, 0, 40))
    inner = slice(40, -40)
    assert np.abs(np.asarray(image.dataobj)[inner, 100, 0] - expected[inner]).max() < 2


def test_tiles_change_nothing(tmp_path: Path, checkpoint: Path) -> None:
    source = write_scan(tmp_path / "scan.nii.gz", AFFINES["axial"])
    images = [
        np.asarray(
            nibabel.load(
                run(load_sr(checkpoint), source, tmp_path / f"{tile}.nii", ScanSettings(tile=tile))[0].volume
            ).dataobj
        )
        for tile in (None, 5)
    ]
    assert np.abs(images[0].astype(int) - images[1]).max() <= 1  # a grey at the edge of rounding
    assert (images[0] != images[1]).mean() < 1e-3


def test_micro_units(tmp_path: Path, model: SRModel) -> None:
    source = write_scan(tmp_path / "scan.nii.gz", AFFINES["axial"], np.full((8, 8, 3), -450, np.int16))
    results, _ = run(model, source, tmp_path / "sr.nii", ScanSettings(units="micro"))
    assert np.unique(np.asarray(nibabel.load(results.volume).dataobj)).tolist() == [2550]  # half way from 100 to 5000


def test_the_record_tells_where_it_comes_from(tmp_path: Path, checkpoint: Path, model: SRModel) -> None:
    source = write_scan(tmp_path / "scan.nii.gz", AFFINES["axial"])
    results, _ = run(model, source, tmp_path / "new folder" / "a=b, (1) µ.nii.gz")
    record = json.loads(results.record.read_text())
    assert results.record.name == "a=b, (1) µ.json"
    assert "Not for diagnosis" in record["notice"]
    assert "imitated" in record["notice"]
    assert record["checkpoint"]["sha256"] == model.sha256
    assert record["checkpoint"]["path"] == str(checkpoint)
    assert record["checkpoint"]["ctsr"]["stage"] == "sr"
    assert record["input"] == {
        "path": str(source),
        "sha256": content_hash(source),
        "greys": [-900.0, 0.0],
        "padding": None,
    }
    assert record["warnings"] == []
    assert record["settings"]["grid"] == "input"
    assert record["geometry"]["output_shape"] == [12 // 2, 14 * 8, 16 * 8]
    assert record["geometry"]["part"] is None
    assert {"ctsr", "torch", "python"} <= record["versions"].keys()
    assert results.picture.read_bytes().startswith(b"\x89PNG")
    assert sorted(file.name for file in results.volume.parent.iterdir()) == [
        "a=b, (1) µ.json",
        "a=b, (1) µ.nii.gz",
        "a=b, (1) µ.png",
    ]


def test_the_hash_of_a_folder_sees_names_and_bytes(tmp_path: Path) -> None:
    (tmp_path / "1.dcm").write_bytes(b"a")
    (tmp_path / "2.dcm").write_bytes(b"b")
    first = content_hash(tmp_path)
    (tmp_path / "2.dcm").write_bytes(b"c")
    second = content_hash(tmp_path)
    (tmp_path / "2.dcm").rename(tmp_path / "3.dcm")
    assert len({first, second, content_hash(tmp_path)}) == 3


def test_results_are_not_overwritten_unasked(tmp_path: Path, model: SRModel) -> None:
    source = write_scan(tmp_path / "scan.nii.gz", AFFINES["axial"])
    (tmp_path / "sr.png").write_text("mine")
    with pytest.raises(UserError, match=r"sr\.png exists.*overwrite=true"):
        run(model, source, tmp_path / "sr.nii.gz")
    assert not (tmp_path / "sr.nii.gz").exists()
    run(model, source, tmp_path / "sr.nii.gz", ScanSettings(overwrite=True))
    assert (tmp_path / "sr.nii.gz").exists()


def test_a_failure_on_the_way_leaves_nothing(tmp_path: Path, model: SRModel, monkeypatch: pytest.MonkeyPatch) -> None:
    source = write_scan(tmp_path / "scan.nii.gz", AFFINES["axial"])

    def fails(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(Engine, "enlarge", fails)
    with pytest.raises(MemoryError):
        run(model, source, tmp_path / "out" / "sr.nii.gz")
    assert list((tmp_path / "out").iterdir()) == []


def chest(path: Path, slices: int = 8) -> tuple[Path, np.ndarray]:
    """A round body with two round lungs, 64x80 voxels each slice; and where the lungs are, file axes."""
    rng = np.random.default_rng(0)
    x, y = np.ogrid[:80, :64]
    greys = np.full((80, 64, slices), -1000.0)
    greys[((x - 40) / 38) ** 2 + ((y - 32) / 30) ** 2 < 1] = 30
    lungs = np.zeros(greys.shape, dtype=bool)
    for middle in (22, 58):
        lungs |= (((x - middle) / 12) ** 2 + ((y - 32) / 18) ** 2 < 1)[..., None]
    greys[lungs] = -850
    greys += rng.normal(0, 40, greys.shape) * (greys > -999)
    nibabel.save(nibabel.Nifti1Image(greys.astype(np.int16), np.diag([0.625, 0.625, 1.5, 1.0])), path)
    return path, lungs


def test_a_region_of_lung_is_the_whole_ones_there_and_interpolated_elsewhere(tmp_path: Path, checkpoint: Path) -> None:
    source, lungs = chest(tmp_path / "scan.nii.gz")
    curve = GreyMap(np.array([-1.0, 1.0]), np.array([-0.5, 1.0]))
    model = load_sr(checkpoint)
    model = with_maps(model, clinical=curve)
    whole, part = (
        np.asarray(nibabel.load(run(model, source, tmp_path / f"{region}.nii", settings)[0].volume).dataobj)
        for region, settings in (
            ("all", ScanSettings(tile=8)),
            ("lung", ScanSettings(tile=8, region="lung")),
        )
    )
    fine = np.kron(lungs, np.ones((8, 8, 1), dtype=bool))
    assert np.array_equal(part[fine], whole[fine])
    # A corner, far from the lungs: air at -1000 HU is -1, which the map makes -0.5, and that is -725 HU.
    assert np.unique(part[:16, :16]).tolist() == [-725]
    assert (part != whole).mean() > 0.2
    record = json.loads((tmp_path / "lung.json").read_text())
    assert record["consistency"]["elsewhere"] is None
    assert record["consistency"]["lung"] == json.loads((tmp_path / "all.json").read_text())["consistency"]["lung"]


def test_calibrated_greys_are_written_in_their_hu(tmp_path: Path, checkpoint: Path) -> None:
    """-1 of the µCT is 40 HU above air here, +1 is soft tissue; outside the lung the scan's own HU are kept."""
    source, lungs = chest(tmp_path / "scan.nii.gz")
    model = load_sr(checkpoint)
    clinical = model.card.window("clinical")

    def written(name: str, region: str) -> np.ndarray:
        results, _ = run(model, source, tmp_path / name, ScanSettings(tile=8, region=region))  # type: ignore[arg-type]
        return np.asarray(nibabel.load(results.volume).dataobj).astype(float)

    before = written("plain.nii", "all")
    low, high = clinical.normalise([-960.0, 45.0]).astype(float)
    beyond = (high - low) / 2  # the line goes on to -2 and 2
    line = GreyMap(np.array([-2.0, 2.0]), np.array([low - beyond, high + beyond]))
    model = with_maps(model, calibrated=line)
    assert (model.card.hu.low, model.card.hu.high) == pytest.approx((-960, 45), abs=0.01)
    after = written("calibrated.nii", "all")
    share = (before - clinical.low) / (clinical.high - clinical.low)
    np.testing.assert_allclose(after, -960 + share * 1005, rtol=0, atol=1.5)  # HU are whole
    part = written("lung.nii", "lung")
    assert np.unique(part[:16, :16]).tolist() == [-960]  # air at -1000 HU, but the greys end there
    body = np.kron(~lungs, np.ones((8, 8, 1), dtype=bool))
    assert abs(np.median(part[300:340, 100:130][body[300:340, 100:130]]) - 30) < 10


def test_region_lung_without_lung_is_refused(tmp_path: Path, model: SRModel) -> None:
    body = np.full((12, 12, 4), -1000, np.int16)
    body[2:, 2:] = 40
    source = write_scan(tmp_path / "scan.nii.gz", AFFINES["axial"], body)
    with pytest.raises(UserError, match="region=lung: no lung found"):
        run(model, source, tmp_path / "sr.nii", ScanSettings(region="lung"))
    assert not (tmp_path / "sr.nii").exists()


def test_the_picture_has_cuts_and_differences(tmp_path: Path, model: SRModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each part shows the same part of the world: the interpolating network gives back what it was given."""
    source, _ = chest(tmp_path / "scan.nii.gz")
    seen = {}
    monkeypatch.setattr(
        scan, "write_picture", lambda views, cuts, *_: seen.update(views=views, cuts=cuts) or _[0].touch()
    )
    run(model, source, tmp_path / "sr.nii")
    assert [view.title for view in seen["views"]] == ["slice 1", "slice 4", "slice 6"]
    for view in seen["views"]:
        assert view.enlarged.shape == tuple(8 * n for n in view.clinical.shape)
        assert view.difference.shape == view.clinical.shape
        means = view.enlarged.reshape(view.clinical.shape[0], 8, -1, 8).mean(axis=(1, 3))
        assert np.corrcoef(means.ravel(), view.clinical.ravel())[0, 1] > 0.99
    assert [cut.title.split(",")[0] for cut in seen["cuts"]] == ["coronal", "sagittal"]
    for cut in seen["cuts"]:
        assert cut.enlarged.shape == (len(cut.clinical), 8 * cut.clinical.shape[1])
        assert cut.height_mm == pytest.approx(1.5 * len(cut.clinical))
        assert cut.width_mm == pytest.approx(0.625 * cut.clinical.shape[1])
        means = cut.enlarged.reshape(len(cut.clinical), -1, 8).mean(axis=2)
        assert np.corrcoef(means.ravel(), cut.clinical.ravel())[0, 1] > 0.95


@pytest.mark.parametrize("name", ["sr.mha", "sr.nii.zip", "sr"])
def test_other_formats_are_refused(tmp_path: Path, model: SRModel, name: str) -> None:
    with pytest.raises(UserError, match=r"name it \.nii\.gz or \.nii"):
        run(model, tmp_path / "scan.nii.gz", tmp_path / name)


def test_a_full_disk_is_noticed_before_work(tmp_path: Path, model: SRModel, monkeypatch: pytest.MonkeyPatch) -> None:
    source = write_scan(tmp_path / "scan.nii.gz", AFFINES["axial"])
    usage = results.shutil.disk_usage(tmp_path)
    monkeypatch.setattr(results.shutil, "disk_usage", lambda _: usage._replace(free=1000))
    with pytest.raises(UserError, match="GB free"):
        run(model, source, tmp_path / "sr.nii.gz")


@pytest.mark.parametrize(
    "changes",
    [
        {"roi": [1, 2]},
        {"roi": [0, 1.5, 0, 1, 0, 1]},
        {"slices": [1, 2, 3]},
        {"slices": 5},
        {"box_mm": [0, 1, 0, 1]},
        {"box_mm": [0, 1, 0, 1, 0, "a"]},
        {"box_mm": [0, 1, 0, 1, 0, float("nan")]},
        {"tile": 0},
        {"tile": "a"},
        {"precision": "16"},
        {"grid": "native"},
        {"units": "mm"},
        {"spacing_tolerance": -1},
        {"overwrite": "yes"},
        {"level": 10},
        {"region": "bone"},
    ],
)
def test_wrong_settings_are_named(changes: dict[str, object]) -> None:
    with pytest.raises(UserError, match=f"^{next(iter(changes))}="):
        ScanSettings().changed(**changes)


def test_an_unknown_device_is_named() -> None:
    with pytest.raises(UserError, match="device=abacus"):
        scan.find_device("abacus")


@pytest.mark.realdata
def test_a_real_field_of_view_that_ends_inside_the_body(tmp_path: Path, shared_data: Path) -> None:
    """The edge rang from -1864 to 657 HU."""
    trained = load_sr(REPOSITORY / "docs" / "results" / "phantom.ckpt")
    source = shared_data / "clinical" / "rider-pilot-0117"
    results, _ = run(trained, source, tmp_path / "sr.nii", ScanSettings(roi=(58, 60, 260, 340, 0, 60)))
    written = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(results.volume)))
    stored = SimpleITK.ReadImage(SimpleITK.ImageSeriesReader.GetGDCMSeriesFileNames(str(source)))
    outside = SimpleITK.GetArrayFromImage(stored)[58:60, 260:340, :60] < -2000
    fine = np.kron(outside, np.ones((1, 8, 8), dtype=bool))
    assert 0.05 < outside.mean() < 0.5
    assert np.unique(written[fine]).tolist() == [-1024]
    hu = trained.card.hu
    assert hu.low <= written.min()
    assert written.max() <= hu.high
    # Up to the edge, the result says what the scan says: so far off was the ringing.
    scanned = np.clip(SimpleITK.GetArrayFromImage(stored)[58:60, 260:340, :60], hu.low, hu.high)
    edge = ndimage.binary_dilation(outside, np.ones((1, 3, 3)), iterations=2) & ~outside
    means = written.reshape(2, 80, 8, 60, 8).mean(axis=(2, 4))
    assert np.abs(means - scanned)[edge].mean() < 50


@pytest.mark.realdata
def test_a_real_scan_lands_where_it_was(tmp_path: Path, model: SRModel, shared_data: Path) -> None:
    folder = shared_data / "clinical" / "rider-pilot-0117"
    settings = ScanSettings(roi=[20, 22, 200, 264, 100, 180])
    results, _ = run(model, folder, tmp_path / "sr.nii.gz", settings)
    reader = SimpleITK.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    before, after = reader.Execute(), SimpleITK.ReadImage(str(results.volume))
    assert after.GetSize() == (80 * 8, 64 * 8, 2)
    assert np.multiply(after.GetSpacing(), (8, 8, 1)) == pytest.approx(before.GetSpacing(), abs=1e-5)
    # SimpleITK has the same slices, rows and columns, so the region's corners can be named in its indices.
    for inner, outer in [((-0.5, -0.5, 0), (99.5, 199.5, 20)), ((639.5, 511.5, 1), (179.5, 263.5, 21))]:
        here = after.TransformContinuousIndexToPhysicalPoint(inner)
        assert here == pytest.approx(before.TransformContinuousIndexToPhysicalPoint(outer), abs=1e-3)
    # The network interpolates: averaged over its pixels, the scan is there again.
    fine = SimpleITK.GetArrayFromImage(after).reshape(2, 64, 8, 80, 8).mean(axis=(2, 4))
    scan_there = np.clip(SimpleITK.GetArrayFromImage(before)[20:22, 200:264, 100:180], -1000, 100)
    assert np.corrcoef(fine.ravel(), scan_there.ravel())[0, 1] > 0.98


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda hu: hu + 1024, "look like HU + 1024: subtract 1024"),
        (lambda hu: hu - 1024, "look like HU - 1024, the intercept applied twice"),
        (lambda hu: hu / 1000, "look like HU / 1000: multiply by 1000"),
        (lambda hu: np.clip((hu + 1000) / 1100, 0, 1), "look normalised"),
    ],
)
def test_a_scan_that_is_not_in_hu_is_refused_or_told_and_recorded(
    tmp_path: Path, model: SRModel, capsys: pytest.CaptureFixture[str], change: Callable[..., np.ndarray], message: str
) -> None:
    hu = np.full((24, 20, 3), -1000.0)
    hu[3:21, 3:17], hu[6:18, 6:14] = 40, -850
    source = write_scan(tmp_path / "scan.nii", AFFINES["axial"], change(hu).astype(np.float32))
    with pytest.raises(UserError) as caught:
        run(model, source, tmp_path / "sr.nii")
    assert str(caught.value).startswith(f"{source} is not enlarged: greys of ")
    assert message in str(caught.value)
    assert "must_be_hu=false" in str(caught.value)
    assert not list(tmp_path.glob("sr*"))

    results, _ = run(model, source, tmp_path / "sr.nii", ScanSettings(must_be_hu=False))
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"warning: {source}: greys of ")
    assert message in line
    record = json.loads(results.record.read_text())
    assert record["warnings"] == [line.removeprefix("warning: ")]
    assert record["input"]["greys"] == pytest.approx([change(hu).min(), change(hu).max()])


def test_an_mr_is_refused(tmp_path: Path, model: SRModel) -> None:
    """Body bright, air and lung dark, nothing below zero."""
    rng = np.random.default_rng(0)
    greys = rng.rayleigh(12, (64, 56, 4))
    greys[8:56, 6:50] += 400
    greys[16:48, 12:28] -= 320
    source = write_scan(tmp_path / "mr.nii", AFFINES["axial"], greys.astype(np.int16))
    with pytest.raises(UserError, match="is not enlarged: greys of 0"):
        run(model, source, tmp_path / "sr.nii")


def round_field(outside: int) -> tuple[np.ndarray, np.ndarray]:
    """A body wider than the scanner's round field of view, with lung in it; and where that field ends."""
    x, y = np.ogrid[:32, :32]
    inside = np.broadcast_to((((x - 15.5) ** 2 + (y - 15.5) ** 2) < 15**2)[..., None], (32, 32, 3))
    greys = np.full(inside.shape, 40, np.int16)
    greys[12:20, 12:20] = -850
    return np.where(inside, greys, outside).astype(np.int16), inside


@pytest.mark.parametrize(
    ("outside", "padding", "pixel", "grid"),
    [
        (-3024, "air", 0.625, "input"),
        (-2000, "scan", 0.625, "input"),
        (-3024, "scan", 0.9, "input"),
        (-2000, "air", 0.9, "model"),
    ],
)
def test_the_edge_of_the_field_of_view_does_not_ring(
    tmp_path: Path, model: SRModel, outside: int, padding: str, pixel: float, grid: str
) -> None:
    greys, inside = round_field(outside)
    source = write_scan(tmp_path / "scan.nii", np.diag([pixel, pixel, 1.5]), greys)
    settings = ScanSettings(padding=padding, grid=grid)  # type: ignore[arg-type]
    results, _ = run(model, source, tmp_path / "sr.nii", settings)
    written = nibabel.load(results.volume)
    fine = np.asarray(written.dataobj)
    # Where each voxel of the result lies in the scan, by its header.
    back = np.linalg.inv(nibabel.load(source).affine) @ written.affine
    x, y = (
        np.clip(np.rint(np.arange(n) * back[k, k] + back[k, 3]), 0, 31).astype(int)
        for k, n in ((0, fine.shape[0]), (1, fine.shape[1]))
    )
    there = inside[np.ix_(x, y, range(3))]
    assert np.unique(fine[~there]).tolist() == [outside if padding == "scan" else -1024]
    # The network interpolates: the body goes on as it is, to the last pixel.
    far = np.ones_like(fine, dtype=bool)
    middle, reach = fine.shape[0] // 2, fine.shape[0] // 4
    far[middle - reach : middle + reach, middle - reach : middle + reach] = False
    assert fine[there & far] == pytest.approx(40, abs=0 if pixel == 0.625 else 2)  # splines ring about the lung
    assert fine[middle, middle, 1] == pytest.approx(-850, abs=5)
    record = json.loads(results.record.read_text())
    assert record["input"]["padding"] == outside
    assert record["sampling"]["scan"]["hu"] == [-850, 40]
    for place in ("lung", "elsewhere"):
        assert record["consistency"][place] is None or record["consistency"][place]["p95_hu"] < 300


def test_a_slice_of_padding_alone_stays_padding(tmp_path: Path, model: SRModel) -> None:
    greys, _ = round_field(-2000)
    greys[..., 1] = -2000
    results, _ = run(model, write_scan(tmp_path / "scan.nii", AFFINES["axial"], greys), tmp_path / "sr.nii")
    fine = np.asarray(nibabel.load(results.volume).dataobj)
    assert np.unique(fine[..., 1]).tolist() == [-1024]
    assert fine[..., 0].max() == 40


@pytest.mark.parametrize("bias", [-5.0, 5.0])
def test_every_voxel_is_in_the_hu_of_the_window(tmp_path: Path, model: SRModel, bias: float) -> None:
    """Whatever the network overshoots by, and interpolation after it."""
    torch.nn.init.constant_(model.GS.last.bias, bias)
    line = GreyMap(np.array([-1.0, 1.0]), np.array([-1.05, 0.9]))  # to -1027.5 and 45 HU
    model = with_maps(model, calibrated=line)
    source = write_scan(tmp_path / "scan.nii.gz", np.diag([0.9, 0.9, 1.5]), np.full((16, 12, 3), -700, np.int16))
    results, _ = run(model, source, tmp_path / "sr.nii")
    fine = np.asarray(nibabel.load(results.volume).dataobj)
    assert np.unique(fine).tolist() == [-1027 if bias < 0 else 45]


@pytest.mark.parametrize(
    ("slice_mm", "warned"),
    [(1.5, None), (2.0, None), (3.0, "slices 3 mm apart, where the network learned on slices 1.5 mm")],
)
def test_distant_slices_are_told_beside_what_the_network_saw(
    tmp_path: Path, model: SRModel, capsys: pytest.CaptureFixture[str], slice_mm: float, warned: str | None
) -> None:
    source = write_scan(tmp_path / "scan.nii", np.diag([0.7, 0.625, slice_mm]), round_field(-2000)[0])
    results, text = run(model, source, tmp_path / "sr.nii")
    (line,) = (line for line in text.splitlines() if line.startswith("scan: "))
    assert line == (
        f"scan: pixels of 0.625 x 0.7 mm, slices {slice_mm:g} mm apart, -850 to 40 HU; "
        "learned on: pixels of 0.625 mm, slices 1.5 mm apart, -1000 to 100 HU"
    )
    record = json.loads(results.record.read_text())
    assert record["sampling"]["scan"]["slice_mm"] == pytest.approx(slice_mm)
    assert record["sampling"]["learned_on"]["slice_mm"] == 1.5
    err = capsys.readouterr().err
    assert len(record["warnings"]) == (warned is not None)
    assert (warned or "") in err


def test_titles_and_consistency_count_in_the_scan(
    tmp_path: Path, model: SRModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, _ = chest(tmp_path / "scan.nii.gz")
    titles: list[str] = []
    monkeypatch.setattr(
        scan,
        "write_picture",
        lambda views, cuts, *_: titles.extend(one.title for one in (*views, *cuts)) or _[0].touch(),
    )
    results, text = run(model, source, tmp_path / "whole.nii", ScanSettings(roi=(2, 8, 0, 64, 0, 80)))
    whole = list(titles)
    titles.clear()
    results, text = run(model, source, tmp_path / "part.nii", ScanSettings(roi=(5, 8, 10, 60, 4, 80)))
    assert all(2 <= int(title.removeprefix("slice ")) < 8 for title in whole if title.startswith("slice"))
    places = {title.split()[0].strip(","): int(title.split()[-1]) for title in titles}
    assert 5 <= places["slice"] < 8
    assert 10 <= places["coronal"] < 60
    consistency = json.loads(results.record.read_text())["consistency"]["lung"]
    assert f"|f(SR) - scan|: in the lung {consistency['mean_hu']:g} HU on average" in text


def test_a_scan_of_one_slice(tmp_path: Path, model: SRModel) -> None:
    ramp = np.broadcast_to(np.linspace(-900, 0, 16)[:, None, None], (16, 12, 1)).astype(np.int16)
    results, _ = run(model, write_scan(tmp_path / "scan.nii", AFFINES["axial"], ramp), tmp_path / "sr.nii")
    assert nibabel.load(results.volume).shape == (128, 96, 1)


def test_a_part_without_lung_is_told(tmp_path: Path, model: SRModel) -> None:
    source, _ = chest(tmp_path / "scan.nii.gz")
    settings = ScanSettings(region="lung", roi=(0, 2, 0, 8, 0, 8))
    _, text = run(model, source, tmp_path / "sr.nii", settings)
    assert "|f(SR) - scan|: nothing was computed\n" in text


def test_an_error_ends_the_progress_bar(tmp_path: Path, model: SRModel, monkeypatch: pytest.MonkeyPatch) -> None:
    source = write_scan(tmp_path / "scan.nii.gz", AFFINES["axial"])
    monkeypatch.setattr(Engine, "enlarge", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError) as caught:  # keeps the frames, as a program's end does
        run(model, source, tmp_path / "sr.nii.gz")
    assert caught.tb is not None
    check_bars_have_ended()


def test_what_a_coarser_precision_changes_is_told_and_recorded(tmp_path: Path, checkpoint: Path) -> None:
    source, _ = chest(tmp_path / "scan.nii.gz")
    part = ScanSettings(precision="bf16", slices=(3, 5))
    model = load_sr(checkpoint)
    torch.nn.init.normal_(model.GS.last.weight, 0.0, 0.05)  # else it interpolates, in float32
    results, text = run(model, source, tmp_path / "coarse.nii", part)
    exact, _ = run(model, source, tmp_path / "exact.nii", part.changed(precision="32"))
    (line,) = [line for line in text.splitlines() if line.startswith("precision=bf16: ")]
    told = json.loads(results.record.read_text())["engine"]["precision_error"]
    assert line.startswith(f"precision=bf16: {told['mean']:.2g} on average, {told['largest']:.2g} at most")
    assert json.loads(exact.record.read_text())["engine"]["precision_error"] is None
    coarse, fine = (np.asarray(nibabel.load(one.volume).dataobj).astype(int) for one in (results, exact))
    assert 0 < np.abs(coarse - fine).max() <= 2 * told["largest"] + 1  # told of one region, written of two slices
    assert np.abs(coarse - fine).mean() <= 2 * told["mean"] + 1


def test_a_region_of_lung_does_not_depend_on_the_engines_tiles(
    tmp_path: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, _ = chest(tmp_path / "scan.nii.gz")
    written = []
    for cache in (2**20, 2**24):  # tiles of 32 and of more than the 80 x 64 pixels of a slice
        monkeypatch.setattr(engine, "IN_CACHE", cache)
        results, _ = run(load_sr(checkpoint), source, tmp_path / f"{cache}.nii", ScanSettings(region="lung"))
        written.append(np.asarray(nibabel.load(results.volume).dataobj).astype(int))
        written.append(json.loads(results.record.read_text())["engine"]["tile"])
    one, small, other, large = written
    assert small < 64 < large
    assert np.abs(one - other).max() <= 1
