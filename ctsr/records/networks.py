"""The networks of a run: arguments of the classes in `ctsr.networks`, which document them."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from ctsr.networks.words import Greys, Kind, Norm, Output, Padding, Skip
from ctsr.records.settings import Settings, Takes
from ctsr.records.values import Count, Flag, NotNegative, Odd, Whole


class ResNet(Settings):
    """G2: `ResNetGenerator`."""

    filters: Count
    blocks: Whole
    downsamplings: Whole
    norm: Norm
    padding: Padding
    residual: Flag
    output: Output


class Synthesizer(ResNet):
    """G1: `build_g1`."""

    kind: Kind
    greys: Greys
    kernel: Odd
    noise: Flag


class Judge(Settings):
    """D1, D2, DA and DB: `PatchGAN`."""

    filters: Count
    layers: Count
    norm: Norm
    spectral: Flag
    highpass: NotNegative


class Enlarger(Settings):
    """GS: `SRResNet`."""

    channels: Count
    blocks: Whole
    norm: Norm
    kernel: Odd
    skip: Skip
    icnr: Flag
    blur: Flag


class ImageJudge(Settings):
    """DS: `SRDiscriminator`."""

    filters: Count
    pairs: Count
    features: Count
    norm: Norm
    spectral: Flag


class EnlargingGenerator(Settings):
    """GA: `EnlargingGenerator`."""

    filters: Annotated[int, Field(ge=8, multiple_of=8), Takes("a multiple of 8")]
    blocks: Whole
    norm: Norm


class ReducingGenerator(Settings):
    """GB: `ReducingGenerator`."""

    filters: Count
    blocks: Whole
    norm: Norm


class SynthNetworks(Settings):
    """Stage synth's."""

    G1: Synthesizer
    G2: ResNet
    D1: Judge
    D2: Judge


class SRNetworks(Settings):
    """Stage sr's; G1 comes with its checkpoint."""

    GS: Enlarger
    DS: ImageJudge


class SRCycleGANNetworks(Settings):
    """The baseline's."""

    GA: EnlargingGenerator
    GB: ReducingGenerator
    DA: Judge
    DB: Judge
