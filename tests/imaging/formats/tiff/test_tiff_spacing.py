"""The voxel size that TIFF files tell: ImageJ's, OME's and printers' way, written by hand."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import tifffile

from ctsr.errors import UserError
from ctsr.imaging.formats.readers import probe, read_volume
from tests.imaging.formats.tiff import tiff_by_hand as by_hand
from tests.imaging.formats.tiff.tiff_by_hand import Value, write_tiff

GREYS = np.random.default_rng(0).integers(0, 60000, (6, 8, 9)).astype(np.uint16)


def resolution(x: tuple[int, int], y: tuple[int, int] | None = None, unit: int = 1) -> Mapping[int, Value]:
    return {by_hand.X_RESOLUTION: x, by_hand.Y_RESOLUTION: y or x, by_hand.UNIT: unit}


@pytest.mark.parametrize(
    ("meta", "pixels", "expected"),
    [
        ({"unit": "um", "spacing": 50.0}, (20000, 1000000), (0.05, 0.05, 0.05)),
        ({"unit": "µm", "spacing": 60}, (1, 50), (0.06, 0.05, 0.05)),
        ({"unit": r"\u00B5m", "spacing": 60}, (1, 50), (0.06, 0.05, 0.05)),
        ({"unit": "micron", "spacing": -50.0}, (1, 50), (0.05, 0.05, 0.05)),
        ({"unit": "microns", "spacing": 5.5}, (2, 11), (0.0055, 0.0055, 0.0055)),
        ({"unit": "mm", "spacing": 2.0}, (1000, 625), (2.0, 0.625, 0.625)),
        ({"unit": "cm", "spacing": 0.2}, (16, 1), (2.0, 0.625, 0.625)),
        ({"unit": "inch", "spacing": 0.002}, (508, 1), (0.0508, 0.05, 0.05)),
        ({"unit": "nm", "spacing": 1900}, (1, 1500), (0.0019, 0.0015, 0.0015)),
        ({"unit": "mm", "zunit": "um", "spacing": 70}, (20, 1), (0.07, 0.05, 0.05)),
    ],
)
def test_imagej(meta: dict[str, object], pixels: tuple[int, int], expected: tuple[float, ...], tmp_path: Path) -> None:
    file = write_tiff(tmp_path / "a.tif", GREYS, by_hand.imagej(6, **meta), tags=resolution(pixels))
    assert read_volume(file).spacing == pytest.approx(expected, rel=1e-6)
    assert probe(file, expected).spacing == pytest.approx(expected, rel=1e-6)
    with pytest.raises(UserError, match=r"a\.tif: its ImageJ metadata tells voxels of .* mm, but file_spacing=0\.005:"):
        probe(file, 0.005)


def test_tifffile_writes_imagej_so(tmp_path: Path) -> None:
    meta = {"spacing": 50.0, "unit": "um", "axes": "ZYX"}
    tifffile.imwrite(tmp_path / "a.tif", GREYS, imagej=True, resolution=(1 / 50, 1 / 40), metadata=meta)
    assert probe(tmp_path / "a.tif").spacing == pytest.approx((0.05, 0.04, 0.05))


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ({"PhysicalSizeX": 50, "PhysicalSizeY": 40, "PhysicalSizeZ": 60}, (0.06, 0.04, 0.05)),
        (
            {f"PhysicalSize{axis}": 0.05 for axis in "XYZ"} | {f"PhysicalSize{axis}Unit": "mm" for axis in "XYZ"},
            (0.05, 0.05, 0.05),
        ),
        (
            {f"PhysicalSize{axis}": 5000 for axis in "XYZ"} | {f"PhysicalSize{axis}Unit": "nm" for axis in "XY"},
            (5.0, 0.005, 0.005),
        ),
    ],
)
@pytest.mark.parametrize("order", ["<", ">"])
def test_ome(sizes: dict[str, object], expected: tuple[float, ...], order: str, tmp_path: Path) -> None:
    file = write_tiff(tmp_path / "a.ome.tif", GREYS, by_hand.ome(GREYS.shape, **sizes), order=order, big=order == ">")
    volume = read_volume(file)
    np.testing.assert_array_equal(volume.array, GREYS)
    assert volume.spacing == pytest.approx(expected)
    with pytest.raises(UserError, match=r"its OME metadata tells voxels of .* mm, but file_spacing=1"):
        probe(file, 1)


@pytest.mark.parametrize(
    ("description", "tags", "told"),
    [
        ("", {}, "has no spacing inside"),
        *(("", resolution((dpi, 1), unit=2), "has no spacing inside") for dpi in (1, 72, 96, 300)),
        ("", resolution((2835, 100), unit=3), "has no spacing inside"),  # 72 dpi
        ("", resolution((20, 1), unit=1), "has no spacing inside"),
        ("", resolution((0, 0), unit=3), "has no spacing inside"),
        ("", resolution((508, 1), unit=2), "its resolution for printers tells pixels of 0.05 mm"),
        ("", resolution((200, 1), (250, 1), unit=3), "its resolution for printers tells pixels of 0.04 x 0.05 mm"),
        (by_hand.imagej(6, spacing=5.0), resolution((1, 50)), "has no spacing inside"),
        (by_hand.imagej(6, unit="pixel", spacing=5.0), resolution((1, 1)), "has no spacing inside"),
        (by_hand.imagej(6, unit="um", spacing=50.0), resolution((1, 1)), "has no spacing inside"),
        (by_hand.imagej(6, unit="inch", spacing=1.5), resolution((72, 1), unit=2), "has no spacing inside"),
        (by_hand.imagej(6, unit="um"), resolution((1, 50)), "its ImageJ metadata tells pixels of 0.05 mm"),
        (by_hand.ome((6, 8, 9)), {}, "has no spacing inside"),
        (by_hand.ome((6, 8, 9), PhysicalSizeX=50, PhysicalSizeY=50), {}, "its OME metadata tells pixels of 0.05 mm"),
        (by_hand.ome((6, 8, 9), PhysicalSizeX=1, PhysicalSizeXUnit="pixel"), {}, "has no spacing inside"),
        (by_hand.ome((6, 8, 9), PhysicalSizeX=0, PhysicalSizeZ="NaN"), {}, "has no spacing inside"),
    ],
)
def test_what_is_not_told_is_asked_for(
    description: str, tags: Mapping[int, Value], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write_tiff(tmp_path / "a.tif", GREYS, description, tags=tags)
    with pytest.raises(UserError, match=rf"a\.tif .*{told}.*: give file_spacing=") as caught:
        probe(file)
    assert "\n" not in str(caught.value)
    assert read_volume(file, [0.2, 0.05, 0.05]).spacing == pytest.approx((0.2, 0.05, 0.05), rel=0.25)
    printer = "0.04 x 0.05" in told
    assert ("but file_spacing=0.2 x 0.05 x 0.05, which is taken" in capsys.readouterr().err) == printer


def test_slices_that_tell_their_pixels(tmp_path: Path) -> None:
    for z, page in enumerate(GREYS):
        write_tiff(tmp_path / f"{z}.tif", [page], by_hand.imagej(unit="mm"), tags=resolution((20, 1)))
    with pytest.raises(UserError, match=r"tells no distance of its slices \(its ImageJ metadata tells pixels of 0\.05"):
        probe(tmp_path)
    assert probe(tmp_path, [0.2, 0.05, 0.05]).spacing == pytest.approx((0.2, 0.05, 0.05))
    with pytest.raises(UserError, match=r"pixels of 0\.05 mm, but file_spacing=0\.2"):
        probe(tmp_path, 0.2)
