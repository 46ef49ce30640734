"""Folders of PNG and BMP: files by hand and by SimpleITK, which also reads them for comparison."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK

from ctsr.data.finding.cases import find_cases
from ctsr.errors import UserError
from ctsr.imaging.formats.readers import probe, read_volume
from tests.imaging.formats.pictures_by_hand import GREY, GREY_ALPHA, PALETTE, RGB, RGBA, write_bmp, write_png

WORDS = np.random.default_rng(0).integers(0, 65536, (5, 6, 7)).astype(np.uint16)
BYTES = (WORDS >> 8).astype(np.uint8)
RAMP = np.repeat(np.arange(256)[:, None], 3, axis=1)
COLOURED = np.stack([np.arange(256), np.arange(256)[::-1], np.arange(256)], axis=1)


def grey3(page: np.ndarray) -> np.ndarray:
    return np.repeat(page[..., None], 3, axis=2)


def with_alpha(page: np.ndarray, alpha: int = 255) -> np.ndarray:
    return np.dstack([page, np.full(page.shape[:2], alpha)])


def stack(folder: Path, write: Callable[[Path, np.ndarray], object], pages: np.ndarray, ending: str) -> Path:
    folder.mkdir(exist_ok=True)
    for z, page in enumerate(pages):
        write(folder / f"s.{z + 7}.{ending}", page)
    return folder


@pytest.mark.parametrize(
    ("write", "pages", "expected"),
    [
        (lambda f, p: write_png(f, p, GREY), BYTES, BYTES),
        (lambda f, p: write_png(f, p, GREY, 16), WORDS, WORDS),
        (lambda f, p: write_png(f, p, GREY, 4), BYTES >> 4, (BYTES >> 4) * 17),
        (lambda f, p: write_png(f, p, GREY, 1), BYTES >> 7, (BYTES >> 7) * 255),
        (lambda f, p: write_png(f, p, PALETTE, palette=RAMP), BYTES, BYTES),
        (lambda f, p: write_png(f, p, PALETTE, palette=RAMP[::-1]), BYTES, 255 - BYTES),
        (lambda f, p: write_png(f, p, PALETTE, 4, palette=RAMP[::17]), BYTES >> 4, (BYTES >> 4) * 17),
        (lambda f, p: write_png(f, grey3(p), RGB), BYTES, BYTES),
        (lambda f, p: write_png(f, with_alpha(p), GREY_ALPHA), BYTES, BYTES),
        (lambda f, p: write_png(f, with_alpha(grey3(p)), RGBA), BYTES, BYTES),
    ],
)
def test_png(
    write: Callable[[Path, np.ndarray], Path], pages: np.ndarray, expected: np.ndarray, tmp_path: Path
) -> None:
    volume = read_volume(stack(tmp_path, write, pages, "png"), 0.05)
    np.testing.assert_array_equal(volume.array, expected)
    assert volume.array.dtype == expected.dtype
    header = probe(tmp_path, 0.05)
    assert header.shape == expected.shape
    np.testing.assert_array_equal(header.affine, volume.affine)


@pytest.mark.parametrize(
    ("write", "expected"),
    [
        (write_bmp, BYTES),
        (lambda f, p: write_bmp(f, p, upside_down=False), BYTES),
        (lambda f, p: write_bmp(f, p, palette=RAMP[::-1]), 255 - BYTES),
        (lambda f, p: write_bmp(f, grey3(p)), BYTES),
        (lambda f, p: write_bmp(f, with_alpha(grey3(p), 0)), BYTES),
    ],
)
def test_bmp(write: Callable[[Path, np.ndarray], Path], expected: np.ndarray, tmp_path: Path) -> None:
    volume = read_volume(stack(tmp_path, write, BYTES, "BMP"), 0.05)
    np.testing.assert_array_equal(volume.array, expected)
    assert volume.array.dtype == np.uint8


@pytest.mark.parametrize(("ending", "pages"), [("png", BYTES), ("png", WORDS), ("bmp", BYTES)])
def test_simpleitk_agrees(ending: str, pages: np.ndarray, tmp_path: Path) -> None:
    def write(file: Path, page: np.ndarray) -> None:
        SimpleITK.WriteImage(SimpleITK.GetImageFromArray(page), str(file))

    volume = read_volume(stack(tmp_path, write, pages, ending), 0.05)
    files = [str(tmp_path / f"s.{z + 7}.{ending}") for z in range(len(pages))]
    theirs = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(files))
    np.testing.assert_array_equal(volume.array, theirs if theirs.ndim == 3 else theirs[..., 0])  # BMP: three equal ones
    np.testing.assert_array_equal(volume.array, pages)


@pytest.mark.parametrize(
    ("write", "match"),
    [
        (lambda f, p: write_png(f, np.dstack([p, p, 255 - p]), RGB), "is a colour image"),
        (lambda f, p: write_png(f, p, PALETTE, palette=COLOURED), "is a colour image"),
        (lambda f, p: write_bmp(f, p, palette=COLOURED), "is a colour image"),
        (lambda f, p: write_png(f, np.dstack([p, 255 - p]), GREY_ALPHA), "is transparent in parts"),
        (lambda f, p: write_png(f, grey3(p), RGB, 16), "has 16 bits in each colour"),
        (lambda f, p: write_png(f, with_alpha(p), GREY_ALPHA, 16), "has 16 bits in each colour"),
        (lambda f, p: f.write_text("no picture"), "is damaged, or no picture"),
        (lambda f, p: f.write_bytes(b""), "is empty: copy it again"),
    ],
)
def test_what_is_no_grey_slice_is_refused(
    write: Callable[[Path, np.ndarray], object], match: str, tmp_path: Path
) -> None:
    stack(tmp_path, write, BYTES, "png")
    with pytest.raises(UserError, match=rf"s\.7\.png {match}") as caught:
        probe(tmp_path, 0.05)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("write", "ending"), [(lambda f, p: write_png(f, p, GREY), "png"), (lambda f, p: write_bmp(f, p), "bmp")]
)
def test_a_slice_cut_off_is_named(write: Callable[[Path, np.ndarray], object], ending: str, tmp_path: Path) -> None:
    stack(tmp_path, write, BYTES, ending)
    file = tmp_path / f"s.11.{ending}"
    whole = file.read_bytes()
    for size in (1, 10, 40, len(whole) // 2, len(whole) - 20):
        file.write_bytes(whole[:size])
        with pytest.raises(UserError, match=r"s\.11\..* is damaged"):
            read_volume(tmp_path, 0.05)


def test_checksums_are_looked_at(tmp_path: Path) -> None:
    """In the grey of a pixel that is stored as it is, only the chunk's checksum shows the damage."""
    stack(tmp_path, lambda f, p: write_png(f, p, GREY), BYTES, "png")
    file = tmp_path / "s.9.png"
    data = bytearray(file.read_bytes())
    data[data.index(b"IDAT") + 15] ^= 1
    file.write_bytes(data)
    with pytest.raises(UserError, match=r"s\.9\.png is damaged"):
        read_volume(tmp_path, 0.05)


