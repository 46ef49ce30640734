"""Values that do not go together, each rule by itself."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from ctsr.errors import as_typed
from ctsr.files import text_of
from ctsr.imaging.volume import SCALE
from ctsr.methods import misnamed
from ctsr.records.phantom import lies_in
from ctsr.records.trainer import counted

AUTO = "auto"


class Values:
    """The values of a composed configuration by dotted key.

    Args:
        composed: It.
        wrong: Keys whose values are wrong already.
    """

    def __init__(self, composed: Mapping[str, Any], wrong: Collection[str]) -> None:
        self.composed, self.wrong = composed, wrong

    def __getitem__(self, key: str) -> Any:
        """The value of a key; `KeyError` where there is none, or it is wrong: then a rule has nothing to say."""
        if any(f"{key}.".startswith(f"{wrong}.") for wrong in self.wrong):
            raise KeyError(key)
        node: Any = self.composed
        for part in key.split("."):
            if not isinstance(node, Mapping):
                raise KeyError(key)
            node = node[part]
        return node


Rule = Callable[[Values, Sequence[str]], Iterator[str]]


def clashes(composed: Mapping[str, Any], stages: Sequence[str], wrong: Collection[str]) -> list[str]:
    """A line for each two values that do not go together.

    Args:
        composed: The configuration.
        stages: What is trained.
        wrong: Dotted keys that are wrong by themselves; rules that ask for them are left out.
    """
    values, lines = Values(composed, wrong), []
    for rule in RULES:
        with suppress(KeyError):
            for line in rule(values, stages):
                lines.append(line)
    return lines


def _name(v: Values, stages: Sequence[str]) -> Iterator[str]:
    """A run is the method that its name says."""
    yield from misnamed(v["name"], v["stage"], v["published"], v.__getitem__)


def _checkpoints(v: Values, stages: Sequence[str]) -> Iterator[str]:
    """Files to begin with are there."""
    if len(stages) > 1 and v["resume"] not in (None, AUTO):
        yield "resume=<checkpoint> goes on with one stage: give stage=synth or stage=sr, or resume=auto"
        return
    for key in ("resume", "synth_ckpt"):
        if v[key] not in (None, AUTO) and not Path(v[key]).is_file():
            yield f"{key}={v[key]}: no such file"


def _inputs(v: Values, stages: Sequence[str]) -> Iterator[str]:
    """Stage sr has what it makes its pairs with."""
    if "sr" not in stages:
        return
    inputs = v["sr.inputs"]
    if "synth" in stages:
        if inputs != "G1":
            yield f"sr.inputs={inputs} needs no stage synth: give stage=sr"
        return
    if inputs == "G1":
        if v["synth_ckpt"] is None:
            yield "stage=sr needs synth_ckpt=<checkpoint of stage synth> to take G1 from (or use stage=all)"
        return
    if inputs == "pairs" and v["sr.pairs"] is None:
        yield "sr.inputs=pairs needs sr.pairs=<folder of lungs seen by both scanners>"
    if inputs == "pairs" and not isinstance(v["data.split.val"], int | float):
        yield "sr.inputs=pairs validates on a share of the pairs: give a share for data.split.val, no names"
    if v["data.clinical.root"] is None and v["data.list"] is None:
        yield f"sr.inputs={inputs} needs data.clinical.root=<folder of scans>, whose greys it is given"


def _own_scans(v: Values, stages: Sequence[str]) -> Iterator[str]:
    """Lungs that are made first do not take the place of scans that somebody has."""
    phantom = v["data.phantom.root"]
    roots = {f"data.{kind}.root": v[f"data.{kind}.root"] for kind in ("clinical", "micro", "paired")}
    made = [f"{key}={root}" for key, root in roots.items() if lies_in(phantom, root)]
    trained = {key: root for key, root in roots.items() if key != "data.paired.root" and root is not None}
    own = [f"{key}={root}" for key, root in trained.items() if not lies_in(phantom, root)]
    if (listed := v["data.list"]) is not None and not _lists_lungs_of(phantom, Path(listed)):
        own.append(f"data.list={listed}")
    if own and made:
        yield (
            f"{', '.join(own)}: data=phantom, the default, would add lungs that it makes ({', '.join(made)}): "
            "give data=volumes for scans of your own"
        )


def _lists_lungs_of(phantom: str, listed: Path) -> bool:
    """Whether a list of cases is one that a run on the phantom wrote."""
    with suppress(OSError, ValueError):
        return f"{Path(phantom).resolve()}/" in text_of(listed)
    return False


def _patches(v: Values, stages: Sequence[str]) -> Iterator[str]:
    """One patch covers the other."""
    clinical, micro = v["data.clinical.patch"], v["data.micro.patch"]
    if micro != SCALE * clinical:
        yield (
            f"data.micro.patch={micro} must be {SCALE} times data.clinical.patch={clinical}: one image covers the other"
        )


def _window(v: Values, stages: Sequence[str]) -> Iterator[str]:
    """The window of SSIM fits into a patch."""
    window, patch = v["loss.ssim.window"], v["data.clinical.patch"]
    if set(stages) != {"sr"} and (window or 0) > patch:
        yield f"loss.ssim.window={window} is larger than data.clinical.patch={patch}"


def _margin(v: Values, stages: Sequence[str]) -> Iterator[str]:
    """The margin leaves something of a patch, which DS can judge."""
    if "sr" not in stages:
        return
    patch, margin = v["data.clinical.patch"], v["sr.margin"]
    left = patch - 2 * margin
    if left < 4:
        yield f"sr.margin={margin} leaves too little of data.clinical.patch={patch}"
        return
    pairs = v["networks.DS.pairs"]
    if v["networks.DS.norm"] == "instance" and SCALE * left <= 2**pairs:  # one pixel has no spread
        yield f"networks.DS.pairs={pairs} leaves norm=instance one pixel of {SCALE * left}: give fewer"


def _halvings(v: Values, stages: Sequence[str]) -> Iterator[str]:
    """The generators of stage synth halve a patch, and double it again."""
    if "synth" not in stages:
        return
    patch = v["data.clinical.patch"]
    for network in ("G2",) if v["networks.G1.kind"] == "scanner" else ("G1", "G2"):
        asked = v[f"networks.{network}.downsamplings"]
        if patch % 2**asked or patch < 2 ** (asked + 1):
            yield f"networks.{network}.downsamplings={asked}: data.clinical.patch={patch} cannot be halved so often"


def _layers(v: Values, stages: Sequence[str]) -> Iterator[str]:
    """A PatchGAN has three pixels at least before its last two convolutions."""
    seen = {"synth": {"D1": "clinical", "D2": "clinical"}, "sr_cyclegan": {"DA": "micro", "DB": "clinical"}}
    for stage in stages:
        for network, domain in seen.get(stage, {}).items():
            layers, patch = v[f"networks.{network}.layers"], v[f"data.{domain}.patch"]
            if patch // 2**layers < 3:
                yield f"networks.{network}.layers={layers} leaves nothing of data.{domain}.patch={patch}: give fewer"


def _schedule(v: Values, stages: Sequence[str]) -> Iterator[str]:
    """A learning rate that falls to zero has batches to do so."""
    for stage in stages:
        optimizer = f"{stage}.optimizer"
        if v[f"{optimizer}.decay"] == "linear" and v[f"{optimizer}.decay_start"] == 1:
            yield f"{optimizer}.decay_start=1 leaves the linear decay no batch: give less, or {optimizer}.decay=step"


def _split(v: Values, stages: Sequence[str]) -> Iterator[str]:
    """In mode slab each case is cut by shares."""
    if v["data.split.mode"] != "slab":
        return
    shares = [v["data.split.val"], v["data.split.test"]]
    if not all(isinstance(share, int | float) for share in shares):
        yield "data.split.mode=slab cuts each case: give shares for data.split.val and data.split.test, no names"
    elif sum(shares) >= 1:
        yield f"data.split.val={shares[0]} and data.split.test={shares[1]} leave nothing to train on: give less"


def _devices(v: Values, stages: Sequence[str]) -> Iterator[str]:
    """Every device gets its share of a batch, and gradients that not every step has."""
    asked, nodes = counted(v["trainer.devices"]), v["trainer.num_nodes"]
    if v["trainer.strategy"] == "ddp" and (asked or 2) * nodes > 1:
        yield "trainer.strategy=ddp fails where a step trains one side of the networks: give trainer.strategy=auto"
    if asked is not None:
        yield from uneven(v["data.global_batch_size"], asked * nodes, v["data.accumulate"])


def _logger(v: Values, stages: Sequence[str]) -> Iterator[str]:
    """Who has no logger beside metrics.csv has no settings of one."""
    logger = v["logger"]
    for key in logger if logger.get("_target_") is None else ():
        yield f"logger.{key}={as_typed(logger[key])}: logger=csv has no settings: give logger=wandb or tensorboard"


def uneven(batch: int, devices: int, parts: int) -> Iterator[str]:
    """A line where a batch cannot be divided over devices, and each one's share over parts."""
    if batch % (devices * parts):
        yield (
            f"data.global_batch_size={batch} cannot be divided over {devices} devices and data.accumulate={parts} parts"
        )


RULES: Sequence[Rule] = (
    _name,
    _checkpoints,
    _inputs,
    _own_scans,
    _patches,
    _window,
    _margin,
    _halvings,
    _layers,
    _schedule,
    _split,
    _devices,
    _logger,
)
