"""What both stages share: scans found, checked, split by case, prepared once, and drawn as patches."""

from __future__ import annotations

import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any, ClassVar

import torch
from lightning import LightningDataModule
from monai.data import DataLoader
from monai.data.utils import worker_init_fn
from torch import Tensor

from ctsr.data.cohort import twins
from ctsr.data.finding.case_list import write_list
from ctsr.data.finding.patients import pseudonym
from ctsr.data.pairs import find_pairs
from ctsr.data.patches import PatchDataset, PatchSource, StreamSampler, as_it_is, case_corners, check_epoch
from ctsr.data.plan import Plan
from ctsr.data.preparing.hashes import remembered_hash
from ctsr.data.preparing.store import PreparedCase, prepare_all
from ctsr.data.splits import PARTS
from ctsr.errors import UserError, some_of, warn
from ctsr.evaluation.questions.test_set import pair_hashes
from ctsr.imaging.volume import SCALE
from ctsr.phantom.cases import generate
from ctsr.records.card import DataCard
from ctsr.records.data import Micro
from ctsr.records.phantom import PhantomSettings

NAMED = 3  # cases in a message
VALIDATION_SEED = 1_000_000  # validation patches come from a stream that training never sees


class ScansDataModule(LightningDataModule):
    """Cases of both domains, split and prepared; a subclass says which domains its training patches come from.

    Args:
        plan: Of the run: all its stages go by one. Its keys are those of `conf/data/volumes.yaml`, which documents
            them; the scans of a phantom are generated first.
        show_progress: Whether to show progress bars.

    Attributes:
        domains: What a training patch is drawn from; a stage cannot do without.
        cases: domain -> part (train, val, test) -> prepared cases, after `setup`.
    """

    domains: ClassVar[tuple[str, ...]]
    cases: dict[str, dict[str, list[PreparedCase]]]

    def __init__(self, plan: Plan, show_progress: bool = True) -> None:
        super().__init__()
        self.plan, self.keys, self.seed, self.show_progress = plan, plan.keys, plan.seed, show_progress
        self.paired_root = None if self.keys.paired.root is None else Path(self.keys.paired.root)
        self.cache = Path(self.keys.cache)
        self.cases = {}
        self._prepared: dict[str, list[PreparedCase]] = {}
        self._start = (0, 0)  # epoch, and batches of it, that a resumed run has done

    def check(self) -> None:
        """Looks at everything that can be known without reading voxels; the phantom is generated if need be.

        Raises:
            CollectedError: Keys that do not go together, a root without scans, scans that cannot be read, are too small
                or given twice, masks that are missing, parts that share a patient.
        """
        if (phantom := self.keys.made) is not None:
            settings = PhantomSettings(**phantom.model_dump(exclude={"root"}))
            generate(Path(phantom.root), settings, self.show_progress)
        self._given_pairs()
        self.plan.check()
        learned = self.plan.split["micro"]["train"] if self.plan.split else self.plan.found["micro"]
        check_epoch(self.keys.patches_per_case * len(learned), self.keys.global_batch_size)

    def prepare_data(self) -> None:
        """Prepares every case; of several processes one does it, the others find it done.

        Raises:
            UserError: As for `check`; one scan is given twice; or a case cannot be prepared.
        """
        if self.cases:
            return
        self.check()
        for note in self.plan.notes():
            warn(note)
        self.cache.mkdir(parents=True, exist_ok=True)
        self._refuse_twins(
            {
                _named(domain, case.name, case.path): [remembered_hash(case.path, self.cache)]
                for domain, cases in self.plan.found.items()
                for case in cases
            }
        )
        self._prepared = self._prepare(self.show_progress)

    def _prepare(self, show_progress: bool) -> dict[str, list[PreparedCase]]:
        return {
            domain: prepare_all(self.plan.found[domain], settings, self.cache, show_progress)
            for domain, settings in self.plan.settings.items()
        }

    def setup(self, stage: str | None = None) -> None:
        """Opens the prepared cases of each part.

        Raises:
            UserError: Two scans have the same voxels.
        """
        if self.cases:
            return
        prepared = self._prepared or self._prepare(show_progress=False)
        self._refuse_twins(
            {
                _named(domain, case.name, case.facts.source): [case.facts.voxels]
                for domain, cases in prepared.items()
                for case in cases
            }
        )
        self.cases = {domain: self._parts(domain, cases) for domain, cases in prepared.items()}
        self._refuse_test_cases()

    @staticmethod
    def _refuse_twins(marks: Mapping[str, Sequence[str]]) -> None:
        if (line := twins(marks)) is not None:
            raise UserError(line)

    def _refuse_test_cases(self) -> None:
        """Makes sure that no paired case, all of which are for testing, is trained or validated on."""
        seen = self._trained_on()
        for folder in self._given_pairs():
            for scan in pair_hashes(folder, self.cache):
                if scan in seen:
                    raise UserError(
                        f"{seen[scan]} is also in {folder}, a paired case, which is for testing: remove one"
                    )

    def _given_pairs(self) -> list[Path]:
        """Folders of the paired cases that a user gave; the phantom's are lungs of their own."""
        return [] if self.paired_root is None or self.keys.made is not None else find_pairs(self.paired_root)

    def _trained_on(self) -> dict[str, str]:
        """Hashes of the files and of the voxels of each case that is trained or validated on, to its name."""
        return {
            mark: f"{domain} case {case.name}"
            for domain, parts in self.cases.items()
            for case in (*parts["train"], *parts["val"])
            for mark in _marks(case)
        }

    def _parts(self, domain: str, prepared: Sequence[PreparedCase]) -> dict[str, list[PreparedCase]]:
        """Splits a domain's cases, or each case along z."""
        if self.keys.split.mode == "slab":
            parts: dict[str, list[PreparedCase]] = {"train": [], "val": [], "test": []}
            for case in prepared:
                for part, slices in self.plan.slabs.ranges(case.shape[0], case.spacing[0]).items():
                    parts[part] += [case.view(slices)] if slices else []
            return parts
        by_name = {case.name: case for case in prepared}
        return {part: [by_name[name] for name in names] for part, names in self.plan.split[domain].items()}

    def write_overview(self, folder: Path) -> None:
        """Write `data.html` and `split.csv` into a folder that need not be there; after `setup`."""
        folder.mkdir(parents=True, exist_ok=True)
        self.write_report(folder / "data.html")
        self.write_split(folder / "split.csv")

    def write_split(self, path: Path) -> None:
        """Writes the cases with their parts as a list that `data.list` takes, see `ctsr.data.finding.case_list`."""
        write_list(self.plan.listed(), path)

    def write_report(self, path: Path) -> None:
        """Writes a page over all cases to look at, see `ctsr.data.qc`; after `setup`."""
        from ctsr.data.qc import write_page  # here, since training itself draws nothing

        places = {
            case: len(case_corners(case, self.keys.of(domain).patch, self.keys.of(domain).cover))
            for domain, parts in self.cases.items()
            for cases in parts.values()
            for case in cases
        }
        write_page(self.cases, places, path, self.plan.notes())

    # --- patches

    def train_dataset(self) -> PatchDataset:
        """An epoch's patches: `patches_per_case` of each µCT case, clinical ones drawn to match."""
        length = self.keys.patches_per_case * len(self.cases["micro"]["train"])
        sources = [self._source(domain, "train") for domain in self.domains]
        return PatchDataset(sources, length, self.seed, self.keys.augment)

    def val_dataset(self, processes: int = 1) -> PatchDataset:
        """Fixed patches of both domains, as far as both are given."""
        length = max(self.keys.val_patches // processes, 1) * processes
        return PatchDataset(
            [self._source(domain, "val") for domain in self.cases], length, VALIDATION_SEED, augment=False
        )

    def train_slabs(self, count: int) -> Tensor:
        """The first training patches of µCT, (n, 1, patch, patch), as f() is applied to them."""
        patches = self.train_dataset()
        return patches.__getitems__(range(min(count, len(patches))))["slab"]

    def probes(self, count: int) -> tuple[dict[str, Tensor], list[str]]:
        """Fixed validation patches to look at, from as many cases as there are, and the names of their cases."""
        return self.val_dataset().probes(count)

    def train_dataloader(self) -> DataLoader:
        """Batches of this process; the sampler follows the epoch, and goes on where a resumed run stopped."""
        dataset = self.train_dataset()
        rank, processes = self._place()
        return self._loader(
            dataset, StreamSampler(len(dataset), self.keys.global_batch_size, rank, processes, start=self._start)
        )

    def state_dict(self) -> dict[str, Any]:
        """Where training is: epoch, and batches of it that are done."""
        assert self.trainer is not None
        loop = self.trainer.fit_loop
        done = loop.epoch_loop.batch_progress.current.completed % int(
            loop.max_batches
        )  # at an epoch's end: 0 of the next
        return {"epoch": loop.epoch_progress.current.processed, "batches": done}  # type: ignore[attr-defined]

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from there."""
        self._start = state_dict["epoch"], state_dict["batches"]

    def val_dataloader(self) -> DataLoader:
        """The same batches after every epoch."""
        rank, processes = self._place()
        dataset = self.val_dataset(processes)
        batch = min(self.keys.global_batch_size, len(dataset))
        while len(dataset) % batch or batch % processes:
            batch -= 1  # no fixed patch is left out
        return self._loader(dataset, StreamSampler(len(dataset), batch, rank, processes, moving=False))

    def _source(self, domain: str, part: str) -> PatchSource:
        keys, cases = self.keys.of(domain), self.cases[domain]
        names = {"clinical": "image"}
        if isinstance(keys, Micro):
            names = {"micro": "slab" if keys.target == "slab" else "image", "slab": "slab"}
        return PatchSource(cases[part] or cases["train"], names, keys.patch, keys.cover)

    def _loader(self, dataset: PatchDataset, sampler: StreamSampler) -> DataLoader:
        return DataLoader(
            dataset,
            batch_size=sampler.batch_size,
            sampler=sampler,
            num_workers=self.keys.workers,
            persistent_workers=self.keys.workers > 0,
            pin_memory=torch.cuda.is_available(),
            collate_fn=as_it_is,
            worker_init_fn=_left_alone,
            generator=torch.Generator(),  # its own, so that making an iterator draws nothing from the global one
        )

    def _place(self) -> tuple[int, int]:
        """This process's rank, and how many there are."""
        return (self.trainer.global_rank, self.trainer.world_size) if self.trainer is not None else (0, 1)

    # --- what a checkpoint tells of its data

    def describe(self) -> DataCard:
        """What a checkpoint says of its data; after `setup`."""
        training = {domain: parts["train"] for domain, parts in self.cases.items()}
        micro = training["micro"]
        y, x = (median(case.spacing[axis] for case in micro) for axis in (1, 2))
        card: dict[str, Any] = {
            "windows": {
                "clinical": [float(grey) for grey in self.keys.clinical.window],
                "micro": [median(case.window.low for case in micro), median(case.window.high for case in micro)],
            },
            "spacing": {"clinical": [SCALE * y, SCALE * x], "micro": [y, x]},
            "preparation": self.plan.preparation.to_plain(),
            "cases": {
                domain: {part: [case.name for case in cases] for part, cases in parts.items()}
                for domain, parts in self.cases.items()
            },
            "trained_on": self._trained_on(),
            "patients": {part: sorted(map(pseudonym, self._patients(part))) for part in PARTS},
            "scale_ratio": self.plan.scale_ratio,
        }
        if "clinical" in training:
            seen = training["clinical"]
            card["spacing"]["clinical"] = [median(case.spacing[axis] for case in seen) for axis in (1, 2)]
            card["clinical_slice_mm"] = median(case.spacing[0] for case in seen)
            if kernels := [case.facts.kernel for case in seen if case.facts.kernel is not None]:
                card["kernel"] = sum(kernels[1:], kernels[0])
            if told := [case.facts.scanned_thickness for case in seen if case.facts.scanned_thickness is not None]:
                card["slice_thickness_mm"] = median(told)
        return DataCard(**card)

    def must_match(self, card: DataCard, path: str) -> None:
        """Makes sure that G1 sees images prepared as those it learned on, and that no test case was among them.

        Raises:
            UserError: A key differs, or a case that G1 was trained on is held out here.
        """
        self.plan.check_preparation(card, path)
        wanted = "use the same seed and data.split, or data.list=<the run's split.csv>"
        for domain, parts in self.cases.items():
            trained = set(card.cases.get(domain, {}).get("train", []))
            here = {case.name for case in parts["train"]}  # in mode slab
            for case in parts["test"]:
                seen_before = case.name in trained or set(_marks(case)) & card.trained_on.keys()
                if case.name not in here and seen_before:
                    raise UserError(
                        f"{domain} case {case.name} is a test case here, but {path} was trained on it: {wanted}"
                    )
        seen = {patient for part in ("train", "val") for patient in card.patients.get(part, [])}
        for patient in sorted(set(self._patients("test")) - set(self._patients("train"))):
            if pseudonym(patient) in seen:
                raise UserError(f"patient {patient} is for testing here, but {path} was trained on them: {wanted}")

    def unlike(self, card: DataCard, path: str) -> str | None:
        """A line that tells where the cases here, for training and validation, are not those that a G1 was trained on.

        Args:
            card: Of G1's checkpoint.
            path: That checkpoint.
        """
        told = []
        for domain, parts in self.cases.items():
            here = {case.name: case for case in (*parts["train"], *parts["val"])}
            seen = {name for name in card.trained_on.values() if name.startswith(f"{domain} case ")}
            others = [name for name, case in here.items() if not set(_marks(case)) & card.trained_on.keys()]
            if others:
                told.append(
                    f"of the {domain} ones here {len(others)} of {len(here)} are new to it ({some_of(others, NAMED)})"
                )
            elif len(here) < len(seen):
                told.append(f"of its {len(seen)} {domain} ones only {len(here)} are here")
        return f"the G1 of {path} was trained on other cases: {'; '.join(told)}" if told else None

    def _patients(self, part: str) -> list[str]:
        """The patients of a part, of both domains."""
        names = {(domain, case.name) for domain, parts in self.cases.items() for case in parts[part]}
        cases = ((domain, case) for domain, found in self.plan.found.items() for case in found)
        return sorted({case.patient for domain, case in cases if (domain, case.name) in names})


def _left_alone(worker: int) -> None:
    """Start of a loader's worker: a terminal's Ctrl-C reaches it too, and is for the training to answer."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    worker_init_fn(worker)


def _marks(case: PreparedCase) -> list[str]:
    """What tells a scan under any name: hashes of its files and of its voxels."""
    return [case.facts.content, case.facts.voxels]


def _named(domain: str, name: str, source: object) -> str:
    return f"{domain} case {name} ({source})"
