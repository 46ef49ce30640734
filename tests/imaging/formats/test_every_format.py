"""One scan, whatever the file: the same voxels in the same place of the world, once read and once prepared."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK
from scipy import ndimage

from ctsr.data.finding.cases import Case, find_cases
from ctsr.data.preparing.hashes import scan_hash
from ctsr.data.preparing.settings import ClinicalSettings, MicroSettings
from ctsr.data.preparing.store import prepare
from ctsr.errors import UserError
from ctsr.imaging.formats import readers
from ctsr.imaging.formats.readers import probe, read_volume
from ctsr.imaging.formats.recognise import format_of
from ctsr.imaging.storage import MappedFiles
from tests.imaging.formats import scan_files
from tests.imaging.formats.scan_files import Scan

Writer = Callable[[Scan, Path], Path]

WITH_DIRECTIONS = [
    scan_files.dicom,
    scan_files.dicom_rle,
    scan_files.dicom_jpeg_lossless,
    scan_files.dicom_jpeg_ls,
    scan_files.dicom_jpeg_2000,
    scan_files.dicom_multi_frame,
    scan_files.nifti,
    scan_files.mha,
    scan_files.mhd_zraw,
    scan_files.nrrd_attached,
    scan_files.nrrd_detached,
]
AXIAL_ONLY = [scan_files.tiff_stack, scan_files.png_stack, scan_files.ome_zarr_2, scan_files.ome_zarr_3]
TELL_NO_SIZE = (scan_files.tiff_stack, scan_files.png_stack)
# DICOM says itself that it is a segmentation; of OME-Zarr no slices are looked at.
LABELS_NOT_SEEN = ("dicom", "ome-zarr")


def disk(size: int, radius: float) -> np.ndarray:
    centre = (size - 1) / 2
    y, x = np.indices((size, size)) - centre
    return np.hypot(y, x) < radius


@pytest.fixture(scope="module")
def chest() -> Scan:
    """HU, 8 oblique slices (gantry turned and table tilted), anisotropic, far from the origin."""
    plane = np.where(disk(64, 29), 30, -1000)
    plane[disk(64, 22)] = -850
    hu = np.repeat(plane[None], 8, axis=0) + np.random.default_rng(0).integers(-40, 40, (8, 64, 64))
    hu[3, 25, 33] = 60
    turn = SimpleITK.Euler3DTransform((0, 0, 0), 0.2, -0.1, 0.15).GetMatrix()
    directions = np.reshape(turn, (3, 3)).T[::-1]
    return Scan(hu, (2.5, 1.25, 1.5), directions, (-50.25, 120.5, -300.0), intercept=-1100)


@pytest.fixture(scope="module")
def specimen() -> Scan:
    """Greys of a µCT, axial, its first voxel at the world's origin: what TIFF and PNG can hold."""
    rng = np.random.default_rng(0)
    cells = ndimage.gaussian_filter(rng.normal(size=(15, 96, 104)), 1.2)
    tissue = np.clip(1 - np.abs(cells) / (0.25 * cells.std()), 0, 1)
    greys = 5000 + 19000 * tissue + rng.normal(0, 300, tissue.shape)
    return Scan(greys.astype(int), (0.1, 0.08, 0.08), np.eye(3)[::-1], (0.0, 0.0, 0.0))


@pytest.mark.parametrize("write", WITH_DIRECTIONS)
def test_scan_in_hu(write: Writer, chest: Scan, tmp_path: Path) -> None:
    path = write(chest, tmp_path / "scan")
    volume = read_volume(path)
    np.testing.assert_array_equal(volume.array, chest.greys)
    np.testing.assert_allclose(volume.affine, chest.affine, atol=1e-4)
    header = probe(path)
    assert header.shape == chest.greys.shape
    np.testing.assert_allclose(header.affine, volume.affine)


@pytest.mark.parametrize("write", [*WITH_DIRECTIONS, *AXIAL_ONLY])
def test_scan_in_greys(write: Writer, specimen: Scan, tmp_path: Path) -> None:
    path = write(specimen, tmp_path / "scan")
    spacing = specimen.spacing if write in TELL_NO_SIZE else None
    volume = read_volume(path, spacing)
    np.testing.assert_array_equal(volume.array, specimen.greys)
    np.testing.assert_allclose(volume.affine, specimen.affine, atol=1e-6)
    header = probe(path, spacing)
    assert header.shape == specimen.greys.shape
    np.testing.assert_allclose(header.affine, volume.affine)


