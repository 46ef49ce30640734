"""Which slices of a series are of one pass over the body, and which of another: told by tags that passes differ in.

Passes that follow each other along the body are one scan; those whose slices lie between each other's are several.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise

from ctsr.errors import some_of

# What passes are that differ in a tag. Of a multi-frame file some tags stand with its frames, under other names.
_OF_A_PASS = {
    **dict.fromkeys(("AcquisitionNumber", "FrameAcquisitionNumber"), "acquisitions"),
    **dict.fromkeys(("TemporalPositionIdentifier", "TemporalPositionIndex"), "times"),
    **dict.fromkeys(("AcquisitionDate", "AcquisitionDateTime", "FrameAcquisitionDateTime"), "acquisitions"),
    **dict.fromkeys(("AcquisitionTime", "IrradiationEventUID", "KVP"), "acquisitions"),
    **dict.fromkeys(("SeriesNumber", "SeriesDescription", "SeriesTime", "ProtocolName", "StackID"), "series"),
    "EchoNumbers": "echoes",
    "ConvolutionKernel": "reconstructions",
}
# Of these, slices may share a value by chance, or have one of their own: only a strict turn over the series tells.
_OF_A_SLICE = {
    **dict.fromkeys(("NominalPercentageOfCardiacPhase", "TriggerTime", "NominalCardiacTriggerDelayTime"), "times"),
    **dict.fromkeys(("ContentTime", "ContrastBolusAgent", "FrameOfReferenceUID", "StudyInstanceUID"), "acquisitions"),
    **dict.fromkeys(("ImageType", "FilterType"), "reconstructions"),
}
# Of these each slice may have its own: then their order tells.
_IN_ORDER = (
    "AcquisitionNumber",
    "AcquisitionDateTime",
    "AcquisitionTime",
    "FrameAcquisitionDateTime",
    "InstanceNumber",
)
TAGS = {**_OF_A_PASS, **_OF_A_SLICE, "InstanceNumber": "stacks"}
FRAME_GROUPS = (  # the sequences of a multi-frame file where these stand
    *("FrameContentSequence", "CardiacSynchronizationSequence", "IrradiationEventIdentificationSequence"),
    *("CTXRayDetailsSequence", "CTReconstructionSequence"),
)
_ALTERNATE = 4  # stretches, A B A B: in A B A, the one may fill a gap of the other

_FEWEST = 3  # slices of a pass that is told by their order alone
_SHOWN = 4  # values in a message

Told = Mapping[str, str]


@dataclass(frozen=True)
class Passes:
    """Several passes.

    Attributes:
        tag: Which they differ in.
        groups: Value and slices of each, in the order of their first slices.
    """

    tag: str
    groups: Mapping[str, Sequence[int]]

    def __str__(self) -> str:
        count = "two" if len(self.groups) == 2 else len(self.groups)
        return f"{count} {TAGS[self.tag]} ({self.tag} {some_of([value or '(none)' for value in self.groups], _SHOWN)})"


def between_each_other(slices: Sequence[Told]) -> Passes | None:
    """The passes whose slices lie between each other's.

    Args:
        slices: The tags of each, in the order of their positions; those that are missing left out.

    Returns:
        The first tag that tells several passes, of two slices at least; None: all are of one, or nothing tells.
    """
    for tag in TAGS:
        groups = _groups(tag, slices)
        if tag in _OF_A_PASS and (found := _interleaved(groups)):
            return Passes(tag, found)
        if _in_turn(groups):
            return Passes(tag, groups)
        if tag in _IN_ORDER and (found := _interleaved(_runs(groups))):
            return Passes(tag, found)
    return None


def told_apart(slices: Sequence[Told], one: int, other: int) -> Passes | None:
    """The passes of two slices in one place; None: no tag tells them apart whose values other slices have, too."""
    for tag in TAGS:
        groups = {value: of for value, of in _groups(tag, slices).items() if one in of or other in of}
        if len(groups) == 2 and all(value and len(of) > 1 for value, of in groups.items()):
            return Passes(tag, groups)
    return None


def _groups(tag: str, slices: Sequence[Told]) -> dict[str, list[int]]:
    groups: dict[str, list[int]] = defaultdict(list)
    for number, told in enumerate(slices):
        groups[told.get(tag, "")].append(number)
    return groups


def _interleaved(groups: Mapping[str, Sequence[int]]) -> dict[str, Sequence[int]]:
    """Those of which another's slices lie between, and which lie between that one's."""
    several = [(value, of) for value, of in groups.items() if value and len(of) > 1]
    found = set()
    for number, (one, its) in enumerate(several):
        for other, theirs in several[number + 1 :]:
            if theirs[0] > its[-1]:
                break  # as do all that begin later
            both = sorted([(place, one) for place in its] + [(place, other) for place in theirs])
            if sum(1 for _ in groupby(both, key=lambda slice_: slice_[1])) >= _ALTERNATE:
                found |= {one, other}
    return {value: of for value, of in several if value in found}


def _runs(groups: Mapping[str, Sequence[int]]) -> dict[str, list[int]]:
    """Where each slice has a number of its own: the stretches in whose order the places go one way, by first number.

    None where a stretch is too short to be a pass, as in any other order.
    """
    try:
        numbered = sorted((float(value), value, of[0]) for value, of in groups.items())
    except ValueError:  # missing in some, or no numbers
        return {}
    if any(len(of) > 1 for of in groups.values()):
        return {}
    runs: dict[str, list[int]] = {}
    run: list[int] = []
    for _, value, place in numbered:
        if not run or (len(run) > 1 and (place > run[-1]) != (run[-1] > run[-2])):
            run = runs.setdefault(value, [])
        run.append(place)
    if min(map(len, runs.values())) < _FEWEST:
        return {}
    return {value: sorted(run) for value, run in runs.items()}


def _in_turn(groups: Mapping[str, Sequence[int]]) -> bool:
    """Whether neighbours are of different groups everywhere, and each group spans most of the series."""
    most = (sum(map(len, groups.values())) - 1) / 2
    return len(groups) > 1 and all(
        len(of) > 1 and of[-1] - of[0] >= most and all(after - before > 1 for before, after in pairwise(of))
        for of in groups.values()
    )
