"""What is done about a scan's kernel, and which filters are taken from files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ctsr.errors import UserError
from ctsr.imaging.kernel.estimate import Estimate, Trust
from ctsr.imaging.kernel.matching import LARGEST_APART, LARGEST_WALL, LEAST, Matching, distrust, match, softening_from
from ctsr.imaging.kernel.measured import Measured
from ctsr.imaging.kernel.measuring import measure
from ctsr.imaging.kernel.transfer import RelativeTransfer, Softening
from ctsr.phantom.projections.kernels import Kernel
from tests.imaging.kernel.made_lungs import REFERENCE_SD, Chest, chest, reference_kernel

FILTER = {"frequency_per_mm": [0.0, 0.2, 0.5], "gain": [1.0, 0.7, 0.0]}


@pytest.fixture(scope="module")
def reference() -> Measured:
    body = chest(1)
    return measure(body.seen_by(reference_kernel), body.lung)


@pytest.fixture(scope="module")
def body() -> Chest:
    return chest(2)


@pytest.mark.parametrize(
    ("trust", "why"),
    [
        (Trust(1.0, 1.0, 0.1), None),
        (Trust(1.0, None, None), None),
        (Trust(LARGEST_WALL, 99.0, LARGEST_APART), None),
        (Trust(0.0, 0.0, 0.0), None),
        (Trust(None, 1.0, None), "no border of the lung"),
        (Trust(LARGEST_WALL + 0.01, 1.0, 0.1), "no kernel explains the lung's border"),
        (Trust(7.0, 1.0, 0.9), r"7\.0 standard deviations, 3\.5 allowed"),
        (Trust(1.0, 1.0, LARGEST_APART + 0.01), r"the skin tell different ones"),
    ],
)
def test_an_estimate_is_believed_within_limits(trust: Trust, why: str | None) -> None:
    said = distrust(trust)
    if why is None:
        assert said is None
    else:
        assert said is not None
        with pytest.raises(ValueError, match=why):
            raise ValueError(said)
        assert "\n" not in said


def test_a_sharper_scan_gets_the_filter_to_the_training_s_kernel(reference: Measured, body: Chest) -> None:
    kernel = Kernel(mtf10=1.15, peak=1.9)
    done = match(body.seen_by(kernel.transfer), body.lung, reference)
    assert done.doubt is None
    assert done.softening is not None
    frequency = np.array([0.2, 0.4, 0.6])
    expected = reference_kernel(frequency) / kernel.transfer(frequency)
    np.testing.assert_allclose(done.softening.at(frequency), expected, atol=0.07)
    assert done.said == f"kernel: sharper than that of the training; {done.softening}"
    assert done.to_plain()["applied"] is True


def test_a_softer_scan_is_left_without_a_doubt(reference: Measured, body: Chest) -> None:
    done = match(body.seen_by(lambda f: np.exp(-2 * (np.pi * 1.5 * REFERENCE_SD * f) ** 2)), body.lung, reference)
    assert done.softening is None
    assert done.doubt is None
    assert "as soft as that of the training, or softer" in done.said
    assert done.estimate is not None
    assert done.estimate.relative.softening().from_one < LEAST
    assert done.to_plain()["applied"] is False


@pytest.mark.parametrize("told", [False, True], ids=["none", "taken for lung"])
def test_a_scan_without_lung_is_left_with_a_doubt(told: bool, reference: Measured) -> None:
    abdomen = chest(3, 2, lungs=False)
    lung = np.zeros_like(abdomen.lung)
    lung[:, 100:150, 100:150] = told
    done = match(abdomen.seen_by(Kernel(mtf10=1.15, peak=1.9).transfer), lung, reference)
    assert done.softening is None
    assert done.doubt is not None
    assert "no border of the lung shows it" in done.doubt
    assert done.doubt.startswith(done.said)
    assert "\n" not in done.doubt
    plain = json.loads(json.dumps(done.to_plain(), allow_nan=False))
    assert plain["applied"] is False
    assert plain["estimate"]["trust"]["wall"] is None


def test_the_record_tells_the_transfer_beside_the_training_s() -> None:
    relative = RelativeTransfer((-0.5, 0.0, 0.0, 0.0, 0.0))
    done = Matching(relative.softening(), "so", Estimate(relative, 1.23456, Trust(1.23456, None, None)))
    plain = json.loads(json.dumps(done.to_plain(), allow_nan=False))
    assert plain["said"] == "so"
    assert plain["applied"] is True
    told = plain["estimate"]
    # (1 - cos π/2) / 2 at 0.4 /mm, a quarter of a cycle; twice that at 0.8.
    for frequency, expected in ((0.0, 1.0), (0.4, np.exp(0.5)), (0.8, np.exp(1.0)), (1.0, np.exp(1.0))):
        at = told["frequency_per_mm"].index(frequency)
        assert told["relative_transfer"][at] == pytest.approx(expected, abs=6e-5)
        assert plain["gain"][plain["frequency_per_mm"].index(frequency)] == pytest.approx(1 / expected, abs=6e-5)
    assert told["noise"] == 1.235
    assert told["trust"] == {"wall": 1.235, "skin": None, "apart": None}
    assert plain["from_one"] == pytest.approx(done.softening.from_one if done.softening else 0, abs=6e-5)


def test_the_record_of_nothing_is_short() -> None:
    assert Matching(None, "kernel=off").to_plain() == {"said": "kernel=off", "applied": False}


def written(folder: Path, plain: Any) -> Path:
    path = folder / "filter.json"
    path.write_text(plain if isinstance(plain, str) else json.dumps(plain), encoding="utf-8")
    return path


@pytest.mark.parametrize("record", [FILTER, {"version": 1, "kernel": {"said": "so", "applied": True} | FILTER}])
def test_a_filter_is_read_from_a_file_or_a_record(record: dict[str, Any], tmp_path: Path) -> None:
    found = softening_from(written(tmp_path, record))
    assert found == Softening((0.0, 0.2, 0.5), (1.0, 0.7, 0.0))
    assert found.at(0.35) == pytest.approx(0.35)


def test_what_a_match_writes_can_be_read_again(tmp_path: Path) -> None:
    softening = RelativeTransfer((-0.8, 0.3, 0.1, 0.0, 0.05)).softening()
    record = {"kernel": Matching(softening, "so").to_plain()}
    assert softening_from(written(tmp_path, record)) == softening


@pytest.mark.parametrize(
    "plain",
    [
        "no JSON",
        "",
        "[1, 2]",
        "3",
        "null",
        {},
        {"kernel": None},
        {"kernel": "estimate"},
        {"frequency_per_mm": [0, 1]},
        {"frequency_per_mm": [0.0, 0.5, 0.2], "gain": [1, 0.5, 0.2]},
        {"frequency_per_mm": [0.0, 0.2, 0.2], "gain": [1, 0.5, 0.2]},
        {"frequency_per_mm": [0.1, 0.2], "gain": [1, 0.5]},
        {"frequency_per_mm": [0.0, 0.2], "gain": [1, 1.01]},
        {"frequency_per_mm": [0.0, 0.2], "gain": [1, -0.01]},
        {"frequency_per_mm": [0.0, 0.2], "gain": [0.99, 0.5]},
        {"frequency_per_mm": [0.0, 0.2], "gain": [1, 0.5, 0.2]},
        {"frequency_per_mm": [[0.0, 0.2]], "gain": [[1, 0.5]]},
        {"frequency_per_mm": [0.0], "gain": [1]},
        {"frequency_per_mm": [], "gain": []},
        {"frequency_per_mm": 0.0, "gain": 1.0},
        {"frequency_per_mm": [0.0, "far"], "gain": [1, 0.5]},
        {"frequency_per_mm": [0.0, 0.2], "gain": [1, None]},
        {"frequency_per_mm": [0.0, 0.2], "gain": [1, float("nan")]},
        {"frequency_per_mm": [0.0, float("nan")], "gain": [1, 0.5]},
    ],
    ids=str,
)
def test_what_is_no_filter_that_softens_is_refused(plain: Any, tmp_path: Path) -> None:
    path = written(tmp_path, plain)
    with pytest.raises(UserError, match="is no filter: give JSON with frequency_per_mm") as caught:
        softening_from(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_bytes_are_no_filter(tmp_path: Path) -> None:
    path = tmp_path / "filter.json"
    path.write_bytes(b"\xff\xfe\x00{")
    with pytest.raises(UserError, match=r"filter\.json is no filter"):
        softening_from(path)


@pytest.mark.parametrize("name", ["missing.json", "."])
def test_a_file_that_cannot_be_read_is_named(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    with pytest.raises(UserError, match="cannot be read") as caught:
        softening_from(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_record_of_a_scan_that_was_left_holds_no_filter(tmp_path: Path) -> None:
    path = written(tmp_path, {"kernel": Matching(None, "kernel: as soft").to_plain()})
    with pytest.raises(UserError, match=r"made without a filter: give kernel=off") as caught:
        softening_from(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
