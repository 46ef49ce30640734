"""The methods that can be trained: what each is, and what a run must be to bear its name."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ctsr.errors import UserError, as_typed

PAPER, IN_PLACE, SCANNER, CEILING, SR_CYCLEGAN = "paper", "paper_in_place", "scanner", "ceiling", "sr_cyclegan"
TWO_STAGES = ("synth", "sr", "all")


@dataclass(frozen=True)
class Method:
    """A method of `conf/method/`, or the paper's, which needs no such file.

    Attributes:
        what: One line for the screen.
        stages: Those that it has.
        keys: Configuration keys, and the values without which a run is another method.
        G1_of: The method that its G1 is taken over from; None: the same.
    """

    what: str
    stages: tuple[str, ...]
    keys: Mapping[str, Any] = field(default_factory=dict)
    G1_of: str | None = None


_PAPERS_LOSSES = {
    "networks.G1.kind": "resnet",
    "networks.G1.noise": False,
    "networks.D1.highpass": 0,
    "networks.D2.highpass": 0,
    "loss.lambda_detail": 0,
    "sr.inputs": "G1",
    "sr.noise": [1, 1],
    "sr.spread": [1, 1],
    "sr.ema": None,
}
_PAPER = _PAPERS_LOSSES | {"loss.warmup": 0, "networks.GS.skip": "none", "networks.GS.blur": False}
_KEEPING = {
    "networks.G1.residual": True,
    "networks.G1.output": "linear",
    "networks.G1.norm": "none",
    "networks.G1.downsamplings": 0,
    "networks.GS.skip": "bicubic",
    "networks.GS.blur": True,
}

METHODS: Mapping[str, Method] = {
    PAPER: Method("as published: G1 a CycleGAN's ResNet with SSIM terms, GS an SRGAN", TWO_STAGES, _PAPER),
    IN_PLACE: Method(
        "the paper's losses, with networks that keep greys and place", TWO_STAGES, _PAPERS_LOSSES | _KEEPING
    ),
    SCANNER: Method(
        "a physical model of the scanner in place of the paper's G1",
        TWO_STAGES,
        {"networks.G1.kind": "scanner", "sr.inputs": "G1"},
    ),
    "no_ssim": Method(
        "the paper's without the SSIM terms of eq. (2)", TWO_STAGES, _PAPER | {"loss.lambda1": 0, "loss.lambda2": 0}
    ),
    "l2": Method("scanner without a discriminator", ("sr",), {"sr.inputs": "G1", "loss.lambda_adv": 0}, G1_of=SCANNER),
    "fx": Method("GS learned on plain f(x), without G1", ("sr",), {"sr.inputs": "fx"}),
    "quantiles": Method("one map of greys in place of G1", ("sr",), {"sr.inputs": "quantiles"}),
    CEILING: Method("GS learned on true pairs, which nobody has of patients", ("sr",), {"sr.inputs": "pairs"}),
    SR_CYCLEGAN: Method("the paper's baseline, one CycleGAN between the two resolutions", (SR_CYCLEGAN,)),
}


def described(name: str) -> str:
    """One line that says which method a run, or a network, is of."""
    method = METHODS.get(name)
    return f"method {name}: {method.what}" if method else f"method {name}: none of the program's own"


def misnamed(name: str, stage: str, published: bool, value_of: Callable[[str], Any]) -> Iterator[str]:
    """A line for each reason why a run is not the method that its name says.

    Other names than those of `METHODS` are the user's own, and are always true.

    Args:
        name: Of the run.
        stage: What it trains.
        published: It is to be the paper's section 3.2 to the letter.
        value_of: Gives the value of a configuration key, or raises `KeyError` where the stage has no such key.
    """
    if published and name not in (PAPER, "no_ssim"):
        yield f"experiment=paper is the paper's method as printed: it does not go with method={name}"
        return
    method = METHODS.get(name)
    if method is None:
        return
    if stage not in method.stages:
        yield f"method={name} has no stage={stage}: give stage={' or '.join(method.stages)}, or leave it out"
        return
    for key, expected in method.keys.items():
        try:
            value = value_of(key)
        except KeyError:
            continue
        if value != expected:
            yield (
                f"{key}={as_typed(value)} is not the method {name}, which has {as_typed(expected)}: "
                "choose another method=, or give the run a name= of its own"
            )


def check_g1(name: str, made_by: str, path: str) -> None:
    """Make sure that stage sr takes its G1 from the method that it is of.

    Args:
        name: Of the run.
        made_by: The method that the G1 was trained with.
        path: Its checkpoint.

    Raises:
        UserError: It does not.
    """
    method = METHODS.get(name)
    if method is not None and made_by != (method.G1_of or name):
        raise UserError(
            f"synth_ckpt={path} was trained with method={made_by}, this run is method={name}, which takes G1 from "
            f"{method.G1_of or name}: give {_as_typed(made_by)}, or the run a name= of its own"
        )


def check_resumed(name: str, made_by: str, path: str) -> None:
    """Make sure that a run goes on as the method that it began as.

    Args:
        name: Of the run.
        made_by: The method of what it goes on from.
        path: That checkpoint.

    Raises:
        UserError: It does not.
    """
    if name in METHODS and made_by != name:
        raise UserError(
            f"resume: {path} was trained with method={made_by}, this run is method={name}: "
            f"give {_as_typed(made_by)}, another hydra.run.dir=, or the run a name= of its own"
        )


def current_name(name: str, networks: Mapping[str, Any]) -> str:
    """What a checkpoint's method is called now: `ours`, once the default, is `scanner` where its G1 is one."""
    return SCANNER if name == "ours" and networks.get("G1", {}).get("kind") == "scanner" else name


def _as_typed(name: str) -> str:
    """What is typed to choose a method, or a name of one's own."""
    if name == PAPER:
        return "no method="
    return f"method={name}" if name in METHODS else f"name={name}"
