"""Regions counted by hand, and scores over them against scikit-image."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from skimage.metrics import structural_similarity

from ctsr.evaluation.measures.regions import region_scores, regions
from ctsr.phantom.labels import Label


def lung(size: int = 64) -> npt.NDArray[np.uint8]:
    return np.full((size, size), Label.PARENCHYMA, np.uint8)


def test_a_structure_has_a_rim_of_three_pixels() -> None:
    labels = lung()
    labels[30, 30] = Label.VESSEL
    found = regions(labels)
    assert set(found) == {"vessel", "parenchyma"}
    ball = np.abs(np.arange(64) - 30)[:, None] + np.abs(np.arange(64) - 30) <= 3
    np.testing.assert_array_equal(found["vessel"], ball)
    np.testing.assert_array_equal(found["parenchyma"], ~ball)


def test_lumen_and_wall_are_one_airway() -> None:
    labels = lung()
    labels[20:31, 20:31] = Label.AIRWAY_WALL
    labels[22:29, 22:29] = Label.AIRWAY_LUMEN
    assert regions(labels)["airway"].sum() == 11 * 11 + 4 * 11 * 3 + 4 * 3  # the square, its sides' rims, its corners'


def test_neighbours_share_their_rim_and_leave_none_to_parenchyma() -> None:
    labels = lung()
    labels[:, 20:24] = Label.VESSEL
    labels[:, 28:32] = Label.NODULE
    found = regions(labels)
    assert (found["vessel"] & found["nodule"]).sum() == 64 * 2
    assert found["parenchyma"].sum() == 64 * (64 - (35 - 17))


def test_no_region_reaches_into_the_chest_wall() -> None:
    labels = lung()
    labels[:, :10], labels[:, 10:12], labels[:4] = Label.CHEST_WALL, Label.PLEURA, Label.OUTSIDE
    found = regions(labels)
    assert found["pleura"].sum() == 60 * 5
    assert found["parenchyma"].sum() == 60 * (64 - 15)


def test_error_is_summed_over_the_region() -> None:
    labels = lung()
    labels[10:20, 10:20] = Label.NODULE
    masks = regions(labels)
    truth = np.full((64, 64), 0.5, np.float32)
    image = np.where(masks["nodule"], np.float32(0.6), truth)
    scores = region_scores(image, truth, masks)
    count = int(masks["nodule"].sum())
    assert scores["mse_nodule"][0] == pytest.approx(0.01 * count, rel=1e-5)
    assert scores["mse_nodule"][1] == count
    assert scores["mse_parenchyma"] == (0.0, 64 * 64 - count)
    assert scores["ssim_nodule"][0] < count - 1


def test_similarity_over_a_region_is_scikit_images() -> None:
    rng = np.random.default_rng(0)
    image, truth = rng.random((2, 64, 64)).astype(np.float32)
    labels = lung()
    labels[5:25, 30:50] = Label.VESSEL
    masks = regions(labels)
    _, local = structural_similarity(
        *(np.pad(values, 5, mode="reflect") for values in (image, truth)),
        data_range=1.0,
        gaussian_weights=True,
        use_sample_covariance=False,
        full=True,
    )
    scores = region_scores(image, truth, masks)
    for name in ("vessel", "parenchyma"):
        assert scores[f"ssim_{name}"][0] == pytest.approx(local[5:-5, 5:-5][masks[name]].sum(), abs=0.01)
