"""Lungs by several kinds of acquisition: the clinical scans are cut to what the micro-CT covers."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest

from ctsr.data.pairs import find_projections, load_kinds, load_pair
from ctsr.errors import UserError
from tests.data.projected import FINE, SLICES, averaged, write_lung


@pytest.mark.parametrize("flip", [False, True])
def test_each_kind_is_cut_to_what_the_micro_ct_covers(tmp_path: Path, flip: bool) -> None:
    micro = write_lung(tmp_path / "lung_000", flip=flip)
    pairs = load_kinds(tmp_path / "lung_000")
    assert list(pairs) == ["edge", "soft"]
    for kind, pair in pairs.items():
        assert pair.name == "lung_000"
        np.testing.assert_array_equal(pair.clinical.array, averaged(micro, kind))
        assert pair.clinical.spacing == pytest.approx((SLICES[kind].step * FINE, 8 * FINE, 8 * FINE))
        assert pair.slices == tuple(enumerate(SLICES[kind]))
        np.testing.assert_array_equal(pair.micro.array, micro)
        outer = [volume.affine @ (0, -0.5, -0.5, 1) for volume in (pair.clinical, pair.micro)]
        np.testing.assert_allclose(outer[0][:2], outer[1][:2], atol=1e-6)
        assert pair.clinical.array.base is None, "the rest of the scan is let go"


def test_all_kinds_share_the_micro_ct(tmp_path: Path) -> None:
    write_lung(tmp_path / "a")
    edge, soft = load_kinds(tmp_path / "a").values()
    assert edge.micro is soft.micro
    assert edge.labels is soft.labels
    assert edge.inside is soft.inside


def test_a_paired_scan_may_show_more_than_its_micro_ct(tmp_path: Path) -> None:
    micro = write_lung(tmp_path / "a")
    (tmp_path / "a/soft.nii.gz").rename(tmp_path / "a/clinical.nii.gz")
    np.testing.assert_array_equal(load_pair(tmp_path / "a").clinical.array, averaged(micro, "soft"))


@pytest.mark.parametrize("first", [(-1, 0), (0, -2), (9, 0), (0, 15)])
def test_a_micro_ct_beyond_the_field_of_view_is_refused(tmp_path: Path, first: tuple[int, int]) -> None:
    write_lung(tmp_path / "a", first=first)
    with pytest.raises(
        UserError, match=r"a/edge\.nii\.gz does not show all of micro\.nii\.gz in the plane: give a scan"
    ):
        load_kinds(tmp_path / "a")


def test_a_micro_ct_off_the_grid_is_refused(tmp_path: Path) -> None:
    write_lung(tmp_path / "a")
    for name in ("micro", "labels"):
        image = nibabel.load(tmp_path / f"a/{name}.nii.gz")
        image.affine[0, 3] -= FINE / 2
        nibabel.save(nibabel.Nifti1Image(np.asarray(image.dataobj), image.affine), tmp_path / f"a/{name}.nii.gz")
    with pytest.raises(UserError, match=r"not on the x8 grid of edge\.nii\.gz.*0\.50 pixels apart"):
        load_kinds(tmp_path / "a")


def test_a_micro_ct_of_broken_pixels_is_refused(tmp_path: Path) -> None:
    write_lung(tmp_path / "a", size=124)
    with pytest.raises(UserError, match=r"x8 grid of edge\.nii\.gz: \(124, 124\) pixels instead of \(120, 120\)"):
        load_kinds(tmp_path / "a")


def test_lungs_are_found_by_their_scans(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no lungs"):
        find_projections(tmp_path)
    for name in ("b", "a"):
        write_lung(tmp_path / name)
    (tmp_path / "notes").mkdir()
    assert find_projections(tmp_path) == [tmp_path / "a", tmp_path / "b"]
    for kind in SLICES:
        (tmp_path / f"b/{kind}.nii.gz").unlink()
    with pytest.raises(UserError, match=r"/b: no clinical scan lies beside micro\.nii\.gz"):
        find_projections(tmp_path)
