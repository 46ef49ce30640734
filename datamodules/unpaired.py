"""Data of stage `synth`: µCT and clinical patches that have nothing to do with each other."""

from __future__ import annotations

from typing import ClassVar

from datamodules.scans import ScansDataModule


class UnpairedDataModule(ScansDataModule):
    """Batches of {"micro", "slab", "clinical"}: x, what f() is applied to, and y."""

    domains: ClassVar[tuple[str, ...]] = ("micro", "clinical")
