"""Patches: a pure function of (seed, epoch, index), whatever the number of workers, devices or earlier draws."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from monai.data import Dataset, set_track_meta
from monai.transforms import Compose, MapTransform, RandFlipd, Randomizable, RandRotate90d
from torch import Tensor
from torch.utils.data import Sampler

from ctsr.data.prepared import PreparedCase
from ctsr.errors import UserError


def patch_grid(mask: npt.NDArray[np.bool_], size: int, cover: float) -> npt.NDArray[np.int32]:
    """Where a patch may start: the points of a regular grid whose patch the mask covers well.

    Args:
        mask: (z, y, x), True inside lung or specimen.
        size: Side of the square patch in pixels; the grid's step is an eighth of it.
        cover: Least share of the patch inside the mask, 0 ... 1.

    Returns:
        (n, 3) corners (z, y, x).
    """
    step = max(size // 8, 1)
    corners = []
    for z, plane in enumerate(mask):
        if min(plane.shape) < size or not plane.any():
            continue
        sums = np.pad(plane.astype(np.int32).cumsum(0).cumsum(1), ((1, 0), (1, 0)))
        inside = sums[size:, size:] - sums[:-size, size:] - sums[size:, :-size] + sums[:-size, :-size]
        y, x = np.nonzero(inside[::step, ::step] >= cover * size * size)
        corners.append(np.stack([np.full_like(y, z), y * step, x * step], axis=1))
    return np.concatenate(corners).astype(np.int32) if corners else np.empty((0, 3), np.int32)


class RandPatchd(Randomizable, MapTransform):
    """Crops the same random square out of each of a case's arrays, where its mask covers the square.

    Args:
        names: Item to make -> attribute of `PreparedCase` to crop it from.
        size: Side of the patch in pixels.
        cover: Least share of the patch inside the mask.
    """

    def __init__(self, names: Mapping[str, str], size: int, cover: float) -> None:
        super().__init__(list(names))
        self.names, self.size, self.cover = dict(names), size, cover

    def __call__(self, data: Mapping[str, Any]) -> dict[str, Tensor]:
        """Maps {"case": PreparedCase, "corners": grid} to {name: (1, size, size) float32 in [-1, 1]}."""
        case, corners, size = data["case"], data["corners"], self.size
        z, y, x = (int(v) for v in corners[self.R.randint(len(corners))])
        step = max(size // 8, 1)
        height, width = case.mask.shape[1:]
        near = (
            min(y + self.R.randint(step), height - size),
            min(x + self.R.randint(step), width - size),
        )
        if case.mask[z, near[0] : near[0] + size, near[1] : near[1] + size].mean() >= self.cover:
            y, x = near  # off the grid, and still inside
        window = np.s_[z, y : y + size, x : x + size]
        return {
            name: torch.from_numpy(getattr(case, source)[window].astype(np.float32)[None])
            for name, source in self.names.items()
        }


@dataclass(frozen=True)
class PatchSource:
    """Patches of one domain.

    Attributes:
        cases: Prepared cases to draw from; each gives its equal share of an epoch.
        names: Item to make -> attribute of `PreparedCase`, such as {"micro": "image", "slab": "slab"}.
        size: Side of the patch in pixels.
        cover: Least share of a patch inside the case's mask.
    """

    cases: Sequence[PreparedCase]
    names: Mapping[str, str]
    size: int
    cover: float


class PatchDataset(Dataset):
    """Patches drawn from several domains side by side; item n is number n % length of epoch n // length.

    An item depends on (seed, epoch, index) alone. The endless numbering carries the epoch into loader workers, which
    never see a change of the dataset's attributes.

    Args:
        sources: One for each domain.
        length: Patches in an epoch.
        seed: Seed of all draws.
        augment: Flip and turn by quarters.

    Raises:
        UserError: A case has no place for a patch inside its mask.
    """

    def __init__(self, sources: Sequence[PatchSource], length: int, seed: int, augment: bool = True) -> None:
        super().__init__(data=list(sources))
        self.length, self.seed = length, seed
        self.corners = [[_corners(case, source) for case in source.cases] for source in sources]
        self.transforms = [
            Compose(
                [
                    RandPatchd(source.names, source.size, source.cover),
                    *(
                        [
                            RandFlipd(list(source.names), prob=0.5, spatial_axis=0),
                            RandRotate90d(list(source.names), prob=0.75, max_k=3),
                        ]
                        if augment
                        else []
                    ),
                ]
            )
            for source in sources
        ]

    def __len__(self) -> int:
        return self.length

    def _transform(self, index: int) -> dict[str, Tensor]:
        set_track_meta(False)  # a patch needs no geometry, and plain tensors are an order of magnitude faster
        epoch, position = divmod(index, self.length)
        item: dict[str, Tensor] = {}
        for domain, source in enumerate(self.data):
            chosen = int(_order(self.seed, epoch, domain, self.length)[position]) % len(source.cases)
            seed = np.random.SeedSequence((self.seed, epoch, position, domain)).generate_state(1)[0]
            transform = self.transforms[domain].set_random_state(seed=int(seed))
            drawn = transform({"case": source.cases[chosen], "corners": self.corners[domain][chosen]})
            item |= {name: drawn[name].contiguous() for name in source.names}
        return item


def _corners(case: PreparedCase, source: PatchSource) -> npt.NDArray[np.int32]:
    corners = patch_grid(case.mask, source.size, source.cover)
    if not len(corners):
        raise UserError(
            f"{case.name}: no {source.size}x{source.size} patch lies {source.cover:.0%} inside the {case.domain} mask; "
            f"lower data.{case.domain}.cover or data.{case.domain}.patch, or leave the case out"
        )
    return corners


@lru_cache(maxsize=8)
def _order(seed: int, epoch: int, domain: int, length: int) -> npt.NDArray[np.int64]:
    """A shuffle of an epoch, so that each case gets its share and domains meet in changing pairs."""
    return np.random.default_rng((seed, epoch, domain)).permutation(length)


class StreamSampler(Sampler[int]):
    """The numbers of this process's patches: its part of each global batch.

    The sequence of global batches is the same for any number of processes. A last incomplete batch is left out.

    Args:
        length: Patches in an epoch.
        global_batch_size: Patches in a batch over all processes.
        rank: This process, 0 ... processes - 1.
        processes: How many processes share each batch.
        moving: Whether each epoch has patches of its own; validation sees the same ones again.

    Raises:
        UserError: The batch cannot be divided evenly, or is larger than an epoch.
    """

    def __init__(
        self, length: int, global_batch_size: int, rank: int = 0, processes: int = 1, moving: bool = True
    ) -> None:
        if global_batch_size % processes:
            raise UserError(f"data.global_batch_size={global_batch_size} cannot be divided over {processes} devices")
        if length < global_batch_size:
            raise UserError(f"an epoch of {length} patches is smaller than data.global_batch_size={global_batch_size}")
        self.length, self.batches = length, length // global_batch_size
        self.global_batch_size, self.rank, self.moving = global_batch_size, rank, moving
        self.batch_size = global_batch_size // processes
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Goes to an epoch; the training loop calls this before each."""
        self.epoch = epoch if self.moving else 0

    def __len__(self) -> int:
        return self.batches * self.batch_size

    def __iter__(self) -> Iterator[int]:
        for batch in range(self.batches):
            first = self.epoch * self.length + batch * self.global_batch_size + self.rank * self.batch_size
            yield from range(first, first + self.batch_size)
