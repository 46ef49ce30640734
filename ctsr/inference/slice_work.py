"""What is done with each slice: brought to the network's greys and grid, enlarged, brought back, compared, written."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from time import perf_counter
from typing import Any

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from ctsr.imaging.consistency import Consistency
from ctsr.imaging.grey_map import GreyMap
from ctsr.imaging.intensity import Window
from ctsr.imaging.interpolation import bicubic
from ctsr.imaging.kernel.transfer import Softening
from ctsr.imaging.padding import nearest_inside
from ctsr.imaging.volume import Image, Mask, Volume
from ctsr.inference.engine import Engine, tiles
from ctsr.inference.grid import Plan
from ctsr.inference.nifti_stream import NiftiStream
from ctsr.inference.partial import Note

DRAWN_ON = 4  # pixels around the lung that resampling and interpolation draw on
BESIDE = 0.02  # work of a slice that is not the network's, of a whole slice's


@dataclass(frozen=True, eq=False)
class Batch:
    """Some slices on the network's grid.

    Attributes:
        numbers: Which.
        lr: (N, H, W), values in [-1, 1].
        before: The same before the filter; None: there is none.
        inside: (N, H, W), True inside the lung.
        seen: (N, H, W), True inside the field of view.
        sr: (N, 8H, 8W): before the network what stays where it does not work, then the result.
        where: (N, H, W), True where the network works; None: everywhere.
    """

    numbers: Sequence[int]
    lr: Image
    before: Image | None
    inside: Mask
    seen: Mask
    sr: Tensor | None
    where: Mask | None


@dataclass(frozen=True, eq=False)
class SliceWork:
    """The three steps, for `ctsr.inference.overlap.overlapped`.

    Attributes:
        volume: The scan, or a part of it, in HU, canonical orientation.
        lung: True inside the lung, its shape.
        steps: Its grids.
        engine: The network.
        stream: Where results go.
        clinical: Greys that the network sees.
        greys: Those of the result.
        to_clinical: Greys of the result to the scan's, both in [-1, 1].
        padding: What is written outside the field of view.
        lung_only: Whether the network works on blocks with lung alone, and all else is interpolated.
        block: Side of these in pixels of the network's grid; None: whole slices.
        softening: Filter of the scan's own grid that comes before all else; None: there is none.
        note: Told what is to be known of a slice as soon as it is written.
    """

    volume: Volume
    lung: Mask
    steps: Plan
    engine: Engine
    stream: NiftiStream
    clinical: Window
    greys: Window
    to_clinical: GreyMap
    padding: float
    lung_only: bool
    block: int | None
    softening: Softening | None
    note: Callable[[int, Note], None]

    @cached_property
    def consistency(self) -> Consistency:
        """Counts |f(SR) - y| over all slices, y as the network was given it."""
        return Consistency(self.to_clinical, self.clinical)

    @cached_property
    def to_scan(self) -> Consistency:
        """The same with y as it was before the filter."""
        return Consistency(self.to_clinical, self.clinical)

    def outside(self, z: int) -> Mask:
        """Where a slice is outside the field of view."""
        return np.zeros(self.volume.shape[1:], bool) if self.volume.outside is None else self.volume.outside[z]

    def seen_by_network(self, z: int) -> Image:
        """A slice as the network is given it, values in [-1, 1]."""
        return self._on_network(self.filtered(z))

    def filtered(self, z: int) -> Image:
        """A slice in HU, its field of view without an edge, after the filter."""
        return self._softened(self._without_edge(z))

    def _softened(self, hu: Image) -> Image:
        return hu if self.softening is None else self.softening.apply(hu, self.steps.spacing[1:])

    def _on_network(self, hu: Image) -> Image:
        return self.clinical.normalise(self.steps.to_network(hu))

    def _without_edge(self, z: int) -> Image:
        return nearest_inside(self.volume.array[z].astype(np.float32), self.outside(z))

    def cost(self, z: int) -> float:
        """What a slice costs, of a whole slice's worth."""
        if not self.lung_only:
            return 1.0 + BESIDE
        mask = self.lung[z]
        touched = sum(mask[block].size for block in self._blocks(mask) if mask[block].any())
        return float(touched / mask.size + BESIDE)

    def prepare(self, numbers: Sequence[int]) -> Batch:
        """Read slices."""
        scan = [self._without_edge(z) for z in numbers]
        lr = np.stack([self._on_network(self._softened(image)) for image in scan])
        before = None if self.softening is None else np.stack([self._on_network(image) for image in scan])
        inside = np.stack([self.steps.coarse(self.lung[z]) for z in numbers])
        seen = np.stack([~self.steps.coarse(self.outside(z)) for z in numbers])
        if not self.lung_only:
            return Batch(numbers, lr, before, inside, seen, None, None)
        where = np.stack([self._with_around(mask) for mask in inside])
        enlarged = bicubic(torch.from_numpy(lr)[:, None])[:, 0].numpy()
        elsewhere = torch.from_numpy(self.to_clinical.inverse().apply(enlarged))
        return Batch(numbers, lr, before, inside, seen, elsewhere, where)

    def _with_around(self, inside: Mask) -> Mask:
        """The blocks of a slice that hold lung, or what resampling and interpolation draw on."""
        grown = ndimage.binary_dilation(inside, iterations=DRAWN_ON)
        where = np.zeros_like(inside)
        for block in self._blocks(inside):
            where[block] = grown[block].any()
        return where

    def _blocks(self, plane: Mask) -> Iterator[tuple[slice, slice]]:
        height, width = plane.shape
        step = self.block or max(height, width)
        return tiles((height, width), (step, step))

    def compute(self, batch: Batch) -> tuple[Batch, Tensor, float]:
        """Enlarge them; and the seconds that it took."""
        started = perf_counter()
        sr = self.engine.enlarge(torch.from_numpy(batch.lr), batch.where, batch.sr)
        return batch, sr, perf_counter() - started

    def finish(self, made: tuple[Batch, Tensor, float]) -> tuple[Sequence[int], float]:
        """Write and note them; which they are, and the seconds that it took to enlarge them."""
        batch, sr, seconds = made
        seen = batch.seen if batch.where is None else batch.inside & batch.seen
        for place, z in enumerate(batch.numbers):
            fine = np.clip(sr[place].numpy(), -1.0, 1.0)
            difference = self.consistency.difference(batch.lr[place], fine)
            note: dict[str, Any] = {"difference_hu": self.consistency.add(difference, batch.inside[place], seen[place])}
            if batch.before is not None:
                apart = self.to_scan.difference(batch.before[place], fine)
                note["to_scan_hu"] = self.to_scan.add(apart, batch.inside[place], seen[place])
            note["crc32"] = self.stream.write(z, self._finished(fine, self.outside(z)))
            self.note(z, note)
        return batch.numbers, seconds

    def _finished(self, sr: Image, outside: Mask) -> Image:
        """One slice as it is written.

        Interpolation may overshoot [-1, 1]; greys are written as whole numbers, of which the window's ends need be
        none.
        """
        fine = self.greys.restore(self.steps.to_output(sr))
        np.clip(fine, np.ceil(self.greys.low), np.floor(self.greys.high), out=fine)
        if outside.any():
            fine[self.steps.fine(outside)] = self.padding
        return fine

    def keep(self, z: int, note: Note) -> bool:
        """Take a slice that an earlier run has written, if it is as that run left it."""
        if self.stream.checksum(z) != note["crc32"]:
            return False
        self.stream.keep(z)
        self.consistency.add_counts(note["difference_hu"])
        if self.softening is not None:
            self.to_scan.add_counts(note["to_scan_hu"])
        return True

    def difference(self, z: int) -> Image:
        """|f(SR) - y| of a slice that is written, in HU, on the grid of the result / 8; 0 outside the field of view."""
        same = not self.steps.resampled or self.steps.grid == "model"
        lr = self.seen_by_network(z) if same else self.clinical.normalise(self.filtered(z))
        fine = self.greys.normalise(self.stream[z,])
        difference = self.consistency.difference(lr, fine)
        around = ndimage.binary_dilation(self.outside(z), iterations=2)
        difference[self.steps.coarse(around) if same else around] = 0.0
        return difference
