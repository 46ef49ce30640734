"""Where a result comes from, told beside it."""

from __future__ import annotations

import hashlib
import json
import os
import platform
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ctsr import __version__

NOTICE = (
    "Not for diagnosis. Walls, vessels, airways and nodules are sharpened; "
    "the fine texture of the parenchyma is not in the clinical image and is imitated."
)


def versions() -> dict[str, str]:
    """This program's version and those of what it computes with."""
    packages = {name: version(name) for name in ("torch", "numpy", "scipy", "nibabel", "SimpleITK")}
    return {"ctsr": __version__, "python": platform.python_version(), **packages}


def content_hash(path: Path) -> str:
    """SHA-256 of a file, or of the names and contents of all files in a folder."""
    if path.is_file():
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    total = hashlib.sha256()
    for file in sorted(file for file in path.iterdir() if file.is_file()):
        total.update(f"{file.name}\0{content_hash(file)}\n".encode())
    return total.hexdigest()


def write_json(record: Mapping[str, Any], path: Path) -> None:
    """Write a record; it appears whole or not at all."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    partial.write_text(json.dumps(record, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    os.replace(partial, path)
