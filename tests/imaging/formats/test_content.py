"""A series is read only where all its slices have their content; what lies beside it and has none is no matter."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest
import tifffile
from PIL import Image

from ctsr.data.finding.cases import find_cases
from ctsr.data.inspect import main as inspect
from ctsr.errors import UserError
from ctsr.imaging.formats.content import lack_of
from ctsr.imaging.formats.readers import probe, read_volume
from ctsr.imaging.formats.recognise import format_of
from tests.data.trees import chest, nifti
from tests.imaging.formats import scan_files
from tests.imaging.formats.scan_files import Scan, ome_zarr_2, ome_zarr_3

LINK, EMPTY, NOT_FETCHED = "is a link to nothing: fetch it", "is empty: copy it again", "that was not fetched: fetch it"
KEY = "objects/MD5E-s33554--0123456789abcdef0123456789abcdef.dcm"
SLICES = 6


def cut_off(file: Path) -> None:
    file.unlink()
    file.symlink_to(f"../.git/annex/{KEY}")


def emptied(file: Path) -> None:
    file.write_bytes(b"")


def pointing(file: Path) -> None:
    file.write_text(f"/annex/{KEY}\n")


def pointing_as_text(file: Path) -> None:
    """As git-annex where the file system has no links."""
    file.write_text(f"../../.git/annex/objects/Xx/Yy/{KEY}")


def pointing_to_lfs(file: Path) -> None:
    file.write_text(
        "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22\nsize 33554\n"
    )


WAYS = [
    (cut_off, LINK),
    (emptied, EMPTY),
    (pointing, NOT_FETCHED),
    (pointing_as_text, NOT_FETCHED),
    (pointing_to_lfs, NOT_FETCHED),
]


@pytest.fixture
def greys() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (SLICES, 5, 6), dtype=np.uint8)


@pytest.fixture
def written(tmp_path, write_series, greys) -> Callable[[str], list[Path]]:
    """Writes six slices named by a pattern, whose ending tells the format."""

    def write(pattern: str) -> list[Path]:
        folder = tmp_path / "scan"
        files = [folder / pattern.format("abcdef"[z] if "{}" in pattern else z) for z in range(SLICES)]
        if files[0].suffix not in (".tif", ".png", ".bmp"):
            return write_series(folder, greys.astype(np.int16), names=[file.name for file in files])
        folder.mkdir()
        for file, page in zip(files, greys, strict=True):
            tifffile.imwrite(file, page) if file.suffix == ".tif" else Image.fromarray(page).save(file)
        return files

    return write


PATTERNS = ["IM{:04d}.dcm", "IM{:04d}", "1.2.840.{:d}", "I{:d}.IMA", "s_{:04d}.tif", "s{:d}.png", "s{:d}.bmp"]


@pytest.mark.parametrize("pattern", [*PATTERNS, "slice_{}.tif"])
@pytest.mark.parametrize("places", [(5,), (4, 5), (0,), (2, 3), (0, 5), (1, 2, 3, 4, 5)])
@pytest.mark.parametrize(("spoil", "told"), [WAYS[0], WAYS[1], WAYS[2]])
def test_slices_without_content_are_refused(written, pattern, places, spoil, told) -> None:
    files = written(pattern)
    for place in places:
        spoil(files[place])
    many = f" ({len(places)} files lack their content)" if len(places) > 1 else ""
    for read in (probe, read_volume):
        with pytest.raises(UserError, match=re.escape(files[places[0]].name)) as refused:
            read(files[0].parent, 0.05)
        assert str(refused.value).endswith(told + many)
        assert "\n" not in str(refused.value)


@pytest.mark.parametrize("pattern", PATTERNS)
def test_slices_that_all_lack_their_content(written, pattern) -> None:
    files = written(pattern)
    for file in files:
        cut_off(file)
    with pytest.raises(UserError, match=rf"{re.escape(files[0].name)} {LINK} \(6 files"):
        probe(files[0].parent, 0.05)


@pytest.mark.parametrize(("spoil", "told"), WAYS)
@pytest.mark.parametrize("name", ["x.nii.gz", "x.nii", "x.mha", "x.nrrd", "x.tif", "x.dcm"])
def test_a_scan_without_content(tmp_path, name, spoil, told) -> None:
    (tmp_path / name).write_bytes(b"x")
    spoil(tmp_path / name)
    with pytest.raises(UserError, match=rf"{re.escape(name)} .*{told}"):
        read_volume(tmp_path / name)


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("spoil", [cut_off, emptied])
@pytest.mark.parametrize(
    "name", ["README.txt", "README", ".done", "notes.txt", "Thumbs.db", "DICOMDIR", "log.csv", "done.lock", "scan.log"]
)
def test_what_does_not_belong_to_the_slices_is_no_matter(written, greys, pattern, spoil, name) -> None:
    folder = written(pattern)[0].parent
    (folder / name).write_bytes(b"x")
    spoil(folder / name)
    np.testing.assert_array_equal(read_volume(folder, 0.05).array, greys)


@pytest.mark.parametrize(("pattern", "name"), [("s{:d}.tif", "overview.tif"), ("s{:d}.png", "s_spr.png")])
def test_a_preview_without_content_is_no_matter(written, greys, pattern, name) -> None:
    folder = written(pattern)[0].parent
    (folder / name).symlink_to("gone")
    np.testing.assert_array_equal(read_volume(folder, 0.05).array, greys)


def test_previews_do_not_stand_in_for_slices_that_were_not_fetched(written, greys) -> None:
    files = written("IM{:d}.dcm")
    for file, page in zip(files, greys, strict=True):
        tifffile.imwrite(file.with_suffix(".tif"), page)
    for file in files[2:]:
        cut_off(file)
    assert format_of(files[0].parent) == "dicom"
    with pytest.raises(UserError, match=rf"IM2\.dcm {LINK} \(4 files"):
        read_volume(files[0].parent, 0.05)


def test_links_to_content_and_small_files_have_content(tmp_path, written, greys) -> None:
    files = written("s{:d}.png")
    store = tmp_path / "store"
    store.mkdir()
    for file in files:
        file.rename(store / file.name)
        file.symlink_to(store / file.name)
        assert lack_of(file) is None
    np.testing.assert_array_equal(read_volume(files[0].parent, 0.05).array, greys)
    assert lack_of(store) is None


@pytest.mark.parametrize("pattern", PATTERNS)
def test_slices_that_may_not_be_read(written, pattern, monkeypatch) -> None:
    files = written(pattern)
    access = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) not in files[3:5] and access(path, mode))
    told = rf"{re.escape(files[3].name)} cannot be opened: ask for the right to read it \(2 files"
    with pytest.raises(UserError, match=told):
        read_volume(files[0].parent, 0.05)


@pytest.mark.parametrize("pattern", PATTERNS)
def test_of_a_right_that_is_not_there_after_all_the_reader_tells(written, pattern, monkeypatch) -> None:
    """As on a server's disc, where only opening tells."""
    import builtins

    files, before = written(pattern), (builtins.open, Path.open)

    def closed(file: object, *args: object, **options: object) -> object:
        if isinstance(file, str | Path) and Path(file) == files[3]:
            raise PermissionError(13, "Permission denied", str(file))
        return (before[1] if isinstance(file, Path) else before[0])(file, *args, **options)  # type: ignore[operator]

    monkeypatch.setattr(builtins, "open", closed)
    monkeypatch.setattr(Path, "open", closed)
    with pytest.raises(UserError, match=rf"{re.escape(files[3].name)} cannot be opened: Permission denied"):
        read_volume(files[0].parent, 0.05)


