"""The pool of past fakes: fills first, then exchanges half, and draws as a function of (seed, step)."""

from __future__ import annotations

import torch

from lightning_modules.image_pool import ImagePool


def fakes(start: int, count: int) -> torch.Tensor:
    return torch.arange(start, start + count, dtype=torch.float32).view(count, 1, 1, 1)


def test_fills_before_it_exchanges() -> None:
    pool = ImagePool(size=6, seed=0)
    first = fakes(0, 6)
    assert torch.equal(pool.exchange(first, step=0), first)
    assert [int(image) for image in pool.images] == list(range(6))


def test_exchanges_about_half_and_loses_nothing() -> None:
    pool = ImagePool(size=50, seed=1)
    pool.exchange(fakes(0, 50), step=0)
    seen: list[float] = []
    swapped = 0
    for step in range(1, 41):
        new = fakes(50 * step, 50)
        back = pool.exchange(new, step)
        swapped += int((back != new).sum())
        seen += back.flatten().tolist()
    # Every image comes back at most once or is still kept: none is lost and none is made up.
    assert sorted(seen + [float(image) for image in pool.images]) == sorted(float(v) for v in range(50 * 41))
    assert 0.45 < swapped / 2000 < 0.55


def test_same_seed_and_step_draw_the_same_after_a_restart() -> None:
    one, other = ImagePool(4, seed=3), ImagePool(4, seed=3)
    one.exchange(fakes(0, 4), step=0)
    other.load_state_dict(one.state_dict())
    assert torch.equal(one.exchange(fakes(4, 4), step=7), other.exchange(fakes(4, 4), step=7))


def test_size_zero_passes_on() -> None:
    assert torch.equal(ImagePool(0, seed=0).exchange(fakes(0, 3), step=0), fakes(0, 3))
