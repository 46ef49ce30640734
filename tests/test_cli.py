"""The edge to the terminal."""

from __future__ import annotations

import pytest
from omegaconf.errors import ConfigAttributeError

from ctsr.cli import run_cli
from ctsr.errors import UserError


def test_success_is_zero() -> None:
    assert run_cli(lambda: None) == 0


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (UserError("data.micro.root=x:\n  not there"), "error: data.micro.root=x: not there"),
        (ConfigAttributeError("Key 'a' is not in struct\n    full_key: a"), "error: Key 'a' is not in struct"),
    ],
)
def test_mistakes_become_one_line(error: Exception, line: str, capsys: pytest.CaptureFixture[str]) -> None:
    def program() -> None:
        raise error

    assert run_cli(program) == 2
    assert capsys.readouterr().err == f"{line}\n"


def test_bugs_keep_their_traceback() -> None:
    def program() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run_cli(program)
