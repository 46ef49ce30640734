"""What a run prints at its end."""

from __future__ import annotations

from pathlib import Path

import pytest

from ctsr.training.summary import print_summary


def test_brackets_are_printed_as_they_are(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """They are a markup for colours to the library that prints."""
    monkeypatch.setenv("COLUMNS", "150")
    row = {"protocol": "paired", "method": "mine[b]", "metric": "ssim", "value": 0.5}
    summary = {"stage": "synth", "method": "mine[b]", "seconds": 1.0, "rows": [row]}
    summary["checkpoint"] = "/runs/[red]/:lungs:/last.ckpt"
    print_summary(summary, Path("/runs/[red]"), "python train.py 'name=mine[b]'")
    told = capsys.readouterr().out
    assert "mine[b]" in told
    assert told.count("/runs/[red]/:lungs:/last.ckpt") == 1
    assert "python train.py 'name=mine[b]'" in told
    assert "/runs/[red]/summary.json, /runs/[red]/metrics.csv" in told
