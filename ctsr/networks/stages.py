"""A network as a chain of stages that look only a little around: what is needed to run it exactly in tiles."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from torch import Tensor

Border = Literal["constant", "replicate", "reflect"]


@dataclass(frozen=True)
class Stage:
    """A piece of a network that makes factor x factor pixels of each pixel.

    Attributes:
        apply: (N, C, H, W) to (N, C', factor H, factor W), with padding of its own at the border of what it is given.
            Where there is a `border`, (N, C, H + 2 reach, W + 2 reach) to the same: it does not pad, and makes nothing
            that would be cut away.
        reach: How many pixels around a pixel what is made of it depends on.
        factor: Enlargement along both axes.
        border: What lies beyond the image, in the words of `torch.nn.functional.pad`; None: the stage pads itself.
    """

    apply: Callable[[Tensor], Tensor]
    reach: int
    factor: int = 1
    border: Border | None = None


class Enlarging(Protocol):
    """A network of a trunk at low resolution and an upsampler, in stages.

    Attributes:
        scale: Output pixels along each side of an input pixel.
        tileable: Whether pixels further away than stages reach change nothing.
        skips_trunk: Whether what the trunk's first stage made is added to what its last one makes.
    """

    scale: int
    tileable: bool
    skips_trunk: bool

    def trunk_stages(self) -> Sequence[Stage]:
        """Return the stages from the image, (N, 1, H, W) in [-1, 1], to its features, (N, C, H, W)."""

    def upsampler_stages(self) -> Sequence[Stage]:
        """Return the stages from features to (N, 1, scale H, scale W)."""

    def interpolation(self) -> Stage | None:
        """Return what is made of the image and added to the upsampler's; None: nothing."""


def reach_of(stages: Sequence[Stage]) -> int:
    """How many pixels around a pixel of the image what a chain makes of it depends on."""
    reach, scale = 0.0, 1
    for stage in stages:
        reach += stage.reach / scale
        scale *= stage.factor
    return math.ceil(reach)
