"""Lists of cases: what they say, and what is wrong with them, by row."""

from __future__ import annotations

import codecs
import csv
import json
import re
import shutil
from pathlib import Path

import pytest

from ctsr.data.finding.case_list import read_list, write_list
from ctsr.data.finding.cases import Case, find_cases
from ctsr.errors import CollectedError, UserError
from tests.data.trees import chest, dicom, foam, lung, nifti, tiff

NO_RULE = {"clinical": None, "micro": None}


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    """Two scans of patient P, one file each of others, µCT slices without a voxel size, and a mask."""
    for k in (1, 2):
        dicom(tmp_path / "scans" / f"P{k}", chest(k), "P")
    nifti(tmp_path / "scans" / "q" / "ct.nii.gz", chest(3))
    nifti(tmp_path / "scans" / "r" / "ct.nii.gz", chest(4))
    nifti(tmp_path / "masks" / "q.nii.gz", lung(chest(3)))
    tiff(tmp_path / "micro" / "m.tif", foam(0))
    return tmp_path


def saved(folder: Path, text: str, name: str = "cases.csv") -> Path:
    (folder / name).write_text(text)
    return folder / name


def test_a_csv_says_everything(scans: Path, monkeypatch) -> None:
    file = saved(
        scans,
        "domain,path,name,patient,part,mask,spacing\n"
        "clinical,scans/P1,,,train,,\n"
        'clinical,scans/q/ct.nii.gz,"q, early",Q,test,masks/q.nii.gz,\n'
        "micro,micro/m.tif,,P,train,,0.1 0.05 0.05\n",
    )
    monkeypatch.chdir("/")
    found = read_list(file, NO_RULE)
    assert found == {
        "clinical": [
            Case("P1", scans / "scans/P1", "P", (), None, "train", of_header=True),
            Case("q, early", scans / "scans/q/ct.nii.gz", "Q", (scans / "masks/q.nii.gz",), None, "test"),
        ],
        "micro": [Case("m", scans / "micro/m.tif", "P", (), [0.1, 0.05, 0.05], "train")],
    }


def test_json_and_spreadsheets_say_the_same(scans: Path) -> None:
    rows = [
        {"domain": "clinical", "path": "scans/q/ct.nii.gz", "mask": ["masks/q.nii.gz"], "part": None},
        {"domain": "micro", "path": "micro/m.tif", "spacing": 0.05},
    ]
    by_json = read_list(saved(scans, json.dumps(rows), "cases.json"), NO_RULE)
    lines = (
        "\ufeffdomain;path;mask;part;spacing",
        "clinical;scans/q/ct.nii.gz;masks/q.nii.gz;;",
        "micro;micro/m.tif;;;0.05",
    )
    assert read_list(saved(scans, "\r\n".join(lines)), NO_RULE) == by_json
    assert by_json["micro"][0].file_spacing == 0.05
    assert by_json["clinical"][0].masks == (scans / "masks/q.nii.gz",)


PLAIN = "domain;path;patient;part\r\nclinical;scans/q/ct.nii.gz;Größe;train\r\nmicro;micro/m.tif;M;test\r\n"
TYPED = " DOMAIN ;Path\u00a0;Patient;Part\r\n Clinical;scans/q/ct.nii.gz\u00a0;Größe;Train\r\nMICRO;micro/m.tif;M;TEST"
EMPTY = "domain;path;;patient;part;;\r\nclinical;scans/q/ct.nii.gz;;Größe;train;;\r\nmicro;micro/m.tif; ;M;test\r\n"


