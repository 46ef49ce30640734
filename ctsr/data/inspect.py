"""What the program sees in folders of scans, and whether they would train: `python -m ctsr.data.inspect`."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from nibabel import aff2axcodes
from rich.console import Console
from rich.markup import escape

from ctsr.cli import MISTAKE, run_cli
from ctsr.data.cohort import interpolated, twins
from ctsr.data.finding.cases import Case, find_cases
from ctsr.data.finding.masks import find_masks
from ctsr.data.findings import AXES, UNLIMITED, Finding, Greys, print_findings
from ctsr.data.patch_grid import no_place, patch_grid
from ctsr.data.plan import Plan
from ctsr.data.preparing.grid import prepared_plane
from ctsr.data.preparing.settings import ClinicalSettings, MicroSettings, Settings
from ctsr.data.preparing.store import check_size, of_case
from ctsr.errors import CollectedError, UserError, one_line
from ctsr.imaging.formats.readers import probe, read_volume
from ctsr.imaging.formats.recognise import format_of
from ctsr.imaging.formats.voxel_size import FileSpacing, plausible
from ctsr.imaging.hounsfield import doubts_of_ct
from ctsr.imaging.orientation import find_orientation
from ctsr.imaging.padding import PADDING_BELOW_HU, mark_padding
from ctsr.imaging.volume import SCALE, Header, Volume, spacing_of
from ctsr.imaging.voxel_hash import voxel_hash
from ctsr.records.data import smallest_patch
from ctsr.records.run import run_of_file

DEFAULTS = Path(__file__).parents[2] / "conf/data/volumes.yaml"


@dataclass(frozen=True)
class Patch:
    """What a training cuts out of prepared slices.

    Attributes:
        size: Pixels a side.
        cover: Least share of it inside the lungs or the specimen; None: these are not looked for.
        least: A smaller one would do, but none below this; None: it must be this one.
    """

    size: int
    cover: float | None = None
    least: int | None = None


def inspect(
    case: Case,
    settings: Settings,
    headers_only: bool = False,
    patch: Patch | None = None,
    plan: Plan | None = None,
) -> Finding:
    """Look at a case as preparation would, without preparing it.

    Args:
        case: What to look at.
        settings: How its domain would be prepared.
        headers_only: Do not read voxels; their range is then unknown.
        patch: Must have a place in the scan; None: of any size.
        plan: Of the run that the case is for, which has read its header; None: clinical greys that are not HU are
            refused, which a run does only where it finds no lungs.
    """
    settings = of_case(settings, case)
    seen: dict[str, Any] = {"format": format_of(case.path)}
    cramped: list[str] = []
    try:
        if plan is not None:
            header = plan.header(case, settings.domain)
        else:
            header = probe(case.path, settings.file_spacing, settings.series, settings.spacing)
        orientation = find_orientation(header.affine, header.slice_axis)
        seen["size"] = tuple(int(size) for size in orientation.apply_shape(header.shape))
        seen["spacing"] = tuple(map(float, spacing_of(orientation.apply_affine(header.affine, header.shape))))
        seen["orientation"] = "".join(aff2axcodes(header.affine))
        steps, doubts = _steps(header, settings), interpolated(seen["spacing"][1:], settings.spacing)
        volume = None
        if not headers_only:
            as_read = read_volume(case.path, settings.file_spacing, None, settings.series, settings.spacing)
            volume, seen["greys"] = _greys(as_read, settings)
            doubts += _odd_greys(as_read, settings, only_hu=plan is None)
        if patch is not None:
            cramped = _cramped(case, header, settings, patch)
            doubts += cramped
            if volume is not None and patch.cover is not None:
                _check_place(case, volume, settings, patch.size, patch.cover)
    except UserError as error:
        return Finding(case, settings.domain, **seen, refused=str(error))
    return Finding(case, settings.domain, **seen, steps=steps, doubts=doubts, cramped=bool(cramped))


@dataclass
class Answer:
    """Whether scans can be used.

    Attributes:
        findings: Of each domain, with how it is prepared.
        problems: What stands against it beside the refused cases of `findings`; for a training, with them.
        notes: What should be known, but does not.
        would_train: Of a training.
    """

    findings: list[tuple[Settings, list[Finding]]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    would_train: bool | None = None

    @property
    def yes(self) -> bool:
        """Whether nothing stands against it."""
        return not self.problems and all(f.refused is None for _, found in self.findings for f in found)

    def to_plain(self) -> dict[str, Any]:
        """As JSON has it."""
        cases = [finding.to_plain() for _, found in self.findings for finding in found]
        answer = {} if self.would_train is None else {"would_train": self.would_train}
        return {"cases": cases, "problems": self.problems, "notes": self.notes, **answer}


def would_train(file: Path, headers_only: bool) -> Answer:
    """What a training would find, all that stands against it, and whether it would begin.

    Args:
        file: Its configuration, see `ctsr.records.run.run_of_file`.
        headers_only: As for `inspect`.

    Raises:
        UserError: It is none.
    """
    try:
        answer = look_at_data(Plan.of(run_of_file(file)), headers_only)
    except CollectedError as error:  # without its keys there is nothing to look at
        answer = Answer(problems=error.problems)
    answer.would_train = not answer.problems
    return answer


def look_at_data(plan: Plan, headers_only: bool) -> Answer:
    """What a training would find, and all that stands against it."""
    answer = Answer()
    problems: list[str] = []
    try:
        plan.check()
    except CollectedError as error:
        problems += error.problems
    else:
        answer.notes = plan.notes()
    if plan.readable:
        for domain, settings in plan.settings.items():
            keys = plan.keys.of(domain)
            patch = Patch(keys.patch, keys.cover) if domain in plan.needed else None
            found = [inspect(case, settings, headers_only, patch, plan) for case in plan.found[domain]]
            answer.findings.append((settings, found))
    findings = [finding for _, found in answer.findings for finding in found]
    refused = [finding.refused for finding in findings if finding.refused is not None]
    marks = {
        f"{finding.domain} case {finding.case.name} ({finding.case.path})": [finding.greys.voxels]
        for finding in findings
        if finding.greys is not None
    }
    same = twins(marks)
    answer.problems = list(dict.fromkeys([*problems, *refused, *([] if same is None else [same])]))
    return answer


def _print_training(answer: Answer, console: Console) -> None:
    for note in answer.notes:
        console.print(f"[yellow]warning:[/] {escape(note)}", soft_wrap=True, highlight=False)
    for settings, found in answer.findings:
        print_findings(found, settings, console)
    for problem in answer.problems:
        console.print(f"[red]problem:[/] {escape(problem)}", soft_wrap=True, highlight=False)
    count = len(answer.problems)
    told = f"no, {count} {'problem' if count == 1 else 'problems'}" if count else "yes"
    console.print(f"would this train? {told}", highlight=False)


def _greys(volume: Volume, settings: Settings) -> tuple[Volume, Greys]:
    """A scan with its padding marked, and its greys."""
    if isinstance(settings, ClinicalSettings):
        volume = mark_padding(volume, volume.array < PADDING_BELOW_HU)
    array, outside = volume.array, volume.outside
    padding = None if outside is None else float(outside.mean())
    return volume, Greys(array.dtype.name, array.min().item(), array.max().item(), padding, voxel_hash(array))


def _odd_greys(volume: Volume, settings: Settings, only_hu: bool) -> list[str]:
    """What is odd about the greys.

    Raises:
        UserError: They are too few, or are not HU.
    """
    if isinstance(settings, ClinicalSettings):
        return doubts_of_ct(volume, must_be_hu=only_hu)
    from ctsr.imaging.anatomy.specimen import check_greys  # here, as `outline` below

    check_greys(volume.array)
    return []


def _cramped(case: Case, header: Header, settings: Settings, patch: Patch) -> list[str]:
    """A line where a smaller patch fits only.

    Raises:
        UserError: None does.
    """
    try:
        check_size(case, header, settings, patch.size)
    except UserError:
        if patch.least is None:
            raise
        check_size(case, header, settings, patch.least)
        scale = 1 if settings.domain == "clinical" else SCALE
        fits = min(prepared_plane(header, settings)) // (4 * scale) * 4
        keys = f"data.clinical.patch={fits} data.micro.patch={SCALE * fits}"
        return [f"too small for a patch of {patch.size}: give {keys}, or less"]
    return []


def _check_place(case: Case, volume: Volume, settings: Settings, size: int, cover: float) -> None:
    """Make sure that patches can be drawn.

    Raises:
        UserError: No lungs or specimen are found, the given masks do not fit, or no patch lies inside.
    """
    from ctsr.data.preparing.preparation import outline  # here: it finds lungs with what takes a second to import

    masks = find_masks(settings.masks, case, settings.domain)
    try:
        found = outline(volume, masks, settings)
    except UserError as error:
        raise UserError(f"{settings.domain} case {case.name}: {error}") from error
    if not len(patch_grid(found, size, cover)):
        raise no_place(case.name, settings.domain, size, cover)


def _steps(header: Header, settings: Settings) -> list[str]:
    orientation = find_orientation(header.affine, header.slice_axis)
    steps = []
    if orientation.axes != (0, 1, 2) or -1 in orientation.flips:
        across = "".join(aff2axcodes(orientation.apply_affine(header.affine, header.shape)))
        steps.append(f"turned: {AXES} run to {across}")
    plane = prepared_plane(header, settings)
    shape = orientation.apply_shape(header.shape)[1:]
    if settings.spacing is not None and plane != shape:
        steps.append(f"slices resampled to {settings.spacing:g} mm: {plane[0]} x {plane[1]} pixels")
    elif plane != shape:
        steps.append(f"slices cut to {plane[0]} x {plane[1]} pixels, a multiple of {settings.multiple}")
    return steps


def _settings(arguments: argparse.Namespace) -> Settings:
    common = {"file_spacing": _file_spacing(arguments.file_spacing), "series": arguments.series}
    kind = ClinicalSettings if arguments.domain == "clinical" else MicroSettings
    if arguments.spacing is not None:
        common["spacing"] = None if arguments.spacing == "native" else _pixel_size(arguments.spacing)
    return kind(**common)


def _patch(arguments: argparse.Namespace) -> Patch:
    """As given, or as a training has it, which may be given a smaller one."""
    if arguments.patch is not None:
        return Patch(arguments.patch)
    usual = yaml.safe_load(DEFAULTS.read_text(encoding="utf-8"))[arguments.domain]["patch"]
    return Patch(usual, least=smallest_patch(arguments.domain))


def _pixel_size(text: str) -> float:
    sizes = _sizes("--spacing", text)
    if len(sizes) != 1 or plausible(sizes[0]) is None:
        raise UserError(f"--spacing {text} is no pixel size in mm: give one number, such as 0.625, or native")
    return sizes[0]


def _file_spacing(text: str | None) -> FileSpacing:
    sizes = [] if text is None else _sizes("--file-spacing", text)
    return (sizes[0] if len(sizes) == 1 else sizes) if sizes else None


def _sizes(option: str, text: str) -> list[float]:
    try:
        return [float(part) for part in text.strip("[]").split(",")]
    except ValueError as error:
        raise UserError(f"{option} {text} is no size in mm: give a number, such as 0.05") from error


def main(argv: Sequence[str] | None = None) -> int:
    """Inspect what the command line names; 0 if every case can be used."""
    return run_cli(lambda: _main(argv))


def _main(argv: Sequence[str] | None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m ctsr.data.inspect",
        description="Tells what ctsr sees in your scans, what it would do with them, and what it refuses and why.",
        epilog="examples:  python -m ctsr.data.inspect clinical/\n"
        "           python -m ctsr.data.inspect micro/ --domain micro --file-spacing 0.05\n"
        "           python train.py stage=all data=volumes data.clinical.root=... --cfg job --resolve > my.yaml\n"
        "           python -m ctsr.data.inspect --config my.yaml          would this train?",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("paths", nargs="*", metavar="PATH", help="a scan, or a folder of scans")
    parser.add_argument(
        "--config", metavar="FILE", help="of a training: would it train? Instead of all but --headers, --json"
    )
    parser.add_argument("--domain", choices=("clinical", "micro"), default="clinical", help="what they are (clinical)")
    parser.add_argument("--file-spacing", metavar="MM", help="voxel size of files that do not tell: a number, or z,y,x")
    parser.add_argument("--series", help="of DICOM folders that hold several: number, UID or part of the description")
    parser.add_argument("--files", metavar="GLOB", help='which files below a PATH are the scans, such as "*/ct.nii.gz"')
    parser.add_argument("--patient", metavar="REGEX", help="whose a case is, from its name; case: its own")
    parser.add_argument("--spacing", metavar="MM", help="pixels they would be brought to, or native; as in training")
    parser.add_argument("--patch", metavar="PIXELS", type=int, help="must fit into a slice; 0: none; as in training")
    parser.add_argument("--json", action="store_true", help="print what is known as one JSON document")
    parser.add_argument("--headers", action="store_true", help="do not read voxels: fast, but tells no range of greys")
    arguments = parser.parse_args(argv)
    if (arguments.config is None) == (not arguments.paths):
        parser.error("give either paths, or --config FILE")
    if arguments.config is not None:
        answer = would_train(Path(arguments.config), arguments.headers)
    else:
        answer = _look_at_paths(arguments)
    console = Console(emoji=False)
    if not console.is_terminal:  # a file, or a program such as grep
        console.width = UNLIMITED
    if arguments.json:
        print(json.dumps(answer.to_plain(), indent=1))
    elif arguments.config is not None:
        _print_training(answer, console)
    else:
        for problem in answer.problems:
            print(f"error: {problem}", file=sys.stderr)
        for settings, found in answer.findings:
            print_findings(found, settings, console)
    return 0 if answer.yes else MISTAKE


def _look_at_paths(arguments: argparse.Namespace) -> Answer:
    answer, settings, patch = Answer(), _settings(arguments), _patch(arguments)
    cases: list[Case] = []
    for path in arguments.paths:
        try:
            cases += find_cases(path, arguments.domain, arguments.files, arguments.patient, key="PATH")
        except UserError as error:  # the other paths are looked at nevertheless
            answer.problems.append(one_line(error))
    if cases:
        answer.findings = [(settings, [inspect(case, settings, arguments.headers, patch) for case in cases])]
    return answer


if __name__ == "__main__":
    sys.exit(main())
