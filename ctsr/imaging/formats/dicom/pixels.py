"""The numbers that a DICOM file stores.

pydicom reads what is stored plainly, or by run lengths; all other compressions SimpleITK decodes. It gets no more than
the image itself: of a whole file it would invert MONOCHROME1, which says how greys are shown and not what they are, and
overlook a table of greys.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pydicom
import SimpleITK
from pydicom.pixels.utils import pixel_array
from pydicom.uid import (
    UID,
    AllTransferSyntaxes,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RLELossless,
    generate_uid,
)

from ctsr.errors import UserError
from ctsr.imaging.formats.dicom.bits import without_unused_bits
from ctsr.imaging.volume import Array

_PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")


def stored_numbers(file: Path) -> Array:
    """What a file stores, (frame, row, column), before slope and intercept.

    Raises:
        UserError: The file is cut off, or its compression cannot be decoded, or the numbers contradict its header.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            data = pydicom.dcmread(file, force=True)
            image, syntax = _image(data), _syntax(data)
            image.file_meta = pydicom.dataset.FileMetaDataset()
            image.file_meta.TransferSyntaxUID = syntax
        except Exception as error:  # pydicom has no error of its own for damaged files
            raise _unreadable(file, "", error) from error
        kind = f" ({syntax.name})" if syntax.is_encapsulated else ""
        by_pydicom = syntax == RLELossless or not syntax.is_encapsulated
        if not any(name in image for name in _PIXELS):
            raise UserError(f"{file}{kind} is cut off before the end of its pixels: copy it again")
        try:
            numbers: Array = _by_pydicom(image) if by_pydicom else _by_simpleitk(image)
        except Exception as error:  # neither library has an error of its own for damaged files
            raise _unreadable(file, kind, error) from error
    shape = (image.NumberOfFrames, image.Rows, image.Columns)
    if numbers.size != np.prod(shape):
        raise _unreadable(file, kind, ValueError(f"its image is not {shape} (frames, rows, columns)"))
    numbers = numbers.reshape(shape)
    return without_unused_bits(file, numbers, image) if by_pydicom else numbers


def _image(data: pydicom.Dataset) -> pydicom.Dataset:
    """The image alone, with what every file should tell of it."""
    image = pydicom.Dataset()
    image.SamplesPerPixel, image.PhotometricInterpretation = 1, "MONOCHROME2"
    image.update({data[name].tag: data[name] for name in _PIXELS if name in data})
    image.NumberOfFrames = int(data.get("NumberOfFrames") or 1)
    image.Rows, image.Columns = int(data.Rows), int(data.Columns)
    bits = int(data.BitsAllocated)
    stored = int(data.get("BitsStored") or bits)
    image.BitsAllocated, image.BitsStored, image.HighBit = bits, stored, int(data.get("HighBit") or stored - 1)
    image.PixelRepresentation = int(data.get("PixelRepresentation") or 0)
    return image


def _syntax(data: pydicom.Dataset) -> UID:
    """How the pixels are stored; without a preamble this is not told, but seen."""
    if told := data.file_meta.get("TransferSyntaxUID"):
        if told not in AllTransferSyntaxes:
            raise ValueError(f"its TransferSyntaxUID {told} is known to nobody but its maker")
        return UID(told)
    implicit, little = data.original_encoding
    if implicit:
        return ImplicitVRLittleEndian
    return ExplicitVRLittleEndian if little else ExplicitVRBigEndian


def _by_pydicom(image: pydicom.Dataset) -> Array:
    numbers: Array = pixel_array(image, raw=True, correct_unused_bits=False, allow_excess_frames=False)
    spare = sum(len(image[name].value) for name in _PIXELS if name in image) - numbers.nbytes
    plain = image.BitsAllocated > 1 and not image.file_meta.TransferSyntaxUID.is_encapsulated
    if plain and spare >= image.Columns * numbers.itemsize:
        raise ValueError(f"it holds {spare} bytes more than {image.Rows} rows of {image.Columns} pixels need")
    return numbers.astype(numbers.dtype.newbyteorder("="), copy=False)


def _by_simpleitk(image: pydicom.Dataset) -> Array:
    image.SOPClassUID, image.SOPInstanceUID = pydicom.uid.SecondaryCaptureImageStorage, generate_uid()
    with TemporaryDirectory() as folder:
        file = Path(folder) / "image.dcm"
        pydicom.dcmwrite(file, image, enforce_file_format=True)
        numbers: Array = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(file)))
    return numbers


def _unreadable(file: Path, kind: str, error: Exception) -> UserError:
    last = (str(error).strip().splitlines() or [type(error).__name__])[-1].strip()
    return UserError(f"{file}{kind} cannot be read to its end: {last}")
