"""What is believed of the voxel size."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ctsr.errors import UserError
from ctsr.imaging.formats.voxel_size import Told, axial_affine, given_size, mm_of_unit, voxel_size

HERE = Path("scan.tif")
CUBES = Told("its metadata", (0.05, 0.05, 0.05))
PLANE = Told("its metadata", (None, 0.05, 0.05))
PRINTER = Told("its resolution", (None, 0.254, 0.254), sure=False)


@pytest.mark.parametrize(
    ("name", "mm"),
    [
        *((name, 1e-3) for name in ("um", "µm", "μm", "micron", "Microns", "micrometer", "micrometers", "micrometre")),
        *(("mm", 1.0), ("millimeter", 1.0), ("Millimetres", 1.0), ("nm", 1e-6), ("nanometers", 1e-6)),
        *(("cm", 10.0), ("inch", 25.4), ("in", 25.4), ("m", 1000.0), ("meter", 1000.0), (" mm ", 1.0)),
        *((name, None) for name in ("", None, "pixel", "pixels", "s", "ms", "parsec")),
    ],
)
def test_units(name: object, mm: float | None) -> None:
    assert mm_of_unit(name) == mm


@pytest.mark.parametrize(
    ("spacing", "size"),
    [(0.05, (0.05,) * 3), (1, (1.0,) * 3), ([2, 0.5, 0.6], (2, 0.5, 0.6)), (np.array([2.0, 1, 1]), (2, 1, 1))],
)
def test_sizes_that_are_given(spacing: Any, size: tuple[float, ...]) -> None:
    assert given_size(spacing) == size


@pytest.mark.parametrize(
    "spacing",
    [
        *(0, -0.05, float("nan"), float("inf"), True, "0.05", "0,05", "abc", [], [0.05], [0.05, 0.05], [1] * 4),
        *([0.05, 0.0, 0.05], [0.05, float("nan"), 0.05], [0.05, None, 0.05], ["0.05"] * 3, [[1], [1], [1]], 50),
    ],
)
def test_sizes_that_are_none(spacing: Any) -> None:
    with pytest.raises(UserError, match=r"file_spacing=.* is not a voxel size: ") as caught:
        voxel_size(HERE, spacing, [CUBES])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("given", "told", "size"),
    [
        (0.05, [], (0.05, 0.05, 0.05)),
        (None, [CUBES], (0.05, 0.05, 0.05)),
        (0.0501, [CUBES], (0.05, 0.05, 0.05)),  # rounded
        ([0.2, 0.05, 0.05], [PLANE], (0.2, 0.05, 0.05)),
        (None, [PLANE, CUBES], (0.05, 0.05, 0.05)),
        (None, [PRINTER, CUBES], (0.05, 0.05, 0.05)),
        (0.254, [PRINTER], (0.254, 0.254, 0.254)),
    ],
)
def test_who_is_believed(given: Any, told: list[Told], size: tuple[float, ...]) -> None:
    assert voxel_size(HERE, given, told) == size


@pytest.mark.parametrize(
    ("given", "told", "match"),
    [
        (None, [], "has no spacing inside: give file_spacing="),
        (None, [PLANE], r"no distance of its slices \(its metadata tells pixels of 0.05 mm\): give file_spacing="),
        (None, [PRINTER], "no distance of its slices"),
        (0.005, [CUBES], "its metadata tells voxels of 0.05 mm, but file_spacing=0.005: leave file_spacing out"),
        ([0.06, 0.05, 0.05], [CUBES], "but file_spacing=0.06 x 0.05 x 0.05"),
        (0.1, [PLANE], "tells pixels of 0.05 mm, but file_spacing=0.1"),
        (None, [PLANE, Told("a.log", (0.1, 0.1, 0.1))], "its metadata tells pixels of 0.05 mm, but a.log tells voxels"),
    ],
)
def test_what_cannot_be_known_is_asked_for(given: Any, told: list[Told], match: str) -> None:
    with pytest.raises(UserError, match=rf"^scan\.tif:? .*{match}"):
        voxel_size(HERE, given, told)


def test_a_resolution_for_printers_gives_way_with_a_word(capsys: pytest.CaptureFixture[str]) -> None:
    assert voxel_size(HERE, 0.05, [PRINTER]) == (0.05, 0.05, 0.05)
    assert capsys.readouterr().err == (
        "warning: scan.tif: its resolution tells pixels of 0.254 mm, but file_spacing=0.05, which is taken\n"
    )


def test_axes_point_up_back_and_left() -> None:
    np.testing.assert_allclose(axial_affine((3, 2, 1)) @ [1, 1, 1, 1], [-1, -2, 3, 1])
