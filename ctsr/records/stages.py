"""What each stage of training is told: its networks, its loss, and how long and how fast it learns."""

from __future__ import annotations

from typing import ClassVar, Literal

from ctsr.records.networks import SRCycleGANNetworks, SRNetworks, SynthNetworks
from ctsr.records.settings import Settings
from ctsr.records.values import (
    Betas,
    Count,
    Factors,
    Flag,
    LessThanAll,
    NotNegative,
    Odd,
    PathText,
    Positive,
    Share,
    Whole,
)

Inputs = Literal["G1", "fx", "quantiles", "pairs"]
Decay = Literal["linear", "step"]


class SSIM(Settings):
    """Eq. (1): arguments of `SSIMLoss`."""

    C1: Positive
    C2: Positive
    window: Odd | None
    sigma: Positive
    as_printed: Flag
    domain: Literal["signed", "unit"]


class SynthLoss(Settings):
    """Eq. (2)."""

    lambda_cycle: NotNegative
    lambda_identity: NotNegative
    lambda1: NotNegative
    lambda2: NotNegative
    lambda_detail: NotNegative
    ssim: SSIM


class SRLoss(Settings):
    """Eq. (5)."""

    lambda_adv: NotNegative
    warmup: Share


class SRCycleGANLoss(Settings):
    """The baseline's."""

    lambda_cycle: NotNegative
    lambda_scale: NotNegative
    ssim: SSIM


class Optimizer(Settings):
    """Adam for each side, and its schedule; see `lightning_modules.gan`."""

    lr: Positive
    betas: Betas
    decay: Decay
    decay_start: Share
    clip: Positive | None


class Best(Settings):
    """Which epochs are kept beside the last."""

    monitor: str | None
    mode: Literal["min", "max"]
    best: Whole


class SynthBest(Best):
    """By what stage synth's validation measures."""

    monitor: (
        Literal[
            "val/ssim_G1",
            "val/ssim_cycle",
            "val/swd",
            "val/greys",
            "val/spectrum_db",
            "val/fx_swd",
            "val/fx_greys",
            "val/fx_spectrum_db",
            "val/real_swd",
            "val/real_greys",
            "val/real_spectrum_db",
        ]
        | None
    )


class SRBest(Best):
    """By what stage sr's validation measures."""

    monitor: (
        Literal[
            "val/ssim",
            "val/psnr",
            "val/grid_peak",
            "val/bicubic_ssim",
            "val/bicubic_psnr",
            "val/bicubic_grid_peak",
            "val/bicubic_mapped_ssim",
            "val/bicubic_mapped_psnr",
        ]
        | None
    )


class SRCycleGANBest(Best):
    """By what the baseline's validation measures."""

    monitor: Literal["val/ssim", "val/psnr", "val/bicubic_ssim", "val/bicubic_psnr"] | None


class SynthStage(Settings):
    """Stage synth: learns G1."""

    name: ClassVar[str] = "synth"
    domains: ClassVar[tuple[str, ...]] = ("micro", "clinical")
    networks: SynthNetworks
    loss: SynthLoss
    best: SynthBest
    epochs: Count
    pool_size: Whole
    optimizer: Optimizer


class SRStage(Settings):
    """Stage sr: learns GS."""

    name: ClassVar[str] = "sr"
    domains: ClassVar[tuple[str, ...]] = ("micro",)
    networks: SRNetworks
    loss: SRLoss
    inputs: Inputs
    pairs: PathText | None
    best: SRBest
    epochs: Count
    margin: Whole
    noise: Factors
    spread: Factors
    ema: LessThanAll | None
    optimizer: Optimizer


class SRCycleGANStage(Settings):
    """The baseline, SR-CycleGAN."""

    name: ClassVar[str] = "sr_cyclegan"
    domains: ClassVar[tuple[str, ...]] = ("micro", "clinical")
    networks: SRCycleGANNetworks
    loss: SRCycleGANLoss
    best: SRCycleGANBest
    epochs: Count
    pool_size: Whole
    aligned_fraction: Share
    optimizer: Optimizer


Stage = SynthStage | SRStage | SRCycleGANStage
