"""Filters of clinical scans in an evaluation: what they make of the scans, who is asked again, and what is told."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import numpy.typing as npt
import pytest
from scipy import ndimage
from torch import Tensor, nn
from torch.nn import functional

from ctsr.data.pairs import load_kinds, load_pair
from ctsr.evaluation.questions.competitors import Synthesis, TrainedNetwork
from ctsr.evaluation.questions.kernels import MATCHED, ORACLE, KernelFilters, true_filters
from ctsr.evaluation.questions.protocols import Question, questions_on
from ctsr.evaluation.questions.test_set import TestSet, load_test_set
from ctsr.evaluation.questions.tiles import Cut
from ctsr.evaluation.scoring.compare import compare
from ctsr.imaging.grey_map import GreyMap
from ctsr.imaging.intensity import Window
from ctsr.imaging.kernel.measuring import measure
from ctsr.imaging.kernel.transfer import Softening
from ctsr.imaging.volume import Volume
from ctsr.networks.synthesis import Unchanged
from ctsr.phantom.projections.kernels import Kernel
from ctsr.phantom.projections.kinds import SETS
from tests.checkpoints import card
from tests.data.projected import write_lung
from tests.imaging.kernel.made_lungs import chest, reference_kernel

SD, PIXEL = 0.8, 0.625  # mm
ROWS, COLUMNS = slice(3, 19), slice(5, 21)  # of a scan, which the micro-CT covers
WHOLE = Cut(128, cover=0.5, slices=1)
WINDOW = Window(-1000, 100)
FREQUENCY = np.arange(0.0, 2.0, 0.005)
GAUSSIAN = np.exp(-2 * np.pi**2 * SD**2 * FREQUENCY**2)
LINE = {"frequency_per_mm": [0.0, 0.8], "gain": [1.0, 0.0]}
FROM_ONE = float(np.sqrt(0.335))  # of `LINE`: the mean of (n / 100)² for n from 0 to 100, which is 0.335
HALF_LINE = Softening((0.0, 0.8), (1.0, 0.5))


class Enlarges(nn.Module):
    """A network of bicubic interpolation."""

    def forward(self, lr: Tensor) -> Tensor:
        return functional.interpolate(lr, scale_factor=8, mode="bicubic")


def trained(name: str = "ours") -> TrainedNetwork:
    same = {"clinical": GreyMap.identity()}
    return TrainedNetwork(name, 0, Enlarges(), Synthesis(Unchanged()), WINDOW, WINDOW, same)


def written(path: Path, plain: Any) -> str:
    path.write_text(json.dumps(plain), encoding="utf-8")
    return str(path)


def rewrite(scan: Path, change: Callable[[npt.NDArray[np.float32]], npt.NDArray[np.generic]]) -> None:
    """Other greys on the same grid; (z, y, x), whose rows and columns run as the scanner writes them."""
    image = nibabel.load(scan)
    greys = change(np.asarray(image.dataobj).T.astype(np.float32))
    nibabel.save(nibabel.Nifti1Image(np.ascontiguousarray(greys.T), image.affine), scan)


def filled(scan: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """With a body around what the micro-CT covers instead of padding."""
    full = -450 + 400 * np.random.default_rng(3).normal(size=scan.shape).clip(-1.2, 1.2)
    full[:, ROWS, COLUMNS] = scan[:, ROWS, COLUMNS].clip(-1300, 300)
    return np.rint(full).astype(np.float32)


def without_dark_spots(scan: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """With padding around the lung, and none in it."""
    scan[:, ROWS, COLUMNS] = scan[:, ROWS, COLUMNS].clip(-1400)
    return scan


def by_scipy(scan: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    return ndimage.gaussian_filter(scan, (0, SD / PIXEL, SD / PIXEL), truncate=6, mode="mirror")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two lungs by the projection scanner, and a pair, without padding."""
    for number in (0, 1):
        write_lung(tmp_path / f"data/projections/lung_00{number}", seed=number)
    write_lung(tmp_path / "data/paired/lung_100", seed=2)
    (tmp_path / "data/paired/lung_100/edge.nii.gz").unlink()
    (tmp_path / "data/paired/lung_100/soft.nii.gz").rename(tmp_path / "data/paired/lung_100/clinical.nii.gz")
    for scan in scans(tmp_path / "data"):
        rewrite(scan, filled)
    return tmp_path / "data"


def scans(data: Path) -> list[Path]:
    return [scan for name in ("soft", "edge", "clinical") for scan in sorted(data.glob(f"*/*/{name}.nii.gz"))]


