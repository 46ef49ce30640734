"""The filters that scans go through before methods are asked: by the estimated kernel, as a bound by the true one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import get_args

import numpy as np

from ctsr.errors import UserError
from ctsr.imaging.anatomy.lung import lung_mask
from ctsr.imaging.kernel.estimate import Estimate
from ctsr.imaging.kernel.matching import OFF, choose
from ctsr.imaging.kernel.measured import Measured
from ctsr.imaging.kernel.transfer import CURVE, Softening
from ctsr.imaging.padding import find_padding, mark_padding
from ctsr.imaging.volume import Mask, Volume
from ctsr.records.phantom import PhantomSettings, SetName
from ctsr.records.row import Row

PROTOCOL = "kernel"
"""Of rows about the filters themselves; their method is the kind of acquisition."""

MATCHED, ORACLE = "_matched", "_oracle"
"""Stand behind a method's name where it is given the scan after the filter by the estimated, or by the true kernel."""


@dataclass(eq=False)
class KernelFilters:
    """Finds them, and keeps what there is to tell.

    Attributes:
        asked: "estimate", "off", or the path of a filter.
        reference: What the scans of the training show of their kernel; None: nobody knows.
        true: Filter from the true kernel of a kind to that of the training, where it is known.
        rows: Of each scan that was looked at.
    """

    asked: str
    reference: Measured | None
    true: Mapping[str, Softening] = field(default_factory=dict)
    rows: list[Row] = field(default_factory=list)

    def __call__(self, kind: str, case: str, scan: Volume) -> dict[str, Softening | None]:
        """The filters of a scan in HU, by the ending of methods that are given it after them; None: as it is."""
        if self.asked == OFF:
            return {}
        marked = mark_padding(scan, find_padding(scan.array))
        matching = choose(self.asked, marked, _lung(marked), self.reference)
        filters = {MATCHED: matching.softening}
        softening = matching.softening or Softening((0.0, 1.0), (1.0, 1.0))
        values = {"filter_from_one": softening.from_one}
        if kind in self.true:
            filters[ORACLE] = self.true[kind]
            values["oracle_from_one"] = self.true[kind].from_one
            values["filter_from_oracle"] = softening.distance(self.true[kind])
        if matching.estimate is not None:
            values |= _told(matching.estimate) | {"left_in_doubt": float(matching.doubt is not None)}
        self.rows += [Row(PROTOCOL, kind, metric, value, case) for metric, value in values.items()]
        return filters


def true_filters(root: Path) -> dict[str, Softening]:
    """The filter to the first scanner for each kind of the set of projections that a data set's phantom.json names.

    That one's point spread is a Gaussian of a width drawn from a range (docs/phantom.md), of which the middle is taken:
    the true filter for networks that learned on it, and for no others.
    """
    try:
        name = json.loads((root / "phantom.json").read_text(encoding="utf-8"))["settings"]["set"]
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    if name not in get_args(SetName):
        return {}
    from ctsr.phantom.projections.kinds import SETS  # numba, for those who have such scans
    from ctsr.phantom.scanners import FWHM

    spread = float(np.mean(PhantomSettings().clinical_spread)) / FWHM
    learned = np.exp(-2 * np.pi**2 * spread**2 * CURVE**2)
    return {kind: Softening.of(CURVE, learned / of.kernel.transfer(CURVE)) for kind, of in SETS[name].items()}


def _lung(scan: Volume) -> Mask:
    try:
        return lung_mask(scan)
    except UserError:
        return np.zeros(scan.array.shape, dtype=bool)


def _told(estimate: Estimate) -> dict[str, float]:
    trust = {"trust_wall": estimate.trust.wall, "trust_skin": estimate.trust.skin, "trust_apart": estimate.trust.apart}
    return {"noise": estimate.noise} | {name: value for name, value in trust.items() if value is not None}
