"""Which pages of a TIFF are the volume, and their greys: files by hand, by Pillow and by SimpleITK."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK
import tifffile
from PIL import Image

from ctsr.errors import UserError
from ctsr.imaging.formats.readers import probe, read_volume
from tests.imaging.formats.tiff import tiff_by_hand as by_hand
from tests.imaging.formats.tiff.tiff_by_hand import write_tiff

GREYS = np.random.default_rng(0).integers(0, 60000, (6, 8, 9)).astype(np.uint16)
BYTES = (GREYS >> 8).astype(np.uint8)


def read(file: Path) -> np.ndarray:
    """Read, and make sure that the header tells the same."""
    volume = read_volume(file, 0.05)
    assert probe(file, 0.05).shape == volume.shape
    assert volume.array.dtype.isnative
    return volume.array


def same(file: Path, expected: np.ndarray) -> None:
    array = read(file)
    np.testing.assert_array_equal(array, expected)
    assert array.dtype == expected.dtype


def refused(file: Path, match: str) -> None:
    with pytest.raises(UserError, match=match) as caught:
        read_volume(file, 0.05)
    assert "\n" not in str(caught.value)
    assert file.name in str(caught.value)


# --- which pages


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("kind", ["uint8", "int16", "uint16", "int32", "float32"])
def test_number_types_and_byte_orders(kind: str, big: bool, order: str, tmp_path: Path) -> None:
    """Signed numbers stay signed, whatever the byte order and the kind of TIFF; SimpleITK agrees."""
    pages = (GREYS.astype(np.int64) - 30000 * (kind[0] != "u")).astype(kind)
    file = write_tiff(tmp_path / "scan.one.TIF", pages, order=order, big=big)
    same(file, pages)
    np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(file))), pages)


def test_files_of_other_libraries(tmp_path: Path) -> None:
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(GREYS), str(tmp_path / "itk.tif"))
    same(tmp_path / "itk.tif", GREYS)
    first, *others = [Image.fromarray(page) for page in GREYS]
    first.save(tmp_path / "pillow.tiff", save_all=True, append_images=others)
    same(tmp_path / "pillow.tiff", GREYS)
    first.save(tmp_path / "one.tif")
    same(tmp_path / "one.tif", GREYS[:1])


@pytest.mark.parametrize("preview", [GREYS[0, ::4, ::4], BYTES[0], np.dstack([BYTES[0], BYTES[1], BYTES[2]])])
@pytest.mark.parametrize("last", [False, True])
def test_a_preview_before_or_after_the_volume(
    preview: np.ndarray, last: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pages = [*GREYS, preview] if last else [preview, *GREYS]
    same(write_tiff(tmp_path / "a.tif", pages), GREYS)
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert f"a.tif: passed over, unlike the other 6 pages: page {7 if last else 1}\n" in told


@pytest.mark.parametrize("unlike", [GREYS[3, :4], BYTES[3]])
def test_an_unlike_page_inside_the_volume_is_named(unlike: np.ndarray, tmp_path: Path) -> None:
    refused(write_tiff(tmp_path / "a.tif", [*GREYS[:3], unlike, *GREYS[4:]]), r"a\.tif holds 2 images .*page 4 has")


@pytest.mark.parametrize("first", [0, 1, 6])
def test_pages_marked_as_reduced_are_no_slices(first: int, tmp_path: Path) -> None:
    small = [page[::2, ::2] for page in GREYS[:2]]
    pages = [*GREYS[:first], *small, *GREYS[first:]]
    marks = {index: {by_hand.REDUCED: 1} for index in (first, first + 1)}
    same(write_tiff(tmp_path / "a.tif", pages, own=marks), GREYS)


def test_two_volumes_or_two_slices_in_a_file_are_refused(tmp_path: Path) -> None:
    refused(write_tiff(tmp_path / "a.tif", [*GREYS, *GREYS[:4, :5]]), "holds 2 images of different kinds; page 7 has")
    refused(write_tiff(tmp_path / "a.tif", [GREYS[0], GREYS[0, :5]]), "holds 2 images of different kinds; page 2 has")


def test_a_pyramid_gives_its_finest_level(tmp_path: Path) -> None:
    for name, metadata in (("a.ome.tif", {"axes": "ZYX"}), ("a.tif", None)):
        with tifffile.TiffWriter(tmp_path / name) as tiff:
            tiff.write(GREYS, subifds=1, photometric="minisblack", metadata=metadata)
            tiff.write(GREYS[:, ::2, ::2], subfiletype=1, photometric="minisblack", metadata=None)
        same(tmp_path / name, GREYS)


@pytest.mark.parametrize(
    ("description", "match"),
    [
        (by_hand.imagej(3, images=6, channels=2, hyperstack="true"), "holds 2 channels"),
        (by_hand.imagej(1, images=6, channels=6, hyperstack="true"), "holds 6 channels"),
        (by_hand.imagej(2, images=6, frames=3, hyperstack="true"), "holds 3 times"),
        (by_hand.imagej(12, images=12), "fewer pages than ImageJ says"),
        (by_hand.ome((3, 8, 9), c=2), "holds 2 channels"),
        (by_hand.ome((2, 8, 9), t=3), "holds 3 times"),
        (by_hand.ome((3, 8, 9), images=2), "holds 2 images"),
        (by_hand.ome((48, 8, 9)), "holds 6 of the 48 slices"),
    ],
)
def test_channels_times_and_several_images_are_refused(description: str, match: str, tmp_path: Path) -> None:
    refused(write_tiff(tmp_path / "a.tif", GREYS, description), match)


def test_several_volumes_are_refused(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.stack([GREYS, GREYS]), photometric="minisblack")
    refused(tmp_path / "a.tif", "holds several volumes, 2 x 6 slices")


def test_slices_that_were_called_channels_are_taken_with_a_word(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pages = np.concatenate([GREYS, GREYS])
    same(write_tiff(tmp_path / "a.tif", pages, by_hand.imagej(1, images=12, channels=12)), pages)
    assert "its 12 pages are called channels" in capsys.readouterr().err


def test_a_file_of_an_ome_set_is_its_own_pages(tmp_path: Path) -> None:
    """Each names the whole set; a folder of them is a stack."""
    for z, page in enumerate(GREYS):
        write_tiff(tmp_path / f"set_{z}.ome.tif", [page], by_hand.ome(GREYS.shape))
    np.testing.assert_array_equal(read_volume(tmp_path, 0.05).array, GREYS)
    (tmp_path / "set_5.ome.tif").unlink()
    with pytest.raises(UserError, match="holds 5 of the 6 slices that its OME metadata name"):
        probe(tmp_path, 0.05)
    refused(tmp_path / "set_0.ome.tif", "holds 1 of the 6 slices")


# --- greys


@pytest.mark.parametrize(("kind", "bits"), [("uint8", 8), ("uint16", 16), ("uint16", 12), ("int16", 16), ("uint8", 1)])
def test_white_is_zero(kind: str, bits: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Denser is brighter, within the range that the bits have."""
    signed = kind[0] == "i"
    stored = (GREYS.astype(np.int64) % (1 << bits) - (32768 if signed else 0)).astype(kind)
    packed = bits if bits % 8 else None
    file = write_tiff(tmp_path / "a.tif", stored, bits=packed, tags={by_hand.PHOTOMETRIC: 0})
    array = read(file)
    np.testing.assert_array_equal(array, (-1 if signed else (1 << bits) - 1) - stored.astype(np.int64))
    assert array.dtype == np.dtype(kind)
    assert "WhiteIsZero" in capsys.readouterr().err
    same(write_tiff(tmp_path / "b.tif", stored, bits=packed), stored)


