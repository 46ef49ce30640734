"""Plain training steps, pass by pass as the papers of CycleGAN and SRGAN describe them, to stand beside ours."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ctsr.imaging.pyramid import GaussianPyramid
from ctsr.losses.ssim import SSIMLoss
from ctsr.networks.patchgan import PatchGAN
from ctsr.networks.resnet import ResNetGenerator
from ctsr.networks.sr_discriminator import SRDiscriminator
from ctsr.networks.srresnet import SRResNet
from ctsr.networks.synthesis import build_g1

Batch = Mapping[str, Tensor]


class PlainSRResNet(SRResNet):
    """GS layer by layer: the last convolution at full resolution."""

    def upsample(self, features: Tensor, image: Tensor) -> Tensor:
        """Features and the image they came from to (N, 1, 8H, 8W)."""
        weight, bias = self.last.weight, self.last.bias
        enlarged = F.conv2d(self.enlarge(features), weight, bias, padding=self.kernel // 2)
        if self.skip != "none":
            enlarged = enlarged + F.interpolate(image, scale_factor=self.scale, mode=self.skip, align_corners=False)
        return enlarged


def requires_grad(networks: Iterable[nn.Module], wanted: bool) -> None:
    """Switches gradients of all parameters."""
    for network in networks:
        network.requires_grad_(wanted)


class Pool:
    """CycleGAN's image pool, image by image."""

    def __init__(self, size: int) -> None:
        self.size, self.images = size, list[Tensor]()

    def query(self, fakes: Tensor) -> Tensor:
        """As many images as are given, some of them earlier ones."""
        returned = []
        for fake in fakes.split(1):
            if len(self.images) < self.size:
                self.images.append(fake)
                returned.append(fake)
            elif random.random() > 0.5:
                place = random.randrange(self.size)
                returned.append(self.images[place].clone())
                self.images[place] = fake
            else:
                returned.append(fake)
        return torch.cat(returned)


class CycleGANStep:
    """Zhu et al. 2017 with the SSIM terms of eq. (2): generators, then each discriminator by itself.

    Args:
        networks: Arguments of G1, G2, D1 and D2.
        loss: As `CycleGANSSIM`'s.
        optimizer: `lr` and `betas`.
        pool_size: Of each pool.
        device: Where to.
        precision: "32", or "bf16" by autocast.
    """

    def __init__(
        self,
        networks: Mapping[str, Any],
        loss: Mapping[str, Any],
        optimizer: Mapping[str, Any],
        pool_size: int,
        device: str,
        precision: str,
    ) -> None:
        self.G1, self.G2 = build_g1(**networks["G1"]).to(device), ResNetGenerator(**networks["G2"]).to(device)
        self.D1, self.D2 = (PatchGAN(**networks[name]).to(device) for name in ("D1", "D2"))
        self.f, self.ssim = GaussianPyramid().to(device), SSIMLoss(**loss["ssim"]).to(device)
        self.loss, self.device, self.bf16 = loss, device, precision == "bf16"
        self.pools = Pool(pool_size), Pool(pool_size)
        both = ([*self.G1.parameters(), *self.G2.parameters()], [*self.D1.parameters(), *self.D2.parameters()])
        self.optimizers = [torch.optim.Adam(side, lr=optimizer["lr"], betas=tuple(optimizer["betas"])) for side in both]

    def __call__(self, batch: Batch) -> None:
        """One step of all networks."""
        with torch.autocast(self.device, torch.bfloat16, enabled=self.bf16):
            fx, y = self.f(batch["slab"]), batch["clinical"]
            fake_y, fake_x = self.G1(fx, batch["noise"]), self.G2(y)
            back_x, back_y = self.G2(fake_y), self.G1(fake_x)
            requires_grad((self.D1, self.D2), False)
            loss = (
                self._judged(self.D1(fake_y), 1.0)
                + self._judged(self.D2(fake_x), 1.0)
                + self.loss["lambda_cycle"] * (F.l1_loss(back_x.float(), fx) + F.l1_loss(back_y.float(), y))
                + self.loss["lambda1"] * self.ssim(fx, fake_y)
                + self.loss["lambda2"] * self.ssim(y, fake_x)
            )
        self.optimizers[0].zero_grad()
        loss.backward()
        self.optimizers[0].step()
        requires_grad((self.D1, self.D2), True)
        self.optimizers[1].zero_grad()
        for D, real, fake, pool in ((self.D1, y, fake_y, self.pools[0]), (self.D2, fx, fake_x, self.pools[1])):
            past = pool.query(fake.detach())
            with torch.autocast(self.device, torch.bfloat16, enabled=self.bf16):
                judged = (self._judged(D(real), 1.0) + self._judged(D(past), 0.0)) / 2
            judged.backward()
        self.optimizers[1].step()

    def _judged(self, answer: Tensor, wanted: float) -> Tensor:
        return F.mse_loss(answer.float(), torch.full_like(answer, wanted, dtype=torch.float32))


class SRGANStep:
    """Ledig et al. 2017 on pairs made by a frozen G1: the generator, then the discriminator.

    Args:
        networks: Arguments of G1, GS and DS.
        loss: As `SRGAN`'s.
        optimizer: `lr` and `betas`.
        device: Where to.
        precision: "32", or "bf16" by autocast.
    """

    def __init__(
        self,
        networks: Mapping[str, Any],
        loss: Mapping[str, Any],
        optimizer: Mapping[str, Any],
        device: str,
        precision: str,
    ) -> None:
        self.G1 = build_g1(**networks["G1"]).to(device).eval().requires_grad_(False)
        self.GS, self.DS = PlainSRResNet(**networks["GS"]).to(device), SRDiscriminator(**networks["DS"]).to(device)
        self.f, self.loss, self.device, self.bf16 = GaussianPyramid().to(device), loss, device, precision == "bf16"
        self.optimizers = [
            torch.optim.Adam(network.parameters(), lr=optimizer["lr"], betas=tuple(optimizer["betas"]))
            for network in (self.GS, self.DS)
        ]

    def __call__(self, batch: Batch) -> None:
        """One step of both networks."""
        x = batch["micro"]
        with torch.autocast(self.device, torch.bfloat16, enabled=self.bf16):
            with torch.no_grad():
                y = self.G1(self.f(batch["slab"]), batch["noise"]).clamp(-1, 1)
            made = self.GS(y)
            requires_grad((self.DS,), False)
            logits = self.DS(made).float()
            loss = F.mse_loss(made.float(), x) + self.loss["lambda_adv"] * F.softplus(-logits).mean()
        self.optimizers[0].zero_grad()
        loss.backward()
        self.optimizers[0].step()
        requires_grad((self.DS,), True)
        with torch.autocast(self.device, torch.bfloat16, enabled=self.bf16):
            real, fake = self.DS(x).float(), self.DS(made.detach()).float()
            judged = F.softplus(-real).mean() + F.softplus(fake).mean()
        self.optimizers[1].zero_grad()
        judged.backward()
        self.optimizers[1].step()
