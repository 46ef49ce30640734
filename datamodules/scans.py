"""What both stages share: scans found, checked, split by case, prepared once, and drawn as patches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from statistics import median
from typing import Any, ClassVar

import torch
from lightning import LightningDataModule
from monai.data import DataLoader
from torch import Tensor

from ctsr.data.cases import Case, SlabSplit, find_cases, shared_cases, split_cases
from ctsr.data.masks import check_mask, find_mask
from ctsr.data.patches import PatchDataset, PatchSource, StreamSampler, as_it_is, case_corners
from ctsr.data.prepared import PreparedCase, check_size, prepare_all
from ctsr.data.settings import ClinicalSettings, MicroSettings
from ctsr.errors import UserError, warn
from ctsr.imaging.orientation import find_slice_axis
from ctsr.imaging.pyramid import SCALE
from ctsr.imaging.readers import probe
from ctsr.imaging.volume import Header
from ctsr.phantom.cases import PhantomSettings, generate

SMALLEST_PATCH = 12
VALIDATION_SEED = 1_000_000  # validation patches come from a stream that training never sees


class ScansDataModule(LightningDataModule):
    """Cases of both domains, split and prepared; a subclass says which domains its training patches come from.

    The arguments are the keys of `conf/data/volumes.yaml`, which documents them. With `phantom` (the fields of
    `PhantomSettings`, and `root`) the scans are generated first.

    Attributes:
        domains: What a training patch is drawn from; a stage cannot do without.
        cases: domain -> part (train, val, test) -> prepared cases, after `setup`.
    """

    domains: ClassVar[tuple[str, ...]]

    def __init__(
        self,
        clinical: Mapping[str, Any],
        micro: Mapping[str, Any],
        paired: Mapping[str, Any],
        split: Mapping[str, Any],
        patches_per_case: int,
        val_patches: int,
        global_batch_size: int,
        accumulate: int,
        augment: bool,
        workers: int,
        cache: str,
        seed: int,
        phantom: Mapping[str, Any] | None = None,
        show_progress: bool = True,
    ) -> None:
        super().__init__()
        self.keys = {"clinical": clinical, "micro": micro}
        self.paired_root = None if paired["root"] is None else Path(paired["root"])
        self.split, self.phantom = split, phantom
        self.patches_per_case, self.val_patches = patches_per_case, val_patches
        self.global_batch_size, self.augment, self.workers = global_batch_size, augment, workers
        self.accumulate = accumulate
        self.cache, self.seed, self.show_progress = Path(cache), seed, show_progress
        self.cases: dict[str, dict[str, list[PreparedCase]]] = {}
        self._start = (0, 0)  # epoch, and batches of it, that a resumed run has done

    def check(self) -> None:
        """Looks at everything that can be known without reading voxels; the phantom is generated if need be.

        Raises:
            UserError: Keys that do not go together, a root without scans, a scan that cannot be read or is too small.
        """
        if self.keys["micro"]["patch"] != SCALE * self.keys["clinical"]["patch"]:
            raise UserError(
                f"data.micro.patch={self.keys['micro']['patch']} must be {SCALE} times "
                f"data.clinical.patch={self.keys['clinical']['patch']}: one image covers the other"
            )
        if self.keys["clinical"]["patch"] < SMALLEST_PATCH or self.keys["clinical"]["patch"] % 4:
            raise UserError(
                f"data.clinical.patch={self.keys['clinical']['patch']}: give a multiple of 4, "
                f"at least {SMALLEST_PATCH}, for the networks' strides and the window of SSIM"
            )
        if self.keys["micro"]["target"] not in ("centre", "slab"):
            raise UserError(f"data.micro.target={self.keys['micro']['target']}: give centre or slab")
        if self.split["mode"] not in ("case", "slab"):
            raise UserError(f"data.split.mode={self.split['mode']}: give case or slab")
        if self.phantom is not None:
            settings = {key: value for key, value in self.phantom.items() if key != "root"}
            generate(Path(self.phantom["root"]), PhantomSettings(**settings), self.show_progress)
        for domain, how in self.settings.items():
            for case in self.found[domain]:
                header = probe(case.path, how.file_spacing, how.series, how.spacing)
                check_size(case, header, how, self.keys[domain]["patch"])
                if how.masks is not None:
                    check_mask(find_mask(how.masks, case.name, domain), header)

    def prepare_data(self) -> None:
        """Prepares every case; of several processes one does it, the others find it done."""
        if self.cases:
            return
        self.check()
        for domain, settings in self.settings.items():
            prepare_all(self.found[domain], settings, self.cache, self.show_progress)

    def setup(self, stage: str | None = None) -> None:
        """Opens the prepared cases of each part."""
        if self.cases:
            return
        for domain, settings in self.settings.items():
            prepared = prepare_all(self.found[domain], settings, self.cache, show_progress=False)
            self.cases[domain] = self._parts(domain, prepared)

    @cached_property
    def found(self) -> dict[str, list[Case]]:
        """The cases on disk of each domain that is given."""
        cases = {}
        for domain, keys in self.keys.items():
            if keys["root"] is not None:
                cases[domain] = find_cases(keys["root"], domain)
            elif domain in self.domains:
                raise UserError(f"data.{domain}.root=<folder of scans> is needed")
        return cases

    @cached_property
    def settings(self) -> dict[str, ClinicalSettings | MicroSettings]:
        """How each domain that is given is prepared."""
        clinical, micro = self.keys["clinical"], self.keys["micro"]
        settings: dict[str, ClinicalSettings | MicroSettings] = {}
        if "clinical" in self.found:
            settings["clinical"] = ClinicalSettings(
                spacing=_spacing("clinical", clinical),
                window=tuple(clinical["window"]),
                file_spacing=clinical["file_spacing"],
                series=_text(clinical["series"]),
                masks=clinical["masks"],
            )
        if "micro" in self.found:
            settings["micro"] = MicroSettings(
                spacing=_spacing("micro", micro),
                slab_mm=self.slab_mm,
                percentiles=tuple(micro["percentiles"]),
                file_spacing=micro["file_spacing"],
                series=_text(micro["series"]),
                masks=micro["masks"],
            )
        return settings

    @cached_property
    def slab_mm(self) -> float:
        """Thickness that µCT slices are averaged over: as given, or the clinical slice spacing."""
        given = self.keys["micro"]["slab_mm"]
        if given != "auto":
            return float(given)
        if "clinical" not in self.found:
            raise UserError(
                "data.micro.slab_mm=auto takes the clinical slice spacing: give data.clinical.root or a number"
            )
        keys = self.keys["clinical"]
        headers = (probe(case.path, keys["file_spacing"], _text(keys["series"])) for case in self.found["clinical"])
        return round(median(_slice_mm(header) for header in headers), 4)

    def _parts(self, domain: str, prepared: Sequence[PreparedCase]) -> dict[str, list[PreparedCase]]:
        """Splits a domain's cases, or each case along z."""
        val, test = self.split["val"], self.split["test"]
        if self.split["mode"] == "slab":
            slabs = SlabSplit(val, test, self.split["gap_mm"])
            parts: dict[str, list[PreparedCase]] = {"train": [], "val": [], "test": []}
            for case in prepared:
                for part, slices in slabs.ranges(case.shape[0], case.spacing[0]).items():
                    parts[part] += [case.view(slices)] if slices else []
            return parts
        by_name = {case.name: case for case in prepared}
        split = split_cases(list(by_name), val, test, self.seed)
        for name in shared_cases(split):
            warn(
                f"{name} is the only {domain} case: it serves training and validation, so no figure is held out; "
                "data.split.mode=slab sets slices apart"
            )
        return {part: [by_name[name] for name in names] for part, names in split.items()}

    def write_report(self, path: Path) -> None:
        """Writes a page over all cases to look at, see `ctsr.data.qc`; after `setup`."""
        from ctsr.data.qc import write_page  # here, since training itself draws nothing

        places = {
            case: len(case_corners(case, self.keys[domain]["patch"], self.keys[domain]["cover"]))
            for domain, parts in self.cases.items()
            for cases in parts.values()
            for case in cases
        }
        write_page(self.cases, places, path)

    # --- patches

    def train_dataset(self) -> PatchDataset:
        """An epoch's patches: `patches_per_case` of each µCT case, clinical ones drawn to match."""
        length = self.patches_per_case * len(self.cases["micro"]["train"])
        return PatchDataset([self._source(domain, "train") for domain in self.domains], length, self.seed, self.augment)

    def val_dataset(self, processes: int = 1) -> PatchDataset:
        """Fixed patches of both domains, as far as both are given."""
        length = max(self.val_patches // processes, 1) * processes
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
            dataset, StreamSampler(len(dataset), self.global_batch_size, rank, processes, start=self._start)
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
        batch = min(self.global_batch_size, len(dataset))
        while len(dataset) % batch or batch % processes:
            batch -= 1  # no fixed patch is left out
        return self._loader(dataset, StreamSampler(len(dataset), batch, rank, processes, moving=False))

    def _source(self, domain: str, part: str) -> PatchSource:
        keys, cases = self.keys[domain], self.cases[domain]
        names = {"clinical": "image"}
        if domain == "micro":
            names = {"micro": "slab" if keys["target"] == "slab" else "image", "slab": "slab"}
        return PatchSource(cases[part] or cases["train"], names, keys["patch"], keys["cover"])

    def _loader(self, dataset: PatchDataset, sampler: StreamSampler) -> DataLoader:
        return DataLoader(
            dataset,
            batch_size=sampler.batch_size,
            sampler=sampler,
            num_workers=self.workers,
            persistent_workers=self.workers > 0,
            pin_memory=torch.cuda.is_available(),
            collate_fn=as_it_is,
            generator=torch.Generator(),  # its own, so that making an iterator draws nothing from the global one
        )

    def _place(self) -> tuple[int, int]:
        """This process's rank, and how many there are."""
        return (self.trainer.global_rank, self.trainer.world_size) if self.trainer is not None else (0, 1)

    # --- what a checkpoint tells of its data

    def describe(self) -> dict[str, Any]:
        """Windows, spacings, preparation and cases, in plain values; after `setup`."""
        training = {domain: parts["train"] for domain, parts in self.cases.items()}
        micro = training["micro"]
        y, x = (median(case.spacing[axis] for case in micro) for axis in (1, 2))
        facts: dict[str, Any] = {
            "windows": {
                "clinical": [float(grey) for grey in self.keys["clinical"]["window"]],
                "micro": [median(case.window.low for case in micro), median(case.window.high for case in micro)],
            },
            "spacing": {"clinical": [SCALE * y, SCALE * x], "micro": [y, x]},
            "preparation": self.preparation(),
            "cases": {
                domain: {part: [case.name for case in cases] for part, cases in parts.items()}
                for domain, parts in self.cases.items()
            },
            "trained_on": {
                case.facts["content"]: f"{domain} case {case.name}"
                for domain, parts in self.cases.items()
                for case in (*parts["train"], *parts["val"])
            },
        }
        if "clinical" in training:
            seen = training["clinical"]
            facts["spacing"]["clinical"] = [median(case.spacing[axis] for case in seen) for axis in (1, 2)]
            facts["clinical_slice_mm"] = median(case.spacing[0] for case in seen)
        return facts

    def preparation(self) -> dict[str, Any]:
        """What stage sr must share with the stage synth that its G1 comes from."""
        return {
            "data.clinical.window": [float(grey) for grey in self.keys["clinical"]["window"]],
            "data.micro.spacing": self.keys["micro"]["spacing"],
            "data.micro.slab_mm": self.slab_mm,
            "data.micro.percentiles": [float(share) for share in self.keys["micro"]["percentiles"]],
        }

    def must_match(self, meta: Mapping[str, Any], path: str) -> None:
        """Makes sure that G1 sees images prepared as those it learned on, and that no test case was among them.

        Raises:
            UserError: A key differs, or a case that G1 was trained on is held out here.
        """
        for key, value in self.preparation().items():
            if meta["preparation"][key] != value:
                raise UserError(
                    f"{key}={value}, but {path} was trained with {meta['preparation'][key]}: make them equal"
                )
        for domain, parts in self.cases.items():
            trained = set(meta["cases"].get(domain, {}).get("train", []))
            held_out = {case.name for case in parts["test"]} - {case.name for case in parts["train"]}
            if trained & held_out:
                raise UserError(
                    f"{domain} case {min(trained & held_out)} is a test case here, but {path} was trained on it: "
                    "use the same seed and data.split"
                )


def _slice_mm(header: Header) -> float:
    """Distance of the slices as they were acquired, however they lie in the file."""
    axis = find_slice_axis(header.affine) if header.slice_axis is None else header.slice_axis
    return header.spacing[axis]


def _spacing(domain: str, keys: Mapping[str, Any]) -> float | None:
    """In-plane spacing to resample to, in mm; None for native."""
    given = keys["spacing"]
    if given == "native":
        return None
    if not isinstance(given, int | float) or given <= 0:
        raise UserError(f"data.{domain}.spacing={given}: give millimetres, or native")
    return float(given)


def _text(value: object) -> str | None:
    """A series' number may come as one."""
    return None if value is None else str(value)
