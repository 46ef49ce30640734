"""What is done about a scan's kernel before a network sees the scan."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ctsr.errors import UserError
from ctsr.imaging.kernel.estimate import Estimate, Trust, estimate
from ctsr.imaging.kernel.measured import Measured
from ctsr.imaging.kernel.measuring import measure
from ctsr.imaging.kernel.transfer import CURVE, Softening
from ctsr.imaging.volume import Mask, Volume

LARGEST_WALL, LARGEST_APART = 3.5, 0.4
"""What the trust of an estimate may come to. Not calibrated: right ones left up to 2.3 and were up to 0.32 apart."""

ESTIMATE, OFF = "estimate", "off"

LEAST = 0.02  # root mean square distance from 1 of a filter that is worth applying


@dataclass(frozen=True)
class Matching:
    """What is done.

    Attributes:
        softening: The filter that is applied; None: the scan is left as it is.
        said: That and why, in a line.
        estimate: What it is based on; None: nothing was estimated.
        doubt: What should be known, in a line; None: nothing.
    """

    softening: Softening | None
    said: str
    estimate: Estimate | None = None
    doubt: str | None = None

    def to_plain(self) -> dict[str, Any]:
        """For the record."""
        plain: dict[str, Any] = {"said": self.said, "applied": self.softening is not None}
        if self.softening is not None:
            plain |= {"from_one": round(self.softening.from_one, 4), **self.softening.to_plain()}
        if self.estimate is not None:
            plain["estimate"] = {
                "what": "transfer function beside that of the training's scans; noise beside theirs, after the filter",
                "frequency_per_mm": CURVE.round(4).tolist(),
                "relative_transfer": np.exp(self.estimate.relative.log(CURVE)).round(4).tolist(),
                "noise": round(self.estimate.noise, 3),
                "trust": {
                    name: None if value is None else round(value, 3)
                    for name, value in asdict(self.estimate.trust).items()
                },
            }
        return plain


def choose(asked: str, volume: Volume, lung: Mask, reference: Measured | None) -> Matching:
    """What is asked for.

    Args:
        asked: "estimate", "off", or the path of a filter, see `softening_from`.
        volume: See `match`.
        lung: See `match`.
        reference: See `match`; None: nobody knows the kernel of the training.

    Raises:
        UserError: See `softening_from`.
    """
    if asked == OFF:
        return Matching(None, "kernel=off: the scan is left as it is")
    if asked != ESTIMATE:
        softening = softening_from(Path(asked))
        return Matching(softening, f"kernel={asked}: {softening}")
    if reference is None:
        return Matching(None, "kernel: the checkpoint does not tell that of its training; the scan is left as it is")
    return match(volume, lung, reference)


def match(volume: Volume, lung: Mask, reference: Measured) -> Matching:
    """Estimate a scan's kernel, and choose the filter to the reference's.

    Args:
        volume: Whole scan in HU, canonical orientation, padding marked; a bounded number of its slices is looked at.
        lung: Where the lung is, its shape.
        reference: The scans that a network learned on.
    """
    found = estimate(partial(measure, volume, lung), reference)
    if (why := distrust(found.trust)) is not None:
        said = f"kernel: {why}; the scan is left as it is"
        return Matching(None, said, found, f"{said}: if its kernel enhances edges, what is new at edges may be halos")
    softening = found.relative.softening()
    if softening.from_one < LEAST:
        return Matching(None, "kernel: as soft as that of the training, or softer; the scan is left as it is", found)
    return Matching(softening, f"kernel: sharper than that of the training; {softening}", found)


def distrust(trust: Trust) -> str | None:
    """Why an estimate is not believed; None: it is."""
    if trust.wall is None:
        return "no border of the lung shows it"
    if trust.wall > LARGEST_WALL:
        return f"no kernel explains the lung's border ({trust.wall:.1f} standard deviations, {LARGEST_WALL:g} allowed)"
    if trust.apart is not None and trust.apart > LARGEST_APART:
        return (
            f"the lung's border and the skin tell different ones ({trust.apart:.2f} apart, {LARGEST_APART:g} allowed)"
        )
    return None


def softening_from(path: Path) -> Softening:
    """Read a filter: JSON with `frequency_per_mm` and `gain`, or the record of a result that has them in `kernel`.

    Raises:
        UserError: The file cannot be read, or holds no filter that only softens.
    """
    needed = f"kernel={path} is no filter: give JSON with frequency_per_mm, rising from 0, and gain, 1 at 0 and 0 to 1"
    try:
        plain = json.loads(path.read_text(encoding="utf-8"))
        found = plain.get("kernel", plain)
        if isinstance(found, Mapping) and found.get("applied") is False:
            raise UserError(f"kernel={path}: that result was made without a filter: give kernel=off")
        frequency, gain = (np.asarray(found[key], dtype=np.float64) for key in ("frequency_per_mm", "gain"))
    except OSError as error:
        raise UserError(f"kernel={path} cannot be read ({error.strerror}): give estimate, off or a file") from error
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise UserError(needed) from error
    fits = frequency.ndim == 1 and frequency.shape == gain.shape and frequency.size > 1 and frequency[0] == 0
    if not (fits and (np.diff(frequency) > 0).all() and gain[0] == 1 and ((gain >= 0) & (gain <= 1)).all()):
        raise UserError(needed)
    return Softening.of(frequency, gain)
