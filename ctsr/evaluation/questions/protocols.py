"""The questions that are asked. Their numbers are never mixed in one table (READING 15).

paired         A clinical acquisition of a lung is enlarged; truth: the micro-CT slice at its centre.
paired_slab    The same; truth: the mean of the micro-CT slices that the clinical slice covers.
synthetic      Held-out micro-CT x, the clinical-like image G1(f(x)) by the G1 of the reference, truth x. It tests
               networks on images that one trained generator made, so it flatters those that learned with it.
synthetic_own  The paper's Table 1: the same, each network on the images of its own generator. It certifies nothing:
               a GS without any G1 scores well on f(x).
plain          f(x) itself, truth x.
unseen_soft    Images made of x by a scanner of the phantom's family with a softer kernel, truth x.
unseen_sharp   The same with a kernel as sharp as f()'s own, and more noise.
unseen_g1      G1(f(x)) by the G1 of another training, truth x.
projections/…  Acquisitions, one question for each kind, of a lung by a scanner that works in projections; truth: the
               phantom's HU. Results are compared in HU, as infer.py writes them.

Under `paired` and `projections/…` everybody is asked once more on scans that were brought to the kernel of the training
first, as infer.py does by default (names that end in `_matched`), and interpolation and the reference also on scans
after the filter of the true kernel, where it is known (`_oracle`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import numpy.typing as npt

from ctsr.data.pairs import Pair
from ctsr.data.preparing.materials import hu_window
from ctsr.data.preparing.store import PreparedCase
from ctsr.errors import UserError, warn
from ctsr.evaluation.questions.competitors import (
    Competitor,
    Filtered,
    Interpolation,
    Synthesis,
    TrainedNetwork,
    reference,
)
from ctsr.evaluation.questions.inputs import (
    UNSEEN,
    Sample,
    paired_samples,
    projection_samples,
    scanned_samples,
    synthetic_samples,
)
from ctsr.evaluation.questions.kernels import MATCHED, ORACLE
from ctsr.evaluation.questions.test_set import TestSet
from ctsr.evaluation.questions.tiles import Cut
from ctsr.imaging.grey_map import GreyMap, to_clinical
from ctsr.networks.synthesis import Unchanged
from ctsr.records.row import PROJECTIONS

EVERY = Interpolation()


@dataclass(frozen=True, eq=False)
class Inputs:
    """What is enlarged.

    Attributes:
        samples: Yields them, with their truth; a case's follow each other.
        grey_map: Their greys to those of f(x), for interpolation.
        back: Greys of f(x) to theirs.
        hu_by: The network whose clinical window results are compared in, as HU, and whose `hu` mapped greys become;
            None: greys of micro-CT are compared.
    """

    samples: Callable[[], Iterator[Sample]]
    grey_map: GreyMap
    back: GreyMap
    hu_by: TrainedNetwork | None = None


@dataclass(frozen=True, eq=False)
class Question:
    """What is asked by one protocol; any process can ask it.

    Attributes:
        name: As above.
        reference: What the truth is, for tables.
        cases: How many cases it is asked on.
        inputs_for: What each competitor is given; who is missing takes no part.
    """

    name: str
    reference: str
    cases: int
    inputs_for: Mapping[Competitor, Inputs]

    def groups(self) -> Mapping[Inputs, Sequence[Competitor]]:
        """Who is asked on the same inputs, in the order of `inputs_for`."""
        found: dict[Inputs, list[Competitor]] = {}
        for competitor, inputs in self.inputs_for.items():
            found.setdefault(inputs, []).append(competitor)
        return found

    @property
    def steps(self) -> int:
        """Cases that are gone through, again for each group."""
        return len(self.groups()) * self.cases


def questions_on(
    test: TestSet, networks: Sequence[TrainedNetwork], cut: Cut, interpolation: Interpolation = EVERY
) -> list[Question]:
    """The questions that there are cases for.

    Args:
        test: The cases.
        networks: At least one.
        cut: Tiles and slices.
        interpolation: Which ones are asked beside the networks.
    """
    competitors: list[Competitor] = [interpolation, *networks]
    first = reference(networks)
    return [
        *_on_pairs(test, first, competitors, cut),
        *_on_micro(test, first, competitors, cut),
        *_on_projections(test, first, networks, cut),
    ]


def _on_pairs(test: TestSet, first: TrainedNetwork, competitors: Sequence[Competitor], cut: Cut) -> Iterator[Question]:
    if not test.pairs:
        return
    for name, slab, truth in (
        ("paired", False, "the micro-CT slice at the clinical slice's centre"),
        ("paired_slab", True, "the mean of the micro-CT slices over the clinical slice distance"),
    ):

        def inputs(pairs: Sequence[Pair], slab: bool = slab) -> Inputs:
            return clinical_inputs(partial(paired_samples, pairs, first.window, cut, slab), first)

        given = dict.fromkeys(competitors, inputs(test.pairs))
        if not slab:
            given |= _after_filters(test.pairs, competitors, first, inputs)
        yield Question(name, truth, len(test.pairs), given)


def _on_micro(test: TestSet, first: TrainedNetwork, competitors: Sequence[Competitor], cut: Cut) -> Iterator[Question]:
    if not test.micro:
        return
    count = len(test.micro)
    networks = [one for one in competitors if isinstance(one, TrainedNetwork)]
    own = {one: _made_by(one, one.synthesise, test, cut) for one in networks if one.synthesise is not None}
    if first in own:
        by_first = dict.fromkeys(competitors, own[first])
        yield Question("synthetic", f"x; inputs by the G1 of {first.label}", count, by_first)
        yield Question(
            "synthetic_own",
            "x; inputs by each method's own generator",
            count,
            {one: own[one] for one in networks if one in own},
        )
    same = GreyMap.identity()
    plain = Inputs(partial(synthetic_samples, test.micro, Synthesis(Unchanged()), cut), same, same)
    yield Question("plain", "x; inputs f(x)", count, dict.fromkeys(competitors, plain))
    for name, scanner in UNSEEN.items():
        scans = partial(scanned_samples, test.micro, scanner, first.window, partial(_to_hu, first), cut)
        inputs = dict.fromkeys(competitors, clinical_inputs(scans, first))
        yield Question(f"unseen_{name}", f"x; inputs by {scanner}", count, inputs)
    strange: dict[Competitor, Inputs] = {}
    for one in competitors:
        seed = one.seed if isinstance(one, TrainedNetwork) else first.seed
        # Of the first G1 of the reference's method that another seed's training made.
        others = (inputs for maker, inputs in own.items() if maker.name == first.name and maker.seed != seed)
        if (found := next(others, None)) is not None:
            strange[one] = found
    if not strange.keys().isdisjoint(networks):
        yield Question("unseen_g1", "x; inputs by the G1 of another seed's training", count, strange)


def _on_projections(
    test: TestSet, first: TrainedNetwork, networks: Sequence[TrainedNetwork], cut: Cut
) -> Iterator[Question]:
    competitors: list[Competitor] = [Interpolation(few=True), *networks]
    for kind, pairs in test.projections.items():

        def inputs(pairs: Sequence[Pair]) -> Inputs:
            return replace(clinical_inputs(partial(projection_samples, pairs, first.window, cut), first), hu_by=first)

        given = dict.fromkeys(competitors, inputs(pairs)) | _after_filters(pairs, competitors, first, inputs)
        about = f"the phantom's own HU at the µCT slice of the clinical slice's centre; the projection scanner, {kind}"
        yield Question(f"{PROJECTIONS}{kind}", about, len(pairs), given)


def _after_filters(
    pairs: Sequence[Pair],
    competitors: Sequence[Competitor],
    first: TrainedNetwork,
    inputs: Callable[[Sequence[Pair]], Inputs],
) -> dict[Competitor, Inputs]:
    """What is given to whom once more, after the filters that are there for all scans."""
    given: dict[Competitor, Inputs] = {}
    networks = [one for one in competitors if isinstance(one, TrainedNetwork)]
    for ending in (MATCHED, ORACLE):
        if all(ending in pair.filtered for pair in pairs):
            others: Sequence[TrainedNetwork] = networks if ending == MATCHED else [first]
            asked = [Filtered(Interpolation(few=True), ending), *(Filtered(one, ending) for one in others)]
            given |= dict.fromkeys(asked, inputs([pair.after(ending) for pair in pairs]))
    return given


def _made_by(maker: TrainedNetwork, synthesise: Synthesis, test: TestSet, cut: Cut) -> Inputs:
    # What a baseline's generator makes shall look clinical, so the clinical map serves where there is no other.
    grey_map = maker.grey_maps.get("synthetic", maker.grey_maps["clinical"])
    return Inputs(partial(synthetic_samples, test.micro, synthesise, cut), grey_map, grey_map.inverse())


def _to_hu(first: TrainedNetwork, case: PreparedCase) -> Callable[[npt.ArrayLike], npt.NDArray[np.float32]]:
    """By the case's own air and tissue, which no training had a part in; where they are not seen, by pooled greys."""
    try:
        return hu_window(case, first.materials).restore
    except UserError as error:
        warn(f"{error}; unseen scanners are given greys of the clinical distribution instead")
        back = first.grey_maps["clinical"].inverse()
        return lambda greys: first.window.restore(back.apply(greys))


def clinical_inputs(samples: Callable[[], Iterator[Sample]], first: TrainedNetwork) -> Inputs:
    """Images of clinical greys."""
    return Inputs(samples, first.grey_maps["clinical"], to_clinical(first.grey_maps))
