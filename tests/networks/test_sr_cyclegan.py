"""Sizes, reach and starting points of SR-CycleGAN's generators."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from skimage.measure import block_reduce

from ctsr.errors import UserError
from ctsr.inference.engine import Engine
from ctsr.networks.sr_cyclegan import EnlargingGenerator, ReducingGenerator, blown_up, shrunk
from ctsr.networks.stages import reach_of
from ctsr.networks.words import Norm

SLICE = np.random.default_rng(0).uniform(-1, 1, (21, 29)).astype(np.float32)


def enlarging(norm: Norm) -> EnlargingGenerator:
    torch.manual_seed(0)
    return EnlargingGenerator(filters=8, blocks=1, norm=norm).eval()


@pytest.mark.parametrize("norm", ["instance", "batch", "none"])
def test_one_enlarges_eightfold_and_the_other_reduces_eightfold(norm: Norm) -> None:
    fine, coarse = torch.randn(2, 1, 40, 64), torch.randn(2, 1, 5, 8)
    enlarged = EnlargingGenerator(filters=8, blocks=1, norm=norm)(coarse)
    reduced = ReducingGenerator(filters=4, blocks=1, norm=norm)(fine)
    assert (enlarged.shape, reduced.shape) == (fine.shape, coarse.shape)
    for made in (enlarged, reduced):
        assert made.abs().max() <= 1
        assert made.std() > 1e-3  # neither faded to nothing
        assert made.abs().median() < 0.999  # nor saturated


def test_generators_have_the_size_of_their_layers() -> None:
    # By hand, without normalisation (so with biases). Enlarging, 64 channels: 7x7x64+64 and a PReLU; 9 blocks of 2 3x3
    # convolutions; one more; then c to 2c channels and a PReLU for c = 64, 32, 16; 7x7 to one channel from 8.
    same = 9 * 64 * 64 + 64
    stages = sum(9 * c * 2 * c + 2 * c + 1 for c in (64, 32, 16))
    count = sum(p.numel() for p in EnlargingGenerator(norm="none").parameters())
    assert count == (49 * 64 + 64 + 1) + 18 * same + same + stages + (49 * 8 + 1)
    # Reducing: 64 to 128 to 256, 9 blocks of 256, 256 to 128 to 64, 64 to 128 to 256 to 512, and 7x7 to one channel.
    ways = [(64, 128), (128, 256), (256, 128), (128, 64), (64, 128), (128, 256), (256, 512)]
    changes = sum(9 * a * b + b for a, b in ways)
    count = sum(p.numel() for p in ReducingGenerator(norm="none").parameters())
    assert count == (49 * 64 + 64) + 18 * (9 * 256 * 256 + 256) + changes + (49 * 512 + 1)


def test_halo_is_just_what_upsample_sees() -> None:
    network = enlarging("none")
    features = torch.randn(1, 8, 17, 17, requires_grad=True)
    network.upsample(features, torch.randn(1, 1, 17, 17))[0, 0, 64:72, 64:72].sum().backward()  # block of pixel 8
    assert features.grad is not None
    touched = features.grad[0].abs().sum(dim=0).nonzero()
    assert int((touched - 8).abs().max()) == reach_of(network.upsampler_stages())


@pytest.mark.parametrize("tile", [2, 8, 25])
def test_tiled_equals_untiled(tile: int) -> None:
    network = enlarging("none")
    with torch.inference_mode():
        whole = network(torch.from_numpy(SLICE)[None, None])[0, 0].numpy()
    assert whole.std() > 0.01
    tiled = Engine(network, tile=tile).enlarge(torch.from_numpy(SLICE)[None])[0]
    np.testing.assert_allclose(tiled, whole, rtol=0, atol=5e-6)


def test_instance_norm_is_refused_in_tiles() -> None:
    with pytest.raises(UserError, match="tile=null"):
        Engine(enlarging("instance"), tile=8)


def test_sizes_that_will_not_do_are_refused() -> None:
    with pytest.raises(ValueError, match="multiple of 8, not 12"):
        EnlargingGenerator(filters=12)
    with pytest.raises(RuntimeError, match=r"(?i)padding size"):
        ReducingGenerator(filters=4, blocks=0, norm="none")(torch.zeros(1, 1, 24, 32))
    assert ReducingGenerator(filters=4, blocks=0, norm="none")(torch.zeros(1, 1, 32, 32)).shape == (1, 1, 4, 4)


def test_shrunk_is_the_mean_of_blocks() -> None:
    image = torch.randn(2, 1, 16, 24)
    expected = block_reduce(image.numpy(), (1, 1, 8, 8), np.mean)
    np.testing.assert_allclose(shrunk(image).numpy(), expected, rtol=0, atol=1e-6)
    assert shrunk(image.bfloat16()).dtype == torch.float32


def test_blown_up_repeats_each_pixel() -> None:
    image = torch.randn(2, 1, 3, 5)
    np.testing.assert_array_equal(blown_up(image).numpy(), np.kron(image.numpy(), np.ones((1, 1, 8, 8), np.float32)))
