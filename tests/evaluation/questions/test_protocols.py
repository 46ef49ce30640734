"""Protocols and grey maps on small cases whose answers are known."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path

import nibabel
import numpy as np
import numpy.typing as npt
import pytest
import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor, nn
from torch.nn import functional

from ctsr.data.pairs import Pair, find_pairs, load_pair
from ctsr.data.preparing.store import PreparedCase
from ctsr.errors import UserError
from ctsr.evaluation.measures.kernel_distance import FEWEST
from ctsr.evaluation.questions.competitors import Synthesis, TrainedNetwork
from ctsr.evaluation.questions.enlargers import evaluating
from ctsr.evaluation.questions.protocols import questions_on
from ctsr.evaluation.questions.test_set import TestSet, check_held_out
from ctsr.evaluation.questions.tiles import Cut, chosen_slices, evenly_spaced, tiles_inside
from ctsr.evaluation.reporting.figures import paired_figure
from ctsr.evaluation.reporting.tables import GROUPS
from ctsr.evaluation.scoring.compare import compare
from ctsr.imaging.grey_map import GreyMap
from ctsr.imaging.intensity import Window
from ctsr.imaging.pyramid import GaussianPyramid
from ctsr.networks.synthesis import Unchanged
from ctsr.records.row import Row
from ctsr.training.grey_maps import fit_clinical_map, fit_synthetic_map

SAME = GreyMap(np.array([-1.0, 1.0]), np.array([-1.0, 1.0]))
HU = Window(-1000, 100)
FINE = 0.078125


class Interpolate(nn.Module):
    """Bicubic interpolation as a network; notes the mode it is used in."""

    def __init__(self) -> None:
        super().__init__()
        self.modes: list[bool] = []

    def forward(self, lr: Tensor) -> Tensor:
        self.modes.append(self.training)
        return functional.interpolate(lr, scale_factor=8, mode="bicubic").clamp(-1, 1)


class Oracle(nn.Module):
    """Knows the truth of each low-resolution image."""

    def __init__(self, known: Sequence[tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]]) -> None:
        super().__init__()
        self.known = [(torch.from_numpy(lr), torch.from_numpy(truth)) for lr, truth in known]

    def forward(self, lr: Tensor) -> Tensor:
        return next(truth for known, truth in self.known if torch.allclose(known, lr[0, 0], atol=1e-6))[None, None]


def lung(seed: int, slices: int = 40, size: int = 128) -> npt.NDArray[np.float32]:
    """Smooth blobs, values in [-1, 1]."""
    field = gaussian_filter(np.random.default_rng(seed).normal(size=(slices, size, size)), (3, 6, 6))
    return np.clip(field / field.std() / 2, -1, 1).astype(np.float32)


def write(path: Path, array: npt.NDArray[np.number], spacing: float, first_z: float, flip: bool = False) -> None:
    """A volume (z, y, x) whose rows run to posterior and columns to the left, as the scanners write it, or turned."""
    affine = np.diag([-spacing, -spacing, spacing, 1.0])
    affine[:3, 3] = -spacing / 2, -spacing / 2, first_z
    image = nibabel.Nifti1Image(np.ascontiguousarray(array.T), affine)
    nibabel.save(nibabel.as_closest_canonical(image) if flip else image, path)


def write_pair(folder: Path, flip: bool = False, seed: int = 0) -> Path:
    """Five clinical slices, each the block mean of one micro-CT slice 8k + 4; the outer 8 pixels are chest wall."""
    folder.mkdir(parents=True)
    truth = lung(seed)
    micro = np.rint(10_000 + 5_000 * truth).astype(np.int32)
    clinical = -450 + 550 * truth[4::8].reshape(5, 16, 8, 16, 8).mean(axis=(2, 4))
    labels = np.full(truth.shape, 7, np.uint8)
    labels[:, 8:-8, 8:-8] = 1
    labels[:, 40:60, 40:60] = 4
    write(folder / "micro.nii.gz", micro, FINE, 0.0)
    write(folder / "labels.nii.gz", labels, FINE, 0.0, flip)
    write(folder / "clinical.nii.gz", clinical.astype(np.float32), 8 * FINE, 4 * FINE, flip)
    return folder


def micro_case(folder: Path, seed: int = 0) -> PreparedCase:
    folder.mkdir(parents=True)
    image = lung(seed, slices=6).astype(np.float16)
    np.save(folder / "image.npy", image)
    np.save(folder / "mask.npy", np.ones(image.shape, bool))
    affine = np.diag([FINE, FINE, FINE, 1.0])
    return PreparedCase(folder, folder.name, "micro", Window(0, 1), affine, image.shape[1:], range(6))


def trained(GS: nn.Module, seed: int = 0, G1: nn.Module | None = None) -> TrainedNetwork:
    maps = {"clinical": SAME, "synthetic": SAME}
    return TrainedNetwork("ours", seed, GS, Synthesis(G1 or Unchanged()), HU, HU, maps)


def asked(name: str, GS: nn.Module, test: TestSet, cut: Cut, full: bool = False) -> list[Row]:
    one = trained(GS)
    (question,) = (question for question in questions_on(test, [one], cut) if question.name == name)
    return compare(question, HU, full).rows


def paired(GS: nn.Module, pairs: Sequence[Pair], tile: int = 64) -> list[Row]:
    return asked("paired", GS, TestSet(pairs=pairs), Cut(tile, slices=4))


def value(rows: Sequence[Row], method: str, metric: str) -> float:
    (found,) = (row.value for row in rows if (row.method, row.metric) == (method, metric))
    return found


def test_slices_are_matched_by_their_place_in_the_world(tmp_path: Path) -> None:
    pair = load_pair(write_pair(tmp_path / "a"))
    assert pair.slices == ((0, 4), (1, 12), (2, 20), (3, 28), (4, 36))
    assert chosen_slices(pair, 2) == [(1, 12), (3, 28)]
    assert chosen_slices(pair, 9) == [(1, 12), (2, 20), (3, 28)]
    inside = pair.micro.array[:, 8:-8, 8:-8]
    assert (pair.window.low, pair.window.high) == tuple(np.percentile(inside, (0.5, 99.5)))


def test_a_network_equal_to_a_baseline_has_its_score(tmp_path: Path) -> None:
    GS = Interpolate().train()
    rows = paired(GS, [load_pair(write_pair(tmp_path / "a"))])
    for metric in ("ssim", "psnr", "ssim_312um", "grad_corr"):
        assert value(rows, "ours", metric) == value(rows, "bicubic", metric) == value(rows, "bicubic_mapped", metric)
    assert value(rows, "nearest", "ssim") < value(rows, "bicubic", "ssim") < 1
    assert {row.protocol for row in rows} == {"paired"}
    assert {row.case for row in rows} == {"a"}
    assert GS.training
    assert not any(GS.modes)


def test_the_truth_has_the_best_score(tmp_path: Path) -> None:
    pair = load_pair(write_pair(tmp_path / "a"))
    known = [(HU.normalise(pair.clinical.array[k]), pair.window.normalise(pair.micro.array[z])) for k, z in pair.slices]
    rows = paired(Oracle(known), [pair])
    assert value(rows, "ours", "ssim") == pytest.approx(1, abs=1e-5)
    assert value(rows, "ours", "grad_corr") == pytest.approx(1, abs=1e-5)
    assert value(rows, "ours", "psnr") == math.inf


def test_orientation_on_disk_does_not_matter(tmp_path: Path) -> None:
    plain, turned = (load_pair(write_pair(tmp_path / name / "a", flip)) for name, flip in (("x", False), ("y", True)))
    assert paired(Interpolate(), [turned]) == paired(Interpolate(), [plain])


def test_grids_that_do_not_match_are_refused(tmp_path: Path) -> None:
    folder = write_pair(tmp_path / "a")
    image = nibabel.load(folder / "micro.nii.gz")
    image.affine[0, 3] += FINE / 2
    nibabel.save(nibabel.Nifti1Image(np.asarray(image.dataobj), image.affine), folder / "micro.nii.gz")
    with pytest.raises(UserError, match=r"not on the x8 grid.*0\.50 pixels apart"):
        load_pair(folder)


def test_unseen_inputs_have_the_hu_that_a_training_took(tmp_path: Path) -> None:
    case = micro_case(tmp_path / "m")
    halves = np.random.default_rng(0).normal(0, 0.01, (6, 128, 128))
    halves[..., :64] -= 0.8  # air, beside tissue of 0.5
    halves[..., 64:] += 0.5
    np.save(case.folder / "image.npy", halves.astype(np.float16))
    for air, tissue in ((-1000, 45), (-800, 0)):
        one = replace(trained(Interpolate()), materials=(air, tissue))
        (soft,) = (
            asking for asking in questions_on(TestSet(micro=[case]), [one], Cut(64)) if asking.name == "unseen_soft"
        )
        lr = HU.restore(next(soft.inputs_for[one].samples()).lr)
        assert np.median(lr[:, 2:5]) == pytest.approx(air, abs=15)
        assert np.median(lr[:, -5:-2]) == pytest.approx(tissue, abs=15)


def test_a_folder_without_pairs_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no paired cases"):
        find_pairs(tmp_path)
    assert find_pairs(write_pair(tmp_path / "b").parent) == [tmp_path / "b"]


def test_synthetic_downsamples_what_it_is_scored_on(tmp_path: Path) -> None:
    case, f = micro_case(tmp_path / "m"), GaussianPyramid()
    test, cut = TestSet(micro=[case]), Cut(128, slices=2)
    rows = asked("synthetic", Interpolate(), test, cut)
    assert value(rows, "ours", "ssim") == value(rows, "bicubic", "ssim")
    assert 0.5 < value(rows, "ours", "ssim") < 1
    known = []
    for z in (1, 4):
        truth = case.image[z].astype(np.float32)
        known.append((f(torch.from_numpy(truth)[None, None])[0, 0].clamp(-1, 1).numpy(), truth))
    assert value(asked("synthetic", Oracle(known), test, cut), "ours", "psnr") == math.inf
    assert value(asked("plain", Oracle(known), test, cut), "ours", "psnr") == math.inf


def test_each_network_is_asked_on_the_right_images(tmp_path: Path) -> None:
    """Own images, those of the first, and those of another seed: three generators that shift greys differently."""

    class Shift(nn.Module):
        def __init__(self, by: float) -> None:
            super().__init__()
            self.by = by

        def forward(self, image: Tensor, noise: Tensor) -> Tensor:
            return image + self.by

    class Sees(nn.Module):
        """Notes the mean of what it is given."""

        def __init__(self) -> None:
            super().__init__()
            self.means: list[float] = []

        def forward(self, lr: Tensor) -> Tensor:
            self.means.append(float(lr.mean()))
            return functional.interpolate(lr, scale_factor=8)

    case = micro_case(tmp_path / "m")
    truth = float(GaussianPyramid()(torch.from_numpy(case.slab[3].astype(np.float32))[None, None]).mean())
    networks = [Sees() for _ in range(3)]
    three = [trained(sees, seed, Shift(0.1 * seed)) for seed, sees in enumerate(networks)]
    expected = {"synthetic": (0, 0, 0), "synthetic_own": (0, 1, 2), "unseen_g1": (1, 0, 0)}
    for question in questions_on(TestSet(micro=[case]), three, Cut(128, slices=1)):
        if question.name in expected:
            compare(question, HU, full=False)
            for seed, sees in zip(expected[question.name], networks, strict=True):
                # A clip at 1 may take a little off.
                assert sees.means.pop() == pytest.approx(truth + 0.1 * seed, abs=0.02), question.name


def test_every_measure_of_a_pair_is_there_and_best_for_the_truth(tmp_path: Path) -> None:
    pair = load_pair(write_pair(tmp_path / "a"))
    known = [(HU.normalise(pair.clinical.array[k]), pair.truth(z)) for k, z in pair.slices]
    rows = asked("paired", Oracle(known), TestSet(pairs=[pair]), Cut(64, slices=4), full=True)
    best = {
        "ms_ssim": 1.0,
        "ssim_paper": 1.0,
        "dice": 1.0,
        "ssim_vessel": 1.0,
        "ssim_parenchyma": 1.0,
        "spectrum_db": 0.0,
    }
    for metric, wanted in best.items():
        assert value(rows, "ours", metric) == pytest.approx(wanted, abs=1e-4), metric
        assert abs(value(rows, "bicubic", metric) - wanted) > 0.01, metric
    assert {row.metric for row in rows} <= set(chain(*GROUPS.values())), "each has a column in some table"


@pytest.mark.parametrize("tile", [64, 72, 80, 96, 128])
def test_every_measure_but_one_is_there_with_few_tiles(tile: int, tmp_path: Path) -> None:
    pair = load_pair(write_pair(tmp_path / "a"))
    rows = asked("paired", Interpolate(), TestSet(pairs=[pair]), Cut(tile, cover=0.7, slices=1), full=True)
    patches = sum((tile // 64) ** 2 for _ in tiles_inside(pair.inside[pair.slices[2][1]], tile, 0.7))
    metrics = {row.metric for row in rows if row.method == "ours"}
    assert ("kernel_distance" in metrics) == (patches >= FEWEST)
    assert metrics >= {"ssim", "grid_peak", "ms_ssim", "ssim_paper", "ssim_1250um", "spectrum_db", "consistency_hu"}
    assert all(math.isfinite(row.value) for row in rows)


def test_a_network_that_saw_a_test_case_is_refused() -> None:
    one = trained(Interpolate())
    seen = TrainedNetwork("ours", 1, one.enlarge, None, HU, HU, {}, {"abc": "micro case lung_7"}, Path("seen.ckpt"))
    check_held_out([one, seen], TestSet(hashes={"def": "micro m"}))
    with pytest.raises(UserError, match=r"seen\.ckpt was trained on micro case lung_7, which is test case micro m"):
        check_held_out([one, seen], TestSet(hashes={"abc": "micro m"}))


def test_maps_undo_a_change_of_greys(tmp_path: Path) -> None:
    # G1 darkens and flattens; the map fitted on one case brings another's greys back.
    class Darker(nn.Module):
        def forward(self, image: Tensor, noise: Tensor) -> Tensor:
            return 0.5 * image - 0.2

    f = GaussianPyramid()
    slabs = torch.from_numpy(micro_case(tmp_path / "train").slab[:2, None, :128, :128].astype(np.float32))
    fitted = fit_synthetic_map(Darker(), slabs, f)
    greys = np.linspace(-0.5, 0.5, 9)
    assert np.abs(fitted.apply(0.5 * greys - 0.2) - greys).max() < 0.02
    clinical = micro_case(tmp_path / "clinical")
    same = fit_clinical_map([clinical], [micro_case(tmp_path / "micro", seed=0)], f)
    assert np.abs(same.apply(greys) - greys).max() < 0.15  # f smooths, so the ends come nearer


def test_the_figure_is_drawn(tmp_path: Path) -> None:
    paired_figure([trained(Interpolate())], [load_pair(write_pair(tmp_path / "a"))], tmp_path / "x.png", size=48)
    assert (tmp_path / "x.png").read_bytes().startswith(b"\x89PNG")
    assert not list(tmp_path.glob("*.partial"))


def test_tiles_lie_inside_the_mask() -> None:
    mask = np.zeros((70, 64), bool)
    mask[16:48, 16:48] = True
    corners = [(y.start, x.start) for y, x in tiles_inside(mask, 32, 1.0)]
    assert corners == [(16, 16)]
    assert len(list(tiles_inside(mask, 32, 0.5))) == 5
    assert list(tiles_inside(mask, 256, 0.0)) == [(slice(0, 64), slice(0, 64))]  # no larger than the image


def test_spread_is_even() -> None:
    assert evenly_spaced(range(10), 2) == [2, 7]
    assert evenly_spaced(range(3), 5) == [0, 1, 2]
    assert evenly_spaced(range(4, 9), 1) == [6]


def test_evaluating_restores_the_mode() -> None:
    network = nn.Dropout()

    def fails() -> None:
        with evaluating(network):
            assert not network.training
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fails()
    assert network.training
