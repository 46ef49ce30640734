"""Patches: a pure function of (seed, epoch, index), whatever the number of workers, devices or earlier draws."""

from __future__ import annotations

import ctypes
import resource
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import zip_longest
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from monai.data import Dataset
from torch import Tensor
from torch.utils.data import Sampler

from ctsr.data.patch_grid import no_place, patch_grid
from ctsr.data.preparing.store import PreparedCase
from ctsr.errors import UserError
from ctsr.imaging.volume import SCALE

warnings.filterwarnings("ignore", "The given NumPy array is not writable")  # mapped cases are meant not to be

MOST_MAPPED = 512 * 2**20
"""Bytes of files that a process keeps in view; pages that were looked at count as its memory until they are let go."""


@cache
def case_corners(case: PreparedCase, size: int, cover: float) -> npt.NDArray[np.int32]:
    """`patch_grid` of a case's mask, worked out once: training, validation and the page over the cases all ask."""
    return patch_grid(case.mask, size, cover)


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
    never see a change of the dataset's attributes. A loader fetches whole batches, to be collated by `as_it_is`: each
    patch is cut, turned and converted straight into its place.

    Args:
        sources: One for each domain.
        length: Patches in an epoch.
        seed: Seed of all draws.
        augment: Flip and turn by quarters: each of the eight ways a square lies has the same chance.

    Raises:
        UserError: A case has no place for a patch inside its mask.
    """

    def __init__(self, sources: Sequence[PatchSource], length: int, seed: int, augment: bool = True) -> None:
        super().__init__(data=list(sources))
        self.length, self.seed, self.augment = length, seed, augment
        self.corners = [[_corners(case, source) for case in source.cases] for source in sources]

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> dict[str, Tensor]:  # type: ignore[override]
        return {name: patches[0] for name, patches in self.__getitems__([index]).items()}

    def __getitems__(self, indices: Sequence[int]) -> dict[str, Tensor]:
        """A batch: name -> (N, 1, size, size) float32 in [-1, 1].

        With µCT comes what another scan of it can be made of: "noise" (N, 1, size / 8, size / 8), white, and "scanner"
        (N, 2), uniform draws of [0, 1) that say which scanner it is.
        """
        batch: dict[str, Tensor] = {}
        for domain, source in enumerate(self.data):
            patches = {name: torch.empty(len(indices), 1, source.size, source.size) for name in source.names}
            for place, index in enumerate(indices):
                self._cut(domain, *divmod(index, self.length), {name: patches[name][place, 0] for name in patches})
            batch |= patches
            if "micro" in patches:
                drawn = [_scan(self.seed, index, source.size // SCALE) for index in indices]
                batch["noise"], batch["scanner"] = (torch.stack(draws) for draws in zip(*drawn, strict=True))
        if _mapped_bytes() > MOST_MAPPED:
            self._let_go()
        return batch

    def _let_go(self) -> None:
        """Unmaps all cases, and gives back what the allocator has kept of earlier batches."""
        for source in self.data:
            for case in source.cases:
                case.unmap()
        if trim := getattr(ctypes.CDLL(None), "malloc_trim", None):  # glibc's
            trim(0)

    def probes(self, count: int) -> tuple[dict[str, Tensor], list[str]]:
        """The first patches of epoch 0 in which the cases of the first domain take turns.

        Returns:
            At most `count` patches as a batch, and the names of the cases of each.
        """
        by_case: dict[int, list[int]] = {}
        for position in range(self.length):
            by_case.setdefault(self._case(0, 0, position), []).append(position)
        turns = [position for turn in zip_longest(*by_case.values()) for position in turn if position is not None]
        chosen = turns[:count]
        names = [
            "\n".join(source.cases[self._case(0, domain, position)].name for domain, source in enumerate(self.data))
            for position in chosen
        ]
        return self.__getitems__(chosen), names

    def _case(self, epoch: int, domain: int, position: int) -> int:
        """Which case of a domain a patch comes from."""
        return int(_order(self.seed, epoch, domain, self.length)[position]) % len(self.data[domain].cases)

    def _cut(self, domain: int, epoch: int, position: int, patches: Mapping[str, Tensor]) -> None:
        """Fills in one patch: the same random square out of each of a case's arrays, where its mask covers it."""
        source: PatchSource = self.data[domain]
        chosen = self._case(epoch, domain, position)
        case, corners, size = source.cases[chosen], self.corners[domain][chosen], source.size
        corner, down, right, way = _draws(self.seed, epoch, domain, self.length)[position]
        z, y, x = (int(v) for v in corners[int(corner * len(corners))])
        step, (height, width) = max(size // 8, 1), case.mask.shape[1:]
        near = min(y + int(down * step), height - size), min(x + int(right * step), width - size)
        inside = np.count_nonzero(case.mask[z, near[0] : near[0] + size, near[1] : near[1] + size])
        if inside >= source.cover * size * size:
            y, x = near  # off the grid, and still inside
        for name, patch in patches.items():
            square = getattr(case, source.names[name])[z, y : y + size, x : x + size]
            _turn(square, int(8 * way) if self.augment else 0, patch)


def _scan(seed: int, index: int, size: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed((seed * 1_000_003 + index) % 2**63)
    return torch.randn(1, size, size, generator=generator), torch.rand(2, generator=generator)


def _mapped_bytes() -> int:
    """Pages of files that this process has in memory; 0 where the system does not tell."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[2]) * resource.getpagesize()
    except OSError:
        return 0


def as_it_is(batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """What a loader does with the batches that `PatchDataset` gives."""
    return batch


def _turn(square: npt.NDArray[np.float16], way: int, patch: Tensor) -> None:
    """Writes a square, lying in one of eight ways, into a float32 patch."""
    halves = torch.from_numpy(square)  # torch converts them three times as fast as NumPy
    if way == 0:
        patch.copy_(halves)
        return
    values, target = halves.float().numpy(), patch.numpy()
    target = target[::-1] if way & 1 else target
    target = target[:, ::-1] if way & 2 else target
    target[:] = values.T if way & 4 else values


def _corners(case: PreparedCase, source: PatchSource) -> npt.NDArray[np.int32]:
    corners = case_corners(case, source.size, source.cover)
    if not len(corners):
        raise no_place(case.name, case.domain, source.size, source.cover)
    return corners


@lru_cache(maxsize=8)
def _order(seed: int, epoch: int, domain: int, length: int) -> npt.NDArray[np.int64]:
    """A shuffle of an epoch's numbers, so that each case gets its share and domains meet in changing pairs."""
    return np.random.default_rng((seed, epoch, domain)).permutation(length)


@lru_cache(maxsize=8)
def _draws(seed: int, epoch: int, domain: int, length: int) -> npt.NDArray[np.float64]:
    """Four even draws from [0, 1) for each patch of an epoch: corner, shift down and right, way it lies."""
    return np.random.default_rng((seed, epoch, domain, 1)).random((length, 4))


def check_epoch(length: int, global_batch_size: int) -> None:
    """Make sure that an epoch has a whole batch.

    Raises:
        UserError: It has none.
    """
    if length < global_batch_size:
        raise UserError(f"an epoch of {length} patches is smaller than data.global_batch_size={global_batch_size}")


class StreamSampler(Sampler[int]):
    """The numbers of this process's patches: its part of each global batch.

    The sequence of global batches is the same for any number of processes. A last incomplete batch is left out.

    Args:
        length: Patches in an epoch.
        global_batch_size: Patches in a batch over all processes.
        rank: This process, 0 ... processes - 1.
        processes: How many processes share each batch.
        moving: Whether each epoch has patches of its own; validation sees the same ones again.
        start: Epoch, and batches of it, that are done already: a resumed run goes on behind them.

    Raises:
        UserError: The batch cannot be divided evenly, or is larger than an epoch.
    """

    def __init__(
        self,
        length: int,
        global_batch_size: int,
        rank: int = 0,
        processes: int = 1,
        moving: bool = True,
        start: tuple[int, int] = (0, 0),
    ) -> None:
        if global_batch_size % processes:
            raise UserError(f"data.global_batch_size={global_batch_size} cannot be divided over {processes} devices")
        check_epoch(length, global_batch_size)
        self.length, self.batches = length, length // global_batch_size
        self.global_batch_size, self.rank, self.moving = global_batch_size, rank, moving
        self.batch_size = global_batch_size // processes
        # A loader with workers asks for the first batches before anybody tells it the epoch.
        self.epoch, self.start = start[0], start

    def set_epoch(self, epoch: int) -> None:
        """Goes to an epoch; the training loop calls this before each."""
        self.epoch = epoch if self.moving else 0

    def __len__(self) -> int:
        return self.batches * self.batch_size

    def __iter__(self) -> Iterator[int]:
        epoch, done = self.start
        for batch in range(done if self.epoch == epoch else 0, self.batches):
            first = self.epoch * self.length + batch * self.global_batch_size + self.rank * self.batch_size
            yield from range(first, first + self.batch_size)
