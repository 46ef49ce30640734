from __future__ import annotations

import numpy as np
import pytest

from ctsr.phantom.projections.kernels import Kernel
from ctsr.phantom.projections.kinds import SETS


@pytest.mark.parametrize(("mtf50", "mtf10"), [(0.35, 0.59), (0.56, 0.94)])
def test_published_pairs_of_mtf50_and_mtf10_belong_together(mtf50: float, mtf10: float) -> None:
    kernel = Kernel(mtf10=mtf10)
    assert kernel.transfer(mtf50) == pytest.approx(0.5, abs=0.01)
    assert kernel.mtf50 == pytest.approx(mtf50, abs=0.005)


@pytest.mark.parametrize("kernel", {kind.kernel for kinds in SETS.values() for kind in kinds.values()}, ids=str)
def test_a_kernel_has_the_figures_that_tell_it(kernel: Kernel) -> None:
    frequency = np.linspace(0, 2, 20001)
    transfer = kernel.transfer(frequency)
    assert transfer[0] == 1
    assert transfer.max() == pytest.approx(kernel.peak, abs=1e-4)
    beyond = frequency[np.flatnonzero(transfer >= 0.1)[-1]]
    assert beyond == pytest.approx(kernel.mtf10, abs=2e-4)
    assert (np.diff(transfer[transfer.argmax() :]) <= 0).all()


def test_sets_share_no_kernel() -> None:
    training, settings, judging = ({kind.kernel for kind in kinds.values()} for kinds in SETS.values())
    assert not training & settings
    assert not training & judging
    assert not settings & judging
    assert len(SETS["judging"]) >= 8
