"""Commands that a run suggests: they can be pasted as they stand, where the run was started."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterable
from pathlib import Path

from ctsr.records.run import Run, is_for
from ctsr.records.stages import SRStage, Stage, SynthStage

ASKED_ANEW = ("stage", "sweep", "resume", "synth_ckpt", "prepare_only")


def to_resume(run: Run, folder: Path) -> str:
    """What goes on with a run that was stopped."""
    kept = (one for one in run.typed if _key(one) != "resume")
    return _pasted("train.py", [*kept, "resume=auto", f"hydra.run.dir={folder}"])


def to_follow(run: Run, stage: Stage, checkpoint: str) -> str:
    """What comes after a stage: stage sr with the same data, method and experiment, or a scan to enlarge."""
    if isinstance(stage, SynthStage):
        kept = (one for one in run.typed if _key(one) not in ASKED_ANEW and is_for(SRStage, _key(one)))
        return _pasted("train.py", ["stage=sr", *kept, f"synth_ckpt={checkpoint}"])
    return f"{_pasted('infer.py', [f'ckpt={checkpoint}'])} input=<scan> output=<result>.nii.gz"


def _key(override: str) -> str:
    return override.lstrip("+~").partition("=")[0]


def _pasted(program: str, arguments: Iterable[str]) -> str:
    """A command, each of its parts quoted for the shell where need be."""
    started = Path(sys.argv[0])
    path = started.with_name(program) if started.name in ("train.py", "infer.py") else Path(program)
    options_first = sorted(arguments, key=lambda argument: not argument.startswith("--"))  # as Hydra takes them
    return shlex.join(["python", str(path), *options_first])
