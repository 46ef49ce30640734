"""The data of each stage."""

from datamodules.micro import MicroDataModule
from datamodules.pairs import PairsDataModule
from datamodules.scans import ScansDataModule
from datamodules.unpaired import UnpairedDataModule

__all__ = ["MicroDataModule", "PairsDataModule", "ScansDataModule", "UnpairedDataModule"]
