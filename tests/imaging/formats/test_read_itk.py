"""MetaImage and NRRD whose headers ITK takes for something else: written by hand, and by pynrrd."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path
from typing import Any

import nrrd
import numpy as np
import pytest

from ctsr.errors import UserError
from ctsr.imaging.formats.readers import files_of, probe, read_volume

SPACING = (2.0, 0.6, 0.5)  # z, y, x
LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


@pytest.fixture
def greys() -> np.ndarray:
    return np.random.default_rng(0).integers(-1000, 1000, (4, 5, 6)).astype("<i2")  # (z, y, x)


def metaimage(path: Path, data: bytes = b"", **fields: Any) -> Path:
    """A header, and the voxels after it; a field of None is left out."""
    plain: dict[str, Any] = {
        "ObjectType": "Image",
        "NDims": 3,
        "BinaryData": "True",
        "BinaryDataByteOrderMSB": "False",
        "CompressedData": "False",
        "TransformMatrix": "1 0 0 0 1 0 0 0 1",
        "Offset": "-10 20 30",
        "ElementSpacing": "0.5 0.6 2",
        "DimSize": "6 5 4",
        "ElementType": "MET_SHORT",
    }
    last = {"ElementDataFile": fields.pop("ElementDataFile", "LOCAL")}
    lines = [f"{key} = {value}\n" for key, value in (plain | fields | last).items() if value is not None]
    path.write_bytes("".join(lines).encode() + data)
    return path


def nrrd_file(path: Path, data: bytes, letters: str = "utf-8", **fields: Any) -> Path:
    """A NRRD file of 6 x 5 x 4 voxels; underscores in the names of fields stand for spaces."""
    plain = {"type": "short", "dimension": 3, "sizes": "6 5 4", "endian": "little", "encoding": "raw"}
    named = {key.replace("_", " "): value for key, value in (plain | fields).items()}
    lines = [f"{key}: {value}\n" for key, value in named.items() if value is not None]
    path.write_bytes(("NRRD0004\n" + "".join(lines) + "\n").encode(letters) + data)
    return path


def affine(spacing: tuple[float, float, float], first: tuple[float, float, float]) -> np.ndarray:
    """Of an axial scan; `first` in LPS, x before y before z."""
    lps = np.zeros((4, 4))
    lps[2, 0], lps[1, 1], lps[0, 2], lps[3, 3] = *spacing, 1
    lps[:3, 3] = first
    return LPS_TO_RAS @ lps


@pytest.mark.parametrize(
    ("unit", "mm"), [("mm", 1.0), ("um", 0.001), ("cm", 10.0), ("?", 1.0), ("micron", 0.001), (None, 1.0)]
)
def test_units_of_metaimage(tmp_path: Path, greys: np.ndarray, unit: str | None, mm: float) -> None:
    sizes, first = (" ".join(repr(v / mm) for v in values) for values in (SPACING[::-1], (-10, 20, 30)))
    path = metaimage(tmp_path / "scan.mha", greys.tobytes(), DistanceUnits=unit, ElementSpacing=sizes, Offset=first)
    volume = read_volume(path)
    np.testing.assert_array_equal(volume.array, greys)
    np.testing.assert_allclose(volume.affine, affine(SPACING, (-10, 20, 30)), atol=1e-9)
    np.testing.assert_array_equal(probe(path).affine, volume.affine)


@pytest.mark.parametrize(
    ("unit", "mm"),
    [("mm", 1.0), ("um", 0.001), ("µm", 0.001), ("μm", 0.001), ("Microns", 0.001), ("cm", 10.0), ("m", 1000.0)],
)
def test_units_of_nrrd(tmp_path: Path, greys: np.ndarray, unit: str, mm: float) -> None:
    x, y, z = (size / mm for size in SPACING[::-1])
    placed = {
        "space": "left-posterior-superior",
        "space_directions": f"({x!r},0,0) (0,{y!r},0) (0,0,{z!r})",
        "space_origin": f"({-10 / mm!r},{20 / mm!r},{30 / mm!r})",
        "space_units": f'"{unit}" ' * 3,
    }
    volume = read_volume(nrrd_file(tmp_path / "a.nrrd", greys.tobytes(), **placed))
    np.testing.assert_array_equal(volume.array, greys)
    np.testing.assert_allclose(volume.affine, affine(SPACING, (-10, 20, 30)), atol=1e-9)
    # Also where each axis has a unit of its own.
    path = nrrd_file(tmp_path / "b.nrrd", greys.tobytes(), spacings=f"{x!r} {y!r} {z!r}", units=f'"{unit}" ' * 3)
    np.testing.assert_allclose(read_volume(path).affine, affine(SPACING, (0, 0, 0)), atol=1e-9)


def test_units_that_pynrrd_writes(tmp_path: Path, greys: np.ndarray) -> None:
    header = {
        "space": "left-posterior-superior",
        "space directions": np.diag(SPACING[::-1]) * 1000,
        "space origin": np.array([-10, 20, 30]) * 1000,
        "space units": ["um"] * 3,
        "encoding": "gzip",
    }
    for name in ("scan.nrrd", "scan.nhdr"):
        nrrd.write(str(tmp_path / name), greys.T, header)
        volume = read_volume(tmp_path / name)
        np.testing.assert_array_equal(volume.array, greys)
        np.testing.assert_allclose(volume.affine, affine(SPACING, (-10, 20, 30)), atol=1e-9)


def test_units_that_differ_or_are_written_in_latin_1(tmp_path: Path, greys: np.ndarray) -> None:
    path = nrrd_file(
        tmp_path / "a.nrrd", greys.tobytes(), "latin-1", spacings="500 600 2", units='"µm" "µm" "mm"', endian="little"
    )
    assert read_volume(path).spacing == pytest.approx(SPACING)
    path = nrrd_file(
        tmp_path / "b.nrrd",
        greys.tobytes(),
        dimension=4,
        sizes="1 6 5 4",
        spacings="nan 500 600 2000",
        units='"" "um" "um" "um"',
        kinds="vector domain domain domain",
    )
    volume = read_volume(path)
    assert volume.spacing == pytest.approx(SPACING)
    np.testing.assert_array_equal(volume.array, greys)


@pytest.mark.parametrize("unit", ["furlong", "pixel", "in"])
def test_an_unknown_unit_is_refused(tmp_path: Path, greys: np.ndarray, unit: str) -> None:
    files = [
        metaimage(tmp_path / "scan.mha", greys.tobytes(), DistanceUnits=unit),
        nrrd_file(tmp_path / "scan.nrrd", greys.tobytes(), spacings="0.5 0.6 2", units=f'"{unit}" ' * 3),
    ]
    for path in files:
        with pytest.raises(UserError, match=rf"{path.name} has sizes in '.*{unit}"):
            probe(path)


SPACES = ["left-posterior-superior", "right-anterior-superior", "left-anterior-superior", "LPS", "RAS", "LAS"]


@pytest.mark.parametrize("space", SPACES)
def test_spaces_of_nrrd(tmp_path: Path, greys: np.ndarray, space: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Beside pynrrd, which gives directions and origin as they are written."""
    directions = np.array([[0.48, 0.1, 0.0], [-0.1, 0.58, 0.02], [0.0, -0.05, 2.0]])
    path = nrrd_file(
        tmp_path / "scan.nrrd",
        greys.tobytes(),
        space=space,
        space_directions=" ".join("({},{},{})".format(*v) for v in directions),
        space_origin="(-10,20,30)",
    )
    names = {"L": "left", "R": "right", "P": "posterior", "A": "anterior", "S": "superior"}
    words = [names[letter] for letter in space] if space.isupper() else space.split("-")
    to_ras = np.diag([1.0 if word in ("right", "anterior", "superior") else -1.0 for word in words])
    _, header = nrrd.read(str(path))
    volume = read_volume(path)
    np.testing.assert_allclose(volume.affine[:3, [2, 1, 0]], to_ras @ header["space directions"].T, atol=1e-12)
    np.testing.assert_allclose(volume.affine[:3, 3], to_ras @ header["space origin"])
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("space", ["scanner-xyz", "3D-right-handed", "3D-left-handed"])
def test_a_space_that_is_not_the_body_s_is_told(
    tmp_path: Path, greys: np.ndarray, space: str, capsys: pytest.CaptureFixture[str]
) -> None:
    directions = "(0.5,0,0) (0,0.6,0) (0,0,2)"
    path = nrrd_file(tmp_path / "scan.nrrd", greys.tobytes(), space=space, space_directions=directions)
    assert read_volume(path).spacing == pytest.approx(SPACING)
    assert f"its space '{space}' has no directions of the body" in capsys.readouterr().err