def test_a_filtered_scan_is_the_whole_one_s_cut_afterwards(data: Path) -> None:
    folder = data / "projections/lung_000"
    asked: list[tuple[str, str, tuple[int, int, int]]] = []

    def filters(kind: str, case: str, scan: Volume) -> Mapping[str, Softening | None]:
        asked.append((kind, case, scan.shape))
        return {"_a": Softening.of(FREQUENCY, GAUSSIAN), "_b": None} if kind == "soft" else {}

    edge, soft = load_kinds(folder, filters=filters).values()
    assert asked == [("edge", "lung_000", (5, 24, 30)), ("soft", "lung_000", (4, 24, 30))]
    whole = np.asarray(nibabel.load(folder / "soft.nii.gz").dataobj).T
    expected = by_scipy(whole)[:, ROWS, COLUMNS]
    assert soft.filtered["_a"].array.shape == soft.clinical.array.shape
    np.testing.assert_allclose(soft.filtered["_a"].array, expected, atol=0.5)  # gains have four digits
    assert np.abs(by_scipy(whole[:, ROWS, COLUMNS]) - expected).max() > 30, "cut before, its rim would be another"
    np.testing.assert_array_equal(soft.clinical.array, whole[:, ROWS, COLUMNS])
    np.testing.assert_array_equal(soft.filtered["_a"].affine, soft.clinical.affine)
    assert soft.filtered["_b"] is soft.clinical
    assert soft.after("_a").clinical is soft.filtered["_a"]
    assert soft.after("_a").micro is soft.micro
    assert edge.filtered == {}
    with pytest.raises(KeyError):
        edge.after("_a")


def test_padding_is_not_blurred_into_a_lung(tmp_path: Path) -> None:
    """Beyond the 3 pixels and more of padding around it, a lung goes on as at its edge."""
    write_lung(tmp_path / "lung_000")
    rewrite(tmp_path / "lung_000/soft.nii.gz", without_dark_spots)
    filters = {MATCHED: Softening.of(FREQUENCY, GAUSSIAN)}
    soft = load_kinds(tmp_path / "lung_000", filters=lambda *_: filters)["soft"]
    lung = soft.clinical.array.astype(np.float32)
    nearest = ndimage.gaussian_filter(lung, (0, SD / PIXEL, SD / PIXEL), truncate=6, mode="nearest")
    np.testing.assert_allclose(soft.filtered[MATCHED].array, nearest, atol=0.5)


def table(test: TestSet, name: str, ending: str) -> dict[tuple[str, str, str | None], float]:
    """Answers to a question, of methods with that ending: by the method without it, metric and case."""
    (question,) = (one for one in questions_on(test, [trained()], WHOLE) if one.name == name)
    rows = compare(question, WINDOW, full=False).rows
    of = [row for row in rows if row.method.endswith(ending)]
    return {(row.method.removesuffix(ending), row.metric, row.case): row.value for row in of}


@pytest.mark.parametrize("name", ["paired", "projections/soft"])
def test_what_is_asked_after_filters_is_asked_of_filtered_scans(name: str, data: Path, tmp_path: Path) -> None:
    asked = written(tmp_path / "g.json", {"frequency_per_mm": FREQUENCY.tolist(), "gain": GAUSSIAN.tolist()})
    shutil.rmtree(data / "projections/lung_001")  # one takes seconds
    matched = table(load_test_set(data, None, card(), tmp_path / "cache", asked), name, MATCHED)
    plain = table(load_test_set(data, None, card(), tmp_path / "cache", "off"), name, "")
    for scan in scans(data):
        rewrite(scan, by_scipy)
    of_filtered = table(load_test_set(data, None, card(), tmp_path / "cache", "off"), name, "")
    assert {method for method, *_ in matched} == {"nearest", "bicubic", "bicubic_mapped", "ours"}
    assert {case for *_, case in matched} == {"lung_100" if name == "paired" else "lung_000"}
    assert matched == pytest.approx({key: of_filtered[key] for key in matched}, rel=2e-3, abs=2e-3)
    for method, metric, case in matched:
        if metric == "psnr":
            assert abs(plain[method, metric, case] - matched[method, metric, case]) > 0.1
    assert not any(method.endswith(MATCHED) for method, *_ in plain)


