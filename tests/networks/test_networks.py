"""Sizes, receptive fields and starting points of the networks."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.functional import conv2d, interpolate, pixel_shuffle, pixel_unshuffle

from ctsr.networks.average import exponential_average
from ctsr.networks.frozen import Frozen
from ctsr.networks.layers import Blur, SubPixelConv, initialise_icnr
from ctsr.networks.patchgan import PatchGAN
from ctsr.networks.resnet import ResNetGenerator
from ctsr.networks.sr_discriminator import SRDiscriminator
from ctsr.networks.srresnet import SRResNet
from ctsr.networks.stages import reach_of
from ctsr.networks.words import Norm


def parameters(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def test_resnet_is_the_original_size() -> None:
    # Zhu et al.'s 9-block generator with 3 channels in and out has 11.378 M weights, biases before InstanceNorm
    # included; one channel saves 2 x 7 x 7 x 64 on each side and 2 outputs' biases, and we leave those biases out.
    biases = 64 + 128 + 256 + 18 * 256 + 128 + 64
    assert parameters(ResNetGenerator(residual=False)) == 11_378_179 - 2 * (2 * 49 * 64) - 2 - biases


@pytest.mark.parametrize("size", [(32, 32), (40, 24)])
def test_resnet_keeps_the_size(size: tuple[int, int]) -> None:
    assert ResNetGenerator(filters=4, blocks=1)(torch.randn(2, 1, *size)).shape == (2, 1, *size)


def test_residual_resnet_starts_as_the_identity() -> None:
    image = torch.rand(1, 1, 32, 32) * 2 - 1
    network = ResNetGenerator(filters=4, blocks=1, residual=True, norm="none", output="linear")
    torch.testing.assert_close(network(image), image)


@pytest.mark.parametrize(("layers", "field"), [(1, 16), (2, 34), (3, 70)])
def test_patchgan_receptive_field(layers: int, field: int) -> None:
    network = PatchGAN(filters=2, layers=layers, norm="none")
    image = torch.randn(1, 1, 160, 160, requires_grad=True)
    answer = network(image)
    answer[0, 0, answer.shape[2] // 2, answer.shape[3] // 2].backward()
    assert image.grad is not None
    touched = image.grad[0, 0].abs().amax(dim=0).nonzero()
    assert int(touched.max() - touched.min()) + 1 == field


def test_patchgan_sees_fine_detail_amplified() -> None:
    torch.manual_seed(0)
    flat = torch.zeros(1, 1, 32, 32)
    fine = 0.01 * (torch.arange(32) % 2 * 2.0 - 1).expand(1, 1, 32, 32)  # the blur takes all of it away
    answers = {}
    for gain in (0.0, 8.0):
        network = PatchGAN(filters=4, norm="none", highpass=gain)
        if gain:
            seen: list[torch.Tensor] = []
            network.body[0].register_forward_pre_hook(lambda _, inputs, seen=seen: seen.append(inputs[0]))
            network(fine)
            torch.testing.assert_close(seen[0][:, 1, :, 1:-1], 8 * fine[:, 0, :, 1:-1])
        answers[gain] = float((network(fine) - network(flat)).abs().mean())
    assert answers[8.0] > 2 * answers[0.0]


@pytest.mark.parametrize("skip", ["none", "bilinear", "bicubic"])
def test_srresnet_enlarges_eightfold(skip: str) -> None:
    network = SRResNet(channels=4, blocks=1, skip=skip)  # type: ignore[arg-type]
    assert network(torch.randn(2, 1, 10, 12)).shape == (2, 1, 80, 96)


@pytest.mark.parametrize(("norm", "alone"), [("none", True), ("instance", True), ("batch", False)])
def test_only_batch_normalisation_of_srresnet_mixes_images(norm: Norm, alone: bool) -> None:
    torch.manual_seed(0)
    network = SRResNet(channels=4, blocks=1, norm=norm)
    images = torch.randn(2, 1, 8, 8)
    assert torch.allclose(network(images)[:1], network(images[:1]), rtol=0, atol=1e-5) == alone
    kinds = {"none": nn.Identity, "instance": nn.InstanceNorm2d, "batch": nn.BatchNorm2d}
    assert isinstance(network.blocks[-1], kinds[norm])


def test_srresnet_is_srgans_size() -> None:
    network = SRResNet()
    # By hand: 9x9x64+64, a PReLU of 1; 16 blocks of 2 3x3 convolutions and 2 BatchNorms; 3 stages of 3x3x64x256+256.
    block = 2 * 9 * 64 * 64 + 2 * 128 + 1
    assert (
        parameters(network) == (5184 + 64 + 1) + 16 * block + (9 * 64 * 64 + 128) + 3 * (9 * 64 * 256 + 256 + 1) + 5185
    )


@pytest.mark.parametrize("blur", [False, True])
@pytest.mark.parametrize("kernel", [3, 5, 9])
def test_halo_covers_what_upsample_sees(kernel: int, blur: bool) -> None:
    network = SRResNet(channels=3, blocks=0, kernel=kernel, skip="bilinear", blur=blur)
    nn.init.normal_(network.last.weight)
    features = torch.randn(1, 3, 17, 17, requires_grad=True)
    enlarged = network.upsample(features, torch.randn(1, 1, 17, 17))
    enlarged[0, 0, 64:72, 64:72].sum().backward()  # the block of input pixel 8
    assert features.grad is not None
    touched = features.grad[0].abs().sum(dim=0).nonzero()
    assert int((touched - 8).abs().max()) <= reach_of(network.upsampler_stages())


def test_icnr_starts_without_a_checkerboard() -> None:
    conv = nn.Conv2d(3, 4 * 3, 3, padding=1)
    initialise_icnr(conv)
    image = torch.randn(1, 3, 6, 6)
    shuffled = nn.PixelShuffle(2)(conv(image))
    torch.testing.assert_close(shuffled, interpolate(shuffled[..., ::2, ::2], scale_factor=2, mode="nearest"))


def test_blur_leaves_no_checkerboard_and_moves_nothing() -> None:
    pattern = torch.tensor([[3.0, -1.0], [0.5, 2.0]]).repeat(8, 8).view(1, 1, 16, 16)
    torch.testing.assert_close(Blur(1)(pattern)[..., 1:-1, 1:-1], pattern.mean().expand(1, 1, 14, 14))
    ramp = torch.arange(16.0).expand(1, 2, 16, 16)
    torch.testing.assert_close(Blur(2)(ramp)[..., 1:-1], ramp[..., 1:-1])


def test_network_with_blur_answers_a_constant_with_a_constant() -> None:
    torch.manual_seed(0)
    for blur, limit in ((True, 1e-5), (False, None)):
        network = SRResNet(channels=8, blocks=1, icnr=False, blur=blur)
        nn.init.normal_(network.last.weight, std=0.1)
        inner = network(torch.full((1, 1, 32, 32), 0.3))[..., 112:144, 112:144]
        assert (inner.std() < limit) if limit else (inner.std() > 1e-3)


def test_discriminator_is_tied_to_no_size() -> None:
    network = SRDiscriminator(filters=4, pairs=4, features=8, norm="none")
    assert network(torch.randn(2, 1, 64, 64)).shape == network(torch.randn(2, 1, 96, 48)).shape == (2, 1)


def test_frozen_stays_frozen() -> None:
    frozen = Frozen(nn.Sequential(nn.Conv2d(1, 1, 3), nn.BatchNorm2d(1)))
    container = nn.ModuleList([frozen]).train()
    before = {name: value.clone() for name, value in frozen.state_dict().items()}
    assert not frozen(torch.randn(4, 1, 8, 8)).requires_grad
    assert not any(module.training for module in container[0].modules())
    assert not any(p.requires_grad for p in frozen.parameters())
    assert all(torch.equal(before[name], value) for name, value in frozen.state_dict().items())


@pytest.mark.parametrize("kernel", [1, 3, 5, 7, 9])
def test_subpixel_convolution_is_the_convolution_at_full_resolution(kernel: int) -> None:
    torch.manual_seed(0)
    conv = SubPixelConv(5, kernel).double()
    image = torch.randn(2, 5, 12, 18, dtype=torch.float64, requires_grad=True)
    expected = conv2d(image, conv.weight, conv.bias, padding=kernel // 2)
    made = pixel_shuffle(conv(pixel_unshuffle(image, 2)), 2)
    torch.testing.assert_close(made, expected, rtol=0, atol=1e-12)
    assert conv.bias is not None
    for inputs in (image, conv.weight, conv.bias):
        gradients = [torch.autograd.grad(y.sin().sum(), inputs, retain_graph=True)[0] for y in (expected, made)]
        torch.testing.assert_close(*gradients, rtol=0, atol=1e-11)


@pytest.mark.parametrize("blur", [False, True])
def test_srresnet_is_its_layers_one_after_the_other(blur: bool) -> None:
    """As drawn in the paper: the last convolution at full resolution."""
    torch.manual_seed(0)
    network = SRResNet(channels=6, blocks=1, norm="none", kernel=9, skip="none", blur=blur)
    image = torch.randn(1, 1, 10, 12)
    plain = nn.Conv2d(6, 1, 9, padding=4)
    plain.load_state_dict(network.last.state_dict())
    torch.testing.assert_close(network(image), plain(network.enlarge(network.trunk(image))), rtol=1e-5, atol=1e-6)


def test_spectral_norm_bounds_every_layer() -> None:
    torch.manual_seed(0)
    for network in (PatchGAN(4, spectral=True), SRDiscriminator(4, 2, 8, spectral=True)):
        for _ in range(30):  # each forward refines the estimate
            network(torch.randn(2, 1, 32, 32))
        layers = [module for module in network.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
        assert len(layers) > 3
        for layer in layers:
            assert torch.linalg.svdvals(layer.weight.detach().flatten(1))[0] == pytest.approx(1.0, abs=0.05)


def test_average_follows_by_hand() -> None:
    network = nn.BatchNorm1d(1)
    average = exponential_average(network, decay=0.5)
    expected = None
    for step, value in enumerate([4.0, 8.0, 2.0, 1.0, 7.0]):
        nn.init.constant_(network.weight, value)
        network.running_mean.fill_(-value)  # type: ignore[union-attr]
        network.num_batches_tracked.fill_(step)  # type: ignore[union-attr]
        average.update_parameters(network)
        decay = min(0.5, (1 + step) / (10 + step))
        expected = value if expected is None else decay * expected + (1 - decay) * value
        assert float(average.module.weight) == pytest.approx(expected)
        assert float(average.module.running_mean) == pytest.approx(-expected)
        assert int(average.module.num_batches_tracked) == step
    assert not any(p.requires_grad for p in average.parameters())
