"""The command line as it is typed, asked of Hydra's own parser."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_type_hints

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from ctsr.arguments import AsTyped, asks_for_sweep, cure, in_quotes, pieces
from ctsr.records.run import AS_TYPED, STAGES, Run
from ctsr.records.settings import Settings, group_in, takes
from ctsr.records.stages import Stage
from ctsr.records.tasks import Comparison, Enlargement
from infer import AS_TYPED as OF_INFER

KINDS = AsTyped(paths=("path", "hydra.run.dir"), texts=("text",), names=("name",), shares=("share",))


def read(argument: str) -> Any:
    """What Hydra takes an argument for; a list of values where it is a sweep."""
    override = OverridesParser.create().parse_override(argument)
    if not override.is_sweep_override():
        return override.value()
    strings = (f"key={value}" for value in override.sweep_string_iterator())
    return [OverridesParser.create().parse_override(string).value() for string in strings]


@pytest.mark.parametrize(
    ("typed", "seen"),
    [
        ("share=[1_1,m1_1]", ["1_1", "m1_1"]),
        ("share=[1.10, 1e3, 007]", ["1.10", "1e3", "007"]),
        ("share=['a, b',null,true]", ["a, b", None, "true"]),
        ("share=[case (1),x=y]", ["case (1)", "x=y"]),
        ("share=2021_03", "2021_03"),
        ("share=11", 11),
        ("share=1.5", 1.5),
        ("share=007", "007"),
        ("share=1e3", "1e3"),
        ("share=0.2", 0.2),
        ("share=0", 0),
        ("share=[]", []),
        ("name=2026", "2026"),
        ("name=1_1", "1_1"),
        ("name=[a,1_0]", ["a", "1_0"]),
        ("+name=a=b", "a=b"),
        ("name=run-${seed}", "run-${seed}"),
        ("name=a{b", "a{b"),
        ("path=loss.lambda1=0.1,loss.lambda2=0.2", "loss.lambda1=0.1,loss.lambda2=0.2"),
        ("path=run(1)", "run(1)"),
        ("path=2021_03", "2021_03"),
        ("path=O'Brien's scans", "O'Brien's scans"),
        ("path=${oc.env:DATA}/a b", "${oc.env:DATA}/a b"),
        ("path='quoted already'", "quoted already"),
        ("path=null", None),
        ("path=~/a b", str(Path("~/a b").expanduser())),
        ("path=[a b,c=d]", ["a b", "c=d"]),
        ("hydra.run.dir=[1] a, b=c/d", "[1] a, b=c/d"),
        ("hydra.run.dir=[1]", "[1]"),
        ("text=Chest, lung", "Chest, lung"),
        ("text=^([^-]+)-a,b", "^([^-]+)-a,b"),
        ("text='(.*)_[0-9]+$'", "(.*)_[0-9]+$"),
        ("text=null", None),
        ("other=0.5", 0.5),
    ],
)
def test_values_are_taken_as_they_are_typed(typed: str, seen: object) -> None:
    (argument,) = KINDS.quoted([typed])
    assert read(argument) == seen
    assert KINDS.quoted([argument]) == [argument], "a job of a sweep quotes again"
    assert KINDS.quoted(KINDS.unquoted([argument])) == [argument]


@pytest.mark.parametrize(
    ("typed", "seen"),
    [
        ("path=a=1,b(2)", ["a=1", "b(2)"]),
        ("path='a,b',c", ["a,b", "c"]),
        ("path=choice(a,b)", ["a", "b"]),
        ("share=0.1,0.2", [0.1, 0.2]),
        ("share=[1_1,a],[1_2]", [["1_1", "a"], ["1_2"]]),
        ("share=0.1,[1_2],1_3", [0.1, ["1_2"], "1_3"]),
        ("name=1_0,2", ["1_0", "2"]),
        ("text='Chest, lung','Chest, soft'", ["Chest, lung", "Chest, soft"]),
        ("text=null,'a, b'", [None, "a, b"]),
        ("text=Chest, lung", "Chest, lung"),
        ("hydra.run.dir=a=1,b=2", "a=1,b=2"),
        ("other=1,2", [1, 2]),
    ],
)
def test_a_sweep_is_parted_at_its_commas(typed: str, seen: object) -> None:
    (argument,) = KINDS.quoted([typed], sweep=True)
    assert read(argument) == seen


def test_commas_in_paths_that_are_there_part_nothing(tmp_path: Path) -> None:
    one, other = tmp_path / "loss.lambda1=0.1,loss.lambda2=0.2" / "it's.ckpt", tmp_path / "[x],${y}"
    one.parent.mkdir()
    one.touch()
    other.mkdir()
    for values, sweep in (([one], False), ([one], True), ([one, other, "new"], True), ([other, one], True)):
        typed = f"path={','.join(map(str, values))}"
        (argument,) = KINDS.quoted([typed], sweep)
        found = read(argument)
        seen = [OmegaConf.create({"a": value})["a"] for value in (found if isinstance(found, list) else [found])]
        assert seen == [str(value) for value in values]
    (several,) = KINDS.quoted([f"path=[{one},{other}]"])
    assert OmegaConf.to_container(OmegaConf.create({"a": read(several)}), resolve=True) == {"a": [str(one), str(other)]}


@pytest.mark.parametrize(
    "text",
    [
        "Thorax LUNG 1.0 (B60f), iDose [3]",
        "3 'Thorax LUNG 1.0 (B60f), iDose [3]' (8 slices)",
        "'LUNG' (8 slices), or 'STD'",
        "[LUNG]",
        "1.2.840.113619.2.55.3",
        "{a: b} = ${c} \\",
        "7",
        "null and void",
        "a b",
        "it's",
        r"a\'b",
        r"\\'",
        "${a}",
        r"\${a}",
        r"\\${a}",
        "a\\",
        r"a\\",
        r"a\b",
    ],
)
def test_any_text_comes_as_it_was_typed(text: str) -> None:
    (argument,) = KINDS.quoted([f"text={text}"])
    value = OverridesParser.create().parse_override(argument).value()
    assert OmegaConf.to_container(OmegaConf.create({"text": str(value)}), resolve=True) == {"text": text}
    assert KINDS.quoted([argument]) == [argument]
    assert KINDS.unquoted([argument]) == [f"text={text}"]
    assert KINDS.unquoted([f"text={in_quotes(text)}"]) == [f"text={text}"]


def test_what_was_not_quoted_stays() -> None:
    arguments = ["path=null", "path='null'", "path=''", "other='a b'", 'path="a b"', "other=['a','b']", "path", "-m"]
    assert KINDS.unquoted(arguments) == arguments
    kept = ["text=null", "text=", "text", "text='a b'", 'text="a, b"', "other=a b", "--cfg", "job"]
    assert KINDS.quoted(kept) == kept


def test_pieces_end_at_commas_outside_of_quotes_and_brackets() -> None:
    assert pieces("a,'b,c', [d,e] ,\"f,\"") == ["a", "'b,c'", "[d,e]", '"f,"']
    assert pieces("O'Brien,D'Arcy") == ["O'Brien", "D'Arcy"]
    assert pieces("") == [""]
    assert pieces("a,") == ["a", ""]
    assert pieces("a,b,c,d", {"b,c", "a,b"}.__contains__) == ["a,b", "c", "d"]


@pytest.mark.parametrize("argument", ["loss.lambda1=0.1(", "method=a=b", "seed=[1", "seed=$a[", 'a="b'])
def test_a_cure_can_be_typed(argument: str) -> None:
    told = cure(argument)
    (typed,) = shlex.split(told.removeprefix("give "))
    key, _, value = argument.partition("=")
    override = OverridesParser.create().parse_override(typed)
    assert (override.key_or_group, override.value()) == (key, value)


def test_what_is_no_setting_is_told_so() -> None:
    assert cure("foo") == "give key=value"
    assert cure("two words=1") == "give key=value"


def test_sweeps_are_recognised() -> None:
    assert asks_for_sweep(["a=b", "-m"])
    assert asks_for_sweep(["--multirun"])
    assert not asks_for_sweep(["a=-m", "--cfg", "job"])


def kinds_of(group: type[Settings], prefix: str = "") -> Iterator[tuple[str, str]]:
    """The dotted keys of a group, and in words what they take."""
    for name, hint in get_type_hints(group, include_extras=True).items():
        if (field := group.model_fields.get(name)) is None:
            continue
        key = prefix + (field.alias or name)
        if (inner := group_in(hint)) is not None and inner is not Stage:
            yield from kinds_of(inner, f"{key}.")
        elif name not in ("stages", "composed", "typed"):
            yield key, takes(hint)


def test_every_key_that_takes_a_path_or_a_name_is_listed() -> None:
    """Of the types of the keys, so that a new one is not forgotten."""
    of_stages = [pair for name, stage in STAGES.items() for pair in kinds_of(stage, f"{name}.")]
    trained = dict([*kinds_of(Run), *of_stages])
    asked = dict([*kinds_of(Enlargement), *kinds_of(Comparison)])
    assert "data.clinical.root" in trained, "the search finds keys"
    for known, keys in ((AS_TYPED, trained), (OF_INFER, asked)):
        paths = {key for key, words in keys.items() if "path" in words}
        names = {key for key, words in keys.items() if "name" in words and key != "name"}  # that of method=
        assert paths <= set(known.paths)
        assert names <= {*known.texts, *known.names, *known.shares}
        assert set(known.shares) <= keys.keys()
