"""What a scan is beside what was learned on, and which slices are warned of."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ctsr.imaging.storage import MappedFiles
from ctsr.imaging.volume import Volume
from ctsr.inference.beside_training import BesideTraining, Sampling
from tests.checkpoints import card
from tests.memory import no_more_memory_than


def sampling(slice_mm: float | None, thickness_mm: float | None = None) -> Sampling:
    return Sampling((0.625, 0.625), slice_mm, thickness_mm, (-1000.0, 100.0))


@pytest.mark.parametrize(
    ("here", "there", "told"),
    [
        ((0.6, None), (0.6, None), None),
        ((0.9, None), (0.6, None), None),  # 1.5 times
        ((1.0, None), (0.6, None), "slices 1 mm apart, where the network learned on slices 0.6 mm apart:"),
        ((0.8, 1.25), (0.625, None), None),  # slices of a training may be twice as thick as they lie apart
        ((0.8, 2.0), (0.625, None), "slices 2 mm thick, where the network learned on slices 0.625 mm apart:"),
        (
            (0.8, 2.0),
            (0.625, 1.25),
            "learned on slices 0.625 mm apart and 1.25 mm thick:",
        ),
        ((0.8, 1.8), (0.625, 1.25), None),
        ((3.0, 3.0), (3.0, 3.0), None),
        ((3.0, None), (None, None), None),  # former checkpoints do not tell
    ],
)
def test_slices_unlike_those_of_the_training(
    here: tuple[float, float | None], there: tuple[float | None, float | None], told: str | None
) -> None:
    doubts = list(BesideTraining(sampling(*here), sampling(*there)).doubts())
    assert len(doubts) == (told is not None)
    assert told is None or told in doubts[0]


def test_the_greys_of_a_long_scan_are_not_copied(tmp_path: Path) -> None:
    """Padding does not count, though it is the darkest and, here, the brightest."""
    array, outside = (MappedFiles(tmp_path)((120, 512, 512), dtype) for dtype in (np.int16, bool))
    array[40, 300, 200], array[90, 400, 100] = -950, 1300
    array[:, :9], array[:, 9], outside[:, :10] = -3024, 4000, True
    with no_more_memory_than(8):  # of 63 MB
        assert Sampling.of_scan(Volume(array, np.eye(4), outside)).hu == (-950.0, 1300.0)


def test_both_in_one_line() -> None:
    array = np.full((2, 3, 4), -1024, np.int16)
    array[:, 1:] = [-900, -800, 40, 1200]
    outside = np.zeros(array.shape, dtype=bool)
    outside[:, 0] = True
    scan = Volume(array, np.diag([2.5, 0.7, 0.7, 1.0]), outside, padding=-3024.0, thickness=3.0)
    beside = BesideTraining(Sampling.of_scan(scan), Sampling.of_training(card(slice_thickness_mm=1.25)))
    assert str(beside) == (
        "scan: pixels of 0.7 mm, slices 2.5 mm apart and 3 mm thick, -900 to 1200 HU; "
        "learned on: pixels of 0.625 mm, slices 0.6 mm apart and 1.25 mm thick, -1000 to 100 HU"
    )
    assert beside.to_plain()["scan"] == {
        "pixel_mm": (0.7, 0.7),
        "slice_mm": 2.5,
        "thickness_mm": 3.0,
        "hu": (-900.0, 1200.0),
    }
