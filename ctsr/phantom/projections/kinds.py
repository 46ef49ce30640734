"""The kinds of acquisition, in three sets that share neither a kernel nor a lung.

`training` is for methods that learn from such scans. `settings` is for choosing whatever a method
has to choose. `judging` is for its scores alone: what is in it is never used to choose, and every look at its scores is
written down in docs/results.md.
"""

from __future__ import annotations

from dataclasses import dataclass

from ctsr.phantom.projections.kernels import Kernel
from ctsr.phantom.projections.scanner import STILL, Acquisition
from ctsr.records.phantom import SetName


@dataclass(frozen=True)
class Kind:
    """A way to scan and to reconstruct.

    Attributes:
        kernel: Of the image.
        photons: That reach a detector cell in one reading where nothing is in the beam.
        slice_rows: Width of a slice in detector rows of 0.625 mm; slices lie a row apart, wide ones overlap.
        acquisition: Motion and contrast agent.
    """

    kernel: Kernel
    photons: float
    slice_rows: float = 1.0
    acquisition: Acquisition = STILL


SOFT, STANDARD, DETAIL = Kernel(mtf10=0.59), Kernel(mtf10=0.66), Kernel(mtf10=0.94)
LUNG, EDGE, EDGE_STRONG = Kernel(mtf10=1.05, peak=1.22), Kernel(mtf10=1.1, peak=1.6), Kernel(mtf10=1.1, peak=2.2)

SETS: dict[SetName, dict[str, Kind]] = {
    "training": {
        "soft": Kind(Kernel(mtf10=0.62), 1.3e5),
        "standard": Kind(Kernel(mtf10=0.76), 1.2e5),
        "lung": Kind(Kernel(mtf10=0.98, peak=1.15), 2.5e5),
        "edge": Kind(Kernel(mtf10=1.04, peak=1.4), 3e5),
    },
    "settings": {
        "soft": Kind(Kernel(mtf10=0.55), 1.3e5),
        "standard": Kind(Kernel(mtf10=0.71), 1.1e5),
        "standard_noisy": Kind(Kernel(mtf10=0.71), 2.8e4),
        "standard_2.5mm": Kind(Kernel(mtf10=0.71), 3e4, slice_rows=4),
        "lung": Kind(Kernel(mtf10=1.0, peak=1.3), 2.5e5),
        "edge": Kind(Kernel(mtf10=1.15, peak=1.9), 3.5e5),
    },
    "judging": {
        "soft": Kind(SOFT, 1.3e5),
        "standard": Kind(STANDARD, 1e5),
        "standard_noisy": Kind(STANDARD, 2.4e4),
        "standard_1.25mm": Kind(STANDARD, 5.5e4, slice_rows=2),
        "standard_3.1mm": Kind(STANDARD, 2.7e4, slice_rows=5),
        "standard_motion": Kind(STANDARD, 1e5, acquisition=Acquisition(drift=0.5)),
        "standard_contrast": Kind(STANDARD, 1e5, acquisition=Acquisition(iodine=6.0)),
        "detail": Kind(DETAIL, 1.8e5),
        "lung": Kind(LUNG, 2.7e5),
        "lung_noisy": Kind(LUNG, 8.5e4),
        "edge": Kind(EDGE, 3.4e5),
        "edge_strong": Kind(EDGE_STRONG, 3.6e5),
    },
}
"""By set and name. Where the kernels come from stands in docs/phantom.md."""
