"""What made a result: the program, its commit where it runs from a checkout, and what it computes with."""

from __future__ import annotations

import platform
import subprocess
from functools import cache
from importlib.metadata import version
from pathlib import Path

from ctsr import __version__

PACKAGES = ("torch", "lightning", "monai", "torchmetrics", "numpy", "scipy", "nibabel", "SimpleITK", "pydicom")


@cache
def versions() -> dict[str, str]:
    """Names to versions; `commit` ends in "+" where files differ from it, and is missing outside a checkout."""
    commit = _commit()
    return {
        "ctsr": __version__,
        **({"commit": commit} if commit else {}),
        "python": platform.python_version(),
        **{name: version(name) for name in PACKAGES},
    }


def _commit() -> str | None:
    root = Path(__file__).resolve().parents[1]
    if not (root / ".git").exists():  # installed; a repository further up is somebody else's
        return None
    try:
        commit, changes = (
            subprocess.run(["git", "-C", str(root), *command], capture_output=True, text=True, check=True).stdout
            for command in (["rev-parse", "HEAD"], ["status", "--porcelain", "--untracked-files=no"])
        )
    except (OSError, subprocess.CalledProcessError):  # no git here: nothing to tell
        return None
    return commit.strip() + ("+" if changes.strip() else "")
