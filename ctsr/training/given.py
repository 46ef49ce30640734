"""The checkpoints that a run is given: each is read once, before the run has a folder, and kept until it is taken."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # torch takes seconds to import, and most runs are given none
    from ctsr.checkpoint import Checkpoint

_kept: dict[tuple[Path, int, int], Checkpoint] = {}


def look_at(path: Path | str) -> Checkpoint:
    """Read a checkpoint, and keep it for `take`; what is kept, and unchanged since, is not read again.

    Raises:
        UserError: See `ctsr.checkpoint.read_checkpoint`.
    """
    from ctsr.checkpoint import read_checkpoint

    key = _key(Path(path))
    if key not in _kept:
        _kept[key] = read_checkpoint(path)
    return _kept[key]


def take(path: Path | str) -> Checkpoint:
    """`look_at`, and keep it no longer: it holds as much memory as a training."""
    checkpoint = look_at(path)
    _kept.pop(_key(Path(path)), None)
    return checkpoint


def forget() -> None:
    """Keep none."""
    _kept.clear()


def _key(path: Path) -> tuple[Path, int, int]:
    """Another file, or the same one written anew, has another key."""
    try:
        stat = path.stat()
    except OSError:
        return path, 0, 0  # told by whoever reads it
    return path.resolve(), stat.st_ino, stat.st_mtime_ns
