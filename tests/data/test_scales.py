from __future__ import annotations

import pytest

from ctsr.data.scales import scale_ratio, scale_warning


def test_ratio_of_medians_by_hand() -> None:
    assert scale_ratio([0.6, 0.625, 0.7], [0.078125]) == 1.0
    assert scale_ratio([0.7], [0.05, 0.05, 0.2]) == pytest.approx(1.75)


@pytest.mark.parametrize(
    ("ratio", "told"),
    [(None, None), (1.0, None), (1.5, None), (0.67, None), (1.75, "by 1.75: clinical structures cover fewer pixels")],
)
def test_what_is_told(ratio: float | None, told: str | None) -> None:
    assert told in (scale_warning(ratio), None) if told is None else told in str(scale_warning(ratio))
    assert (scale_warning(ratio) is None) == (told is None)


def test_the_other_way_round() -> None:
    assert "by 2: micro-CT structures cover fewer pixels" in str(scale_warning(0.5))