def test_a_slice_missing_or_a_second_stack_is_told(tmp_path: Path) -> None:
    stack(tmp_path, lambda f, p: write_png(f, p, GREY), BYTES, "png")
    (tmp_path / "s.9.png").unlink()
    with pytest.raises(UserError, match=r"lacks slices, the first after s\.8\.png: .* 9 is missing"):
        probe(tmp_path, 0.05)
    for z in (9, 10):
        write_bmp(tmp_path / f"s.{z}.bmp", BYTES[0])
    with pytest.raises(UserError, match="holds several stacks"):
        probe(tmp_path, 0.05)


def test_slices_of_many_pixels_are_no_bombs(tmp_path: Path) -> None:
    """Pillow warns of 90, and refuses 180 million pixels."""
    stack(tmp_path, lambda f, p: write_png(f, p, GREY, promised=(20000, 20000)), BYTES, "png")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert probe(tmp_path, 0.05).shape == (5, 20000, 20000)
    write_png(tmp_path / "s.7.png", BYTES[0], GREY)
    with pytest.raises(UserError, match=r"s\.8\.png is \(20000, 20000\), unlike s\.7\.png"):
        read_volume(tmp_path, 0.05)


def test_folders_are_cases_under_their_names(tmp_path: Path) -> None:
    for name in ("lung.1", "lung.2"):
        stack(tmp_path / name, lambda f, p: write_png(f, p, GREY), BYTES, "png")
    cases = find_cases(tmp_path, "micro")
    assert [case.name for case in cases] == ["lung.1", "lung.2"]
