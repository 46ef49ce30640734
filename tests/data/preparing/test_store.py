from __future__ import annotations

import json
import multiprocessing
import os
import pickle
import re
import signal
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK
from scipy import ndimage

from ctsr.data.finding.cases import Case
from ctsr.data.preparing import hashes, preparation
from ctsr.data.preparing.hashes import scan_hash
from ctsr.data.preparing.preparation import slab_means, slab_slices
from ctsr.data.preparing.settings import ClinicalSettings, MicroSettings
from ctsr.data.preparing.store import PreparedCase, check_size, prepare, prepare_all
from ctsr.errors import UserError
from ctsr.files import content_hash
from ctsr.imaging.formats.readers import probe
from tests.conftest import check_bars_have_ended
from tests.read_only import read_only

CLINICAL = ClinicalSettings(spacing=None)
MICRO = MicroSettings(spacing=None)


def disk(size: int, radius: float) -> np.ndarray:
    centre = (size - 1) / 2
    y, x = np.indices((size, size)) - centre
    return np.hypot(y, x) < radius


@pytest.fixture
def lung(tmp_path) -> Case:
    """A round chest, 6 slices of 60x60 at 2 mm, RAS as many converters write it; one bright voxel in the lung."""
    plane = np.full((60, 60), -1000)
    plane[disk(60, 27)] = 30
    plane[disk(60, 20)] = -850
    hu = np.repeat(plane[None], 6, axis=0) + np.random.default_rng(0).normal(0, 15, (6, 60, 60))
    hu[2, 25, 33] = 60
    file = tmp_path / "lung.nii.gz"
    nibabel.save(nibabel.Nifti1Image(hu.T.astype(np.int16), np.diag([2.0, 2.0, 3.0, 1.0])), file)
    return Case("lung", file)


@pytest.fixture
def specimen(tmp_path) -> Case:
    """Round lung foam in air, 15 slices of 100x100 at 0.08 mm."""
    rng = np.random.default_rng(0)
    cells = ndimage.gaussian_filter(rng.normal(size=(15, 100, 100)), 1.2)
    tissue = np.clip(1 - np.abs(cells) / (0.25 * cells.std()), 0, 1) * disk(100, 40)
    greys = 5000 + 19000 * tissue + rng.normal(0, 300, tissue.shape)
    file = tmp_path / "specimen.nii"
    nibabel.save(nibabel.Nifti1Image(greys.T.astype(np.uint16), np.diag([0.08, 0.08, 0.08, 1.0])), file)
    return Case("specimen", file)


def raw(case: Case) -> np.ndarray:
    """The file's voxels in canonical orientation, by nibabel: (z, y, x) with y and x reversed from RAS."""
    return nibabel.load(case.path).get_fdata().T[:, ::-1, ::-1]


def test_clinical_values_and_geometry(lung, tmp_path) -> None:
    case = prepare(lung, CLINICAL, tmp_path / "cache")
    hu = raw(lung)
    assert (case.name, case.domain, case.shape) == ("lung", "clinical", (6, 60, 60))
    assert case.image.dtype == np.float16
    np.testing.assert_allclose(case.image, np.clip((hu + 1000) / 550 - 1, -1, 1), atol=1e-3)
    assert case.slab is case.image
    inside = np.broadcast_to(disk(60, 20), case.shape)
    assert 2 * (case.mask & inside).sum() / (case.mask.sum() + inside.sum()) > 0.98
    assert case.spacing == pytest.approx((3, 2, 2))
    index = np.unravel_index(np.argmax(np.where(case.mask, hu, -2000)), hu.shape)
    np.testing.assert_allclose(case.affine @ [*index, 1], [33 * 2, 25 * 2, 2 * 3, 1])


def test_micro_window_and_slab(specimen, tmp_path) -> None:
    case = prepare(specimen, MicroSettings(spacing=None, slab_mm=0.4), tmp_path / "cache")
    greys = raw(specimen)[:, :96, :96]
    assert case.shape == (15, 96, 96)  # whole low-resolution pixels
    low, high = np.percentile(greys[case.mask], [0.5, 99.5])
    assert (case.window.low, case.window.high) == pytest.approx((low, high))
    expected = np.clip(2 * (greys - low) / (high - low) - 1, -1, 1)
    np.testing.assert_allclose(case.image, expected, atol=1e-3)
    mean_of_5 = np.clip(2 * (greys[4:9].mean(axis=0) - low) / (high - low) - 1, -1, 1)
    np.testing.assert_allclose(case.slab[6], mean_of_5, atol=1e-3)
    mean_of_3 = np.clip(2 * (greys[:3].mean(axis=0) - low) / (high - low) - 1, -1, 1)
    np.testing.assert_allclose(case.slab[0], mean_of_3, atol=1e-3)


