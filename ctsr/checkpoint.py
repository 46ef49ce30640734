"""Checkpoints: networks with their model card, read without executing anything in the file, and checked as they are.

`python -m ctsr.checkpoint FILE` prints a checkpoint's card.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import indent
from typing import Any, BinaryIO

import torch
import yaml
from torch import Tensor, nn

from ctsr.cli import run_cli
from ctsr.errors import CollectedError, UserError
from ctsr.networks.patchgan import PatchGAN
from ctsr.networks.resnet import ResNetGenerator
from ctsr.networks.sr_cyclegan import EnlargingGenerator, ReducingGenerator
from ctsr.networks.sr_discriminator import SRDiscriminator
from ctsr.networks.srresnet import SRResNet
from ctsr.networks.synthesis import build_g1
from ctsr.records.card import FORMAT, DataCard, ModelCard, read_card

CARD = "ctsr"
"""The key of the card."""

NETWORKS: Mapping[str, Callable[..., nn.Module]] = {
    "G1": build_g1,
    "G2": ResNetGenerator,
    "D1": PatchGAN,
    "D2": PatchGAN,
    "GS": SRResNet,
    "DS": SRDiscriminator,
    "GA": EnlargingGenerator,
    "GB": ReducingGenerator,
    "DA": PatchGAN,
    "DB": PatchGAN,
}
AVERAGE = "average.module."
"""Where the running average of GS's weights is, if training kept one: it is what to use."""

FROZEN = "G1.net."
"""Where stage sr has G1."""

GOES_ON = ("optimizer_states", "lr_schedulers", "loops")
"""What a training cannot go on without."""

CURE = "use another copy of the file, or train it again"


@dataclass(frozen=True, eq=False)
class SRModel:
    """A trained super-resolution network and what it must be given.

    Attributes:
        GS: The network, in eval mode on the CPU: GS, or SR-CycleGAN's GA.
        card: What its checkpoint says of itself.
        path: The file it came from.
        sha256: That file's hash.
    """

    GS: SRResNet | EnlargingGenerator
    card: ModelCard
    path: Path
    sha256: str


class Checkpoint:
    """What was read of a file, see `read_checkpoint`.

    Attributes:
        path: The file.
        sha256: Its hash.
        card: What it says of itself.
    """

    def __init__(self, path: Path, sha256: str, card: ModelCard, content: dict[str, Any]) -> None:
        self.path, self.sha256, self.card = path, sha256, card
        self._content = content

    @property
    def resumable(self) -> bool:
        """Whether a training can go on from it: it holds more than networks."""
        return _holds_training(self._content) and (self.card.stage == "sr" or "pools" in self._content)

    @property
    def epochs(self) -> int:
        """How many are done; of one that is `resumable`."""
        return int(self._content["loops"]["fit_loop"]["epoch_progress"]["current"]["processed"])

    def only(self, *networks: str) -> Checkpoint:
        """The same with the weights of some networks alone, so that all else can be forgotten."""
        state = self._content["state_dict"]
        prefixes = tuple(prefix for name in networks for prefix in _prefixes(state, name))
        weights = {key: value for key, value in state.items() if key.startswith(prefixes)}
        return Checkpoint(self.path, self.sha256, self.card, {"state_dict": weights})

    def release(self) -> dict[str, Any]:
        """All that the file holds, given away: the weights cannot be asked for afterwards."""
        content, self._content = self._content, {"state_dict": {}}
        return content

    def must_hold(self, name: str) -> None:
        """Make sure that a network is here, without making it.

        Raises:
            UserError: There is none of this name, or not all of its weights.
        """
        if name not in self.card.networks:
            raise UserError(f"{self.path} holds no network {name}: give a checkpoint of a stage that has one")
        if _shapes_of(self._weights(name)) != _described(name, self.card.networks[name]):
            raise UserError(f"{self.path} is damaged, {_misfit(name)}: {CURE}")

    def network(self, name: str) -> nn.Module:
        """A network, in eval mode on the CPU; of GS the average, where training kept one.

        Raises:
            UserError: See `must_hold`.
        """
        self.must_hold(name)
        net = NETWORKS[name](**self.card.networks[name])
        net.load_state_dict(self._weights(name))
        return net.eval().requires_grad_(False)

    def model(self) -> SRModel:
        """The network that enlarges, and what it must be given; no other file is needed.

        Raises:
            UserError: The checkpoint comes from stage synth, or was trained without clinical scans.
        """
        if self.card.stage == "synth":
            raise UserError(f"{self.path} is a synth checkpoint: train stage=sr with synth_ckpt={self.path} first")
        if "clinical" not in self.card.grey_maps:
            raise UserError(
                f"{self.path} was trained without clinical scans, and has no map of their greys: "
                "train it with data.clinical.root"
            )
        GS = self.network("GA" if self.card.stage == "sr_cyclegan" else "GS")
        assert isinstance(GS, SRResNet | EnlargingGenerator)
        return SRModel(GS, self.card, self.path, self.sha256)

    def _weights(self, name: str) -> dict[str, Tensor]:
        state = self._content["state_dict"]
        return next((found for prefix in _prefixes(state, name) if (found := _below(state, prefix))), {})


