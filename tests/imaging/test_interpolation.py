"""Interpolation against other libraries, grey maps against maps that are known."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from ctsr.imaging.grey_map import GreyMap, to_clinical
from ctsr.imaging.interpolation import bicubic, nearest


def test_nearest_makes_blocks() -> None:
    lr = torch.arange(6.0).reshape(1, 1, 2, 3)
    assert np.array_equal(nearest(lr)[0, 0].numpy(), np.kron(lr[0, 0].numpy(), np.ones((8, 8))))


def test_bicubic_keeps_a_ramp_where_it_is_in_the_world() -> None:
    # Low-resolution pixel k is centred at 8k + 3.5 fine pixels.
    centres = 8 * np.arange(16) + 3.5
    lr = torch.from_numpy(np.tile(centres / 64 - 1, (16, 1)).astype(np.float32))[None, None]
    fine = bicubic(lr)[0, 0].numpy()
    error = (fine - (np.arange(128) / 64 - 1))[24:-24, 24:-24]
    # The kernel ripples by less than half a fine pixel's step, evenly about the ramp.
    assert np.abs(error).max() < 0.5 / 64
    assert np.abs(error[0].reshape(-1, 8).mean(axis=1)).max() < 1e-6


def test_inverse_of_a_grey_map_with_a_plateau() -> None:
    grey_map = GreyMap(np.array([-1.0, 0.0, 0.2, 1.0]), np.array([-0.5, 0.1, 0.1, 0.9]))
    back = grey_map.inverse()
    assert back.knots.tolist() == [-0.5, 0.1, 0.9]
    assert back.values.tolist() == pytest.approx([-1.0, 0.1, 1.0])
    assert back.apply(grey_map.apply([-0.75, 1.0])).tolist() == pytest.approx([-0.725, 1.0])


def test_grey_map_recovers_a_monotone_map() -> None:
    rng = np.random.default_rng(0)
    source = rng.uniform(-1, 1, 50_000)
    target = np.tanh(2 * rng.uniform(-1, 1, 70_000)) * 0.8 + 0.1  # unpaired: other draws, through the map
    fitted = GreyMap.fit(source, target)
    greys = np.linspace(-0.95, 0.95, 50)
    assert np.abs(fitted.apply(greys) - (np.tanh(2 * greys) * 0.8 + 0.1)).max() < 0.02


def test_grey_map_is_monotone_with_clipped_greys() -> None:
    rng = np.random.default_rng(1)
    source = np.clip(rng.normal(-0.8, 0.4, 10_000), -1, 1)
    fitted = GreyMap.fit(source, rng.normal(size=5_000))
    assert (np.diff(fitted.knots) > 0).all()
    assert (np.diff(fitted.values) >= 0).all()
    assert (np.diff(fitted.apply(np.linspace(-2, 2, 100))) >= 0).all()


def test_grey_map_survives_json() -> None:
    fitted = GreyMap.fit(np.linspace(0, 1, 100), np.linspace(3, 5, 100))
    again = GreyMap.from_dict(json.loads(json.dumps(fitted.to_dict())))
    greys = np.random.default_rng(0).uniform(-1, 2, (4, 5))
    assert np.array_equal(again.apply(greys), fitted.apply(greys))
    assert fitted.apply(greys).shape == (4, 5)


def test_way_back_is_the_calibrated_one_where_there_is_one() -> None:
    quantiles = GreyMap(np.array([-1.0, 1.0]), np.array([-0.5, 1.0]))
    calibrated = GreyMap(np.array([-1.0, 1.0]), np.array([-1.0, 0.9]))
    assert to_clinical({"clinical": quantiles}).apply([-0.5, 0.25]).tolist() == pytest.approx([-1.0, 0.0])
    assert to_clinical({"clinical": quantiles, "calibrated": calibrated}) is calibrated
