"""What the project declares: dependencies, constraints, import rules, packages."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions, version
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.conftest import REPOSITORY

PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
OURS = {"ctsr", "datamodules", "lightning_modules", "train", "infer", "tests"}
SOURCES = [REPOSITORY / "train.py", REPOSITORY / "infer.py"] + [
    path for folder in ("ctsr", "datamodules", "lightning_modules") for path in (REPOSITORY / folder).rglob("*.py")
]


def requirements(*extras: str) -> dict[str, Requirement]:
    lines = PROJECT["dependencies"] + [line for extra in extras for line in PROJECT["optional-dependencies"][extra]]
    parsed = [Requirement(line) for line in lines]
    return {canonicalize_name(requirement.name): requirement for requirement in parsed}


def constraints() -> dict[str, str]:
    lines = (REPOSITORY / "constraints.txt").read_text().splitlines()
    pins = [Requirement(line) for line in lines if line and not line.startswith("#")]
    return {canonicalize_name(pin.name): str(pin.specifier).removeprefix("==") for pin in pins}


def imported(sources: list[Path]) -> set[str]:
    names = set()
    for source in sources:
        for node in ast.walk(ast.parse(source.read_text())):
            if isinstance(node, ast.Import):
                names |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names.add(node.module.partition(".")[0])
    return names - OURS - set(sys.stdlib_module_names)


def test_every_import_is_declared_and_every_dependency_used() -> None:
    owners = packages_distributions()
    used = {canonicalize_name(owners[name][0]) for name in imported(SOURCES)}
    declared = set(requirements())
    assert used <= declared, "imported, but not declared"
    by_config = {"tensorboard"}  # reached through Lightning's logger, which ours is made of
    assert declared - used == by_config, "declared, but never imported"


def test_constraints_pin_what_is_declared_within_its_bounds() -> None:
    pins = constraints()
    for name, requirement in requirements("dev").items():
        assert requirement.specifier.contains(pins[name], prereleases=True), name
        assert version(name).partition("+")[0] == pins[name], f"the tests run with another {name}"


def test_version_is_the_packages() -> None:
    import ctsr

    assert version("ctsr") == ctsr.__version__
    assert f"## {ctsr.__version__}" in (REPOSITORY / "CHANGELOG.md").read_text()


def test_packages_hold_every_room() -> None:
    from setuptools import find_packages

    config = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]["find"]
    found = set(find_packages(str(REPOSITORY), include=config["include"]))
    rooms = {".".join(p.relative_to(REPOSITORY).parent.parts) for p in SOURCES if p.parent != REPOSITORY}
    assert found == rooms


def test_nothing_imports_the_programs() -> None:
    for source in SOURCES[2:]:
        for node in ast.walk(ast.parse(source.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not {"train", "infer"} & {name.partition(".")[0] for name in names}, source


def test_a_script_beside_a_clone_imports_the_package(tmp_path: Path) -> None:
    """A folder called ctsr/ beside a script, no package itself, comes first on the path."""
    (tmp_path / "ctsr" / "ctsr").mkdir(parents=True)
    script = tmp_path / "mine.py"
    script.write_text("from ctsr import __version__\nimport ctsr.imaging.volume\nprint(__version__)\n")
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run([sys.executable, script], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == version("ctsr"), done.stderr


def test_import_rules_hold() -> None:
    done = subprocess.run(
        [str(Path(sys.executable).with_name("lint-imports"))],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout
    assert "8 kept, 0 broken" in done.stdout


@pytest.mark.parametrize("name", ["wandb", "SimpleITK", "numba"])
def test_training_on_prepared_cases_does_not_import(name: str) -> None:
    code = (
        f"import sys, lightning_modules, ctsr.data.patches, ctsr.networks.srresnet; sys.exit('{name}' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, timeout=120).returncode == 0


HEAVY = {"torch", "lightning", "monai", "torchmetrics", "matplotlib", "numba", "skimage", "wandb", "SimpleITK"}


@pytest.mark.parametrize(
    "arguments",
    [
        ("train.py", "--help"),
        ("train.py", "stage=all", "--cfg", "job"),
        ("train.py", "stage=synth", "loss.lamda1=1"),
        ("train.py", "stage=sr", "sr.noise=2"),
        ("train.py", "stage=synth", "networks.G1.kind=scanner"),
        ("infer.py", "--help"),
        ("infer.py", "--cfg", "job"),
        ("infer.py", "inputt=a"),
        ("infer.py", "ckpt=a", "input=a", "output=a.nii", "region=lungs"),
        ("-m", "ctsr.data.inspect", "--help"),
        ("-m", "ctsr.phantom", "--help"),
    ],
)
def test_help_and_mistakes_do_not_wait_for(arguments: tuple[str, ...], tmp_path: Path) -> None:
    program, *rest = arguments
    typed = [program if program == "-m" else str(REPOSITORY / program), *rest]
    done = subprocess.run(
        [sys.executable, "-X", "importtime", *typed], cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    lines = [line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if line.startswith("import time:")]
    assert "argparse" in lines
    assert not HEAVY & set(lines)


@pytest.mark.parametrize("name", ["lightning", "wandb"])
def test_infer_does_not_wait_for(name: str) -> None:
    code = f"import sys, infer; sys.exit('{name}' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, timeout=120).returncode == 0
