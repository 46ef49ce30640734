"""Hashes of scans and prepared cases, remembered: hundreds of gigabytes are not read anew at every start."""

from __future__ import annotations

import errno
import hashlib
import json
import os
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

from ctsr.files import content_hash, replacing
from ctsr.imaging.formats.readers import files_of

INDEX = "hashes.json"


def remembered_hash(path: Path, cache: Path) -> str:
    """`content_hash` of a file or folder, worked out again only where a file's name, size or time of change differs.

    Args:
        path: A file, or a folder of files.
        cache: An existing folder, where the index is kept.
    """
    key, state = str(path.resolve()), _state(path)
    known = _index(cache).get(key)
    if known is None or known["state"] != state:
        known = _unwritten.get(cache, {}).get(key)
    if known is not None and known["state"] == state:
        return str(known["hash"])
    found = scan_hash(path)
    _note(cache, {key: {"state": state, "hash": found}})
    return found


def scan_hash(path: Path) -> str:
    """`content_hash` of a scan: where it is a header with its voxels in other files, of all of them."""
    return content_hash(path, _others(path))


def remember(hashes: Mapping[Path, str], cache: Path) -> None:
    """Note what `content_hash` gave for files, as long as they stay as they are."""
    _note(cache, {str(path.resolve()): {"state": _state(path), "hash": known} for path, known in hashes.items()})


def _note(cache: Path, entries: Mapping[str, Mapping[str, str]]) -> None:
    """Of two processes that write the index at once one may lose its entries; that costs time, nothing else.

    So it does where the index is on a disk that is read-only: then this process alone remembers them.
    """
    try:
        with replacing(cache / INDEX) as partial:
            partial.write_text(json.dumps({**_index(cache), **entries}), encoding="utf-8")
    except OSError as error:
        if error.errno not in (errno.EROFS, errno.EACCES, errno.EPERM):
            raise
        _unwritten.setdefault(cache, {}).update(entries)


_unwritten: dict[Path, dict[str, Mapping[str, str]]] = {}


def _state(path: Path) -> str:
    """What changes when a file does, without reading it."""
    files = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path, *_others(path)]
    stats = ((os.path.relpath(file, path), file.stat()) for file in files)
    told = [(str(name), stat.st_size, stat.st_mtime_ns) for name, stat in stats]
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()


def _others(path: Path) -> list[Path]:
    return files_of(path)[1:]


def _index(cache: Path) -> Mapping[str, Mapping[str, str]]:
    file = cache / INDEX
    try:
        stat = file.stat()
        return _read(file, stat.st_ino, stat.st_mtime_ns)
    except (FileNotFoundError, ValueError):  # none yet; or damaged: then it is made anew
        return {}


@lru_cache(1)
def _read(file: Path, inode: int, changed: int) -> Mapping[str, Mapping[str, str]]:
    """The index, parsed once as long as its file stays: a cohort's is asked for thousands of times."""
    index: dict[str, dict[str, str]] = json.loads(file.read_text(encoding="utf-8"))
    return index
