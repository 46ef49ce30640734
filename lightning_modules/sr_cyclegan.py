"""Stage `sr_cyclegan`: the baseline SR-CycleGAN, the paper's [8], one cycle whose generators change the resolution.

| its authors' code | here |
| --- | --- |
| G_A: y -> x, eight times as large | `GA` |
| G_B: x -> y, an eighth as large | `GB` |
| discriminators of x and of y | `DA`, `DB` |
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import l1_loss
from torchmetrics import MetricCollection
from torchmetrics.image import PeakSignalNoiseRatio, StructuralSimilarityIndexMeasure

from ctsr.imaging.interpolation import bicubic
from ctsr.imaging.pyramid import GaussianPyramid
from ctsr.losses.adversarial import GUESSED_LEAST_SQUARES, least_squares
from ctsr.losses.ssim import SSIMLoss
from ctsr.networks.patchgan import PatchGAN
from ctsr.networks.sr_cyclegan import EnlargingGenerator, ReducingGenerator, blown_up, shrunk
from ctsr.records.card import ModelCard
from ctsr.training.callbacks.panels import Column
from lightning_modules.gan import GAN, NOT_HYPERPARAMETERS, ratio_of_std, to_unit
from lightning_modules.image_pool import ImagePool


class SRCycleGAN(GAN):
    """One cycle between clinical images y and µCT images x of eight times their size.

    L = L_GAN(GA, DA) + L_GAN(GB, DB) + lambda_cycle (|GB(GA(y)) - y| + |GA(GB(x)) - x|)
      + lambda_scale (|avg(GA(y)) - y| + L_S(avg(GA(y)), y) + |rep(GB(x)) - x| + L_S(rep(GB(x)), x)),

    with avg the mean over 8x8 pixels and rep the repetition of pixels. The identity term of the authors' code, which
    makes images of 2048x2048 pixels, is left out.

    Args:
        networks: Arguments of `GA` (`EnlargingGenerator`), `GB` (`ReducingGenerator`), `DA` and `DB` (`PatchGAN`).
        loss: `lambda_cycle`, `lambda_scale` and `ssim` (arguments of `SSIMLoss`).
        optimizer: See `GAN`.
        pool_size: Past fakes that each discriminator may see.
        aligned_fraction: Share of a batch whose y is f(x) of the same place: 0.25 in the authors' code, 0 in the text.
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
        aligned_fraction: float,
        seed: int,
        card: ModelCard,
        accumulate: int = 1,
        lr_factor: float = 1.0,
    ) -> None:
        super().__init__(optimizer=optimizer, card=card, accumulate=accumulate, lr_factor=lr_factor)
        self.save_hyperparameters(ignore=NOT_HYPERPARAMETERS, logger=False)
        self.f = GaussianPyramid()
        self.GA, self.GB = EnlargingGenerator(**networks["GA"]), ReducingGenerator(**networks["GB"])
        self.DA, self.DB = PatchGAN(**networks["DA"]), PatchGAN(**networks["DB"])
        self.loss, self.aligned_fraction = dict(loss), aligned_fraction
        self.L_S = SSIMLoss(**loss["ssim"])
        self.pools = {"DA": ImagePool(pool_size, 2 * seed), "DB": ImagePool(pool_size, 2 * seed + 1)}
        measures = MetricCollection(
            {"ssim": StructuralSimilarityIndexMeasure(data_range=1.0), "psnr": PeakSignalNoiseRatio(data_range=1.0)}
        )
        self.measures = nn.ModuleDict({"GA": measures.clone("val/"), "bicubic": measures.clone("val/bicubic_")})

    def sides(self) -> tuple[Iterable[nn.Module], Iterable[nn.Module]]:
        """(GA, GB) and (DA, DB)."""
        return (self.GA, self.GB), (self.DA, self.DB)

    @property
    def enlarger(self) -> EnlargingGenerator:
        """What is validated and used."""
        return self.GA

    def images(self, batch: dict[str, Tensor], first: int) -> tuple[Tensor, Tensor]:
        """X and y, some of which are f(x); `first` is the number of the first patch in the global batch."""
        x, y = batch["micro"], batch["clinical"]
        share = self.aligned_fraction
        aligned = [int((first + k + 1) * share) > int((first + k) * share) for k in range(len(y))]
        return x, torch.where(torch.tensor(aligned, device=y.device)[:, None, None, None], self.f(batch["slab"]), y)

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        """One step of both generators, then one of both discriminators."""
        generators, discriminators = self.both_optimizers()
        parts = self.parts(batch)
        first = self.global_rank * len(batch["micro"])
        images = [self.images(part, first + k * len(part["micro"])) for k, part in enumerate(parts)]
        fakes_x, fakes_y = [], []
        cycle, scale = self.loss["lambda_cycle"], self.loss["lambda_scale"]

        with self.descent(generators) as down:
            for x, y in images:
                fake_x, fake_y = self.GA(y), self.GB(x)
                small, large = shrunk(fake_x), blown_up(fake_y)
                down.add(
                    {
                        "GA_adversarial": least_squares(self.DA(fake_x), real=True),
                        "GB_adversarial": least_squares(self.DB(fake_y), real=True),
                        "cycle_x": cycle * l1_loss(self.GA(fake_y).float(), x),
                        "cycle_y": cycle * l1_loss(self.GB(fake_x).float(), y),
                        "scale_x": scale * (l1_loss(small, y) + self.L_S(small, y)),
                        "scale_y": scale * (l1_loss(large, x) + self.L_S(large, x)),
                    }
                )
                fakes_x.append(fake_x.detach())
                fakes_y.append(fake_y.detach())

        with self.descent(discriminators) as judged:
            for (x, y), past_x, past_y in zip(images, self.past("DA", fakes_x), self.past("DB", fakes_y), strict=True):
                judged.add(
                    {
                        "DA": (least_squares(self.DA(x), real=True) + least_squares(self.DA(past_x), real=False)) / 2,
                        "DB": (least_squares(self.DB(y), real=True) + least_squares(self.DB(past_y), real=False)) / 2,
                    }
                )

        self.ratio_of_std = {
            "GA": ratio_of_std(fakes_x, [x for x, _ in images]),
            "GB": ratio_of_std(fakes_y, [y for _, y in images]),
        }
        self.report(down.losses | judged.losses)

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        """SSIM and PSNR of GA(GB(x)) against x on [0, 1], beside bicubic enlargement."""
        x = batch["micro"]
        y = self.GB(x)
        for method, image in {"GA": self.GA(y), "bicubic": bicubic(y.float())}.items():
            measures = self.measures[method]
            measures(to_unit(image), to_unit(x))
            self.log_dict(measures, on_epoch=True, prog_bar=method == "GA")  # type: ignore[arg-type]

    @torch.no_grad()
    def panels(self, batch: dict[str, Tensor]) -> dict[str, list[Column]]:
        """Both ways, and back."""
        x, y = batch["micro"], batch["clinical"]
        fake_x, fake_y = self.GA(y), self.GB(x)
        back_x, back_y = self.GA(fake_y), self.GB(fake_x)
        return {
            "clinical": [
                Column("clinical y", y),
                Column("bicubic", bicubic(y.float())),
                Column("GA(y)", fake_x),
                Column("GB(GA(y)) − y", back_y - y, difference=True),
            ],
            "pairs": [
                Column("x", x),
                Column("GB(x)", fake_y),
                Column("GA(GB(x))", back_x),
                Column("GA(GB(x)) − x", back_x - x, difference=True),
            ],
        }
