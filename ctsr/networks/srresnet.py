"""GS: SRResNet, the generator of SRGAN (Ledig et al. 2017), enlarging x8."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn
from torch.nn import functional as F

from ctsr.networks.layers import Blur, SubPixelConv, initialise_icnr, normalisation
from ctsr.networks.stages import Stage
from ctsr.networks.words import Norm, Skip


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with a PReLU between, added to their input."""

    def __init__(self, channels: int, norm: Norm) -> None:
        super().__init__()
        bias = norm == "none"
        self.body = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1, bias=bias),
            normalisation(norm, channels),
            nn.PReLU(),
            nn.Conv2d(channels, channels, 3, padding=1, bias=bias),
            normalisation(norm, channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, channels, H, W) to the same shape."""
        changed: Tensor = x + self.body(x)
        return changed


class SRResNet(nn.Module):
    """Enlarges an image by 8 along both axes; output pixels 8k ... 8k+7 cover input pixel k.

    The trunk works at low resolution; `upsample` alone sees high resolution and looks only a few input pixels around,
    so a large image can be enlarged in tiles that equal the whole: see `upsampler_stages`.

    Args:
        channels: Channels throughout (64 in SRGAN).
        blocks: Residual blocks (16 in SRGAN).
        norm: Normalisation of the trunk; "batch" in SRGAN.
        kernel: Side of the first and the last convolution (9 in SRGAN).
        skip: "bicubic" or "bilinear" adds the enlarged input, so that the network learns what interpolation lacks;
            "none" as SRGAN. Bilinear leaves creases along the centres of the input's pixels.
        icnr: Start each PixelShuffle as nearest-neighbour enlargement, without a checkerboard.
        blur: A fixed [1 2 1]/4 filter after each PixelShuffle: no checkerboard after training either.
    """

    octaves = 3
    scale = 2**octaves
    skips_trunk = True  # what the first stage of the trunk made is added to what the last one makes

    def __init__(
        self,
        channels: int = 64,
        blocks: int = 16,
        norm: Norm = "batch",
        kernel: int = 9,
        skip: Skip = "none",
        icnr: bool = True,
        blur: bool = True,
    ) -> None:
        super().__init__()
        if kernel % 2 == 0:
            raise ValueError(f"SRResNet kernel must be odd, not {kernel}")
        if skip not in ("none", "bilinear", "bicubic"):
            raise ValueError(f"SRResNet skip must be none, bilinear or bicubic, not {skip}")
        self.skip, self.kernel, self.blur = skip, kernel, blur
        self.tileable = norm != "instance"
        self.first = nn.Sequential(nn.Conv2d(1, channels, kernel, padding=kernel // 2), nn.PReLU())
        self.blocks = nn.Sequential(
            *(ResidualBlock(channels, norm) for _ in range(blocks)),
            nn.Conv2d(channels, channels, 3, padding=1, bias=norm == "none"),
            normalisation(norm, channels),
        )
        stages: list[nn.Module] = []
        for _ in range(self.octaves):
            conv = nn.Conv2d(channels, 4 * channels, 3, padding=1)
            if icnr:
                initialise_icnr(conv)
            stages += [conv, nn.PixelShuffle(2), *([Blur(channels)] if blur else []), nn.PReLU()]
        self.enlarge = nn.Sequential(*stages)
        self.last = SubPixelConv(channels, kernel)
        if skip != "none":  # starts as interpolation
            nn.init.zeros_(self.last.weight)

    def trunk_stages(self) -> list[Stage]:
        """The image, (N, 1, H, W) in [-1, 1], to features (N, channels, H, W); see `skips_trunk`."""
        residual = [Stage(block, reach=2) for block in self.blocks[:-2].children()]
        return [Stage(self.first, self.kernel // 2), *residual, Stage(self.blocks[-2:], reach=1)]

    def upsampler_stages(self) -> list[Stage]:
        """Features to (N, 1, 8H, 8W), but for `interpolation`."""
        length = self._layers
        if self.blur:  # which looks half a pixel further, and repeats the border
            one, two = self.enlarge[:length], self.enlarge[length : 2 * length]
            octaves = [Stage(one, reach=2, factor=2), Stage(two, reach=2, factor=2), Stage(self._in_blocks, reach=2)]
        else:
            starts = range(0, len(self.enlarge), length)
            first, second, last = (_unpadded(self.enlarge[at], self.enlarge[at + length - 1]) for at in starts)
            octaves = [
                Stage(lambda x: F.pixel_shuffle(first(x), 2), reach=1, factor=2, border="constant"),
                Stage(lambda x: F.pixel_shuffle(second(x), 2), reach=1, factor=2, border="constant"),
                Stage(last, reach=1, border="constant"),
            ]
        head = Stage(lambda blocks: F.pixel_shuffle(self.last.unpadded(blocks), 2), self.last.reach, 2, "constant")
        return [*octaves, head]

    @property
    def _layers(self) -> int:
        """Layers of an octave: convolution, PixelShuffle, blur where there is one, activation."""
        return len(self.enlarge) // self.octaves

    def _in_blocks(self, x: Tensor) -> Tensor:
        """The last octave, its result as blocks of 2x2 pixels: the same sums, in fewer and larger pieces."""
        blocks: Tensor = self.enlarge[-self._layers](x)
        if self.blur:
            blocks = F.pixel_unshuffle(self.enlarge[-2](F.pixel_shuffle(blocks, 2)), 2)
        activated: Tensor = self.enlarge[-1](blocks)
        return activated

    def interpolation(self) -> Stage | None:
        """The image enlarged, where the network learns what interpolation lacks."""
        if self.skip == "none":
            return None
        reach = {"bilinear": 1, "bicubic": 2}[self.skip]
        return Stage(
            lambda image: F.interpolate(image, scale_factor=self.scale, mode=self.skip, align_corners=False),
            reach,
            self.scale,
        )

    def trunk(self, image: Tensor) -> Tensor:
        """(N, 1, H, W) in [-1, 1] to features (N, channels, H, W)."""
        features: Tensor = self.first(image)
        features = features + self.blocks(features)
        return features

    def upsample(self, features: Tensor, image: Tensor) -> Tensor:
        """Features and the image they came from to (N, 1, 8H, 8W)."""
        blocks = self._in_blocks(self.enlarge[: -self._layers](features))
        enlarged = F.pixel_shuffle(self.last(blocks), 2)
        interpolation = self.interpolation()
        return enlarged if interpolation is None else enlarged + interpolation.apply(image)

    def forward(self, image: Tensor) -> Tensor:
        """(N, 1, H, W) in [-1, 1] to (N, 1, 8H, 8W), unbounded (the output is linear)."""
        return self.upsample(self.trunk(image), image)


def _unpadded(conv: nn.Module, activation: nn.Module) -> Callable[[Tensor], Tensor]:
    """An octave's convolution and activation, without padding and PixelShuffle."""
    assert isinstance(conv, nn.Conv2d)
    return lambda x: activation(F.conv2d(x, conv.weight, conv.bias))
