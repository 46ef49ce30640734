"""One scan written in every format, each by another library than the one that reads it, or by hand."""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import imagecodecs
import nrrd
import numpy as np
import pydicom
import SimpleITK
import tensorstore
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    CTImageStorage,
    EnhancedCTImageStorage,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLossless,
    JPEGLSLossless,
    RLELossless,
    generate_uid,
)

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
ENCODERS = {
    JPEGLossless: partial(imagecodecs.ljpeg_encode, bitspersample=16),
    JPEGLSLossless: imagecodecs.jpegls_encode,
    JPEG2000Lossless: partial(imagecodecs.jpeg2k_encode, level=0, reversible=True, codecformat="j2k"),
}


@dataclass(frozen=True, eq=False)
class Scan:
    """What is written.

    Attributes:
        greys: (z, y, x), whole numbers.
        spacing: (z, y, x) mm.
        directions: Unit vectors (LPS) of the steps from slice to slice, row to row and column to column.
        first: Centre of the first voxel (LPS mm).
        intercept: Stored numbers are greys minus this, and are not negative.
    """

    greys: np.ndarray
    spacing: tuple[float, float, float]
    directions: np.ndarray
    first: tuple[float, float, float]
    intercept: int = 0

    @property
    def stored(self) -> np.ndarray:
        return (self.greys - self.intercept).astype(np.uint16)

    @property
    def affine(self) -> np.ndarray:
        """From (z, y, x, 1) to RAS mm, worked out here from its definition."""
        lps = np.eye(4)
        for axis in range(3):
            lps[:3, axis] = self.directions[axis] * self.spacing[axis]
        lps[:3, 3] = self.first
        return LPS_TO_RAS @ lps

    def position(self, z: int) -> list[float]:
        return [float(v) for v in np.array(self.first) + z * self.spacing[0] * self.directions[0]]


def dicom(scan: Scan, folder: Path, syntax: str = ExplicitVRLittleEndian) -> Path:
    folder.mkdir()
    uid, pages = generate_uid(), scan.stored
    for z, page in enumerate(pages):
        data = _dataset(scan, CTImageStorage, uid)
        data.ImagePositionPatient = scan.position(z)
        data.ImageOrientationPatient = [*scan.directions[2], *scan.directions[1]]
        data.PixelSpacing, data.SliceThickness = list(scan.spacing[1:]), scan.spacing[0]
        data.RescaleSlope, data.RescaleIntercept = 1, scan.intercept
        data.PixelData = page.tobytes()
        if syntax == RLELossless:
            data.compress(RLELossless)
        elif syntax in ENCODERS:
            data.PixelData = encapsulate([ENCODERS[syntax](page)])
            data["PixelData"].VR = "OB"
            data.file_meta.TransferSyntaxUID = syntax
        # The order of the names is not that of the slices.
        pydicom.dcmwrite(folder / f"{len(pages) - z:03}.dcm", data, enforce_file_format=True)
    return folder


def dicom_rle(scan: Scan, folder: Path) -> Path:
    return dicom(scan, folder, RLELossless)


def dicom_jpeg_lossless(scan: Scan, folder: Path) -> Path:
    return dicom(scan, folder, JPEGLossless)


def dicom_jpeg_ls(scan: Scan, folder: Path) -> Path:
    return dicom(scan, folder, JPEGLSLossless)


def dicom_jpeg_2000(scan: Scan, folder: Path) -> Path:
    return dicom(scan, folder, JPEG2000Lossless)


def dicom_multi_frame(scan: Scan, folder: Path) -> Path:
    """Enhanced CT; the frames are not in the order of their positions."""
    order = [*range(1, len(scan.stored), 2), *range(0, len(scan.stored), 2)]
    data = _dataset(scan, EnhancedCTImageStorage, generate_uid())
    data.NumberOfFrames = len(order)
    shared, orientation, measures, scale = Dataset(), Dataset(), Dataset(), Dataset()
    orientation.ImageOrientationPatient = [float(v) for v in (*scan.directions[2], *scan.directions[1])]
    measures.PixelSpacing, measures.SliceThickness = list(scan.spacing[1:]), scan.spacing[0]
    scale.RescaleSlope, scale.RescaleIntercept, scale.RescaleType = 1, scan.intercept, "HU"
    shared.PlaneOrientationSequence, shared.PixelMeasuresSequence = [orientation], [measures]
    shared.PixelValueTransformationSequence = [scale]
    data.SharedFunctionalGroupsSequence = [shared]
    frames = []
    for z in order:
        frame, position = Dataset(), Dataset()
        position.ImagePositionPatient = scan.position(z)
        frame.PlanePositionSequence = [position]
        frames.append(frame)
    data.PerFrameFunctionalGroupsSequence = frames
    data.PixelData = scan.stored[order].tobytes()
    folder.mkdir()
    pydicom.dcmwrite(folder / "all.dcm", data, enforce_file_format=True)
    return folder / "all.dcm"


def nifti(scan: Scan, folder: Path) -> Path:
    return _by_simpleitk(scan, folder, "scan.nii.gz")


def mha(scan: Scan, folder: Path) -> Path:
    folder.mkdir()
    greys = scan.greys.astype("<i4")
    (folder / "scan.mha").write_bytes(_metaimage(scan, "LOCAL", "False").encode() + greys.tobytes())
    return folder / "scan.mha"


