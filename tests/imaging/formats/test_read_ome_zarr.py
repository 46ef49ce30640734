"""OME-Zarr as different writers leave it: arrays by tensorstore, metadata by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorstore

from ctsr.data.finding.cases import find_cases
from ctsr.errors import UserError
from ctsr.imaging.formats.readers import probe, read_volume

GREYS = np.random.default_rng(0).integers(1, 60000, (6, 8, 9)).astype(np.uint16)
SCALE = [{"type": "scale", "scale": [1, 1, 60.0, 40.0, 50.0]}]
SIZE = (0.06, 0.04, 0.05)


def axes(unit: str | None = "micrometer") -> list[dict[str, Any]]:
    """Time, channel, z, y and x."""
    space = [{"name": name, "type": "space", **({"unit": unit} if unit else {})} for name in "zyx"]
    return [{"name": "t", "type": "time"}, {"name": "c", "type": "channel"}, *space]


def write_group(folder: Path, attributes: dict[str, Any], version: int = 2) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    if version == 2:
        (folder / ".zgroup").write_text('{"zarr_format": 2}')
        (folder / ".zattrs").write_text(json.dumps(attributes))
    else:
        meta = {"zarr_format": 3, "node_type": "group", "attributes": {"ome": {"version": "0.5", **attributes}}}
        (folder / "zarr.json").write_text(json.dumps(meta))
    return folder


def write_array(folder: Path, array: np.ndarray, version: int = 2, **metadata: Any) -> Path:
    spec = {
        "driver": "zarr" if version == 2 else "zarr3",
        "kvstore": {"driver": "file", "path": str(folder)},
        "dtype": array.dtype.name,
        "metadata": {"shape": list(array.shape), **metadata},
        "create": True,
    }
    tensorstore.open(spec).result()[...] = array
    return folder


def write_image(
    folder: Path,
    greys: np.ndarray = GREYS,
    version: int = 2,
    transforms: Any = SCALE,
    named: list[dict[str, Any]] | None = None,
    **metadata: Any,
) -> Path:
    dataset = {"path": "0"} if transforms is None else {"path": "0", "coordinateTransformations": transforms}
    image = {"axes": axes() if named is None else named, "datasets": [dataset]}
    write_group(folder, {"multiscales": [image]}, version)
    write_array(folder / "0", greys.reshape((1,) * (5 - greys.ndim) + greys.shape), version, **metadata)
    return folder


def test_by_either_version(tmp_path: Path) -> None:
    for version in (2, 3):
        path = write_image(tmp_path / f"{version}.zarr", version=version)
        volume = read_volume(path)
        np.testing.assert_array_equal(volume.array, GREYS)
        assert volume.array.dtype == np.uint16
        assert volume.spacing == pytest.approx(SIZE)
        assert (probe(path).shape, probe(path).spacing) == (GREYS.shape, pytest.approx(SIZE))


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("mark", [{"bioformats2raw.layout": 3}, {}])
def test_an_image_one_group_down(mark: dict[str, Any], version: int, tmp_path: Path) -> None:
    """As bioformats2raw has it by default; the case is called after the outer folder."""
    root = write_group(tmp_path / "root" / "lung 1.zarr", mark, version)
    write_group(root / "OME", {"series": ["0"]}, version)
    write_image(root / "0", version=version)
    write_group(root / "0" / "labels", {"labels": []}, version)
    np.testing.assert_array_equal(read_volume(root).array, GREYS)
    assert [(case.name, case.path) for case in find_cases(tmp_path / "root", "micro")] == [("lung 1", root)]
    assert [case.name for case in find_cases(root, "micro")] == ["lung 1"]
    write_image(root / "1", version=version)
    with pytest.raises(UserError, match=r"lung 1\.zarr holds 2 images: give one of .*lung 1\.zarr/0, .*1\.zarr/1$"):
        read_volume(root)
    np.testing.assert_array_equal(read_volume(root / "1").array, GREYS)


@pytest.mark.parametrize("version", [2, 3])
def test_what_is_no_image_is_said(version: int, tmp_path: Path) -> None:
    for name, match in (
        ("plate", {"plate": {"rows": []}}),
        ("well", {"well": {"images": []}}),
        ("nothing", {}),
        ("empty", {"multiscales": []}),
        ("odd", {"multiscales": [{"axes": axes(), "datasets": [{"path": "0"}]}]}),
    ):
        write_group(tmp_path / name, match, version)
    write_array(tmp_path / "bare", GREYS, version)
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / ("zarr.json" if version == 3 else ".zgroup")).write_text("{")
    for name, match in {
        "plate": "is a plate of many images",
        "well": "is a plate of many images",
        "bare": "is a bare Zarr array",
        **dict.fromkeys(("nothing", "empty", "odd", "broken"), "is no OME-Zarr image"),
    }.items():
        with pytest.raises(UserError, match=rf"{name} {match}") as caught:
            probe(tmp_path / name, 0.05)
        assert "\n" not in str(caught.value)


# --- voxel sizes


@pytest.mark.parametrize("unit", ["micron", "um", "µm", "micrometers", "Micrometer"])
def test_other_names_of_units(unit: str, tmp_path: Path) -> None:
    assert probe(write_image(tmp_path / "a.zarr", named=axes(unit))).spacing == pytest.approx(SIZE)


@pytest.mark.parametrize("unit", [None, "pixel"])
def test_a_unit_that_is_not_told_is_asked_for(unit: str | None, tmp_path: Path) -> None:
    path = write_image(tmp_path / "a.zarr", named=axes(unit))
    with pytest.raises(UserError, match=r"a\.zarr has (no unit|the units pixel.*) along its axes: give file_spacing="):
        probe(path)
    assert probe(path, 0.05).spacing == pytest.approx((0.05, 0.05, 0.05))


def test_another_size_than_the_file_tells_is_refused(tmp_path: Path) -> None:
    path = write_image(tmp_path / "a.zarr")
    assert probe(path, SIZE).spacing == pytest.approx(SIZE)
    with pytest.raises(UserError, match=r"a\.zarr: its OME metadata tells voxels of .* but file_spacing=0\.05: leave"):
        probe(path, 0.05)


@pytest.mark.parametrize(
    "transforms", [None, [], [{"type": "identity"}], [{"type": "translation", "translation": [1] * 5}]]
)
def test_a_scale_that_is_not_told_is_asked_for(transforms: Any, tmp_path: Path) -> None:
    """It would be taken for 1, and a voxel for 1 µm."""
    path = write_image(tmp_path / "a.zarr", transforms=transforms)
    with pytest.raises(UserError, match=r"a\.zarr has no spacing inside: give file_spacing="):
        probe(path)
    assert read_volume(path, 0.05).spacing == pytest.approx((0.05, 0.05, 0.05))


@pytest.mark.parametrize("size", [0.0, -50.0, float("nan"), float("inf")])
def test_a_scale_that_is_none(size: float, tmp_path: Path) -> None:
    path = write_image(tmp_path / "a.zarr", transforms=[{"type": "scale", "scale": [1, 1, 50, size, 50]}])
    for given in (None, 0.05):
        with pytest.raises(UserError, match=r"a\.zarr has a scale that is no voxel size") as caught:
            probe(path, given)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "transforms",
    [
        [{"type": "scale", "scale": [50, 50, 50]}],
        [{"type": "scale", "scale": ["a"] * 5}],
        [{"type": "scale", "path": "somewhere"}],
        [{"scale": [1] * 5}],
        ["scale"],
    ],
)
def test_transformations_that_make_no_sense(transforms: Any, tmp_path: Path) -> None:
    path = write_image(tmp_path / "a.zarr", transforms=transforms)
    with pytest.raises(UserError, match=r"a\.zarr is no OME-Zarr image, its metadata are not") as caught:
        probe(path, 0.05)
    assert "\n" not in str(caught.value)


# --- voxels


@pytest.mark.parametrize("kind", [">u2", "<i2", "|u1", ">f8", "|b1"])
def test_number_types(kind: str, tmp_path: Path) -> None:
    greys = (GREYS % 200).astype(kind)
    path = write_image(tmp_path / "a.zarr", greys, dtype=kind)
    array = read_volume(path).array
    np.testing.assert_array_equal(array, greys)
    assert array.dtype == {"f": np.float32, "b": np.uint8}.get(kind[1], np.dtype(kind).newbyteorder("="))


def test_axes_in_another_order_are_turned(tmp_path: Path) -> None:
    named = [axes()[place] for place in (4, 2, 0, 1, 3)]  # x, z, t, c, y
    scale = [{"type": "scale", "scale": [50.0, 60.0, 1, 1, 40.0]}]
    path = write_image(tmp_path / "a.zarr", GREYS.transpose(2, 0, 1)[:, :, None, None], transforms=scale, named=named)
    np.testing.assert_array_equal(read_volume(path).array, GREYS)
    assert probe(path).spacing == pytest.approx(SIZE)


@pytest.mark.parametrize("axis", [0, 1])
def test_channels_and_times_are_refused(axis: int, tmp_path: Path) -> None:
    path = write_image(tmp_path / "a.zarr", np.stack([GREYS[None], GREYS[None]], axis))
    with pytest.raises(UserError, match=rf"a\.zarr has 2 values along {'tc'[axis]}"):
        probe(path)


@pytest.mark.parametrize("version", [2, 3])
def test_chunks_that_are_not_there(version: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """They read as the fill value, rightly where a writer leaves out empty ones: told, and none at all refused."""
    grid = {"chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [1, 1, 1, 8, 9]}}}
    shape = {"chunks": [1, 1, 1, 8, 9]} if version == 2 else grid
    path = write_image(tmp_path / "a.zarr", version=version, **shape)
    chunks = sorted(file for file in (path / "0").rglob("*") if file.is_file() and "zarr" not in file.name)
    assert len(chunks) == 6
    read_volume(path)
    assert capsys.readouterr().err == ""
    whole = chunks[1].read_bytes()
    chunks[1].unlink()
    assert not read_volume(path).array[1].any()
    assert capsys.readouterr().err == f"warning: {path}/0: 1 of 6 chunks are not there, taken as empty\n"
    chunks[1].write_bytes(whole)
    read_volume(path)
    for chunk in chunks:
        chunk.unlink()
    with pytest.raises(UserError, match=r"a\.zarr/0 holds no data"):
        read_volume(path)


@pytest.mark.parametrize(
    ("version", "codec"),
    [
        *((2, {"compressor": {"id": name}}) for name in ("blosc", "zlib", "zstd", "bz2")),
        (2, {"compressor": None}),
        *(
            (3, {"codecs": [{"name": "bytes", "configuration": {"endian": "little"}}, *more]})
            for more in ([], [{"name": "blosc", "configuration": {}}], [{"name": "gzip"}], [{"name": "zstd"}])
        ),
    ],
)
def test_a_chunk_cut_off_is_refused(version: int, codec: dict[str, Any], tmp_path: Path) -> None:
    path = write_image(tmp_path / "a.zarr", version=version, **codec)
    (chunk,) = (file for file in (path / "0").rglob("*") if file.is_file() and "zarr" not in file.name)
    whole = chunk.read_bytes()
    np.testing.assert_array_equal(read_volume(path).array, GREYS)
    for size in (1, 7, 20, len(whole) // 2, len(whole) - 7):
        chunk.write_bytes(whole[:size])
        with pytest.raises(UserError, match=r"a\.zarr.* (cannot be read, 0: |is cut off)") as caught:
            read_volume(path)
        assert "\n" not in str(caught.value)
