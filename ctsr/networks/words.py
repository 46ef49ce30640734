"""The words that networks' settings know."""

from __future__ import annotations

from typing import Literal

Norm = Literal["batch", "instance", "none"]
Padding = Literal["reflect", "zeros"]
Output = Literal["linear", "tanh"]
Skip = Literal["none", "bilinear", "bicubic"]
Kind = Literal["resnet", "scanner"]
Greys = Literal["calibrated", "learned"]
