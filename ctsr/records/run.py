"""A training as it was configured: the composed keys of conf/, typed and checked before anything else is done."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import yaml

from ctsr.arguments import AsTyped
from ctsr.errors import CollectedError, UserError, one_line
from ctsr.records.clashes import clashes
from ctsr.records.data import Data
from ctsr.records.settings import Settings, group_in, keys_of, no_such_key, read
from ctsr.records.stages import SRCycleGANStage, SRStage, Stage, SynthStage
from ctsr.records.trainer import CheckpointSettings, GuardSettings, LoggerSettings, PanelSettings, TrainerSettings
from ctsr.records.values import Flag, Name, PathText, Seed

STAGES: Mapping[str, type[Stage]] = {stage.name: stage for stage in (SynthStage, SRStage, SRCycleGANStage)}
SHARED = ("networks", "loss")  # groups that hold keys of all stages
HOW = "give a run's config.yaml, or what train.py prints with --cfg job --resolve"
MADE = ("stages", "composed", "typed")  # no keys


def _of_scans(*keys: str) -> tuple[str, ...]:
    return tuple(f"data.{domain}.{key}" for domain in ("clinical", "micro") for key in keys)


_DATA = ("data.list", "data.cache", "data.phantom.root", "data.paired.root", *_of_scans("root", "masks"))
_OF_WANDB = ("name", "project", "group", "entity", "job_type", "notes", "id", "tags")
AS_TYPED = AsTyped(
    paths=("synth_ckpt", "resume", "sr.pairs", "hydra.run.dir", "hydra.sweep.dir", *_DATA),
    texts=_of_scans("series", "files", "patient"),
    names=("name", *(f"logger.{key}" for key in _OF_WANDB)),
    shares=("data.split.val", "data.split.test"),
)


class Run(Settings):
    """A training.

    Attributes:
        stage: What it trains, as it was typed.
        stages: The same, one after the other, each with its own networks, loss and schedule.
        composed: All that was composed, in plain values.
        typed: The arguments of the command line that it was composed by, as they were typed.
    """

    stage: Literal["synth", "sr", "all", "sr_cyclegan"]
    name: Name
    seed: Seed
    resume: PathText | None
    synth_ckpt: PathText | None
    prepare_only: Flag
    evaluate: Flag
    published: Flag
    stages: tuple[Stage, ...]
    composed: dict[str, Any]
    typed: tuple[str, ...]
    data: Data
    trainer: TrainerSettings
    checkpoint: CheckpointSettings
    guard: GuardSettings
    panels: PanelSettings
    logger: LoggerSettings

    def epochs_of(self, stage: Stage) -> int:
        """How many epochs one of the stages is to have."""
        return self.trainer.max_epochs or stage.epochs

    def config_of(self, stage: Stage) -> dict[str, Any]:
        """What was composed, as if one of the stages were trained alone: what its folder and its checkpoint tell."""
        return self.composed | {"stage": stage.name, "synth_ckpt": self.synth_ckpt}


def read_run(composed: Mapping[str, Any], typed: Sequence[str] = ()) -> Run:
    """Read a composed configuration.

    Experiments and methods set keys of stages that a run may not have; these are left out.

    Args:
        composed: Plain dicts, lists and values, everything resolved.
        typed: See `Run`.

    Raises:
        CollectedError: Keys that there are not, values that they do not take, or that do not go together: a line each.
    """
    wrong = _unknown(composed)
    names = stages_of(composed.get("stage"))
    stages = [read(STAGES[name], _of_stage(name, composed), wrong, prefix=name, bare=SHARED) for name in names]
    own = {key: value for key, value in composed.items() if key in keys_of(Run)}
    found = tuple(stage for stage in stages if stage is not None)
    run = read(Run, own | {"stages": found, "composed": dict(composed), "typed": tuple(typed)}, wrong)
    problems = [*wrong.values(), *clashes(composed, names, wrong)]
    if problems or run is None:
        raise CollectedError(problems)
    return run


def run_of_file(file: Path) -> Run:
    """The training of a configuration file, without the programs that compose it.

    Args:
        file: `config.yaml` of a run folder, or what `train.py --cfg job --resolve` printed; paths in it are relative to
            the working folder, as in training.

    Raises:
        UserError: It cannot be read, is no configuration of a training, or still holds `${...}`.
        CollectedError: Keys or values in it are wrong: a line each.
    """
    try:
        composed = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise UserError(f"{file} cannot be read: {one_line(error)}") from error
    if not isinstance(composed, dict) or not {"stage", "data"} <= composed.keys():
        raise UserError(f"{file} is no configuration of a training: {HOW}")
    if (text := next((text for text in _texts(composed) if "${" in text), None)) is not None:
        raise UserError(f"{file} holds {text}, which is open: print it with --resolve, too")
    return read_run(composed)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for below in value.values() if isinstance(value, dict) else value:
            yield from _texts(below)


def as_yaml(config: Mapping[str, Any]) -> str:
    """Plain values as YAML, which every reader takes for the same values."""
    return str(yaml.dump(config, Dumper=_Quoting, sort_keys=False, allow_unicode=True))


class _Quoting(yaml.SafeDumper):  # type: ignore[misc]
    """Quotes texts that some readers take for numbers, such as 1e-3."""


def _quoted(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    try:
        float(text)
    except ValueError:
        return dumper.represent_str(text)
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="'")


_Quoting.add_representer(str, _quoted)


def stages_of(stage: object) -> Sequence[str]:
    """The stages that are trained, one after the other; none where there is no such stage."""
    return ("synth", "sr") if stage == "all" else (str(stage),) if stage in STAGES else ()


def is_for(stage: type[Stage], key: str) -> bool:
    """Whether a dotted key, or a group of ready ones, has a meaning for a stage."""
    first, _, rest = key.partition(".")
    if first in SHARED and rest:
        return rest.partition(".")[0] in keys_of(_groups(stage)[first])
    return first == stage.name or first not in STAGES


def _of_stage(name: str, composed: Mapping[str, Any]) -> Any:
    """The keys of a stage: its own, and its part of those that stages share."""
    own = composed.get(name)
    if not isinstance(own, Mapping):
        return own
    shared = {key: composed.get(key) for key in SHARED}
    for key, group in _groups(STAGES[name]).items():
        given = shared[key]
        if isinstance(given, Mapping):
            shared[key] = {inner: value for inner, value in given.items() if inner in keys_of(group)}
    return {**own, **shared}


def _groups(stage: type[Stage]) -> dict[str, type[Settings]]:
    """A stage's networks and its loss."""
    groups = {key: group_in(stage.model_fields[key].annotation) for key in SHARED}
    return {key: group for key, group in groups.items() if group is not None}


def _unknown(composed: Mapping[str, Any]) -> dict[str, str]:
    """Keys, at the top and in what stages share, that no stage has."""
    known = {"": [key for key in keys_of(Run) if key not in MADE] + [*SHARED, *STAGES]}
    for shared in SHARED:
        known[shared] = [key for stage in STAGES.values() for key in keys_of(_groups(stage)[shared])]
    wrong = {}
    for place, keys in known.items():
        given = composed.get(place) if place else composed
        for key in given if isinstance(given, Mapping) else ():
            if key not in keys:
                dotted = f"{place}.{key}" if place else str(key)
                wrong[dotted] = no_such_key(dotted, place or "a run", list(dict.fromkeys(keys)))
    return wrong
