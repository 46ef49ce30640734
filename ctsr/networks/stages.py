"""A network as a chain of stages that look only a little around: what is needed to run it exactly in tiles."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

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


def reach_of(stages: Sequence[Stage]) -> int:
    """How many pixels around a pixel of the image what a chain makes of it depends on."""
    reach, scale = 0.0, 1
    for stage in stages:
        reach += stage.reach / scale
        scale *= stage.factor
    return math.ceil(reach)
