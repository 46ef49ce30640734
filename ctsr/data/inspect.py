"""What the program sees in folders of scans, and whether they would train: `python -m ctsr.data.inspect`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml
from nibabel import aff2axcodes
from rich.console import Console
from rich.markup import escape
from rich.measure import Measurement
from rich.table import Column, Table

from ctsr.data.cases import Case, find_cases
from ctsr.data.facts import interpolated
from ctsr.data.masks import find_masks
from ctsr.data.patch_grid import no_place, patch_grid
from ctsr.data.plan import Plan
from ctsr.data.prepared import check_size, of_case
from ctsr.data.prepared_grid import prepared_plane
from ctsr.data.settings import ClinicalSettings, MicroSettings, Settings
from ctsr.data.twins import twins
from ctsr.errors import CollectedError, UserError, one_line
from ctsr.imaging.formats import format_of
from ctsr.imaging.hounsfield import not_hu
from ctsr.imaging.orientation import find_orientation
from ctsr.imaging.padding import PADDING_BELOW_HU, mark_padding
from ctsr.imaging.readers import probe, read_volume
from ctsr.imaging.volume import Header, Volume, spacing_of
from ctsr.imaging.voxel_hash import voxel_hash
from ctsr.imaging.voxel_size import FileSpacing, plausible
from ctsr.records.run import run_of_file

AXES = "slices, rows, columns"
SAID, DONE = ("case", "patient"), "what is done with it"
UNLIMITED = 10_000  # characters in a line of what is no terminal
DEFAULTS = Path(__file__).parents[2] / "conf/data/volumes.yaml"
REFUSED = 2  # exit code where a scan cannot be used


@dataclass(frozen=True)
class Finding:
    """What is known of one case.

    Attributes:
        case: Name and path.
        seen: Heading -> what the scan is.
        plan: What preparing it would do, step by step.
        refused: Why it cannot be used; None: it can.
        voxels: See `ctsr.imaging.voxel_hash`; None: they were not looked at.
    """

    case: Case
    seen: dict[str, str]
    plan: list[str]
    refused: str | None = None
    voxels: str | None = None


@dataclass(frozen=True)
class Patch:
    """What a training cuts out of prepared slices.

    Attributes:
        size: Pixels a side.
        cover: Least share of it inside the lungs or the specimen; None: these are not looked for.
    """

    size: int
    cover: float | None = None


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
    seen: dict[str, str] = {"format": format_of(case.path) or "?"}
    voxels = None
    try:
        if plan is not None:
            header = plan.header(case, settings.domain)
        else:
            header = probe(case.path, settings.file_spacing, settings.series, settings.spacing)
        orientation = find_orientation(header.affine, header.slice_axis)
        shape = orientation.apply_shape(header.shape)
        affine = orientation.apply_affine(header.affine, header.shape)
        seen |= {
            "size": " x ".join(map(str, shape)),
            "spacing": " x ".join(f"{size:.4g}" for size in spacing_of(affine)),
            "as stored": "".join(aff2axcodes(header.affine)),
        }
        if patch is not None:
            check_size(case, header, settings, patch.size)
        doubts: list[str] = []
        if not headers_only:
            seen["greys"], doubts, voxels = _greys(case, settings, patch, only_hu=plan is None)
    except UserError as error:
        return Finding(case, seen, [], str(error))
    steps = _steps(header, settings) + [f"[yellow]{escape(doubt)}[/]" for doubt in doubts]
    return Finding(case, seen, steps or ["taken as it is"], voxels=voxels)


def print_findings(findings: Sequence[Finding], settings: Settings, console: Console) -> None:
    """Print the cases, what would be done with them, and the refused ones with the reason.

    As a table where it fits into the console without breaking a name or a number, else case by case.
    """
    headings = list(dict.fromkeys(heading for finding in findings for heading in finding.seen))
    notes = {"size": f"({AXES})", "spacing": "(mm)", "as stored": "(axes run to)", "greys": "(range)"}
    table = Table(*(Column(f"{name}\n{notes.get(name, '')}".strip(), no_wrap=True) for name in (*SAID, *headings)))
    table.add_column(DONE, overflow="fold", min_width=24)
    for finding in findings:
        table.add_row(*_said(finding), *(finding.seen.get(name, "") for name in headings), "\n".join(_done(finding)))
    if Measurement.get(console, console.options.update(width=UNLIMITED), table).minimum <= console.width:
        console.print(table)
    else:
        for finding in findings:
            rows = [*zip(SAID, _said(finding), strict=True), *finding.seen.items(), (DONE, "; ".join(_done(finding)))]
            for name, text in rows:
                label = " ".join(filter(None, (name, notes.get(name))))
                console.print(f"{label}: {text}", soft_wrap=True, highlight=False)
            console.print()
    for finding in findings:
        if finding.refused is not None:
            name = escape(finding.case.name)
            console.print(f"[red]{name}:[/] {escape(finding.refused)}", soft_wrap=True, highlight=False)
    usable = sum(finding.refused is None for finding in findings)
    patients = len({finding.case.patient for finding in findings})
    console.print(
        f"{usable} of {len(findings)} {settings.domain} cases can be used, of {patients} "
        f"{'patient' if patients == 1 else 'patients'}. {_for_all(settings)}",
        highlight=False,
    )


def _said(finding: Finding) -> tuple[str, str]:
    """In the order of `SAID`."""
    return escape(finding.case.name), escape(finding.case.patient)


def _done(finding: Finding) -> list[str]:
    return finding.plan if finding.refused is None else ["[red]refused, see below[/]"]


def would_train(file: Path, headers_only: bool, console: Console) -> bool:
    """Print what a training would find, all that stands against it, and whether it would begin.

    Args:
        file: Its configuration, see `ctsr.records.run.run_of_file`.
        headers_only: As for `inspect`.
        console: Where to print.

    Raises:
        UserError: It is none.
    """
    try:
        problems = look_at_data(Plan.of(run_of_file(file)), headers_only, console)
    except CollectedError as error:  # without its keys there is nothing to look at
        problems = error.problems
    for problem in problems:
        console.print(f"[red]problem:[/] {escape(problem)}", soft_wrap=True, highlight=False)
    answer = f"no, {len(problems)} {'problem' if len(problems) == 1 else 'problems'}" if problems else "yes"
    console.print(f"would this train? {answer}", highlight=False)
    return not problems


def look_at_data(plan: Plan, headers_only: bool, console: Console) -> list[str]:
    """Print what a training would find, and return all that stands against it."""
    problems: list[str] = []
    findings: dict[str, Finding] = {}
    try:
        plan.check()
    except CollectedError as error:
        problems += error.problems
    else:
        for note in plan.notes():
            console.print(f"[yellow]warning:[/] {escape(note)}", soft_wrap=True, highlight=False)
    if plan.readable:
        for domain, settings in plan.settings.items():
            keys = plan.keys.of(domain)
            patch = Patch(keys.patch, keys.cover) if domain in plan.needed else None
            found = [inspect(case, settings, headers_only, patch, plan) for case in plan.found[domain]]
            print_findings(found, settings, console)
            findings |= {f"{domain} case {finding.case.name} ({finding.case.path})": finding for finding in found}
    refused = [finding.refused for finding in findings.values() if finding.refused is not None]
    same = twins({name: [finding.voxels] for name, finding in findings.items() if finding.voxels is not None})
    return list(dict.fromkeys([*problems, *refused, *([] if same is None else [same])]))


def _greys(case: Case, settings: Settings, patch: Patch | None, only_hu: bool) -> tuple[str, list[str], str]:
    """The range of the greys, what is odd about them, and their hash.

    Raises:
        UserError: They cannot be read, are too few, are not HU, or leave the patch no place.
    """
    volume = read_volume(case.path, settings.file_spacing, None, settings.series, settings.spacing)
    doubts = []
    if isinstance(settings, ClinicalSettings):
        found = not_hu(volume)
        doubts = [found, *_other_than_ct(case, settings)] if found else _other_than_ct(case, settings)
        if found is not None and only_hu:
            raise UserError("; ".join(doubts))
        volume = mark_padding(volume, volume.array < PADDING_BELOW_HU)
    else:
        from ctsr.imaging.specimen import check_greys  # here, as `outline` below

        check_greys(volume.array)
    if patch is not None and patch.cover is not None:
        _check_place(case, volume, settings, patch.size, patch.cover)
    text = f"{volume.array.dtype}, {volume.array.min():g} ... {volume.array.max():g}"
    padding = "" if volume.outside is None else f"; {volume.outside.mean():.0%} is padding"
    return text + padding, doubts, voxel_hash(volume.array)


def _other_than_ct(case: Case, settings: Settings) -> list[str]:
    """What a header says that a scan is, where it is no CT."""
    if format_of(case.path) != "dicom":
        return []
    from ctsr.imaging.dicom import modality_of  # here, since it takes pydicom

    modality = modality_of(case.path, settings.series)
    return [] if modality in ("", "CT") else [f"its header calls it {modality} (Modality), not CT"]


def _check_place(case: Case, volume: Volume, settings: Settings, size: int, cover: float) -> None:
    """Make sure that patches can be drawn.

    Raises:
        UserError: No lungs or specimen are found, the given masks do not fit, or no patch lies inside.
    """
    from ctsr.data.outline import outline  # here: it finds lungs with what takes a second to import

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
    spacing = spacing_of(orientation.apply_affine(header.affine, header.shape))[1:]
    if settings.spacing is not None and plane != shape:
        steps.append(f"slices resampled to {settings.spacing:g} mm: {plane[0]} x {plane[1]} pixels")
    elif plane != shape:
        steps.append(f"slices cut to {plane[0]} x {plane[1]} pixels, a multiple of {settings.multiple}")
    steps += [f"[yellow]{escape(warning)}[/]" for warning in interpolated(spacing, settings.spacing)]
    return steps


def _for_all(settings: Settings) -> str:
    """What is done with every case."""
    if isinstance(settings, ClinicalSettings):
        low, high = settings.window
        return f"In all, the lungs are then found by region growing, and {low:g} ... {high:g} HU become -1 ... 1."
    low, high = settings.percentiles
    return f"In all, the specimen is then found, and the {low:g} and {high:g} percentiles of its greys become -1 and 1."


def _settings(arguments: argparse.Namespace) -> Settings:
    common = {"file_spacing": _file_spacing(arguments.file_spacing), "series": arguments.series}
    kind = ClinicalSettings if arguments.domain == "clinical" else MicroSettings
    if arguments.spacing is not None:
        common["spacing"] = None if arguments.spacing == "native" else _pixel_size(arguments.spacing)
    return kind(**common)


def _patch(arguments: argparse.Namespace) -> Patch:
    """As given, or as a training has it."""
    if arguments.patch is not None:
        return Patch(arguments.patch)
    return Patch(yaml.safe_load(DEFAULTS.read_text(encoding="utf-8"))[arguments.domain]["patch"])


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
    parser.add_argument("--config", metavar="FILE", help="of a training: would it train? Instead of all but --headers")
    parser.add_argument("--domain", choices=("clinical", "micro"), default="clinical", help="what they are (clinical)")
    parser.add_argument("--file-spacing", metavar="MM", help="voxel size of files that do not tell: a number, or z,y,x")
    parser.add_argument("--series", help="of DICOM folders that hold several: number, UID or part of the description")
    parser.add_argument("--files", metavar="GLOB", help='which files below a PATH are the scans, such as "*/ct.nii.gz"')
    parser.add_argument("--patient", metavar="REGEX", help="whose a case is, from its name; case: its own")
    parser.add_argument("--spacing", metavar="MM", help="pixels they would be brought to, or native; as in training")
    parser.add_argument("--patch", metavar="PIXELS", type=int, help="must fit into a slice; 0: none; as in training")
    parser.add_argument("--headers", action="store_true", help="do not read voxels: fast, but tells no range of greys")
    arguments = parser.parse_args(argv)
    if (arguments.config is None) == (not arguments.paths):
        parser.error("give either paths, or --config FILE")
    console = Console(emoji=False)
    if not console.is_terminal:  # a file, or a program such as grep
        console.width = UNLIMITED
    try:
        if arguments.config is not None:
            return 0 if would_train(Path(arguments.config), arguments.headers, console) else REFUSED
        settings = _settings(arguments)
    except UserError as error:
        print(f"error: {one_line(error)}", file=sys.stderr)
        return REFUSED
    cases, all_usable = [], True
    for path in arguments.paths:
        try:
            cases += find_cases(path, arguments.domain, arguments.files, arguments.patient, key="PATH")
        except UserError as error:  # the other paths are looked at nevertheless
            print(f"error: {one_line(error)}", file=sys.stderr)
            all_usable = False
    findings = [inspect(case, settings, arguments.headers, _patch(arguments)) for case in cases]
    if findings:
        print_findings(findings, settings, console)
    return 0 if all_usable and all(finding.refused is None for finding in findings) else REFUSED


if __name__ == "__main__":
    sys.exit(main())