def load_sr(path: Path | str) -> SRModel:
    """The enlarging network of a checkpoint of stage `sr` or `sr_cyclegan`.

    Raises:
        UserError: See `read_checkpoint` and `Checkpoint.model`.
    """
    return read_checkpoint(path).model()


def read_checkpoint(path: Path | str) -> Checkpoint:
    """Read a checkpoint and check all of it: bytes, card and weights.

    Raises:
        UserError: The file is missing, cut short or damaged, no checkpoint of this program, or of another format.
        CollectedError: Its card lacks something, or has what makes no sense: a line for each.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path} is not a file: ckpt= needs a checkpoint, such as <run folder>/checkpoints/last.ckpt")
    try:
        with path.open("rb") as file:  # once: whatever is asked of it is read from here
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
            content = _unpacked(file, path)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error
    card = _card(content, path)
    if wrong := _wrong_weights(content, card):
        raise UserError(f"{path} is damaged, {wrong}: {CURE}")
    return Checkpoint(path, sha256, card, content)


def write_card(content: dict[str, Any], card: ModelCard, batches: int) -> None:
    """Put a card into what a training is about to save.

    Args:
        content: Keys and values of a checkpoint, with its weights.
        card: What it is to say of itself.
        batches: That were trained on so far.
    """
    digest = weights_digest(content["state_dict"])
    content[CARD] = card.changed(batches=batches, weights_sha256=digest).to_plain()


def weights_digest(weights: Mapping[str, Tensor]) -> str:
    """SHA-256 over all weights, in the order of their names: name, type, shape and bytes of each."""
    digest = hashlib.sha256()
    for name in sorted(weights):
        tensor = weights[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def check_comparable(checkpoints: Sequence[Checkpoint]) -> None:
    """Make sure that the same prepared cases can be asked of all networks.

    Raises:
        UserError: Two were trained on images prepared in different ways, or share name and seed.
    """
    first, *others = checkpoints
    for other in others:
        for key, value, wanted in other.card.preparation.differences(first.card.preparation):
            raise UserError(
                f"{other.path} was trained with {key}={value}, {first.path} with {wanted}: they cannot be compared"
            )
    known: dict[tuple[str, int], Path] = {}
    for one in checkpoints:
        who = one.card.name, one.card.seed
        if who in known:
            raise UserError(f"{one.path} and {known[who]} are both {who[0]}, seed {who[1]}: give name= in training")
        known[who] = one.path


# --- reading


def _unpacked(file: BinaryIO, path: Path) -> dict[str, Any]:
    """What an open file holds.

    Raises:
        UserError: It is damaged, or no checkpoint of this program.
    """
    foreign = UserError(f"{path} is not a ctsr checkpoint: give a .ckpt file that train.py wrote")
    file.seek(0)
    packed = file.read(2) == b"PK"
    if packed and (damage := _damage(file)):
        raise UserError(f"{path} is {damage}: {CURE}")
    file.seek(0)
    try:
        content: dict[str, Any] = torch.load(file, map_location="cpu", weights_only=True)
    except (OSError, MemoryError):
        raise
    except Exception as error:  # of any kind: what is no checkpoint may hold anything
        raise foreign from error
    card = content.get(CARD) if isinstance(content, dict) else None
    state = content.get("state_dict") if isinstance(content, dict) else None
    if not isinstance(card, dict) or not isinstance(state, dict) or not isinstance(card.get("format"), int):
        raise foreign
    if not all(isinstance(name, str) and isinstance(value, Tensor) for name, value in state.items()):
        raise foreign
    return content


def _damage(file: BinaryIO) -> str:
    """What a packed file suffered on its way: torch does not look at the checksums that it writes."""
    if not zipfile.is_zipfile(file):
        return "cut short"
    try:
        with zipfile.ZipFile(file) as packed:
            return "" if packed.testzip() is None else "damaged"
    except OSError:
        raise
    except Exception:  # of any kind: a flipped bit may mean encryption, a method that there is not, or another name
        return "damaged"


def _card(content: Mapping[str, Any], path: Path) -> ModelCard:
    plain = content[CARD]
    if plain["format"] != FORMAT:
        remedy = "update ctsr" if plain["format"] > FORMAT else "train it again, or use the ctsr that wrote it"
        raise UserError(f"{path} has checkpoint format {plain['format']}, this ctsr reads format {FORMAT}: {remedy}")
    try:
        return read_card(plain)
    except CollectedError as error:
        raise CollectedError([f"{path} is damaged, in its card {line}: {CURE}" for line in error.problems]) from error


def _wrong_weights(content: Mapping[str, Any], card: ModelCard) -> str:
    """Why the weights are not those that a card describes; nothing where they are."""
    state: Mapping[str, Tensor] = content["state_dict"]
    for name, value in state.items():
        if value.is_floating_point() and not bool(torch.isfinite(value).all()):
            return f"its weights {name} are not all finite"
    whole, misfits = _holds_training(content), []
    for name, arguments in card.networks.items():
        expected = _described(name, arguments)
        for prefix in _prefixes(state, name):
            found = _shapes_of(_below(state, prefix))
            missing = whole and prefix != AVERAGE and expected and not found
            if missing or (found and found != expected):
                misfits.append(name)
    if misfits:
        return _misfit(*dict.fromkeys(misfits))
    if card.weights_sha256 not in (None, weights_digest(state)):
        return "its weights are others than its card was written for"
    return ""


def _holds_training(content: Mapping[str, Any]) -> bool:
    return all(key in content for key in GOES_ON)


def _described(name: str, arguments: Mapping[str, Any]) -> dict[str, torch.Size] | None:
    """The shape of each weight of a network; None: there is no such network."""
    try:
        with torch.device("meta"):  # shapes alone
            return _shapes_of(NETWORKS[name](**arguments).state_dict())
    except Exception:  # of any kind: the arguments are what a file says
        return None


def _shapes_of(weights: Mapping[str, Tensor]) -> dict[str, torch.Size]:
    return {name: value.shape for name, value in weights.items()}


def _misfit(*networks: str) -> str:
    return f"its weights do not fit its description of {', '.join(networks)}"


def _prefixes(state: Mapping[str, Tensor], network: str) -> tuple[str, ...]:
    """What stands before the names of a network's weights; the first that there are, are to be used."""
    if network == "G1" and any(name.startswith(FROZEN) for name in state):
        return (FROZEN,)
    return (AVERAGE, "GS.") if network == "GS" else (f"{network}.",)