@pytest.mark.parametrize("write", [*WITH_DIRECTIONS, *AXIAL_ONLY])
def test_a_scan_in_mapped_files_is_the_same(write: Writer, chest: Scan, specimen: Scan, tmp_path: Path) -> None:
    """With padding where a format can hold it; memory need not have room for it."""
    scan, below, spacing = specimen, None, specimen.spacing if write in TELL_NO_SIZE else None
    if write in WITH_DIRECTIONS:
        greys = np.where(disk(64, 31), chest.greys, -2000)
        scan, below = replace(chest, greys=greys, intercept=-2100), -1500
    path = write(scan, tmp_path / "scan")
    expected = read_volume(path, spacing, below)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(readers, "free_memory", lambda: 0)
        with pytest.raises(UserError, match="of memory"):
            read_volume(path, spacing, below)
        volume = read_volume(path, spacing, below, allocate=MappedFiles(tmp_path))
    assert volume.array.dtype == expected.array.dtype
    np.testing.assert_array_equal(volume.array, expected.array)
    np.testing.assert_array_equal(volume.affine, expected.affine)
    assert (volume.outside is None) == (below is None)
    np.testing.assert_array_equal(volume.outside, expected.outside)
    assert volume.padding == expected.padding


@pytest.mark.parametrize("write", [*WITH_DIRECTIONS, *AXIAL_ONLY])
def test_a_full_disk_is_no_fault_of_the_scan(
    write: Writer, specimen: Scan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    path = write(specimen, tmp_path / "scan")
    spacing = specimen.spacing if write in TELL_NO_SIZE else None
    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(OSError, match="No space left") as caught:
        read_volume(path, spacing, allocate=MappedFiles(tmp_path))
    assert caught.value.filename == str(tmp_path)


@pytest.mark.parametrize("native", [True, False])
@pytest.mark.parametrize("domain", ["clinical", "micro"])
def test_prepared_case_is_the_same(domain: str, native: bool, chest: Scan, specimen: Scan, tmp_path: Path) -> None:
    """Bit for bit; resampled, to the last bit of a half, for formats round their spacing differently."""
    settings: ClinicalSettings | MicroSettings
    if domain == "clinical":
        scan, writers = chest, WITH_DIRECTIONS
        settings = ClinicalSettings(spacing=None if native else 1.0)
    else:
        scan, writers = specimen, [*WITH_DIRECTIONS, *AXIAL_ONLY]
        settings = MicroSettings(spacing=None if native else 0.1, slab_mm=0.3, file_spacing=scan.spacing)
    cases = []
    for write in writers:
        path = write(scan, tmp_path / write.__name__)
        cases.append(prepare(Case(write.__name__, path), settings, tmp_path / "cache"))
    first = cases[0]
    assert len({case.folder for case in cases}) == len(writers), "each was read from its own file"
    assert first.mask.any()
    assert first.image.astype(np.float32).std() > 0.1
    for case in cases[1:]:
        np.testing.assert_allclose(case.affine, first.affine, atol=1e-4, err_msg=case.name)
        assert case.window.low == pytest.approx(first.window.low, abs=0 if native else 0.01)
        assert (case.mask != first.mask).mean() <= (0 if native else 1e-3), case.name
        for name in ("image", "slab"):
            one, other = (np.asarray(getattr(c, name), dtype=np.float32) for c in (case, first))
            np.testing.assert_allclose(one, other, rtol=0, atol=0 if native else 1e-3, err_msg=f"{case.name} {name}")


def test_every_format_is_found_as_a_case(specimen: Scan, tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    for write in (*WITH_DIRECTIONS, *AXIAL_ONLY):
        write(specimen, tmp_path / "root" / write.__name__)
    (tmp_path / "root" / "notes.txt").write_text("not a scan")
    names = [case.name for case in find_cases(tmp_path / "root", "micro")]
    assert names == sorted(write.__name__ for write in (*WITH_DIRECTIONS, *AXIAL_ONLY))


@pytest.mark.parametrize("write", [*WITH_DIRECTIONS, *AXIAL_ONLY])
def test_a_label_map_beside_a_scan_is_no_case(write: Writer, specimen: Scan, tmp_path: Path) -> None:
    seen = format_of(write(specimen, tmp_path / "scan")) not in LABELS_NOT_SEEN
    labels = np.zeros_like(specimen.greys)
    labels[3:9, 20:60, 30:80], labels[5:12, 50:80, 40:90] = 1, 2
    write(replace(specimen, greys=labels), tmp_path / "organs")
    names = [case.name for case in find_cases(tmp_path, "micro")]
    assert names == (["scan"] if seen else ["organs", "scan"])


@pytest.mark.parametrize("write", [*WITH_DIRECTIONS, *AXIAL_ONLY])
def test_every_file_of_a_scan_counts_in_its_hash(write: Writer, specimen: Scan, tmp_path: Path) -> None:
    """So that a prepared case is made anew whatever changes, and no result comes over a part of its scan."""
    path = write(specimen, tmp_path / "scan")
    before = scan_hash(path)
    for file in [file for file in tmp_path.rglob("*") if file.is_file()]:
        content = file.read_bytes()
        file.write_bytes(content + b"\n")
        assert scan_hash(path) != before, file.name
        file.write_bytes(content)
    assert scan_hash(path) == before


@pytest.mark.parametrize("write", [write for write in (*WITH_DIRECTIONS, *AXIAL_ONLY) if write not in TELL_NO_SIZE])
def test_a_scan_that_is_cut_off_is_one_line(write: Writer, specimen: Scan, tmp_path: Path) -> None:
    path = write(specimen, tmp_path / "scan")
    files = [file for file in tmp_path.rglob("*") if file.is_file()]
    largest = max(files, key=lambda file: file.stat().st_size)
    largest.write_bytes(largest.read_bytes()[: largest.stat().st_size // 2])
    with pytest.raises(UserError) as told:
        read_volume(path)
    assert "\n" not in str(told.value)
    assert str(tmp_path) in str(told.value)


def test_gdcm_agrees_on_a_multi_frame_file(chest: Scan, tmp_path: Path) -> None:
    """Frames in the order of their positions, so that GDCM's reading of the whole file needs no sorting."""
    path = scan_files.dicom_multi_frame(chest, tmp_path / "scan")
    data = pydicom.dcmread(path)
    order = np.argsort(
        [frame.PlanePositionSequence[0].ImagePositionPatient[2] for frame in data.PerFrameFunctionalGroupsSequence]
    )
    data.PerFrameFunctionalGroupsSequence = [data.PerFrameFunctionalGroupsSequence[k] for k in order]
    data.PixelData = np.frombuffer(data.PixelData, np.uint16).reshape(chest.greys.shape)[order].tobytes()
    data.save_as(path)
    image = SimpleITK.ReadImage(str(path))
    volume = read_volume(path)
    np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(image), volume.array)
    for index in ((0, 0, 0), (7, 10, 20)):
        lps = image.TransformContinuousIndexToPhysicalPoint([float(v) for v in index[::-1]])
        np.testing.assert_allclose((volume.affine @ [*index, 1])[:3], np.array(lps) * (-1, -1, 1), atol=1e-3)


def test_missing_frame_is_named(chest: Scan, tmp_path: Path) -> None:
    path = scan_files.dicom_multi_frame(chest, tmp_path / "scan")
    data = pydicom.dcmread(path)
    del data.PerFrameFunctionalGroupsSequence[1]
    data.NumberOfFrames = 7
    data.PixelData = data.PixelData[: 7 * 64 * 64 * 2]
    data.save_as(path)
    with pytest.raises(UserError, match=r"5 mm between frame 5 of all\.dcm and frame 6 of all\.dcm, where 2\.5 mm"):
        read_volume(path)


def test_a_compression_that_cannot_be_read_is_named(chest: Scan, tmp_path: Path) -> None:
    folder = scan_files.dicom_jpeg_lossless(chest, tmp_path / "scan")
    for file in folder.iterdir():
        data = pydicom.dcmread(file)
        data.file_meta.TransferSyntaxUID = pydicom.uid.HTJ2KLossless
        data.save_as(file)
    with pytest.raises(UserError, match=r"\.dcm \(High-Throughput JPEG 2000.*cannot be read"):
        read_volume(folder)


def test_ome_zarr_gives_the_coarsest_level_that_is_fine_enough(specimen: Scan, tmp_path: Path) -> None:
    path = scan_files.ome_zarr_2(specimen, tmp_path / "scan")
    for wanted, step in ((None, 1), (0.05, 1), (0.1, 1), (0.16, 2), (1.0, 2)):
        volume = read_volume(path, level_mm=wanted)
        np.testing.assert_array_equal(volume.array, specimen.greys[:, ::step, ::step])
        assert volume.spacing == pytest.approx((0.1, step * 0.08, step * 0.08))


def test_ome_zarr_without_units_needs_a_spacing(specimen: Scan, tmp_path: Path) -> None:
    path = scan_files.ome_zarr_3(specimen, tmp_path / "scan")
    text = (path / "zarr.json").read_text()
    (path / "zarr.json").write_text(text.replace(', "unit": "micrometer"', ""))
    with pytest.raises(UserError, match=r"has no unit along its axes: give file_spacing="):
        read_volume(path)
    assert read_volume(path, (0.2, 0.04, 0.04)).spacing == pytest.approx((0.2, 0.04, 0.04))
    assert read_volume(path, (0.2, 0.04, 0.04), level_mm=0.08).spacing == pytest.approx((0.2, 0.08, 0.08))


@pytest.mark.parametrize(
    ("name", "expected"), [("scan.mhd", "scan.zraw"), ("scan.nhdr", "scan.raw.gz"), ("scan.mha", "")]
)
def test_data_cut_off_or_missing(name: str, expected: str, chest: Scan, tmp_path: Path) -> None:
    writers = {"scan.mhd": scan_files.mhd_zraw, "scan.nhdr": scan_files.nrrd_detached, "scan.mha": scan_files.mha}
    path = writers[name](chest, tmp_path / "scan")
    if expected:
        (path.parent / expected).unlink()
    else:
        path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(UserError, match=rf"{name} (is not readable|cannot be read)") as caught:
        read_volume(path)
    assert "\n" not in str(caught.value)


def test_not_a_grey_volume(tmp_path: Path) -> None:
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(np.zeros((4, 5), np.int16)), str(tmp_path / "flat.mha"))
    colours = SimpleITK.GetImageFromArray(np.zeros((4, 5, 6, 3), np.uint8), isVector=True)
    SimpleITK.WriteImage(colours, str(tmp_path / "colour.nrrd"))
    with pytest.raises(UserError, match=r"flat\.mha has 2 dimensions"):
        read_volume(tmp_path / "flat.mha")
    with pytest.raises(UserError, match=r"colour\.nrrd has 3 dimensions and 3 values a voxel"):
        read_volume(tmp_path / "colour.nrrd")


@pytest.mark.parametrize("ending", [".png", ".bmp"])
def test_pictures_of_eight_bits(ending: str, tmp_path: Path) -> None:
    greys = np.random.default_rng(0).integers(0, 255, (11, 5, 7)).astype(np.uint8)
    for z, page in enumerate(greys):
        SimpleITK.WriteImage(SimpleITK.GetImageFromArray(page), str(tmp_path / f"s{z}{ending}"))
    volume = read_volume(tmp_path, spacing=0.05)
    np.testing.assert_array_equal(volume.array, greys)
    assert volume.array.dtype == np.uint8
    with pytest.raises(UserError, match="file_spacing"):
        read_volume(tmp_path)


def test_pictures_in_colour_or_of_another_size_are_refused(tmp_path: Path) -> None:
    for z, size in enumerate((5, 5, 6)):
        page = SimpleITK.GetImageFromArray(np.zeros((size, 5), np.uint8))
        SimpleITK.WriteImage(page, str(tmp_path / f"s{z}.png"))
    with pytest.raises(UserError, match=r"s2\.png is \(6, 5\), unlike s0\.png"):
        read_volume(tmp_path, 0.05)
    colour = SimpleITK.GetImageFromArray(np.arange(75, dtype=np.uint8).reshape(5, 5, 3), isVector=True)
    SimpleITK.WriteImage(colour, str(tmp_path / "s0.png"))
    with pytest.raises(UserError, match=r"s0\.png is a colour image"):
        read_volume(tmp_path, 0.05)


def test_screenshots_beside_a_scan_are_no_case(chest: Scan, tmp_path: Path) -> None:
    folder = scan_files.dicom(chest, tmp_path / "scan")
    for z in range(4):
        page = SimpleITK.GetImageFromArray(np.zeros((5, 5), np.uint8))
        SimpleITK.WriteImage(page, str(folder / f"screen{z}.png"))
    assert [case.path for case in find_cases(tmp_path, "clinical")] == [folder]
    assert read_volume(folder).array.shape == chest.greys.shape
    scan_files.nifti(chest, tmp_path / "more")
    for z in range(4):
        (tmp_path / "more" / f"screen{z}.png").write_bytes((folder / "screen0.png").read_bytes())
    assert [case.name for case in find_cases(tmp_path, "clinical")] == ["more", "scan"]


@pytest.mark.realdata
def test_elastix_lung(shared_data: Path) -> None:
    (file,) = (shared_data / "clinical" / "elastix-3dct-lung").glob("*.mha")
    volume = read_volume(file)
    assert volume.array.shape == (115, 157, 129) or volume.array.shape == (129, 157, 115)
    image = SimpleITK.ReadImage(str(file))
    np.testing.assert_allclose(volume.spacing, image.GetSpacing()[::-1])
