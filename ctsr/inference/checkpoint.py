"""What a checkpoint holds, read without executing anything in it."""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from ctsr.errors import UserError
from ctsr.imaging.grey_map import GreyMap, to_clinical
from ctsr.imaging.intensity import Window
from ctsr.methods import current_name
from ctsr.networks.sr_cyclegan import EnlargingGenerator, ReducingGenerator
from ctsr.networks.srresnet import SRResNet
from ctsr.networks.synthesis import build_g1

FORMAT = 3
"""The layout of the "ctsr" entry that this program writes and reads. 2: grey maps. 3: hashes of what was trained on."""

AVERAGE = "average.module."
"""Where the running average of GS's weights is, if training kept one: it is what to use."""

Network = TypeVar("Network", bound=nn.Module)


@dataclass(frozen=True)
class SRModel:
    """A trained super-resolution network and what it must be given.

    Attributes:
        GS: The network, in eval mode on the CPU: GS, or SR-CycleGAN's GA.
        meta: The checkpoint's "ctsr" entry: stage, networks, windows, spacings, cases, versions, configuration.
        path: The file it came from.
        sha256: That file's hash.
    """

    GS: SRResNet | EnlargingGenerator
    meta: Mapping[str, Any]
    path: Path
    sha256: str

    def window(self, domain: str) -> Window:
        """The grey window of a domain, "clinical" or "micro", that became [-1, 1] in training."""
        low, high = self.meta["windows"][domain]
        return Window(float(low), float(high))

    @property
    def to_clinical(self) -> GreyMap:
        """Greys of f(x) to clinical ones, both in [-1, 1]."""
        return to_clinical({name: GreyMap.from_dict(plain) for name, plain in self.meta["grey_maps"].items()})

    @property
    def hu(self) -> Window:
        """HU of a result's -1 and +1: air and tissue come out as such where a training knew them in its µCT.

        Otherwise those of the clinical window, whose ends the µCT's greys share by convention only.
        """
        clinical = self.window("clinical")
        if "calibrated" not in self.meta["grey_maps"]:
            return clinical
        low, high = clinical.restore(self.to_clinical.apply((-1.0, 1.0)))
        return Window(float(low), float(high))

    @property
    def spacing(self) -> tuple[float, float]:
        """In-plane pixel size (y, x) in millimetres of the clinical images seen in training."""
        y, x = self.meta["spacing"]["clinical"]
        return float(y), float(x)


def load_sr(path: Path | str) -> SRModel:
    """Load the enlarging network of a checkpoint of stage `sr` or `sr_cyclegan`; no other file is needed.

    Raises:
        UserError: If the file is missing, is no checkpoint of this program, has another format or comes from stage
            `synth`.
    """
    path = Path(path)
    checkpoint = _read(path)
    meta = checkpoint["ctsr"]
    if meta.get("stage") == "synth":
        raise UserError(f"{path} is a synth checkpoint: train stage=sr with synth_ckpt={path} first")
    GS: SRResNet | EnlargingGenerator
    if meta.get("stage") == "sr_cyclegan":
        GS = _build(path, checkpoint, "GA", EnlargingGenerator, "GA.")
    else:
        averaged = any(name.startswith(AVERAGE) for name in checkpoint["state_dict"])
        GS = _build(path, checkpoint, "GS", SRResNet, AVERAGE if averaged else "GS.")
    with path.open("rb") as stream:
        sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
    return SRModel(GS, meta, path, sha256)


def check_comparable(models: Sequence[SRModel]) -> None:
    """Make sure that the same prepared cases can be asked of all models.

    Raises:
        UserError: Two were trained on images prepared in different ways, or share name and seed.
    """
    first = models[0]
    for model in models[1:]:
        for key, value in first.meta["preparation"].items():
            if model.meta["preparation"][key] != value:
                raise UserError(
                    f"{model.path} was trained with {key}={model.meta['preparation'][key]}, {first.path} with {value}: "
                    "they cannot be compared"
                )
    known: dict[tuple[str, int], Path] = {}
    for model in models:
        who = model.meta["name"], model.meta["seed"]
        if who in known:
            raise UserError(f"{model.path} and {known[who]} are both {who[0]}, seed {who[1]}: give name= in training")
        known[who] = model.path


