"""What each measure sees: an image changed in ways whose worth is known, beside the image itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from scipy.ndimage import gaussian_filter

from ctsr.data.pairs import Pair
from ctsr.evaluation.questions.competitors import Method, TrainedNetwork
from ctsr.evaluation.questions.enlargers import Enlarge, network
from ctsr.evaluation.questions.inputs import paired_samples
from ctsr.evaluation.questions.protocols import clinical_inputs
from ctsr.evaluation.questions.tiles import Cut
from ctsr.evaluation.scoring.compare import Answers, Step, by_case
from ctsr.imaging.volume import Image

PROTOCOL = "controls"
BLUR = 1.5  # standard deviation in micro-CT pixels
SHIFT = 4  # micro-CT pixels
FOAM = 4.0  # standard deviation in micro-CT pixels that parts structure from texture


def degraded_scores(pairs: Sequence[Pair], first: TrainedNetwork, cut: Cut, step: Step) -> Answers:
    """What each measure says of a network's images, degraded in known ways.

    Args:
        pairs: Lungs seen by both scanners; each lends its texture to the next.
        first: The network.
        cut: Tiles and slices.
        step: Called after each pair.
    """
    answers = Answers()
    for number, pair in enumerate(pairs):
        other = pairs[number - 1]
        truth = other.truth(other.slices[len(other.slices) // 2][1])
        if other is pair or any(a < b for a, b in zip(truth.shape, pair.micro.array.shape[1:], strict=True)):
            step()
            continue
        methods = {Method(name, None): way for name, way in degraded(network(first.enlarge), truth).items()}
        inputs = clinical_inputs(partial(paired_samples, [pair], first.window, cut), first)
        for of_case in by_case(PROTOCOL, inputs, methods, first.window, full=True):
            answers.add(of_case)
            step()
    return answers


def degraded(enlarge: Enlarge, other_truth: Image) -> dict[str, Enlarge]:
    """Methods that spoil what another method makes.

    Args:
        enlarge: The method.
        other_truth: Micro-CT slice of another lung, in [-1, 1], at least as large as what is made.

    Returns:
        "blurred", "shifted" (by 4 pixels), "inverted", "greys x0.8 - 0.1", and "foreign foam": its structure with the
        alveolar texture of the other lung.
    """

    def foam(image: Image) -> Image:
        texture = other_truth - gaussian_filter(other_truth, FOAM)
        return np.asarray(gaussian_filter(image, FOAM) + texture[: image.shape[0], : image.shape[1]], dtype=np.float32)

    spoils: dict[str, Callable[[Image], Image]] = {
        "unchanged": lambda image: image,
        "blurred": lambda image: np.asarray(gaussian_filter(image, BLUR), dtype=np.float32),
        "shifted": lambda image: np.roll(image, SHIFT, axis=1),
        "inverted": lambda image: -image,
        "greys x0.8 - 0.1": lambda image: np.asarray(0.8 * image - 0.1, dtype=np.float32),
        "foreign foam": foam,
    }

    def spoiled(spoil: Callable[[Image], Image]) -> Enlarge:
        return lambda lr: spoil(np.clip(enlarge(lr), -1.0, 1.0))

    return {name: spoiled(spoil) for name, spoil in spoils.items()}
