"""Trees of scans as people have them, through the DataModule: no label is a scan, no patient in two parts."""

from __future__ import annotations

import csv
import hashlib
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pydicom
import pytest
import SimpleITK
import yaml

from ctsr.data.finding.cases import find_cases
from ctsr.data.plan import Plan
from ctsr.errors import CollectedError, UserError
from ctsr.records.data import Data
from ctsr.records.settings import checked
from datamodules import UnpairedDataModule
from tests.conftest import REPOSITORY
from tests.data.trees import chest, dicom, foam, itk, lung, nifti, pictures, tiff

KEYS = yaml.safe_load((REPOSITORY / "conf/data/volumes.yaml").read_text())


def build(root: Path, seed: int = 0, **changes: Any) -> UnpairedDataModule:
    keys: dict[str, Any] = {name: dict(value) if isinstance(value, dict) else value for name, value in KEYS.items()}
    keys["clinical"] |= {"root": str(root / "clinical"), "patch": 12, "cover": 0.1}
    keys["micro"] |= {"root": str(root / "micro"), "patch": 96, "cover": 0.1}
    keys |= {"patches_per_case": 8, "val_patches": 6, "global_batch_size": 4, "workers": 0}
    keys["cache"] = str(root / "cache")
    for name, value in changes.items():
        keys[name] = keys[name] | value if isinstance(value, dict) else value
    data = checked(Data, keys)
    return UnpairedDataModule(Plan(data, seed, UnpairedDataModule.domains), show_progress=False)


def ready(data: UnpairedDataModule) -> UnpairedDataModule:
    data.prepare_data()
    data.setup()
    return data


def parts(data: UnpairedDataModule, domain: str) -> dict[str, str]:
    """Case -> part."""
    return {case.name: part for part, cases in data.cases[domain].items() for case in cases}


def specimens(root: Path, count: int = 3) -> None:
    for k in range(count):
        nifti(root / "micro" / f"specimen_{k}.nii.gz", foam(k), (0.078125,) * 3)


