"""Tiles must give what the whole slice gives."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ctsr.errors import UserError
from ctsr.inference.engine import super_resolve_slice
from ctsr.networks.srresnet import SRResNet

SLICE = np.random.default_rng(0).uniform(-1, 1, (21, 29)).astype(np.float32)


def network(**changes: object) -> SRResNet:
    torch.manual_seed(0)
    return SRResNet(**{"channels": 8, "blocks": 2, "norm": "batch", **changes}).eval()  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("kernel", "skip"), [(9, "bilinear"), (3, "none"), (1, "bicubic"), (13, "none"), (5, "bicubic")]
)
@pytest.mark.parametrize("tile", [2, 5, 16, 25, 64])
def test_tiled_equals_untiled(kernel: int, skip: str, tile: int) -> None:
    GS = network(kernel=kernel, skip=skip)
    with torch.inference_mode():
        whole = GS(torch.from_numpy(SLICE)[None, None])[0, 0].numpy()
    tiled = super_resolve_slice(GS, SLICE, tile)
    assert tiled.shape == (8 * 21, 8 * 29)
    assert np.abs(tiled - whole).max() < 5e-6


def test_too_small_a_halo_would_be_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    GS = network()
    whole = super_resolve_slice(GS, SLICE)
    monkeypatch.setattr(SRResNet, "halo", property(lambda _: 1))
    assert np.abs(super_resolve_slice(GS, SLICE, 8) - whole).max() > 1e-3


def test_instance_norm_is_refused_in_tiles_and_works_whole() -> None:
    GS = network(norm="instance")
    with pytest.raises(UserError, match="tile=null"):
        super_resolve_slice(GS, SLICE, 16)
    assert super_resolve_slice(GS, SLICE).shape == (8 * 21, 8 * 29)


def test_bfloat16_is_near() -> None:
    GS = network()
    exact = super_resolve_slice(GS, SLICE[:8, :8])
    near = super_resolve_slice(GS, SLICE[:8, :8], precision="bf16")
    assert near.dtype == np.float32
    assert 0 < np.abs(near - exact).max() < 0.1
