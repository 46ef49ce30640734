"""Slices through the network, in tiles that give what the whole slices would."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from ctsr.errors import UserError
from ctsr.imaging.interpolation import nearest
from ctsr.imaging.volume import SCALE, Mask
from ctsr.inference.fold import folded, parameters_as
from ctsr.networks.sr_cyclegan import EnlargingGenerator
from ctsr.networks.srresnet import SRResNet
from ctsr.networks.stages import Stage
from ctsr.records.scan_settings import Precision

Network = SRResNet | EnlargingGenerator
Auto = Literal["auto"]

IN_CACHE = 16 * 2**20  # bytes of a layer's result that a processor's caches hold
LARGEST_SHARE = 0.6  # of a GPU's free memory
TENSORS = 3  # of the widest layer's size that are held at once
SMALLEST_TILE = 8
WHOLE_SLICE = 512**2  # pixels that keep a GPU busy
_TYPES = {"32": torch.float32, "bf16": torch.bfloat16}


class Engine:
    """Enlarges slices.

    Each stage of the network's trunk is worked through in pieces of the slice, one stage after another: all it keeps
    are two layers at low resolution. The upsampler goes from end to end in tiles. Each piece is given as many pixels
    around it as its result depends on, and these are cut away after every stage, so that any tile, batch and image size
    give the same image to float rounding.

    Args:
        network: It is copied; see `ctsr.inference.fold.folded`.
        device: To work on.
        precision: "32", or "bf16": all numbers but the interpolation's in bfloat16.
        tile: Width of the upsampler's tiles in low-resolution pixels; None: whole slices; "auto": see `fitting_tile`.
            Halved, for good, where memory does not suffice.
        say: Told, in a line, when that happens.

    Raises:
        UserError: A tile is asked of a network that normalises over the image.
    """

    def __init__(
        self,
        network: Network,
        device: torch.device | str = "cpu",
        precision: Precision = "32",
        tile: int | Auto | None = "auto",
        say: Callable[[str], None] = print,
    ) -> None:
        check_tile(network, None if tile == "auto" else tile)
        self.device, self.scale = torch.device(device), network.scale
        self.dtype = _TYPES[precision]
        ready = parameters_as(folded(network), self.dtype, self.device)
        self._trunk, self._skips = ready.trunk_stages(), ready.skips_trunk
        self._upsampler, self._interpolation = ready.upsampler_stages(), ready.interpolation()
        # The widest layer is that of the last octave's convolution: 4 x 4 pixels for each of the image.
        widest = (SCALE // 2) ** 2 * _most_channels(ready) * self.dtype.itemsize
        self._whole, self._say = not network.tileable, say
        self.tile = tile if tile != "auto" else None if self._whole else fitting_tile(widest, self.device)

    def batch(self, shape: tuple[int, int]) -> int:
        """Slices of this shape that keep the device busy."""
        return 1 if self.device.type == "cpu" else max(1, round(WHOLE_SLICE / math.prod(shape)))

    def enlarge(self, images: Tensor, where: Mask | None = None, result: Tensor | None = None) -> Tensor:
        """Enlarge a batch of slices.

        Args:
            images: (N, H, W) float32, values in [-1, 1].
            where: (N, H, W), True where the result is needed; tiles that hold none of it are not computed. None:
                everywhere.
            result: (N, 8H, 8W) float32, what stays elsewhere; None: zeros.

        Returns:
            (N, 8H, 8W) float32 on the CPU, in the network's output range, about [-1, 1].

        Raises:
            UserError: Not even the smallest tile fits into memory.
        """
        count, height, width = images.shape
        if result is None:
            result = torch.zeros(count, self.scale * height, self.scale * width)
        if where is not None and not where.any():
            return result
        while True:
            try:
                return self._enlarge(images, where, result)
            except (RuntimeError, MemoryError) as error:
                if not _is_out_of_memory(error):
                    raise
                self._halve(max(height, width), error)

    @torch.inference_mode()
    def _enlarge(self, images: Tensor, where: Mask | None, result: Tensor) -> Tensor:
        image = images[:, None].to(self.device)
        features = self._features(image.to(self.dtype))
        fine = result[:, None].to(self.device)  # the same where the device is the CPU
        size = (image.shape[-2], image.shape[-1])
        step = self.tile or max(size)
        for tile in tiles(size, (step, step)):
            needed = None if where is None else where[:, *tile]
            if needed is not None and not needed.any():
                continue
            enlarged = _piece(self._upsampler, features, tile).float()
            if self._interpolation is not None:
                enlarged = enlarged + _piece([self._interpolation], image, tile)
            rows, columns = (slice(self.scale * side.start, self.scale * side.stop) for side in tile)
            there = fine[..., rows, columns]
            if needed is None or needed.all():
                there[:] = enlarged
            else:
                blocks = nearest(torch.from_numpy(needed)[:, None].to(self.device, torch.float32))
                there[:] = torch.where(blocks > 0, enlarged, there)
        if fine.device != result.device:
            result.copy_(fine[:, 0])
        return result

    def _features(self, image: Tensor) -> Tensor:
        """The trunk: its stages one after another, each from one whole layer to the next."""
        size = (image.shape[-2], image.shape[-1])
        first = before = self._through(self._trunk[0], image, size)
        spare: Tensor | None = None
        for stage in self._trunk[1:]:
            after = self._through(stage, before, size, spare)
            before, spare = after, None if before is first else before
        return before.add_(first) if self._skips else before

    def _through(self, stage: Stage, x: Tensor, size: tuple[int, int], into: Tensor | None = None) -> Tensor:
        """One stage, in strips that are as large as caches hold; all at once where the stage, or the tile, is whole."""
        height, width = size
        layer = x.shape[0] * width * max(x.shape[1], 1) * self.dtype.itemsize
        rows = height if self._whole or self.tile is None or self.device.type != "cpu" else IN_CACHE // layer
        if rows >= height:
            return stage.apply(x)
        for strip in tiles(size, (max(rows, SMALLEST_TILE), width)):
            made = _piece([stage], x, strip)
            if into is None:
                shape = (x.shape[0], made.shape[1], height, width)
                into = torch.empty(shape, dtype=self.dtype, device=self.device, memory_format=torch.channels_last)
            into[..., strip[0], strip[1]] = made
        assert into is not None
        return into

    def _halve(self, side: int, error: BaseException) -> None:
        now = side if self.tile is None else self.tile
        if self._whole or now <= SMALLEST_TILE:
            what = "a whole slice, which this network needs at once," if self._whole else f"a tile of {now} pixels"
            raise UserError(f"{what} does not fit into the memory of {self.device}: give a smaller roi") from error
        self.tile = max(SMALLEST_TILE, now // 2)
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        self._say(f"out of memory with tiles of {now} pixels: going on with tile={self.tile}")


def check_tile(network: Network, tile: int | Auto | None) -> None:
    """Refuse tiles that are empty, or that would change the result.

    Raises:
        UserError: As said.
    """
    if tile is None or tile == "auto":
        return
    if tile < 1:
        raise UserError(f"tile={tile} is no tile: give a width in low-resolution pixels, or tile=null for whole slices")
    if not network.tileable:
        raise UserError("this network normalises over the image, so tiles would change the result: give tile=null")


def fitting_tile(widest: int, device: torch.device) -> int:
    """The tile whose widest layer a processor's caches hold, or of a GPU what is free of its memory.

    Args:
        widest: Bytes that the widest layer takes for each low-resolution pixel of a tile.
        device: To work on.
    """
    room: float = IN_CACHE
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        room = LARGEST_SHARE * free / TENSORS
    return max(SMALLEST_TILE, int(math.sqrt(room / widest)) // SMALLEST_TILE * SMALLEST_TILE)


def _most_channels(network: Network) -> int:
    """Of a convolution of the upsampler's octaves."""
    return max(module.out_channels for module in network.modules() if isinstance(module, torch.nn.Conv2d))