@pytest.mark.parametrize(
    "text",
    [
        *(f"{said}\r\n{PLAIN}" for said in ("sep=;", '"sep=;"', "SEP=;", "sep=;;;;")),
        *(f"sep={said}\n{PLAIN.replace(';', said)}" for said in (",", "\t", "|")),
        "sep=\\t\n" + PLAIN.replace(";", "\t"),
        TYPED,
        EMPTY,
        EMPTY.replace(";", ","),
        PLAIN.replace(";", "\t"),
        PLAIN.replace("\r\n", "\r"),
        PLAIN.replace("\r\n", "\r\n;;;\r\n\r\n"),
        f";;;\r\n\r\n{PLAIN}",
        PLAIN.replace("train", "train;;;"),
        '"domain";"path";"patient";"part"\n"clinical";"scans/q/ct.nii.gz\n";"Größe";train\nmicro;micro/m.tif;"M";"test"',
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be"])
def test_a_list_is_read_as_spreadsheets_save_it(scans: Path, text: str, encoding: str) -> None:
    mark = codecs.BOM_UTF16_BE if encoding == "utf-16-be" else b""
    (scans / "cases.txt").write_bytes(mark + text.encode(encoding))
    assert read_list(scans / "cases.txt", NO_RULE) == {
        "clinical": [Case("ct", scans / "scans/q/ct.nii.gz", "Größe", part="train")],
        "micro": [Case("m", scans / "micro/m.tif", "M", part="test")],
    }


@pytest.mark.parametrize(
    ("content", "message"),
    [
        *((PLAIN.encode(encoding), "is not UTF-8") for encoding in ("cp1252", "mac-roman", "cp850", "utf-16-le")),
        ("domain,path\nclinical,肺".encode("shift-jis"), "is not UTF-8"),
        (PLAIN.encode("utf-16")[:-1], "is not UTF-8"),
        (PLAIN.encode("utf-32"), "is not UTF-8"),
        (b"PK\3\4\x14\0\6\0\xb5\xff", "is a spreadsheet"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "is a spreadsheet"),
    ],
)
def test_what_is_no_text_is_told_with_what_to_do(scans: Path, content: bytes, message: str) -> None:
    for name, kind in (("cases.csv", "CSV UTF-8"), ("cases.json", "UTF-8")):
        (scans / name).write_bytes(content)
        with pytest.raises(UserError, match=f"^data.list={scans}/{name} {message}: save it as {kind}$"):
            read_list(scans / name, NO_RULE)


def test_a_cell_without_end_is_told(scans: Path) -> None:
    with pytest.raises(UserError, match="cannot be read: in row 2 is a quote that is not closed"):
        read_list(saved(scans, 'domain,path\nclinical,"' + "a" * 200_000), NO_RULE)


@pytest.mark.parametrize(
    ("typed", "sizes"),
    [
        ("0,05", 0.05),
        ("0,1 0,05 0,05", [0.1, 0.05, 0.05]),
        ("0,1, 0,05, 0,05", [0.1, 0.05, 0.05]),
        ("0.1,0.05,0.05", [0.1, 0.05, 0.05]),
        ("[0.1, 0.05, 0.05]", [0.1, 0.05, 0.05]),
        ("2,1,1", [2.0, 1.0, 1.0]),
        ("2, 1, 1", [2.0, 1.0, 1.0]),
        ("0,1\u00a00,05\u00a00,05", [0.1, 0.05, 0.05]),
    ],
)
def test_commas_in_numbers_and_between_them(scans: Path, typed: str, sizes: float | list[float]) -> None:
    file = saved(scans, f"domain;path;spacing\nmicro;micro/m.tif;{typed}\n")
    assert read_list(file, NO_RULE)["micro"][0].file_spacing == sizes


def test_masks_are_quoted_where_semicolons_separate(scans: Path) -> None:
    file = saved(scans, 'domain;path;mask\nclinical;scans/q/ct.nii.gz;"masks/q.nii.gz; masks/q.nii.gz;"\n')
    assert read_list(file, NO_RULE)["clinical"][0].masks == (scans / "masks/q.nii.gz",) * 2


def test_names_and_patients_follow_from_the_files_where_none_are_given(scans: Path, capsys) -> None:
    file = saved(
        scans, "domain,path\n" + "".join(f"clinical,scans/{p}\n" for p in ("P1", "P2", "q/ct.nii.gz", "r/ct.nii.gz"))
    )
    found = read_list(file, NO_RULE)["clinical"]
    assert {case.name: case.patient for case in found} == {"P1": "P", "P2": "P", "q": "q", "r": "r"}
    assert "P1, P2 are taken for patient P" in capsys.readouterr().err
    by_rule = read_list(file, {"clinical": r"^(.)", "micro": None})["clinical"]
    assert [case.patient for case in by_rule] == ["P", "P", "q", "r"]
    assert capsys.readouterr().err == ""


def test_channels_are_no_part_of_a_name(tmp_path: Path) -> None:
    for k in range(2):
        nifti(tmp_path / "imagesTr" / f"lung_{k:03d}_0000.nii.gz", chest(k))
    file = saved(tmp_path, "domain,path\n" + "".join(f"clinical,imagesTr/lung_{k:03d}_0000.nii.gz\n" for k in range(2)))
    assert [case.name for case in read_list(file, NO_RULE)["clinical"]] == ["lung_000", "lung_001"]


@pytest.mark.parametrize("patient", ["Q", ""])  # in the headers, or removed from them
def test_a_folder_with_one_scan_somewhere_below_it_is_that_scan(tmp_path: Path, patient: str) -> None:
    """Named as it is below a root that holds the same discs."""
    for k, place in enumerate(("P1/DICOM/ST0/SE0", "P2/study of March/2.1")):
        dicom(tmp_path / "discs" / place, chest(k), patient and f"{patient}{k}")
        (tmp_path / "discs" / place).parent.joinpath("report.pdf").write_bytes(b"%PDF")
    nifti(tmp_path / "discs" / "sub-03" / "ses-1" / "ct.nii.gz", chest(3))
    nifti(tmp_path / "discs" / "sub-03" / "ses-1" / "ct_seg.nii.gz", lung(chest(3)))
    tiff(tmp_path / "discs" / "m" / "rec" / "volume.tif", foam(0))
    lines = "domain,path\nclinical,discs/P1\nclinical,discs/P2/\nclinical,discs/sub-03\nmicro,discs/m\n"
    found = read_list(saved(tmp_path, lines), NO_RULE)
    (tmp_path / "discs" / "m").rename(tmp_path / "m")
    assert found["clinical"] == find_cases(tmp_path / "discs", "clinical")
    assert [case.patient for case in found["clinical"]] == [*(["Q0", "Q1"] if patient else ["P1", "P2"]), "sub-03"]
    assert found["micro"] == [Case("m", tmp_path / "discs/m/rec/volume.tif")]


def test_a_folder_of_several_scans_or_none_is_no_row(tmp_path: Path) -> None:
    several = [dicom(tmp_path / "P1" / "ST0" / name, chest(k), "") for k, name in enumerate(("SE0", "SE1"))]
    names = [str(scan) for scan in several]
    (tmp_path / "P2").mkdir()
    key = f"data.list={tmp_path}/cases.csv, row"
    with pytest.raises(CollectedError) as raised:
        read_list(saved(tmp_path, "domain,path\nclinical,P1\nmicro,P2\n"), NO_RULE)
    first, second = raised.value.problems
    assert first == f"{key} 2: path={tmp_path}/P1 holds 2 scans, but one is meant: give one of {', '.join(names)}"
    assert second.startswith(f"{key} 3: path={tmp_path}/P2 holds no scan: give a folder of DICOM")
    shutil.rmtree(several[1])
    with pytest.raises(CollectedError, match=r"row 3 names .*P1/ST0, as row 2 does"):
        read_list(saved(tmp_path, "domain,path\nclinical,P1\nclinical,P1/ST0\n"), NO_RULE)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path,part\nscans/P1,train\n", "has no column domain: needed are domain, path"),
        ("domain,path,fold\nclinical,scans/P1,3\n", "has an unknown column fold: known are domain, path, name"),
        ("domain,path\nclinical,scans/P1\nclinical,scans/P9\n", "row 3 names .*scans/P9, which does not exist"),
        ("domain,path\nclinical,\n", "row 2 has no path"),
        ("domain,path\nct,scans/P1\n", "row 2 has the domain ct: give clinical, micro"),
        ("domain,path,part\nclinical,scans/P1,holdout\n", "row 2 has the part holdout: give train, val, test"),
        ("domain,path,mask\nclinical,scans/P1,masks/P1.nii\n", "row 2 names .*masks/P1.nii, which does not exist"),
        ("domain,path,spacing\nmicro,micro/m.tif,fine\n", "row 2 has the spacing fine: give mm"),
        ("domain,path,spacing\nmicro,micro/m.tif,1 2\n", "row 2 has the spacing 1 2: give mm"),
        ("domain,path\nclinical,scans/P1\nclinical,scans/P1\n", "row 3 names .*scans/P1, as row 2 does"),
        ("domain,path,name\nclinical,scans/P1,a\nclinical,scans/P2,a\n", "row 3 is case a, as row 2 is"),
        ("domain,path\nclinical,cases.csv\n", "row 2 names .*cases.csv, which is no scan"),
        ("domain,path\nclinical,scans/P1,x\n", "row 2 has not as many values as columns: 2"),
        (
            "domain,path,part\nclinical,scans/P1,train\nclinical,scans/P2,val\n",
            "row 3 puts patient P into val, but row 2 into",
        ),
        (
            "domain,path,part,patient\nclinical,scans/P1,test,\nmicro,micro/m.tif,train,P\n",
            "row 3 puts patient P into train, but row 2 into test",
        ),
        ("domain,path\n", "names no case"),
        ("", "is empty: give a heading, domain, path, and a row for each case"),
        ("sep=;\r\n", "is empty: give a heading"),
        ("domain,path\nclinical\n", "row 2 has no path"),
        ("Domain,Path,PATH\nclinical,,scans/P1\n", "has several columns path: keep one"),
        ("domain,,path\n,,\nclinical,why,scans/P1\n", "row 3 has why in column 2, which has no heading: give one"),
        ("domain;path;;\nclinical;scans/P1;;x\n", "row 2 has x in column 4, which has no heading: give one"),
        ("domain;path;;\nclinical;scans/P1;;;x\n", "row 2 has not as many values as columns: 4"),
        ('domain,path,name\nclinical,scans/P1,"a\nb"\n\nct,scans/P2,\n', "row 4 has the domain ct"),
        ("sep=;\ndomain;path\nct;scans/P1\n", "row 2 has the domain ct"),
        ("domain,path,spacing\nmicro,micro/m.tif,inf\n", "row 2 has the spacing inf: give mm"),
    ],
)
def test_mistakes_name_the_row(scans: Path, text: str, message: str) -> None:
    file = saved(scans, text)
    with pytest.raises(UserError, match=rf"^data\.list={re.escape(str(file))}(, | ){message}") as raised:
        read_list(file, NO_RULE)
    assert "\n" not in str(raised.value)


