"""How the bar counts."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from ctsr.training.callbacks.bar import Bar


@pytest.mark.parametrize(
    ("epoch", "epochs", "expected"),
    [(0, 2, "Epoch 1/2 "), (1, 2, "Epoch 2/2 "), (99, 1000, "Epoch 100/1000"), (1, -1, "Epoch 2   ")],
)
def test_epochs_count_from_1(epoch: int, epochs: int, expected: str) -> None:
    bar: Any = Bar()
    bar._trainer = SimpleNamespace(max_epochs=epochs)
    assert len("Validation") == len(bar.validation_description)
    assert bar._get_train_description(epoch) == expected
