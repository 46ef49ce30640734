from __future__ import annotations

from pathlib import Path

import pytest

from ctsr.phantom.cases import generate
from ctsr.records.phantom import PhantomSettings


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny phantom, made once for all tests that only look at it."""
    root = tmp_path_factory.mktemp("phantom") / "tiny"
    generate(root, PhantomSettings.tiny(), show_progress=False)
    return root
