"""Arrays in files: they hold what is put there, and leave nothing behind."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ctsr.imaging.storage import MappedFiles, filled
from tests.memory import anonymous


def test_holds_what_is_put_there(tmp_path: Path) -> None:
    array = MappedFiles(tmp_path)((3, 4, 5), np.int16)
    array[:] = np.arange(60).reshape(3, 4, 5)
    assert array.dtype == np.int16
    assert array.flags.writeable
    assert array[2, 3].tolist() == [55, 56, 57, 58, 59]
    assert MappedFiles(tmp_path)((0, 4), bool).shape == (0, 4)


def test_no_file_is_left_not_even_of_a_killed_process(tmp_path: Path) -> None:
    program = (
        "import os, sys, numpy as np; from pathlib import Path; from ctsr.imaging.storage import MappedFiles;"
        "array = MappedFiles(Path(sys.argv[1]))((100, 100), np.float32); array[:] = 1; os.kill(os.getpid(), 9)"
    )
    assert subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=False).returncode == -9
    assert list(tmp_path.iterdir()) == []


def test_memory_does_not_hold_it(tmp_path: Path) -> None:
    """200 MB are written; anonymous memory, of which a process can run out, stays where it was."""
    before = anonymous()
    array = MappedFiles(tmp_path)((50, 1000, 1000), np.float32)
    for plane in array:
        plane[:] = 1
    assert anonymous() - before < 20e6


def test_a_full_disk_is_an_error_that_names_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(OSError, match=f"No space left.*{tmp_path}"):
        MappedFiles(tmp_path)((10, 10), np.uint8)


def test_an_array_is_filled_from_its_parts() -> None:
    parts = [np.full((n, 2, 3), n, ">i2") for n in (1, 3, 2)]
    array = filled(6, iter(parts), np.empty)
    np.testing.assert_array_equal(array, np.concatenate(parts))
    assert array.dtype == np.dtype("=i2")
    for length in (5, 7):
        with pytest.raises(ValueError):
            filled(length, iter(parts), np.empty)
    with pytest.raises(ValueError, match="2 slices instead of 1"):
        filled(1, iter([parts[0], parts[0]]), np.empty)