WRONG = (
    {"domain": "ct", "path": "scans/P9", "fold": 1},
    {"domain": "clinical", "path": "scans/P1", "part": "train", "spacing": "fine", "mask": "no.nii;none.nii"},
    {"domain": "clinical", "path": "scans/P2", "name": "a", "part": "val"},
    {"domain": "clinical", "path": "scans/../scans/P1", "name": "a"},
    {"domain": "clinical", "path": "scans/q/ct.nii.gz", "name": "a"},
    {"domain": "clinical", "path": "scans/r/ct.nii.gz", "name": "r", "patient": "P", "part": "hold"},
    {"domain": "micro", "path": "micro/m.tif", "patient": "P", "part": "test"},
    {"domain": "micro", "path": "masks", "fold": 2},
)


@pytest.mark.parametrize("kind", ["csv", "json"])
def test_all_mistakes_are_told_at_once(scans: Path, kind: str, capsys) -> None:
    first = 2 if kind == "csv" else 1
    if kind == "csv":
        columns = ("domain", "path", "name", "patient", "part", "mask", "spacing", "fold")
        lines = [columns, *(tuple(row.get(column, "") for column in columns) for row in WRONG)]
        file = saved(scans, "\n".join(",".join(map(str, line)) for line in lines) + "\nclinical,,,,,,,,x\n")
    else:
        file = saved(scans, json.dumps(WRONG), "cases.json")
    with pytest.raises(CollectedError) as raised:
        read_list(file, NO_RULE)
    key = f"data.list={file}"
    assert [problem.removeprefix(key).split(":")[0] for problem in raised.value.problems] == [
        " has an unknown column fold",
        *([", row 10 has not as many values as columns"] if kind == "csv" else []),
        f", row {first} has the domain ct",
        f", row {first} names {scans}/scans/P9, which does not exist",
        f", row {first + 1} names {scans}/no.nii, which does not exist",
        f", row {first + 1} names {scans}/none.nii, which does not exist",
        f", row {first + 1} has the spacing fine",
        f", row {first + 2} puts patient P into val, but row {first + 1} into train",
        f", row {first + 3} names {scans}/scans/../scans/P1, as row {first + 1} does",
        f", row {first + 4} is case a, as row {first + 2} is",
        f", row {first + 5} has the part hold",
        f", row {first + 6} puts patient P into test, but row {first + 1} into train",
        f", row {first + 7}",
    ]
    assert capsys.readouterr().err == "", "who is taken for one patient"