NO_SPACING: list[dict[str, Any]] = [
    {"ElementSpacing": None},
    {"ElementSpacing": "0.5 0.6 0"},
    {"ElementSpacing": "0.5 nan 2"},
    {"ElementSpacing": "0,5 0,6 2"},
    {"ElementSpacing": "0.5 0.6"},
    {},
    {"spacings": "0.5 0.6 nan"},
    {"spacings": "0.5 0.6 0"},
    {"axis_mins": "0 0 0", "axis_maxs": "3 3 8"},
    {"space": "LPS", "space_directions": "(0.5,0,0) (0,0.6,0) none"},
    {"space": "LPS", "space_directions": "(0.5,0,0) (0,0.6,0) (nan,nan,nan)"},
]


@pytest.mark.parametrize("fields", NO_SPACING)
def test_a_size_that_is_not_told_is_asked_for(tmp_path: Path, greys: np.ndarray, fields: dict[str, Any]) -> None:
    """ITK would say 1 mm."""
    if "ElementSpacing" in fields:
        path = metaimage(tmp_path / "scan.mha", greys.tobytes(), **fields)
    else:
        path = nrrd_file(tmp_path / "scan.nrrd", greys.tobytes(), **fields)
    with pytest.raises(UserError, match=rf"{path.name} has no spacing inside: give file_spacing"):
        probe(path)


