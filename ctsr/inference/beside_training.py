"""What a scan is like beside the scans that a network learned on: pixels, slices and greys."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from ctsr.imaging.volume import Volume
from ctsr.records.card import ModelCard

THICKER = 1.5  # slices this much thicker, or further apart, than those that were learned on, average over other things
OVERLAP = 2.0  # slices are reconstructed up to this much thicker than they lie apart


@dataclass(frozen=True)
class Sampling:
    """How a scan, or the scans of a training, sample the body.

    Attributes:
        pixel_mm: Pixel size (y, x).
        slice_mm: Distance of the slices; None: unknown.
        thickness_mm: Thickness of a slice; None: nobody tells.
        hu: Lowest and highest grey; of a training, its window, beyond which a network has seen nothing.
    """

    pixel_mm: tuple[float, float]
    slice_mm: float | None
    thickness_mm: float | None
    hu: tuple[float, float]

    @classmethod
    def of_scan(cls, volume: Volume) -> Sampling:
        """That of a scan in HU, canonical orientation; padding does not count."""
        z, y, x = volume.spacing
        low, high = volume.array.min(), volume.array.max()
        if volume.outside is not None:
            ends = [
                (plane.min(where=~outside, initial=high), plane.max(where=~outside, initial=low))
                for plane, outside in zip(volume.array, volume.outside, strict=True)
            ]
            low, high = min(low for low, _ in ends), max(high for _, high in ends)
        return cls((y, x), z, volume.thickness, (float(low), float(high)))

    @classmethod
    def of_training(cls, card: ModelCard) -> Sampling:
        """That of the scans that a network learned on."""
        low, high = card.windows.clinical
        return cls(card.pixel, card.clinical_slice_mm, card.slice_thickness_mm, (float(low), float(high)))

    @property
    def slices(self) -> str:
        """Distance and thickness, as far as they are known."""
        apart = "slices an unknown distance apart" if self.slice_mm is None else f"slices {self.slice_mm:.4g} mm apart"
        return apart if self.thickness_mm is None else f"{apart} and {self.thickness_mm:.4g} mm thick"

    def __str__(self) -> str:
        pixels = " x ".join(f"{size:.4g}" for size in dict.fromkeys(self.pixel_mm))
        return f"pixels of {pixels} mm, {self.slices}, {self.hu[0]:g} to {self.hu[1]:g} HU"


@dataclass(frozen=True)
class BesideTraining:
    """A scan beside a training.

    Attributes:
        scan: What is to be enlarged.
        training: What was learned on.
    """

    scan: Sampling
    training: Sampling

    def __str__(self) -> str:
        return f"scan: {self.scan}; learned on: {self.training}"

    def doubts(self) -> Iterator[str]:
        """A line where slices average over more of the body, or lie further apart, than what was learned on."""
        here, there = self.scan, self.training
        if here.slice_mm is None or there.slice_mm is None:
            return
        thickest = there.thickness_mm or OVERLAP * there.slice_mm
        if here.thickness_mm is not None and _above(here.thickness_mm, thickest):
            slices = f"slices {here.thickness_mm:.4g} mm thick"
        elif _above(here.slice_mm, there.slice_mm):
            slices = f"slices {here.slice_mm:.4g} mm apart"
        else:
            return
        yield (
            f"{slices}, where the network learned on {there.slices}: edges that such a slice averages over may come "
            "out as combs or steps; train on slices like these, or do not read what is new at edges"
        )

    def to_plain(self) -> dict[str, Any]:
        """For the record."""
        return {"scan": asdict(self.scan), "learned_on": asdict(self.training)}


def _above(size: float, learned: float) -> bool:
    return round(size / learned, 4) > THICKER  # headers hold single precision