@pytest.mark.parametrize("write", [ome_zarr_2, ome_zarr_3])
@pytest.mark.parametrize(("spoil", "told"), WAYS)
@pytest.mark.parametrize("place", [0, -1])
def test_chunks_of_a_store(tmp_path, write, spoil, told, place) -> None:
    greys = np.random.default_rng(0).integers(1, 1000, (3, 1100, 1000))  # in more than one chunk
    path = write(Scan(greys, (2.0, 0.5, 0.5), np.eye(3)[::-1], (0.0, 0.0, 0.0)), tmp_path / "scan")
    chunks = sorted(file for file in (path / "0").rglob("*") if file.is_file() and "zarr" not in file.name)
    spoil(chunks[place])
    with pytest.raises(UserError, match=rf"{re.escape(str(chunks[place]))} .*{told}"):
        read_volume(path)


@pytest.mark.parametrize("name", [".zattrs", "0/.zarray"])
def test_the_metadata_of_a_store(tmp_path, name) -> None:
    scan = Scan(np.ones((3, 4, 5), int), (2.0, 0.5, 0.5), np.eye(3)[::-1], (0.0, 0.0, 0.0))
    path = ome_zarr_2(scan, tmp_path / "scan")
    cut_off(path / name)
    with pytest.raises(UserError, match=rf"{re.escape(name)} {LINK}"):
        probe(path)


