"""The stages of training: the paper's two, and its baseline."""

from lightning_modules.cyclegan_ssim import CycleGANSSIM
from lightning_modules.sr_cyclegan import SRCycleGAN
from lightning_modules.srgan import SRGAN

__all__ = ["SRGAN", "CycleGANSSIM", "SRCycleGAN"]
