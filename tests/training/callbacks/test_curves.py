"""The charts of a run, from a metrics.csv written by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from ctsr.training.callbacks.curves import draw_curves, read_charts

METRICS = """epoch,lr_D,lr_G,patches_per_s,step,train/L2,val/bicubic_mapped_ssim,val/ssim,val/fx_swd
1,0.1,0.2,,0,3.0,,,
1,0.1,0.2,50,1,2.0,,,
1,,,,1,,0.3,0.4,0.01
2,0.1,0.1,60,2,1.0,,,
2,,,,2,,0.3,0.5,0.01
"""


def test_one_chart_for_each_metric_with_its_methods(tmp_path: Path) -> None:
    (tmp_path / "metrics.csv").write_text(METRICS)
    charts = read_charts(tmp_path / "metrics.csv", "ours")
    assert {title: set(curves) for title, curves in charts.items()} == {
        "train/L2": {"train/L2"},
        "val/ssim": {"bicubic_mapped", "ours"},
        "val/swd": {"fx"},
        "learning rate": {"lr_D", "lr_G"},
        "patches_per_s": {"patches_per_s"},
    }
    assert next(iter(charts)) == "train/L2"
    steps, values = charts["train/L2"]["train/L2"]
    assert (steps.tolist(), values.tolist()) == ([0, 1, 2], [3, 2, 1])
    assert charts["val/ssim"]["ours"][1].tolist() == [0.4, 0.5]


def test_draws_a_picture(tmp_path: Path) -> None:
    (tmp_path / "metrics.csv").write_text(METRICS)
    assert draw_curves(tmp_path / "metrics.csv", tmp_path / "curves.png", "ours")
    assert np.asarray(Image.open(tmp_path / "curves.png").convert("L")).std() > 10


def test_nothing_to_draw(tmp_path: Path) -> None:
    assert not draw_curves(tmp_path / "metrics.csv", tmp_path / "curves.png", "ours")
    (tmp_path / "metrics.csv").write_text("epoch,step,train/L2\n")
    assert not draw_curves(tmp_path / "metrics.csv", tmp_path / "curves.png", "ours")
    assert not (tmp_path / "curves.png").exists()
