"""Where a run shows a bar, and where it prints lines."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
from hydra import compose, initialize_config_dir
from lightning.pytorch.callbacks import ProgressBar

import train
from ctsr.training.callbacks.bar import Bar
from ctsr.training.callbacks.lines import Lines
from ctsr.training.trainer import build_trainer
from tests.conftest import REPOSITORY


@pytest.mark.parametrize(
    ("terminal", "wanted", "kind"),
    [(True, "true", Bar), (True, "false", Lines), (False, "true", Lines), (False, "false", Lines)],
)
def test_a_bar_in_a_terminal_lines_elsewhere(
    terminal: bool, wanted: str, kind: type, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ctsr.training.trainer.Console", lambda: SimpleNamespace(is_interactive=terminal))
    asked = ["stage=synth", "hardware=cpu", "method=scanner", f"trainer.enable_progress_bar={wanted}"]
    with initialize_config_dir(str(REPOSITORY / "conf"), version_base="1.3"):
        run = train.typed(compose("train", asked))
    trainer = build_trainer(run, run.stages[0], tmp_path)
    (shown,) = [callback for callback in trainer.callbacks if isinstance(callback, Lines | ProgressBar)]  # type: ignore[attr-defined]
    assert type(shown) is kind
    if isinstance(shown, Lines):
        assert shown.method == "scanner"
