"""Tiles must give what the whole slice gives."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from ctsr.errors import UserError
from ctsr.inference import engine
from ctsr.inference.engine import Engine, fitting_tile
from ctsr.networks.sr_cyclegan import EnlargingGenerator
from ctsr.networks.srresnet import SRResNet

SLICES = torch.from_numpy(np.random.default_rng(0).uniform(-1, 1, (2, 21, 29)).astype(np.float32))


def network(**changes: object) -> SRResNet:
    """A small one whose every part matters."""
    torch.manual_seed(0)
    made = SRResNet(**{"channels": 8, "blocks": 2, "norm": "batch", **changes}).eval()  # type: ignore[arg-type]
    for module in made.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.normal_(module.running_mean)
            torch.nn.init.uniform_(module.running_var, 0.5, 2.0)
            torch.nn.init.normal_(module.weight)
            torch.nn.init.normal_(module.bias)
        elif isinstance(module, torch.nn.PReLU):
            torch.nn.init.uniform_(module.weight, 0.0, 0.5)
    torch.nn.init.normal_(made.last.weight, 0.0, 0.4 / made.kernel)
    return made


@torch.inference_mode()
def whole(made: torch.nn.Module) -> Tensor:
    enlarged: Tensor = made(SLICES[:, None])[:, 0]
    return enlarged


KINDS = [
    {"kernel": 9, "skip": "bilinear"},
    {"kernel": 9, "skip": "none", "blur": False},
    {"kernel": 3, "skip": "none", "blur": False, "norm": "none"},
    {"kernel": 1, "skip": "bicubic"},
    {"kernel": 13, "skip": "none"},
    {"kernel": 5, "skip": "bicubic", "norm": "none"},
]


@pytest.mark.parametrize("kind", KINDS, ids=str)
@pytest.mark.parametrize("tile", [1, 2, 5, 16, 25, 64, "auto", None])
def test_tiled_equals_untiled(kind: dict[str, object], tile: int | str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    GS = network(**kind)
    expected = whole(GS)
    assert expected.std() > 0.1
    monkeypatch.setattr(engine, "IN_CACHE", 9 * 2 * 29 * 8 * 4)  # the trunk in strips of 9 rows
    tiled = Engine(GS, tile=tile).enlarge(SLICES)  # type: ignore[arg-type]
    assert tiled.shape == (2, 8 * 21, 8 * 29)
    assert (tiled - expected).abs().max() < 1e-5 * expected.abs().max()


@pytest.mark.parametrize("tile", [2, 8, None])
def test_the_baselines_network(tile: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    GA = EnlargingGenerator(filters=8, blocks=2, norm="batch").eval()
    for parameter in GA.parameters():
        torch.nn.init.normal_(parameter, 0.0, 0.2)
    expected = whole(GA)
    assert expected.std() > 0.01
    monkeypatch.setattr(engine, "IN_CACHE", 9 * 2 * 29 * 8 * 4)
    assert (Engine(GA, tile=tile).enlarge(SLICES) - expected).abs().max() < 1e-5


def test_one_image_is_as_in_a_batch() -> None:
    made = Engine(network(), tile=8)
    alone = torch.cat([made.enlarge(SLICES[:1]), made.enlarge(SLICES[1:])])
    assert (made.enlarge(SLICES) - alone).abs().max() < 1e-5


def test_too_short_a_reach_would_be_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    GS = network()
    too_short = [stage if stage.border else replace(stage, reach=0) for stage in GS.upsampler_stages()]
    monkeypatch.setattr(SRResNet, "upsampler_stages", lambda _: too_short)
    assert (Engine(GS, tile=8).enlarge(SLICES) - whole(GS)).abs().max() > 1e-3


@pytest.mark.parametrize("tile", [3, 8, None])
def test_where_nothing_is_needed_the_result_stays(tile: int | None) -> None:
    where = np.zeros((2, 21, 29), dtype=bool)
    where[1, 9:15, 17] = True
    GS = network()
    result = Engine(GS, tile=tile).enlarge(SLICES, where, torch.full((2, 168, 232), 7.0))
    needed = torch.from_numpy(np.kron(where, np.ones((1, 8, 8), dtype=bool)))
    assert (result[~needed] == 7).all()
    assert (result[needed] - whole(GS)[needed]).abs().max() < 1e-5


def test_tiles_without_need_are_not_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    where = np.zeros((2, 21, 29), dtype=bool)
    where[1, 9, 17] = True
    made = Engine(network(), tile=8)
    computed, piece = [], engine._piece

    def counted(stages: list[engine.Stage], x: Tensor, tile: tuple[slice, slice]) -> Tensor:
        enlarged = piece(stages, x, tile)
        if stages is made._upsampler:
            computed.append(enlarged.numel())
        return enlarged

    monkeypatch.setattr(engine, "_piece", counted)
    made.enlarge(SLICES, where)
    assert sum(computed) == 2 * 64 * 64
    made.enlarge(SLICES, np.zeros_like(where))
    assert sum(computed) == 2 * 64 * 64


def test_instance_norm_is_refused_in_tiles_and_works_whole() -> None:
    GS = network(norm="instance")
    with pytest.raises(UserError, match="tile=null"):
        Engine(GS, tile=16)
    for tile in (None, "auto"):
        assert (Engine(GS, tile=tile).enlarge(SLICES) - whole(GS)).abs().max() < 1e-5  # type: ignore[arg-type]


def test_bfloat16_is_near() -> None:
    GS = network()
    near = Engine(GS, precision="bf16").enlarge(SLICES[:, :8, :8])
    exact = Engine(GS).enlarge(SLICES[:, :8, :8])
    assert near.dtype == torch.float32
    assert 0 < (near - exact).abs().max() < 0.1


def test_out_of_memory_halves_the_tile_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    GS, said = network(), []
    small = Engine(GS, tile=64, say=said.append)
    piece = engine._piece

    def short_of_memory(stages: list[engine.Stage], x: Tensor, tile: tuple[slice, slice]) -> Tensor:
        if stages is small._upsampler and tile[0].stop - tile[0].start > 16:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return piece(stages, x, tile)

    monkeypatch.setattr(engine, "_piece", short_of_memory)
    assert (small.enlarge(SLICES) - whole(GS)).abs().max() < 1e-5
    assert small.tile == 16
    assert said == [
        "out of memory with tiles of 64 pixels: going on with tile=32",
        "out of memory with tiles of 32 pixels: going on with tile=16",
    ]


def test_out_of_memory_to_the_end_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")

    monkeypatch.setattr(engine, "_piece", fails)
    with pytest.raises(UserError, match="a tile of 8 pixels does not fit into the memory of cpu"):
        Engine(network(), tile=16, say=lambda _: None).enlarge(SLICES)


def test_another_error_is_not_taken_for_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise RuntimeError("sizes differ")

    monkeypatch.setattr(engine, "_piece", fails)
    with pytest.raises(RuntimeError, match="sizes differ"):
        Engine(network(), tile=16).enlarge(SLICES)


def test_a_tile_that_fits() -> None:
    # Of 64 channels: 256 of float32 at 4 x 4 pixels are 16 KiB a pixel, of which 16 MiB hold 32 x 32.
    assert fitting_tile(16 * 256 * 4, torch.device("cpu")) == 32
    assert fitting_tile(2**40, torch.device("cpu")) == 8


def test_the_network_that_is_given_stays_as_it_is() -> None:
    GS = network()
    before = {name: value.clone() for name, value in GS.state_dict().items()}
    Engine(GS, precision="bf16").enlarge(SLICES)
    assert all(torch.equal(value, before[name]) for name, value in GS.state_dict().items())