def test_all_missing_and_unknown_columns_are_told_at_once(scans: Path) -> None:
    with pytest.raises(CollectedError) as raised:
        read_list(saved(scans, "file,kind\nx,y\n"), NO_RULE)
    assert [problem.split(": ")[0].split(" has ")[1] for problem in raised.value.problems] == [
        "no column domain",
        "no column path",
        "an unknown column file",
        "an unknown column kind",
    ]


@pytest.mark.parametrize("text", ['{"a": 1}', "[1]", "["])
def test_other_json_is_no_list(scans: Path, text: str) -> None:
    with pytest.raises(UserError, match=r"is no list of objects|cannot be read"):
        read_list(saved(scans, text, "cases.json"), NO_RULE)
    with pytest.raises(UserError, match="cannot be read"):
        read_list(scans / "nowhere.csv", NO_RULE)


def test_what_is_written_is_read(scans: Path) -> None:
    cases = {
        "clinical": [
            Case('a "b", c', scans / "scans/P1", "P", (), None, "train"),
            Case(
                "q", scans / "scans/q/ct.nii.gz", "Q", (scans / "masks/q.nii.gz", scans / "masks/q.nii.gz"), None, None
            ),
        ],
        "micro": [Case("m", scans / "micro/m.tif", "µ", (), [0.1, 0.05, 0.05], "test")],
    }
    write_list(cases, scans / "split.csv")
    assert read_list(scans / "split.csv", NO_RULE) == cases
    assert len(list(csv.DictReader((scans / "split.csv").open(encoding="utf-8")))) == 3


def test_a_quote_that_swallows_rows_is_told(scans: Path) -> None:
    rows = 'domain,path,patient\nclinical,clinical/a.nii.gz,"P2\nmicro,micro/m.tif,M\nmicro,micro/m.tif,"P5"\n'
    with pytest.raises(UserError, match="cannot be read: in row 2 is a quote that is not closed"):
        read_list(saved(scans, rows), NO_RULE)


@pytest.mark.parametrize("first", [0, 1])
def test_row_numbers_of_r_and_pandas_are_no_column(scans: Path, first: int) -> None:
    rows = ['"","domain","path","patient","mask"']
    paths = {"clinical": "scans/q/ct.nii.gz", "micro": "micro/m.tif"}
    rows += [f'"{n}","{domain}","{path}",NA,#N/A' for n, (domain, path) in enumerate(paths.items(), first)]
    found = read_list(saved(scans, "\n".join(rows)), NO_RULE)
    assert {domain: [(case.patient, case.masks) for case in cases] for domain, cases in found.items()} == {
        "clinical": [("ct", ())],
        "micro": [("m", ())],
    }