def test_resampling_keeps_the_world(lung, tmp_path) -> None:
    case = prepare(lung, ClinicalSettings(spacing=0.5), tmp_path / "cache")
    assert case.shape == (6, 240, 240)
    assert case.spacing == pytest.approx((3, 0.5, 0.5))
    peak = np.unravel_index(np.argmax(np.where(disk(240, 72), case.image, -1)), case.shape)
    assert case.mask[peak]
    np.testing.assert_allclose((case.affine @ [*peak, 1])[:3], [66, 50, 6], atol=0.5)
    assert case.mask.mean() == pytest.approx(disk(60, 20).mean(), rel=0.03)


@pytest.mark.parametrize(("slab", "spacing", "slices"), [(0, 0.1, 1), (0.6, 0.08, 7), (0.72, 0.08, 9), (0.1, 0.08, 1)])
def test_slab_slices(slab, spacing, slices) -> None:
    assert slab_slices(slab, spacing) == slices


@pytest.mark.parametrize("slices", [1, 3, 7, 21])
def test_slab_means_against_the_definition(slices) -> None:
    array = np.random.default_rng(0).integers(0, 60000, (10, 2, 3)).astype(np.uint16)
    half = slices // 2
    expected = [array[max(0, k - half) : k + half + 1].mean(axis=0) for k in range(10)]
    np.testing.assert_allclose(list(slab_means(array, slices)), expected, rtol=1e-6)


def test_a_second_call_finds_the_first_ones_work(lung, tmp_path, monkeypatch) -> None:
    first = prepare(lung, CLINICAL, tmp_path / "cache")
    monkeypatch.setattr(preparation, "prepare_scan", None)
    again = prepare(lung, CLINICAL, tmp_path / "cache")
    assert again.folder == first.folder
    np.testing.assert_array_equal(again.affine, first.affine)


def test_content_hash_sees_every_byte_and_name(tmp_path) -> None:
    for name in ("1", "2"):
        (tmp_path / name).write_text("same")
    before = content_hash(tmp_path)
    (tmp_path / "2").rename(tmp_path / "3")
    renamed = content_hash(tmp_path)
    assert renamed != before  # a name orders TIFF slices
    (tmp_path / "3").write_text("Same")
    assert content_hash(tmp_path) != renamed


def test_an_unchanged_scan_and_its_case_are_not_read_again(lung, tmp_path, monkeypatch) -> None:
    first = prepare(lung, CLINICAL, tmp_path / "cache")
    monkeypatch.setattr(hashes, "content_hash", None)
    assert prepare(lung, CLINICAL, tmp_path / "cache").folder == first.folder


@pytest.mark.parametrize("damage", ["short", "missing", "changed"])
def test_a_damaged_case_is_named_and_made_anew(lung, tmp_path, capsys, damage) -> None:
    first = prepare(lung, CLINICAL, tmp_path / "cache")
    expected = np.array(first.image)
    file = first.folder / "image.npy"
    if damage == "short":
        file.write_bytes(file.read_bytes()[:-10])
    elif damage == "missing":
        file.unlink()
    else:
        content = bytearray(file.read_bytes())
        content[-1] ^= 1
        file.write_bytes(content)
    again = prepare(lung, CLINICAL, tmp_path / "cache")
    np.testing.assert_array_equal(again.image, expected)
    assert "image.npy is damaged: clinical case lung is prepared anew" in capsys.readouterr().err


