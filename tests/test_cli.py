"""The edge to the terminal."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf
from omegaconf.errors import ConfigAttributeError

from ctsr.cli import in_quotes, quoted, run_cli, unquoted
from ctsr.errors import CollectedError, UserError
from tests.conftest import REPOSITORY


def test_success_is_zero() -> None:
    assert run_cli(lambda: None) == 0


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (UserError("data.micro.root=x:\n  not there"), "error: data.micro.root=x: not there"),
        (UserError("a folder  of two  blanks/\tx\r\n\n  is bad \n"), "error: a folder  of two  blanks/\tx is bad"),
        (ConfigAttributeError("Key 'a' is not in struct\n    full_key: a"), "error: Key 'a' is not in struct"),
    ],
)
def test_mistakes_become_one_line(error: Exception, line: str, capsys: pytest.CaptureFixture[str]) -> None:
    def program() -> None:
        raise error

    assert run_cli(program) == 2
    assert capsys.readouterr().err == f"{line}\n"


def test_paths_that_exist_are_quoted_and_sweeps_kept(tmp_path: Path) -> None:
    path = tmp_path / "loss.lambda1=0.1,loss.lambda2=0.2" / "it's.ckpt"
    path.parent.mkdir()
    path.touch()
    arguments = quoted([f"synth_ckpt={path}", "resume=a,b", "seed=1,2"], {"synth_ckpt", "resume"}, existing=True)
    first, *others = OverridesParser.create().parse_overrides(arguments)
    assert first.value() == str(path)
    assert [override.is_sweep_override() for override in others] == [True, True]


@pytest.mark.parametrize(
    "text",
    [
        "Thorax LUNG 1.0 (B60f), iDose [3]",
        "3 'Thorax LUNG 1.0 (B60f), iDose [3]' (8 slices)",
        "'LUNG' (8 slices), or 'STD'",
        "[LUNG]",
        "1.2.840.113619.2.55.3",
        "{a: b} = ${c} \\",
        "7",
        "null and void",
    ],
)
def test_texts_come_as_they_were_typed(text: str) -> None:
    (argument,) = quoted([f"data.micro.series={text}"], (), texts=["data.micro.series"])
    value = OverridesParser.create().parse_override(argument).value()
    assert OmegaConf.to_container(OmegaConf.create({"series": str(value)}), resolve=True) == {"series": text}
    assert quoted([argument], (), texts=["data.micro.series"]) == [argument]  # a job of a sweep quotes again
    assert unquoted([argument], ["data.micro.series"]) == [f"data.micro.series={text}"]


@pytest.mark.parametrize(
    "text", ["a b", "it's", r"a\'b", r"\\'", "${a}", r"\${a}", r"\\${a}", "a\\", r"a\\", r"a\b", "[x]=y"]
)
def test_quotes_are_taken_away_again(text: str) -> None:
    assert unquoted([f"key={in_quotes(text)}"], ["key"]) == [f"key={text}"]


def test_what_was_not_quoted_stays() -> None:
    arguments = ["key=a", "key='null'", "key=''", "other='a b'", 'key="a b"', "key=['a','b']", "key"]
    assert unquoted(arguments, ["key"]) == arguments


def test_no_text_stays_none() -> None:
    arguments = ["series=null", "series=", "series", "series='a b'", 'series="a, b"', "other=a b"]
    assert quoted(arguments, (), texts=["series"]) == arguments


@pytest.mark.parametrize("words", [1, 100_000])  # in the buffer to the end, and beyond it
def test_a_reader_may_stop_reading(words: int) -> None:
    program = f"from ctsr.cli import run_cli; raise SystemExit(run_cli(lambda: print('long ' * {words})))"
    reader, writer = os.pipe()
    os.close(reader)
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    done = subprocess.run(
        [sys.executable, "-c", program], stdout=writer, stderr=subprocess.PIPE, text=True, env=buffered
    )
    os.close(writer)
    assert done.returncode == 141
    assert done.stderr == ""


def test_bugs_keep_their_traceback() -> None:
    def program() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run_cli(program)


@pytest.mark.parametrize(
    ("typed", "seen"),
    [
        ("data.micro.patient=(.*)_[0-9]+$", "(.*)_[0-9]+$"),
        ("data.micro.patient='(.*)_[0-9]+$'", "(.*)_[0-9]+$"),
        ("data.micro.patient=null", None),
        ("data.micro.patient=case", "case"),
        ("data.micro.patient=^([^-]+)-a,b", "^([^-]+)-a,b"),
    ],
)
def test_patterns_need_no_quotes_of_hydras(typed: str, seen: str | None) -> None:
    parser = OverridesParser.create()
    (argument,) = quoted([typed], [], texts=["data.micro.patient"])
    assert parser.parse_override(argument).value() == seen


def test_several_mistakes_are_a_line_each(capsys: pytest.CaptureFixture[str]) -> None:
    def program() -> None:
        raise CollectedError(["one\nthing", "another"])

    assert run_cli(program) == 2
    assert capsys.readouterr().err == "error: one thing\nerror: another\n"
    assert str(CollectedError(["one", "another"])) == "one; another"


@pytest.mark.parametrize(
    ("own", "told"),
    [
        ({}, {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "5000"}),
        ({"OMP_WAIT_POLICY": "ACTIVE"}, {"OMP_WAIT_POLICY": "ACTIVE", "GOMP_SPINCOUNT": "30000000000"}),
        ({"GOMP_SPINCOUNT": "7"}, {"GOMP_SPINCOUNT": "7"}),
    ],
)
def test_threads_wait_briefly_unless_the_user_says_otherwise(own: dict[str, str], told: dict[str, str]) -> None:
    """As OpenMP itself tells, when torch loads it."""
    code = "from ctsr.cli import run_cli; run_cli(lambda: __import__('torch'))"
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "GOMP_"))}
    environment |= {"OMP_DISPLAY_ENV": "verbose"} | own
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=120
    )
    shown = dict(re.findall(r"(\w+) = '(\S*)'", done.stderr))
    assert {name: shown[name] for name in told} == told
