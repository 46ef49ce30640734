"""Voxel sizes in scanners' logs, as SkyScan, Nikon and GE phoenix write them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ctsr.errors import UserError
from ctsr.imaging.formats.readers import probe, read_volume
from ctsr.imaging.formats.scanner_log import told_by_logs

SKYSCAN = "[System]\r\nScanner=Skyscan1172\r\n[Acquisition]\r\nImage Pixel Size (um)=  25.00\r\n"
NRECON = SKYSCAN + "[Reconstruction]\r\nSection to Section Step=1\r\nPixel Size (um)=50.00000\r\n"
STEPPED = NRECON.replace("Step=1", "Step=3")
NIKON = "[XTekCT]\nName=lung\nVoxelsX=1000\nVoxelSizeX=0.05\nVoxelSizeY=0.06\nVoxelSizeZ=0.07\nSrcToObject=100\n"
PHOENIX = "[General]\nVersion=2\n[Geometry]\nFDD=800\nVoxelSizeX=0.0400000\nVoxelSizeY=0.0400000\n"


@pytest.mark.parametrize(
    ("name", "text", "step", "expected"),
    [
        ("lung_rec.log", NRECON, 1, (0.05, 0.05, 0.05)),
        ("lung_rec.LOG", NRECON.replace("50.00000", "17,2"), 1, (0.0172, 0.0172, 0.0172)),
        ("lung_rec.log", NRECON.replace("(um)", "(µm)"), None, (0.05, 0.05, 0.05)),
        ("lung_rec.log", NRECON.replace("(um)=50.00000", "(mm)=0.05"), 1, (0.05, 0.05, 0.05)),
        ("lung.log", SKYSCAN, 1, (0.025, 0.025, 0.025)),
        ("lung_rec.log", NRECON, 5, (0.25, 0.05, 0.05)),  # every fifth slice was kept
        ("lung_rec.log", STEPPED, 3, (0.15, 0.05, 0.05)),
        ("lung_rec.log", STEPPED, 1, (0.15, 0.05, 0.05)),
        ("lung_rec.log", STEPPED, 2, (None, 0.05, 0.05)),  # nobody knows
        ("lung.xtekct", NIKON, 2, (0.14, 0.06, 0.05)),
        ("lung.xtekct", NIKON, 1, (0.07, 0.06, 0.05)),
        ("lung.pca", PHOENIX, 1, (0.04, 0.04, 0.04)),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_sizes(
    name: str, text: str, step: int | None, expected: tuple[float | None, ...], encoding: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(text.encode(encoding))
    (told,) = told_by_logs(tmp_path, step)
    assert told.sizes == pytest.approx(expected)
    assert told.by == name


@pytest.mark.parametrize(
    "text",
    [
        *("", "Pixel Size (um)=\n", "Pixel Size (um)=nan", "Pixel Size (pixel)=5", "Pixel Size (um)=0", "a\0b=c\xff"),
        SKYSCAN + "Pixel Size (um)=5o",
    ],
)
def test_logs_that_tell_nothing(text: str, tmp_path: Path) -> None:
    (tmp_path / "other.log").write_text(text, "utf-8")
    (tmp_path / "large.log").write_text(NRECON + " " * 1_000_000)
    (tmp_path / "notes.txt").write_text(NRECON)
    assert told_by_logs(tmp_path, 1) == []


def test_the_reconstruction_is_believed_before_the_scan(tmp_path: Path) -> None:
    (tmp_path / "lung.log").write_text(SKYSCAN)
    (tmp_path / "lung_rec.log").write_text(NRECON)
    (told,) = told_by_logs(tmp_path, 1)
    assert (told.by, told.whole) == ("lung_rec.log", pytest.approx((0.05, 0.05, 0.05)))


@pytest.mark.parametrize("ending", ["bmp", "png", "tif"])
def test_a_folder_as_nrecon_writes_it(ending: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The preview has the size of a slice, and would be the last one."""
    greys = np.random.default_rng(0).integers(0, 256, (7, 5, 6)).astype(np.uint8)
    for z, page in enumerate(greys):
        Image.fromarray(page).save(tmp_path / f"lung_rec{z + 30:08d}.{ending}")
    Image.fromarray(greys[0]).save(tmp_path / f"lung_rec_spr.{ending}")
    (tmp_path / "lung_rec.log").write_text(NRECON)
    volume = read_volume(tmp_path)
    np.testing.assert_array_equal(volume.array, greys)
    assert volume.spacing == pytest.approx((0.05, 0.05, 0.05))
    assert capsys.readouterr().err.count("lung_rec_spr") == 1
    assert probe(tmp_path, 0.05).spacing == pytest.approx((0.05, 0.05, 0.05))
    with pytest.raises(UserError, match=r"lung_rec\.log tells voxels of 0\.05 mm, but file_spacing=0\.005: leave"):
        probe(tmp_path, 0.005)
    (tmp_path / "other.log").write_text(NRECON.replace("=50", "=17"))
    with pytest.raises(UserError, match=r"lung_rec\.log tells .*, but other\.log tells voxels of 0\.017"):
        probe(tmp_path)
