"""Greys are stored * slope + intercept, whatever else a header says; else they are refused, or told of."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.uid import (
    RLELossless,
)

from ctsr.errors import UserError
from ctsr.imaging.formats.readers import probe, read_volume
from tests.imaging.formats.dicom.dicom_files import changed, compressed_by
from tests.imaging.formats.scan_files import ENCODERS

HU = {"RescaleSlope": 1, "RescaleIntercept": -1024}


def table(first: int, greys: list[int], kind: str) -> Dataset:
    item = Dataset()
    item.add_new("LUTDescriptor", "SS" if first < 0 else "US", [len(greys), first, 16])
    item.add_new("LUTData", "US", greys)
    item.ModalityLUTType = kind
    return item


@pytest.mark.parametrize("signed", [0, 1])
@pytest.mark.parametrize("syntax", [None, RLELossless, *ENCODERS])
def test_monochrome1_is_how_greys_are_shown_not_what_they_are(tmp_path, write_series, hu, syntax, signed) -> None:
    tags = HU | {"PhotometricInterpretation": "MONOCHROME1", "PixelRepresentation": signed}
    files = write_series(tmp_path, hu + 1024, **tags)
    for file in files if syntax else []:
        compressed_by(syntax, file)
    np.testing.assert_array_equal(read_volume(tmp_path).array, hu)


@pytest.mark.parametrize(
    ("tags", "missing"),
    [
        ({}, ["RescaleSlope", "RescaleIntercept"]),
        ({"RescaleIntercept": None}, []),
        ({"RescaleSlope": "", "RescaleIntercept": ""}, []),
        ({}, ["RescaleIntercept"]),
    ],
)
def test_ct_without_rescale_tags_is_told(tmp_path, write_series, hu, tags, missing, capsys) -> None:
    files = write_series(tmp_path, hu, **tags)
    changed(files, **dict.fromkeys(missing))
    np.testing.assert_array_equal(read_volume(tmp_path).array, hu)
    assert "slope or intercept is not told, greys are taken as stored and may not be HU" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("RescaleSlope", "0"),
        ("RescaleSlope", "nan"),
        ("RescaleSlope", "inf"),
        ("RescaleSlope", "1\\2"),
        ("RescaleSlope", "1,0"),
        ("RescaleSlope", "one"),
        ("RescaleIntercept", "nan"),
        ("RescaleIntercept", "-1024\\0"),
        ("RescaleIntercept", "-1024 HU"),
    ],
)
def test_senseless_rescale_tags_are_refused(tmp_path, write_series, hu, keyword, value) -> None:
    files = write_series(tmp_path, hu)
    with_raw_value(files[1], keyword, value)
    with pytest.raises(UserError, match=rf"slice1\.dcm: {keyword} .*correct it") as caught:
        probe(tmp_path)
    assert "\n" not in str(caught.value)


def with_raw_value(file: Path, keyword: str, value: str) -> None:
    """Write a value that pydicom itself would not."""
    with pydicom.config.disable_value_validation():
        data = pydicom.dcmread(file)
        del data[keyword]
        data.add(pydicom.DataElement(keyword, "LO", value))  # as text
        data.save_as(file)
    content = file.read_bytes()
    tag = pydicom.tag.Tag(keyword)
    head = tag.group.to_bytes(2, "little") + tag.element.to_bytes(2, "little")
    assert content.count(head + b"LO") == 1
    file.write_bytes(content.replace(head + b"LO", head + b"DS"))


def test_rescale_tags_that_only_some_slices_have_are_refused(tmp_path, write_series, hu) -> None:
    changed(write_series(tmp_path, hu)[2:], RescaleIntercept=None)
    with pytest.raises(UserError, match=r"slice2\.dcm lacks the rescale slope or intercept that slice0\.dcm has"):
        probe(tmp_path)


@pytest.mark.parametrize(
    ("tags", "kind"),
    [({"RescaleType": "US"}, "US"), ({"RescaleType": "HU_MOD"}, "HU_MOD"), ({"RescaleType": "HU"}, "")],
)
def test_greys_that_are_not_hu_by_their_header_are_told(tmp_path, write_series, hu, tags, kind, capsys) -> None:
    write_series(tmp_path, hu, **tags)
    np.testing.assert_array_equal(read_volume(tmp_path).array, hu)
    told = capsys.readouterr().err
    assert (f"greys are in {kind} by their header, not in HU" in told) if kind else (told == "")


def test_of_mr_and_pet_nobody_expects_hu(tmp_path, write_series, hu, capsys) -> None:
    write_series(tmp_path, hu, Modality="MR", SOPClassUID=pydicom.uid.MRImageStorage, RescaleSlope="")
    np.testing.assert_array_equal(read_volume(tmp_path).array, hu)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(("first", "kind"), [(0, "HU"), (-5, "HU"), (0, "US")])
def test_a_table_of_greys_is_applied(tmp_path, write_series, first, kind, capsys) -> None:
    greys = [10, 20, 40, 80, 160, 320]
    stored = np.arange(3 * 4 * 5).reshape(3, 4, 5) % 6 + first
    write_series(tmp_path, stored, ModalityLUTSequence=[table(first, greys, kind)])
    np.testing.assert_array_equal(read_volume(tmp_path).array, np.array(greys)[stored - first])
    assert ("not in HU" in capsys.readouterr().err) == (kind != "HU")


@pytest.mark.parametrize(
    ("tags", "value"),
    [
        ({"PixelPaddingValue": DataElement("PixelPaddingValue", "US", 64236)}, -1300),  # unsigned, of signed numbers
        ({"PixelPaddingValue": -1400, "PixelPaddingRangeLimit": -1100}, -1200),
        ({"PixelPaddingValue": -1100}, -1100),
    ],
)
def test_padding_is_found_by_what_is_stored(tmp_path, write_series, hu, tags, value) -> None:
    hu[:, 0, :3] = value
    for file in write_series(tmp_path, hu):
        changed([file], **tags)
    expected = np.zeros(hu.shape, dtype=bool)
    expected[:, 0, :3] = True
    np.testing.assert_array_equal(read_volume(tmp_path).outside, expected)