def test_numbers_that_are_no_greys_are_refused(tmp_path: Path) -> None:
    reals = GREYS.astype(np.float32)
    refused(write_tiff(tmp_path / "a.tif", reals, tags={by_hand.PHOTOMETRIC: 0}), "WhiteIsZero")
    refused(write_tiff(tmp_path / "a.tif", reals.astype(np.complex64)), "complex")
    for wrong, what in ((np.nan, "not numbers"), (np.inf, "infinite")):
        reals[3, 4, 5] = wrong
        refused(write_tiff(tmp_path / "a.tif", reals), what)


@pytest.mark.parametrize("slope", [257, -257, 256, 1])
def test_a_palette_of_greys_gives_its_greys(slope: int, tmp_path: Path) -> None:
    """Pillow agrees, except where a program kept 8 bits in the 16."""
    ramp = np.arange(256) * abs(slope)
    ramp = ramp[::-1] if slope < 0 else ramp
    tags = {by_hand.PHOTOMETRIC: 3, by_hand.COLOURS: np.tile(ramp, 3).tolist()}
    file = write_tiff(tmp_path / "a.tif", BYTES, tags=tags)
    same(file, BYTES if slope > 0 else 255 - BYTES)
    if abs(slope) > 1:
        np.testing.assert_array_equal(np.asarray(Image.open(file).convert("L")), read(file)[0])


