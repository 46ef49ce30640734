"""What the pictures show, pixel by pixel."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from ctsr.training.callbacks.panels import Column, draw_panel


def colours(path: Path) -> set[tuple[int, ...]]:
    """Every colour that covers a good part of the picture."""
    pixels = np.asarray(Image.open(path).convert("RGB")).reshape(-1, 3)
    values, counts = np.unique(pixels, axis=0, return_counts=True)
    return {tuple(value.tolist()) for value, count in zip(values, counts, strict=True) if count > 0.03 * len(pixels)}


def test_greys_run_from_black_to_white(tmp_path: Path) -> None:
    images = torch.stack([torch.full((1, 8, 8), value) for value in (-1.0, 0.0, 1.0, 5.0)])
    draw_panel([Column("x", images)], ["a", "b", "c", "d"], tmp_path / "p.png")
    assert {(0, 0, 0), (128, 128, 128), (255, 255, 255)} <= colours(tmp_path / "p.png")


def test_differences_are_red_and_blue(tmp_path: Path) -> None:
    images = torch.stack([torch.full((1, 8, 8), value) for value in (-0.5, 0.5)])
    draw_panel([Column("x", images, difference=True)], ["less", "more"], tmp_path / "p.png")
    (blue,) = [colour for colour in colours(tmp_path / "p.png") if colour[2] > 2 * colour[0]]
    (red,) = [colour for colour in colours(tmp_path / "p.png") if colour[0] > 2 * colour[2]]
    assert blue[2] > 90 < red[0]


def test_bf16_images_are_drawn(tmp_path: Path) -> None:
    draw_panel([Column("x", torch.zeros(1, 1, 8, 8, dtype=torch.bfloat16))], ["a"], tmp_path / "new" / "p.png")
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["p.png"]
