"""Stage `sr`: the SRGAN that learns GS on pairs made on the fly, section 2.3 of the paper.

| paper | here |
| --- | --- |
| x | `batch["micro"]`, `x` |
| ŷ = G1(f(x)) | `y`, made without gradients by the frozen G1 |
| GS(ŷ) | `made` |
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss
from torchmetrics import MetricCollection
from torchmetrics.image import PeakSignalNoiseRatio, StructuralSimilarityIndexMeasure

from ctsr.evaluation.measures.grid_peak import GridPeak
from ctsr.imaging.interpolation import bicubic
from ctsr.imaging.pyramid import GaussianPyramid
from ctsr.losses.adversarial import GUESSED_CROSS_ENTROPY, cross_entropy
from ctsr.networks.average import exponential_average
from ctsr.networks.frozen import Frozen
from ctsr.networks.scanner import ScannerGenerator
from ctsr.networks.sr_discriminator import SRDiscriminator
from ctsr.networks.srresnet import SRResNet
from ctsr.networks.synthesis import build_g1
from ctsr.records.card import ModelCard
from ctsr.training.callbacks.panels import Column
from lightning_modules.gan import GAN, NOT_HYPERPARAMETERS, ratio_of_std, to_unit


class SRGAN(GAN):
    """L(GS) = L_2(GS) + lambda L_A(GS), eq. (5), on pairs (G1(f(x)), x) with G1 frozen.

    Args:
        networks: Arguments of `G1` (`build_g1`), `GS` (`SRResNet`) and `DS` (`SRDiscriminator`).
        loss: `lambda_adv`, and `warmup`: the share of the batches, at first, that train on L_2 alone.
        optimizer: See `GAN`.
        margin: Pixels of ŷ (and 8 times as many of x) cut off on each side of a pair before GS sees it. Near the border
            of a patch f() and G1 see reflected data, which no scan has.
        ema: Decay of a running average of GS's weights, which is what is validated and used; None: GS itself is.
        noise: Least and largest factor of G1's noise. Each patch has its own scanner: GS shall serve others than those
            that G1 learned from.
        spread: Least and largest factor of a scanner G1's point spread.
        G1_weights: What G1 has learned; None: a checkpoint will bring it.
        card: See `GAN`; its grey maps serve the interpolation beside which GS is judged.
        accumulate: See `GAN`.
        lr_factor: See `GAN`.
    """

    guessed = GUESSED_CROSS_ENTROPY

    def __init__(
        self,
        *,
        networks: Mapping[str, Any],
        loss: Mapping[str, Any],
        optimizer: Mapping[str, Any],
        margin: int = 0,
        ema: float | None = None,
        noise: Sequence[float] = (1.0, 1.0),
        spread: Sequence[float] = (1.0, 1.0),
        G1_weights: Mapping[str, Tensor] | None = None,
        card: ModelCard,
        accumulate: int = 1,
        lr_factor: float = 1.0,
    ) -> None:
        super().__init__(optimizer=optimizer, card=card, accumulate=accumulate, lr_factor=lr_factor)
        self.save_hyperparameters(ignore=NOT_HYPERPARAMETERS, logger=False)
        self.f = GaussianPyramid()
        G1 = build_g1(**networks["G1"])
        if G1_weights is not None:
            G1.load_state_dict(G1_weights)
        self.G1 = Frozen(G1)
        self.GS, self.DS = SRResNet(**networks["GS"]), SRDiscriminator(**networks["DS"])
        self.average = exponential_average(self.GS, ema) if ema else None
        self.loss, self.margin, self.noise, self.psf_range = dict(loss), margin, noise, spread
        measures = MetricCollection(
            {"ssim": StructuralSimilarityIndexMeasure(data_range=1.0), "psnr": PeakSignalNoiseRatio(data_range=1.0)}
        )
        self.measures = nn.ModuleDict(
            {"GS": measures.clone(prefix="val/")}
            | {name: measures.clone(prefix=f"val/{name}_") for name in ("bicubic", "bicubic_mapped")}
        )
        self.grid, self.bicubic_grid = GridPeak(), GridPeak()
        self.to(memory_format=torch.channels_last)

    def sides(self) -> tuple[Iterable[nn.Module], Iterable[nn.Module]]:
        """(GS,) and (DS,)."""
        return (self.GS,), (self.DS,)

    @property
    def enlarger(self) -> SRResNet:
        """What is validated and used: GS, or its average."""
        network = self.GS if self.average is None else self.average.module
        assert isinstance(network, SRResNet)
        return network

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Moves the schedules on, and the average."""
        super().on_train_batch_end(outputs, batch, batch_idx)
        if self.average is not None:
            self.average.update_parameters(self.GS)

    def pair(self, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """A clinical-like image ŷ = G1(f(x)), clipped as real ones are, and the µCT image x that it was made from.

        With true pairs, the ceiling of a phantom, ŷ is the clinical image of the same place.
        """
        y = batch["aligned"] if "aligned" in batch else self.scanned(batch).clamp(-1, 1)
        return inner(y, self.margin), inner(batch["micro"], self.f.scale * self.margin)

    def scanned(self, batch: dict[str, Tensor]) -> Tensor:
        """G1(f(x)), each image by a scanner of its own within the ranges around G1."""
        noisier, wider = (
            low + (high - low) * draws
            for (low, high), draws in zip((self.noise, self.psf_range), batch["scanner"].unbind(dim=1), strict=True)
        )
        noise = noisier[:, None, None, None] * batch["noise"]
        fx = self.f(batch["slab"])
        y: Tensor = self.G1(fx, noise, wider) if isinstance(self.G1.net, ScannerGenerator) else self.G1(fx, noise)
        return y

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        """One step of GS, then one of DS."""
        generator, discriminator = self.both_optimizers()
        pairs = [self.pair(part) for part in self.parts(batch)]
        enlarged = []

        with self.descent(generator) as down:
            for y, x in pairs:
                made = self.GS(y)
                losses = {"L2": mse_loss(made.float(), x)}
                if self.adversarial:
                    losses["adversarial"] = self.loss["lambda_adv"] * cross_entropy(self.DS(made), real=True)
                down.add(losses)
                enlarged.append(made.detach())
        losses = down.losses

        if self.adversarial:
            with self.descent(discriminator) as judged:
                for (_, x), made in zip(pairs, enlarged, strict=True):
                    judged.add(
                        {
                            "DS_real": cross_entropy(self.DS(x), real=True),
                            "DS_fake": cross_entropy(self.DS(made), real=False),
                        }
                    )
            losses = losses | judged.losses

        self.ratio_of_std = {"GS": ratio_of_std(enlarged, [x for _, x in pairs])}
        self.report(losses)

    @property
    def adversarial(self) -> bool:
        """Whether the warm-up on L_2 alone is over, and lambda is not zero."""
        done = self.trainer.fit_loop.epoch_loop.total_batch_idx
        return bool(self.loss["lambda_adv"]) and done >= self.loss["warmup"] * self.trainer.estimated_stepping_batches

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        """SSIM and PSNR of GS(ŷ) against x on [0, 1], beside bicubic enlargement, as it is and of mapped greys.

        And what grid GS(ŷ) and bicubic enlargement show.
        """
        y, x = self.pair(batch)
        images = {
            "GS": self.enlarger(y),
            "bicubic": bicubic(y.float()),
            "bicubic_mapped": bicubic(self.mapped(y, "synthetic")),
        }
        for method, image in images.items():
            measures = self.measures[method]
            measures(to_unit(image), to_unit(x))
            self.log_dict(measures, on_epoch=True, prog_bar=method == "GS")  # type: ignore[arg-type]
        self.grid.update(to_unit(images["GS"]))
        self.bicubic_grid.update(to_unit(images["bicubic"]))

    def on_validation_epoch_end(self) -> None:
        """The grids, where patches are large enough to show one."""
        for name, grid in (("val/grid_peak", self.grid), ("val/bicubic_grid_peak", self.bicubic_grid)):
            if not (peak := grid.compute()).isnan():
                self.log(name, peak, sync_dist=True)
            grid.reset()

    def mapped(self, y: Tensor, greys: Literal["clinical", "synthetic"]) -> Tensor:
        """Clinical images, real or made by G1, with their greys mapped to those of f(x)."""
        return torch.from_numpy(self.card.grey_maps[greys].apply(y.float().cpu().numpy())).to(y.device)

    @torch.no_grad()
    def panels(self, batch: dict[str, Tensor]) -> dict[str, list[Column]]:
        """Pairs as in training, and real clinical patches as in the paper's Fig. 4."""
        y, x = self.pair(batch)
        made = self.enlarger(y)
        panels = {
            "pairs": [
                Column("G1(f(x))", y),
                Column("bicubic, greys mapped", bicubic(self.mapped(y, "synthetic"))),
                Column("GS(G1(f(x)))", made),
                Column("x", x),
                Column("GS(G1(f(x))) − x", made - x, difference=True),
            ]
        }
        if "clinical" in batch:
            real = batch["clinical"]
            enlarged = self.enlarger(real)
            change = self.f(enlarged.float()) - self.mapped(real, "clinical")
            panels["clinical"] = [
                Column("clinical y", real),
                Column("bicubic", bicubic(real.float())),
                Column("GS(y)", enlarged),
                Column("f(GS(y)) − y, mapped", change, difference=True),
            ]
        return panels


def inner(image: Tensor, margin: int) -> Tensor:
    """(N, C, H, W) without a margin on each side."""
    return image[..., margin : image.shape[-2] - margin, margin : image.shape[-1] - margin]
