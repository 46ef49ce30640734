from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from ctsr.errors import UserError
from ctsr.imaging import hounsfield
from ctsr.imaging.anatomy.lung import lung_mask
from ctsr.imaging.formats.readers import read_volume
from ctsr.imaging.hounsfield import not_hu
from ctsr.imaging.padding import PADDING_BELOW_HU
from ctsr.imaging.storage import MappedFiles
from ctsr.imaging.volume import Volume
from ctsr.phantom.cases import generate
from ctsr.records.phantom import PhantomSettings
from tests.memory import no_more_memory_than

AFFINE = np.diag([2.0, 1.0, 1.0, 1.0])


def chest(noise: float = 15.0, padding: float | None = None) -> np.ndarray:
    """HU of a body with two lungs and vessels in them, a couch, bone, and padding in the corners if asked for."""
    y, x = np.mgrid[-64:64, -64:64]
    hu = np.full((6, 128, 128), -1000.0)
    hu[:, (y / 44) ** 2 + (x / 60) ** 2 < 1] = 45
    hu[:, (y / 44) ** 2 + (x / 60) ** 2 < 0.2] = -90  # fat
    for side in (-1, 1):
        hu[:, (y / 32) ** 2 + ((x - 28 * side) / 22) ** 2 < 1] = -860
        hu[:, (np.hypot(y % 9 - 4, x % 9 - 4) < 1.3) & ((y / 32) ** 2 + ((x - 28 * side) / 22) ** 2 < 1)] = 40
    hu[:, np.hypot(y - 36, x) < 6] = 700
    hu += np.random.default_rng(0).normal(0, noise, hu.shape)
    if padding is not None:
        hu[:, np.hypot(y, x) > 62] = padding
    return np.rint(hu)


def told(greys: np.ndarray) -> str | None:
    return not_hu(Volume(greys, AFFINE))


@pytest.mark.parametrize("noise", [0, 15, 100])
@pytest.mark.parametrize("padding", [None, -3024, -2000, -1024])
def test_hu(noise: float, padding: float | None) -> None:
    hu = chest(noise, padding)
    assert told(hu.astype(np.int16)) is None
    assert told(hu.clip(-1024).astype(np.float32)) is None
    for part in (np.s_[2:3], np.s_[:, :, :64], np.s_[:, 40:80, 70:100], np.s_[:, 10:14]):
        assert told(hu[part]) is None
    contrast = np.where(hu > 30, hu + 250, hu)
    assert told(contrast) is None


def test_a_long_scan_need_not_fit_into_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hounsfield, "_SAMPLE", 100_000)
    scan = MappedFiles(tmp_path)((120, 512, 512), np.int16)
    scan[:] = np.kron(chest()[0].astype(np.int16), np.ones((4, 4), np.int16))
    outside = MappedFiles(tmp_path)(scan.shape, bool)
    outside[:, :30] = True
    with no_more_memory_than(8):  # of 63 MB
        assert told(scan) is None
        assert not_hu(Volume(scan, AFFINE, outside)) is None


def stored_as(padding: float | None) -> list[tuple[str, np.ndarray, str]]:
    hu = chest(padding=padding)
    clipped = np.clip((hu + 1000) / 1400, 0, 1)
    return [
        ("plus 1024", (hu + 1024).astype(np.int16), "HU + 1024: subtract 1024"),
        ("plus 1024, not negative", (hu + 1024).clip(0, 4095).astype(np.uint16), "HU + 1024: subtract 1024"),
        ("plus 1000", hu + 1000, "HU + 1024: subtract 1024 (1000 where air is at 0)"),
        ("minus 1024", hu - 1024, "HU - 1024, the intercept applied twice"),
        ("thousandths", (hu / 1000).astype(np.float32), "HU / 1000: multiply by 1000"),
        ("unsigned", np.where(hu < 0, hu + 65536, hu).astype(np.uint16), "negative HU read as unsigned"),
        ("0 to 1", clipped, "normalised"),
        ("-1 to 1", 2 * clipped - 1, "normalised"),
        ("standard scores", (hu - hu.mean()) / hu.std(), "normalised"),
        ("a picture", (255 * clipped).astype(np.uint8), "those of a picture"),
        ("all of 16 bits", (65535 * clipped).astype(np.uint16), "neither air nor lung near -1000"),
    ]


