"""The numbers that a DICOM file stores, and the greys that they stand for.

pydicom reads what is stored plainly; what is compressed SimpleITK decodes, all kinds of compression alike. It gets no
more than the image itself: it would invert MONOCHROME1, which says how to show greys and not what they are, take a
slope of 0 for 1, and overlook a table of greys.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import numpy.typing as npt
import pydicom
import SimpleITK
from pydicom.pixels.processing import apply_modality_lut
from pydicom.pixels.utils import pixel_array
from pydicom.uid import UID, ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian, generate_uid

from ctsr.errors import UserError, warn
from ctsr.imaging.dicom_headers import Scale, Slice
from ctsr.imaging.padding import PADDING_BELOW_HU
from ctsr.imaging.volume import Array

_PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")


def read_greys(slices: list[Slice]) -> tuple[Array, npt.NDArray[np.bool_]]:
    """The greys of slices in their order, (z, y, x), and where they are padding.

    Whole-number greys stay integer, all others are float32.

    Raises:
        UserError: A file is cut off, or its compression cannot be decoded, or the numbers contradict its header.
    """
    places: dict[Path, list[int]] = {}
    for place, s in enumerate(slices):
        places.setdefault(s.file, []).append(place)
    stored: list[Array] = [np.empty(0)] * len(slices)
    for file, there in places.items():
        frames = stored_numbers(file)
        for place in there:
            stored[place] = frames[slices[place].frame]
    if slices[0].is_ct and _hold_negatives(stored):
        warn(f"{slices[0].file.parent}: numbers are negative that should not be by PixelRepresentation: taken as such")
        stored = [numbers.view(np.int16) for numbers in stored]
    padding = np.empty((len(slices), *slices[0].size), dtype=bool)
    for place, s in enumerate(slices):
        padding[place] = _padding(stored[place], s)
        stored[place] = _greys(stored[place], s.scale)  # in its place, to hold the volume once
    greys = np.stack(stored)
    if slices[0].is_ct:
        padding |= greys < PADDING_BELOW_HU
    return greys, padding


def stored_numbers(file: Path) -> Array:
    """What a file stores, (frame, row, column), before slope and intercept.

    Raises:
        UserError: As for `read_greys`.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            data = pydicom.dcmread(file, force=True)
            image, syntax = _image(data), _syntax(data)
        except Exception as error:  # pydicom has no error of its own for damaged files
            raise _unreadable(file, "", error) from error
        if not any(name in image for name in _PIXELS):
            raise UserError(f"{file} is cut off before the end of its pixels: copy it again")
        kind = f" ({syntax.name})" if syntax.is_compressed else ""
        try:
            numbers: Array = _decompressed(image, syntax) if syntax.is_encapsulated else _plain(image, syntax)
        except Exception as error:  # neither library has an error of its own for damaged files
            raise _unreadable(file, kind, error) from error
    shape = (image.NumberOfFrames, image.Rows, image.Columns)
    if numbers.size != np.prod(shape):
        raise _unreadable(file, kind, ValueError(f"its image is not {shape} (frames, rows, columns)"))
    numbers = numbers.reshape(shape)
    return numbers if syntax.is_encapsulated else _without_unused_bits(file, numbers, image)


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
    if "TransferSyntaxUID" in data.file_meta:
        return data.file_meta.TransferSyntaxUID
    implicit, little = data.original_encoding
    if implicit:
        return ImplicitVRLittleEndian
    return ExplicitVRLittleEndian if little else ExplicitVRBigEndian


def _plain(image: pydicom.Dataset, syntax: UID) -> Array:
    image.file_meta = pydicom.dataset.FileMetaDataset()
    image.file_meta.TransferSyntaxUID = syntax
    numbers: Array = pixel_array(image, raw=True, correct_unused_bits=False, allow_excess_frames=False)
    return numbers.astype(numbers.dtype.newbyteorder("="), copy=False)


