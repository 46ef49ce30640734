from __future__ import annotations

from ctsr.data.twins import twins


def test_any_mark_that_two_share_tells() -> None:
    assert twins({"a": ["1", "x"], "b": ["2", "y"], "c": ["3", "z"]}) is None
    assert twins({"a": ["1", "x"], "b": ["2", "x"]}) == "a and b are the same scan: give each scan once"
    assert str(twins({"a": ["1"], "b": ["2"], "c": ["2"], "d": ["1"]})).startswith(
        "b and c are the same scan; so are 1 more"
    )