@pytest.mark.parametrize("padding", [None, -2000])
@pytest.mark.parametrize("kind", [name for name, _, _ in stored_as(None)])
def test_what_is_not_hu(kind: str, padding: float | None) -> None:
    ((greys, message),) = [(greys, message) for name, greys, message in stored_as(padding) if name == kind]
    found = told(greys)
    assert found is not None
    assert message in found
    assert found.startswith(f"greys of {greys.min():g} ... {greys.max():g} ")
    assert "\n" not in found
    assert told(greys[2:3]) is not None, "a single slice"


@pytest.mark.parametrize(("mean", "spread"), [(200, 50), (300, 120), (600, 200), (900, 250)])
def test_a_picture_of_another_scanner(mean: float, spread: float) -> None:
    """Magnitudes of an MR: dark around the body, wide inside."""
    random = np.random.default_rng(0)
    tissue = ndimage.gaussian_filter(random.normal(size=(8, 64, 64)), 3)
    greys = np.abs(random.normal(0, 10, tissue.shape))
    greys[:, 8:56, 8:56] = np.abs(mean + spread * tissue / tissue.std())[:, 8:56, 8:56]
    assert told(greys.astype(np.int16)) is not None


@pytest.mark.parametrize("greys", [np.zeros((3, 4, 5)), np.full((3, 4, 5), 40), np.arange(60).reshape(3, 4, 5) % 2])
def test_hardly_a_picture(greys: np.ndarray) -> None:
    assert told(greys) is not None
    volume = Volume(greys, AFFINE, outside=np.ones(greys.shape, dtype=bool))
    assert "padding is all there is" in str(not_hu(volume))


def test_the_lung_s_error_says_what_it_looks_like() -> None:
    with pytest.raises(UserError, match=r"no lung found: greys of .* look like HU \+ 1024: subtract 1024"):
        lung_mask(Volume(chest() + 1024, AFFINE))
    with pytest.raises(UserError, match="no lung found: is this a chest CT in HU"):
        lung_mask(Volume(np.random.default_rng(0).normal(-1000, 5, (4, 32, 32)), AFFINE))


def test_lungs_that_no_patient_has(tmp_path: Path) -> None:
    generate(tmp_path / "phantom", PhantomSettings.tiny(seed=3), show_progress=False)
    scans = [*(tmp_path / "phantom" / "clinical").iterdir(), *(tmp_path / "phantom").rglob("clinical.nii.gz")]
    assert len(scans) >= 3
    for path in scans:
        volume = read_volume(path)
        assert not_hu(volume) is None
        assert not_hu(replace(volume, array=volume.array + 1024)) is not None


REAL = [
    "rider-pilot-0117",
    "elastix-3dct-lung/3DCT_lung.mha",
    "lungmask-testdata/0.dcm",
    "totalsegmentator/aorta",
    "totalsegmentator/pulmonary",
]


@pytest.mark.realdata
@pytest.mark.parametrize("name", REAL)
def test_real_scans_and_crops_of_them(name: str, shared_data: Path, tmp_path: Path) -> None:
    path = shared_data / "clinical" / name
    if name.endswith(".dcm"):  # one of two files with the same slice
        (tmp_path / "0.dcm").write_bytes(path.read_bytes())
        path = tmp_path
    elif not path.exists():
        (path,) = path.parent.glob(f"{path.name}*")
    volume = read_volume(path)
    assert not_hu(volume) is None
    greys = volume.array if volume.outside is None else np.where(volume.outside, -2000, volume.array)
    for other in (greys + 1024, (greys + 1024).clip(0), greys - 1024, greys / 1000, np.clip(greys / 1400 + 0.7, 0, 1)):
        assert not_hu(replace(volume, array=other)) is not None
        assert not_hu(Volume(other, volume.affine)) is not None
    random = np.random.default_rng(0)
    crops = 0
    for size in (16, 32, 64) * 60:
        z, y, x = (int(random.integers(0, max(1, n - size + 1))) for n in greys.shape)
        crop = greys[z : z + size, y : y + size, x : x + size]
        if crop.min() < PADDING_BELOW_HU or ((crop > -950) & (crop < -700)).mean() < 0.3:
            continue
        crops += 1
        assert not_hu(Volume(crop, volume.affine)) is None, (size, z, y, x)
    assert crops > 10
