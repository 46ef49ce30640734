"""Whether files can be written at a place: asked before any work, told by the key that the place was given by."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from pathlib import Path

from ctsr.errors import UserError

_LONGEST = 255  # bytes, of every file system there is
_BESIDE = 35  # of these, for the hidden name under which a file is written
_REASONS = {
    errno.EROFS: "is read-only",
    errno.EACCES: "may not be written to",
    errno.EPERM: "may not be written to",
    errno.ENOSPC: "is on a disk that is full",
    errno.EDQUOT: "is on a disk on which your quota is used up",
}


def check_writable(key: str, folder: Path, named: Path | None = None) -> None:
    """Makes sure, before any work, that files can be written into a folder, which is made if need be.

    Nothing is left behind.

    Args:
        key: That the folder was given by.
        folder: It need not be there, nor those above it.
        named: What is told in its place, such as a folder that is made in it.

    Raises:
        UserError: They cannot; key, folder and reason are named.
    """
    beside = 0 if named is None else _BESIDE
    if (why := _too_long(named or folder, beside) or why_not_writable(folder)) is not None:
        raise UserError(f"{key}={_shortened(named or folder)} cannot be written: {why}; give another {key}=")


def why_not_writable(folder: Path) -> str | None:
    """Why no file can be written into a folder, or the folder not be made; None: it can."""
    if (why := _too_long(folder)) is not None:
        return why
    there = next(place for place in (folder, *folder.absolute().parents) if _is_there(place)).absolute()
    if there.is_symlink() and not there.exists():
        return f"{there} is a link to nothing"
    try:
        if there.exists() and not there.is_dir():
            return f"{there} is a file"
        # Tried, since neither the rights nor the mount tell of all that a server of files refuses.
        with tempfile.TemporaryFile(prefix=".", dir=there.resolve()) as file:
            file.write(b"0")
            file.flush()
        full = shutil.disk_usage(there).free == 0
    except OSError as error:
        return f"{there} {_REASONS.get(error.errno or 0, f'takes no files ({error.strerror})')}"
    return f"{there} {_REASONS[errno.ENOSPC]}" if full else None


def _too_long(path: Path, spare: int = 0) -> str | None:
    """Which part of a path no file system takes; None: none.

    Args:
        path: It need not be there.
        spare: Bytes that are to be left free in its last part.
    """
    for part in path.parts:
        most = _LONGEST - (spare if part == path.name else 0)
        if len(os.fsencode(part)) > most:
            return f"{part[:20]}... is a name of more than {most} bytes"
    return None


def _shortened(path: Path) -> str:
    """A path with dots in place of most of a part that is too long to be read."""
    return str(
        Path(*(f"{part[:20]}..." if len(os.fsencode(part)) > _LONGEST - _BESIDE else part for part in path.parts))
    )


def _is_there(path: Path) -> bool:
    """Whether anything bears the name, be it a link to nothing."""
    try:
        return os.path.lexists(path)
    except OSError:  # too long as a whole
        return False
