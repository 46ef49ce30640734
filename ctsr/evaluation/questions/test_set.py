"""Cases to test on, none of which was trained on: a folder with `micro`, `paired` and others below it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich.progress import Progress

from ctsr.data.finding.cases import find_cases
from ctsr.data.pairs import MICRO, Pair, find_pairs, find_projections, load_kinds, load_pair, no_filters, scans_of
from ctsr.data.preparing.hashes import remembered_hash
from ctsr.data.preparing.settings import ClinicalSettings, MicroSettings, Settings
from ctsr.data.preparing.store import PreparedCase, prepare_all
from ctsr.errors import UserError
from ctsr.evaluation.questions.competitors import TrainedNetwork
from ctsr.evaluation.questions.kernels import KernelFilters, true_filters
from ctsr.imaging.kernel.matching import OFF
from ctsr.records.card import ModelCard
from ctsr.records.row import Row

PAIR_FILES = ("clinical.nii.gz", MICRO)


def load_test_set(root: Path, clinical: Path | None, card: ModelCard, cache: Path, kernel: str = OFF) -> TestSet:
    """Read, and prepare as for training, what there is.

    Args:
        root: Folder with `micro` and `clinical` (scans, as for training), `paired` and `empty` (cases, each a folder
            with clinical, micro and labels .nii.gz), and `projections` (see `ctsr.data.pairs.load_kinds`); each may
            be missing.
        clinical: Folder of clinical scans, or one scan, instead of `root/clinical`.
        card: Of a checkpoint whose cases were prepared in the same way.
        cache: Folder of prepared cases.
        kernel: What is also done with the clinical scans of pairs and of projections before methods are given them, see
            `ctsr.imaging.kernel.matching.choose`; beside the checkpoint's training.

    Raises:
        UserError: There is nothing to test on, or a scan cannot be read.
    """
    cache.mkdir(parents=True, exist_ok=True)
    how = card.preparation
    settings: dict[str, Settings] = {
        "micro": MicroSettings(
            spacing=None if how.spacing == "native" else float(how.spacing),
            slab_mm=float(how.slab_mm),
            percentiles=how.percentiles,
        ),
        "clinical": ClinicalSettings(spacing=card.pixel[0], window=how.window),
    }
    roots = {"micro": root / "micro", "clinical": clinical or root / "clinical"}
    hashes: dict[str, str] = {}
    prepared: dict[str, list[PreparedCase]] = {}
    for domain, folder in roots.items():
        found = find_cases(folder, domain) if folder.exists() else []
        prepared[domain] = prepare_all(found, settings[domain], cache, key="cache")
        hashes |= {remembered_hash(case.path, cache): f"{domain} {case.name}" for case in found}
        hashes |= {case.facts.voxels: f"{domain} {case.name}" for case in prepared[domain]}
    filters = KernelFilters(kernel, card.kernel, true_filters(root))
    found_in = {"paired": find_pairs, "empty": find_pairs, "projections": find_projections}
    folders = {name: find(root / name) if (root / name).exists() else [] for name, find in found_in.items()}
    pairs: dict[str, list[Pair]] = {"paired": [], "empty": []}
    projections: dict[str, list[Pair]] = {}
    with Progress() as bar:  # a kernel takes a second to estimate
        task = bar.add_task("reading lungs seen by both scanners", total=sum(map(len, folders.values())))
        for name, folder in [(name, folder) for name, of in folders.items() for folder in of]:
            if name == "projections":
                for kind, pair in load_kinds(folder, how.percentiles, filters).items():
                    projections.setdefault(kind, []).append(pair)
                scans = [folder / MICRO, *scans_of(folder).values()]
                hashes |= {remembered_hash(scan, cache): f"{name} {folder.name}" for scan in scans}
            else:
                pairs[name].append(
                    load_pair(folder, how.percentiles, filters if name == "paired" else no_filters, name)
                )
                hashes |= dict.fromkeys(pair_hashes(folder, cache), f"{name} {folder.name}")
            bar.advance(task)
    if not hashes:
        raise UserError(
            f"data={root} holds no case: give a folder with micro/, paired/, empty/, clinical/ or projections/ in it"
        )
    of_kinds = dict(sorted(projections.items()))
    return TestSet(
        prepared["micro"], pairs["paired"], pairs["empty"], prepared["clinical"], hashes, of_kinds, filters.rows
    )


def pair_hashes(folder: Path, cache: Path) -> list[str]:
    """Hashes of a paired case's two scans."""
    return [remembered_hash(folder / name, cache) for name in PAIR_FILES]


@dataclass(frozen=True, eq=False)
class TestSet:
    """Cases that nothing was trained on.

    Attributes:
        micro: Micro-CT.
        pairs: Lungs seen by both scanners.
        empty: Such lungs without vessels and airways.
        clinical: Clinical scans.
        hashes: Hash of each scan, to its name.
        projections: Lungs seen by the projection scanner, for each kind of acquisition; their micro-CT is in HU.
        kernels: What is known of the filters of clinical scans, see `ctsr.evaluation.questions.kernels`.
    """

    __test__ = False  # no test, whatever pytest makes of its name

    micro: Sequence[PreparedCase] = ()
    pairs: Sequence[Pair] = ()
    empty: Sequence[Pair] = ()
    clinical: Sequence[PreparedCase] = ()
    hashes: Mapping[str, str] = field(default_factory=dict)
    projections: Mapping[str, Sequence[Pair]] = field(default_factory=dict)
    kernels: Sequence[Row] = ()


def check_held_out(networks: Iterable[TrainedNetwork], test: TestSet) -> None:
    """Refuse a network that has seen a test case.

    Raises:
        UserError: One has; checkpoint and case are named.
    """
    for one in networks:
        for scan, name in test.hashes.items():
            if scan in one.trained_on:
                raise UserError(
                    f"{one.path} was trained on {one.trained_on[scan]}, which is test case {name}: "
                    "take other test cases, or train without it"
                )
