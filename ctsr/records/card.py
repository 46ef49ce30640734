"""The model card: what a checkpoint says of itself, for whoever uses it.

`docs/checkpoint.md` tells each field. What a training writes has all of them but those that are marked optional.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, Self

import numpy as np
import yaml
from pydantic import (
    AfterValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    PlainValidator,
    model_validator,
)

from ctsr.errors import CollectedError
from ctsr.imaging import intensity
from ctsr.imaging.grey_map import GreyMap, to_clinical
from ctsr.imaging.volume import SCALE
from ctsr.methods import current_name
from ctsr.records.settings import Settings, Takes, Wording, read
from ctsr.records.stages import Inputs
from ctsr.records.values import (
    AsList,
    GreyRange,
    KernelFacts,
    Name,
    NotNegative,
    Percentiles,
    Positive,
    Seed,
    Whole,
    Window,
)

FORMAT = 3
"""The layout of a card that this program writes and reads. 2: grey maps. 3: hashes of what was trained on."""

MATERIALS_HU = (-1000.0, 45.0)  # air and soft tissue, where a configuration does not say
ROUNDING = 1e-9  # by which a mean of equal greys may fall
OF_A_CARD = Wording(missing="{key} is missing, needed: {words}", wrong="{key}={value}, needed: {words}")


def _grey_map(plain: Any) -> GreyMap:
    if isinstance(plain, GreyMap):
        return plain
    try:
        made = GreyMap.from_dict(plain)
        rising = bool((np.diff(made.knots) > 0).all() and (np.diff(made.values) >= -ROUNDING).all())
    except (KeyError, TypeError) as error:
        raise ValueError("no knots and values") from error
    finite = bool(np.isfinite(made.knots).all() and np.isfinite(made.values).all())
    if not (made.knots.ndim == 1 and made.knots.size and made.knots.shape == made.values.shape and finite and rising):
        raise ValueError("not a rising map")
    return made


def _configuration(text: str) -> str:
    try:
        air, tissue = _materials(text)
    except (yaml.YAMLError, AttributeError, TypeError, ValueError) as error:
        raise ValueError("no configuration") from error
    if not air < tissue:
        raise ValueError("air that is denser than tissue")
    return text


def _materials(config: str) -> tuple[float, float]:
    air, tissue = yaml.safe_load(config).get("data", {}).get("micro", {}).get("materials", MATERIALS_HU)
    return float(air), float(tissue)


GreyMaps = Annotated[
    dict[str, Annotated[GreyMap, PlainValidator(_grey_map), PlainSerializer(GreyMap.to_dict)]],
    Takes("maps of greys by name, each of rising knots and as many values that do not fall"),
]
Millimetres = Annotated[Positive, Takes("mm, above 0")]
Plane = Annotated[tuple[Millimetres, Millimetres], AsList, Takes("two pixel sizes (y, x) in mm, above 0")]
Digest = Annotated[str, Field(pattern="^[0-9a-f]{64}$"), Takes("a SHA-256 in hexadecimal digits")]


class Windows(Settings):
    """Greys that became -1 and +1."""

    clinical: Window
    micro: GreyRange


class Spacings(Settings):
    """Medians over the training cases."""

    clinical: Plane
    micro: Plane


class Preparation(Settings):
    """How images were prepared: what stage sr must share with the stage synth that its G1 comes from."""

    window: Window = Field(alias="data.clinical.window")
    spacing: Millimetres | Literal["native"] = Field(alias="data.micro.spacing")
    slab_mm: NotNegative = Field(alias="data.micro.slab_mm")
    percentiles: Percentiles = Field(alias="data.micro.percentiles")

    def differences(self, other: Preparation) -> Iterator[tuple[str, Any, Any]]:
        """Each key that differs, with the value here and there."""
        there = other.to_plain()
        yield from ((key, here, there[key]) for key, here in self.to_plain().items() if here != there[key])


class DataCard(Settings):
    """What a card says of the scans that were trained on."""

    windows: Windows
    spacing: Spacings
    clinical_slice_mm: Millimetres | None = None
    slice_thickness_mm: Millimetres | None = None
    kernel: KernelFacts | None = None
    preparation: Preparation
    cases: Annotated[
        dict[str, dict[str, list[str]]], Takes("for clinical and micro the names of cases for train, val and test")
    ]
    trained_on: Annotated[dict[str, str], Takes("the name of a case for each hash")]
    patients: Annotated[dict[str, list[str]], Takes("pseudonyms for train, val and test")] = Field(default_factory=dict)
    scale_ratio: Positive | None = None


class ModelCard(DataCard):
    """All of it. Fields that a later version adds are kept as they are."""

    model_config = ConfigDict(extra="allow")

    format: Annotated[Literal[3], Takes(str(FORMAT))]
    stage: Literal["synth", "sr", "sr_cyclegan"]
    inputs: Inputs | None = None
    name: Name
    seed: Seed
    scale: Annotated[Literal[8], Takes(str(SCALE))]
    networks: Annotated[dict[str, dict[str, Any]], Takes("the arguments of each network")]
    grey_maps: GreyMaps
    versions: Annotated[dict[str, str], Takes("a version for each name")]
    config: Annotated[str, AfterValidator(_configuration), Takes("the configuration in YAML")]
    batches: Whole | None = None
    notes: Annotated[list[str], Takes("texts")] = Field(default_factory=list)
    weights_sha256: Digest | None = None

    @model_validator(mode="after")
    def _maps_greys(self) -> Self:
        if "clinical" in self.cases and "clinical" not in self.grey_maps:
            raise ValueError("grey_maps.clinical is missing, needed: the map of clinical greys to those of f(x)")
        return self

    def window(self, domain: Literal["clinical", "micro"]) -> intensity.Window:
        """The grey window of a domain that became [-1, 1] in training."""
        low, high = getattr(self.windows, domain)
        return intensity.Window(float(low), float(high))

    @property
    def pixel(self) -> tuple[float, float]:
        """In-plane pixel size (y, x) in millimetres of the clinical images seen in training."""
        y, x = self.spacing.clinical
        return float(y), float(x)

    @property
    def to_clinical(self) -> GreyMap:
        """Greys of f(x) to clinical ones, both in [-1, 1]."""
        return to_clinical(self.grey_maps)

    @property
    def hu(self) -> intensity.Window:
        """HU of a result's -1 and +1: air and tissue come out as such where a training knew them in its µCT.

        Otherwise those of the clinical window, whose ends the µCT's greys share by convention only.
        """
        clinical = self.window("clinical")
        if "calibrated" not in self.grey_maps:
            return clinical
        low, high = clinical.restore(self.to_clinical.apply((-1.0, 1.0)))
        return intensity.Window(float(low), float(high))

    @property
    def materials(self) -> tuple[float, float]:
        """HU of air and of soft tissue, as the configuration has them."""
        return _materials(self.config)


def read_card(plain: Mapping[str, Any]) -> ModelCard:
    """Read a card.

    Args:
        plain: What `to_plain` gave, also of a former version.

    Raises:
        CollectedError: Something is missing, or makes no sense: a line for each.
    """
    wrong: dict[str, str] = {}
    card = read(ModelCard, plain, wrong, wording=OF_A_CARD)
    if card is None:
        raise CollectedError(list(wrong.values()))
    return card.model_copy(update={"name": current_name(card.name, card.networks)})
