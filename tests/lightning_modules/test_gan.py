"""The training steps against the paper's equations, worked out beside them from the modules' own networks."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.plugins import MixedPrecision
from skimage.metrics import structural_similarity
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from ctsr.checkpoint import weights_digest
from ctsr.errors import UserError
from ctsr.evaluation.measures.synthesis_distance import DISTANCES
from ctsr.imaging.interpolation import bicubic
from ctsr.imaging.pyramid import GaussianPyramid
from ctsr.losses.detail import detail_loss
from ctsr.networks.synthesis import Unchanged
from lightning_modules import SRGAN, CycleGANSSIM, SRCycleGAN
from lightning_modules.gan import GAN, linear_decay, step_decay
from tests.checkpoints import STRAIGHT, card
from tests.conftest import REPOSITORY

OPTIMIZER = {"lr": 1e-3, "betas": [0.5, 0.999], "decay": "linear", "decay_start": 0.5, "clip": None}
TRANSLATOR = {"filters": 4, "blocks": 1, "norm": "instance", "residual": False}
SSIM = {"C1": 0.02, "C2": 0.06, "window": 11}


class Patches(Dataset[dict[str, Tensor]]):
    def __len__(self) -> int:
        return 16

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        generator = torch.Generator().manual_seed(index)
        x = torch.rand(1, 96, 96, generator=generator) * 2 - 1
        y = torch.rand(1, 12, 12, generator=generator) * 2 - 1
        return {
            "micro": x,
            "slab": 0.5 * x,
            "clinical": y,
            "noise": torch.randn(1, 12, 12, generator=generator),
            "scanner": torch.rand(2, generator=generator),
        }


def synth(G1: dict[str, Any] = TRANSLATOR, detail: float = 0.5, accumulate: int = 1, **optimizer: Any) -> CycleGANSSIM:
    torch.manual_seed(0)
    judge = {"filters": 4, "layers": 1, "norm": "none"}
    weights = {"lambda_cycle": 10.0, "lambda_identity": 5.0, "lambda1": 0.5, "lambda2": 0.4}
    return CycleGANSSIM(
        networks={"G1": G1, "G2": TRANSLATOR, "D1": judge, "D2": judge},
        loss=weights | {"lambda_detail": detail, "ssim": SSIM},
        optimizer=OPTIMIZER | optimizer,
        pool_size=6,
        seed=0,
        card=card(),
        accumulate=accumulate,
    )


def sr(
    warmup: float = 0.0,
    norm: str = "batch",
    margin: int = 0,
    ema: float | None = None,
    accumulate: int = 1,
    synthetic: dict[str, list[float]] = STRAIGHT,
    **optimizer: Any,
) -> SRGAN:
    torch.manual_seed(0)
    return SRGAN(
        networks={
            "G1": TRANSLATOR | {"norm": "batch"},
            "GS": {"channels": 4, "blocks": 1, "kernel": 3, "norm": norm},
            "DS": {"filters": 2, "pairs": 2, "features": 4},
        },
        loss={"lambda_adv": 0.001, "warmup": warmup},
        optimizer=OPTIMIZER | optimizer,
        margin=margin,
        ema=ema,
        card=card(grey_maps={"clinical": STRAIGHT, "synthetic": synthetic}),
        accumulate=accumulate,
    )


def fit(module: LightningModule, epochs: int = 1, batches: int = 4, **settings: Any) -> Trainer:
    trainer = Trainer(
        max_epochs=epochs,
        limit_train_batches=batches,
        limit_val_batches=1,
        num_sanity_val_steps=0,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **settings,
    )
    loader = DataLoader(Patches(), batch_size=2)
    trainer.fit(module, loader, loader)
    return trainer


def recorded(module: GAN) -> dict[str, list[float]]:
    """Every loss term that the module reports, by name."""
    terms: dict[str, list[float]] = {}

    def report(losses: dict[str, Tensor]) -> None:
        for name, value in losses.items():
            terms.setdefault(name, []).append(float(value))

    module.report = report  # type: ignore[method-assign,assignment]
    return terms


def sr_cyclegan() -> SRCycleGAN:
    torch.manual_seed(0)
    judge, tiny = {"filters": 4, "layers": 1, "norm": "none"}, {"filters": 8, "blocks": 0}
    return SRCycleGAN(
        networks={"GA": tiny, "GB": tiny, "DA": judge, "DB": judge},
        loss={"lambda_cycle": 1.0, "lambda_scale": 1.0, "ssim": SSIM},
        optimizer=OPTIMIZER,
        pool_size=3,
        aligned_fraction=0.25,
        seed=0,
        card=card(stage="sr_cyclegan"),
    )


@pytest.mark.parametrize("G1", [TRANSLATOR, TRANSLATOR | {"noise": True}, {"kind": "scanner", "noise": True}])
@torch.no_grad()
def test_synth_terms_are_equation_2(G1: dict[str, Any]) -> None:
    module = synth(G1)
    batch = torch.utils.data.default_collate([Patches()[0], Patches()[1]])
    fx, y = GaussianPyramid()(batch["slab"]), batch["clinical"]
    G1, G2, D1, D2 = module.G1, module.G2, module.D1, module.D2
    fake_y = G1(fx, batch["noise"])
    ones = torch.ones_like(D1(y))
    expected = {
        "G1_adversarial": ((D1(fake_y) - ones) ** 2).mean(),
        "G2_adversarial": ((D2(G2(y)) - ones) ** 2).mean(),
        "cycle_x": 10 * (G2(G1(fx)) - fx).abs().mean(),
        "cycle_y": 10 * (G1(G2(y)) - y).abs().mean(),
        "identity_x": 5 * (G2(fx) - fx).abs().mean(),
        "identity_y": 5 * (G1(y) - y).abs().mean(),
        "ssim_x": 0.5 * module.L_S(fx, G1(fx)),
        "detail": 0.5 * detail_loss(fake_y, y, 2),
        "ssim_y": 0.4 * module.L_S(y, G2(y)),
    }
    terms = recorded(module)
    with torch.enable_grad():
        fit(module, batches=1)
    for name, value in expected.items():
        assert terms[name][0] == pytest.approx(float(value), rel=1e-4), name


@torch.no_grad()
def test_sr_terms_are_equations_3_to_5() -> None:
    module = sr(norm="none").train()
    batch = torch.utils.data.default_collate([Patches()[0], Patches()[1]])
    made = module.GS(module.G1(GaussianPyramid()(batch["slab"])).clamp(-1, 1))
    expected_l2 = ((made - batch["micro"]) ** 2).mean()
    expected_adversarial = -0.001 * torch.log(torch.sigmoid(module.DS(made))).mean()
    terms = recorded(module)
    with torch.enable_grad():
        fit(module, batches=1)
    assert terms["L2"][0] == pytest.approx(float(expected_l2), rel=1e-4)
    assert terms["adversarial"][0] == pytest.approx(float(expected_adversarial), rel=1e-3)


@torch.no_grad()
@pytest.mark.parametrize("kind", ["scanner", "resnet"])
def test_each_pair_is_of_a_scanner_of_its_own(kind: str) -> None:
    G1 = {"kind": "scanner", "noise": True} if kind == "scanner" else TRANSLATOR | {"noise": True}
    networks = {
        "G1": G1,
        "GS": {"channels": 4, "blocks": 1, "kernel": 3, "norm": "none"},
        "DS": {"filters": 2, "pairs": 2, "features": 4},
    }
    torch.manual_seed(0)
    module = SRGAN(
        networks=networks,
        loss={"lambda_adv": 0.0},
        optimizer=OPTIMIZER,
        noise=(1.0, 3.0),
        spread=(0.5, 1.5),
        card=card(),
    )
    batch = next(iter(DataLoader(Patches(), batch_size=2)))
    batch["scanner"] = torch.tensor([[0.0, 0.5], [1.0, 1.0]])
    y, _ = module.pair(batch)
    fx = module.f(batch["slab"])
    wider = ([torch.tensor([1.0])], [torch.tensor([1.5])]) if kind == "scanner" else ([], [])
    for image, times, widths in zip(range(2), (1.0, 3.0), wider, strict=True):
        expected = module.G1(fx[image, None], times * batch["noise"][image, None], *widths).clamp(-1, 1)
        torch.testing.assert_close(y[image, None], expected)


def test_margin_leaves_pairs_that_fit() -> None:
    batch = torch.utils.data.default_collate([Patches()[0], Patches()[1]])
    (whole, x), (cut, x_cut) = sr(margin=0).eval().pair(batch), sr(margin=3).eval().pair(batch)
    torch.testing.assert_close(cut, whole[..., 3:9, 3:9])
    torch.testing.assert_close(x_cut, x[..., 24:72, 24:72])


def test_each_side_moves_by_its_own_loss_only() -> None:
    module = synth()
    gradients: dict[str, set[bool]] = {"G": set(), "D": set()}
    generators = {id(p) for net in module.sides()[0] for p in net.parameters()}

    def before(optimizer: torch.optim.Optimizer) -> None:
        mine = [id(p) in generators for group in optimizer.param_groups for p in group["params"]]
        assert all(mine) or not any(mine)
        others = [p for p in module.parameters() if (id(p) in generators) != mine[0]]
        gradients["G" if mine[0] else "D"].add(any(p.requires_grad for p in others))

    module.on_before_optimizer_step = before  # type: ignore[method-assign]
    fit(module, batches=2)
    assert gradients == {"G": {False}, "D": {False}}, "the other side's gradients are off in each step"


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_g1_is_the_same_bytes_after_stage_sr(precision: str) -> None:
    module = sr(warmup=0.5)
    before = {name: value.clone() for name, value in module.G1.state_dict().items()}
    other = {name: value.clone() for name, value in module.GS.state_dict().items()}
    fit(module, epochs=2, precision=precision)
    assert all(torch.equal(before[name], value) for name, value in module.G1.state_dict().items())
    assert not all(torch.equal(other[name], value) for name, value in module.GS.state_dict().items())
    optimised = {id(p) for optimizer in module.trainer.optimizers for g in optimizer.param_groups for p in g["params"]}
    assert not optimised & {id(p) for p in module.G1.parameters()}


def test_warmup_trains_on_l2_alone() -> None:
    module = sr(warmup=0.5)
    terms = recorded(module)
    before = [p.clone() for p in module.DS.parameters()]
    fit(module, epochs=2, batches=4)
    assert len(terms["L2"]) == 8
    assert len(terms["adversarial"]) == len(terms["DS_real"]) == 4
    assert any(not torch.equal(a, b) for a, b in zip(before, module.DS.parameters(), strict=True))


def test_learning_rate_is_constant_then_falls() -> None:
    # CycleGAN: 200 epochs, constant for 100, then linearly to zero; SRGAN: a tenth at half time.
    assert [linear_decay(step, 200, 0.5) for step in (0, 99, 100, 150, 200)] == pytest.approx([1, 1, 1, 0.5, 0])
    assert [step_decay(step, 200, 0.5) for step in (0, 99, 100, 199)] == [1, 1, 0.1, 0.1]
    module = synth()
    rates: list[float] = []
    module.report = lambda losses: rates.append(module.both_optimizers()[0].param_groups[0]["lr"])  # type: ignore
    fit(module, epochs=2, batches=4)
    assert rates == pytest.approx([1e-3] * 5 + [0.75e-3, 0.5e-3, 0.25e-3])


def test_clipping_bounds_the_gradients_of_a_side() -> None:
    module = synth(clip=0.01)
    norms: list[float] = []
    clip = module.on_before_optimizer_step

    def after_clipping(optimizer: torch.optim.Optimizer) -> None:
        clip(optimizer)
        gradients = [p.grad.flatten() for g in optimizer.param_groups for p in g["params"] if p.grad is not None]
        norms.append(float(torch.cat(gradients).norm()))

    module.on_before_optimizer_step = after_clipping  # type: ignore[method-assign]
    fit(module, batches=2)
    assert len(norms) == 4
    assert max(norms) == pytest.approx(0.01, rel=1e-3)


def test_validation_metrics_are_those_of_all_images_together() -> None:
    module = synth()
    trainer = fit(module)
    with torch.no_grad():
        fx = module.f(torch.utils.data.default_collate([Patches()[0], Patches()[1]])["slab"])
        pairs = zip(((module.G1(fx) + 1) / 2).clamp(0, 1), ((fx + 1) / 2).clamp(0, 1), strict=True)
    expected = []
    for made, given in pairs:
        _, full = structural_similarity(
            np.pad(made[0].double().numpy(), 5, mode="reflect"),
            np.pad(given[0].double().numpy(), 5, mode="reflect"),
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
            data_range=1.0,
            full=True,
        )
        expected.append(full[5:-5, 5:-5].mean())
    assert float(trainer.callback_metrics["val/ssim_G1"]) == pytest.approx(sum(expected) / 2, abs=1e-4)


def test_sr_stands_beside_mapped_bicubic() -> None:
    """Where the map is known to undo what G1 does to the greys, mapped bicubic comes nearer to x than bicubic."""
    module = sr(synthetic={"knots": [-1.0, 1.0], "values": [-2.0, 2.0]})  # Patches: slab = x / 2
    module.G1.net = Unchanged()
    metrics = fit(module).callback_metrics
    x = torch.utils.data.default_collate([Patches()[0], Patches()[1]])["micro"]
    made = torch.nn.functional.interpolate(2 * module.f(0.5 * x), scale_factor=8, mode="bicubic").clamp(-1, 1)
    expected = -10 * np.log10(float(((made - x) / 2).square().mean()))
    assert float(metrics["val/bicubic_mapped_psnr"]) == pytest.approx(expected, abs=1e-3)
    assert {"val/ssim", "val/psnr", "val/bicubic_ssim", "val/bicubic_psnr"} <= set(metrics)


@pytest.mark.parametrize("margin", [0, 3])
def test_sr_tells_of_a_grid_where_patches_can_show_one(margin: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """96 pixels have room for a window of 64, the 48 within the margin have none."""

    def woven(y: Tensor) -> Tensor:
        enlarged = bicubic(y.float())
        return enlarged + 0.2 * torch.cos(2 * torch.pi * torch.arange(enlarged.shape[-1]) / 8)

    monkeypatch.setattr(SRGAN, "enlarger", property(lambda module: woven))
    metrics = fit(sr(margin=margin)).callback_metrics
    assert ("val/grid_peak" in metrics) == ("val/bicubic_grid_peak" in metrics) == (margin == 0)
    if margin == 0:
        assert float(metrics["val/grid_peak"]) > 10 * float(metrics["val/bicubic_grid_peak"])


@pytest.mark.parametrize(("make", "guessed"), [(synth, 0.25), (sr, math.log(2)), (sr_cyclegan, 0.25)])
def test_what_a_discriminator_that_guesses_loses(make: Callable[[], GAN], guessed: float) -> None:
    """D(.) = 1/2 everywhere: every weight is 0, and so is the last bias of one whose answers are logits."""
    module = make()
    answer = 0.0 if isinstance(module, SRGAN) else 0.5
    for judge in module.sides()[1]:
        for weight in judge.parameters():
            torch.nn.init.zeros_(weight)
        last = [bias for name, bias in judge.named_parameters() if name.endswith("bias")][-1]
        torch.nn.init.constant_(last, answer)
    terms = recorded(module)
    fit(module, batches=1)
    judged = {name: values[0] for name, values in terms.items() if name.startswith("D")}
    assert judged == pytest.approx(dict.fromkeys(judged, guessed))
    assert len(judged) == 2
    assert module.guessed == pytest.approx(guessed)


def test_a_note_is_in_every_later_checkpoint(tmp_path: Path) -> None:
    trained = sr()
    trainer = fit(trained, batches=1)
    trained.note("DS has won")
    trained.note("DS has won")
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    resumed = sr()
    resumed.note("beforehand")
    resumed.on_load_checkpoint(torch.load(tmp_path / "last.ckpt", weights_only=True))
    assert resumed.card.notes == ["beforehand", "DS has won"]


def test_synth_distances_are_those_of_all_validation_images() -> None:
    module = synth()
    metrics = fit(module).callback_metrics
    with torch.no_grad():
        batch = torch.utils.data.default_collate([Patches()[0], Patches()[1]])
        fx, y = module.f(batch["slab"]), batch["clinical"]
        for name, distance in DISTANCES.items():
            assert float(metrics[f"val/{name}"]) == pytest.approx(
                float(distance(module.G1(fx).clamp(-1, 1), y)), rel=1e-4
            )
            assert float(metrics[f"val/fx_{name}"]) == pytest.approx(float(distance(fx, y)), rel=1e-4)
            assert float(metrics[f"val/real_{name}"]) == pytest.approx(float(distance(y[:1], y[1:])), rel=1e-4)


@pytest.mark.parametrize("make", [synth, sr])
def test_panels_show_differences_of_what_stands_beside_them(make) -> None:
    batch = torch.utils.data.default_collate([Patches()[0], Patches()[1]])
    for columns in make().eval().panels(batch).values():
        images = {column.title: column.images for column in columns}
        for column in columns:
            minuend, minus, subtrahend = column.title.partition(" − ")
            assert column.difference == bool(minus)
            if minus and subtrahend in images and minuend in images:
                torch.testing.assert_close(column.images, images[minuend] - images[subtrahend])


def test_wrong_decay_is_refused() -> None:
    with pytest.raises(ValueError, match="decay must be one of linear, step, not cosine"):
        synth(decay="cosine")


@pytest.mark.parametrize(
    ("make", "hyperparameters"),
    [
        (synth, {"networks", "loss", "optimizer", "pool_size", "seed"}),
        (
            lambda: sr(ema=0.9, synthetic={"knots": [-1.0, 1.0], "values": [-2.0, 2.0]}),
            {"networks", "loss", "optimizer", "margin", "ema", "noise", "spread"},
        ),
        (sr_cyclegan, {"networks", "loss", "optimizer", "pool_size", "aligned_fraction", "seed"}),
    ],
)
def test_a_checkpoint_gives_the_whole_module(
    make: Callable[[], GAN], hyperparameters: set[str], tmp_path: Path
) -> None:
    trained = make()
    fit(trained, batches=3).save_checkpoint(tmp_path / "last.ckpt")
    assert set(torch.load(tmp_path / "last.ckpt", weights_only=True)["hyper_parameters"]) == hyperparameters
    loaded = type(trained).load_from_checkpoint(tmp_path / "last.ckpt")
    ours, theirs = trained.state_dict(), loaded.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(value, theirs[name]) for name, value in ours.items())
    assert loaded.card.to_plain() == trained.card.to_plain() | {
        "batches": 3,
        "weights_sha256": weights_digest(ours),
    }
    for name, pool in trained.pools.items():
        images = loaded.pools[name].images
        assert len(images) == len(pool.images) > 0
        assert all(torch.equal(a, b) for a, b in zip(images, pool.images, strict=True))
    y = torch.linspace(-1, 1, 144).reshape(1, 1, 12, 12)
    if isinstance(trained, SRGAN) and isinstance(loaded, SRGAN):
        assert torch.equal(loaded.mapped(y, "synthetic"), (2 * y))
        assert torch.equal(loaded.enlarger(y), trained.enlarger(y))
    again = type(trained).load_from_checkpoint(tmp_path / "last.ckpt", lr_factor=0.25, accumulate=2)
    assert (again.lr_factor, again.accumulate) == (0.25, 2)


def test_networks_alone_make_no_module() -> None:
    with pytest.raises(UserError, match=r"phantom\.ckpt holds networks alone"):
        SRGAN.load_from_checkpoint(REPOSITORY / "docs/results/phantom.ckpt")


class ScalerOnCPU(MixedPrecision):
    """16-mixed as on a GPU, with its scaler, where there is none; the arithmetic itself is bfloat16's."""

    def __init__(self) -> None:
        super().__init__("16-mixed", "cpu", torch.amp.GradScaler("cpu", init_scale=1024.0))

    def autocast_context_manager(self) -> torch.autocast:
        return torch.autocast("cpu", torch.bfloat16)