def _below(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}


# --- as text


def told(card: ModelCard) -> str:
    """A card for people: its fields in YAML; of long ones how much there is, the configuration last and as it is."""
    text = yaml.safe_dump(brief(card), sort_keys=False, allow_unicode=True, default_flow_style=None, width=120)
    return f"{text}config:\n{indent(card.config, '  ')}".rstrip()


def brief(card: ModelCard) -> dict[str, Any]:
    """A card without its configuration, plain values; of grey maps and hashes how much there is."""
    plain = card.to_plain()
    plain = {key: plain[key] for key in sorted(plain, key=lambda key: key in DataCard.model_fields) if key != "config"}
    spans = {name: _span(values) for name, values in plain["grey_maps"].items()}
    if plain.get("kernel") is not None:
        plain["kernel"] = f"as {plain['kernel']['slices']} slices of the training's scans show it"
    return plain | {"grey_maps": spans, "trained_on": sorted(set(plain["trained_on"].values()))}


def _span(grey_map: Mapping[str, Sequence[float]]) -> str:
    knots, values = grey_map["knots"], grey_map["values"]
    return f"{len(knots)} knots, {knots[0]:.4g} to {knots[-1]:.4g} become {values[0]:.4g} to {values[-1]:.4g}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m ctsr.checkpoint", description="Print the card of a checkpoint.")
    parser.add_argument("file", help="a .ckpt file that train.py wrote")
    asked = parser.parse_args(arguments)
    checkpoint = read_checkpoint(asked.file)
    print(f"# {checkpoint.path}, sha256 {checkpoint.sha256}\n{told(checkpoint.card)}")


if __name__ == "__main__":
    sys.exit(run_cli(main))
