"""DICOM series written by pydicom, another library than the one that reads them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

AXIAL = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0))


@pytest.fixture
def write_series() -> Callable[..., list[Path]]:
    return _write_series


@pytest.fixture
def hu() -> np.ndarray:
    """Smooth, as tissue is: HU from about -1000 to 1500, three slices."""
    z, y, x = np.indices((3, 8, 9))
    return np.rint(250 * np.sin(x / 3 + z) + 1200 * np.cos(y / 3) + 200).astype(np.int64)


def _write_series(
    folder: Path,
    stored: np.ndarray,
    directions: tuple[tuple[float, ...], tuple[float, ...]] = AXIAL,
    first: tuple[float, float, float] = (0.0, 0.0, 0.0),
    spacing: tuple[float, float, float] = (2.0, 0.5, 0.7),
    uid: str | None = None,
    names: list[str] | None = None,
    **tags: Any,
) -> list[Path]:
    """Stored int16 numbers (z, y, x) as one file a slice; spacing is (z, y, x)."""
    folder.mkdir(parents=True, exist_ok=True)
    right, down = np.array(directions)
    uid = uid or generate_uid()
    files = []
    for index, pixels in enumerate(stored):
        data = Dataset()
        data.file_meta = FileMetaDataset()
        data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID = CTImageStorage
        data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID = generate_uid()
        data.SeriesInstanceUID, data.StudyInstanceUID, data.Modality = uid, generate_uid(), "CT"
        data.ImagePositionPatient = [float(v) for v in np.array(first) + index * spacing[0] * np.cross(right, down)]
        data.ImageOrientationPatient = [float(v) for v in (*right, *down)]
        data.PixelSpacing, data.SliceThickness = [spacing[1], spacing[2]], spacing[0]
        data.Rows, data.Columns = pixels.shape
        data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
        data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 16, 15, 1
        data.RescaleSlope, data.RescaleIntercept = 1, 0
        data.PixelData = pixels.astype("<i2").tobytes()
        for name, value in tags.items():
            setattr(data, name, value)
        files.append(folder / (names[index] if names else f"slice{index}.dcm"))
        pydicom.dcmwrite(files[-1], data, enforce_file_format=True)
    return files
