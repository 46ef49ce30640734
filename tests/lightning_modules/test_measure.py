"""Which cases a network is asked about at the end of its training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ctsr.data.preparing.store import PreparedCase
from ctsr.imaging.intensity import Window
from lightning_modules.measure import clinical_held_out


def case(name: str, slices: range = range(4)) -> PreparedCase:
    return PreparedCase(Path(name), name, "clinical", Window(0, 1), np.eye(4), (8, 8), slices)


def test_clinical_test_cases_else_those_of_the_validation(capsys: pytest.CaptureFixture[str]) -> None:
    a, b, c = map(case, "abc")
    assert clinical_held_out({}) == []
    assert clinical_held_out({"train": [a], "val": [b], "test": [c]}) == [c]
    assert capsys.readouterr().err == ""
    assert clinical_held_out({"train": [a], "val": [b], "test": []}) == [b]
    assert "figures of the protocol clinical are of validation cases" in capsys.readouterr().err


def test_no_case_is_asked_about_that_is_trained_on(capsys: pytest.CaptureFixture[str]) -> None:
    a = case("a")
    assert clinical_held_out({"train": [a], "val": [a], "test": []}) == [], "one case serves both"
    assert capsys.readouterr().err == ""
    upper, lower = a.view(range(2)), a.view(range(3, 4))
    assert clinical_held_out({"train": [upper], "val": [lower], "test": []}) == [lower], "slabs of one case"
