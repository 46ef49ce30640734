"""Folders of scans as people have them, in miniature; each scan of its own noise."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import numpy.typing as npt
import SimpleITK
import tifffile
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

CT_STORAGE = "1.2.840.10008.5.1.4.1.1.2"
SPACING = (2.0, 0.625, 0.625)


def chest(seed: int, slices: int = 4, size: int = 48) -> npt.NDArray[np.int16]:
    """HU (z, y, x): a round body with two lungs."""
    y, x = np.mgrid[:size, :size] / size - 0.5
    plane = np.where((y / 0.46) ** 2 + (x / 0.48) ** 2 < 1, 40.0, -1000.0)
    for centre in (-0.22, 0.22):
        plane[(y / 0.3) ** 2 + ((x - centre) / 0.16) ** 2 < 1] = -850
    noise = np.random.default_rng(seed).normal(0, 12, (slices, size, size))
    return np.rint(plane + noise).astype(np.int16)


def lung(hu: npt.NDArray[np.int16]) -> npt.NDArray[np.uint8]:
    """1 in what is dark, inside the body or out."""
    return (hu < -500).astype(np.uint8)


def foam(seed: int, slices: int = 10, size: int = 104) -> npt.NDArray[np.uint16]:
    """Greys of a µCT specimen in air."""
    from scipy import ndimage

    random = np.random.default_rng(seed)
    cells = ndimage.gaussian_filter(random.normal(size=(slices, size, size)), 1.2)
    y, x = np.mgrid[:size, :size] / size - 0.5
    tissue = np.clip(1 - np.abs(cells) / (0.25 * cells.std()), 0, 1) * (np.hypot(y, x) < 0.4)
    return (5000 + 19000 * tissue + random.normal(0, 300, tissue.shape)).astype(np.uint16)


def nifti(path: Path, array: npt.NDArray[np.generic], spacing: tuple[float, float, float] = SPACING) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    z, y, x = spacing
    nibabel.save(nibabel.Nifti1Image(array.T, np.diag([-x, -y, z, 1.0])), path)
    return path


def itk(path: Path, array: npt.NDArray[np.generic]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = SimpleITK.GetImageFromArray(array)
    image.SetSpacing(SPACING[::-1])
    SimpleITK.WriteImage(image, str(path), useCompression=True)
    return path


def tiff(path: Path, array: npt.NDArray[np.generic]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(path, array, photometric="minisblack")
    return path


def pictures(folder: Path, array: npt.NDArray[np.uint8]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for k, plane in enumerate(array):
        Image.fromarray(plane).save(folder / f"{k:03d}.png")
    return folder


def dicom(folder: Path, hu: npt.NDArray[np.int16], patient: str, **tags: object) -> Path:
    """A series, a file a slice."""
    folder.mkdir(parents=True, exist_ok=True)
    series = generate_uid()
    for z, plane in enumerate(hu):
        header = Dataset()
        header.file_meta = FileMetaDataset()
        header.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        header.SOPClassUID = header.file_meta.MediaStorageSOPClassUID = CT_STORAGE
        header.SOPInstanceUID = header.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        header.StudyInstanceUID = header.SeriesInstanceUID = series
        header.PatientID, header.PatientName, header.Modality = patient, "X", "CT"
        header.SeriesNumber, header.InstanceNumber, header.ImageType = 3, z + 1, ["ORIGINAL", "PRIMARY", "AXIAL"]
        header.ImagePositionPatient, header.ImageOrientationPatient = [0, 0, SPACING[0] * z], [1, 0, 0, 0, 1, 0]
        header.PixelSpacing, header.SliceThickness = list(SPACING[1:]), SPACING[0]
        header.Rows, header.Columns = plane.shape
        header.SamplesPerPixel, header.PhotometricInterpretation = 1, "MONOCHROME2"
        header.BitsAllocated, header.BitsStored, header.HighBit, header.PixelRepresentation = 16, 16, 15, 1
        header.RescaleIntercept, header.RescaleSlope = 0, 1
        header.PixelData = plane.astype("<i2").tobytes()
        for tag, value in tags.items():
            setattr(header, tag, value)
        header.save_as(folder / f"I{z:03d}", enforce_file_format=True)
    return folder
