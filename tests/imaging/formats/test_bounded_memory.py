"""A scan that lives in mapped files is read in parts: memory never holds it, in whatever format it comes."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK
import tifffile
import zarr

from tests.conftest import REPOSITORY
from tests.imaging.formats import scan_files
from tests.imaging.formats.scan_files import Scan

SHAPE = (160, 512, 512)  # 84 MB as 16 bit numbers
MOST = 40e6  # bytes, of which libraries take most the first time that they are used

READ = """
import json, sys, threading
from pathlib import Path
from ctsr.imaging.formats.readers import probe, read_volume
from ctsr.imaging.storage import MappedFiles
from tests.memory import anonymous

def watch():
    while not done.wait(0.002):
        seen.append(anonymous())

told = {}
for path in map(Path, sys.argv[2:]):
    spacing = 0.5 if "tif" in path.name else None
    probe(path, spacing)  # which loads the libraries, too
    before, seen, done = anonymous(), [], threading.Event()
    watcher = threading.Thread(target=watch)
    watcher.start()
    volume = read_volume(path, spacing, padding_below=-1500, allocate=MappedFiles(Path(sys.argv[1])))
    done.set()
    watcher.join()
    told[path.name] = {
        "grown": max([*seen, anonymous()]) - before,
        "corner": [int(volume.array[k, 0, 0]) for k in (0, 80, 159)],
        "inside": [int(volume.array[k, 511, 511]) for k in (0, 80, 159)],
        "outside": int(volume.outside.sum()),
    }
    del volume
print(json.dumps(told))
"""


def _by_simpleitk(greys: np.ndarray, path: Path) -> None:
    image = SimpleITK.GetImageFromArray(greys)
    image.SetSpacing((0.5, 0.5, 2.0))
    SimpleITK.WriteImage(image, str(path), useCompression=path.suffix == ".mha")


def _nifti(greys: np.ndarray, path: Path) -> None:
    nibabel.save(nibabel.Nifti1Image(greys.T, np.diag([0.5, 0.5, 2.0, 1.0])), path)


def _pages(greys: np.ndarray, path: Path) -> None:
    tifffile.imwrite(path, greys, photometric="minisblack", compression="zlib" if path.stem == "packed" else None)


def _tiff_folder(greys: np.ndarray, path: Path) -> None:
    path.mkdir()
    for z, page in enumerate(greys):
        tifffile.imwrite(path / f"{z:03}.tif", page, photometric="minisblack")


def _dicom(greys: np.ndarray, path: Path) -> None:
    scan_files.dicom(Scan(greys, (2.0, 0.5, 0.5), np.eye(3)[::-1], (0.0, 0.0, 0.0), intercept=-3000), path)


def _ome_zarr(greys: np.ndarray, path: Path) -> None:
    group = zarr.open_group(path, mode="w", zarr_format=2)
    group.create_array("0", data=greys, chunks=(16, 128, 128), compressors=None)
    axes = [{"name": name, "type": "space", "unit": "millimeter"} for name in ("z", "y", "x")]
    scale = [{"type": "scale", "scale": [2.0, 0.5, 0.5]}]
    group.attrs["multiscales"] = [
        {"version": "0.4", "axes": axes, "datasets": [{"path": "0", "coordinateTransformations": scale}]}
    ]


WRITERS: dict[str, Callable[[np.ndarray, Path], None]] = {
    "plain.nii": _nifti,
    "packed.nii.gz": _nifti,
    "plain.mhd": _by_simpleitk,
    "packed.mha": _by_simpleitk,
    "plain.nrrd": _by_simpleitk,
    "pages.tif": _pages,
    "packed.tif": _pages,
    "tiff": _tiff_folder,
    "dicom": _dicom,
    "scan.ome.zarr": _ome_zarr,
}


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, object]]:
    """What a process of its own, whose heap nobody used before, tells of reading the scan in each format."""
    folder = tmp_path_factory.mktemp("scans")
    greys = np.indices(SHAPE, dtype=np.int16, sparse=True)
    scan = (sum(greys) % 1000).astype(np.int16)
    scan[:, :10, :10] = -2000
    for name, write in WRITERS.items():
        write(scan, folder / name)
    paths = [str(folder / name) for name in WRITERS]
    command = [sys.executable, "-c", READ, str(folder), *paths]
    done = subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY)
    assert done.returncode == 0, done.stderr
    read: dict[str, dict[str, object]] = json.loads(done.stdout)
    return read


@pytest.mark.parametrize("name", WRITERS)
def test_memory_never_holds_the_scan(told: dict[str, dict[str, object]], name: str) -> None:
    read = told[name]
    assert read["corner"] == [-1024] * 3
    assert read["inside"] == [(k + 511 + 511) % 1000 for k in (0, 80, 159)]
    assert read["outside"] == SHAPE[0] * 100
    assert read["grown"] < MOST
