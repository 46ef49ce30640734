"""What `infer.py` is told: each task has its own keys, and takes what they take."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest
import yaml

from ctsr.errors import CollectedError, UserError
from ctsr.records.scan_settings import ScanSettings
from ctsr.records.tasks import Comparison, Enlargement, read_task
from tests.conftest import REPOSITORY

SCAN, EVALUATE = (
    yaml.safe_load((REPOSITORY / f"conf/infer/task/{task}.yaml").read_text()) for task in ("scan", "evaluate")
)
A_SCAN = {"ckpt": "a.ckpt", "input": "scan", "output": "a.nii.gz"}
A_REPORT = {"ckpt": "a.ckpt", "data": "test", "output": "report"}


def test_the_defaults_of_a_scan_are_those_of_the_library() -> None:
    task = read_task(SCAN | A_SCAN)
    assert isinstance(task, Enlargement)
    assert task.model_dump(include=set(ScanSettings.model_fields)) == ScanSettings().model_dump()


def test_what_looks_like_a_number_is_a_text_where_texts_are_meant() -> None:
    task = read_task(SCAN | A_SCAN | {"series": 3, "precision": 32})
    assert isinstance(task, Enlargement)
    assert (task.series, task.precision) == ("3", "32")
    comparison = read_task(EVALUATE | A_REPORT | {"reference": 7})
    assert isinstance(comparison, Comparison)
    assert comparison.reference == "7"


@pytest.mark.parametrize(
    "given", [{"tile": 48, "batch": 4}, {"tile": None, "batch": "auto"}, {"tile": "auto"}, {"level": 0}, {"level": 3}]
)
def test_what_a_scan_costs_can_be_set(given: dict[str, Any]) -> None:
    task = read_task(SCAN | A_SCAN | given)
    assert isinstance(task, Enlargement)
    assert task.model_dump(include=set(given)) == given


@pytest.mark.parametrize(("given", "files"), [("a.ckpt", ("a.ckpt",)), (["a.ckpt", "b.ckpt"], ("a.ckpt", "b.ckpt"))])
def test_one_checkpoint_or_several_are_compared(given: Any, files: tuple[str, ...]) -> None:
    task = read_task(EVALUATE | A_REPORT | {"ckpt": given})
    assert isinstance(task, Comparison)
    assert task.checkpoints == files


@pytest.mark.parametrize(
    ("composed", "lines"),
    [
        (SCAN | A_SCAN | {"roi": [1, 2], "level": 10}, ["roi=[1, 2]: give", "level=10: give 0 (fast) to 3"]),
        (SCAN | A_SCAN | {"slices": [1, 2.5]}, ["slices=[1, 2.5]: give [z0,z1], whole numbers (null: no limit)"]),
        (SCAN | A_SCAN | {"box_mm": [1]}, ["box_mm=[1]: give [x0,x1,y0,y1,z0,z1], LPS mm (null: no limit)"]),
        (SCAN | A_SCAN | {"level": -1}, ["level=-1: give 0 (fast) to 3"]),
        (SCAN | A_SCAN | {"level": None}, ["level=null: give 0 (fast) to 3"]),
        (SCAN | A_SCAN | {"tile": 0}, ["tile=0: give a whole number, 1 or more, auto, or null"]),
        (SCAN | A_SCAN | {"tile": "small"}, ["tile=small: give a whole number, 1 or more, auto, or null"]),
        (SCAN | A_SCAN | {"batch": 1.5}, ["batch=1.5: give a whole number, 1 or more, or auto"]),
        (SCAN | A_SCAN | {"batch": None}, ["batch=null: give a whole number, 1 or more, or auto"]),
        (SCAN | A_SCAN | {"tile": "all", "batch": 0}, ["tile=all: give", "batch=0: give"]),
        (SCAN | A_SCAN | {"cover": 7}, ["cover: task=scan has no such key"]),
        (EVALUATE | A_REPORT | {"tile": 7}, ["tile: task=evaluate has no such key: leave it out"]),
        (EVALUATE | A_REPORT | {"ckpt": [3]}, ["ckpt=[3]: give one path, or several"]),
        (EVALUATE | A_REPORT | {"workers": 0}, ["workers=0: give a whole number, 1 or more, or auto"]),
    ],
)
def test_each_wrong_key_has_a_line(composed: dict[str, Any], lines: list[str]) -> None:
    with pytest.raises(CollectedError) as refused:
        read_task(composed)
    told = sorted(refused.value.problems)
    assert len(told) == len(lines)
    assert all(problem.startswith(line) for problem, line in zip(told, sorted(lines), strict=True)), told


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        (("roi", "slices"), "roi= and slices="),
        (("slices", "box_mm"), "slices= and box_mm="),
        (("roi", "slices", "box_mm"), "roi= and slices= and box_mm="),
    ],
)
def test_a_part_is_said_in_one_way(keys: tuple[str, ...], told: str) -> None:
    ways = {"roi": [None] * 6, "slices": [0, 1], "box_mm": [0.5, 1, None, None, None, None]}
    with pytest.raises(CollectedError) as refused:
        read_task(SCAN | A_SCAN | {key: ways[key] for key in keys})
    assert refused.value.problems == [f"{told} each say what part is enlarged: leave all but one out"]


@pytest.mark.parametrize(
    ("composed", "missing"),
    [
        (SCAN, "ckpt= input= output= missing: python infer.py ckpt="),
        (SCAN | A_SCAN | {"input": ""}, "input= missing: python infer.py ckpt="),
        (EVALUATE, "ckpt= data= output= missing: python infer.py task=evaluate ckpt="),
        (EVALUATE | A_REPORT | {"ckpt": []}, "ckpt= missing: python infer.py task=evaluate ckpt="),
        ({}, "task=null: give scan or evaluate"),
        ({"task": "scan"}, "ckpt= input= output= missing"),
    ],
)
def test_paths_that_are_not_given_are_told_with_the_command(composed: dict[str, Any], missing: str) -> None:
    with pytest.raises(UserError) as refused:
        read_task(composed)
    assert str(refused.value).startswith(missing)


OWN = {task: set(composed) - {"task"} for task, composed in (("scan", SCAN), ("evaluate", EVALUATE))}


@pytest.mark.parametrize(
    ("task", "key"),
    [
        *(("scan", key) for key in ("slices_per_case=2", "workers=9", "data=nowhere", "cover=7")),
        *(("evaluate", key) for key in ("roi=[0,1,0,1,0,1]", "region=lung", "input=scan", "slices=2", "level=1")),
    ],
)
def test_a_key_of_the_other_task_is_refused_before_the_checkpoint_is_read(
    task: str, key: str, tmp_path: Path, command: Callable[..., CompletedProcess[str]]
) -> None:
    assert key.partition("=")[0] not in OWN[task]
    given = A_SCAN if task == "scan" else A_REPORT
    typed = [f"{name}={value}" for name, value in given.items()]  # none of these files is there
    done = command("infer.py", f"task={task}", *typed, key, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1, done.stderr
    assert f"'{key.partition('=')[0]}'" in done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("tile", [8, 16, 32, 100, 250, 0, -64, 96.0])
def test_a_tile_that_no_measure_can_take_is_refused_by_name(tile: float) -> None:
    with pytest.raises(CollectedError) as refused:
        read_task(EVALUATE | A_REPORT | {"tile_micro": tile})
    assert refused.value.problems == [f"tile_micro={tile}: give a multiple of 8, 64 or more"]


@pytest.mark.parametrize("tile", [64, 72, 96, 128, 256])
def test_other_tiles_are_taken(tile: int) -> None:
    task = read_task(EVALUATE | A_REPORT | {"tile_micro": tile})
    assert isinstance(task, Comparison)
    assert task.tile_micro == tile
