"""Hashes of scans, remembered, so that hundreds of gigabytes are not read anew at every start."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from ctsr.files import content_hash, replacing

INDEX = "hashes.json"


def remembered_hash(path: Path, cache: Path) -> str:
    """`content_hash` of a scan, worked out again only where a file's name, size or time of change differs.

    Of two processes that write the index at once one may lose its entry; that costs time, nothing else.

    Args:
        path: A file, or a folder of files.
        cache: An existing folder, where the index is kept.
    """
    key, state = str(path.resolve()), _state(path)
    known = _index(cache).get(key)
    if known is not None and known["state"] == state:
        return str(known["hash"])
    entry = {"state": state, "hash": content_hash(path)}
    with replacing(cache / INDEX) as partial:
        partial.write_text(json.dumps(_index(cache) | {key: entry}))
    return str(entry["hash"])


def _state(path: Path) -> str:
    """What changes when a file does, without reading it."""
    files = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
    stats = ((file.relative_to(path), file.stat()) for file in files)
    facts = [(str(name), stat.st_size, stat.st_mtime_ns) for name, stat in stats]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def _index(cache: Path) -> dict[str, dict[str, str]]:
    try:
        index: dict[str, dict[str, str]] = json.loads((cache / INDEX).read_text())
    except (FileNotFoundError, ValueError):  # none yet; or damaged: then it is made anew
        index = {}
    return index
