"""The edge to the terminal."""

from __future__ import annotations

import ast
import errno
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from omegaconf.errors import ConfigAttributeError

from ctsr.cli import run_cli
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


@pytest.mark.parametrize(
    ("number", "line"),
    [
        (errno.EACCES, "/x: Permission denied: choose another place, or get the right to this one"),
        (errno.EROFS, "/x: Read-only file system: choose another place"),
        (errno.ENOSPC, "/x: No space left on device: free some, or choose another place"),
        (errno.ENAMETOOLONG, "/x: File name too long: choose a shorter one"),
        (errno.ENOTDIR, "/x: Not a directory"),
        (errno.ESTALE, "/x: Stale file handle"),
    ],
)
def test_what_the_system_refuses_is_one_line(number: int, line: str, capsys: pytest.CaptureFixture[str]) -> None:
    def program() -> None:
        raise OSError(number, os.strerror(number), "/x")

    assert run_cli(program) == 2
    assert capsys.readouterr().err == f"error: {line}\n"


def test_real_refusals_name_the_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    for place in (tmp_path / "file" / "below", tmp_path / ("x" * 300), Path("/proc/no folder/here")):
        assert run_cli(lambda place=place: place.mkdir(parents=True)) == 2
        told = capsys.readouterr().err
        assert told.startswith("error: /"), "with its place"
        assert told.count("\n") == 1


def test_a_full_disk_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    def program() -> None:
        with Path("/dev/full").open("w") as file:
            file.write("a")

    assert run_cli(program) == 2
    assert capsys.readouterr().err == "error: No space left on device: free some, or choose another place\n"


@pytest.mark.parametrize(
    "error", [MemoryError(), MemoryError("Unable to allocate 3 TiB"), torch.OutOfMemoryError("CUDA")]
)
def test_too_little_memory_is_one_line(error: Exception, capsys: pytest.CaptureFixture[str]) -> None:
    def program() -> None:
        raise error

    assert run_cli(program) == 2
    told = capsys.readouterr().err
    assert told.startswith("error: out of memory: ")
    assert str(error) in told
    assert told.count("\n") == 1


def test_what_lightning_says_of_its_arguments_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    from lightning import Trainer

    assert run_cli(lambda: Trainer(max_time="soon") and None) == 2
    assert run_cli(lambda: Trainer(accelerator="abacus") and None) == 2
    assert run_cli(lambda: Trainer(fast_dev_run=-1) and None) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert [line.split()[1] for line in lines] == ["trainer:"] * 3
    assert "fast_dev_run=-1" in lines[-1]
    with pytest.raises(TypeError):  # a bug of ours
        run_cli(lambda: Trainer(no_such=1) and None)


def test_a_part_of_an_array_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """As NumPy says it of a disk that fills."""

    def program() -> None:
        raise OSError("98304 requested and 49088 written")

    assert run_cli(program) == 2
    assert capsys.readouterr().err == "error: 98304 requested and 49088 written: is the disk full?\n"


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-"])
def test_closed_streams_end_nothing(closed: str, tmp_path: Path) -> None:
    program = "from ctsr.cli import run_cli; print(1); raise SystemExit(run_cli(lambda: print('said')))"
    done = subprocess.run(["sh", "-c", f'"$0" -c "$1" {closed}', sys.executable, program], cwd=REPOSITORY)
    assert done.returncode == 0


def test_a_working_directory_that_was_removed(tmp_path: Path) -> None:
    program = "from ctsr.cli import run_cli; raise SystemExit(run_cli(lambda: None))"
    gone = tmp_path / "gone"
    gone.mkdir()
    script = f'cd {gone}; rmdir {gone}; "$0" -c "$1"'
    ours = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(["sh", "-c", script, sys.executable, program], env=ours, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (2, "error: the working directory was removed: go to another\n")


STOPPED = """
import os, signal, sys
from pathlib import Path
from ctsr.cli import run_cli
from ctsr.files import replacing

def program():
    with replacing(Path(sys.argv[1])) as partial:
        partial.touch()
        os.kill(os.getpid(), {number})
        signal.pause()

sys.exit(run_cli(program))
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_program_in_one_line(number: signal.Signals, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", STOPPED.format(number=int(number)), tmp_path / "file"], capture_output=True, text=True
    )
    assert done.returncode == 128 + number
    assert done.stderr == f"stopped by {number.name}: unfinished files are removed\n"
    assert not list(tmp_path.iterdir())


def test_signals_are_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    found = signal.signal(signal.SIGTERM, signal.SIG_DFL)  # a training of another test may have left its own
    try:
        before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
        own = []
        assert run_cli(lambda: own.append(signal.getsignal(signal.SIGTERM))) == 0
        assert own != [before[1]]
        assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # as a scheduler may have it
        run_cli(lambda: own.append(signal.getsignal(signal.SIGTERM)))
    finally:
        signal.signal(signal.SIGTERM, found)
    assert own[-1] == signal.SIG_IGN


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-8"])
@pytest.mark.parametrize("text", ["Größe µ", "肺", b"byte \xff".decode("utf-8", "surrogateescape")])
def test_what_the_terminal_cannot_show_is_written_with_escapes(encoding: str, text: str) -> None:
    program = f"from ctsr.cli import run_cli; raise SystemExit(run_cli(lambda: print({text!a})))"
    environment = os.environ | {"PYTHONIOENCODING": encoding}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, env=environment)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout == text.encode(encoding, "backslashreplace") + b"\n"


def test_a_name_that_is_not_utf_8_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    name = b"Gr\xf6\xdfe".decode("utf-8", "surrogateescape")
    assert run_cli(lambda: name.encode() and None) == 2
    assert "the name is not written in UTF-8: rename it" in capsys.readouterr().err
    with pytest.raises(UnicodeEncodeError):  # a bug of ours
        run_cli(lambda: "µ".encode("ascii") and None)


WRITTEN = """
from pathlib import Path
from ctsr.training.run_folder import write_config
from ctsr.sweeps.table import Job, markdown, write_table

folder = Path({folder!r})
write_config({{"data": "Größe µ 肺"}}, folder)
write_table([Job(folder / "Größe", {{"k": "±"}}, 0, {{}})], folder / "sweep.csv")
"""


def test_files_are_utf_8_whatever_the_terminal_has(tmp_path: Path) -> None:
    from_ascii = os.environ | {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    program = tmp_path / "program.py"
    program.write_text(WRITTEN.format(folder=str(tmp_path)), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, program],
        cwd=REPOSITORY,
        env=from_ascii | {"PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "Größe µ 肺" in (tmp_path / "config.yaml").read_text(encoding="utf-8")
    assert "Größe,±" in (tmp_path / "sweep.csv").read_text(encoding="utf-8")


def test_texts_are_read_and_written_with_an_encoding() -> None:
    """Else a locale without µ ends a run in an error, after everything was computed."""
    bare = []
    rooms = ("ctsr", "datamodules", "lightning_modules")
    for file in (file for room in rooms for file in (REPOSITORY / room).rglob("*.py")):
        source = file.read_text(encoding="utf-8")
        for call in ast.walk(ast.parse(source)):
            if isinstance(call, ast.Call) and getattr(call.func, "attr", "") in ("read_text", "write_text"):
                text = ast.get_source_segment(source, call) or ""
                if not any(sign in text for sign in ("encoding=", "latin-1", "/proc/")):
                    bare.append(f"{file}: {text}")
    assert not bare


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
