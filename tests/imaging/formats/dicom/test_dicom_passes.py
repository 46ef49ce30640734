"""Passes whose slices lie between each other's are told, whatever tag tells; those that follow are one scan."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset

from ctsr.errors import UserError
from ctsr.imaging.formats.dicom.passes import TAGS
from ctsr.imaging.formats.readers import probe, read_volume
from tests.imaging.formats import scan_files
from tests.imaging.formats.scan_files import Scan

Write = Callable[..., list[Path]]


@pytest.fixture
def series(tmp_path: Path, write_series: Write) -> Callable[..., Path]:
    """Writes slices every mm, each with the tag's value of its own; None: without."""

    def write(tag: str, values: list[Any], step: float = 1.0) -> Path:
        for place, value in enumerate(values):
            tags = {} if value is None else {tag: value}
            page = np.full((1, 3, 4), place, np.int16)
            first = (0.0, 0.0, step * place)
            write_series(tmp_path, page, uid="1.2.3", names=[f"IM{place}.dcm"], first=first, **tags)
        return tmp_path

    return write


TWO = {
    "AcquisitionNumber": (1, 2),
    "AcquisitionTime": ("120100", "120200.5"),
    "AcquisitionDateTime": ("20200101120100", "20200101120200"),
    "AcquisitionDate": ("20200101", "20210101"),
    "TemporalPositionIdentifier": (1, 2),
    "IrradiationEventUID": ("1.2.5", "1.2.6"),
    "KVP": ("80", "140"),
    "ConvolutionKernel": ("B31f", ["B60f", "3"]),
    "SeriesNumber": (3, 4),
    "TriggerTime": ("300", "700"),
    "NominalPercentageOfCardiacPhase": (40.0, 75.0),
    "ContentTime": ("120100", "120200"),
    "ContrastBolusAgent": ("none", "Ultravist"),
    "ImageType": (["ORIGINAL", "PRIMARY", "AXIAL"], ["DERIVED", "SECONDARY", "AXIAL"]),
    "StudyInstanceUID": ("1.2.7", "1.2.8"),
}


@pytest.mark.parametrize("tag", TWO)
def test_two_passes_in_turn_are_refused(series, tag) -> None:
    path = series(tag, [*TWO[tag]] * 5)
    for read in (probe, read_volume):
        with pytest.raises(UserError, match=rf"two {TAGS[tag]} \({tag} .*, .*\) whose slices lie between") as refused:
            read(path)
        assert "keep one, IM0.dcm, IM2.dcm, IM4.dcm, ... or IM1.dcm, IM3.dcm, IM5.dcm, ..." in str(refused.value)
        assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("tag", "values", "told"),
    [
        ("AcquisitionNumber", [1, 2, 3] * 4, r"3 acquisitions \(AcquisitionNumber 1, 2, 3\)"),
        ("AcquisitionNumber", [1, 5, 1, 5, 2, 6, 2, 6], r"4 acquisitions \(AcquisitionNumber 1, 5, 2, 6\)"),
        ("AcquisitionNumber", [1, 1, 1, 1, 2, 1, 2, 1, 2, 2], r"two acquisitions \(AcquisitionNumber 1, 2\)"),
        ("AcquisitionNumber", [1, None] * 4, r"two acquisitions \(AcquisitionNumber 1, \(none\)\)"),
        ("AcquisitionNumber", [4, 1, 2, 1, 2, 1, 2, 3], r"two acquisitions \(AcquisitionNumber 1, 2\)"),
        ("KVP", ["80", "140", "80.0", "140.0"], r"two acquisitions \(KVP 80, 140\)"),
        ("ContrastBolusAgent", [None, "Ultravist"] * 3, r"two acquisitions \(ContrastBolusAgent \(none\), Ultravist\)"),
    ],
)
def test_other_passes_between_each_other(series, tag, values, told) -> None:
    with pytest.raises(UserError, match=rf"{told} whose slices lie between each other's"):
        probe(series(tag, values))


@pytest.mark.parametrize("tag", [tag for tag in TWO if tag not in ("ImageType", "ConvolutionKernel")])
@pytest.mark.parametrize(
    "pattern",
    [
        [0] * 4 + [1] * 4,  # step and shoot
        [0] * 7 + [1],
        [0, 1] + [0] * 6,  # a single slice is no pass
        [0] * 3 + [1] * 2 + [0] * 3,  # a stretch scanned again
        [None] * 4 + [0] * 4,
        [0, None, 0, 0, None, None, 0, 0],  # told by some
        [None] * 8,
    ],
)
def test_passes_that_follow_each_other_are_one_scan(series, tag, pattern) -> None:
    values = [None if which is None else TWO[tag][which] for which in pattern]
    assert read_volume(series(tag, values)).array[:, 0, 0].tolist() == list(range(8))