@pytest.mark.parametrize("spacing", [None, 1.0])
def test_a_users_mask_instead_of_ours(lung, tmp_path, spacing) -> None:
    """On a coarser grid of the same world; nonzero labels are inside."""
    inside = np.zeros((30, 30, 6), np.uint8)
    inside[5:12, 8:20] = 3
    affine = np.diag([4.0, 4.0, 3.0, 1.0])
    affine[:2, 3] = 1.0  # both grids start at the same edge
    (tmp_path / "masks").mkdir()
    nibabel.save(nibabel.Nifti1Image(inside, affine), tmp_path / "masks" / "lung_mask.nii.gz")
    settings = ClinicalSettings(spacing=spacing, masks=str(tmp_path / "masks"))
    case = prepare(lung, settings, tmp_path / "cache")
    fine = np.repeat(np.repeat(inside.T > 0, 2, axis=1), 2, axis=2)[:, ::-1, ::-1]
    fine = fine if spacing is None else np.repeat(np.repeat(fine, 2, axis=1), 2, axis=2)
    assert (case.mask != fine).mean() < 0.005
    with pytest.raises(UserError, match=r"holds no mask of clinical case other: name it other\.nii\.gz"):
        prepare(Case("other", lung.path), settings, tmp_path / "cache")


def test_other_content_or_settings_are_another_case(lung, tmp_path) -> None:
    wider = ClinicalSettings(spacing=None, window=(-1000, 400))
    folders = {prepare(lung, settings, tmp_path / "cache").folder for settings in (CLINICAL, wider)}
    image = nibabel.load(lung.path)
    nibabel.save(nibabel.Nifti1Image(np.asarray(image.dataobj) + np.int16(1), image.affine), lung.path)
    folders.add(prepare(lung, CLINICAL, tmp_path / "cache").folder)
    assert len(folders) == 3


def test_case_json_tells_what_was_done(lung, tmp_path) -> None:
    case = prepare(lung, CLINICAL, tmp_path / "cache")
    facts = json.loads((case.folder / "case.json").read_text())
    assert facts["source"] == str(lung.path)
    assert facts["window"] == {"low": -1000.0, "high": 100.0}
    assert facts["settings"]["spacing"] is None


def ten_at_once(target: Callable[..., None], *arguments: object) -> list[int | None]:
    """Exit codes of ten processes that do the same."""
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=target, args=arguments) for _ in range(10)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    return [process.exitcode for process in processes]


def _prepare_and_note(case: Case, cache: Path, notes: Path) -> None:
    work = preparation.prepare_scan

    def noted(*args):
        with notes.open("a") as file:
            file.write("made\n")
        return work(*args)

    preparation.prepare_scan = noted
    prepare(case, CLINICAL, cache)


def test_processes_at_once_do_the_work_once(lung, tmp_path) -> None:
    assert ten_at_once(_prepare_and_note, lung, tmp_path / "cache", tmp_path / "notes") == [0] * 10
    assert (tmp_path / "notes").read_text() == "made\n"
    assert len([path for path in (tmp_path / "cache").iterdir() if path.is_dir()]) == 1


def _die_half_way(case: Case, cache: Path) -> None:
    save = np.save

    def save_and_die(file, array):
        save(file, array)
        os._exit(9)

    np.save = save_and_die
    prepare(case, CLINICAL, cache)


def test_what_a_killed_process_leaves_is_no_result(lung, tmp_path) -> None:
    process = multiprocessing.get_context("fork").Process(target=_die_half_way, args=(lung, tmp_path / "cache"))
    process.start()
    process.join()
    assert process.exitcode == 9
    assert [path.suffix for path in (tmp_path / "cache").iterdir() if path.is_dir()] == [".partial"]
    case = prepare(lung, CLINICAL, tmp_path / "cache")
    assert case.mask.any()
    assert [path for path in (tmp_path / "cache").iterdir() if path.is_dir()] == [case.folder]


def _first_is_killed(case: Case, cache: Path, notes: Path) -> None:
    save = np.save

    def save_and_die(file, array):
        save(file, array)
        with suppress(FileExistsError):
            notes.touch(exist_ok=False)
            os.kill(os.getpid(), signal.SIGKILL)

    np.save = save_and_die
    prepare(case, CLINICAL, cache)


def test_waiting_processes_take_over_from_a_killed_one(lung, tmp_path) -> None:
    exit_codes = ten_at_once(_first_is_killed, lung, tmp_path / "cache", tmp_path / "killed")
    assert sorted(exit_codes) == [-signal.SIGKILL, *[0] * 9]
    case = prepare(lung, CLINICAL, tmp_path / "cache")
    for name, known in case.facts.files.items():
        assert content_hash(case.folder / name) == known.sha256
    assert [path for path in (tmp_path / "cache").iterdir() if path.is_dir()] == [case.folder]


