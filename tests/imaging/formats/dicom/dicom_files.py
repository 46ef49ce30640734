"""DICOM files changed by pydicom after they were written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import DataElement
from pydicom.encaps import encapsulate
from pydicom.uid import RLELossless

from tests.imaging.formats.scan_files import ENCODERS


def element(name: str, value: Any) -> DataElement:
    return DataElement(name, dictionary_VR(name).split(" or ")[-1], value)


def changed(files: list[Path], **tags: Any) -> None:
    for file in files:
        data = pydicom.dcmread(file)
        for name, value in tags.items():
            if value is None:
                del data[name]
            else:
                data[name] = value if isinstance(value, DataElement) else element(name, value)
        data.save_as(file)


def compressed_by(syntax: str, file: Path) -> None:
    data = pydicom.dcmread(file)
    if syntax == RLELossless:
        data.compress(RLELossless)
    else:
        data.PixelData = encapsulate([ENCODERS[syntax](data.pixel_array.view(np.uint16))])
        data["PixelData"].VR = "OB"
        data.file_meta.TransferSyntaxUID = syntax
    data.save_as(file)
