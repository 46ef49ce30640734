"""A volume that nobody drew, through the projection scanner: is each scan where the volume is?"""

from __future__ import annotations

import importlib.util
from functools import partial
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from ctsr.data.pairs import load_kinds
from ctsr.phantom.projections.kinds import SETS
from ctsr.records.phantom import ProjectionSettings
from tests.conftest import REPOSITORY


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script, with one kind and few views."""
    spec = importlib.util.spec_from_file_location("real_volumes", REPOSITORY / "docs/real_volumes.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "ProjectionSettings", partial(ProjectionSettings, views=120))
    monkeypatch.setattr(module, "SETS", {"judging": {"detail": SETS["judging"]["detail"]}})
    return module


def test_a_scan_shows_the_volume_where_it_is(script: ModuleType, tmp_path: Path) -> None:
    hu = np.full((56, 96, 96), -900, dtype=np.float32)
    hu[:, 20:44, 52:68] = 40  # as long as the volume, off its middle both ways
    script.scan_volume(tmp_path / "bar_z", hu, np.random.default_rng(0))
    pair = load_kinds(tmp_path / "bar_z")["detail"]  # refuses what is not on one x8 grid
    assert pair.micro.array.shape == (16, 96, 96)
    assert [k for k, _ in pair.slices] == [0, 1]
    scan = pair.clinical.array.astype(float).mean(axis=0)
    truth = pair.micro.array.astype(float).mean(axis=0).reshape(12, 8, 12, 8).mean(axis=(1, 3))
    inner = np.s_[2:-2, 2:-2]  # what lies around the volume is muscle

    def likeness(rows: int, columns: int) -> float:
        moved = np.roll(scan, (rows, columns), axis=(0, 1))
        return float(np.corrcoef(moved[inner].ravel(), truth[inner].ravel())[0, 1])

    here = likeness(0, 0)
    assert here > 0.9
    assert here > max(likeness(r, c) for r in (-1, 0, 1) for c in (-1, 0, 1) if (r, c) != (0, 0))
    assert abs(scan[3, 7] - 40) < 250  # inside the bar; three pixels wide, which a scanner blurs
    assert abs(scan[8, 3] + 900) < 100
