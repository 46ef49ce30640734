"""The two stages of training."""

from lightning_modules.cyclegan_ssim import CycleGANSSIM
from lightning_modules.srgan import SRGAN

__all__ = ["SRGAN", "CycleGANSSIM"]