@pytest.mark.parametrize("make", [synth, sr])
def test_half_precision_with_parts_and_clipping(make) -> None:
    """Norms are seen unscaled: a scale of 1024 would show."""
    module = make(clip=0.05, accumulate=2)
    reference: list[float] = []
    norms: list[float] = []
    clip = module.on_before_optimizer_step

    def watched(optimizer: torch.optim.Optimizer) -> None:
        def norm() -> float:
            grads = [p.grad.flatten() for g in optimizer.param_groups for p in g["params"] if p.grad is not None]
            return float(torch.cat(grads).norm())

        reference.append(norm())
        clip(optimizer)
        norms.append(norm())

    module.on_before_optimizer_step = watched  # type: ignore[method-assign]
    before = [p.clone() for side in module.sides() for net in side for p in net.parameters()]
    trainer = fit(module, batches=4, plugins=[ScalerOnCPU()])
    after = [p for side in module.sides() for net in side for p in net.parameters()]
    assert len(norms) == 8
    assert trainer.precision_plugin.scaler.get_scale() == 1024.0, "no step was skipped"  # type: ignore[union-attr]
    assert max(norms) <= 0.05 * 1.001
    assert any(not torch.equal(a, b) for a, b in zip(before, after, strict=True))
    plain = make(clip=None, accumulate=2)
    first: list[float] = []

    def norm_of_plain(optimizer: torch.optim.Optimizer) -> None:
        grads = [p.grad.flatten() for g in optimizer.param_groups for p in g["params"] if p.grad is not None]
        first.append(float(torch.cat(grads).norm()))

    plain.on_before_optimizer_step = norm_of_plain  # type: ignore[method-assign]
    fit(plain, batches=1, precision="bf16-mixed")
    assert reference[0] == pytest.approx(first[0], rel=0.02), "as without a scaler"


def test_the_average_is_what_is_validated_and_trains_nothing() -> None:
    module, plain = sr(ema=0.9), sr()
    fit(module)
    fit(plain)
    for name, value in plain.GS.state_dict().items():
        assert torch.equal(value, module.GS.state_dict()[name]), "the average only follows"
    assert module.enlarger is module.average.module
    assert any(not torch.equal(a, b) for a, b in zip(module.GS.parameters(), module.enlarger.parameters(), strict=True))
    assert int(module.average.n_averaged) == 4
    assert float(module.trainer.callback_metrics["val/psnr"]) != float(plain.trainer.callback_metrics["val/psnr"])
    optimised = {id(p) for optimizer in module.trainer.optimizers for g in optimizer.param_groups for p in g["params"]}
    assert not optimised & {id(p) for p in module.average.parameters()}


def test_fx_is_not_rounded_under_autocast() -> None:
    x = torch.rand(1, 1, 64, 64)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(GaussianPyramid()(x), GaussianPyramid()(x.clone()))
        assert GaussianPyramid()(x).dtype == torch.float32
    torch.testing.assert_close(GaussianPyramid()(x).double(), GaussianPyramid()(x.double()), rtol=1e-5, atol=1e-6)