@pytest.mark.parametrize("name", ["scan.mha", "scan.nrrd", "scan.nhdr"])
def test_the_size_that_the_user_gives(tmp_path: Path, greys: np.ndarray, name: str) -> None:
    if name == "scan.mha":
        metaimage(tmp_path / name, greys.tobytes(), ElementSpacing=None)
    elif name == "scan.nrrd":
        nrrd_file(tmp_path / name, greys.tobytes())
    else:
        nrrd.write(str(tmp_path / name), greys.T)
    volume = read_volume(tmp_path / name, spacing=SPACING)
    assert volume.spacing == SPACING
    np.testing.assert_array_equal(volume.array, greys)


def test_sizes_by_their_other_name_and_backwards(tmp_path: Path, greys: np.ndarray) -> None:
    path = metaimage(tmp_path / "a.mha", greys.tobytes(), ElementSpacing=None, ElementSize="0.5 0.6 2")
    assert read_volume(path).spacing == pytest.approx(SPACING)
    # A negative size is a step the other way, as ITK has it.
    backwards = np.diag([-0.5, 0.6, 2.0])
    for path in (
        metaimage(tmp_path / "b.mha", greys.tobytes(), ElementSpacing="-0.5 0.6 2", Offset="0 0 0"),
        nrrd_file(tmp_path / "c.nrrd", greys.tobytes(), spacings="-0.5 0.6 2"),
    ):
        np.testing.assert_allclose(probe(path).affine[:3, [2, 1, 0]], LPS_TO_RAS[:3, :3] @ backwards)


@pytest.mark.parametrize("matrix", ["2 0 0 0 1 0 0 0 1", "1 0 0 0.3 1 0 0 0 1", "0 0 0 0 0 0 0 0 0"])
def test_directions_that_also_stretch_are_refused(tmp_path: Path, greys: np.ndarray, matrix: str) -> None:
    path = metaimage(tmp_path / "scan.mha", greys.tobytes(), TransformMatrix=matrix)
    with pytest.raises(UserError, match=r"scan\.mha has directions that are not of length 1"):
        probe(path)