def study_tree(root: Path) -> dict[str, str]:
    """Patient/study/series; p0 has a second study in a folder of another name. Case -> patient."""
    for k in range(4):
        dicom(root / f"p{k}" / "study" / "S1", chest(10 * k), f"ID{k}")
        dicom(root / f"p{k}" / "study" / "S2", chest(10 * k + 1), f"ID{k}")
    dicom(root / "late" / "study" / "S9", chest(99), "ID0")
    dicom(root / "late" / "study" / "scout", chest(98)[:1], "ID0", ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    dicom(root / "late" / "study" / "RTSTRUCT", chest(98)[:1], "ID0", Modality="RTSTRUCT")
    return {f"p{k}-study-S{s}": f"ID{k}" for k in range(4) for s in (1, 2)} | {"late": "ID0"}


def anonymised_tree(root: Path) -> dict[str, str]:
    """The same without a usable PatientID: the folders tell."""
    for k in range(3):
        for s in (1, 2):
            dicom(root / f"p{k}" / f"S{s}", chest(10 * k + s), "ANONYMOUS" if s == 1 else "")
    return {f"p{k}-S{s}": f"p{k}" for k in range(3) for s in (1, 2)}


def bids(root: Path) -> dict[str, str]:
    (root / "participants.tsv").parent.mkdir(parents=True)
    (root / "participants.tsv").write_text("participant_id\nsub-01\n")
    (root / "dataset_description.json").write_text("{}")
    names = {}
    for k in range(1, 4):
        sessions = ("01", "02") if k == 1 else ("01",)
        for session in sessions:
            name = f"sub-{k:02d}_ses-{session}_ct"
            hu = chest(10 * k + int(session))
            nifti(root / f"sub-{k:02d}" / f"ses-{session}" / "ct" / f"{name}.nii.gz", hu)
            mask = root / "derivatives" / "lungs" / f"sub-{k:02d}" / f"ses-{session}" / "ct"
            nifti(mask / f"sub-{k:02d}_ses-{session}_desc-lung_mask.nii.gz", lung(hu))
            nifti(mask / f"sub-{k:02d}_ses-{session}_space-T_ct.nii.gz", hu)
            names[name if k == 1 else f"sub-{k:02d}"] = f"sub-{k:02d}"
    dicom(root / "sourcedata" / "sub-01", chest(11), "1")
    return names


def nnunet(root: Path) -> dict[str, str]:
    (root / "imagesTr").mkdir(parents=True)
    (root / "dataset.json").write_text('{"channel_names": {"0": "CT", "1": "PET"}}')
    for k in range(3):
        hu = chest(k)
        nifti(root / ("imagesTs" if k == 2 else "imagesTr") / f"lung_{k:03d}_0000.nii.gz", hu)
        nifti(root / ("imagesTs" if k == 2 else "imagesTr") / f"lung_{k:03d}_0001.nii.gz", abs(hu))
        nifti(root / "labelsTr" / f"lung_{k:03d}.nii.gz", lung(hu))
    return {f"lung_{k:03d}": f"lung_{k:03d}" for k in range(3)}


def decathlon(root: Path) -> dict[str, str]:
    (root / "imagesTr").mkdir(parents=True)
    (root / "dataset.json").write_text('{"modality": {"0": "CT"}}')
    for k in range(3):
        nifti(root / "imagesTr" / f"lung_{k:03d}.nii.gz", chest(k))
        nifti(root / "labelsTr" / f"lung_{k:03d}.nii.gz", lung(chest(k)))
        (root / "imagesTr" / f"._lung_{k:03d}.nii.gz").write_bytes(b"Mac OS X")
    return {f"lung_{k:03d}": f"lung_{k:03d}" for k in range(3)}


def totalsegmentator(root: Path) -> dict[str, str]:
    for k in range(3):
        hu = chest(k)
        nifti(root / f"s{k:04d}" / "ct.nii.gz", hu)
        for organ, side in (("lung_left", slice(24, None)), ("lung_right", slice(24)), ("heart", slice(0))):
            inside = np.zeros_like(lung(hu))
            inside[:, 8:40, side] = lung(hu)[:, 8:40, side]
            nifti(root / f"s{k:04d}" / "segmentations" / f"{organ}.nii.gz", inside)
    return {f"s{k:04d}": f"s{k:04d}" for k in range(3)}


def slicer(root: Path) -> dict[str, str]:
    for k in range(3):
        itk(root / f"case{k}.nrrd", chest(k))
        itk(root / f"case{k}.seg.nrrd", lung(chest(k)))
        itk(root / f"airways{k}-label.nrrd", lung(chest(k)).astype(np.int16))
    pictures(root / "screenshots", (chest(0) // 8 + 128).astype(np.uint8))
    return {f"case{k}": f"case{k}" for k in range(3)}


def images_and_masks(root: Path) -> dict[str, str]:
    for k in range(3):
        itk(root / "images" / f"a{k}.mha", chest(k))
        itk(root / "masks" / f"a{k}.mha", lung(chest(k)).astype(np.float32))
    return {f"a{k}": f"a{k}" for k in range(3)}


TREES = [study_tree, anonymised_tree, bids, nnunet, decathlon, totalsegmentator, slicer, images_and_masks]
MASKS = {
    bids: "derivatives",
    nnunet: "labelsTr",
    decathlon: "labelsTr",
    totalsegmentator: "",
    slicer: "",
    images_and_masks: "masks",
}


@pytest.mark.parametrize("tree", TREES)
def test_scans_are_found_and_no_patient_is_in_two_parts(tree: Callable[[Path], dict[str, str]], tmp_path: Path) -> None:
    expected = tree(tmp_path / "clinical")
    specimens(tmp_path)
    found = find_cases(tmp_path / "clinical", "clinical")
    assert {case.name: case.patient for case in found} == expected
    folder = MASKS.get(tree)
    masks = None if folder is None else str(tmp_path / "clinical" / folder)
    data = ready(build(tmp_path, clinical={"masks": masks}))
    of_case = parts(data, "clinical")
    assert set(of_case) == set(expected)
    of_patient: dict[str, set[str]] = {}
    for name, part in of_case.items():
        of_patient.setdefault(expected[name], set()).add(part)
    assert all(len(of) == 1 for of in of_patient.values())
    assert {part for of in of_patient.values() for part in of} == {"train", "val", "test"}


@pytest.mark.parametrize(
    ("tree", "passed_over"),
    [
        (study_tree, ["DICOM outlines (late/study/RTSTRUCT)", "a scout (late/study/scout)"]),
        (bids, ["8 x a derivative (derivatives/", "a source of another scan (sourcedata/sub-01)"]),
        (
            nnunet,
            ["3 x another channel (imagesTr/lung_000_0001.nii.gz, ", "3 x a label map (labelsTr/lung_000.nii.gz, "],
        ),
        (totalsegmentator, ["9 x a label map (s0000/segmentations/heart.nii.gz, "]),
        (
            slicer,
            ["3 x a segmentation by its name", "3 x a label map (airways0-label", "a folder of pictures (screenshots)"],
        ),
    ],
)
def test_what_is_passed_over_is_told(tree, passed_over: list[str], tmp_path: Path, capsys) -> None:
    tree(tmp_path / "clinical")
    find_cases(tmp_path / "clinical", "clinical")
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert all(what in told for what in passed_over), told


@pytest.mark.parametrize("tree", [nnunet, totalsegmentator, bids, slicer, images_and_masks])
def test_masks_of_these_trees_are_their_lungs(tree, tmp_path: Path) -> None:
    tree(tmp_path / "clinical")
    specimens(tmp_path)
    masks = {"masks": str(tmp_path / "clinical" / MASKS[tree]), "spacing": "native"}
    data = ready(build(tmp_path, clinical=masks))
    for cases in data.cases["clinical"].values():
        for case in cases:
            hu = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(case.facts.source))  # stored as the program turns
            inside = hu < -500
            if tree is totalsegmentator:  # both lungs, not the heart
                inside[:, :8] = inside[:, 40:] = False
            np.testing.assert_array_equal(case.mask, inside)


# --- one scan, given twice


def same_files(root: Path) -> Path:
    return Path(shutil.copy(root / "clinical/a.nii.gz", root / "clinical/z.nii.gz"))


def another_format(root: Path) -> Path:
    return itk(root / "clinical/z.mha", chest(1).astype(np.float32))


def dicom_of_it(root: Path) -> Path:
    return dicom(root / "clinical/z", chest(1), "nobody knows")


def turned(root: Path) -> Path:
    """As most converters write it: RAS, here with the axes in another order too."""
    hu = chest(1)[:, ::-1, ::-1].transpose(1, 0, 2)  # y, z, x
    z, y, x = 2.0, 0.625, 0.625
    affine = np.array([[0, 0, x, 0], [y, 0, 0, 0], [0, z, 0, 0], [0, 0, 0, 1.0]])
    nibabel.save(nibabel.Nifti1Image(hu, affine), root / "clinical/z.nii")
    return root / "clinical/z.nii"


@pytest.mark.parametrize("again", [same_files, another_format, dicom_of_it, turned])
def test_one_scan_under_two_names_is_refused(again: Callable[[Path], Path], tmp_path: Path) -> None:
    for k, name in enumerate("abc"):
        nifti(tmp_path / "clinical" / f"{name}.nii.gz", chest(k + 1))
    specimens(tmp_path)
    ready(build(tmp_path))
    again(tmp_path)
    with pytest.raises(UserError, match=r"^clinical case a \(.*\) and clinical case z \(.*\) are the same scan: give"):
        ready(build(tmp_path))


def test_two_identical_series_of_a_patient_are_refused(tmp_path: Path) -> None:
    study_tree(tmp_path / "clinical")
    dicom(tmp_path / "clinical/p1/study/S3", chest(11), "ID1", SeriesDescription="sent again")
    specimens(tmp_path)
    with pytest.raises(UserError, match=r"clinical case p1-study-S2 .* and clinical case p1-study-S3 .* the same scan"):
        ready(build(tmp_path))


def test_one_folder_for_both_domains_is_refused_before_work(tmp_path: Path) -> None:
    specimens(tmp_path)
    with pytest.raises(UserError, match=r"clinical case specimen_0 .* and micro case specimen_0 .*; so are 2 more"):
        build(tmp_path, clinical={"root": str(tmp_path / "micro")}).check()


def test_one_specimen_in_both_domains_and_formats_is_refused(tmp_path: Path) -> None:
    specimens(tmp_path)
    for k in range(3):
        nifti(tmp_path / "clinical" / f"{k}.nii.gz", chest(k))
    tiff(tmp_path / "clinical" / "x.tif", foam(1))
    nifti(tmp_path / "masks" / "x.nii", np.ones((10, 104, 104), np.uint8), (0.625,) * 3)
    for k in range(3):
        nifti(tmp_path / "masks" / f"{k}.nii", lung(chest(k)))
    clinical = {"file_spacing": 0.625, "masks": str(tmp_path / "masks")}
    with pytest.raises(UserError, match=r"clinical case x \(.*x.tif\) and micro case specimen_1 .* are the same scan"):
        ready(build(tmp_path, clinical=clinical))


# --- patients


def test_a_patient_of_both_domains_is_in_one_part(tmp_path: Path) -> None:
    for k in range(5):
        dicom(tmp_path / "clinical" / f"scan{k}", chest(k), f"P{k}")
        dicom(tmp_path / "micro" / f"specimen{k}", foam(k).astype(np.int16), f"P{k}")
    for seed in range(2):
        data = ready(build(tmp_path, seed=seed, micro={"spacing": "native"}, clinical={"spacing": "native"}))
        clinical, micro = parts(data, "clinical"), parts(data, "micro")
        assert [clinical[f"scan{k}"] for k in range(5)] == [micro[f"specimen{k}"] for k in range(5)]
        patients = data.describe().patients
        assert len({p for part in patients.values() for p in part}) == sum(map(len, patients.values())) == 5
        assert not any(f"P{k}" in str(patients) for k in range(5)), "a checkpoint is passed on"


def test_a_rule_names_patients(tmp_path: Path) -> None:
    for k in range(3):
        for s in "ab":
            nifti(tmp_path / "clinical" / f"lung{k}_{s}.nii", chest(10 * k + ord(s)))
    by_rule = find_cases(tmp_path / "clinical", "clinical", patient="(.*)_[a-z]$")
    assert {case.name: case.patient for case in by_rule} == {f"lung{k}_{s}": f"lung{k}" for k in range(3) for s in "ab"}
    assert [case.patient for case in find_cases(tmp_path / "clinical", "clinical")] == [case.name for case in by_rule]
    with pytest.raises(UserError, match=r"data\.clinical\.patient=\(x\) tells no patient of case lung0_a"):
        find_cases(tmp_path / "clinical", "clinical", patient="(x)")
    with pytest.raises(UserError, match=r"data\.clinical\.patient=\(x is no regular expression"):
        find_cases(tmp_path / "clinical", "clinical", patient="(x")
    study_tree(tmp_path / "tree")
    own = find_cases(tmp_path / "tree", "clinical", patient="case")
    assert [case.patient for case in own] == [case.name for case in own]


def test_all_of_one_patient_is_told(tmp_path: Path, capsys) -> None:
    for k in range(2):
        dicom(tmp_path / "clinical" / f"scan{k}", chest(k), "P")
    specimens(tmp_path)
    data = ready(build(tmp_path))
    assert {part: len(cases) for part, cases in data.cases["clinical"].items()} == {"train": 2, "val": 2, "test": 0}
    told = capsys.readouterr().err
    assert "all 2 clinical cases are of one patient: they serve training and validation" in told
    assert "data.clinical.patient=case makes each case a patient of its own" in told
    slabs = build(tmp_path, split={"mode": "slab", "gap_mm": 0, "test": 0})
    slabs.prepare_data()
    assert (
        "data.split.mode=slab cuts each case by itself, but scan0, scan1 are of one patient: "
        in capsys.readouterr().err
    )
    slabs.write_split(tmp_path / "split.csv")
    given = ready(build(tmp_path, split={"mode": "slab", "gap_mm": 0, "test": 0}, list=str(tmp_path / "split.csv")))
    slabs.setup()
    for part, cases in slabs.cases["clinical"].items():
        assert [(c.name, c.slices) for c in given.cases["clinical"][part]] == [(c.name, c.slices) for c in cases]
    data.write_split(tmp_path / "parts.csv")
    with pytest.raises(UserError, match=r"data\.list puts clinical case scan0 into train, but data\.split\.mode=slab"):
        build(tmp_path, split={"mode": "slab"}, list=str(tmp_path / "parts.csv")).check()


def test_a_patient_that_g1_was_trained_on_is_no_test_case(tmp_path: Path) -> None:
    for k in range(6):
        nifti(tmp_path / "micro" / f"p{k // 2}_{k}.nii.gz", foam(k), (0.078125,) * 3)
    for k in range(3):
        nifti(tmp_path / "clinical" / f"c{k}.nii.gz", chest(k))
    rule = {"patient": "(.*)_"}
    g1 = ready(
        build(tmp_path, micro=rule | {"files": "*_[024].nii.gz"}, split={"val": ["p0", "c0"], "test": ["p1", "c1"]})
    )
    card = g1.describe()
    same = ready(build(tmp_path, micro=rule, split={"val": ["p0", "c0"], "test": ["p1", "c1"]}))
    same.must_match(card, "g1.ckpt")
    other = build(tmp_path, micro=rule | {"files": "*_[135].nii.gz"}, split={"val": ["p0", "c0"], "test": ["p2", "c1"]})
    with pytest.raises(UserError, match=r"patient p2 is for testing here, but g1.ckpt was trained on them"):
        ready(other).must_match(card, "g1.ckpt")
    renamed = tmp_path / "micro" / "x.nii.gz"
    shutil.copy(tmp_path / "micro" / "p2_4.nii.gz", renamed)
    files = {"files": "[!p]*.nii.gz"}
    for k in range(2):
        nifti(tmp_path / "micro" / f"y{k}.nii.gz", foam(20 + k), (0.078125,) * 3)
    with pytest.raises(UserError, match=r"micro case x is a test case here, but g1.ckpt was trained on it"):
        ready(build(tmp_path, micro=files, split={"val": ["y0", "c0"], "test": ["x", "c1"]})).must_match(
            card, "g1.ckpt"
        )


def test_a_paired_case_is_not_trained_on(tmp_path: Path) -> None:
    specimens(tmp_path)
    for k in range(3):
        nifti(tmp_path / "clinical" / f"c{k}.nii.gz", chest(k))
    paired = tmp_path / "paired" / "lung"
    nifti(paired / "clinical.nii.gz", chest(8))
    shutil.copy(tmp_path / "micro" / "specimen_1.nii.gz", paired / "micro.nii.gz")
    nifti(paired / "labels.nii.gz", lung(chest(8)))
    where = {"root": str(tmp_path / "paired")}
    ready(build(tmp_path, paired=where, split={"val": ["specimen_0"], "test": ["specimen_1"]}))
    with pytest.raises(
        UserError, match=r"micro case specimen_1 is also in .*lung, a paired case, which is for testing"
    ):
        ready(build(tmp_path, paired=where, split={"val": ["specimen_1"], "test": ["specimen_0"]}))


# --- a list


def test_the_split_of_a_run_is_given_back_from_anywhere(tmp_path: Path, monkeypatch) -> None:
    totalsegmentator(tmp_path / "clinical")
    for k in range(4):
        tiff(tmp_path / "micro" / f"m{k}.tif", foam(k))
    masks = {"masks": str(tmp_path / "clinical")}
    first = ready(build(tmp_path, seed=3, clinical=masks, micro={"file_spacing": 0.078125}))
    first.write_split(tmp_path / "split.csv")
    rows = list(csv.DictReader((tmp_path / "split.csv").open()))
    assert set(rows[0]) == {"domain", "path", "name", "patient", "part", "mask", "spacing"}
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    nowhere = {"root": None}
    again = ready(build(tmp_path, seed=0, clinical=nowhere, micro=nowhere, list="../split.csv"))
    for domain in ("clinical", "micro"):
        assert parts(again, domain) == parts(first, domain)
        for part, cases in first.cases[domain].items():
            assert [case.folder for case in again.cases[domain][part]] == [case.folder for case in cases]
    again.write_split(tmp_path / "again.csv")
    assert (tmp_path / "again.csv").read_text() == (tmp_path / "split.csv").read_text()


def test_patients_of_dicom_headers_are_named_in_no_file(tmp_path: Path) -> None:
    for k in range(6):
        dicom(tmp_path / "clinical" / f"scan{k}", chest(k), f"Q{k // 2}")
    for k in range(3):
        nifti(tmp_path / "micro" / f"Q{k}" / "specimen.nii", foam(k), (0.078125,) * 3)
    first = ready(build(tmp_path))
    first.write_split(tmp_path / "split.csv")
    rows = list(csv.DictReader((tmp_path / "split.csv").open()))
    assert not any(row["patient"].startswith("Q") for row in rows)
    assert len({row["patient"] for row in rows}) == 3, "still one patient over both domains"
    again = ready(build(tmp_path, seed=7, list=str(tmp_path / "split.csv")))
    assert again.describe().patients == first.describe().patients
    again.write_split(tmp_path / "again.csv")
    assert (tmp_path / "again.csv").read_text() == (tmp_path / "split.csv").read_text()


def test_patients_stay_as_the_user_named_them(tmp_path: Path) -> None:
    """In a list whose paths do not tell them; also where the user's rule and the names of files tell them."""
    names = ("Anna", "Bo", "Cy")
    lines = ["domain,path,name,patient"]
    for k in range(6):
        scan = dicom(tmp_path / "clinical" / f"scan{k}", chest(k), f"SECRET{k}")
        lines.append(f"clinical,{scan},,{names[k // 2]}")
    for k in range(3):
        lines.append(f"micro,{nifti(tmp_path / 'micro' / f'{names[k]}_1.nii', foam(k), (0.078125,) * 3)},,")
    (tmp_path / "cases.csv").write_text("\n".join(lines))
    first = ready(build(tmp_path, list=str(tmp_path / "cases.csv"), micro={"patient": "(.*)_"}))
    first.write_split(tmp_path / "split.csv")
    rows = list(csv.DictReader((tmp_path / "split.csv").open()))
    assert [row["patient"] for row in rows] == [*(name for name in names for _ in range(2)), *names]
    told = first.describe().patients
    assert all(re.fullmatch("id-[0-9a-f]{16}", patient) for part in told.values() for patient in part)

    former = (tmp_path / "split.csv").read_text()
    for name in names:  # as former versions wrote them
        former = former.replace(f",{name},", f",id-{hashlib.sha256(name.encode()).hexdigest()[:16]},")
    (tmp_path / "former.csv").write_text(former)
    for listed in ("split.csv", "former.csv"):
        again = ready(build(tmp_path, seed=5, list=str(tmp_path / listed)))
        assert again.describe().patients == told
        assert [parts(again, domain) for domain in again.cases] == [parts(first, domain) for domain in first.cases]
        again.write_split(tmp_path / "again.csv")
        assert (tmp_path / "again.csv").read_text() == (tmp_path / listed).read_text()


def test_an_id_that_a_name_only_holds_is_not_told(tmp_path: Path) -> None:
    """Folders that are named by it tell it themselves."""
    for k in range(3):
        dicom(tmp_path / "clinical" / f"scan{k + 1}", chest(k), str(k + 1))
        dicom(tmp_path / "clinical" / f"P{k}", chest(k + 3), f"P{k}")
    specimens(tmp_path)
    data = ready(build(tmp_path))
    data.write_split(tmp_path / "split.csv")
    rows = csv.DictReader((tmp_path / "split.csv").open())
    told = {row["name"]: row["patient"] for row in rows if row["domain"] == "clinical"}
    assert [told[f"P{k}"] for k in range(3)] == ["P0", "P1", "P2"]
    assert all(told[f"scan{k + 1}"].startswith("id-") for k in range(3))


def test_a_scan_added_to_a_runs_list_joins_its_patient(tmp_path: Path) -> None:
    """The list has pseudonyms, the header of what was added has not."""
    for k in range(6):
        dicom(tmp_path / "clinical" / f"scan{k}", chest(k), f"Q{k // 2}")
    for k in range(3):
        nifti(tmp_path / "micro" / f"specimen{k}.nii", foam(k), (0.078125,) * 3)
    ready(build(tmp_path)).write_split(tmp_path / "split.csv")
    held_out = next(r for r in csv.DictReader((tmp_path / "split.csv").open()) if r["part"] == "test")
    new = dicom(tmp_path / "later" / "scan9", chest(9), f"Q{int(held_out['name'][-1]) // 2}")
    with (tmp_path / "split.csv").open("a") as stream:
        stream.write(f"clinical,{new},,,,,\r\n")
    for seed in range(3):
        again = ready(build(tmp_path, seed=seed, list=str(tmp_path / "split.csv")))
        assert parts(again, "clinical")["scan9"] == "test"


def test_the_card_has_the_thickness_that_headers_tell(tmp_path: Path) -> None:
    specimens(tmp_path)
    for k, thickness in enumerate((1.0, 1.25, 3.0)):
        folder = tmp_path / "clinical" / f"scan{k}"
        dicom(folder, chest(k), f"P{k}")
        for file in folder.iterdir():
            header = pydicom.dcmread(file)
            header.SliceThickness = thickness
            header.save_as(file)
    card = ready(build(tmp_path, split={"val": ["scan0"], "test": 0})).describe()
    assert card.slice_thickness_mm == (1.25 + 3.0) / 2  # of those that are trained on
    assert card.clinical_slice_mm != card.slice_thickness_mm


# --- what is told of scales


@pytest.mark.parametrize(("micro", "apart"), [(0.1, None), (0.04, "1.95"), (0.16, "2.05")])
def test_scales_that_differ_are_told(tmp_path: Path, micro: float, apart: str | None, capsys, monkeypatch) -> None:
    for k in range(3):
        nifti(tmp_path / "clinical" / f"{k}.nii.gz", chest(k))
        nifti(tmp_path / "micro" / f"m{k}.nii.gz", foam(k), (micro,) * 3)
    data = build(tmp_path, clinical={"spacing": "native"}, micro={"spacing": "native", "slab_mm": 0})
    ready(data)
    told = capsys.readouterr().err
    assert (f"the domains differ in scale by {apart}:" in told) == (apart is not None)
    assert data.describe().scale_ratio == pytest.approx(0.625 / (8 * micro), rel=1e-3)
    pages: list[list[str]] = []
    monkeypatch.setattr("ctsr.data.qc.write_page", lambda *page: pages.append(page[-1]))
    data.write_report(tmp_path / "data.html")
    assert any("differ in scale" in note for note in pages[0]) == (apart is not None)


def mixed(root: Path, **changes: Any) -> UnpairedDataModule:
    """Clinical pixels of 0.625 mm, 12.5 times µCT ones of 0.05 mm and 3.125 times the coarse one of 0.2 mm."""
    for k, micro in enumerate((0.05, 0.05, 0.2)):
        nifti(root / "clinical" / f"c{k}.nii.gz", chest(k))
        nifti(root / "micro" / f"m{k}.nii.gz", foam(k, slices=16), (0.2, micro, micro))
    return build(root, clinical={"spacing": "native"}, micro={"spacing": "native", "slab_mm": 0}, **changes)


def test_validation_does_not_hide_the_scales_of_training(tmp_path: Path, capsys) -> None:
    data = ready(mixed(tmp_path, split={"val": ["m2", "c2"], "test": []}))
    told = [line for line in capsys.readouterr().err.splitlines() if "scale" in line or "differ in size" in line]
    finer, coarser, within = told
    assert "by 1.56: clinical structures" in finer
    assert "train c0, train c1, val c2: 0.625 mm against train m0, train m1: 0.05 mm" in finer
    assert "by 2.56: micro structures" in coarser
    assert "val m2: 0.2 mm against train c0, train c1, val c2: 0.625 mm" in coarser
    assert "micro pixels differ in size by 4 (val m2: 0.2 mm against train m0, train m1: 0.05 mm)" in within
    assert data.describe().scale_ratio == pytest.approx(0.625 / 0.4, rel=1e-3)


def test_in_mode_slab_each_case_is_in_all_parts(tmp_path: Path) -> None:
    plan = mixed(tmp_path, split={"mode": "slab", "gap_mm": 0.0}).plan
    notes = [note for note in plan.notes() if "differ" in note]
    assert [note.partition(":")[0] for note in notes[:2]] == [
        "the domains differ in scale by 1.56",
        "the domains differ in scale by 2.56",
    ]
    assert "micro pixels differ in size by 4 (m2: 0.2 mm against m0, m1: 0.05 mm)" in notes[-1]
    assert plan.scale_ratio == pytest.approx(0.625 / 0.4, rel=1e-3), "median"


def test_all_problems_are_told_at_once(tmp_path: Path) -> None:
    nifti(tmp_path / "clinical" / "small.nii.gz", chest(0)[:, :10, :10])
    (tmp_path / "clinical" / "broken.nii.gz").write_bytes(b"nothing")
    nifti(tmp_path / "clinical" / "good.nii.gz", chest(1))
    specimens(tmp_path)
    (tmp_path / "masks").mkdir()
    masks = {"masks": str(tmp_path / "masks")}
    data = build(tmp_path, clinical=masks, micro=masks, split={"val": ["nobody"]})
    with pytest.raises(CollectedError) as raised:
        data.check()
    problems = raised.value.problems
    wanted = [
        "broken.nii.gz is not",
        "case small has 10 x 10",
        "no mask of clinical case small:",
        "no mask of micro case specimen_0:",
    ]
    for what in [*wanted, "case specimen_1:", "case specimen_2:", "data.split.val names nobody"]:
        assert sum(what in problem for problem in problems) == 1, (what, problems)


def test_why_no_clinical_scan_is_read_is_told_with_all_else(tmp_path: Path) -> None:
    """The clinical slice spacing, which the slab of the micro-CT takes, is then not known either."""
    for k in range(3):
        folder = dicom(tmp_path / "clinical" / f"scan{k}", chest(k), f"P{k}")
        other = dicom(tmp_path / "other" / f"scan{k}", chest(k), f"P{k}", SeriesNumber=4)
        for file in other.iterdir():
            shutil.move(file, folder / f"again_{file.name}")
    tiff(tmp_path / "micro" / "m.tif", foam(0))
    with pytest.raises(CollectedError) as raised:
        build(tmp_path).check()
    told = raised.value.problems
    assert sum("holds 2 DICOM series" in line for line in told) == 3
    assert sum("m.tif has no spacing inside" in line for line in told) == 1
    assert len(told) == 4
