"""What is compared: trained networks, each with what it needs to be asked fairly, and the cases they are asked on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import nn

from ctsr.checkpoint import Checkpoint
from ctsr.data.pairs import Pair
from ctsr.data.preparing.store import PreparedCase
from ctsr.errors import UserError
from ctsr.evaluation.questions.synthesis import Synthesis
from ctsr.imaging.grey_map import GreyMap
from ctsr.imaging.intensity import Window
from ctsr.records.card import MATERIALS_HU, ModelCard

CPU = torch.device("cpu")


@dataclass(frozen=True, eq=False)
class Contestant:
    """A trained network.

    Attributes:
        name: Of its method; networks of one name and several seeds are pooled.
        seed: Of its training.
        enlarge: The network that enlarges, (N, 1, H, W) to (N, 1, 8H, 8W), both in [-1, 1].
        synthesise: What made its training images: x and its slab, (N, 1, 8H, 8W), to (N, 1, H, W); None: nothing did.
        window: HU that become [-1, 1].
        grey_maps: Of its training cases: "clinical" greys, and "synthetic" ones of two stages, to those of f(x), and
            "calibrated" ones back.
        trained_on: Hash of each scan that it was trained or validated on, to its name.
        path: Its checkpoint.
        materials: HU of air and of soft tissue in micro-CT, as its training took them.
    """

    name: str
    seed: int
    enlarge: nn.Module
    synthesise: nn.Module | None
    window: Window
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
    ) -> Contestant:
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
            grey_maps=card.grey_maps,
            trained_on=card.trained_on,
            path=path,
            materials=card.materials,
        )

    @classmethod
    def of_checkpoint(cls, checkpoint: Checkpoint, device: torch.device = CPU) -> Contestant:
        """Make one of a checkpoint of stage sr or sr_cyclegan.

        Raises:
            UserError: Its weights do not fit.
        """
        card, generator = checkpoint.card, None
        if card.inputs != "pairs":
            generator = checkpoint.network("GB" if card.stage == "sr_cyclegan" else "G1")
        return cls.of(card, checkpoint.model().GS, generator, device, checkpoint.path)

    @property
    def label(self) -> str:
        """Name and seed."""
        return f"{self.name}, seed {self.seed}"


@dataclass(frozen=True, eq=False)
class TestSet:
    """Cases that nothing was trained on.

    Attributes:
        micro: Micro-CT.
        pairs: Lungs seen by both scanners.
        empty: Such lungs without vessels and airways.
        clinical: Clinical scans.
        hashes: Hash of each scan, to its name.
    """

    __test__ = False  # no test, whatever pytest makes of its name

    micro: Sequence[PreparedCase] = ()
    pairs: Sequence[Pair] = ()
    empty: Sequence[Pair] = ()
    clinical: Sequence[PreparedCase] = ()
    hashes: Mapping[str, str] = field(default_factory=dict)


def in_order(contestants: Sequence[Contestant], method: str | None) -> list[Contestant]:
    """The contestants, those of a method first: others are compared with it.

    Raises:
        UserError: None is of that method.
    """
    names = list(dict.fromkeys(one.name for one in contestants))
    if method is not None and method not in names:
        raise UserError(f"reference={method} is none of the methods of ckpt=: {', '.join(names)}")
    return sorted(contestants, key=lambda one: method is not None and one.name != method)


def reference(contestants: Sequence[Contestant]) -> Contestant:
    """The first with a generator: its G1 and grey maps serve all, and others are compared with its method."""
    able = [one for one in contestants if one.synthesise is not None]
    return (able or list(contestants))[0]


def check_held_out(contestants: Iterable[Contestant], test: TestSet) -> None:
    """Refuse a network that has seen a test case.

    Raises:
        UserError: One has; checkpoint and case are named.
    """
    for one in contestants:
        for scan, name in test.hashes.items():
            if scan in one.trained_on:
                raise UserError(
                    f"{one.path} was trained on {one.trained_on[scan]}, which is test case {name}: "
                    "take other test cases, or train without it"
                )
