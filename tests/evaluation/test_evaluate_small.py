"""A whole comparison of cases that are small for its tiles."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from io import StringIO
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from rich.console import Console
from torch import Tensor, nn
from torch.nn import functional

from ctsr.data.pairs import Pair, load_kinds
from ctsr.data.preparing.store import PreparedCase
from ctsr.errors import UserError
from ctsr.evaluation.at_end_of_training import measure
from ctsr.evaluation.evaluate import evaluate
from ctsr.evaluation.questions.competitors import Interpolation, Synthesis, TrainedNetwork, methods_of
from ctsr.evaluation.questions.test_set import TestSet
from ctsr.evaluation.questions.tile_room import check_tiles, without_patches
from ctsr.evaluation.questions.tiles import Cut
from ctsr.evaluation.reporting.figures import synthesis_figure
from ctsr.evaluation.scoring import asking
from ctsr.evaluation.scoring.progress import AskingBar
from ctsr.evaluation.scoring.real_scans import scan_scores, slice_steps
from ctsr.evaluation.scoring.synthesis_scores import synthesis_scores
from ctsr.imaging.grey_map import GreyMap
from ctsr.imaging.intensity import Window
from ctsr.imaging.volume import Volume
from ctsr.networks.synthesis import Unchanged
from tests.data.projected import write_lung

FINE = 0.078125
HU = Window(-1000, 100)


class Interpolate(nn.Module):
    def forward(self, lr: Tensor) -> Tensor:
        return functional.interpolate(lr, scale_factor=8, mode="bicubic").clamp(-1, 1)


def ours() -> TrainedNetwork:
    return TrainedNetwork("ours", 0, Interpolate(), Synthesis(Unchanged()), HU, HU, {"clinical": GreyMap.identity()})


def prepared(folder: Path, image: npt.NDArray[np.floating], edge: int = 0, domain: str = "micro") -> PreparedCase:
    """A prepared case whose outer `edge` pixels are no specimen."""
    folder.mkdir(parents=True)
    mask = np.zeros(image.shape, bool)
    mask[:, edge : image.shape[1] - edge, edge : image.shape[2] - edge] = True
    for name, array in (("image", image.astype(np.float16)), ("slab", image.astype(np.float16)), ("mask", mask)):
        np.save(folder / f"{name}.npy", array)
    affine = np.diag([FINE, FINE, FINE, 1.0])
    return PreparedCase(folder, folder.name, domain, Window(0, 1), affine, image.shape[1:], range(len(image)))


def noise(*shape: int) -> npt.NDArray[np.float64]:
    return np.random.default_rng(0).uniform(-1, 1, shape)


def a_pair(name: str = "p", slices: int = 4) -> Pair:
    """Slices of 128 x 128, all but the outer 8 pixels specimen, each of its own clinical slice."""
    inside = np.zeros((slices, 128, 128), bool)
    inside[:, 8:-8, 8:-8] = True
    micro = Volume(noise(slices, 128, 128), np.diag([FINE, FINE, FINE, 1.0]))
    coarse = -450 + 550 * micro.array.reshape(slices, 16, 8, 16, 8).mean(axis=(2, 4))
    clinical = Volume(coarse, np.diag([8 * FINE, 8 * FINE, FINE, 1.0]))
    return Pair(name, clinical, micro, inside, None, Window(-1, 1), tuple((k, k) for k in range(slices)))


def test_all_cases_without_a_tile_are_named_at_once_with_a_size_that_fits_all(tmp_path: Path) -> None:
    narrow = [prepared(tmp_path / name, noise(2, 160, 160), edge=16) for name in ("a", "b")]
    test = TestSet(micro=[*narrow, prepared(tmp_path / "wide", noise(2, 256, 256))], pairs=[a_pair()])
    # Of the pair 112 of 128 pixels are specimen each way, 0.77 of all.
    # Of the others 128 of 160 each way: 0.64. Tiles of 112 to 144 pixels begin at the first pixel alone, where they are
    # covered by 0.79 at most; of 96, there is one from the 48th pixel on.
    with pytest.raises(UserError) as refused:
        check_tiles(test, Cut(256, cover=0.8))
    assert str(refused.value) == (
        "paired p, micro a, micro b: no 256-pixel tile lies inside the specimen (cover=0.8): "
        "give tile_micro=96 or cover=0.64"
    )
    check_tiles(test, Cut(96, cover=0.8))
    check_tiles(test, Cut(256, cover=0.64))


def test_a_case_that_no_tile_fits_is_to_be_left_out(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"micro tiny: no 64-pixel tile .*: leave it out"):
        check_tiles(TestSet(micro=[prepared(tmp_path / "tiny", noise(2, 48, 48))]), Cut(64))


def test_a_training_ends_without_the_cases_that_have_no_tile(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small = prepared(tmp_path / "small", noise(2, 160, 160), edge=16)
    wide = prepared(tmp_path / "wide", noise(2, 256, 256))
    rows = measure(ours(), TestSet(micro=[small, wide], pairs=[a_pair()]), tmp_path, Cut(256, cover=0.8))
    assert {(row.protocol, row.case) for row in rows} == {("synthetic", "wide")}
    told = capsys.readouterr().err
    assert "not measured, for no 256-pixel tile lies 80% inside the specimen: paired p, micro small\n" in told
    (tmp_path / "nothing").mkdir()
    assert measure(ours(), TestSet(micro=[small]), tmp_path / "nothing", Cut(256, cover=0.8)) == []
    assert not list((tmp_path / "nothing").iterdir())


def test_a_training_ends_with_real_scans_as_they_are(tmp_path: Path) -> None:
    image = noise(8, 24, 24)
    image[:, :, 12:] = -0.5  # even: f(GS(y)) = y away from the rest
    scan = prepared(tmp_path / "c", image, 0, "clinical")
    lung = np.zeros(image.shape, bool)
    lung[4:, :, 18:] = True  # above it there is none
    np.save(scan.folder / "mask.npy", lung)
    rows = measure(ours(), TestSet(clinical=[scan]), tmp_path, Cut())
    assert {(row.protocol, row.case) for row in rows} == {("clinical", "c")}
    assert {row.method for row in rows} == {"nearest", "bicubic", "bicubic_mapped", "ours"}
    values = {row.metric: row.value for row in rows if row.method == "ours"}
    assert values["consistency_hu"] == pytest.approx(0, abs=0.5)
    assert np.isfinite(list(values.values())).all()
    assert (tmp_path / "evaluation.csv").exists()


def test_nothing_is_left_where_a_case_has_no_tile(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="micro a: no 256-pixel tile"):
        evaluate([ours()], TestSet(micro=[prepared(tmp_path / "a", noise(2, 160, 160), 16)]), tmp_path / "o", Cut())
    assert not (tmp_path / "o").exists()


def test_one_small_tile_gives_a_whole_report(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    bars = []

    class Noted(AskingBar):
        def __init__(self, steps: Mapping[str, int], at_once: int) -> None:
            super().__init__(steps, at_once)
            self.total, self.seen = sum(steps.values()), [0]
            bars.append(self)

        def show(self, steps: int) -> None:
            self.seen.append(steps)
            super().show(steps)

    monkeypatch.setattr(asking, "AskingBar", Noted)
    pair, cut = a_pair(), Cut(96, cover=0.8, slices=1)
    assert without_patches(TestSet(pairs=[pair]), cut) == ["p"]
    assert without_patches(TestSet(pairs=[pair]), Cut(64, cover=0.0, slices=4)) == []
    micro = prepared(tmp_path / "m", noise(4, 128, 128))
    clinical = prepared(tmp_path / "c", noise(3, 24, 24), 0, "clinical")
    found = evaluate([ours()], TestSet([micro], [pair], clinical=[clinical]), tmp_path / "o", cut)
    told = capsys.readouterr()
    assert "kernel_distance is left out of paired p: under 8 patches of 64 pixels" in told.err
    assert "kernel_distance" not in {row.metric for row in found.rows}
    assert {row.protocol for row in found.rows} >= {"paired", "paired_slab", "plain", "synthesis", "clinical"}
    assert found.report.exists()
    (bar,) = bars
    assert bar.seen == list(range(bar.total + 1)), "one step after the other, to the end"
    lines = [line for line in told.out.splitlines() if line.startswith("compared: ")]
    assert lines[0].startswith("compared: paired, 1 of 10 after 0:00:")
    assert [line.split()[2] for line in lines] == [str(number) for number in range(1, 11)]


def test_projections_alone_give_a_whole_report(tmp_path: Path) -> None:
    pairs: dict[str, list[Pair]] = {}
    for number in range(3):
        write_lung(tmp_path / f"lung_{number}", seed=number)
        for kind, pair in load_kinds(tmp_path / f"lung_{number}").items():
            pairs.setdefault(kind, []).append(pair)
    found = evaluate([ours()], TestSet(projections=pairs), tmp_path / "o", Cut(64, slices=1))
    assert {row.protocol for row in found.rows} == {"projections/edge", "projections/soft"}
    assert [table.title for table in found.tables] == [
        "projections: less the better bicubic",
        "projections/edge",
        "projections/edge: after a fitted line",
        "projections/soft",
        "projections/soft: after a fitted line",
    ]
    kinds = [tuple(line[:2]) for line in found.tables[0].lines]
    assert kinds == [(kind, method) for kind in ("edge", "soft") for method in ("bicubic_mapped", "ours")]
    assert "the projection scanner, soft" in found.tables[3].note
    assert [path.name for path in found.figures] == ["projections.png"]
    text = (tmp_path / "o/report.md").read_text()
    assert "3 lungs by the projection scanner (2 kinds of acquisition)" in text


def test_two_processes_answer_as_one_does(tmp_path: Path) -> None:
    enlarge = nn.Upsample(scale_factor=8)
    two = [
        TrainedNetwork("ours", seed, enlarge, Synthesis(Unchanged()), HU, HU, {"clinical": GreyMap.identity()})
        for seed in (0, 1)
    ]
    test = TestSet([prepared(tmp_path / "m", noise(4, 128, 128))], [a_pair("p"), a_pair("q")])
    one, both = (
        evaluate(two, test, tmp_path / str(workers), Cut(64, cover=0.7, slices=1), workers) for workers in (1, 2)
    )
    assert {row.protocol for row in one.rows} > {"paired", "synthetic_own", "unseen_g1", "controls", "synthesis"}
    assert both.rows == one.rows
    assert [table.lines for table in both.tables] == [table.lines for table in one.tables]


def test_sets_of_one_size_are_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    micro = [prepared(tmp_path / str(side), np.full((2, side, side), 0.25)) for side in (128, 192)]
    clinical = prepared(tmp_path / "c", np.full((2, 40, 40), -0.5), 0, "clinical")
    rows = synthesis_scores([ours()], TestSet(micro, clinical=[clinical]), HU, Cut(192, slices=1)).rows
    greys = {(row.method, row.case): row.value for row in rows if row.metric == "greys"}
    assert greys == {
        (method, case): pytest.approx(0.75, abs=1e-3) for method in ("fx", "ours") for case in ("128", "192")
    }
    small = prepared(tmp_path / "s", np.full((2, 20, 20), -0.5), 0, "clinical")
    rows = synthesis_scores([ours()], TestSet(micro, clinical=[small]), HU, Cut(192, slices=1)).rows
    assert {row.case for row in rows} == {"128"}
    assert "left out of micro 192: no clinical scan has tiles of its size" in capsys.readouterr().err


def test_one_slice_has_no_step_to_the_next(capsys: pytest.CaptureFixture[str]) -> None:
    methods = methods_of([Interpolation()], GreyMap.identity())
    assert slice_steps([a_pair(slices=3)], methods, HU) == []  # the outermost are not taken
    assert "slice_step is left out of paired p" in capsys.readouterr().err
    assert {row.case for row in slice_steps([replace(a_pair(), name="q")], methods, HU)} == {"q"}


def test_small_scans_are_shown_whole(tmp_path: Path) -> None:
    scan = prepared(tmp_path / "c", noise(3, 24, 16), 0, "clinical")
    views = scan_scores([scan], [ours()], Interpolation(few=True)).views
    assert {image.shape for images in views.values() for image in images.values()} == {(192, 128)}
    micro = prepared(tmp_path / "m", noise(2, 256, 256))
    synthesis_figure([ours()], [micro], [scan], tmp_path / "x.png", Cut())
    assert (tmp_path / "x.png").exists()


def test_the_bar_names_what_is_asked_and_moves() -> None:
    console = Console(file=StringIO(), force_terminal=True, width=120)
    with AskingBar({"paired": 3, "plain": 1, "scans": 2}, 2, console) as bar:
        task = bar._bar.tasks[0]
        assert task.description == "comparing: paired, plain"
        bar.show(1)
        assert (task.completed, task.total) == (1, 6)
        bar.finish("plain")
        assert task.description == "comparing: paired, scans"
        bar.finish("paired")
        bar.finish("scans")
        assert task.description == "compared"
