"""What scans show of their kernel: sums that can be added, kept, and told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

UNIT_MM = 0.625
"""Lengths and frequencies are told in this unit, a usual pixel of chest CT, whatever the pixels of a scan are."""

HALF = 0.5  # cycles per unit, above which nothing is told apart
STEP = 0.25  # units between the middles of bins
REACH = 20  # bins on either side of the border
BINS = 2 * REACH + 1
DISTANCES = STEP * (np.arange(BINS) - REACH)
"""Of the bins' middles from the border in units, negative in air or lung."""

RING = 0.025  # cycles per unit
RINGS = RING * (np.arange(round(HALF / RING)) + 0.5)
"""Middles of the rings in cycles per unit."""

LAG = 12.0  # units: longest of the autocovariance


@dataclass(frozen=True, eq=False)
class Profile:
    """Sums over the pixels of each bin of distance from a border.

    Attributes:
        count: How many.
        total: Of their HU.
        squares: Of their squares.
    """

    count: Array
    total: Array
    squares: Array

    @classmethod
    def nothing(cls) -> Profile:
        """No pixel yet."""
        return cls(np.zeros(BINS), np.zeros(BINS), np.zeros(BINS))

    @classmethod
    def of(cls, bins: npt.NDArray[np.int_], greys: Array) -> Profile:
        """Of pixels in bins."""
        sums = [np.bincount(bins, weights, BINS) for weights in (np.ones_like(greys), greys, greys**2)]
        return cls(*np.asarray(sums, dtype=np.float64))

    def to_plain(self) -> dict[str, list[float]]:
        """For JSON: mean HU, variance and number of pixels of each bin."""
        return {
            "hu": self.mean.round(2).tolist(),
            "variance": self.variance.round(1).tolist(),
            "pixels": self.count.tolist(),
        }

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Profile:
        """The inverse of `to_plain`."""
        hu, variance, count = (np.asarray(plain[key], dtype=np.float64) for key in ("hu", "variance", "pixels"))
        if not hu.shape == variance.shape == count.shape == DISTANCES.shape:
            raise ValueError(f"not {BINS} bins")
        return cls(count, hu * count, (variance + hu**2) * count)

    def __add__(self, other: Profile) -> Profile:
        return Profile(self.count + other.count, self.total + other.total, self.squares + other.squares)

    @property
    def mean(self) -> Array:
        """HU."""
        return np.asarray(self.total / np.maximum(self.count, 1))

    @property
    def variance(self) -> Array:
        """HU², of one pixel."""
        return np.asarray(np.maximum(self.squares / np.maximum(self.count, 1) - self.mean**2, 0.0))


@dataclass(frozen=True, eq=False)
class Spectrum:
    """Power by frequency, summed over slices.

    Attributes:
        total: Power times weight of each ring, HU² mm².
        weight: Pixels that it comes from.
    """

    total: Array
    weight: float

    @classmethod
    def nothing(cls) -> Spectrum:
        """No pixel yet."""
        return cls(np.zeros(len(RINGS)), 0.0)

    def __add__(self, other: Spectrum) -> Spectrum:
        return Spectrum(self.total + other.total, self.weight + other.weight)

    def to_plain(self) -> dict[str, Any]:
        """For JSON: power of each ring, null where it is not told, and weight."""
        power = [None if np.isnan(value) else round(float(value), 3) for value in self.power]
        return {"power": power, "weight": self.weight}

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Spectrum:
        """The inverse of `to_plain`."""
        power = np.array([np.nan if value is None else value for value in plain["power"]], dtype=np.float64)
        if power.shape != RINGS.shape:
            raise ValueError(f"{len(power)} rings instead of {len(RINGS)}")
        return cls(power * max(float(plain["weight"]), 1.0), float(plain["weight"]))

    @property
    def power(self) -> Array:
        """HU² mm² of each ring; NaN where the pixels are too coarse to tell."""
        return np.asarray(self.total / max(self.weight, 1.0))

    @property
    def freedom(self) -> Array:
        """Degrees of freedom of each ring, roughly."""
        cells = self.weight / (np.pi * LAG**2 / 4)
        return np.asarray(np.maximum(cells * 2 * np.pi * RINGS * RING * (2 * LAG) ** 2 / 4, 1.0))


@dataclass(frozen=True, eq=False)
class Measured:
    """Sums over slices; those of several scans can be added.

    Attributes:
        wall: Profile from the lung into its wall.
        skin: Profile from air into the body.
        lung: Spectrum of parenchyma.
        slices: How many.
    """

    wall: Profile = field(default_factory=Profile.nothing)
    skin: Profile = field(default_factory=Profile.nothing)
    lung: Spectrum = field(default_factory=Spectrum.nothing)
    slices: int = 0

    def __add__(self, other: Measured) -> Measured:
        return Measured(
            self.wall + other.wall,
            self.skin + other.skin,
            self.lung + other.lung,
            self.slices + other.slices,
        )

    def to_plain(self) -> dict[str, Any]:
        """For cards and JSON."""
        return {
            "wall": self.wall.to_plain(),
            "skin": self.skin.to_plain(),
            "lung": self.lung.to_plain(),
            "slices": self.slices,
        }

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Measured:
        """The inverse of `to_plain`.

        Raises:
            ValueError, TypeError, KeyError: It is none.
        """
        return cls(
            Profile.from_plain(plain["wall"]),
            Profile.from_plain(plain["skin"]),
            Spectrum.from_plain(plain["lung"]),
            int(plain["slices"]),
        )
