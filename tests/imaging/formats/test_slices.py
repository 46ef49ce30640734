"""Which files are the stack, in which order: worked out by hand."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from ctsr.errors import UserError
from ctsr.imaging.formats.slices import find_stack

FOLDER = Path("scan")


def stack(names: Sequence[str]) -> tuple[list[str], int | None]:
    found = find_stack([FOLDER / name for name in names])
    return [file.name for file in found.files], found.step


@pytest.mark.parametrize(
    ("names", "step"),
    [
        ([f"rec_{z:04d}.tif" for z in range(12)], 1),
        ([f"rec{z}.png" for z in range(97, 112)], 1),
        ([f"lung_rec{z:08d}.bmp" for z in range(3, 60, 2)], 2),
        ([f"s{z}.tif" for z in range(0, 50, 5)], 5),
        ([f"slice.{z}.of.40.v2.tif" for z in range(1, 41)], 1),
        ([f"{z}.tif" for z in (3, 4)], 1),
        (["IMG-0001-00001.tif", "IMG-0001-00002.tif", "IMG-0001-00003.tif"], 1),
        ([f"z{z}.tif" for z in (0, 3, 5, 8, 10, 13)], 3),  # every 2.5, rounded
        ([f"{z:03d}_at_{time}.tif" for z, time in enumerate((101112, 101115, 101117, 101201))], 1),
        (["only.tif"], None),
        (["slice_a.tif", "slice_B.tif", "slice_c.tif"], None),
        (["R.png", "S.png"], None),
    ],
)
def test_slices_in_order(names: list[str], step: int | None) -> None:
    assert stack(names) == (names, step)
    if step is not None:
        assert stack(names[::-1]) == (names, step)


@pytest.mark.parametrize(
    ("numbers", "missing"),
    [
        ([0, 1, 2, 4, 5], "after a2.tif: the numbers in the names go up by 1, but 3 is missing"),
        ([0, 2, 4, 8, 10], "go up by 2, but 6 is missing"),
        ([5, 10, 15, 30], "go up by 5, but 20, 25 are missing"),
        ([1, 2, 4, 5, 7, 8, 9], "go up by 1, but 3, 6 are missing"),
        ([1, 2, 30, 31, 32], r"go up by 1, but 3, 4, 5, 6, 7 ... \(27 in all\) are missing"),
        ([0, 2, 4, 5, 6, 8], "go up by 1, but 1, 3, 7 are missing"),
        ([1, 9], None),
    ],
)
def test_missing_slices_are_named(numbers: list[int], missing: str | None) -> None:
    names = [f"a{number}.tif" for number in numbers]
    if missing is None:
        assert stack(names) == (names, 8)
        return
    with pytest.raises(UserError, match=rf"^scan lacks slices, .*{missing}"):
        stack(names)


@pytest.mark.parametrize("other", ["lung_rec_spr.bmp", "thumbnail.bmp", "Lung_rec_spr2.bmp", "lung_rec00003_mip.bmp"])
def test_what_is_not_named_like_the_slices_is_passed_over(other: str, capsys: pytest.CaptureFixture[str]) -> None:
    names = [f"lung_rec{z:08d}.bmp" for z in range(5)]
    assert stack([*names, other]) == (names, 1)
    assert capsys.readouterr().err == f"warning: scan: passed over, since not named like the slices: {other}\n"


@pytest.mark.parametrize(
    ("names", "match"),
    [
        (["a1.tif", "a2.tif", "b1.tif", "b2.tif"], r"several stacks, a1\.tif to a2\.tif, b1\.tif to b2\.tif"),
        (["a1.tif", "a2.tif", "a1.tiff", "a2.tiff"], "several stacks"),
        (["s1.tif", "s01.tif", "s2.tif"], "no number in their names that is another in each"),
        (["s1z1.tif", "s1z2.tif", "s2z1.tif", "s2z2.tif"], "no number in their names that is another in each"),
        (["scan1_9.tif", "scan2_8.tif", "scan3_7.tif"], "several numbers that count another way each"),
        (["a.tif", "A.tif"], "no number in their names"),
        (["apex.tif", "base.tif", "mid1.tif", "mid2.tif"], r"no common name, such as apex\.tif, base\.tif: number"),
        (["apex.tif", "base.tif", "middle.tif"], r"no common name, such as apex\.tif, base\.tif, middle\.tif: number"),
        (["a1.tif", "b_2.tif"], "no common name"),
        (["ratA_section.tif", "mouseB_section.tif"], "no common name"),
        (["slice_a.tif", "slice_c.tif"], "no common name"),
        (["a_a.tif", "b_b.tif"], "no common name"),
        (["rat.tif", "ratb.tif"], "no common name"),
    ],
)
def test_several_stacks_are_told(names: list[str], match: str) -> None:
    with pytest.raises(UserError, match=match) as caught:
        stack(names)
    assert "\n" not in str(caught.value)
