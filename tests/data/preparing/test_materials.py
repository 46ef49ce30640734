"""Air and tissue found in µCT, against what the volume was made of."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from scipy.ndimage import gaussian_filter

from ctsr.data.preparing.materials import find_materials, gain_and_offset, hu_window
from ctsr.data.preparing.store import PreparedCase
from ctsr.errors import UserError
from ctsr.imaging.intensity import Window

AIR, TISSUE = -0.9, 0.8


def specimen(folder: Path, noise: float = 0.06, margin: int = 24, walls: float = 1.0, seed: int = 0) -> PreparedCase:
    """Vessels in foam, of which no square holds one material alone, with a margin of air."""
    rng = np.random.default_rng(seed)
    foam = gaussian_filter(rng.normal(size=(4, 160, 160)), (0, 0.5, 0.5))
    image = np.where(foam > 0.1, walls - 0.7, -0.7)
    for y, x in rng.integers(40, 120, (6, 2)):
        image[:, y : y + 14, x : x + 14] = TISSUE
    mask = np.zeros(image.shape, bool)
    mask[:, margin : 160 - margin, margin : 160 - margin] = True
    image[~mask] = AIR
    image = np.clip(image + noise * rng.normal(size=image.shape), -1, 1)
    folder.mkdir(parents=True)
    for name, array in (("image", image.astype(np.float16)), ("slab", image.astype(np.float16)), ("mask", mask)):
        np.save(folder / f"{name}.npy", array)
    return PreparedCase(folder, folder.name, "micro", Window(0, 1), np.diag([0.1, -0.1, -0.1, 1]), (160, 160), range(4))


@pytest.mark.parametrize("noise", [0.02, 0.06])
def test_finds_what_it_is_made_of(tmp_path: Path, noise: float) -> None:
    air, tissue = find_materials(specimen(tmp_path / "a", noise))
    assert air == pytest.approx(AIR, abs=0.02)
    assert tissue == pytest.approx(TISSUE, abs=0.02)


def test_padding_is_not_air(tmp_path: Path) -> None:
    case = specimen(tmp_path / "a")
    image: npt.NDArray[np.float16] = np.load(case.folder / "image.npy")
    image[:, :12] = -1.0  # no scanner has seen anything there
    np.save(case.folder / "image.npy", image)
    assert find_materials(case)[0] == pytest.approx(AIR, abs=0.02)


def test_greys_become_hu_and_clinical_greys(tmp_path: Path) -> None:
    cases = [specimen(tmp_path / "a", seed=1), specimen(tmp_path / "b", seed=2)]
    np.testing.assert_allclose(hu_window(cases[0], (-1000, 40)).restore([AIR, TISSUE]), [-1000, 40], rtol=0, atol=15)
    gain, offset = gain_and_offset(cases, (-1000, 40), Window(-1000, 100))
    np.testing.assert_allclose(gain * np.array([AIR, TISSUE]) + offset, [-1, 1040 / 550 - 1], rtol=0, atol=0.03)


def test_air_in_airways_alone(tmp_path: Path) -> None:
    """Most even squares are foam, at -0.7 or what its walls make of it."""
    case = specimen(tmp_path / "a", margin=0, walls=0.05)
    image: npt.NDArray[np.float16] = np.load(case.folder / "image.npy")
    image[:, 70:84, 20:34] = AIR + 0.06 * np.random.default_rng(5).normal(size=(4, 14, 14))
    np.save(case.folder / "image.npy", image)
    assert find_materials(case)[0] == pytest.approx(AIR, abs=0.02)


def test_names_a_case_of_one_material(tmp_path: Path) -> None:
    case = specimen(tmp_path / "lung_7")
    np.save(case.folder / "image.npy", np.full((4, 160, 160), -0.5, np.float16))
    with pytest.raises(UserError, match="lung_7: air and tissue are not both to be seen"):
        find_materials(case)
