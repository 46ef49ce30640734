"""Files that are whole or not there, locks between processes, and what a file's bytes amount to."""

from __future__ import annotations

import codecs
import fcntl
import hashlib
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from ctsr.errors import UserError


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A hidden path to write to, with the same ending; it becomes `path` when the block ends without an error.

    Works for a file, and for a folder that does not exist yet. What a failed block wrote is removed.
    """
    partial = path.with_name(f".{os.getpid()}.partial.{path.name}")
    try:
        yield partial
        os.replace(partial, path)
    except OSError as error:
        if error.errno is not None and error.filename in (None, str(partial)):
            error.filename = str(path)  # of a full disk the system tells no file
        raise
    finally:
        if partial.is_dir():
            shutil.rmtree(partial)
        else:
            partial.unlink(missing_ok=True)


def reserve(file: IO[bytes], size: int) -> None:
    """Take a file's space on the disk at once, where the system can.

    A mapped file that a full disk cannot hold would end the process without a word.

    Raises:
        OSError: The disk is full; no file is named.
    """
    if hasattr(os, "posix_fallocate"):  # not on macOS
        os.posix_fallocate(file.fileno(), 0, size)
    else:
        file.truncate(size)


def within(path: Path, places: Iterable[Path]) -> Path | None:
    """Which of some files and folders a path is, or lies in, by whatever spelling or link; None: none of them.

    Args:
        path: A file, be it there or not.
        places: Those that are not there are none.
    """
    known = {identity: place for place in places if (identity := _identity(place)) is not None}
    there = path.parent.resolve() / path.name  # a link is replaced where it lies, whatever it leads to
    return next((known[one] for one in map(_identity, (there, *there.parents)) if one in known), None)


def same_file(one: Path, other: Path) -> bool:
    """Whether two paths are one file or folder that is there, by whatever spelling or link."""
    return (identity := _identity(one)) is not None and identity == _identity(other)


def _identity(path: Path) -> tuple[int, int] | None:
    """What two names of one file share; None: nothing is there."""
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_dev, stat.st_ino


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock that other processes wait for; it ends with the process that holds it, however that ends.

    Raises:
        UserError: The file system of `path` has no locks.
    """
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError as error:
            raise UserError(f"{path.parent} is on a file system without locks: choose a folder on another") from error
        yield


def text_of(path: Path) -> str:
    """The text of a file in UTF-8, or in UTF-16 with a byte order mark, as editors and spreadsheets save it.

    Raises:
        OSError: It cannot be read.
        UnicodeError: It is in another encoding, or no text.
    """
    content = path.read_bytes()
    in_pairs = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    text = content.decode("utf-16" if in_pairs else "utf-8-sig")
    text = text.removeprefix("\ufeff")  # of a second mark
    if "\0" in text:  # UTF-16 without a mark, or no text
        raise UnicodeError(f"{path} holds zeros")
    return text


def content_hash(path: Path, others: Sequence[Path] = ()) -> str:
    """SHA-256 of a file, or of the names and contents of all visible files below a folder.

    Args:
        path: A file or folder.
        others: Further files that belong to it, with their order and contents; their names may change.
    """
    if others:
        parts = [content_hash(part) for part in (path, *others)]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()
    if path.is_file():
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    total = hashlib.sha256()
    for file in sorted(file for file in path.rglob("*") if file.is_file()):
        name = file.relative_to(path)
        if not any(part.startswith(".") for part in name.parts) or name.name in (".zarray", ".zattrs", ".zgroup"):
            total.update(f"{name}\0{content_hash(file)}\n".encode())
    return total.hexdigest()