@pytest.mark.parametrize(
    "fields", [{"BinaryDataByteOrderMSB": "True"}, {"BinaryDataByteOrderMSB": None, "ElementByteOrderMSB": "True"}]
)
@pytest.mark.parametrize("packed", [False, True])
def test_byte_orders(tmp_path: Path, greys: np.ndarray, fields: dict[str, Any], packed: bool) -> None:
    data = greys.astype(">i2").tobytes()
    if packed:
        data = zlib.compress(data)
        fields = fields | {"CompressedData": "True", "CompressedDataSize": len(data)}
    volume = read_volume(metaimage(tmp_path / "scan.mha", data, **fields))
    np.testing.assert_array_equal(volume.array, greys)
    assert volume.array.dtype == np.dtype("=i2")


@pytest.mark.parametrize(
    "kind",
    [
        "raw.mhd",
        "header.mhd",
        "header -1.mhd",
        "list.mhd",
        "list 2.mhd",
        "pattern.mhd",
        "raw.nhdr",
        "skip.nhdr",
        "skip -1.nhdr",
        "list.nhdr",
        "pattern.nhdr",
    ],
)
def test_voxels_in_other_files(
    tmp_path: Path, greys: np.ndarray, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "all.raw").write_bytes(greys.tobytes())
    (tmp_path / "head.raw").write_bytes(b"h" * 32 + greys.tobytes())
    names = [f"s{z}.raw" for z in range(4)]
    for name, plane in zip(names, greys, strict=True):
        (tmp_path / name).write_bytes(plane.tobytes())
    listed, pattern = "\n".join(["LIST", *names]), "s%d.raw 0 3 1"
    given: dict[str, tuple[dict[str, Any], list[str]]] = {
        "raw.mhd": ({"ElementDataFile": "all.raw"}, ["all.raw"]),
        "header.mhd": ({"ElementDataFile": "head.raw", "HeaderSize": 32}, ["head.raw"]),
        "header -1.mhd": ({"ElementDataFile": "head.raw", "HeaderSize": -1}, ["head.raw"]),
        "list.mhd": ({"ElementDataFile": listed}, names),
        "list 2.mhd": ({"ElementDataFile": listed.replace("LIST", "LIST 2")}, names),
        "pattern.mhd": ({"ElementDataFile": pattern}, names),
        "raw.nhdr": ({"data_file": "all.raw"}, ["all.raw"]),
        "skip.nhdr": ({"byte_skip": 32, "data_file": "head.raw"}, ["head.raw"]),
        "skip -1.nhdr": ({"byte_skip": -1, "data_file": "head.raw"}, ["head.raw"]),
        "list.nhdr": ({"data_file": listed}, names),
        "pattern.nhdr": ({"data_file": pattern}, names),
    }
    fields, files = given[kind]
    if kind.endswith(".mhd"):
        path = metaimage(tmp_path / kind, **fields)
    else:
        path = nrrd_file(tmp_path / kind, b"", spacings="0.5 0.6 2", **fields)
        path.write_bytes(path.read_bytes().rstrip(b"\n") + b"\n" * (1 if "list" in kind else 2))
    np.testing.assert_array_equal(read_volume(path).array, greys)
    assert capsys.readouterr().err == ""
    assert [file.name for file in files_of(path)] == [path.name, *files]
    if "-1" not in kind:  # counted from its end, a file is never too short
        (tmp_path / files[-1]).write_bytes((tmp_path / files[-1]).read_bytes()[:-3])
        with pytest.raises(UserError, match=rf"{kind} cannot be read") as caught:
            read_volume(path)
        assert "\n" not in str(caught.value)
    (tmp_path / files[-1]).unlink()
    with pytest.raises(UserError, match=rf"{kind} cannot be read.*{files[-1]}"):
        probe(path)


@pytest.mark.parametrize(
    "data", ["LIST\ns0.raw\ns1.raw\ns2.raw", "s%d.raw 0 2 1", "LIST\ns0.raw\ns1.raw\ns2.raw\ns3.raw\ns3.raw"]
)
def test_a_list_of_another_length_is_refused(tmp_path: Path, greys: np.ndarray, data: str) -> None:
    """ITK fills what is missing with whatever the memory held."""
    for z, plane in enumerate(greys):
        (tmp_path / f"s{z}.raw").write_bytes(plane.tobytes())
    with pytest.raises(UserError, match=r"scan\.mhd lists [35] files for 4 slices"):
        probe(metaimage(tmp_path / "scan.mhd", ElementDataFile=data))


