"""The reconstruction kernel's name, as the scanner writes it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ctsr.imaging.formats.readers import read_volume
from ctsr.imaging.orientation import canonical
from tests.imaging.formats.dicom.dicom_files import changed


@pytest.mark.parametrize(
    ("tags", "named"),
    [
        ({"ConvolutionKernel": "B45f"}, "B45f"),
        ({"ConvolutionKernel": ["I70f", "3"]}, "I70f\\3"),
        ({"ConvolutionKernel": " LUNG "}, "LUNG"),
        ({"ConvolutionKernel": ""}, None),
        ({}, None),
    ],
    ids=str,
)
def test_a_series_tells_its_kernel_also_when_it_is_turned(
    tags: dict[str, Any], named: str | None, tmp_path: Path, write_series: Callable[..., list[Path]], hu: np.ndarray
) -> None:
    write_series(tmp_path, hu, **tags)
    volume = read_volume(tmp_path)
    assert volume.kernel == named
    assert canonical(volume)[0].kernel == named


def test_a_kernel_that_later_slices_do_not_tell_is_the_first_one_s(
    tmp_path: Path, write_series: Callable[..., list[Path]], hu: np.ndarray
) -> None:
    files = write_series(tmp_path, hu, ConvolutionKernel="STANDARD")
    changed(files[1:], ConvolutionKernel=None)
    assert read_volume(tmp_path).kernel == "STANDARD"