def test_colours_are_refused_and_equal_ones_are_grey(tmp_path: Path) -> None:
    colours = [np.stack([page, page, page], axis=-1) for page in BYTES]
    same(write_tiff(tmp_path / "a.tif", colours), BYTES)
    opaque = [np.dstack([page, np.full_like(page, 255)]) for page in BYTES]
    same(write_tiff(tmp_path / "a.tif", opaque, tags={by_hand.PHOTOMETRIC: 1, by_hand.EXTRA: 2}), BYTES)
    opaque[0][2, 2, 1] = 0
    refused(write_tiff(tmp_path / "a.tif", opaque, tags={by_hand.PHOTOMETRIC: 1, by_hand.EXTRA: 2}), "transparent")
    colours[0][2, 3, 1] += 1
    palette = {by_hand.PHOTOMETRIC: 3, by_hand.COLOURS: [*range(0, 65536, 256), *[0] * 256, *range(0, 65536, 256)]}
    for file in (
        write_tiff(tmp_path / "a.tif", colours),
        write_tiff(tmp_path / "a.tif", BYTES, tags=palette),
        write_tiff(tmp_path / "a.tif", colours, tags={by_hand.PHOTOMETRIC: 8}),
    ):
        with pytest.raises(UserError, match=r"a\.tif is a colour image"):
            probe(file, 0.05)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ({"c0": -32768.0, "c1": 1.0}, GREYS.astype(np.int32) - 32768),
        ({"c0": -1024, "c1": 1}, GREYS.astype(np.int32) - 1024),
        ({"c0": 10.0, "c1": 0.5}, (10 + 0.5 * GREYS).astype(np.float32)),
    ],
)
def test_imagej_calibrates_greys(line: dict[str, float], expected: np.ndarray, tmp_path: Path) -> None:
    """So it keeps numbers with a sign: stored without one, 32768 too high."""
    description = by_hand.imagej(6, cf=0, **line, vunit="Gray Value")
    array = read(write_tiff(tmp_path / "a.tif", GREYS, description))
    np.testing.assert_array_equal(array, expected)
    refused(write_tiff(tmp_path / "a.tif", GREYS, by_hand.imagej(6, cf=3, c0=1, c1=2, c2=3)), "by a curve")


# --- damage


@pytest.mark.parametrize("writer", ["by hand", "pillow", "deflate", "imagej", "itk"])
def test_a_file_cut_off_anywhere_is_refused(writer: str, tmp_path: Path) -> None:
    file = tmp_path / "a.tif"
    first, *others = [Image.fromarray(page) for page in GREYS]
    if writer == "by hand":
        write_tiff(file, GREYS)
    elif writer == "imagej":
        write_tiff(file, GREYS, by_hand.imagej(6, unit="um", spacing=50))
    elif writer == "itk":
        SimpleITK.WriteImage(SimpleITK.GetImageFromArray(GREYS), str(file))
    else:
        compression = {"compression": "tiff_adobe_deflate"} if writer == "deflate" else {}
        first.save(file, save_all=True, append_images=others, **compression)
    whole = file.read_bytes()
    same(file, GREYS)
    for size in range(0, len(whole) - 60, max(1, len(whole) // 40)):
        file.write_bytes(whole[:size])
        refused(file, r"a\.tif (is|holds) ")


def test_a_slice_cut_off_in_a_folder_is_named(tmp_path: Path) -> None:
    for z, page in enumerate(GREYS):
        file = write_tiff(tmp_path / f"s{z}.tif", [page])
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(UserError, match=r"s5\.tif is "):
        probe(tmp_path, 0.05)


def test_a_page_that_was_never_written_is_named(tmp_path: Path) -> None:
    """A strip of no bytes, as an interrupted program leaves it, would read as black."""
    refused(write_tiff(tmp_path / "a.tif", GREYS, own={4: {by_hand.LENGTHS: 0}}), "page 5 is not whole")


@pytest.mark.parametrize(
    "error", [ValueError("<COMPRESSION.LZW: 5> requires the 'imagecodecs' package"), ImportError("No module LZW")]
)
def test_a_missing_codec_is_named(error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def decode(*_: object, **__: object) -> None:
        raise error

    Image.fromarray(GREYS[0]).save(tmp_path / "a.tif", compression="tiff_lzw")
    same(tmp_path / "a.tif", GREYS[:1])
    monkeypatch.setattr(tifffile.TiffPage, "asarray", decode)
    with pytest.raises(UserError, match=r"a\.tif .*LZW.*pip install imagecodecs, or save it without compression"):
        probe(tmp_path / "a.tif", 0.05)


def test_what_the_library_complains_of_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    same(write_tiff(tmp_path / "a.tif", GREYS, tags={by_hand.UNIT: 77}), GREYS)
    told = capsys.readouterr().err
    assert told.startswith(f"warning: {tmp_path / 'a.tif'}: ")
    assert told.count("\n") == 1


def test_a_header_larger_than_any_memory_is_told_before_it_is_filled(tmp_path: Path) -> None:
    for z, page in enumerate(GREYS):
        write_tiff(tmp_path / f"s{z}.tif", [page], own={0: {by_hand.WIDTH: 2_000_000_000}} if z == 3 else None)
    with pytest.raises(UserError, match=r"s3\.tif is "):
        probe(tmp_path, 0.05)
