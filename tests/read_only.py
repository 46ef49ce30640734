"""A folder as on a read-only mount, without one."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest


def read_only(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes opening for writing, and making folders, fail below a folder, for root too."""
    opened, made = os.open, os.mkdir

    def refuse(path: Any) -> None:
        if Path(os.fsdecode(path)).absolute().is_relative_to(folder):
            raise OSError(30, "Read-only file system", str(path))

    def os_open(path: Any, flags: int, *args: Any, **kwargs: Any) -> int:
        if flags & (os.O_WRONLY | os.O_RDWR):
            refuse(path)
        return opened(path, flags, *args, **kwargs)

    def os_mkdir(path: Any, *args: Any, **kwargs: Any) -> None:
        refuse(path)
        made(path, *args, **kwargs)

    write_text = Path.write_text

    def path_write_text(path: Path, *args: Any, **kwargs: Any) -> int:
        refuse(path)
        return write_text(path, *args, **kwargs)

    monkeypatch.setattr(os, "open", os_open)
    monkeypatch.setattr(os, "mkdir", os_mkdir)
    monkeypatch.setattr(Path, "write_text", path_write_text)