def test_pickles_small_and_comes_back(lung, tmp_path) -> None:
    case = prepare(lung, CLINICAL, tmp_path / "cache")
    assert case.image.any()  # mapped before it is pickled
    pickled = pickle.dumps(case)
    assert len(pickled) < 2000
    again: PreparedCase = pickle.loads(pickled)
    np.testing.assert_array_equal(again.image, case.image)
    assert isinstance(again.image, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        again.image[0] = 0


def test_a_view_is_a_part_with_its_own_place(specimen, tmp_path) -> None:
    case = prepare(specimen, MicroSettings(spacing=None, slab_mm=0.4), tmp_path / "cache")
    part = case.view(range(5, 9))
    assert part.shape == part.image.shape == part.slab.shape == part.mask.shape == (4, 96, 96)
    np.testing.assert_array_equal(part.image, case.image[5:9])
    np.testing.assert_allclose(part.affine @ [0, 1, 2, 1], case.affine @ [5, 1, 2, 1])
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(part)).slab, case.slab[5:9])


def test_prepare_all(lung, specimen, tmp_path, capsys) -> None:
    cases = prepare_all([specimen], MICRO, tmp_path / "cache", show_progress=False)
    assert [case.name for case in cases] == ["specimen"]
    assert capsys.readouterr().out == ""


def test_errors_name_the_case(specimen, tmp_path) -> None:
    with pytest.raises(UserError, match="clinical case specimen: no lung found"):
        prepare(specimen, CLINICAL, tmp_path / "cache")
    assert not [path for path in (tmp_path / "cache").iterdir() if path.is_dir()]


def test_check_size_names_both_numbers(specimen) -> None:
    header = probe(specimen.path)
    check_size(specimen, header, MICRO, 96)
    with pytest.raises(UserError, match=r"specimen has 96 x 96 pixels .* patch of 128: set a smaller data.micro.patch"):
        check_size(specimen, header, MICRO, 128)
    with pytest.raises(UserError, match=r"24 x 24 pixels at 0\.3 mm.*spacing=native"):
        check_size(specimen, header, MicroSettings(spacing=0.3), 96)


def test_check_size_looks_at_the_plane_of_the_slices(tmp_path) -> None:
    """A coronal scan: 7 thick slices of 40x50, stored (x, y, z)."""
    file = tmp_path / "coronal.nii"
    nibabel.save(nibabel.Nifti1Image(np.zeros((50, 7, 40), np.int16), np.diag([1.0, 3.0, 1.0, 1.0])), file)
    with pytest.raises(UserError, match="has 40 x 50 pixels at its own spacing"):
        check_size(Case("coronal", file), probe(file), CLINICAL, 64)
    check_size(Case("coronal", file), probe(file), CLINICAL, 32)


@pytest.mark.realdata
def test_bone_at_matched_scale_is_too_small(shared_data) -> None:
    case = Case("bone", shared_data / "micro" / "lhdl-3155-trabecular")
    with pytest.raises(UserError, match=r"bone has 48 x 48 pixels at 0\.078125 mm, too few for a patch of 128"):
        check_size(case, probe(case.path, 0.0195), MicroSettings(file_spacing=0.0195), 128)