@pytest.mark.parametrize(
    ("tag", "values"),
    [
        ("AcquisitionNumber", list(range(12))),
        ("AcquisitionNumber", [place // 2 for place in range(12)]),
        ("AcquisitionNumber", [""] * 12),
        ("AcquisitionTime", [f"1201{place:02d}.5" for place in (3, 9, 1, 11, 0, 7, 2, 8, 10, 4, 6, 5)]),
        ("ContentTime", [f"12010{second}" for second in (0, 1, 0, 1, 2, 3, 2, 3, 4, 5, 4, 5)]),  # two computers
        ("TriggerTime", [str(ms) for ms in (600, 600, 600, 620, 620, 620, 600, 600, 600, 620, 620, 620)]),  # of a beat
        ("TriggerTime", [str(ms) for ms in (600, 601, 602, 601, 603, 604, 602, 605, 600, 606, 607, 608)]),  # by chance
    ],
)
def test_values_of_each_slice_tell_no_passes(series, tag, values) -> None:
    assert probe(series(tag, values)).shape[0] == 12


def test_a_tag_that_cannot_be_read_tells_nothing(series) -> None:
    path = series("AcquisitionNumber", [11, 12] * 3)
    for file in path.iterdir():
        content = file.read_bytes()
        assert b"\x20\x00\x12\x00IS\x02\x00" in content
        file.write_bytes(content.replace(b"\x20\x00\x12\x00IS\x02\x00", b"\x20\x00\x12\x00FD\x02\x00"))  # of 8 bytes
    assert probe(path).shape[0] == 6


def test_passes_in_the_same_places_are_told_by_their_tag(series) -> None:
    path = series("AcquisitionNumber", [1, 1, 1, 1, 2, 2, 2, 2])
    for place in range(4, 8):
        data = pydicom.dcmread(path / f"IM{place}.dcm")
        data.ImagePositionPatient = [0, 0, place - 1]  # the last place of the first pass, and on
        data.save_as(path / f"IM{place}.dcm")
    told = r"no distance between IM3\.dcm and IM4\.dcm: .* of two acquisitions \(AcquisitionNumber 1, 2\)"
    with pytest.raises(UserError, match=told):
        probe(path)


def test_passes_with_unequal_distances_are_told_as_passes(series) -> None:
    path = series("AcquisitionNumber", [1, 2] * 4)
    for place in range(1, 8, 2):
        data = pydicom.dcmread(path / f"IM{place}.dcm")
        data.ImagePositionPatient = [0, 0, place - 0.6]
        data.save_as(path / f"IM{place}.dcm")
    with pytest.raises(UserError, match=r"two acquisitions \(AcquisitionNumber 1, 2\) whose slices lie between"):
        probe(path)


@pytest.mark.parametrize(
    ("group", "tag", "values", "told"),
    [
        ("FrameContentSequence", "FrameAcquisitionNumber", (1, 2), "acquisitions"),
        ("FrameContentSequence", "TemporalPositionIndex", (1, 2), "times"),
        ("CTXRayDetailsSequence", "KVP", (80.0, 140.0), "acquisitions"),
        ("CTReconstructionSequence", "ConvolutionKernel", ("B31f", "B60f"), "reconstructions"),
        ("CardiacSynchronizationSequence", "NominalPercentageOfCardiacPhase", (40.0, 75.0), "times"),
    ],
)
def test_passes_among_the_frames_of_a_file(tmp_path, group, tag, values, told) -> None:
    greys = np.random.default_rng(0).integers(-1000, 1000, (8, 4, 5))
    scan = Scan(greys, (2.0, 0.5, 0.7), np.eye(3)[::-1], (1.0, 2.0, 3.0), intercept=-1024)
    file = scan_files.dicom_multi_frame(scan, tmp_path / "scan")

    def tagged(of_place: Callable[[int], Any]) -> None:
        data = pydicom.dcmread(file)
        for frame in data.PerFrameFunctionalGroupsSequence:
            item = Dataset()
            setattr(item, tag, of_place(round((frame.PlanePositionSequence[0].ImagePositionPatient[2] - 3) / 2)))
            setattr(frame, group, [item])
        data.save_as(file)

    tagged(lambda place: values[place // 4])
    np.testing.assert_array_equal(read_volume(file).array, greys)
    tagged(lambda place: values[place % 2])
    with pytest.raises(UserError, match=rf"two {told} \({tag} .*\) whose slices lie between each other's"):
        read_volume(file)


THERE_AND_BACK = [n for k in range(1, 7) for n in (k, 13 - k)]


def clock(passes: int, first: str = "120000.25") -> list[str]:
    """A time for each of 6 slices of each pass, one pass after the other, their slices between each other's."""
    start = float(first)
    return [f"{start + 300 * number + place:.2f}" for place in range(6) for number in range(passes)]


@pytest.mark.parametrize(
    ("tag", "values", "told"),
    [
        ("AcquisitionTime", clock(2), "two acquisitions (AcquisitionTime 120000.25, 120300.25)"),
        ("AcquisitionTime", clock(3), "3 acquisitions (AcquisitionTime 120000.25, 120300.25, 120600.25)"),
        ("InstanceNumber", [n for k in range(1, 7) for n in (k, k + 6)], "two stacks (InstanceNumber 1, 7)"),
        (
            "AcquisitionNumber",
            [n for k in range(1, 7) for n in (k, 13 - k)],
            "two acquisitions (AcquisitionNumber 1, 8)",
        ),  # there and back
    ],
)
def test_passes_whose_slices_have_numbers_of_their_own_are_told_by_their_order(series, tag, values, told) -> None:
    with pytest.raises(UserError) as refused:
        probe(series(tag, values))
    assert f"holds {told} whose slices lie between each other's" in str(refused.value)


@pytest.mark.parametrize(
    ("tag", "values"),
    [
        ("AcquisitionTime", [f"{120000 + place}" for place in range(12)]),
        ("AcquisitionTime", [f"{120050 - place}" for place in range(12)]),
        ("AcquisitionTime", [f"{(235955 + place) if place < 5 else place:06d}" for place in range(12)]),  # midnight
        ("InstanceNumber", [5, 2, 9, 1, 12, 7, 3, 11, 4, 8, 6, 10]),
        ("InstanceNumber", [*range(7, 13), *range(1, 7)]),  # two stations, the second first
        ("InstanceNumber", [1] * 12),
        ("AcquisitionNumber", [1 + place // 2 for place in range(12)]),
    ],
)
def test_an_order_that_tells_no_passes_is_left_alone(series, tag, values) -> None:
    assert probe(series(tag, values)).shape[0] == 12