def tiles(size: tuple[int, int], step: tuple[int, int]) -> Iterator[tuple[slice, slice]]:
    """Tiles of an image, the last of a row or column smaller."""
    for top in range(0, size[0], step[0]):
        for left in range(0, size[1], step[1]):
            yield slice(top, min(top + step[0], size[0])), slice(left, min(left + step[1], size[1]))


def _piece(stages: Sequence[Stage], x: Tensor, tile: tuple[slice, slice]) -> Tensor:
    """What stages make of a tile of an image, with no more around it, after every stage, than the next ones look at."""
    rows, columns = (_spans(stages, side, size) for side, size in zip(tile, x.shape[-2:], strict=True))
    x = x[..., slice(*rows[0]), slice(*columns[0])]
    for number, stage in enumerate(stages):
        (above, down), (left, right) = (_around(stage, *spans[number : number + 2]) for spans in (rows, columns))
        if stage.border is None:
            x = stage.apply(x)
        else:
            beyond = (left[0], left[1], above[0], above[1])
            x = stage.apply(functional.pad(x, beyond, mode=stage.border) if any(beyond) else x)
        x = x[..., down, right]
    return x


def _around(stage: Stage, given: tuple[int, int], wanted: tuple[int, int]) -> tuple[tuple[int, int], slice]:
    """Along one axis: pixels beyond the image that a stage looks at, and where what is wanted lies in what it makes."""
    first, last = wanted[0] // stage.factor, -(-wanted[1] // stage.factor)
    beyond = given[0] - (first - stage.reach), last + stage.reach - given[1]
    origin = stage.factor * (given[0] if stage.border is None else first)
    return beyond, slice(wanted[0] - origin, wanted[1] - origin)


def _spans(stages: Sequence[Stage], side: slice, size: int) -> list[tuple[int, int]]:
    """Along one axis: the pixels that each stage is given, and at last those of the result.

    Args:
        stages: Of a chain.
        side: Of the tile, in pixels of the image that the first stage is given.
        size: Of that image.
    """
    scale = math.prod(stage.factor for stage in stages)
    start, stop = scale * side.start, scale * side.stop
    spans = [(start, stop)]
    for stage in reversed(stages):
        scale //= stage.factor
        start = max(start // stage.factor - stage.reach, 0)
        stop = min(-(-stop // stage.factor) + stage.reach, scale * size)
        spans.append((start, stop))
    return spans[::-1]


def _is_out_of_memory(error: BaseException) -> bool:
    """Of a GPU, or of torch's allocator on the CPU, which has no error of its own."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error)