def load_g1(path: Path | str) -> tuple[nn.Module, Mapping[str, Any]]:
    """Load the synthesizing generator G1 of a checkpoint of stage `synth` or `sr`.

    Returns:
        G1 in eval mode on the CPU, and the checkpoint's "ctsr" entry.

    Raises:
        UserError: If the file is missing, is no checkpoint of this program, has another format, or has no G1.
    """
    path = Path(path)
    checkpoint = _read(path)
    # Stage sr holds G1 frozen inside a wrapper.
    frozen = any(name.startswith("G1.net.") for name in checkpoint["state_dict"])
    G1 = _build(path, checkpoint, "G1", build_g1, "G1.net." if frozen else "G1.")
    return G1, checkpoint["ctsr"]


def load_gb(path: Path | str) -> nn.Module:
    """Load the reducing generator GB of a checkpoint of stage `sr_cyclegan`, in eval mode on the CPU.

    Raises:
        UserError: As `load_g1`.
    """
    return _build(Path(path), _read(Path(path)), "GB", ReducingGenerator, "GB.")


def read_card(path: Path | str) -> Mapping[str, Any]:
    """Read what a checkpoint says of itself, its "ctsr" entry, without its weights; errors as of `load_g1`."""
    card: Mapping[str, Any] = _read(Path(path), mmap=True)["ctsr"]
    return card


def read_resumable(path: Path | str) -> Mapping[str, Any]:
    """`read_card` of a checkpoint that a training can go on from.

    Raises:
        UserError: As of `load_g1`; or the checkpoint holds networks alone.
    """
    checkpoint = _read(Path(path), mmap=True)
    if "optimizer_states" not in checkpoint:
        raise UserError(f"resume: {path} holds networks alone, to use: give a run's checkpoints/last.ckpt")
    card: Mapping[str, Any] = checkpoint["ctsr"]
    return card


def _read(path: Path, mmap: bool = False) -> dict[str, Any]:
    if not path.is_file():
        raise UserError(f"{path} is not a file: ckpt= needs a checkpoint, such as <run folder>/checkpoints/last.ckpt")
    foreign = UserError(f"{path} is not a ctsr checkpoint: give a .ckpt file that train.py wrote")
    try:
        checkpoint: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True, mmap=mmap)
    except (pickle.UnpicklingError, RuntimeError, EOFError, KeyError, ValueError, AttributeError) as error:
        raise foreign from error
    meta = checkpoint.get("ctsr") if isinstance(checkpoint, dict) else None
    if not isinstance(meta, dict) or "state_dict" not in checkpoint or not isinstance(meta.get("format"), int):
        raise foreign
    if meta["format"] != FORMAT:
        remedy = "update ctsr" if meta["format"] > FORMAT else "train it again, or use the ctsr that wrote it"
        raise UserError(f"{path} has checkpoint format {meta['format']}, this ctsr reads format {FORMAT}: {remedy}")
    meta["name"] = current_name(meta["name"], meta.get("networks", {}))
    return checkpoint


def _build(
    path: Path, checkpoint: Mapping[str, Any], name: str, network: Callable[..., Network], prefix: str
) -> Network:
    """Build a network from plain arguments and fill in its weights, all of them and no others."""
    arguments = checkpoint["ctsr"].get("networks", {}).get(name)
    if arguments is None:
        raise UserError(f"{path} holds no network {name}: give a checkpoint of stage sr")
    weights: dict[str, Tensor] = {
        key.removeprefix(prefix): value for key, value in checkpoint["state_dict"].items() if key.startswith(prefix)
    }
    try:
        net = network(**arguments)
        net.load_state_dict(weights)
    except (TypeError, ValueError, RuntimeError) as error:
        raise UserError(f"{path} is damaged: its weights do not fit its description of {name}") from error
    return net.eval().requires_grad_(False)
