"""The numbers that a DICOM file stores.

pydicom reads what is stored plainly, or by run lengths; all other compressions SimpleITK decodes. It gets no more than
the image itself: of a whole file it would invert MONOCHROME1, which says how greys are shown and not what they are, and
overlook a table of greys. Where a header contradicts the numbers about bits and signs, neighbours tell: a wrong reading
tears them apart.
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
from ctsr.imaging.volume import Array

_PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")

FEWEST_BITS = 10  # that hold a scan's greys: with fewer it is BitsStored that is wrong, not what stands above them


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


def without_unused_bits(file: Path, numbers: Array, image: pydicom.Dataset) -> Array:
    """The numbers in the bits that are stored; the others mean nothing, or overlays.

    Raises:
        UserError: BitsStored, HighBit or PixelRepresentation cannot be right.
    """
    unused = image.BitsAllocated - image.BitsStored
    if numbers.dtype.kind == "f" or image.BitsAllocated == 1 or unused <= 0:
        return numbers
    stored: Array = (numbers << unused) >> unused
    if np.array_equal(stored, numbers):
        return numbers
    below = image.HighBit + 1 - image.BitsStored  # unused bits at the lower end
    smoothest = min(_variation(numbers), _variation(_with_other_sign(numbers)))
    if below == 0 and image.BitsStored >= FEWEST_BITS and _variation(stored) <= smoothest:
        return stored
    if below == unused and not (numbers & ((1 << below) - 1)).any():
        upper: Array = numbers >> below
        return upper
    raise UserError(
        f"{file}: its numbers do not fit BitsStored {image.BitsStored}, HighBit {image.HighBit} and "
        f"PixelRepresentation {image.PixelRepresentation}: correct these tags, or convert the series to NIfTI"
    )


def with_true_signs(stored: list[Array]) -> list[Array]:
    """The slices of a CT as they are, or, where these 16-bit numbers are torn, with the other sign.

    Args:
        stored: The numbers of each slice.
    """
    types = {numbers.dtype for numbers in stored}
    if types == {np.dtype(np.uint16)}:
        odd = _hold_negatives(stored)
    elif types == {np.dtype(np.int16)}:  # huge numbers come out negative; -32768 may be padding
        odd = any(((numbers > -0x8000) & (numbers < -0x4000)).any() for numbers in stored)
    else:
        odd = False
    if not odd:
        return stored
    others = [_with_other_sign(numbers) for numbers in stored]
    return others if sum(map(_variation, others)) < sum(map(_variation, stored)) else stored


def _hold_negatives(stored: list[Array]) -> bool:
    """Whether numbers could be negative that come out huge: none is in the middle. 65535 alone may be saturation."""
    if any(((numbers >= 0x4000) & (numbers < 0xC000)).any() for numbers in stored):
        return False
    return any(((numbers >= 0xC000) & (numbers < 0xFFFF)).any() for numbers in stored)


def _with_other_sign(numbers: Array) -> Array:
    return numbers.view(f"{'i' if numbers.dtype.kind == 'u' else 'u'}{numbers.itemsize}")


def _variation(numbers: Array) -> float:
    """Of the numbers from neighbour to neighbour in a row."""
    return float(np.abs(np.diff(numbers.astype(np.float64))).sum())
