from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import brentq

from ctsr.phantom.projections import beam


def test_attenuation_is_that_of_the_published_tables() -> None:
    at = int(np.flatnonzero(beam.ENERGIES == 62.5)[0])
    # NIST XCOM for 62.5 keV lies between those of 60 and 80 keV: water 0.2059 and 0.1837 cm²/g.
    assert 0.01837 < beam.WATER[at] < 0.02059
    assert 1.92 * 0.02229 < beam.BONE[at] < 1.92 * 0.03148
    below, above = (beam.IODINE[np.flatnonzero(kev == beam.ENERGIES)[0]] for kev in (32.5, 37.5))
    assert above > 3 * below  # the K edge lies at 33.2 keV


def test_half_value_layer_is_that_of_a_ct_at_120_kv() -> None:
    aluminium = beam._per_mm(beam._KEV, beam._ALUMINIUM, beam.ALUMINIUM_DENSITY)
    layer = brentq(lambda mm: (beam.SPECTRUM * np.exp(-aluminium * mm)).sum() - 0.5, 1, 20)
    assert 6.5 < layer < 9.5  # published for CT beams of 120 kV: 7 to 9 mm of aluminium
    assert 58 < (beam.SPECTRUM * beam.ENERGIES).sum() < 70


def test_water_is_made_linear_and_bone_is_not() -> None:
    paths = np.array([0.0, 1.0, 50.0, 200.0, 400.0])
    np.testing.assert_allclose(beam.water_path(beam.transmitted(paths)), paths, atol=1e-3)
    through_bone = [beam.water_path(beam.transmitted(np.array([water]), 10.0))[0] - water for water in (0.0, 250.0)]
    assert (
        through_bone[1] < 0.9 * through_bone[0]
    )  # the harder the beam, the less bone takes: dark streaks between bones


def test_noise_may_make_paths_through_air_negative() -> None:
    soft = (beam.SPECTRUM * beam.WATER).sum()  # attenuation of the beam before anything has hardened it
    assert beam.water_path(np.array([1.02]))[0] == pytest.approx(-np.log(1.02) / soft, rel=0.02)


def test_iodine_is_as_bright_as_in_a_patient() -> None:
    # 25 HU for each mg/ml at 120 kV behind a body (Bae, Radiology 256, 2010), measured in about 200 to 300 mm of water.
    behind = np.array([200.0])
    added = beam.water_path(beam.transmitted(behind, 0.0, 10.0 * 10.0))[0] - 200.0  # 10 mm of 10 mg/ml
    assert 1000 * added / 100 == pytest.approx(25, abs=4)
