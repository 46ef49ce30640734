"""What holds of every format: sizes that can be meant, room in memory, and one line for whatever a library raises."""

from __future__ import annotations

import gzip
import struct
import zlib
from pathlib import Path

import nibabel
import numpy as np
import pytest
import tifffile

from ctsr.errors import UserError
from ctsr.imaging.formats import nifti, readers
from ctsr.imaging.formats.readers import check_header, free_memory, probe, read_volume
from ctsr.imaging.volume import Header


def header(*spacing: float, shape: tuple[int, int, int] = (4, 5, 6), voxel_bytes: int = 2) -> Header:
    return Header(shape, np.diag([*spacing, 1.0]), "nifti", voxel_bytes=voxel_bytes)


@pytest.mark.parametrize(
    "spacing",
    [
        (0.001, 0.001, 0.001),
        (0.0013, 0.0013, 0.0013),
        (0.05, 0.05, 0.05),
        (0.625, 0.5, 0.5),
        (5.0, 0.9, 0.9),
        (10.0, 5.0, 5.0),
        (1.0, 50.0, 1.0),
        (0.6, 0.6, 20.0),
    ],
)
def test_sizes_that_scanners_have(spacing: tuple[float, float, float]) -> None:
    check_header(Path("scan"), header(*spacing))


@pytest.mark.parametrize(
    "spacing",
    [
        (50.0, 50.0, 50.0),  # micrometres taken for millimetres
        (625.0, 500.0, 500.0),
        (2.0, 19.5, 19.5),
        (0.00005, 0.00005, 0.00005),  # metres taken for millimetres
        (0.002, 0.0006, 0.0006),
        (100.0, 1.0, 1.0),
    ],
)
def test_sizes_that_no_scanner_has(spacing: tuple[float, float, float]) -> None:
    with pytest.raises(UserError, match=r"^scan has voxels of .* mm \(z, y, x\): is the unit right\?"):
        check_header(Path("scan"), header(*spacing))


@pytest.mark.parametrize("spacing", [(0.0, 1.0, 1.0), (np.nan, 1.0, 1.0), (np.inf, 1.0, 1.0)])
def test_sizes_that_cannot_be(spacing: tuple[float, float, float]) -> None:
    with pytest.raises(UserError, match="write it anew with its spacing"):
        check_header(Path("scan"), header(*spacing))


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_a_wrong_unit_is_asked_about_by_every_reader(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"scan{ending}"
    nibabel.save(nibabel.Nifti1Image(np.zeros((4, 5, 6), np.int16), np.diag([50, 50, 60, 1.0])), path)
    for read in (probe, read_volume):
        with pytest.raises(UserError, match=r"voxels of 60 x 50 x 50 mm \(z, y, x\): is the unit right"):
            read(path)
    tifffile.imwrite(tmp_path / "scan.tif", np.zeros((4, 20, 20), np.uint8), photometric="minisblack")
    with pytest.raises(UserError, match=r"file_spacing=50 is not a voxel size: it is in mm"):
        probe(tmp_path / "scan.tif", spacing=50)


def test_a_scan_larger_than_memory_is_refused_before_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readers, "free_memory", lambda: 239)
    with pytest.raises(UserError, match=r"scan needs 0\.0 GB of memory, 0\.0 GB are free"):
        check_header(Path("scan"), header(1, 1, 1))
    check_header(Path("scan"), header(1, 1, 1, voxel_bytes=1))
    monkeypatch.setattr(readers, "free_memory", lambda: None)
    check_header(Path("scan"), header(1, 1, 1, shape=(2**20, 2**20, 2**20)))


def test_a_size_that_no_memory_holds(tmp_path: Path) -> None:
    data = bytearray(nibabel.Nifti1Image(np.zeros((4, 5, 6), np.int16), np.eye(4)).to_bytes())
    struct.pack_into("<3h", data, 42, 32767, 32767, 32767)
    (tmp_path / "huge.nii.gz").write_bytes(gzip.compress(data))
    (tmp_path / "huge.nii").write_bytes(data)
    with pytest.raises(UserError, match=r"huge\.nii\.gz needs 70,362\.3 GB of memory, .* GB are free"):
        probe(tmp_path / "huge.nii.gz")
    with pytest.raises(UserError, match=r"huge\.nii is cut off"):
        probe(tmp_path / "huge.nii")


def test_free_memory_counts_what_files_keep() -> None:
    free = free_memory()
    assert free is None or 0 < free < 2**50


ERRORS = [
    RuntimeError("many\nlines\n  the reason  \n"),
    ValueError("the reason"),
    KeyError("the reason"),
    IndexError("the reason"),
    AttributeError("the reason"),
    TypeError("the reason"),
    EOFError("the reason"),
    OSError("the reason"),
    OverflowError("the reason"),
    struct.error("the reason"),
    zlib.error("the reason"),
    SyntaxError("the reason"),
    NotImplementedError("the reason"),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("read", [probe, read_volume])
def test_whatever_a_library_raises_is_one_line(tmp_path: Path, monkeypatch, error, read) -> None:
    (tmp_path / "scan.nii").write_bytes(b"x")
    monkeypatch.setattr(nifti, "_kind", lambda start: (_ for _ in ()).throw(error))
    with pytest.raises(UserError, match=r"scan\.nii cannot be read: '?the reason'?$") as caught:
        read(tmp_path / "scan.nii")
    assert caught.value.__cause__ is error


def test_what_has_no_text_and_what_memory_lacks(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "scan.nii").write_bytes(b"x")
    monkeypatch.setattr(nifti, "_kind", lambda start: (_ for _ in ()).throw(EOFError()))
    with pytest.raises(UserError, match=r"scan\.nii cannot be read: EOFError$"):
        probe(tmp_path / "scan.nii")
    monkeypatch.setattr(nifti, "_kind", lambda start: (_ for _ in ()).throw(MemoryError()))
    with pytest.raises(UserError, match=r"scan\.nii does not fit into memory$"):
        probe(tmp_path / "scan.nii")


def test_a_bug_is_no_mistake_of_the_user_s(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "scan.nii").write_bytes(b"x")
    for bug in (NameError("x"), AssertionError("x"), ImportError("x")):
        monkeypatch.setattr(nifti, "_kind", lambda start, bug=bug: (_ for _ in ()).throw(bug))
        with pytest.raises(type(bug)):
            probe(tmp_path / "scan.nii")


@pytest.mark.parametrize("grey", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", ["scan.nii", "scan.tif"])
def test_greys_that_are_not_finite_are_named(tmp_path: Path, grey: float, name: str) -> None:
    greys = np.zeros((4, 5, 6), np.float32)
    greys[1, 2, 3] = grey
    if name == "scan.nii":
        nibabel.save(nibabel.Nifti1Image(greys, np.eye(4)), tmp_path / name)
    else:
        tifffile.imwrite(tmp_path / name, greys, photometric="minisblack")
    with pytest.raises(UserError, match="NaN" if np.isnan(grey) else "infinite"):
        read_volume(tmp_path / name, spacing=1.0)


def test_complex_greys_are_refused(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "scan.tif", np.zeros((4, 5, 6), np.complex64), photometric="minisblack")
    with pytest.raises(UserError, match=r"scan\.tif holds complex numbers"):
        read_volume(tmp_path / "scan.tif", spacing=1.0)
