"""The page over the cases, read as HTML and looked at as pixels."""

from __future__ import annotations

import base64
import io
import re
from html.parser import HTMLParser
from pathlib import Path

import nibabel
import numpy as np
import pytest
from PIL import Image

from ctsr.data.finding.cases import Case
from ctsr.data.preparing.settings import ClinicalSettings
from ctsr.data.preparing.store import PreparedCase, prepare
from ctsr.data.qc import draw_case, write_page


@pytest.fixture
def case(tmp_path: Path) -> PreparedCase:
    """A square of lung in a chest; its name needs escaping."""
    hu = np.full((6, 60, 60), 30, np.int16)
    hu[:, 15:45, 15:45] = -850
    (tmp_path / "masks").mkdir()
    for path, array in ((tmp_path / "a.nii", hu), (tmp_path / "masks" / "a&b.nii", (hu < 0).astype(np.uint8))):
        nibabel.save(nibabel.Nifti1Image(array.T, np.diag([1.0, 1.0, 2.0, 1.0])), path)
    settings = ClinicalSettings(spacing=None, masks=str(tmp_path / "masks"))
    return prepare(Case("a&b", tmp_path / "a.nii"), settings, tmp_path / "cache")


class Page(HTMLParser):
    """Text of the table's cells, and where the pictures come from."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.cells: list[str] = []
        self.sources: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "td":
            self.cells.append("")
        if tag == "img":
            self.sources.append(str(dict(attrs)["src"]))

    def handle_data(self, data: str) -> None:
        if self.cells:
            self.cells[-1] += data


def test_page_tells_of_each_case_and_needs_no_other_file(case: PreparedCase, tmp_path: Path) -> None:
    write_page({"clinical": {"train": [case], "test": []}}, {case: 7}, tmp_path / "data.html")
    text = (tmp_path / "data.html").read_text()
    page = Page(text)
    assert page.cells[:5] == ["clinical", "a&b", "train", "nifti", "2 × 1 × 1"]
    assert page.cells[6:8] == ["10.8", "7"]
    assert "only 7 places for patches" in page.cells[8]
    assert not re.search(r"(src|href)=['\"]?https?:", text)
    (source,) = page.sources
    picture = Image.open(io.BytesIO(base64.b64decode(source.partition("base64,")[2]))).convert("RGB")
    assert np.asarray(picture).std() > 20


def test_what_is_odd_of_all_together_stands_above(case: PreparedCase, tmp_path: Path) -> None:
    write_page({"clinical": {"train": [case]}}, {case: 7}, tmp_path / "data.html", ["scales <differ>"])
    text = (tmp_path / "data.html").read_text()
    assert 0 < text.index("scales &lt;differ&gt;") < text.index("<table>")


def scan(folder: Path, name: str, distance: float, seed: int) -> PreparedCase:
    hu = np.random.default_rng(seed).normal(-850, 20, (6, 24, 24)).astype(np.int16)
    nibabel.save(nibabel.Nifti1Image(hu.T, np.diag([1.0, 1.0, distance, 1.0])), folder / f"{name}.nii")
    (folder / "masks").mkdir(exist_ok=True)
    inside = np.ones_like(hu, np.uint8)
    nibabel.save(nibabel.Nifti1Image(inside.T, np.diag([1.0, 1.0, distance, 1.0])), folder / "masks" / f"{name}.nii")
    settings = ClinicalSettings(spacing=None, masks=str(folder / "masks"))
    return prepare(Case(name, folder / f"{name}.nii"), settings, folder / "cache")


def test_scanners_that_differ_are_one_line_above_all_cases(tmp_path: Path) -> None:
    a, b, c = (scan(tmp_path, name, z, k) for k, (name, z) in enumerate({"a": 0.8, "b": 2.12, "c": 1.25}.items()))
    write_page({"clinical": {"train": [a, b], "val": [c]}}, {a: 99, b: 99, c: 99}, tmp_path / "data.html")
    text = (tmp_path / "data.html").read_text()
    assert text.count("usual") == 1
    assert 0 < text.index("none of them usual (a 0.8 mm, c 1.25 mm, b 2.12 mm)") < text.index("<table>")


def test_a_case_cut_into_parts_counts_once(tmp_path: Path) -> None:
    """As in mode slab: three parts of one case are no majority against another."""
    a, b = scan(tmp_path, "a", 0.8, 0), scan(tmp_path, "b", 2.0, 1)
    parts = {part: [a.view(range(k, k + 2)), b.view(range(k, k + 2))] for part, k in (("train", 0), ("val", 2))}
    places = {case: 99 for cases in parts.values() for case in cases}
    write_page({"clinical": parts}, places, tmp_path / "data.html")
    assert "none of them usual (a 0.8 mm, b 2 mm)" in (tmp_path / "data.html").read_text()


def test_pictures_are_drawn_once(case: PreparedCase, tmp_path: Path, monkeypatch) -> None:
    cases = {"clinical": {"train": [case]}}
    write_page(cases, {case: 7}, tmp_path / "first.html")
    monkeypatch.setattr("ctsr.data.qc.draw_case", None)
    write_page(cases, {case: 7}, tmp_path / "second.html")
    assert (tmp_path / "first.html").read_bytes() == (tmp_path / "second.html").read_bytes()


def test_outline_lies_around_the_mask(case: PreparedCase) -> None:
    axis = draw_case(case).axes[1]
    vertices = np.concatenate([path.vertices for path in axis.collections[0].get_paths()])
    np.testing.assert_allclose([vertices.min(axis=0), vertices.max(axis=0)], [[15, 15], [45, 45]], atol=1)


@pytest.mark.parametrize("shape", [(1, 60, 60), (2, 60, 60), (1, 16, 200)])
def test_a_scan_of_few_slices_is_drawn(shape: tuple[int, int, int], tmp_path: Path) -> None:
    hu = np.full(shape, 30, np.int16)
    hu[:, 4:12, 10:40] = -850
    hu[:, ::3, ::4] = 30
    (tmp_path / "masks").mkdir()
    for path, array in ((tmp_path / "a.nii", hu), (tmp_path / "masks" / "a.nii", (hu < 0).astype(np.uint8))):
        nibabel.save(nibabel.Nifti1Image(array.T, np.diag([1.0, 1.0, 2.0, 1.0])), path)
    settings = ClinicalSettings(spacing=None, masks=str(tmp_path / "masks"))
    case = prepare(Case("a", tmp_path / "a.nii"), settings, tmp_path / "cache")
    write_page({"clinical": {"train": [case]}}, {case: 7}, tmp_path / "data.html")
    assert len(Page((tmp_path / "data.html").read_text()).sources) == 1
    coronal = draw_case(case).axes[3]
    assert coronal.images[0].get_array().shape == (shape[0], shape[2])
