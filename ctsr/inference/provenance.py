"""Where a result comes from, told beside it."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ctsr import __version__
from ctsr.files import replacing

NOTICE = (
    "Not for diagnosis. Walls, vessels, airways and nodules are sharpened; "
    "the fine texture of the parenchyma is not in the clinical image and is imitated."
)


def versions() -> dict[str, str]:
    """This program's version and those of what it computes with."""
    packages = {name: version(name) for name in ("torch", "numpy", "scipy", "nibabel", "SimpleITK")}
    return {"ctsr": __version__, "python": platform.python_version(), **packages}


def write_json(record: Mapping[str, Any], path: Path) -> None:
    """Write a record; it appears whole or not at all."""
    with replacing(path) as partial:
        partial.write_text(json.dumps(record, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
