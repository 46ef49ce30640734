"""Where pictures are taken."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ctsr.imaging.anatomy.lung import lung_mask
from ctsr.imaging.intensity import Window
from ctsr.imaging.storage import MappedFiles
from ctsr.imaging.volume import Volume
from ctsr.inference.regions_of_interest import lung_regions
from tests.memory import no_more_memory_than

WINDOW = Window(-1000, 100)


def chest() -> Volume:
    """Two lungs in soft tissue in air, vessels in the left part of one of them only."""
    _, y, x = np.ogrid[:9, :160, :200]
    greys = np.full((9, 160, 200), -1000.0)
    greys[:, ((y[0] - 80) / 75) ** 2 + ((x[0] - 100) / 95) ** 2 < 1] = 40
    for centre in (60, 140):
        greys[:, ((y[0] - 80) / 50) ** 2 + ((x[0] - centre) / 34) ** 2 < 1] = -850
    greys[:, 60:100:8, 125:155:6] = 0
    greys += np.random.default_rng(0).normal(0, 10, greys.shape)
    return Volume(greys.astype(np.float32), np.diag([1.0, 0.7, 0.7, 1.0]))


def test_places_lie_in_the_lungs_and_first_where_there_is_most_to_see() -> None:
    places = lung_regions(chest(), lung_mask(chest()), WINDOW, size=24)
    assert [place.z for place in places] == [1, 4, 7]
    assert 60 - 24 < places[0].y < 100
    assert 125 - 24 < places[0].x < 155
    boxes = {(place.y, place.x) for place in places}
    assert all(abs(a.y - b.y) >= 24 or abs(a.x - b.x) >= 24 for i, a in enumerate(places) for b in places[:i]), (
        f"{boxes} overlap"
    )
    assert places == lung_regions(chest(), lung_mask(chest()), WINDOW, size=24)


def test_a_scan_without_lung_has_places_too() -> None:
    block = Volume(np.full((2, 30, 20), 40, np.int16), np.eye(4))
    places = lung_regions(block, np.zeros(block.shape, dtype=bool), WINDOW)
    assert [(place.z, place.size) for place in places] == [(0, 20), (1, 20)]
    assert all(0 <= place.y <= 10 and place.x == 0 for place in places)


def test_a_long_scan_need_not_fit_into_memory(tmp_path: Path) -> None:
    array, lung = (MappedFiles(tmp_path)((240, 384, 384), dtype) for dtype in (np.int16, bool))
    scan = Volume(array, np.eye(4))
    lung_regions(scan, lung, WINDOW)  # what is loaded by the first call counts as memory, too
    with no_more_memory_than(20):  # of 71 and 35 MB
        assert [place.z for place in lung_regions(scan, lung, WINDOW)] == [39, 119, 199]
        lung[100:200] = True
        assert [place.z for place in lung_regions(scan, lung, WINDOW)] == [116, 149, 183]
