"""Every command in the README and in docs/ composes: its keys exist and its targets are there."""

from __future__ import annotations

import importlib.util
import re
import shlex
from collections.abc import Iterator

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser

from infer import AS_TYPED
from tests.conftest import REPOSITORY

README = (REPOSITORY / "README.md").read_text()
DOCS = [path.read_text() for path in sorted((REPOSITORY / "docs").glob("*.md"))]
MAKEFILE = (REPOSITORY / "Makefile").read_text()
LAUNCHERS = ("torchrun", "srun")


def commands() -> Iterator[str]:
    for block in re.findall(r"```(?:bash|sh)\n(.*?)```", "\n".join([README, *DOCS]), flags=re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            text = line.partition(" #")[0].partition(" > ")[0].strip()
            if text and not text.startswith("#"):
                yield text


COMMANDS = list(commands())


def program_and_arguments(command: str) -> tuple[str, list[str]]:
    """What is started in the end, behind a launcher."""
    program, *arguments = shlex.split(command)
    if program in LAUNCHERS:
        return "python", arguments[arguments.index("train.py") :]
    return program, arguments


def test_readme_has_what_people_type() -> None:
    for start in (
        "make demo",
        "make test",
        "python train.py stage=synth",
        "python train.py stage=sr",
        "python infer.py",
    ):
        assert any(command.startswith(start) for command in COMMANDS), start
    assert any(command.startswith("python train.py -m") for command in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_command_composes(command: str) -> None:
    program, arguments = program_and_arguments(command)
    if program == "make":
        targets = [argument for argument in arguments if "=" not in argument]
        assert all(re.search(rf"^{target}:", MAKEFILE, flags=re.MULTILINE) for target in targets)
        variables = [argument.partition("=")[0] for argument in arguments if "=" in argument]
        assert all(re.search(rf"^{name} \?=", MAKEFILE, flags=re.MULTILINE) for name in variables)
    elif program == "python" and arguments[0] in ("train.py", "infer.py"):
        overrides = [argument for argument in arguments[1:] if argument not in ("-m", "--cfg", "job", "--resolve")]
        overrides = AS_TYPED.quoted(overrides) if arguments[0] == "infer.py" else overrides
        parsed = OverridesParser.create().parse_overrides(overrides)
        single = [
            f"{o.key_or_group}={next(o.sweep_string_iterator())}" if o.is_sweep_override() else o.input_line
            for o in parsed
        ]
        ours = [str(text) for text in single if not re.match("hydra[./]", str(text))]
        if any(text.startswith("sweep=") for text in ours):
            ours.append("stage=all")  # the sweep's file says which
        # infer.py's lies apart: its data= is a folder, train.py's a group.
        name = arguments[0].removesuffix(".py")
        folder = REPOSITORY / "conf" / ("infer" if name == "infer" else "")
        with initialize_config_dir(str(folder), version_base="1.3"):
            compose(name, ours)
    elif program == "python":
        there = (
            importlib.util.find_spec(arguments[1]) if arguments[0] == "-m" else (REPOSITORY / arguments[0]).is_file()
        )
        assert there, command
    else:
        assert program in ("git", "cd", "source", "pip", "["), f"the README tells to type {command}"


def test_pictures_are_there() -> None:
    for path in re.findall(r"!\[[^\]]*\]\(([^)]+)\)", README):
        assert (REPOSITORY / path).is_file(), path