def test_filters_are_found_for_pairs_and_projections_or_for_none(data: Path, tmp_path: Path) -> None:
    test = load_test_set(data, None, card(), tmp_path / "cache", written(tmp_path / "line.json", LINE))
    assert sorted((row.protocol, row.method, row.metric, row.case or "") for row in test.kernels) == [
        ("kernel", kind, "filter_from_one", case)
        for kind, case in (
            *(("edge", f"lung_00{number}") for number in (0, 1)),
            ("paired", "lung_100"),
            *(("soft", f"lung_00{number}") for number in (0, 1)),
        )
    ]
    off = load_test_set(data, None, card(), tmp_path / "cache", "off")
    assert not off.kernels
    for pairs in (off.pairs, *off.projections.values()):
        assert [pair.filtered for pair in pairs] == [{}] * len(pairs)
    for question in questions_on(test, [trained()], WHOLE):
        expected = {"nearest", "bicubic", "bicubic_mapped", "ours"} if question.name != "paired_slab" else set()
        assert {name.removesuffix(MATCHED) for name in methods(question) if name.endswith(MATCHED)} == expected
    assert not any(MATCHED in name for question in questions_on(off, [trained()], WHOLE) for name in methods(question))


def methods(question: Question) -> set[str]:
    return {
        method.name
        for competitor, inputs in question.inputs_for.items()
        for method in competitor.methods(inputs.grey_map, inputs.hu_by)
    }


def test_the_true_filter_is_for_interpolation_and_the_reference_alone(data: Path, tmp_path: Path) -> None:
    written(data / "phantom.json", {"settings": {"set": "settings"}})
    test = load_test_set(data, None, card(), tmp_path / "cache", written(tmp_path / "line.json", LINE))
    questions = {one.name: methods(one) for one in questions_on(test, [trained(), trained("other")], WHOLE)}
    plain = {"nearest", "bicubic", "bicubic_mapped"}
    for kind in ("edge", "soft"):
        expected = {*plain, "ours", "other"}
        expected |= {f"{name}{MATCHED}" for name in expected} | {f"{name}{ORACLE}" for name in (*plain, "ours")}
        assert questions[f"projections/{kind}"] == expected
    assert {name for name in questions["paired"] if ORACLE in name} == set()  # a pair's kernel is not told
    true = true_filters(data)
    values = {(row.method, row.metric): row.value for row in test.kernels if row.case == "lung_001"}
    assert values == {
        (kind, metric): value
        for kind in ("edge", "soft")
        for metric, value in (
            ("filter_from_one", pytest.approx(FROM_ONE, abs=1e-6)),
            ("oracle_from_one", true[kind].from_one),
            ("filter_from_oracle", pytest.approx(true[kind].distance(Softening((0.0, 0.8), (1.0, 0.0))))),
        )
    }
    folder = data / "projections/lung_000"
    pair = next(one for one in test.projections["edge"] if one.name == "lung_000")
    whole = np.asarray(nibabel.load(folder / "edge.nii.gz").dataobj).T
    rim = np.pad(whole, ((0, 0), (60, 60), (60, 60)), mode="reflect")
    y, x = (np.fft.fftfreq(size, PIXEL) for size in rim.shape[1:])
    gain = true["edge"].at(np.hypot(y[:, None], x))
    filtered = np.fft.ifft2(np.fft.fft2(rim) * gain).real[:, 60:-60, 60:-60][:, ROWS, COLUMNS]
    np.testing.assert_allclose(pair.filtered[ORACLE].array, filtered, atol=2)


def test_a_pair_is_asked_after_filters_under_its_kind(data: Path) -> None:
    asked: list[tuple[str, str]] = []

    def filters(kind: str, case: str, scan: Volume) -> Mapping[str, Softening | None]:
        asked.append((kind, case))
        return {}

    load_pair(data / "paired/lung_100", filters=filters, kind="paired")
    assert asked == [("paired", "lung_100")]


@pytest.mark.parametrize("name", ["training", "settings", "judging"])
def test_the_true_filters_lead_from_a_kind_s_kernel_to_a_gaussian_of_1_15_mm(name: str, tmp_path: Path) -> None:
    written(tmp_path / "phantom.json", {"settings": {"set": name, "seed": 3}, "more": []})
    found = true_filters(tmp_path)
    assert found.keys() == SETS[name].keys()
    frequency = np.arange(0, 0.81, 0.04)
    sd = 1.15 / 2.354820045
    learned = np.exp(-2 * np.pi**2 * sd**2 * frequency**2)
    for kind, softening in found.items():
        kernel = SETS[name][kind].kernel
        transfer = kernel.transfer(frequency)
        if kernel.peak == 1:  # exp(-(f / c)^2.31), 0.1 at mtf10
            transfer = np.exp(-np.log(10) * (frequency / kernel.mtf10) ** 2.31)
        np.testing.assert_allclose(softening.at(frequency), np.minimum(1, learned / transfer), atol=6e-5, err_msg=kind)
        assert max(softening.gain) == 1


