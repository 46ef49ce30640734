"""Made-up structures at equal detection, against counts worked by hand."""

from __future__ import annotations

import numpy as np
import pytest

from ctsr.evaluation.measures.hallucinations import VESSELS, Tally
from ctsr.evaluation.reporting.equal_detection import equal_detection_table
from ctsr.evaluation.scoring.compare import TallyKey


def tally(found: list[int], made_up: list[int], there: int = 10, cm2: float = 1.0) -> Tally:
    def columns(counts: list[int]) -> np.ndarray:
        return np.array([[count, 0] for count in counts])

    return Tally(np.array([there, 0]), columns(found), columns(made_up), 100 * cm2)


def cells(tallies: dict[TallyKey, Tally]) -> dict[str, list[str]]:
    table = equal_detection_table(tallies, "ours")
    assert table is not None
    shown = [cell for line in table.lines for cell in line[1:] if not cell.startswith("(")]
    assert [f"{number[2]:.2f}" for number in table.numbers().lines] == [cell.split()[0] for cell in shown]
    assert list(table.head) == ["method", "vessels at 30% ↓", "vessels at 50% ↓", "vessels at 70% ↓"]
    return {line[0]: list(line[1:]) for line in table.lines}


def test_cases_and_seeds_are_counted_together() -> None:
    """Both lungs: 30 structures, found 6, 15 and 24 of them at the three levels; made up 0, 4 and 8 on 4 cm²."""
    found = cells(
        {
            TallyKey("ours", 0, VESSELS.name, "a"): tally([3, 5, 8], [0, 1, 2]),
            TallyKey("ours", 1, VESSELS.name, "a"): tally([1, 5, 8], [0, 1, 2]),
            TallyKey("ours", 0, VESSELS.name, "b"): tally([2, 5, 8], [0, 2, 4], cm2=2.0),
        }
    )
    # 30 %: a third of the way from 20 % (0 /cm²) to 50 % (1 /cm²); 70 %: two thirds from 50 % to 80 % (2 /cm²).
    assert [cell.split()[0] for cell in found["ours"]] == ["0.33", "1.00", "1.67"]


def test_who_makes_up_fewer_and_what_is_never_found() -> None:
    names = [f"lung {k}" for k in range(6)]
    few = {TallyKey("ours", 0, VESSELS.name, name): tally([5, 8], [1, 2 + k % 2]) for k, name in enumerate(names)}
    many = {TallyKey("other", 0, VESSELS.name, name): tally([5, 6], [9 + k % 3, 20]) for k, name in enumerate(names)}
    equal = {TallyKey("twin", 0, VESSELS.name, name): tally([5, 8], [1, 2 + k % 2]) for k, name in enumerate(names)}
    found = cells(few | many | equal)
    assert found["other"][1].startswith("10.00 [")
    assert found["other"][1].endswith("] *")
    assert found["other"][2] == "(60%)"
    assert found["twin"] == found["ours"]
    low, high = (float(part) for part in found["ours"][2].split("[")[1].rstrip("]").split(","))
    value = float(found["ours"][2].split()[0])
    assert value == pytest.approx(1 + 1.5 * 2 / 3, abs=0.006)  # two thirds from 50 % (1 /cm²) to 80 % (2.5 /cm²)
    assert low < value < high


def test_nothing_counted() -> None:
    assert equal_detection_table({}, "ours") is None