def _decompressed(image: pydicom.Dataset, syntax: UID) -> Array:
    image.file_meta = pydicom.dataset.FileMetaDataset()
    image.file_meta.TransferSyntaxUID = syntax
    image.SOPClassUID, image.SOPInstanceUID = pydicom.uid.SecondaryCaptureImageStorage, generate_uid()
    with TemporaryDirectory() as folder:
        file = Path(folder) / "image.dcm"
        pydicom.dcmwrite(file, image, enforce_file_format=True)
        numbers: Array = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(file)))
    return numbers


def _without_unused_bits(file: Path, numbers: Array, image: pydicom.Dataset) -> Array:
    """Clear the bits above BitsStored: they mean nothing, or overlays. Where greys need them, the header is wrong."""
    spare = image.BitsAllocated - image.BitsStored
    if numbers.dtype.kind == "f" or image.BitsAllocated == 1 or spare <= 0:
        return numbers
    stored: Array = (numbers << spare) >> spare
    if np.array_equal(stored, numbers):
        return numbers
    both_signs = (numbers.view(f"{sign}{numbers.itemsize}") for sign in "iu")
    if image.HighBit == image.BitsStored - 1 and _variation(stored) <= min(map(_variation, both_signs)):
        return stored
    raise UserError(
        f"{file}: its numbers do not fit BitsStored {image.BitsStored}, HighBit {image.HighBit} and "
        f"PixelRepresentation {image.PixelRepresentation}: correct these tags, or convert the series to NIfTI"
    )


def _variation(numbers: Array) -> float:
    """Between neighbours in a row: numbers that are torn by a wrong reading vary more."""
    return float(np.abs(np.diff(numbers.astype(np.float64))).sum())


def _hold_negatives(stored: list[Array]) -> bool:
    """Whether numbers that should not be negative are: some are tiny, some huge, and there is none between them.

    The largest alone is no sign, but saturation.
    """
    if any(numbers.dtype != np.uint16 for numbers in stored):
        return False
    if any(((numbers >= 0x4000) & (numbers < 0xC000)).any() for numbers in stored):
        return False
    return any(((numbers >= 0xC000) & (numbers < 0xFFFF)).any() for numbers in stored)


def _greys(numbers: Array, scale: Scale) -> Array:
    if scale.table is not None:
        return _smallest(apply_modality_lut(numbers, scale.table))
    if numbers.dtype.kind == "f" or scale.slope % 1 or scale.intercept % 1:
        return (numbers * scale.slope + scale.intercept).astype(np.float32)
    return _smallest(numbers.astype(np.int64) * int(scale.slope) + int(scale.intercept))


def _smallest(greys: Array) -> Array:
    """The same whole numbers in the smallest type that is usual."""
    low, high = greys.min(), greys.max()
    types = (np.int16, np.uint16, np.int32)
    fitting = (kind for kind in types if np.iinfo(kind).min <= low and high <= np.iinfo(kind).max)
    return greys.astype(next(fitting, np.int64))


def _padding(numbers: Array, s: Slice) -> npt.NDArray[np.bool_]:
    """Where the tag says that there is padding; it holds stored numbers, sometimes with the wrong sign."""
    nowhere = np.zeros(numbers.shape, dtype=bool)
    if s.padding is None:
        return nowhere
    low, high = s.padding
    if numbers.dtype.kind != "f":
        limits = np.iinfo(numbers.dtype)
        turn = 2**limits.bits * ((high < limits.min) - (low > limits.max))
        low, high = low + turn, high + turn
    # In CT a padding tag within the range of tissue is wrong, and would cut holes into the lung.
    if s.is_ct and high * s.scale.slope + s.scale.intercept > -1000:
        return nowhere
    return (numbers >= low) & (numbers <= high)


def _unreadable(file: Path, kind: str, error: Exception) -> UserError:
    last = (str(error).strip().splitlines() or [type(error).__name__])[-1].strip()
    return UserError(f"{file}{kind} cannot be read to its end: {last}")
