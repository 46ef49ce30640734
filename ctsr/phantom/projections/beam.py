"""What is left of a beam of 120 kV behind water, bone and iodine, and the water that would leave as much.

Mass attenuation coefficients: Hubbell and Seltzer, NIST Standard Reference Database 126; cortical bone as ICRU-44 has
it.
The spectrum is Kramers' law behind 7 mm of aluminium, and the detector adds up energy. Scatter is left out: scanners
subtract it.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.floating]

VOLTAGE = 120.0  # kV
FILTER = 7.0  # mm of aluminium
BONE_DENSITY, ALUMINIUM_DENSITY = 1.92, 2.699  # g/cm³

_KEV = (20.0, 30.0, 40.0, 50.0, 60.0, 80.0, 100.0, 150.0)
_WATER = (0.8096, 0.3756, 0.2683, 0.2269, 0.2059, 0.1837, 0.1707, 0.1505)  # cm²/g, as all below
_BONE = (4.001, 1.331, 0.6655, 0.4242, 0.3148, 0.2229, 0.1855, 0.1480)
_ALUMINIUM = (3.441, 1.128, 0.5685, 0.3681, 0.2778, 0.2018, 0.1704, 0.1378)
_IODINE_KEV = (20.0, 30.0, 33.169, 33.17, 40.0, 50.0, 60.0, 80.0, 100.0, 150.0)  # with its K edge
_IODINE = (25.43, 8.561, 6.553, 35.82, 22.10, 12.32, 7.579, 3.510, 1.942, 0.6978)


def _per_mm(kev: tuple[float, ...], coefficients: tuple[float, ...], density: float) -> Array:
    """Attenuation in /mm at `ENERGIES`; between the table's energies, logarithms are interpolated."""
    return np.asarray(np.exp(np.interp(np.log(ENERGIES), np.log(kev), np.log(coefficients))) * density / 10)


ENERGIES = np.arange(22.5, VOLTAGE, 5.0)  # keV, the middle of each bin
WATER = _per_mm(_KEV, _WATER, 1.0)
BONE = _per_mm(_KEV, _BONE, BONE_DENSITY)
IODINE = _per_mm(_IODINE_KEV, _IODINE, 1e-3)  # of 1 mg/ml


def _spectrum() -> Array:
    photons = (VOLTAGE / ENERGIES - 1) * np.exp(-FILTER * _per_mm(_KEV, _ALUMINIUM, ALUMINIUM_DENSITY))
    signal = photons * ENERGIES
    return np.asarray(signal / signal.sum())


SPECTRUM = _spectrum()
"""Share of the signal that each energy makes where nothing is in the beam."""


def transmitted(water: Array, bone: Array | float = 0.0, iodine: Array | float = 0.0) -> Array:
    """Share of the signal that is left, Σ w(E) exp(-Σ µ(E) path).

    Args:
        water: Path in mm; tissue counts as water of its density.
        bone: Path in mm of cortical bone.
        iodine: Path in mm times concentration in mg/ml.

    Returns:
        Shares, the shape of `water`.
    """
    share = np.zeros_like(water)
    for weight, *attenuation in zip(SPECTRUM, WATER, BONE, IODINE, strict=True):
        of_water, of_bone, of_iodine = (water.dtype.type(value) for value in attenuation)
        share += water.dtype.type(weight) * np.exp(-(of_water * water + of_bone * bone + of_iodine * iodine))
    return share


_PATHS = np.linspace(-40.0, 600.0, 6401)  # mm; noise makes paths through air negative, too
_LOGARITHMS = -np.log(transmitted(_PATHS))


def water_path(share: Array) -> Array:
    """Path in mm of the water that leaves a share: what scanners correct beam hardening by; bone keeps its own."""
    return np.asarray(np.interp(-np.log(share), _LOGARITHMS, _PATHS), dtype=np.float32)
