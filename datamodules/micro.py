"""Data of stage `sr`: µCT patches; clinical ones, where given, only to look at."""

from __future__ import annotations

from typing import ClassVar

from datamodules.scans import ScansDataModule


class MicroDataModule(ScansDataModule):
    """Batches of {"micro", "slab"}: x, and what f() is applied to."""

    domains: ClassVar[tuple[str, ...]] = ("micro",)
