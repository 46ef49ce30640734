"""A memory of past fakes for a discriminator (Shrivastava et al. 2017, as used by CycleGAN)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class ImagePool:
    """Returns, for each new fake, either it or one of the last `size` fakes, with equal chance.

    The draw for an image depends on (seed, step, index in the batch) alone, so that a resumed run draws the same.

    Args:
        size: Images kept; 0 returns every fake as it is.
        seed: Seed of the draws.
    """

    def __init__(self, size: int, seed: int) -> None:
        self.size, self.seed = size, seed
        self.images: list[Tensor] = []

    def exchange(self, fakes: Tensor, step: int) -> Tensor:
        """Puts fakes (N, C, H, W) in and returns as many; the first `size` come straight back."""
        if self.size == 0:
            return fakes
        draws = torch.rand(len(fakes), 2, generator=torch.Generator().manual_seed(self.seed * 1_000_003 + step))
        returned = []
        for fake, (coin, place) in zip(fakes.detach(), draws.tolist(), strict=True):
            if len(self.images) < self.size:
                self.images.append(fake.clone())
                returned.append(fake)
            elif coin < 0.5:
                index = int(place * self.size)
                returned.append(self.images[index].to(fake.device))
                self.images[index] = fake.clone()
            else:
                returned.append(fake)
        return torch.stack(returned)

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return {"images": [image.cpu() for image in self.images]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Puts back what `state_dict` gave."""
        self.images = list(state["images"])
