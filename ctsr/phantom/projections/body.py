"""The body around a lung: ellipses of fat, muscle, blood and bone, whose line integrals are known in closed form."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ctsr.phantom.tissue import AIR, FAT, SOFT

Array = npt.NDArray[np.float32]

MUSCLE = (SOFT - AIR) / 1000  # density, of water's
MARROW = 0.35  # share of cortical bone in spongy bone; the rest is muscle


@dataclass(frozen=True)
class Ellipse:
    """An ellipse, and what it adds to what it lies on.

    Attributes:
        centre: (y, x) in mm from the axis of rotation; y runs to posterior, x to left.
        half: Half axes along y and x in mm.
        water: Density added, of water's.
        bone: Density added, of cortical bone's.
        blood: Share of blood, which holds contrast agent where there is any.
    """

    centre: tuple[float, float]
    half: tuple[float, float]
    water: float
    bone: float = 0.0
    blood: float = 0.0

    def chords(self, cos: float, sin: float, offsets: Array) -> Array:
        """Lengths in mm that rays x cos + y sin = offset run inside: 2ab √(r² - d²) / r², r² = (a cos)² + (b sin)²."""
        (y, x), (b, a) = self.centre, self.half
        reach = (a * cos) ** 2 + (b * sin) ** 2
        distance = offsets - np.float32(x * cos + y * sin)
        inside = np.maximum(np.float32(reach) - distance**2, 0)
        return np.asarray(np.float32(2 * a * b / reach) * np.sqrt(inside), dtype=np.float32)


@dataclass(frozen=True)
class Body:
    """Ellipses upon each other.

    Attributes:
        parts: From the outermost; the second is muscle, and nothing else lies where a lung goes.
    """

    parts: Sequence[Ellipse]

    def paths(self, cos: float, sin: float, offsets: Array) -> tuple[Array, Array, Array]:
        """Water and bone in mm, and blood in mm, along rays x cos + y sin = offset."""
        lengths = [part.chords(cos, sin, offsets) for part in self.parts]
        shares = np.array([(part.water, part.bone, part.blood) for part in self.parts], dtype=np.float32)
        water, bone, blood = shares.T @ np.stack(lengths)
        return water, bone, blood

    @staticmethod
    def random(side: int, rng: np.random.Generator) -> Body:
        """Draw a body of fat, muscle, heart, aorta, spine and ribs.

        Args:
            side: Where room is left for a lung, 35 mm from the axis: 1 to the left, -1 to the right.
            rng: Source of the sizes.
        """
        y, x = rng.uniform(72, 78), rng.uniform(90, 97)
        rim = rng.uniform(6, 10)
        fat, muscle = (FAT - AIR) / 1000, MUSCLE - (FAT - AIR) / 1000
        heart = (rng.uniform(-24, -18), -side * rng.uniform(28, 34))
        aorta, spine = (rng.uniform(20, 24), side * rng.uniform(-10, -6)), (rng.uniform(46, 50), 0.0)
        parts = [
            Ellipse((0, 0), (y, x), fat),
            Ellipse((0, 0), (y - rim, x - rim), muscle),
            Ellipse(heart, (rng.uniform(20, 26), rng.uniform(22, 28)), 0.015, blood=0.8),
            Ellipse(aorta, (9.0, 9.0), 0.01, blood=1.0),
            *_bone(spine, (rng.uniform(11, 13), rng.uniform(14, 17)), 1.5),
        ]
        for turn in np.deg2rad(rng.uniform(-8, 8) + np.array([-155, -120, -60, -25, 25, 155])):
            at = (float((y - rim - 7) * np.sin(turn)), float((x - rim - 7) * np.cos(turn)))
            parts += _bone(at, (rng.uniform(3.5, 5), rng.uniform(3.5, 5)), 1.2)
        return Body(parts)


def _bone(centre: tuple[float, float], half: tuple[float, float], wall: float) -> list[Ellipse]:
    """A wall of cortical bone around spongy bone."""
    inner = (half[0] - wall, half[1] - wall)
    return [
        Ellipse(centre, half, -MUSCLE, bone=1.0),
        Ellipse(centre, inner, MUSCLE * (1 - MARROW), bone=MARROW - 1),
    ]