@pytest.mark.parametrize(
    "content",
    [
        None,
        "",
        "{",
        "[]",
        "null",
        '{"settings": null}',
        '{"settings": {}}',
        '{"settings": {"set": "other"}}',
        '{"settings": {"set": ["settings"]}}',
        '{"settings": {"set": null}}',
        '{"set": "settings"}',
    ],
)
def test_of_other_phantoms_no_true_filter_is_known(content: str | None, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "phantom.json").write_text(content)
    assert true_filters(tmp_path) == {}


@pytest.fixture
def some_scan() -> Volume:
    hu = np.full((2, 40, 40), -1000.0)
    hu[:, 4:36, 4:36], hu[:, 10:30, 10:18] = 40, -850
    return Volume(hu.astype(np.int16), np.diag([1.0, PIXEL, PIXEL, 1.0]))


def test_rows_of_a_filter_from_a_file_by_hand(some_scan: Volume, tmp_path: Path) -> None:
    filters = KernelFilters(written(tmp_path / "line.json", LINE), None, {"edge": HALF_LINE})
    line = Softening((0.0, 0.8), (1.0, 0.0))
    assert filters("soft", "lung_7", some_scan) == {MATCHED: line}
    assert filters("edge", "lung_7", some_scan) == {MATCHED: line, ORACLE: HALF_LINE}
    assert [(row.protocol, row.method, row.metric, row.case, row.seed) for row in filters.rows] == [
        ("kernel", "soft", "filter_from_one", "lung_7", None),
        ("kernel", "edge", "filter_from_one", "lung_7", None),
        ("kernel", "edge", "oracle_from_one", "lung_7", None),
        ("kernel", "edge", "filter_from_oracle", "lung_7", None),
    ]
    expected = [FROM_ONE, FROM_ONE, FROM_ONE / 2, FROM_ONE / 2]
    assert [row.value for row in filters.rows] == pytest.approx(expected, abs=1e-6)


def test_a_scan_that_is_left_is_asked_as_it_is(some_scan: Volume) -> None:
    filters = KernelFilters("estimate", None, {"edge": HALF_LINE})
    assert filters("edge", "lung_7", some_scan) == {MATCHED: None, ORACLE: HALF_LINE}
    values = {row.metric: row.value for row in filters.rows}
    assert values == {
        "filter_from_one": 0,
        "oracle_from_one": pytest.approx(FROM_ONE / 2, abs=1e-6),
        "filter_from_oracle": pytest.approx(FROM_ONE / 2, abs=1e-6),
    }
    off = KernelFilters("off", None, {"edge": HALF_LINE})
    assert off("edge", "lung_7", some_scan) == {}
    assert not off.rows


def test_rows_of_an_estimate_tell_how_far_to_believe_it(some_scan: Volume) -> None:
    body, other = chest(1), chest(2, 3)
    reference = measure(body.seen_by(reference_kernel), body.lung)
    kernel = Kernel(mtf10=1.15, peak=1.9)
    frequency = np.arange(0, 1.0001, 0.02)
    true = Softening.of(frequency, reference_kernel(frequency) / kernel.transfer(frequency))
    filters = KernelFilters("estimate", reference, {"edge": true})
    found = filters("edge", "lung_7", other.seen_by(kernel.transfer))
    values = {row.metric: row.value for row in filters.rows}
    assert found[MATCHED] is not None
    assert values["filter_from_one"] == found[MATCHED].from_one
    assert values["filter_from_oracle"] < 0.06 < 0.5 * values["oracle_from_one"]
    assert values["left_in_doubt"] == 0
    assert values["noise"] == pytest.approx(1, abs=0.3)
    assert 0 < values["trust_wall"] < 3.5
    assert {"trust_skin", "trust_apart"} < values.keys()
    filters.rows.clear()
    assert filters("soft", "small", some_scan)[MATCHED] is None
    values = {row.metric: row.value for row in filters.rows}
    assert values["left_in_doubt"] == 1
    assert values["filter_from_one"] == 0
    assert "trust_wall" not in values
