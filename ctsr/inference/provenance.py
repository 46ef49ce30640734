"""Where a result comes from, told beside it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ctsr.files import replacing

NOTICE = (
    "Not for diagnosis. Walls, vessels, airways and nodules are sharpened; "
    "the fine texture of the parenchyma is not in the clinical image and is imitated."
)


def write_json(record: Mapping[str, Any], path: Path) -> None:
    """Write a record; it appears whole or not at all."""
    with replacing(path) as partial:
        partial.write_text(json.dumps(record, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
