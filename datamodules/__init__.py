"""The data of each stage."""

from datamodules.micro import MicroDataModule
from datamodules.scans import ScansDataModule
from datamodules.unpaired import UnpairedDataModule

__all__ = ["MicroDataModule", "ScansDataModule", "UnpairedDataModule"]