def rewritten(lung: Case, folder: Path, hu: np.ndarray, dtype: type = np.int16) -> Case:
    """The lung with other greys."""
    nibabel.save(nibabel.Nifti1Image(hu.astype(dtype), nibabel.load(lung.path).affine), folder / "other.nii")
    return Case("other", folder / "other.nii")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda hu: hu + 1024, r"look like HU \+ 1024: subtract 1024"),
        (lambda hu: hu / 1000, r"HU / 1000"),
        (lambda hu: np.clip((hu + 1000) / 1100, 0, 1), "look normalised"),
        (lambda hu: np.rint(np.clip((hu + 1000) / 1100, 0, 1) * 255), "those of a picture"),
    ],
)
def test_a_scan_that_is_not_in_hu(lung, tmp_path, capsys, change, message) -> None:
    hu = nibabel.load(lung.path).get_fdata()
    case = rewritten(lung, tmp_path, change(hu), np.float32)
    with pytest.raises(UserError, match=rf"clinical case other: no lung found: greys of .* {message}"):
        prepare(case, CLINICAL, tmp_path / "cache")
    # With a mask that is given no lung is looked for.
    (tmp_path / "masks").mkdir()
    mask = nibabel.Nifti1Image((hu < -500).astype(np.uint8), nibabel.load(lung.path).affine)
    nibabel.save(mask, tmp_path / "masks" / "other.nii")
    prepare(case, ClinicalSettings(spacing=None, masks=str(tmp_path / "masks")), tmp_path / "cache")
    told = capsys.readouterr().err
    assert re.search(rf"^warning: .*other\.nii: greys of .* {message}", told)
    assert told.count("\n") == 1
    prepare(lung, CLINICAL, tmp_path / "cache")
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("spacing", [None, 0.1])
@pytest.mark.parametrize("given", [False, True])
def test_a_segmentation_instead_of_a_specimen(specimen, tmp_path, spacing, given) -> None:
    image = nibabel.load(specimen.path)
    greys = (image.get_fdata() > 12000).astype(np.uint8) * 255
    nibabel.save(nibabel.Nifti1Image(greys, image.affine), specimen.path)
    (tmp_path / "masks").mkdir()
    nibabel.save(nibabel.Nifti1Image(np.ones_like(greys), image.affine), tmp_path / "masks" / "specimen.nii")
    settings = MicroSettings(spacing=spacing, masks=str(tmp_path / "masks") if given else None)
    with pytest.raises(UserError, match=r"micro case specimen: only two greys \(0 and 255\): a segmentation\?"):
        prepare(specimen, settings, tmp_path / "cache")


def test_an_error_ends_the_progress_bar(lung, tmp_path) -> None:
    """One that went on would fail at the interpreter's end, over many lines."""
    (tmp_path / "broken.nii").write_bytes(b"nothing")
    cases = [lung, Case("broken", tmp_path / "broken.nii")]
    with pytest.raises(UserError, match=r"broken\.nii") as caught:  # keeps the frames, as a program's end does
        prepare_all(cases, CLINICAL, tmp_path / "cache")
    assert caught.tb is not None
    check_bars_have_ended()


@pytest.mark.parametrize("name", ["scan.mhd", "scan.nhdr", "scan.hdr"])
def test_voxels_beside_a_header_are_part_of_the_content(lung, tmp_path, name) -> None:
    """The same header with other voxels is another case."""
    hu = nibabel.load(lung.path).get_fdata().astype(np.int16)
    prepared_cases = []
    for shift in (0, 40):
        if name == "scan.hdr":
            nibabel.save(nibabel.Nifti1Pair(hu + shift, np.diag([2.0, 2.0, 3.0, 1.0])), tmp_path / name)
        else:
            image = SimpleITK.GetImageFromArray((hu.T + shift).astype(np.int16))
            image.SetSpacing((2, 2, 3))
            SimpleITK.WriteImage(image, str(tmp_path / name))
        header = (tmp_path / name).read_bytes()
        prepared_cases.append(prepare(Case("scan", tmp_path / name), CLINICAL, tmp_path / "cache"))
        assert scan_hash(tmp_path / name) == prepared_cases[-1].facts.content
    assert header == (tmp_path / name).read_bytes()
    one, other = prepared_cases
    assert one.folder != other.folder
    assert np.abs(other.image[2].astype(float) - one.image[2]).max() > 0.05


def test_a_complete_cache_may_be_read_only_and_one_that_lacks_a_case_is_named(
    lung: Case, specimen: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "cache"
    first = prepare(lung, CLINICAL, cache)
    before = sorted(path.name for path in cache.iterdir())
    lung.path.touch()  # as copied to another machine: its hash is worked out anew, and cannot be noted
    read_only(cache, monkeypatch)
    assert prepare(lung, CLINICAL, cache).folder == first.folder
    with monkeypatch.context() as patched:
        patched.setattr("ctsr.data.preparing.hashes.scan_hash", lambda path: pytest.fail("this process remembers it"))
        assert prepare(lung, CLINICAL, cache).folder == first.folder
    with pytest.raises(UserError, match=f"^data.cache={cache} cannot be written: {cache} is read-only"):
        prepare(specimen, MICRO, cache)
    with pytest.raises(UserError, match=f"^cache={cache} cannot be written"):
        prepare(specimen, MICRO, cache, key="cache")
    assert sorted(path.name for path in cache.iterdir()) == before
