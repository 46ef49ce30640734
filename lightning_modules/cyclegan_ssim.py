"""Stage `synth`: the CycleGAN with SSIM terms that learns G1, section 2.2 of the paper.

| paper | here |
| --- | --- |
| x, f(x) | `batch["slab"]`, `fx` |
| y | `batch["clinical"]`, `y` |
| G1(f(x)), G2(y) | `fake_y`, `fake_x` |
| D1, D2 | judge clinical images, downsampled µCT images |
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import l1_loss
from torchmetrics.image import StructuralSimilarityIndexMeasure

from ctsr.evaluation.measures.synthesis_distance import SynthesisDistance
from ctsr.imaging.pyramid import GaussianPyramid
from ctsr.losses.adversarial import GUESSED_LEAST_SQUARES, least_squares
from ctsr.losses.detail import detail_loss
from ctsr.losses.ssim import SSIMLoss
from ctsr.networks.patchgan import PatchGAN
from ctsr.networks.resnet import ResNetGenerator
from ctsr.networks.scanner import ScannerGenerator
from ctsr.networks.synthesis import build_g1
from ctsr.records.card import ModelCard
from ctsr.training.callbacks.panels import Column
from lightning_modules.gan import GAN, NOT_HYPERPARAMETERS, ratio_of_std, to_unit
from lightning_modules.image_pool import ImagePool

BORDER = 2  # pixels of f(x) that show what f() reflects at the border of a patch


class CycleGANSSIM(GAN):
    """L(G1, G2, D1, D2) = L_O(G1, G2, D1, D2) + lambda1 L_S(f(x), G1(f(x))) + lambda2 L_S(y, G2(y)), eq. (2).

    L_O is the original CycleGAN's: least-squares adversarial terms, cycles in both directions, an optional identity
    term, pools of past fakes (READING 4). Ours beyond the paper: G1 may make noise, of white noise that comes
    with each patch (cycles and SSIM are those of images without it, since nobody can give noise back), and there is a
    term for the statistics of fine detail, lambda_detail L_D(G1(f(X)), Y).

    Args:
        networks: Arguments of `G1` (`build_g1`), `G2` (`ResNetGenerator`) and `D1`, `D2` (`PatchGAN`).
        loss: `lambda_cycle`, `lambda_identity`, `lambda1`, `lambda2`, `lambda_detail`, and `ssim` (arguments of
            `SSIMLoss`).
        optimizer: See `GAN`.
        pool_size: Past fakes that each discriminator may see.
        seed: Seed of the pools' draws.
        card: See `GAN`.
        accumulate: See `GAN`.
        lr_factor: See `GAN`.
    """

    guessed = GUESSED_LEAST_SQUARES

    def __init__(
        self,
        *,
        networks: Mapping[str, Any],
        loss: Mapping[str, Any],
        optimizer: Mapping[str, Any],
        pool_size: int,
        seed: int,
        card: ModelCard,
        accumulate: int = 1,
        lr_factor: float = 1.0,
    ) -> None:
        super().__init__(optimizer=optimizer, card=card, accumulate=accumulate, lr_factor=lr_factor)
        self.save_hyperparameters(ignore=NOT_HYPERPARAMETERS, logger=False)
        self.f = GaussianPyramid()
        self.G1, self.G2 = build_g1(**networks["G1"]), ResNetGenerator(**networks["G2"])
        self.D1, self.D2 = PatchGAN(**networks["D1"]), PatchGAN(**networks["D2"])
        self.loss, self.noisy = dict(loss), bool(networks["G1"].get("noise"))
        self.can_move_structure = not isinstance(self.G1, ScannerGenerator)
        self.L_S = SSIMLoss(**loss["ssim"])
        self.pools = {"D1": ImagePool(pool_size, 2 * seed), "D2": ImagePool(pool_size, 2 * seed + 1)}
        self.ssim = StructuralSimilarityIndexMeasure(data_range=1.0)
        self.cycle_ssim = StructuralSimilarityIndexMeasure(data_range=1.0)
        self.distance = SynthesisDistance()

    def sides(self) -> tuple[Iterable[nn.Module], Iterable[nn.Module]]:
        """(G1, G2) and (D1, D2)."""
        return (self.G1, self.G2), (self.D1, self.D2)

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        """One step of both generators, then one of both discriminators."""
        generators, discriminators = self.both_optimizers()
        images = [(self.f(part["slab"]), part["noise"], part["clinical"]) for part in self.parts(batch)]
        fakes_y, fakes_x = [], []

        with self.descent(generators) as down:
            for number, (fx, noise, y) in enumerate(images):
                fake_y, fake_x = self.G1(fx, noise), self.G2(y)
                clear_y = self.G1(fx) if self.noisy else fake_y
                losses = {
                    "G1_adversarial": least_squares(self.D1(fake_y), real=True),
                    "G2_adversarial": least_squares(self.D2(fake_x), real=True),
                    "cycle_x": self.loss["lambda_cycle"] * l1_loss(self.G2(clear_y).float(), fx),
                    "cycle_y": self.loss["lambda_cycle"] * l1_loss(self.G1(fake_x).float(), y),
                    "ssim_x": self.loss["lambda1"] * self.L_S(fx, clear_y),
                    "ssim_y": self.loss["lambda2"] * self.L_S(y, fake_x),
                }
                if self.loss["lambda_detail"] and number == 0:  # one term for the batch; a step divides by the parts
                    made = fake_y if len(images) == 1 else self.G1(self.f(batch["slab"]), batch["noise"])
                    losses["detail"] = len(images) * self.loss["lambda_detail"] * self._detail(made, batch["clinical"])
                if self.loss["lambda_identity"]:
                    losses["identity_x"] = self.loss["lambda_identity"] * l1_loss(self.G2(fx).float(), fx)
                    losses["identity_y"] = self.loss["lambda_identity"] * l1_loss(self.G1(y).float(), y)
                down.add(losses)
                fakes_y.append(fake_y.detach())
                fakes_x.append(fake_x.detach())

        with self.descent(discriminators) as judged:
            for (fx, _, y), past_y, past_x in zip(
                images, self.past("D1", fakes_y), self.past("D2", fakes_x), strict=True
            ):
                judged.add(
                    {
                        "D1": (least_squares(self.D1(y), real=True) + least_squares(self.D1(past_y), real=False)) / 2,
                        "D2": (least_squares(self.D2(fx), real=True) + least_squares(self.D2(past_x), real=False)) / 2,
                    }
                )

        self.ratio_of_std = {
            "G1": ratio_of_std(fakes_y, [y for _, _, y in images]),
            "G2": ratio_of_std(fakes_x, [fx for fx, _, _ in images]),
        }
        self.report(down.losses | judged.losses)

    def _detail(self, made: Tensor, real: Tensor) -> Tensor:
        """L_D of the global batch: distributions of all devices' images together are not a mean of each one's."""
        if self.trainer.world_size > 1:
            gathered = self.all_gather(torch.stack((made.float(), real)), sync_grads=True)
            assert isinstance(gathered, Tensor)
            made, real = gathered.transpose(0, 1).flatten(start_dim=1, end_dim=2)
        return detail_loss(made, real, BORDER)

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        """How much of f(x) G1 keeps, how well G2 finds back, and how near G1(f(X)) comes to Y."""
        fx, y = self.f(batch["slab"]), batch["clinical"]
        fake_y = self.G1(fx, batch["noise"])
        self.ssim(to_unit(fake_y), to_unit(fx))
        self.cycle_ssim(to_unit(self.G2(fake_y)), to_unit(fx))
        self.log("val/ssim_G1", self.ssim, on_epoch=True)
        self.log("val/ssim_cycle", self.cycle_ssim, on_epoch=True, prog_bar=True)
        self.distance.update(fake_y.clamp(-1, 1), fx, y)  # clipped as y is

    def on_validation_epoch_end(self) -> None:
        """Distances of whole sets: of G1(f(X)) to Y, of f(X) to Y, and of one half of Y to the other."""
        self.log_dict({f"val/{name}": value for name, value in self.distance.compute().items()}, sync_dist=True)
        self.distance.reset()

    @torch.no_grad()
    def panels(self, batch: dict[str, Tensor]) -> dict[str, list[Column]]:
        """The paper's Fig. 3, and the way back, each with what was changed and what the cycle loses."""
        x, fx, y = batch["micro"], self.f(batch["slab"]), batch["clinical"]
        fake_y, fake_x = self.G1(fx, batch["noise"]), self.G2(y)
        cycle_x, cycle_y = self.G2(fake_y), self.G1(fake_x)
        return {
            "synthesis": [
                Column("x", x),
                Column("f(x)", fx),
                Column("G1(f(x))", fake_y),
                Column("G1(f(x)) − f(x)", fake_y - fx, difference=True),
                Column("G2(G1(f(x)))", cycle_x),
                Column("G2(G1(f(x))) − f(x)", cycle_x - fx, difference=True),
                Column("some other y", y),
            ],
            "back": [
                Column("y", y),
                Column("G2(y)", fake_x),
                Column("G2(y) − y", fake_x - y, difference=True),
                Column("G1(G2(y))", cycle_y),
                Column("G1(G2(y)) − y", cycle_y - y, difference=True),
            ],
        }
