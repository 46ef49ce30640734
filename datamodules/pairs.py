"""Data of the ceiling: true pairs of clinical and µCT patches, which exist for phantoms only."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from monai.data import Dataset
from torch import Tensor

from ctsr.data.pairs import Pair, find_pairs, load_pair
from ctsr.data.patch_grid import patch_grid
from ctsr.data.plan import Plan
from ctsr.errors import UserError
from ctsr.evaluation.questions.test_set import pair_hashes
from ctsr.imaging.intensity import Window
from ctsr.imaging.volume import SCALE
from ctsr.records.card import DataCard
from datamodules.micro import MicroDataModule
from datamodules.scans import VALIDATION_SEED


class PairsDataModule(MicroDataModule):
    """Batches of {"micro", "slab", "aligned"}: x, the same, and the clinical patch y of the same place.

    Args:
        pairs_root: Folder of lungs seen by both scanners, none of which is a test case; the last ones, as many as
            `split.val` says, are for validation.
        plan: As of `ScansDataModule`.
        show_progress: As of `ScansDataModule`.
    """

    def __init__(self, pairs_root: str | Path, plan: Plan, show_progress: bool = True) -> None:
        super().__init__(plan, show_progress)
        self.pairs_root = Path(pairs_root)
        self._parts_of_pairs: dict[str, list[Pair]] = {}

    def check(self) -> None:
        """As of the other stages; and there must be pairs that are not those of the test."""
        super().check()
        folders = find_pairs(self.pairs_root)
        if self.paired_root is not None and self.pairs_root.resolve() == self.paired_root.resolve():
            raise UserError(f"sr.pairs={self.pairs_root} are the cases of the test: give others to learn on")
        if len(folders) < 2:
            raise UserError(f"sr.pairs={self.pairs_root} holds one case, two are needed: to learn and to validate on")

    def setup(self, stage: str | None = None) -> None:
        """Opens µCT cases, and reads the pairs."""
        super().setup(stage)
        if not self._parts_of_pairs:
            pairs = [load_pair(folder) for folder in find_pairs(self.pairs_root)]
            share = self.keys.split.val
            assert isinstance(share, int | float)  # `ctsr.records.clashes`
            val = max(1, round(share * len(pairs)))
            self._parts_of_pairs = {"train": pairs[:-val], "val": pairs[-val:]}

    def train_dataset(self) -> PairedPatches:  # type: ignore[override]
        """As many patches in an epoch as the stage without pairs has."""
        length = self.keys.patches_per_case * len(self.cases["micro"]["train"])
        return self._dataset("train", length, self.seed, self.keys.augment)

    def val_dataset(self, processes: int = 1) -> PairedPatches:  # type: ignore[override]
        """Fixed patches of pairs that are not trained on."""
        length = max(self.keys.val_patches // processes, 1) * processes
        return self._dataset("val", length, VALIDATION_SEED, augment=False)

    def describe(self) -> DataCard:
        """As of the other stages, with the pairs among what was trained on."""
        card = super().describe()
        folders = find_pairs(self.pairs_root)
        pairs = {mark: f"pair {folder.name}" for folder in folders for mark in pair_hashes(folder, self.cache)}
        return card.changed(trained_on=card.trained_on | pairs)

    def _dataset(self, part: str, length: int, seed: int, augment: bool) -> PairedPatches:
        keys = self.keys.clinical
        window = Window(*(float(grey) for grey in keys.window))
        cover = self.keys.micro.cover
        return PairedPatches(self._parts_of_pairs[part], window, keys.patch, cover, length, seed, augment)


class PairedPatches(Dataset):
    """The same place seen by both scanners, drawn as a function of (seed, epoch, index).

    Args:
        pairs: Lungs seen by both scanners.
        window: HU that become [-1, 1].
        size: Side of the clinical patch in pixels.
        cover: Least share of a patch inside the specimen.
        length: Patches in an epoch; item n is number n % length of epoch n // length.
        seed: Seed of all draws.
        augment: Flip and turn by quarters.

    Raises:
        UserError: A case has no place for a patch.
    """

    def __init__(
        self,
        pairs: Sequence[Pair],
        window: Window,
        size: int,
        cover: float,
        length: int,
        seed: int,
        augment: bool,
    ) -> None:
        super().__init__(data=[])
        self.names = [pair.name for pair in pairs]
        self.size, self.length, self.seed, self.augment = size, length, seed, augment
        self.clinical: list[npt.NDArray[np.float32]] = []
        self.micro: list[npt.NDArray[np.float16]] = []
        self.corners: list[npt.NDArray[np.int32]] = []
        for pair in pairs:
            chosen = pair.slices[1:-1] or pair.slices
            self.clinical.append(window.normalise(np.stack([pair.clinical.array[k] for k, _ in chosen])))
            greys = pair.window.normalise(np.stack([pair.micro.array[z] for _, z in chosen]))
            self.micro.append(greys.astype(np.float16))
            inside = np.stack([_whole_pixels(pair.inside[z]) for _, z in chosen])
            self.corners.append(patch_grid(inside, size, cover))
            if not len(self.corners[-1]):
                raise UserError(
                    f"{pair.name}: no patch of {size} pixels lies {cover:.0%} in the lung; lower data.micro.cover"
                )

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> dict[str, Tensor]:  # type: ignore[override]
        return {name: patches[0] for name, patches in self.__getitems__([index]).items()}

    def __getitems__(self, indices: Sequence[int]) -> dict[str, Tensor]:
        """A batch: "micro" and "slab" (N, 1, 8 size, 8 size), "aligned" (N, 1, size, size), in [-1, 1]."""
        drawn = [self._draw(index) for index in indices]
        y, x = (torch.from_numpy(np.stack(images)[:, None]) for images in zip(*drawn, strict=True))
        return {"micro": x, "slab": x, "aligned": y}

    def probes(self, count: int) -> tuple[dict[str, Tensor], list[str]]:
        """The first patches, and the names of their cases."""
        chosen = range(min(count, self.length))
        return self.__getitems__(chosen), [self.names[self._case(index)] for index in chosen]

    def _case(self, index: int) -> int:
        return index % len(self.names)

    def _draw(self, index: int) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        rng = np.random.default_rng((self.seed, index))
        case, size = self._case(index), self.size
        z, top, left = self.corners[case][rng.integers(len(self.corners[case]))]
        y = self.clinical[case][z, top : top + size, left : left + size]
        rows, columns = (slice(SCALE * first, SCALE * (first + size)) for first in (top, left))
        x = self.micro[case][z, rows, columns].astype(np.float32)
        if self.augment:
            turns, flip = rng.integers(4), rng.integers(2)
            y, x = (np.rot90(np.flip(image, 0) if flip else image, int(turns)) for image in (y, x))
        return np.ascontiguousarray(y), np.ascontiguousarray(x)


def _whole_pixels(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """(8H, 8W) to (H, W): where all of a clinical pixel is inside."""
    height, width = (side // SCALE for side in mask.shape)
    blocks = mask.reshape(height, SCALE, width, SCALE)
    return np.asarray(blocks.all(axis=(1, 3)), dtype=np.bool_)
