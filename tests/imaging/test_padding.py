"""Where a scan is padding, told by its greys; and what a slice is like without the edge of its field of view."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from ctsr.imaging.formats.readers import read_volume
from ctsr.imaging.orientation import canonical
from ctsr.imaging.padding import find_padding, mark_padding, nearest_inside
from ctsr.imaging.storage import MappedFiles
from ctsr.imaging.volume import Volume
from tests.memory import no_more_memory_than


def disc(size: int, radius: float, centre: float | None = None) -> npt.NDArray[np.bool_]:
    centre = (size - 1) / 2 if centre is None else centre
    y, x = np.indices((size, size))
    inside: npt.NDArray[np.bool_] = np.hypot(y - centre, x - centre) <= radius
    return inside


def noisy(inside: npt.NDArray[np.bool_], outside: int, clipped: bool = False) -> npt.NDArray[np.int16]:
    """Six slices of air and tissue with noise, and padding."""
    rng = np.random.default_rng(0)
    scan = rng.normal(-1000, 25, (6, *inside.shape))
    scan[:, 20:, 10:30] += 1040  # tissue, up to the edge of the image
    if clipped:
        scan = np.maximum(scan, -1024)
    return np.where(inside, scan, outside).astype(np.int16)


@pytest.mark.parametrize("outside", [-3024, -2000, -1600, -1100, -1024])
@pytest.mark.parametrize(("radius", "centre"), [(32, None), (38, None), (34, 28.0)])
def test_a_round_field_is_found_whatever_is_written_around_it(outside: int, radius: float, centre: float) -> None:
    inside = disc(64, radius, centre)
    scan = noisy(inside, outside, clipped=outside >= -1100)
    np.testing.assert_array_equal(find_padding(scan), np.broadcast_to(~inside, scan.shape))


@pytest.mark.parametrize("outside", [-3024, -1024])
def test_a_long_scan_need_not_fit_into_memory(outside: int, tmp_path: Path) -> None:
    inside = disc(512, 256)
    scan = MappedFiles(tmp_path)((120, 512, 512), np.int16)
    for z, plane in enumerate(scan):
        plane[:] = np.where(inside, z % 7, outside)
    with no_more_memory_than(8):  # of 63 MB
        padding = find_padding(scan, MappedFiles(tmp_path))
    assert all((plane == ~inside).all() for plane in padding)


def test_air_and_what_is_not_round_are_no_padding() -> None:
    everything = np.ones((64, 64), dtype=bool)
    assert not find_padding(noisy(everything, 0, clipped=True)).any(), "air that is clipped here and there"
    box = np.zeros((64, 64), dtype=bool)
    box[8:56, 4:60] = True
    assert not find_padding(noisy(box, -1024, clipped=True)).any(), "a rectangle"
    y, x = np.indices((64, 64))
    ellipse = np.hypot((y - 31.5) / 20, (x - 31.5) / 30) < 1
    assert not find_padding(noisy(ellipse, -1024)).any(), "a body in air without noise"
    assert not find_padding(noisy(disc(64, 32), -1000)).any(), "a grey of air that air has everywhere"


@pytest.mark.realdata
def test_the_field_of_a_real_scanner_is_found_in_a_converted_scan(shared_data: Path) -> None:
    """Its own padding is -3024, and told; here it is taken for a converter's -1024, with all air clipped there."""
    scan, _ = canonical(read_volume(shared_data / "clinical" / "rider-pilot-0117"))
    assert scan.padding == -3024
    assert scan.outside is not None
    np.testing.assert_array_equal(find_padding(np.maximum(scan.array, -1024)), scan.outside)


def test_a_slice_goes_on_as_its_edge() -> None:
    image = np.arange(25, dtype=np.float32).reshape(5, 5)
    outside = np.zeros((5, 5), dtype=bool)
    outside[:, 3:] = True
    np.testing.assert_array_equal(nearest_inside(image, outside)[:, 3:], image[:, [2, 2]])
    np.testing.assert_array_equal(nearest_inside(image, outside)[:, :3], image[:, :3])
    np.testing.assert_array_equal(nearest_inside(image, np.ones((5, 5), dtype=bool)), image)


def test_the_lowest_padding_is_kept_in_mind() -> None:
    array = np.array([[[-3024, -2000, 0, 40]]], dtype=np.int16)
    marked = mark_padding(Volume(array, np.eye(4)), array < -1500)
    assert marked.array.tolist() == [[[-1024, -1024, 0, 40]]]
    assert marked.padding == -3024
    assert marked.outside is not None
    again = mark_padding(marked, marked.array == 0)
    assert again.padding == -3024
    assert again.outside is not None
    assert again.outside.tolist() == [[[True, True, True, False]]]


def test_arrays_are_changed_only_where_that_is_asked() -> None:
    array = np.array([[[-3024, -2000, 0, 40]]], dtype=np.int16)
    volume, padding = Volume(array, np.eye(4), outside=array == 40), array < -1500
    before, where = array.copy(), padding.copy()
    copied = mark_padding(volume, padding)
    np.testing.assert_array_equal(array, before)
    np.testing.assert_array_equal(padding, where)
    changed = mark_padding(volume, padding, in_place=True)
    assert changed.array is array
    assert changed.outside is padding
    np.testing.assert_array_equal(changed.array, copied.array)
    np.testing.assert_array_equal(changed.outside, copied.outside)
    assert changed.padding == copied.padding == -3024