@pytest.mark.parametrize("name", ["scan.mha", "scan.nrrd"])
@pytest.mark.parametrize("change", [-240, -7, -1])
def test_too_few_voxels_are_noticed_by_the_header(tmp_path: Path, greys: np.ndarray, name: str, change: int) -> None:
    write = metaimage if name == "scan.mha" else nrrd_file
    path = write(tmp_path / name, greys.tobytes()[:change], **({} if name == "scan.mha" else {"spacings": "1 1 1"}))  # type: ignore[operator]
    with pytest.raises(UserError, match=rf"{name} cannot be read to its end: {name} has {240 + change} of 240 bytes"):
        probe(path)


@pytest.mark.parametrize("name", ["scan.mha", "scan.mhd", "scan.nrrd", "scan.nhdr"])
def test_more_bytes_than_voxels_are_told(
    tmp_path: Path, greys: np.ndarray, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    data = greys.tobytes() + b"more"
    (tmp_path / "all.raw").write_bytes(data)
    if name.startswith("scan.mh"):
        path = metaimage(tmp_path / name, data, ElementDataFile="LOCAL" if name == "scan.mha" else "all.raw")
    else:
        fields = {"data_file": "all.raw"} if name == "scan.nhdr" else {}
        path = nrrd_file(tmp_path / name, data, spacings="0.5 0.6 2", **fields)
    np.testing.assert_array_equal(read_volume(path).array, greys)
    assert "holds 4 bytes more than its header tells" in capsys.readouterr().err


@pytest.mark.parametrize("damage", ["checksum", "voxel", "middle", "cut", "cut in the checksum"])
@pytest.mark.parametrize("name", ["scan.mha", "scan.mhd", "scan.nrrd"])
def test_compressed_voxels_are_checked(tmp_path: Path, greys: np.ndarray, name: str, damage: str) -> None:
    """ITK gives some damaged ones as if nothing were."""
    pack = gzip.compress if name == "scan.nrrd" else zlib.compress
    data = bytearray(pack(greys.tobytes(), 0))
    byte = {"checksum": -6 if name == "scan.nrrd" else -1, "voxel": 60, "middle": 150}.get(damage)
    if byte is not None:
        data[byte] ^= 1
    data = data[: {"cut": -100, "cut in the checksum": -2}.get(damage)]
    if name == "scan.nrrd":
        path = nrrd_file(tmp_path / name, bytes(data), spacings="0.5 0.6 2", encoding="gzip")
    else:
        (tmp_path / "scan.zraw").write_bytes(data)
        where = "LOCAL" if name == "scan.mha" else "scan.zraw"
        path = metaimage(
            tmp_path / name, bytes(data), CompressedData="True", CompressedDataSize=len(data), ElementDataFile=where
        )
    with pytest.raises(UserError, match=rf"{name} cannot be read") as caught:
        read_volume(path)
    assert "\n" not in str(caught.value)


def test_compressed_without_a_size_or_by_gzip(tmp_path: Path, greys: np.ndarray) -> None:
    for pack in (zlib.compress, gzip.compress):
        path = metaimage(tmp_path / "scan.mha", pack(greys.tobytes()), CompressedData="True")
        np.testing.assert_array_equal(read_volume(path).array, greys)


def test_greys_that_are_to_be_scaled_are_refused(tmp_path: Path, greys: np.ndarray) -> None:
    for fields in ({"ElementToIntensityFunctionSlope": 2}, {"ElementToIntensityFunctionOffset": -1024}):
        with pytest.raises(UserError, match=r"scan\.mha has greys that are to be scaled"):
            probe(metaimage(tmp_path / "scan.mha", greys.tobytes(), **fields))


def test_one_volume_of_more_axes(tmp_path: Path, greys: np.ndarray) -> None:
    identity = " ".join(str(int(v)) for v in np.eye(4).ravel())
    four = {"NDims": 4, "DimSize": "6 5 4 1", "TransformMatrix": identity, "Offset": "-10 20 30 0"}
    path = metaimage(tmp_path / "scan.mha", greys.tobytes(), ElementSpacing="0.5 0.6 2 1", **four)
    volume = read_volume(path)
    np.testing.assert_array_equal(volume.array, greys)
    np.testing.assert_allclose(volume.affine, affine(SPACING, (-10, 20, 30)))
    path = metaimage(
        tmp_path / "two.mha", greys.tobytes() * 2, ElementSpacing="0.5 0.6 2 1", **four | {"DimSize": "6 5 4 2"}
    )
    with pytest.raises(UserError, match=r"two\.mha has 4 dimensions"):
        probe(path)


@pytest.mark.parametrize(("kind", "values"), [("2-vector", 2), ("RGB-color", 3), ("vector", 6)])
def test_more_values_than_one_a_voxel(tmp_path: Path, greys: np.ndarray, kind: str, values: int) -> None:
    path = nrrd_file(
        tmp_path / "scan.nrrd",
        np.repeat(greys[..., None], values, axis=-1).tobytes(),
        dimension=4,
        sizes=f"{values} 6 5 4",
        kinds=f"{kind} domain domain domain",
        spacings="nan 0.5 0.6 2",
    )
    with pytest.raises(UserError, match=r"scan\.nrrd has .* values a voxel"):
        probe(path)


def test_wide_numbers(tmp_path: Path) -> None:
    for element, dtype in (("MET_DOUBLE", "<f8"), ("MET_LONG_LONG", "<i8"), ("MET_UCHAR", "u1"), ("MET_FLOAT", "<f4")):
        greys = np.arange(120).reshape(4, 5, 6).astype(dtype)
        array = read_volume(metaimage(tmp_path / "scan.mha", greys.tobytes(), ElementType=element)).array
        np.testing.assert_array_equal(array, greys)
        assert array.dtype == (np.float32 if "f" in dtype else np.dtype(dtype))


@pytest.mark.parametrize("field", ["NDims", "DimSize", "ElementType", "ElementDataFile"])
def test_a_field_that_is_missing_is_named(tmp_path: Path, greys: np.ndarray, field: str) -> None:
    path = metaimage(tmp_path / "scan.mha", greys.tobytes(), **{field: None})
    with pytest.raises(UserError, match=rf"scan\.mha is not a readable MetaImage: its header has no .*{field}"):
        probe(path)
    (tmp_path / "scan.mha").write_bytes(path.read_bytes()[:100])
    with pytest.raises(UserError, match=r"scan\.mha is not a readable MetaImage"):
        probe(path)


def test_lists_of_files_of_several_slices(tmp_path: Path, greys: np.ndarray) -> None:
    identity = " ".join(str(int(v)) for v in np.eye(4).ravel())
    four = {"NDims": 4, "DimSize": "6 5 4 1", "TransformMatrix": identity, "Offset": "0 0 0 0"}
    for z, plane in enumerate(greys):
        (tmp_path / f"s{z}.raw").write_bytes(plane.tobytes())
    listed = "\n".join(["LIST 2", *(f"s{z}.raw" for z in range(4))])
    path = metaimage(tmp_path / "scan.mhd", ElementSpacing="0.5 0.6 2 1", ElementDataFile=listed, **four)
    np.testing.assert_array_equal(read_volume(path).array, greys)
    path = metaimage(tmp_path / "local.mha", greys.tobytes(), ElementDataFile="Local")
    np.testing.assert_array_equal(read_volume(path).array, greys)


@pytest.mark.parametrize("first", ["nan 20 30", "-10 inf 30", "-10,5 20 30", "-10 20", "left 20 30"])
@pytest.mark.parametrize("key", ["Offset", "Origin", "Position"])
def test_a_place_that_is_none(tmp_path: Path, greys: np.ndarray, key: str, first: str) -> None:
    """ITK would put it, or a part of it, at 0."""
    path = metaimage(tmp_path / "scan.mha", greys.tobytes(), **{"Offset": None, key: first})
    with pytest.raises(UserError, match=rf"scan\.mha has a place that cannot be, {key} = {first}: write"):
        read_volume(path)
