"""What several tests share."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]


def check_bars_have_ended() -> None:
    """Make sure that no progress bar draws on, in a thread of its own."""
    for thread in threading.enumerate():
        if type(thread).__module__.startswith("rich"):
            thread.join(timeout=1)  # which has been told to end
            assert not thread.is_alive()


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real scans beside the checkout; tests that need it skip without it."""
    folder = REPOSITORY.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"no real scans: {folder} does not exist")
    return folder


@pytest.fixture(scope="session")
def command() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs a program of the repository as a user would."""

    def run(*arguments: str, cwd: Path = REPOSITORY) -> subprocess.CompletedProcess[str]:
        program = [sys.executable, str(REPOSITORY / arguments[0]), *arguments[1:]]
        # One thread: the tests' networks are tiny, and two of them may run at once.
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200"}
        return subprocess.run(program, cwd=cwd, env=environment, capture_output=True, text=True, timeout=400)

    return run


@pytest.fixture(scope="session")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty folder to train in, outside the repository; its phantom and cache serve all tests."""
    return tmp_path_factory.mktemp("workplace")


@pytest.fixture(scope="session")
def smoke_run(workplace: Path, command: Callable[..., subprocess.CompletedProcess[str]]) -> Path:
    """Run folder of `stage=all experiment=smoke method=scanner`."""
    asked = ("stage=all", "experiment=smoke", "method=scanner", "hydra.run.dir=outputs/smoke")
    done = command("train.py", *asked, cwd=workplace)
    assert done.returncode == 0, done.stderr
    (workplace / "outputs/smoke/screen.txt").write_text(done.stdout)
    return workplace / "outputs/smoke"
