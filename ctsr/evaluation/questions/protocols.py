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
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt

from ctsr.data.preparing.materials import hu_window
from ctsr.data.preparing.store import PreparedCase
from ctsr.errors import UserError, warn
from ctsr.evaluation.questions.competitors import Synthesis, TrainedNetwork, reference
from ctsr.evaluation.questions.inputs import UNSEEN, Sample, paired_samples, scanned_samples, synthetic_samples
from ctsr.evaluation.questions.test_set import TestSet
from ctsr.evaluation.questions.tiles import Cut
from ctsr.imaging.grey_map import GreyMap, to_clinical
from ctsr.networks.synthesis import Unchanged


@dataclass(frozen=True, eq=False)
class Inputs:
    """What is enlarged.

    Attributes:
        key: Equal for equal inputs.
        samples: Yields them, with their truth.
        grey_map: Their greys to those of f(x), for interpolation.
        back: Greys of f(x) to theirs.
    """

    key: str
    samples: Callable[[], Iterator[Sample]]
    grey_map: GreyMap
    back: GreyMap


@dataclass(frozen=True, eq=False)
class Protocol:
    """One question.

    Attributes:
        name: As above.
        reference: What the truth is, for tables.
        cases: How many cases it is asked on.
        inputs: What a network is given; None as network: interpolation. None as inputs: it does not take part.
    """

    name: str
    reference: str
    cases: int
    inputs: Callable[[TrainedNetwork | None], Inputs | None]


def protocols(test: TestSet, networks: Sequence[TrainedNetwork], cut: Cut) -> list[Protocol]:
    """Those that there are cases for.

    Args:
        test: The cases.
        networks: At least one.
        cut: Tiles and slices.
    """
    return [*_on_pairs(test, reference(networks), cut), *_on_micro(test, networks, cut)]


def _on_pairs(test: TestSet, first: TrainedNetwork, cut: Cut) -> Iterator[Protocol]:
    if not test.pairs:
        return
    for name, slab, truth in (
        ("paired", False, "the micro-CT slice at the clinical slice's centre"),
        ("paired_slab", True, "the mean of the micro-CT slices over the clinical slice distance"),
    ):
        samples = partial(paired_samples, test.pairs, first.window, cut, slab)
        yield Protocol(name, truth, len(test.pairs), _same(clinical_inputs(name, samples, first)))


def _on_micro(test: TestSet, networks: Sequence[TrainedNetwork], cut: Cut) -> Iterator[Protocol]:
    if not test.micro:
        return
    first, count = reference(networks), len(test.micro)
    makers = [one for one in networks if one.synthesise is not None]

    def made_by(maker: TrainedNetwork) -> Inputs:
        assert maker.synthesise is not None
        samples = partial(synthetic_samples, test.micro, maker.synthesise, cut)
        # What a baseline's generator makes shall look clinical, so the clinical map serves where there is no other.
        grey_map = maker.grey_maps.get("synthetic", maker.grey_maps["clinical"])
        return Inputs(f"by {maker.label}", samples, grey_map, grey_map.inverse())

    def own(one: TrainedNetwork | None) -> Inputs | None:
        return None if one is None or one.synthesise is None else made_by(one)

    def others(one: TrainedNetwork | None) -> Inputs | None:
        """Of the first G1 of the reference's method that another seed's training made."""
        seed = first.seed if one is None else one.seed
        strange = [maker for maker in makers if maker.name == first.name and maker.seed != seed]
        return made_by(strange[0]) if strange else None

    if first.synthesise is not None:
        yield Protocol("synthetic", "x; inputs by the G1 of " + first.label, count, lambda _: made_by(first))
        yield Protocol("synthetic_own", "x; inputs by each method's own generator", count, own)
    plain = partial(synthetic_samples, test.micro, Synthesis(Unchanged()), cut)
    same = GreyMap.identity()
    yield Protocol("plain", "x; inputs f(x)", count, _same(Inputs("plain", plain, same, same)))
    for name, scanner in UNSEEN.items():
        scans = partial(scanned_samples, test.micro, scanner, first.window, partial(_to_hu, first), cut)
        yield Protocol(f"unseen_{name}", f"x; inputs by {scanner}", count, _same(clinical_inputs(name, scans, first)))
    if any(others(one) for one in networks):
        yield Protocol("unseen_g1", "x; inputs by the G1 of another seed's training", count, others)


def _to_hu(first: TrainedNetwork, case: PreparedCase) -> Callable[[npt.ArrayLike], npt.NDArray[np.float32]]:
    """By the case's own air and tissue, which no training had a part in; where they are not seen, by pooled greys."""
    try:
        return hu_window(case, first.materials).restore
    except UserError as error:
        warn(f"{error}; unseen scanners are given greys of the clinical distribution instead")
        back = first.grey_maps["clinical"].inverse()
        return lambda greys: first.window.restore(back.apply(greys))


def clinical_inputs(key: str, samples: Callable[[], Iterator[Sample]], first: TrainedNetwork) -> Inputs:
    """Images of clinical greys."""
    return Inputs(key, samples, first.grey_maps["clinical"], to_clinical(first.grey_maps))


def _same(inputs: Inputs) -> Callable[[TrainedNetwork | None], Inputs | None]:
    return lambda _: inputs
