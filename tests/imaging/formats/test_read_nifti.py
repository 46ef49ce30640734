from __future__ import annotations

import gzip
import struct
from pathlib import Path

import nibabel
import numpy as np
import pytest

from ctsr.data.finding.cases import find_cases
from ctsr.errors import UserError
from ctsr.imaging.formats.readers import probe, read_volume
from ctsr.imaging.padding import PADDING_BELOW_HU

AFFINE = np.array([[-0.6, 0.1, 0.0, 12.0], [0.1, 0.6, 0.05, -7.0], [0.0, -0.05, 1.5, 3.0], [0, 0, 0, 1.0]])


@pytest.fixture
def greys() -> np.ndarray:
    return np.random.default_rng(1).integers(-1000, 1000, (4, 5, 6), dtype=np.int16)  # (x, y, z) as in the file


@pytest.mark.parametrize("name", ["scan.nii", "scan.nii.gz", "Scan.2.NII.GZ"])
def test_axes_are_reversed_and_every_voxel_stays_in_place(tmp_path, greys, name) -> None:
    image = nibabel.Nifti1Image(greys, AFFINE)
    nibabel.save(image, tmp_path / name)
    volume = read_volume(tmp_path / name)
    assert volume.array.dtype == np.int16
    assert volume.slice_axis is None
    for x, y, z in [(0, 0, 0), (3, 4, 5), (1, 2, 3)]:
        assert volume.array[z, y, x] == greys[x, y, z]
        np.testing.assert_allclose(volume.affine @ [z, y, x, 1], image.affine @ [x, y, z, 1], atol=1e-5)
    header = probe(tmp_path / name)
    assert header.shape == (6, 5, 4)
    np.testing.assert_array_equal(header.affine, volume.affine)


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", ">i2", "int32", "float32", "float64"])
def test_values_equal_nibabel(tmp_path, greys, dtype) -> None:
    nibabel.save(nibabel.Nifti1Image((greys // 16 + 64).astype(dtype), AFFINE, dtype=dtype), tmp_path / "scan.nii")
    array = read_volume(tmp_path / "scan.nii").array
    assert array.dtype.isnative
    assert array.dtype == (np.float32 if "f" in dtype else np.dtype(dtype).newbyteorder("="))
    np.testing.assert_array_equal(array, nibabel.load(tmp_path / "scan.nii").get_fdata().T)


def test_slope_and_intercept_are_applied(tmp_path, greys) -> None:
    image = nibabel.Nifti1Image(greys, AFFINE)
    image.header.set_slope_inter(0.5, -3.0)
    nibabel.save(image, tmp_path / "scan.nii")
    array = read_volume(tmp_path / "scan.nii").array
    assert array.dtype == np.float32
    np.testing.assert_allclose(array, 0.5 * greys.T - 3.0)


def test_micrometres_become_millimetres(tmp_path, greys) -> None:
    image = nibabel.Nifti1Image(greys, np.diag([50.0, 50.0, 60.0, 1.0]))
    image.header.set_xyzt_units("micron")
    nibabel.save(image, tmp_path / "scan.nii")
    assert read_volume(tmp_path / "scan.nii").spacing == pytest.approx((0.06, 0.05, 0.05))


def test_padding_is_marked_only_where_asked_for(tmp_path, greys) -> None:
    greys[0] = -3024
    nibabel.save(nibabel.Nifti1Image(greys, AFFINE), tmp_path / "scan.nii")
    assert read_volume(tmp_path / "scan.nii").outside is None
    volume = read_volume(tmp_path / "scan.nii", padding_below=PADDING_BELOW_HU)
    np.testing.assert_array_equal(volume.outside, greys.T == -3024)
    assert volume.array.min() == -1024


def test_a_last_axis_of_one_is_dropped(tmp_path, greys) -> None:
    nibabel.save(nibabel.Nifti1Image(greys[..., None], AFFINE), tmp_path / "scan.nii")
    np.testing.assert_array_equal(read_volume(tmp_path / "scan.nii").array, greys.T)


def test_other_shapes_are_refused(tmp_path, greys) -> None:
    for name, array in [("series.nii", np.stack([greys, greys], axis=-1)), ("slice.nii", greys[:, :, 0])]:
        nibabel.save(nibabel.Nifti1Image(array, AFFINE), tmp_path / name)
        with pytest.raises(UserError, match=f"{name} has the shape"):
            probe(tmp_path / name)


def test_not_a_number_is_refused(tmp_path, greys) -> None:
    floats = greys.astype(np.float32)
    floats[1, 1, 1] = np.nan
    nibabel.save(nibabel.Nifti1Image(floats, AFFINE), tmp_path / "scan.nii")
    with pytest.raises(UserError, match="NaN"):
        read_volume(tmp_path / "scan.nii")


def test_broken_files_are_refused(tmp_path, greys) -> None:
    (tmp_path / "text.nii").write_text("no scan")
    with pytest.raises(UserError, match=r"text\.nii"):
        read_volume(tmp_path / "text.nii")
    for name in ("cut.nii", "cut.nii.gz"):
        nibabel.save(nibabel.Nifti1Image(np.tile(greys, (8, 8, 8)), AFFINE), tmp_path / name)
        whole = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(whole[: len(whole) // 2])
        with pytest.raises(UserError, match=name):
            read_volume(tmp_path / name)


def test_a_singular_affine_is_refused(tmp_path, greys) -> None:
    image = nibabel.Nifti1Image(greys, None)
    image.header.set_sform(np.diag([1.0, 1.0, 0.0, 1.0]), code=1)
    nibabel.save(image, tmp_path / "flat.nii")
    with pytest.raises(UserError, match="singular"):
        probe(tmp_path / "flat.nii")


def test_unknown_paths_name_the_formats(tmp_path) -> None:
    with pytest.raises(UserError, match=r"nowhere\.nii does not exist"):
        read_volume(tmp_path / "nowhere.nii")
    (tmp_path / "notes.txt").write_text("no scan")
    with pytest.raises(UserError, match=r"notes\.txt .*\.nii\.gz"):
        read_volume(tmp_path / "notes.txt")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"empty holds no scan .*DICOM"):
        read_volume(tmp_path / "empty")
    (tmp_path / "one.dcm").write_bytes(b"no scan")
    with pytest.raises(UserError, match=r"one\.dcm is not a scan"):
        read_volume(tmp_path / "one.dcm")


# Headers that other programs wrote. Fields of the NIfTI-1 header, by their byte.
DATATYPE, PIXDIM, VOX_OFFSET, SCL, UNITS, CODES, QUATERNION = 70, 76, 108, 112, 123, 252, 256


def written(
    path: Path, greys: np.ndarray, affine: np.ndarray | None = AFFINE, **fields: tuple[int, str, tuple]
) -> Path:
    """A file whose header's fields, each (byte, format, values), were put there afterwards."""
    data = bytearray(nibabel.Nifti1Image(greys, affine).to_bytes())
    for byte, form, values in fields.values():
        struct.pack_into(form, data, byte, *values)
    path.write_bytes(gzip.compress(data, mtime=0) if path.suffix == ".gz" else data)
    return path


@pytest.mark.parametrize(
    ("code", "mm", "told"),
    [
        (2, 1.0, False),
        (0, 1.0, False),
        (10, 1.0, False),
        (0xFA, 1.0, False),
        (1, 1000.0, False),
        (3, 0.001, False),
        (0xFB, 0.001, False),
        (4, 1.0, True),
        (0xFF, 1.0, True),
    ],
)
def test_the_low_three_bits_are_the_unit_of_length(tmp_path, greys, capsys, code, mm, told) -> None:
    stored = AFFINE.copy()
    stored[:3] /= mm
    path = written(tmp_path / "scan.nii", greys, stored, units=(UNITS, "<B", (code,)))
    volume = read_volume(path)
    np.testing.assert_allclose(volume.affine[:, [2, 1, 0, 3]], AFFINE, rtol=1e-5)  # size and place
    np.testing.assert_array_equal(volume.array, greys.T)
    assert ("none of NIfTI's: taken as mm" in capsys.readouterr().err) == told


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (128, "is a colour image"),
        (2304, "is a colour image"),
        (32, "complex numbers"),
        (1792, "complex numbers"),
        (1, "kind that cannot be read"),
        (0, "kind that cannot be read"),
        (999, "kind that cannot be read"),
    ],
)
@pytest.mark.parametrize("name", ["scan.nii", "scan.nii.gz"])
def test_what_is_no_grey_is_refused_by_its_header(tmp_path, greys, code, message, name) -> None:
    path = written(tmp_path / name, np.tile(greys, (2, 2, 4)), datatype=(DATATYPE, "<h", (code,)))
    with pytest.raises(UserError, match=rf"{name} .*{message}"):
        probe(path)


@pytest.mark.parametrize("sizes", [(0.6, 0.6, 0.0), (0.6, np.nan, 1.5), (np.inf, 0.6, 1.5)])
@pytest.mark.parametrize("codes", [(0, 0), (1, 0)])
def test_a_size_that_is_not_told_is_asked_for(tmp_path, greys, sizes, codes) -> None:
    path = written(tmp_path / "scan.nii", greys, p=(PIXDIM + 4, "<3f", sizes), c=(CODES, "<2h", codes))
    with pytest.raises(UserError, match=r"scan\.nii has no spacing inside: give file_spacing"):
        probe(path)
    volume = read_volume(path, spacing=(1.5, 0.7, 0.6))
    assert volume.spacing == pytest.approx((1.5, 0.7, 0.6))
    np.testing.assert_array_equal(volume.array, greys.T)


@pytest.mark.parametrize("sizes", [(0.0, 0.0, 0.0), (np.nan, 0.6, 1.5), (-0.6083, 0.6103, 1.5008)])
def test_the_sform_needs_no_other_size(tmp_path, greys, capsys, sizes) -> None:
    volume = read_volume(written(tmp_path / "scan.nii", greys, p=(PIXDIM + 4, "<3f", sizes)))
    np.testing.assert_allclose(volume.affine[:, [2, 1, 0, 3]], AFFINE, rtol=1e-6)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("sizes", [(1.0, 1.0, 1.0), (0.6083, 0.6103, 5.0), (600.0, 600.0, 1500.0)])
def test_two_sizes_that_contradict_are_told(tmp_path, greys, capsys, sizes) -> None:
    volume = read_volume(written(tmp_path / "scan.nii", greys, p=(PIXDIM + 4, "<3f", sizes)))
    np.testing.assert_allclose(volume.affine[:, [2, 1, 0, 3]], AFFINE, rtol=1e-6)
    assert "the sform's are taken" in capsys.readouterr().err


@pytest.mark.parametrize("sizes", [(0.6, 0.7, 1.5), (-0.6, 0.7, 1.5), (0.05, 0.05, 0.05)])
def test_without_a_place_the_size_holds(tmp_path, greys, capsys, sizes) -> None:
    volume = read_volume(
        written(tmp_path / "scan.nii", greys, p=(PIXDIM + 4, "<3f", sizes), c=(CODES, "<2h", (0, 0))), spacing=9.0
    )
    assert volume.spacing == pytest.approx(np.abs(sizes[::-1]))
    assert ("negative" in capsys.readouterr().err) == (min(sizes) < 0)


def test_a_size_that_may_stand_for_none_is_told(tmp_path, greys, capsys) -> None:
    path = written(tmp_path / "scan.nii", greys, p=(PIXDIM + 4, "<3f", (1, 1, 1)), c=(CODES, "<2h", (0, 0)))
    assert read_volume(path).spacing == (1, 1, 1)
    assert "give file_spacing=" in capsys.readouterr().err
    assert read_volume(path, spacing=0.05).spacing == pytest.approx((0.05, 0.05, 0.05))
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("qfac", [1.0, -1.0, 0.0, 0.5])
def test_the_quaternion_where_there_is_no_sform(tmp_path, greys, qfac) -> None:
    image = nibabel.Nifti1Image(greys, None)
    image.set_qform(AFFINE if qfac == -1 else AFFINE @ np.diag([-1.0, 1.0, 1.0, 1.0]), code=1)
    assert image.header["pixdim"][0] == (qfac if abs(qfac) == 1 else 1)
    expected = image.header.get_qform()
    data = bytearray(image.to_bytes())
    struct.pack_into("<f", data, PIXDIM, qfac)
    (tmp_path / "scan.nii").write_bytes(data)
    np.testing.assert_allclose(probe(tmp_path / "scan.nii").affine[:, [2, 1, 0, 3]], expected, atol=1e-6)


@pytest.mark.parametrize("quaternion", [(5.0, 5.0, 5.0), (np.nan, 0.0, 0.0), (0.9, 0.9, 0.9)])
def test_a_quaternion_that_is_none_is_refused(tmp_path, greys, quaternion) -> None:
    path = written(tmp_path / "scan.nii", greys, c=(CODES, "<2h", (1, 0)), q=(QUATERNION, "<3f", quaternion))
    with pytest.raises(UserError, match=r"scan\.nii") as caught:
        probe(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("codes", [(0, 77), (0, 6), (3, 77)])
def test_any_code_but_0_makes_the_sform_hold(tmp_path, greys, codes) -> None:
    volume = read_volume(written(tmp_path / "scan.nii", greys, c=(CODES, "<2h", codes)))
    np.testing.assert_allclose(volume.affine[:, [2, 1, 0, 3]], AFFINE, rtol=1e-6)


@pytest.mark.parametrize("scaling", [(0.0, 5.0), (np.nan, 5.0), (np.nan, np.nan), (1.0, 0.0)])
def test_no_slope_leaves_greys_as_stored(tmp_path, greys, scaling) -> None:
    array = read_volume(written(tmp_path / "scan.nii", greys, s=(SCL, "<2f", scaling))).array
    assert array.dtype == np.int16
    np.testing.assert_array_equal(array, greys.T)


@pytest.mark.parametrize("scaling", [(np.inf, 0.0), (1.0, np.nan), (2.0, -np.inf)])
def test_a_slope_that_cannot_be_is_refused(tmp_path, greys, scaling) -> None:
    with pytest.raises(UserError, match=r"scan\.nii is damaged: its greys cannot be multiplied"):
        read_volume(written(tmp_path / "scan.nii", greys, s=(SCL, "<2f", scaling)))


def test_extensions_and_an_offset_of_0(tmp_path, greys) -> None:
    image = nibabel.Nifti1Image(greys, AFFINE)
    image.header.extensions.append(nibabel.nifti1.Nifti1Extension("comment", b"scanned on a Monday" * 5))
    nibabel.save(image, tmp_path / "extended.nii.gz")
    np.testing.assert_array_equal(read_volume(tmp_path / "extended.nii.gz").array, greys.T)
    path = written(tmp_path / "scan.nii", greys, o=(VOX_OFFSET, "<f", (0,)))
    np.testing.assert_array_equal(read_volume(path).array, greys.T)


@pytest.mark.parametrize("offset", [348.0, 350.0, 353.5, -10.0, np.nan])
def test_voxels_that_would_begin_in_the_header_are_refused(tmp_path, greys, offset) -> None:
    with pytest.raises(UserError, match=r"scan\.nii is damaged: its voxels cannot begin at byte"):
        probe(written(tmp_path / "scan.nii", greys, o=(VOX_OFFSET, "<f", (offset,))))


@pytest.mark.parametrize("keep", [200, 352, -1])
def test_a_file_cut_off_is_refused_by_its_size(tmp_path, greys, keep) -> None:
    path = written(tmp_path / "scan.nii", greys)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(UserError, match=r"scan\.nii is (cut off: |not a readable NIfTI file)"):
        probe(path)


@pytest.mark.parametrize("damage", ["checksum", "voxel", "length", "cut in the checksum", "cut in the voxels"])
def test_a_compressed_file_is_read_to_its_checksum(tmp_path, greys, damage) -> None:
    path = written(tmp_path / "scan.nii.gz", np.tile(greys, (8, 8, 8)))
    packed = bytearray(gzip.compress(gzip.decompress(path.read_bytes()), compresslevel=0))
    cut = {"cut in the checksum": -4, "cut in the voxels": -1000}.get(damage)
    byte = {"checksum": -6, "length": -2, "voxel": 5000}.get(damage)
    if byte is not None:
        packed[byte] ^= 1
    path.write_bytes(packed[:cut])
    with pytest.raises(UserError, match=r"scan\.nii\.gz cannot be read") as caught:
        read_volume(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["scan.nii", "scan.nii.gz"])
@pytest.mark.parametrize("more", [b"x", b"\0" * 512, b"another volume" * 40])
def test_what_follows_the_last_voxel_is_told(tmp_path, greys, capsys, name, more) -> None:
    path = written(tmp_path / name, greys)
    path.write_bytes(path.read_bytes() + more)
    np.testing.assert_array_equal(read_volume(path).array, greys.T)
    zeros_after_gzip = name.endswith("gz") and not more.strip(b"\0")  # as tapes and block devices leave them
    assert ("what follows the last voxel is passed over" in capsys.readouterr().err) != zeros_after_gzip


def test_compression_is_told_by_what_the_file_holds(tmp_path, greys, capsys) -> None:
    packed, plain = written(tmp_path / "a.nii.gz", greys), written(tmp_path / "b.nii", greys)
    whole = plain.read_bytes()
    packed.rename(tmp_path / "packed.nii")
    plain.rename(tmp_path / "plain.nii.gz")
    (tmp_path / "members.nii.gz").write_bytes(gzip.compress(whole[:400]) + gzip.compress(whole[400:]))
    for name in ("packed.nii", "plain.nii.gz", "members.nii.gz"):
        np.testing.assert_array_equal(read_volume(tmp_path / name).array, greys.T)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("kind", [nibabel.Nifti1Pair, nibabel.Nifti2Pair])
@pytest.mark.parametrize("packed", [False, True])
def test_a_header_with_its_voxels_beside_it(tmp_path, greys, kind, packed) -> None:
    nibabel.save(kind(greys, AFFINE), tmp_path / "scan.hdr")
    if packed:
        data = (tmp_path / "scan.img").read_bytes()
        (tmp_path / "scan.img").unlink()
        (tmp_path / "scan.img.gz").write_bytes(gzip.compress(data))
    assert [case.path.name for case in find_cases(tmp_path, "clinical")] == ["scan.hdr"]
    volume = read_volume(tmp_path / "scan.hdr")
    np.testing.assert_array_equal(volume.array, greys.T)
    np.testing.assert_allclose(volume.affine[:, [2, 1, 0, 3]], AFFINE, rtol=1e-6)


def test_a_header_alone_or_of_another_kind(tmp_path, greys) -> None:
    nibabel.save(nibabel.Nifti1Pair(greys, AFFINE), tmp_path / "scan.hdr")
    (tmp_path / "scan.img").unlink()
    with pytest.raises(UserError, match=r"scan\.hdr is a header alone: .*scan\.img"):
        probe(tmp_path / "scan.hdr")
    (tmp_path / "envi.hdr").write_text("ENVI\nsamples = 512\n")
    with pytest.raises(UserError, match=r"envi\.hdr is not a scan"):
        probe(tmp_path / "envi.hdr")


@pytest.mark.parametrize("kind", [nibabel.Nifti1Image, nibabel.Nifti2Image])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("dtype", ["u1", "i2", "u4", "i8", "u8", "f4", "f8"])
def test_both_versions_and_both_byte_orders(tmp_path, greys, kind, order, dtype) -> None:
    header = kind.header_class(endianness=order)
    stored = (greys // 16 + 64).astype(order + dtype)
    header.set_data_dtype(stored.dtype)
    nibabel.save(kind(stored, AFFINE, header), tmp_path / "scan.nii.gz")
    array = read_volume(tmp_path / "scan.nii.gz").array
    assert array.dtype == (np.float32 if "f" in dtype else np.dtype(dtype))
    np.testing.assert_array_equal(array, stored.T)


def test_greys_beyond_single_precision_are_refused(tmp_path) -> None:
    greys = np.full((4, 5, 6), 1e300)
    nibabel.save(nibabel.Nifti1Image(greys, AFFINE), tmp_path / "scan.nii")
    with np.errstate(over="ignore"), pytest.raises(UserError, match=r"scan\.nii holds voxels that are infinite"):
        read_volume(tmp_path / "scan.nii")
