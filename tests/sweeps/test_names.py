"""Names of a sweep's jobs, worked out by hand."""

from __future__ import annotations

import re

import pytest

from ctsr.sweeps.names import differing, folder_names, shortened


def jobs(key: str, *values: str) -> list[dict[str, str]]:
    return [{"stage": "sr", key: value, "data.cache": "/a/b"} for value in values]


@pytest.mark.parametrize(
    ("values", "names"),
    [
        (["0.1", "0.5"], ["k=0.1", "k=0.5"]),
        (["/a/g1/checkpoints/last.ckpt", "/a/g2/checkpoints/last.ckpt"], ["k=g1", "k=g2"]),
        (["../../g/g1/last.ckpt", "../../g/g2/last.ckpt"], ["k=g1", "k=g2"]),
        (["x/last.ckpt", "x/y/last.ckpt"], ["k=last.ckpt", "k=y-last.ckpt"]),
        (["/data/a b/c=1", "/data/(x)/c=1"], ["k=a-b", "k=x"]),
        (["/", "/a"], ["k=", "k=a"]),
        (["[-1000,100]", "[-1000,400]"], ["k=-1000,100", "k=-1000,400"]),
        (["a/B", "a/b"], ["k=B,job=0", "k=b,job=1"]),
        (["a:b", "a?b", "c"], ["k=a-b,job=0", "k=a-b,job=1", "k=c"]),
        (["Lunge größer", "null"], ["k=Lunge-größer", "k=null"]),
        (["1", "1"], ["job=0", "job=1"]),
        (["1"], ["job=0"]),
    ],
)
def test_folders_are_named_by_what_differs(values: list[str], names: list[str]) -> None:
    assert folder_names(jobs("k", *values)) == names


def test_a_key_that_some_jobs_do_not_have_differs() -> None:
    assert folder_names([{"a": "1"}, {}]) == ["a=1", "a="]
    assert differing([{"a": "1", "b": "2"}, {"b": "2"}]) == {"a": ["1", ""]}


def test_names_are_short_and_all_different() -> None:
    many = {f"k{i}": f"{i}" for i in range(30)}
    long = [
        {"key": f"{letter * 300}{n}", **{key: f"{value}{n}" for key, value in many.items()}}
        for n, letter in enumerate("xxXY肺𠀀")
    ]
    names = folder_names(long)
    assert len({name.casefold() for name in names}) == len(long)
    for name in names:
        assert len(name.encode()) <= 128
        assert re.fullmatch(r"[\w.,+=-]+", name)


def test_only_what_differs_of_a_path_is_shown() -> None:
    assert shortened(["/a/b/c", "/a/x/c", "/a/y/z/c"]) == {"/a/b/c": "b", "/a/x/c": "x", "/a/y/z/c": "y/z"}
    assert shortened(["0.1", "1/2"]) == {"0.1": "0.1", "1/2": "1/2"}
