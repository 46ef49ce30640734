"""Files without their content: links to nothing, empty and closed files, and pointers to what was not fetched."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from ctsr.errors import UserError

_LONGEST = 4096  # bytes of a pointer; no scan's slice is that small and starts like one
# Of git-annex, also where links cannot be and are written as text, and of Git LFS.
_POINTER = re.compile(rb"(?:(?:\.\./)*\.git)?/annex/objects/|version https://git-lfs\.github\.com/spec/")


class Lack(NamedTuple):
    """What is wrong with a file, as "is empty", and what mends it, as "copy it again"."""

    what: str
    mend: str

    def __str__(self) -> str:
        return f"{self.what}: {self.mend}"


_CLOSED = Lack("cannot be opened", "ask for the right to read it")


def lack_of(path: Path) -> Lack | None:
    """Why a path leads to no content; None: there is some, or it is a folder."""
    try:
        found = path.stat()
    except PermissionError:
        return _CLOSED
    except OSError:
        is_link = path.is_symlink()
        return Lack("is a link to nothing", "fetch it") if is_link else Lack("does not exist", "correct its name")
    if not stat.S_ISREG(found.st_mode):
        return None
    if not os.access(path, os.R_OK):
        return _CLOSED
    if found.st_size == 0:
        return Lack("is empty", "copy it again")
    try:
        is_pointer = found.st_size <= _LONGEST and _POINTER.match(path.read_bytes())
    except OSError:  # who reads it tells
        return None
    return Lack("is a pointer to content that was not fetched", "fetch it") if is_pointer else None


def check_content(files: Sequence[Path]) -> None:
    """Make sure that files hold what their names promise.

    Raises:
        UserError: Some lack their content; the first of them, and how many.
    """
    lacking = [(file, lack) for file in files if (lack := lack_of(file)) is not None]
    if lacking:
        file, lack = lacking[0]
        raise UserError(f"{file} {lack}" + (f" ({len(lacking)} files lack their content)" if lacking[1:] else ""))
