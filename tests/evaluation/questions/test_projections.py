"""Protocol projections/<kind>: results in HU, against the phantom's HU, worked by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor, nn

from ctsr.data.pairs import Pair, load_kinds
from ctsr.data.preparing.hashes import remembered_hash
from ctsr.errors import UserError
from ctsr.evaluation.questions.competitors import Synthesis, TrainedNetwork
from ctsr.evaluation.questions.protocols import questions_on
from ctsr.evaluation.questions.test_set import TestSet, check_held_out, load_test_set
from ctsr.evaluation.questions.tile_room import check_tiles
from ctsr.evaluation.questions.tiles import Cut
from ctsr.evaluation.reporting.figures import projections_figure
from ctsr.evaluation.scoring.compare import compare
from ctsr.imaging.grey_map import GreyMap
from ctsr.imaging.intensity import Window
from ctsr.networks.synthesis import Unchanged
from ctsr.records.row import Row
from tests.checkpoints import card
from tests.data.projected import write_lung

WINDOW, OWN, OTHER = Window(-1000, 100), Window(-900, -100), Window(-1100, 50)
ALL_ONE = GreyMap(np.array([-1.0, 1.0]), np.array([0.25, 0.25]))
WHOLE = Cut(128, cover=0.5, slices=1)
MIDDLE = 10
"""The micro-CT slice of "soft" that is chosen: of its slices at 6 and 10 without the outermost."""


class Constant(nn.Module):
    def __init__(self, grey: float) -> None:
        super().__init__()
        self.grey = grey

    def forward(self, lr: Tensor) -> Tensor:
        return torch.full((1, 1, 8 * lr.shape[2], 8 * lr.shape[3]), self.grey)


class Fixed(nn.Module):
    def __init__(self, made: npt.NDArray[np.float32]) -> None:
        super().__init__()
        self.made = torch.from_numpy(made)[None, None]

    def forward(self, lr: Tensor) -> Tensor:
        return self.made


def trained(GS: nn.Module, hu: Window = OWN, name: str = "ours") -> TrainedNetwork:
    return TrainedNetwork(name, 0, GS, Synthesis(Unchanged()), WINDOW, hu, {"clinical": ALL_ONE})


def asked(networks: Sequence[TrainedNetwork], projections: Mapping[str, Sequence[Pair]], kind: str) -> list[Row]:
    questions = {one.name: one for one in questions_on(TestSet(projections=projections), networks, WHOLE)}
    assert list(questions) == [f"projections/{kind}" for kind in projections]
    return compare(questions[f"projections/{kind}"], WINDOW, full=False).rows


def value(rows: Sequence[Row], method: str, metric: str) -> float:
    (found,) = (row.value for row in rows if (row.method, row.metric) == (method, metric))
    return found


def unit(hu: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """-1000 to 100 HU as [0, 1]."""
    return np.clip((np.asarray(hu, dtype=float) + 1000) / 1100, 0, 1)


def decibels(hu: npt.ArrayLike, truth: npt.NDArray[np.int16]) -> float:
    return float(-10 * np.log10(np.mean((unit(hu) - unit(truth)) ** 2)))


@pytest.fixture
def lung(tmp_path: Path) -> tuple[dict[str, list[Pair]], npt.NDArray[np.int16]]:
    micro = write_lung(tmp_path / "lung_000")
    return {kind: [pair] for kind, pair in load_kinds(tmp_path / "lung_000").items()}, micro[MIDDLE]


def test_each_network_becomes_hu_by_its_own_window(
    lung: tuple[dict[str, list[Pair]], npt.NDArray[np.int16]],
) -> None:
    pairs, truth = lung
    networks = [
        trained(Constant(0.5)),
        trained(Constant(0.5), OTHER, "other"),
        trained(Constant(7.0), OTHER, "too bright"),
    ]
    rows = asked(networks, pairs, "soft")
    assert {row.case for row in rows} == {"lung_000"}
    # -900 + 1.5 x 400, -1100 + 1.5 x 575, and no more than the highest.
    for method, hu in (("ours", -300), ("other", -237.5), ("too bright", 50)):
        assert value(rows, method, "psnr") == pytest.approx(decibels(hu, truth), abs=1e-3), method
    for metric in ("ssim", "ssim_312um", "grad_corr", "dice", "grid_peak", "ssim_fitted", "dice_fitted"):
        assert np.isfinite(value(rows, "ours", metric))
    assert "ms_ssim" not in {row.metric for row in rows}


def test_a_scan_is_its_own_hu_and_mapped_greys_are_the_first_networks(
    lung: tuple[dict[str, list[Pair]], npt.NDArray[np.int16]],
) -> None:
    pairs, truth = lung
    rows = asked([trained(Constant(0.0)), trained(Constant(0.0), OTHER, "other")], pairs, "soft")
    assert {row.method for row in rows} == {"nearest", "bicubic", "bicubic_mapped", "ours", "other"}
    seen = truth.reshape(16, 8, 16, 8).mean(axis=(1, 3))
    assert value(rows, "nearest", "psnr") == pytest.approx(decibels(np.kron(seen, np.ones((8, 8))), truth), abs=0.01)
    # All greys are mapped to 0.25: -900 + 1.25 x 400.
    assert value(rows, "bicubic_mapped", "psnr") == pytest.approx(decibels(-400, truth), abs=1e-3)
    assert value(rows, "bicubic", "ssim") > value(rows, "nearest", "ssim")


def test_a_wrong_scale_of_hu_is_forgiven_after_the_line_alone(
    lung: tuple[dict[str, list[Pair]], npt.NDArray[np.int16]],
) -> None:
    pairs, truth = lung
    made = (unit(truth) * 1.6 - 0.8).astype(np.float32)  # in HU of its own: the truth's at 0.58 of the contrast
    rows = asked([trained(Fixed(made))], pairs, "soft")
    assert value(rows, "ours", "ssim_fitted") == pytest.approx(1, abs=1e-4)
    assert value(rows, "ours", "dice_fitted") == 1
    assert value(rows, "ours", "grad_corr") == pytest.approx(1, abs=1e-4)
    assert value(rows, "ours", "ssim") < 0.98
    of_line = decibels(-900 + (made.astype(float) + 1) * 400, truth)
    assert value(rows, "ours", "psnr") == pytest.approx(of_line, abs=1e-3)


def test_hu_beyond_the_window_count_in_the_line(lung: tuple[dict[str, list[Pair]], npt.NDArray[np.int16]]) -> None:
    """Twice the contrast about -450 HU, of which the window would cut half."""
    pairs, truth = lung
    made = (2 * unit(truth) - 1).astype(np.float32)
    rows = asked([trained(Fixed(made), Window(-1550, 650))], pairs, "soft")
    assert value(rows, "ours", "ssim_fitted") == pytest.approx(1, abs=1e-4)
    assert value(rows, "ours", "psnr") < 20


def test_kinds_have_their_own_slices(lung: tuple[dict[str, list[Pair]], npt.NDArray[np.int16]]) -> None:
    pairs, _ = lung
    rows = asked([trained(Constant(0.5))], pairs, "edge")
    truth = pairs["edge"][0].micro.array[7]
    assert value(rows, "ours", "psnr") == pytest.approx(decibels(-300, truth), abs=1e-3)


def test_all_scans_are_known_by_their_hashes(tmp_path: Path) -> None:
    for number in range(2):
        write_lung(tmp_path / f"data/projections/lung_00{number}", seed=number)
    test = load_test_set(tmp_path / "data", None, card(), tmp_path / "cache")
    assert {kind: [pair.name for pair in pairs] for kind, pairs in test.projections.items()} == {
        "edge": ["lung_000", "lung_001"],
        "soft": ["lung_000", "lung_001"],
    }
    one = trained(Constant(0.0))
    check_held_out([one], test)
    for name in ("micro", "soft", "edge"):
        scan = remembered_hash(tmp_path / f"data/projections/lung_001/{name}.nii.gz", tmp_path / "cache")
        seen = replace(one, trained_on={scan: "clinical case x"}, path=Path("seen.ckpt"))
        with pytest.raises(UserError, match="clinical case x, which is test case projections lung_001"):
            check_held_out([one, seen], test)


def test_a_lung_without_a_tile_is_refused(lung: tuple[dict[str, list[Pair]], npt.NDArray[np.int16]]) -> None:
    pairs, _ = lung
    test = TestSet(projections=pairs)
    check_tiles(test, WHOLE)
    pairs["soft"][0].inside[MIDDLE, :, :70] = False  # no slice of "edge"
    with pytest.raises(UserError, match=r"^projections lung_000: no 128-pixel tile"):
        check_tiles(test, WHOLE)


def test_one_lung_is_drawn(lung: tuple[dict[str, list[Pair]], npt.NDArray[np.int16]], tmp_path: Path) -> None:
    pairs, _ = lung
    projections_figure([trained(Constant(0.0))], pairs, tmp_path / "x.png", size=48)
    assert (tmp_path / "x.png").read_bytes().startswith(b"\x89PNG")
    projections_figure([trained(Constant(0.0))], {}, tmp_path / "y.png")
    assert not (tmp_path / "y.png").exists()