def mhd_zraw(scan: Scan, folder: Path) -> Path:
    folder.mkdir()
    packed = zlib.compress(scan.greys.astype("<i4").tobytes())
    (folder / "scan.zraw").write_bytes(packed)
    (folder / "scan.mhd").write_text(_metaimage(scan, "scan.zraw", "True", len(packed)))
    return folder / "scan.mhd"


def nrrd_attached(scan: Scan, folder: Path) -> Path:
    return _nrrd(scan, folder, "scan.nrrd")


def nrrd_detached(scan: Scan, folder: Path) -> Path:
    return _nrrd(scan, folder, "scan.nhdr")


def tiff_stack(scan: Scan, folder: Path) -> Path:
    folder.mkdir()
    for z, page in enumerate(scan.stored):
        Image.fromarray(page).save(folder / f"slice_{z}.tif")
    return folder


def png_stack(scan: Scan, folder: Path) -> Path:
    folder.mkdir()
    for z, page in enumerate(scan.stored):
        SimpleITK.WriteImage(SimpleITK.GetImageFromArray(page), str(folder / f"slice_{z}.png"))
    return folder


def ome_zarr_2(scan: Scan, folder: Path) -> Path:
    return _ome_zarr(scan, folder, "zarr")


def ome_zarr_3(scan: Scan, folder: Path) -> Path:
    return _ome_zarr(scan, folder, "zarr3")


def _dataset(scan: Scan, kind: str, uid: str) -> Dataset:
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.SOPClassUID, data.SOPInstanceUID = kind, generate_uid()
    data.SeriesInstanceUID, data.StudyInstanceUID, data.Modality = uid, uid, "CT"
    data.Rows, data.Columns = scan.greys.shape[1:]
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 16, 15, 0
    return data


def _by_simpleitk(scan: Scan, folder: Path, name: str) -> Path:
    folder.mkdir()
    image = SimpleITK.GetImageFromArray(scan.greys.astype(np.int32))
    image.SetSpacing(scan.spacing[::-1])
    image.SetDirection(scan.directions[::-1].T.ravel())
    image.SetOrigin(scan.first)
    SimpleITK.WriteImage(image, str(folder / name))
    return folder / name


def _metaimage(scan: Scan, data: str, compressed: str, size: int = 0) -> str:
    steps = scan.directions[::-1]
    lines = {
        "ObjectType": "Image",
        "NDims": 3,
        "BinaryData": "True",
        "BinaryDataByteOrderMSB": "False",
        "CompressedData": compressed,
        **({"CompressedDataSize": size} if size else {}),
        "TransformMatrix": " ".join(repr(float(v)) for v in steps.ravel()),
        "Offset": " ".join(str(v) for v in scan.first),
        "ElementSpacing": " ".join(str(v) for v in scan.spacing[::-1]),
        "DimSize": " ".join(str(n) for n in scan.greys.shape[::-1]),
        "ElementType": "MET_INT",
        "ElementDataFile": data,
    }
    return "".join(f"{key} = {value}\n" for key, value in lines.items())


def _nrrd(scan: Scan, folder: Path, name: str) -> Path:
    folder.mkdir()
    header: dict[str, Any] = {
        "space": "left-posterior-superior",
        "space directions": scan.directions[::-1] * np.array(scan.spacing[::-1])[:, None],
        "space origin": scan.first,
        "encoding": "gzip",
    }
    nrrd.write(str(folder / name), scan.greys.astype(np.int32).T, header)
    return folder / name


def _ome_zarr(scan: Scan, folder: Path, driver: str) -> Path:
    """Two levels; axes channel, z, y, x in micrometers."""
    folder = folder.with_name(f"{folder.name}.ome.zarr")
    folder.mkdir()
    levels = [scan.greys.astype(np.int32), scan.greys[:, ::2, ::2].astype(np.int32)]
    datasets = []
    for level, greys in enumerate(levels):
        store = tensorstore.open(
            {"driver": driver, "kvstore": {"driver": "file", "path": str(folder / str(level))}},
            create=True,
            dtype=tensorstore.int32,
            shape=(1, *greys.shape),
        ).result()
        store[0] = greys
        size = [1.0, 1000 * scan.spacing[0], *(1000 * 2**level * step for step in scan.spacing[1:])]
        datasets.append({"path": str(level), "coordinateTransformations": [{"type": "scale", "scale": size}]})
    axes = [{"name": "c", "type": "channel"}] + [
        {"name": name, "type": "space", "unit": "micrometer"} for name in ("z", "y", "x")
    ]
    shift = [{"type": "translation", "translation": [0.0, *(1000 * v for v in scan.first[::-1])]}]
    image = {"axes": axes, "datasets": datasets, "coordinateTransformations": shift}
    if driver == "zarr":
        (folder / ".zgroup").write_text('{"zarr_format": 2}')
        (folder / ".zattrs").write_text(json.dumps({"multiscales": [image | {"version": "0.4"}]}))
    else:
        attributes = {"ome": {"version": "0.5", "multiscales": [image]}}
        (folder / "zarr.json").write_text(
            json.dumps({"zarr_format": 3, "node_type": "group", "attributes": attributes})
        )
    return folder