def test_inspect_and_cases_tell_it(tmp_path, written, capsys) -> None:
    files = written("IM{:04d}.dcm")
    for file in files[4:]:
        cut_off(file)
    nifti(tmp_path / "a.nii.gz", chest(0))
    assert [case.name for case in find_cases(tmp_path, "clinical")] == ["a", "scan"]
    capsys.readouterr()
    assert inspect([str(files[0].parent)]) == 2
    assert f"IM0004.dcm {LINK} (2 files lack their content)" in " ".join(capsys.readouterr().out.split())


def test_cases_without_content_are_passed_over_and_told(tmp_path, written, capsys) -> None:
    """One line a folder, however many slices it should hold."""
    files = written("IM{:04d}.dcm")
    for file in files:
        cut_off(file)
    nifti(tmp_path / "a.nii.gz", chest(0))
    (tmp_path / "b.nii.gz").symlink_to("gone")
    (tmp_path / "c.dcm").write_bytes(b"")
    (tmp_path / "LICENSE.txt").symlink_to("gone")
    (tmp_path / "done").write_bytes(b"")
    assert [case.name for case in find_cases(tmp_path, "clinical")] == ["a"]
    one, other = capsys.readouterr().err.splitlines()
    names = "IM0001.dcm, IM0002.dcm, IM0003.dcm, IM0004.dcm, IM0005.dcm"
    without = "and passed over, and so are others that lack their content"
    assert one == f"warning: {tmp_path / 'b.nii.gz'} is a link to nothing, {without}: c.dcm"
    assert other == f"warning: {files[0]} is a link to nothing, {without}: {names}"


def test_a_root_without_content(tmp_path, written) -> None:
    (tmp_path / "a.nii.gz").symlink_to("gone")
    with pytest.raises(UserError, match=rf"root={re.escape(str(tmp_path))}/a\.nii\.gz {LINK}"):
        find_cases(tmp_path / "a.nii.gz", "clinical")
    with pytest.raises(UserError, match=rf"a\.nii\.gz {LINK}"):
        find_cases(tmp_path, "clinical")
    with pytest.raises(UserError, match=rf"a\.nii\.gz {LINK}"):
        find_cases(tmp_path, "clinical", files="*.nii.gz")


def nifti_pair(scan: Scan, folder: Path) -> Path:
    folder.mkdir()
    nibabel.save(nibabel.Nifti1Pair(scan.stored.astype(np.int16), np.eye(4)), folder / "a.img")
    return folder / "a.hdr"


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", [scan_files.mhd_zraw, scan_files.nrrd_detached, nifti_pair])
def test_the_voxels_of_a_header_that_lack_their_content(tmp_path: Path, kind, way, greys, capfd) -> None:
    header = kind(Scan(greys, (1.0, 0.5, 0.5), np.eye(3)[::-1], (0.0, 0.0, 0.0)), tmp_path / "files")
    (voxels,) = (file for file in header.parent.iterdir() if file != header)
    spoil, told = way
    spoil(voxels)
    with pytest.raises(UserError) as refused:
        read_volume(header)
    assert str(refused.value).endswith(told)
    assert str(voxels) in str(refused.value)
    assert capfd.readouterr() == ("", ""), "no library speaks first"
