"""Vessels and lumens that are planted, taken away and made up, so that their counts are known."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pytest

from ctsr.evaluation.measures.hallucinations import LUMENS, VESSELS, Tally, centreline_dice, total
from ctsr.phantom.labels import Label

PIXEL_MM = 0.078125
SIZE = 256
FloatImage = npt.NDArray[np.float32]
Labels = npt.NDArray[np.uint8]
Place = tuple[int, int, float]  # row, column, diameter in mm

PLACES: list[Place] = [
    *((32, column, 0.35) for column in (30, 70, 110, 150)),
    *((90, column, 0.7) for column in (40, 100, 160)),
    *((170, column, 1.5) for column in (50, 120)),
]  # four, three and two: classes of size from 0.2, 0.5 and 1 mm
FREE: list[Place] = [(220, 50, 0.35), (220, 120, 0.7), (220, 190, 0.7), (120, 225, 1.5)]


def disc(row: float, column: float, diameter_mm: float) -> npt.NDArray[np.bool_]:
    rows, columns = np.indices((SIZE, SIZE))
    inside: npt.NDArray[np.bool_] = np.hypot(rows - row, columns - column) * PIXEL_MM < diameter_mm / 2
    return inside


def vessel_labels(places: Sequence[Place] = PLACES) -> Labels:
    labels = np.full((SIZE, SIZE), Label.PARENCHYMA, np.uint8)
    labels[:8], labels[8:10] = Label.CHEST_WALL, Label.PLEURA
    for place in places:
        labels[disc(*place)] = Label.VESSEL
    return labels


def drawn(places: Sequence[Place], greys: Sequence[float] | float = 0.95) -> FloatImage:
    image = np.full((SIZE, SIZE), 0.1, np.float32)
    image[:10] = 0.95
    for place, grey in zip(places, np.broadcast_to(greys, len(places)), strict=True):
        image[disc(*place)] = grey
    return image


def airways(places: Sequence[Place]) -> tuple[FloatImage, Labels]:
    """Dark lumens of the given diameters, in bright walls of 0.3 mm."""
    image, labels = drawn([]), vessel_labels([])
    for row, column, diameter in places:
        wall, lumen = disc(row, column, diameter + 0.6), disc(row, column, diameter)
        image[wall], labels[wall] = 0.9, Label.AIRWAY_WALL
        image[lumen], labels[lumen] = 0.05, Label.AIRWAY_LUMEN
    return image, labels


def at(tally: Tally, level: float, levels: Sequence[float]) -> tuple[list[int], list[int]]:
    """Found and made up by size, at a level."""
    k = int(np.argmin(np.abs(np.array(levels) - level)))
    return tally.found[k].tolist(), tally.made_up[k].tolist()


def test_all_planted_vessels_are_found_and_none_is_made_up() -> None:
    tally = Tally.of(VESSELS, drawn(PLACES), vessel_labels(), PIXEL_MM)
    assert tally.there.tolist() == [4, 3, 2, 0]
    assert at(tally, 0.45, VESSELS.levels) == ([4, 3, 2, 0], [0, 0, 0, 0])
    assert tally.area_mm2 == pytest.approx((SIZE - 8) * SIZE * PIXEL_MM**2)


def test_vessels_taken_away_are_missed_and_others_are_made_up() -> None:
    image = drawn([*PLACES[1:4], PLACES[5], *PLACES[7:], *FREE])  # without one, two and none; with one, two and one
    tally = Tally.of(VESSELS, image, vessel_labels(), PIXEL_MM)
    assert at(tally, 0.45, VESSELS.levels) == ([3, 1, 2, 0], [1, 2, 1, 0])
    k = VESSELS.levels.index(0.45)
    assert tally.detection()[k] == pytest.approx(6 / 9)
    assert tally.hallucinations()[k] == pytest.approx(4 / (tally.area_mm2 / 100))


def test_half_a_vessel_is_found_and_a_third_is_not() -> None:
    labels = vessel_labels([])
    labels[100:108, 40:100] = labels[150:158, 40:100] = Label.VESSEL
    image = drawn([])
    image[100:108, 40:75] = image[150:158, 40:60] = 0.95
    found, made_up = at(Tally.of(VESSELS, image, labels, PIXEL_MM), 0.45, VESSELS.levels)
    assert (sum(found), sum(made_up)) == (1, 0)


def test_dense_tissue_and_what_touches_it_is_not_made_up() -> None:
    labels = vessel_labels()
    labels[disc(220, 120, 3.0)] = Label.NODULE
    image = drawn([*PLACES, (220, 120, 3.0)])
    image[218:222, 120:150] = 0.95  # out of the nodule
    image[disc(90, 49, 0.35)] = 0.95  # two dark pixels from the vessel of 0.7 mm at column 40
    assert at(Tally.of(VESSELS, image, labels, PIXEL_MM), 0.45, VESSELS.levels)[1] == [0, 0, 0, 0]
    image[disc(90, 115, 0.35)] = 0.95  # eight from that at column 100
    assert at(Tally.of(VESSELS, image, labels, PIXEL_MM), 0.45, VESSELS.levels)[1] == [1, 0, 0, 0]
    labels[disc(220, 120, 3.0)] = Label.PARENCHYMA
    assert at(Tally.of(VESSELS, image, labels, PIXEL_MM), 0.45, VESSELS.levels)[1] == [1, 0, 0, 1]


def test_specks_do_not_count() -> None:
    image = drawn(PLACES)
    image[220:222, 60:62] = 1.0  # 0.18 mm
    assert at(Tally.of(VESSELS, image, vessel_labels(), PIXEL_MM), 0.5, VESSELS.levels)[1] == [0, 0, 0, 0]
    image[220:223, 60:64] = 1.0  # 0.31 mm
    assert at(Tally.of(VESSELS, image, vessel_labels(), PIXEL_MM), 0.5, VESSELS.levels)[1] == [1, 0, 0, 0]


def test_fainter_vessels_are_found_at_lower_levels_with_more_made_up() -> None:
    places = [(row, column, 0.9) for row in (40, 90, 140) for column in (30, 80, 130)]
    greys = np.linspace(0.83, 0.43, 9)  # midway between levels
    image = drawn([*places, (200, 60, 0.9), (200, 120, 0.9)], [*greys, 0.68, 0.48])
    tally = Tally.of(VESSELS, image, vessel_labels(places), PIXEL_MM)
    for level, found, made_up in ((0.85, 0, 0), (0.8, 1, 0), (0.65, 4, 1), (0.5, 7, 1), (0.45, 8, 2), (0.4, 9, 2)):
        counts = at(tally, level, VESSELS.levels)
        assert (sum(counts[0]), sum(counts[1])) == (found, made_up), level
    per_piece = 100 / tally.area_mm2
    assert tally.at_equal_detection(4 / 9) == pytest.approx(per_piece)
    assert tally.at_equal_detection(7.5 / 9) == pytest.approx(1.5 * per_piece)  # between the levels 0.5 and 0.45


def test_equal_detection_lies_between_two_levels() -> None:
    tally = Tally(
        there=np.array([4, 6]),
        found=np.array([[1, 0], [2, 2], [2, 6]]),
        made_up=np.array([[1, 0], [2, 0], [2, 4]]),
        area_mm2=50.0,
    )
    np.testing.assert_allclose(tally.detection(), [0.1, 0.4, 0.8])
    np.testing.assert_allclose(tally.hallucinations(), [2, 4, 12])
    assert tally.at_equal_detection(0.5) == pytest.approx(6)
    assert tally.at_equal_detection(0.8) == pytest.approx(12)
    assert tally.at_equal_detection(0.05) == pytest.approx(2)  # the first level finds more already
    assert math.isnan(tally.at_equal_detection(0.9))


def test_slices_add_up() -> None:
    whole = Tally(np.array([3, 1]), np.array([[2, 1], [3, 1]]), np.array([[0, 1], [2, 1]]), 40.0)
    none = Tally(np.array([1, 0]), np.array([[0, 0], [0, 0]]), np.array([[1, 0], [1, 2]]), 60.0)
    both = total([whole, none])
    assert both.there.tolist() == [4, 1]
    np.testing.assert_allclose(both.detection(), [3 / 5, 4 / 5])
    np.testing.assert_allclose(both.hallucinations(), [2, 6])


@pytest.mark.parametrize("image", [np.ones((SIZE, SIZE), np.float32), 1 - drawn(PLACES)], ids=["bright", "inverted"])
def test_fog_finds_nothing(image: FloatImage) -> None:
    tally = Tally.of(VESSELS, image, vessel_labels(), PIXEL_MM)
    assert not tally.found.any()
    assert math.isnan(tally.at_equal_detection(0.5))


def test_a_lung_without_vessels_has_only_inventions() -> None:
    tally = Tally.of(VESSELS, drawn(FREE), vessel_labels([]), PIXEL_MM)
    assert not tally.there.any()
    assert at(tally, 0.45, VESSELS.levels) == ([0, 0, 0, 0], [1, 2, 1, 0])
    assert math.isnan(tally.at_equal_detection(0.5))


def test_planted_lumens_are_found_filled_ones_missed_and_others_made_up() -> None:
    places = [(60, 60, 0.7), (60, 140, 0.7), (140, 60, 1.4), (140, 150, 3.0)]
    image, labels = airways(places)
    tally = Tally.of(LUMENS, image, labels, PIXEL_MM)
    assert tally.there.tolist() == [0, 2, 1, 1]
    assert at(tally, 0.5, LUMENS.levels) == ([0, 2, 1, 1], [0, 0, 0, 0])
    image, _ = airways([*places[1:], (220, 60, 0.7), (220, 120, 1.4)])
    image[disc(140, 60, 1.4)] = 0.9  # its wall closes over it
    assert at(Tally.of(LUMENS, image, labels, PIXEL_MM), 0.5, LUMENS.levels) == ([0, 1, 0, 1], [0, 1, 1, 0])


def test_a_lumen_with_an_open_wall_is_not_seen() -> None:
    image, labels = airways([(100, 100, 1.4)])
    image[97:104, 100:130] = 0.1
    assert not Tally.of(LUMENS, image, labels, PIXEL_MM).found[: LUMENS.levels.index(0.5)].any()


def bars(rows: Sequence[int], width: int = 8) -> npt.NDArray[np.bool_]:
    """Equal horizontal vessels, centred 20 pixels apart."""
    mask = np.zeros((SIZE, SIZE), bool)
    for row in rows:
        mask[20 + 20 * row - width // 2 : 20 + 20 * row + width // 2, 40:200] = True
    return mask


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        ((0, 1, 2, 3), 1.0),
        ((0, 1, 2), 2 * 1 * 0.75 / 1.75),  # one missed
        ((0, 1, 2, 3, 5), 2 * 0.8 * 1 / 1.8),  # one made up
        ((0, 1, 2, 5, 6, 7), 2 * 0.5 * 0.75 / 1.25),
        ((5, 6), 0.0),
        ((), 0.0),
    ],
)
def test_centreline_dice_counts_lengths(seen: tuple[int, ...], expected: float) -> None:
    labels = np.where(bars((0, 1, 2, 3)), Label.VESSEL, Label.PARENCHYMA).astype(np.uint8)
    image = np.where(bars(seen), 0.9, 0.1).astype(np.float32)
    assert centreline_dice(image, labels, PIXEL_MM) == pytest.approx(expected, abs=0.02)


def test_centreline_dice_does_not_mind_width_as_dice_does() -> None:
    labels = np.where(bars((0, 1, 2, 3)), Label.VESSEL, Label.PARENCHYMA).astype(np.uint8)
    for width, overlap in ((4, 2 / 3), (12, 0.8)):
        seen = bars((0, 1, 2, 3), width)
        assert 2 * (seen & (labels == Label.VESSEL)).sum() / (seen.sum() + bars((0, 1, 2, 3)).sum()) == overlap
        image = np.where(seen, 0.95, 0.05).astype(np.float32)
        assert centreline_dice(image, labels, PIXEL_MM) > 0.97


def test_centreline_dice_leaves_other_dense_tissue_out() -> None:
    labels = np.where(bars((0, 1, 2, 3)), Label.VESSEL, Label.PARENCHYMA).astype(np.uint8)
    image = np.where(bars((0, 1, 2, 3, 6)), 0.9, 0.1).astype(np.float32)
    assert centreline_dice(image, labels, PIXEL_MM) == pytest.approx(2 * 0.8 * 1 / 1.8, abs=0.02)
    labels[bars((6,))] = Label.NODULE
    assert centreline_dice(image, labels, PIXEL_MM) == pytest.approx(1, abs=0.02)


def test_centreline_dice_of_a_lung_without_vessels_is_no_number() -> None:
    assert math.isnan(centreline_dice(drawn(FREE), vessel_labels([]), PIXEL_MM))
