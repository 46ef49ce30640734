"""Who is compared: interpolation, and trained networks, each with what it needs to be asked fairly."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ctsr.checkpoint import Checkpoint
from ctsr.errors import UserError
from ctsr.evaluation.questions.enlargers import MAPPED_ENDING, Enlarge, in_hu, interpolations, network
from ctsr.imaging.grey_map import GreyMap
from ctsr.imaging.intensity import Window
from ctsr.imaging.pyramid import GaussianPyramid
from ctsr.networks.synthesis import white_noise
from ctsr.records.card import MATERIALS_HU, ModelCard

CPU = torch.device("cpu")


class Method(NamedTuple):
    """What enlarges, as rows name it.

    Attributes:
        name: Of an interpolation, or of a trained method.
        seed: Of its training; None for interpolation.
    """

    name: str
    seed: int | None


@dataclass(frozen=True, eq=False)
class Interpolation:
    """All interpolations together: they are given the same images.

    Attributes:
        few: Only those of a training's end.
    """

    few: bool = False

    def methods(self, grey_map: GreyMap, hu_by: TrainedNetwork | None = None) -> dict[Method, Enlarge]:
        """What enlarges images whose greys this map takes to those of f(x).

        Args:
            grey_map: The map.
            hu_by: See `ctsr.evaluation.questions.protocols.Inputs`. A scan's own greys are HU in its window already.
        """
        ways = interpolations(grey_map, self.few)
        if hu_by is not None:
            ways |= {
                name: in_hu(way, hu_by.hu, hu_by.window) for name, way in ways.items() if name.endswith(MAPPED_ENDING)
            }
        return {Method(name, None): way for name, way in ways.items()}


@dataclass(frozen=True, eq=False)
class TrainedNetwork:
    """A trained network.

    Attributes:
        name: Of its method; networks of one name and several seeds are pooled.
        seed: Of its training.
        enlarge: The network that enlarges, (N, 1, H, W) to (N, 1, 8H, 8W), both in [-1, 1].
        synthesise: What made its training images: x and its slab, (N, 1, 8H, 8W), to (N, 1, H, W); None: nothing did.
        window: HU that become [-1, 1].
        hu: HU of a result's -1 and +1.
        grey_maps: Of its training cases: "clinical" greys, and "synthetic" ones of two stages, to those of f(x), and
            "calibrated" ones back.
        trained_on: Hash of each scan that it was trained or validated on, to its name.
        path: Its checkpoint.
        materials: HU of air and of soft tissue in micro-CT, as its training took them.
    """

    name: str
    seed: int
    enlarge: nn.Module
    synthesise: Synthesis | None
    window: Window
    hu: Window
    grey_maps: Mapping[str, GreyMap]
    trained_on: Mapping[str, str] = field(default_factory=dict)
    path: Path | None = None
    materials: Sequence[float] = MATERIALS_HU

    @classmethod
    def of(
        cls,
        card: ModelCard,
        enlarge: nn.Module,
        generator: nn.Module | None,
        device: torch.device = CPU,
        path: Path | None = None,
    ) -> TrainedNetwork:
        """Make one of networks and what their checkpoint says of them.

        Args:
            card: It.
            enlarge: GS, or GA of SR-CycleGAN.
            generator: What made its training images: G1, or GB of SR-CycleGAN; None: nothing did.
            device: Where they are to work.
            path: Their checkpoint.
        """
        of_x = card.stage == "sr_cyclegan"  # GB takes x itself
        synthesise = None if generator is None else Synthesis(generator, of_x).to(device)
        return cls(
            name=card.name,
            seed=card.seed,
            enlarge=enlarge.to(device),
            synthesise=synthesise,
            window=card.window("clinical"),
            hu=card.hu,
            grey_maps=card.grey_maps,
            trained_on=card.trained_on,
            path=path,
            materials=card.materials,
        )

    @classmethod
    def of_checkpoint(cls, checkpoint: Checkpoint, device: torch.device = CPU) -> TrainedNetwork:
        """Make one of a checkpoint of stage sr or sr_cyclegan.

        Raises:
            UserError: Its weights do not fit.
        """
        card, generator = checkpoint.card, None
        if card.inputs != "pairs":
            generator = checkpoint.network("GB" if card.stage == "sr_cyclegan" else "G1")
        return cls.of(card, checkpoint.model().GS, generator, device, checkpoint.path)

    def methods(self, grey_map: GreyMap, hu_by: TrainedNetwork | None = None) -> dict[Method, Enlarge]:
        """The network itself, whatever the greys; in HU by its own `hu`, in the window of `hu_by`."""
        way = network(self.enlarge)
        return {Method(self.name, self.seed): way if hu_by is None else in_hu(way, self.hu, hu_by.window)}

    @property
    def label(self) -> str:
        """Name and seed."""
        return f"{self.name}, seed {self.seed}"


@dataclass(frozen=True, eq=False)
class Filtered:
    """A competitor that is given scans after a filter, and is named so.

    Attributes:
        of: It.
        ending: What stands behind its name.
    """

    of: Interpolation | TrainedNetwork
    ending: str

    def methods(self, grey_map: GreyMap, hu_by: TrainedNetwork | None = None) -> dict[Method, Enlarge]:
        """Its own, under other names."""
        ways = self.of.methods(grey_map, hu_by)
        return {Method(f"{name}{self.ending}", seed): way for (name, seed), way in ways.items()}


Competitor = Interpolation | TrainedNetwork | Filtered


def methods_of(
    competitors: Iterable[Competitor], grey_map: GreyMap, hu_by: TrainedNetwork | None = None
) -> dict[Method, Enlarge]:
    """What enlarges, of several competitors, in their order.

    Args:
        competitors: They are given the same images.
        grey_map: Takes these images' greys to those of f(x).
        hu_by: See `ctsr.evaluation.questions.protocols.Inputs`.
    """
    return {method: way for one in competitors for method, way in one.methods(grey_map, hu_by).items()}


def in_order(networks: Sequence[TrainedNetwork], method: str | None) -> list[TrainedNetwork]:
    """The networks, those of a method first: others are compared with it.

    Raises:
        UserError: None is of that method.
    """
    names = list(dict.fromkeys(one.name for one in networks))
    if method is not None and method not in names:
        raise UserError(f"reference={method} is none of the methods of ckpt=: {', '.join(names)}")
    return sorted(networks, key=lambda one: method is not None and one.name != method)


def reference(networks: Sequence[TrainedNetwork]) -> TrainedNetwork:
    """The first with a generator: its G1 and grey maps serve all, and others are compared with its method."""
    able = [one for one in networks if one.synthesise is not None]
    return (able or list(networks))[0]


class Synthesis(nn.Module):
    """ŷ of a µCT image x and its slab, clipped to [-1, 1] as real clinical images are.

    Args:
        network: G1, or GB of SR-CycleGAN.
        of_x: The network takes x itself and reduces it (SR-CycleGAN); otherwise it is given f(slab).
    """

    def __init__(self, network: nn.Module, of_x: bool = False) -> None:
        super().__init__()
        self.network, self.of_x = network, of_x
        self.f = GaussianPyramid()

    def forward(self, x: Tensor, slab: Tensor) -> Tensor:
        """Two images (N, 1, 8H, 8W) in [-1, 1] to (N, 1, H, W); the noise of equal calls is the same."""
        if self.of_x:
            made: Tensor = self.network(x)
        else:
            fx = self.f(slab)
            made = self.network(fx, white_noise(fx))
        return made.float().clamp(-1.0, 1.0)
