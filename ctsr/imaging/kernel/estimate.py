"""A scan's kernel beside the reference's, by all that both show of it, and how far that can be trusted.

The scan's borders are the reference's, and its lung the reference's lung and noise, through g (see
`ctsr.imaging.kernel.transfer`), which is fitted to all of them at once. Sharp to soft is well conditioned: image and
noise have gone through the same kernel, and a filter takes both to the other.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy import optimize, special

from ctsr.imaging.kernel.measured import DISTANCES, RINGS, STEP, UNIT_MM, Measured, Profile, Spectrum
from ctsr.imaging.kernel.transfer import CURVE, TERMS, RelativeTransfer, Softening, cosines

Array = npt.NDArray[np.float64]
Waves = npt.NDArray[np.complex128]

ROUNDS = 2  # the first on the scan as it is, with its overshoot
CLIPPED = -1024.0  # HU below which scanners write nothing

# Standard deviations of what is assumed before a scan is looked at.
COEFFICIENTS = 1.5 / np.arange(1, TERMS + 1) ** 2
WIDTH = 0.3  # units²: what anatomy adds to the squared width of a border
SHIFT = 1.0  # units
ANATOMY = 0.7  # of the logarithm of the power of the lung's texture
NOISE = 2.0  # of the logarithm of the power of noise
TILT = 0.7  # of the same at half a cycle per unit: not all noise goes the way of the image

# What a fit may leave.
FLOOR = 6.0  # HU: what profiles of one kernel differ by from body to body
CORRELATED = 4.0  # neighbouring pixels that share their noise
FITTED = 0.15  # of the logarithm of a spectrum, beside chance
OUTLIERS = 2.0  # standard deviations beyond which residuals count less

FEWEST = 600.0  # pixels of a profile that is looked at
LOWEST = 0.1  # cycles per unit from which the spectrum counts
FAINT = 2e-3  # of a spectrum's largest value: less is rounding
NOISE_ALONE = (0.28, 0.46)  # cycles per unit at which the reference's lung shows little else

FINE = 512
FREQUENCY = np.fft.rfftfreq(FINE, STEP)  # cycles per unit of profiles, which are continued beyond their ends
IN_BORDERS, IN_RINGS = cosines(FREQUENCY), cosines(RINGS)


@dataclass(frozen=True)
class Trust:
    """What speaks for an estimate.

    Attributes:
        wall: Root mean square of what the fit leaves of the lung's border, in standard deviations; None: there is no
            border that shows the kernel.
        skin: The same of the skin.
        apart: Root mean square difference of the filters by the lung's border and by the skin; None: one is missing.
    """

    wall: float | None
    skin: float | None
    apart: float | None


@dataclass(frozen=True)
class Estimate:
    """What is known of a scan's kernel.

    Attributes:
        relative: It beside the reference's.
        noise: The scan's noise, brought to the reference's kernel, as a multiple of the reference's.
        trust: How far to believe that.
    """

    relative: RelativeTransfer
    noise: float
    trust: Trust


def estimate(scan: Callable[[Softening | None], Measured], reference: Measured) -> Estimate:
    """Estimate a scan's kernel beside that of the reference.

    Args:
        scan: Measures the scan, see `ctsr.imaging.kernel.measured.measure`.
        reference: The scans that others are brought to.
    """
    measured = scan(None)
    found = fit(measured, reference)
    for _ in range(ROUNDS - 1):
        measured = scan(found.relative.softening())
        found = fit(measured, reference)
    if found.trust.wall is None or found.trust.skin is None:
        return found
    nothing = Profile.nothing()
    alone = (replace(measured, skin=nothing), replace(measured, wall=nothing))
    by_wall, by_skin = (fit(one, reference).relative.softening() for one in alone)
    apart = float(np.sqrt(np.mean((by_wall.at(CURVE) - by_skin.at(CURVE)) ** 2)))
    return replace(found, trust=replace(found.trust, apart=apart))


def fit(scan: Measured, reference: Measured) -> Estimate:
    """Fit g and what else may differ to one measurement."""
    hu = _largest_noise(scan.lung)
    profiles = {"wall": (scan.wall, reference.wall), "skin": (scan.skin, reference.skin)}
    borders = {name: _Border(*of, hu) for name, of in profiles.items() if all(map(_shows_much, of))}
    texture = _Texture.of(scan, reference)
    count = len(borders)

    def parts(x: Array) -> tuple[Array, list[tuple[float, float]], Array]:
        """Coefficients; width and shift of each border; anatomy, noise and tilt."""
        coefficients, of_borders, of_texture = np.split(x, [TERMS, TERMS + 2 * count])
        pairs = of_borders.reshape(-1, 2) * (WIDTH, SHIFT)
        return (
            coefficients * COEFFICIENTS,
            [(float(w), float(s)) for w, s in pairs],
            of_texture * (ANATOMY, NOISE, TILT),
        )

    def residuals(x: Array) -> Array:
        coefficients, of_borders, of_texture = parts(x)
        left = [
            border.residuals(IN_BORDERS @ coefficients, *of)
            for border, of in zip(borders.values(), of_borders, strict=True)
        ]
        if texture is not None:
            left.append(texture.residuals(IN_RINGS @ coefficients, *of_texture))
        return np.concatenate([*left, x])  # the assumptions are residuals, too

    lowest = np.full(TERMS + 2 * count + 3, -np.inf)
    lowest[TERMS : TERMS + 2 * count : 2] = 0.0  # no anatomy sharpens a border
    start = np.maximum(lowest, 0.0) + 1e-3
    best = optimize.least_squares(residuals, start, bounds=(lowest, np.inf), loss="soft_l1", f_scale=OUTLIERS).x
    coefficients, of_borders, (_, noise, _) = parts(best)
    left = {
        name: float(np.sqrt(np.mean(border.residuals(IN_BORDERS @ coefficients, *of) ** 2)))
        for (name, border), of in zip(borders.items(), of_borders, strict=True)
    }
    trust = Trust(left.get("wall"), left.get("skin"), None)
    return Estimate(RelativeTransfer(tuple(coefficients.tolist())), float(np.exp(noise / 2)), trust)


def _shows_much(profile: Profile) -> bool:
    return bool(profile.count.sum() >= FEWEST and profile.count.min() >= 4)


class _Border:
    """One border: the reference's through another kernel beside the scan's."""

    def __init__(self, scan: Profile, reference: Profile, noise: float) -> None:
        self.hu = scan.mean
        self.sd = np.sqrt(scan.variance * CORRELATED / scan.count + FLOOR**2)
        self.noise = noise
        self.line_spread = line_spread(reference.mean)

    def residuals(self, g: Array, width: float, shift: float) -> Array:
        """Of each bin, in standard deviations, after the gain and the offset that suit best."""
        design = np.stack([np.ones_like(self.hu), self._clipped(edge(self.line_spread, g, width, shift))], axis=1)
        line, *_ = np.linalg.lstsq(design / self.sd[:, None], self.hu / self.sd, rcond=None)
        return np.asarray((self.hu - design @ line) / self.sd)

    def _clipped(self, made: Array) -> Array:
        """Expected HU of an edge of height 1 where noise and overshoot are cut off at the lowest HU."""
        low, high = self.hu[:6].mean(), self.hu[-6:].mean()
        first, last = made[:6].mean(), made[-6:].mean()
        above = (low + (high - low) * (made - first) / (last - first) - CLIPPED) / self.noise
        normal = np.exp(-(above**2) / 2) / np.sqrt(2 * np.pi)
        return np.asarray(CLIPPED + self.noise * (above * special.ndtr(above) + normal))


def line_spread(profile: Array) -> Waves:
    """The spectrum, at `FREQUENCY`, of the slope of a profile, as of an edge of height 1.

    What central differences take of it (a sinc) is given back, as far as a half.
    """
    middle = len(profile) // 2
    slope = np.gradient(profile) * np.minimum(1.0, (middle - np.abs(np.arange(len(profile)) - middle)) / 4)
    spectrum: Waves = np.fft.rfft(np.roll(np.pad(slope, (0, FINE - len(profile))), -middle))
    return np.asarray(spectrum / spectrum[0].real / np.maximum(np.sinc(2 * FREQUENCY * STEP), 0.5))


def edge(of_line: Waves, g: Array, width: float, shift: float) -> Array:
    """An edge of height 1 through a kernel that is e^g times another, at `DISTANCES`.

    Args:
        of_line: What the other makes of a line, see `line_spread`.
        g: At `FREQUENCY`.
        width: What is added to its squared width, in units².
        shift: Of the edge, in units.
    """
    exponent = np.minimum(g - 2 * np.pi**2 * width * FREQUENCY**2, 12.0)
    # The sum below is over whole bins, and ends half a bin beyond the middle of the last.
    within = np.sinc(FREQUENCY * STEP) * np.exp(-2j * np.pi * FREQUENCY * (shift + STEP / 2))
    slope = np.fft.irfft(of_line * np.exp(exponent) * within, FINE)
    reach = len(DISTANCES) // 2
    return np.asarray(np.cumsum(np.fft.fftshift(slope))[FINE // 2 - reach : FINE // 2 + reach + 1])


@dataclass(frozen=True, eq=False)
class _Texture:
    """The lung's spectrum: the reference's anatomy and noise through another kernel beside the scan's.

    Attributes:
        power: Logarithm of the scan's, of each ring.
        sd: Its standard deviation.
        used: Rings that are looked at.
        anatomy: Of the reference.
        noise: Of the reference.
    """

    power: Array
    sd: Array
    used: npt.NDArray[np.bool_]
    anatomy: Array
    noise: Array

    @classmethod
    def of(cls, scan: Measured, reference: Measured) -> _Texture | None:
        """None where one of them shows no lung, or the reference no border: its noise is then unknown."""
        if not (scan.lung.weight and reference.lung.weight and _shows_much(reference.wall)):
            return None
        power, other, noise = scan.lung.power, reference.lung.power, reference_noise(reference)
        with np.errstate(invalid="ignore"):
            used = (RINGS >= LOWEST) & (power > FAINT * np.nanmax(power)) & (other > 0)
        sd = np.sqrt(FITTED**2 + 1 / scan.lung.freedom + 1 / reference.lung.freedom)
        logarithm = np.log(np.where(used, power, 1.0))
        return cls(logarithm, sd, used, np.maximum(other - noise, 0.02 * np.maximum(other, 0.0)), noise)

    def residuals(self, g: Array, anatomy: float, noise: float, tilt: float) -> Array:
        """Of each ring, in standard deviations."""
        parts = np.exp(anatomy) * self.anatomy + np.exp(noise + tilt * (2 * RINGS) ** 2) * self.noise
        with np.errstate(divide="ignore", invalid="ignore"):
            left = (self.power - np.log(parts) - 2 * g) / self.sd
        return np.asarray(left[self.used])


def reference_noise(reference: Measured) -> Array:
    """The spectrum of the reference's noise, of each ring.

    Filtered backprojection leaves a ramp through the kernel twice (Kak and Slaney, ch. 5); the kernel is what the
    reference's borders show.
    """
    shape = RINGS * np.interp(RINGS, FREQUENCY, np.abs(line_spread(reference.wall.mean))) ** 2
    alone = (NOISE_ALONE[0] < RINGS) & (NOISE_ALONE[1] > RINGS)
    return np.asarray(shape * np.nanpercentile((reference.lung.power / shape)[alone], 30))


def _largest_noise(lung: Spectrum) -> float:
    """Standard deviation in HU of all that the lung shows; 10 where there is none."""
    if not lung.weight:
        return 10.0
    rings = 2 * np.pi * RINGS * (RINGS[1] - RINGS[0]) / UNIT_MM**2
    return max(1.0, float(np.sqrt(np.sum(np.nan_to_num(lung.power) * rings))))
