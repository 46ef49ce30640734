"""What the data keys of a run come to: the cases, how each is prepared, their parts, and what stands against.

Nothing here reads voxels, and each scan's header is read once: a run has one plan, which its check and all its stages
go by, and which `ctsr.data.inspect --config` tells.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace
from functools import cached_property, partial
from statistics import median
from typing import Any

from ctsr.data.cohort import Parts, scale_notes, scale_ratio, twins
from ctsr.data.finding.case_list import read_list
from ctsr.data.finding.cases import Case, find_cases
from ctsr.data.finding.masks import check_masks, find_masks
from ctsr.data.finding.patients import pseudonym
from ctsr.data.preparing.grid import canonical_spacing, prepared_spacing
from ctsr.data.preparing.settings import ClinicalSettings, MicroSettings, Settings
from ctsr.data.preparing.store import check_size, of_case
from ctsr.data.splits import PARTS, SlabSplit, Split, shared_cases, split_cases
from ctsr.errors import CollectedError, UserError
from ctsr.imaging.formats.readers import probe
from ctsr.imaging.volume import Header
from ctsr.records.card import DataCard, Preparation
from ctsr.records.data import Clinical, Data, Domain
from ctsr.records.run import Run

DOMAINS = ("clinical", "micro")


@dataclass(frozen=True, eq=False)
class Plan:
    """The data of a run.

    Attributes:
        keys: Those of `conf/data/volumes.yaml`.
        seed: Of the split.
        needed: Domains that its stages cannot do without.
    """

    keys: Data
    seed: int
    needed: Collection[str]

    @classmethod
    def of(cls, run: Run) -> Plan:
        """The plan of all stages of a run."""
        return cls(run.data, run.seed, {domain for stage in run.stages for domain in stage.domains})

    @cached_property
    def found(self) -> dict[str, list[Case]]:
        """Domain -> its cases, of each domain that is given.

        Raises:
            UserError: Domains that are needed are not given, or have no cases.
        """
        rules = {domain: self.keys.of(domain).patient for domain in DOMAINS}
        listed = self.keys.listed
        cases = {} if listed is None else read_list(listed, rules)
        problems: list[str] = []
        for domain in DOMAINS:
            keys = self.keys.of(domain)
            if domain not in cases and keys.root is not None:
                try:
                    cases[domain] = find_cases(keys.root, domain, keys.files, keys.patient)
                except UserError as error:
                    problems.append(str(error))
            elif domain not in cases and domain in self.needed:
                problems.append(f"data.{domain}.root=<folder of scans> is needed, or data.list=<list of cases>")
        if problems:
            raise CollectedError(problems)
        patients = {case.patient for found in cases.values() for case in found}

        def known(patient: str) -> str:  # a run's list has pseudonyms, headers have not
            return pseudonym(patient) if pseudonym(patient) in patients else patient

        return {
            domain: [replace(case, patient=known(case.patient)) for case in cases[domain]]
            for domain in DOMAINS
            if domain in cases
        }

    @cached_property
    def settings(self) -> dict[str, Settings]:
        """Domain -> how its cases are prepared."""
        return {domain: self._settings(domain) for domain in self.found}

    def _settings(self, domain: str) -> Settings:
        keys = self.keys.of(domain)
        common: dict[str, Any] = {
            "spacing": _spacing(keys),
            "file_spacing": keys.file_spacing,
            "series": keys.series,
            "masks": keys.masks,
        }
        if isinstance(keys, Clinical):
            return ClinicalSettings(window=keys.window, **common)
        return MicroSettings(slab_mm=self.slab_mm, percentiles=keys.percentiles, **common)

    @cached_property
    def slab_mm(self) -> float:
        """Thickness that µCT slices are averaged over: as given, or the clinical slice spacing."""
        given = self.keys.micro.slab_mm
        if given != "auto":
            return float(given)
        if "clinical" not in self.found:
            raise UserError(
                "data.micro.slab_mm=auto takes the clinical slice spacing: give data.clinical.root or a number"
            )
        probed = self._probed["clinical"].values()
        spacings = [canonical_spacing(header)[0] for header in probed if isinstance(header, Header)]
        if not spacings:  # then the reasons are what is to be told
            raise CollectedError([str(error) for error in probed])
        return round(median(spacings), 4)

    @cached_property
    def split(self) -> dict[str, Split]:
        """Domain -> part -> names of cases; in mode slab each case is cut instead, and is in none."""
        if self.keys.split.mode == "slab":
            return {}
        return split_cases(self.found, self.keys.split.val, self.keys.split.test, self.seed)

    @property
    def preparation(self) -> Preparation:
        """What stage sr must share with the stage synth that its G1 comes from."""
        keys: dict[str, Any] = {
            "data.clinical.window": [float(grey) for grey in self.keys.clinical.window],
            "data.micro.spacing": self.keys.micro.spacing,
            "data.micro.slab_mm": self.slab_mm,
            "data.micro.percentiles": [float(share) for share in self.keys.micro.percentiles],
        }
        return Preparation(**keys)

    def check_preparation(self, card: DataCard, path: str) -> None:
        """Make sure that a G1 sees images prepared as those it learned on.

        Args:
            card: Of its checkpoint.
            path: That checkpoint.

        Raises:
            UserError: A key differs.
        """
        for key, value, of_g1 in self.preparation.differences(card.preparation):
            raise UserError(f"{key}={value}, but {path} was trained with {of_g1}: make them equal")

    @property
    def slabs(self) -> SlabSplit:
        """How each case is cut in mode slab."""
        split = self.keys.split
        assert isinstance(split.val, int | float)  # `ctsr.records.clashes`
        assert isinstance(split.test, int | float)
        return SlabSplit(split.val, split.test, split.gap_mm)

    @cached_property
    def pixels(self) -> dict[str, Parts]:
        """Domain -> part -> cases with their in-plane spacing as prepared, in mm; in mode slab each is in all parts."""
        found: dict[str, Parts] = {}
        for domain, settings in self.settings.items():
            headers = {name: one for name, one in self._probed[domain].items() if isinstance(one, Header)}
            sizes = {name: prepared_spacing(header, settings)[1] for name, header in headers.items()}
            split = self.split.get(domain, dict.fromkeys(PARTS, sizes))
            found[domain] = {part: {name: sizes[name] for name in split[part] if name in sizes} for part in PARTS}
        return found

    @property
    def scale_ratio(self) -> float | None:
        """How much larger clinical pixels are than those of f(x) in training, see `ctsr.data.cohort.scale_ratio`.

        None without both domains.
        """
        trained = [self.pixels[domain]["train"].values() for domain in DOMAINS if domain in self.pixels]
        if len(trained) < len(DOMAINS) or not all(trained):
            return None
        return round(scale_ratio(*trained), 4)

    def listed(self) -> dict[str, list[Case]]:
        """Domain -> cases with the part each is in and the masks it has: what a list of cases holds.

        Patients of DICOM headers have pseudonyms, unless names and folders tell them.
        """
        everyone = [case for cases in self.found.values() for case in cases]
        hidden = {c.patient for c in everyone if c.of_header and c.patient not in (*c.path.parts, c.name)}
        part_of = {
            (domain, name): part
            for domain, split in self.split.items()
            for part in reversed(PARTS)  # a case that serves training and validation is listed for training
            for name in split[part]
        }
        return {
            domain: [
                replace(
                    case,
                    patient=pseudonym(case.patient) if case.patient in hidden else case.patient,
                    part=part_of.get((domain, case.name)),
                    masks=find_masks(self.settings[domain].masks, case, domain),
                    file_spacing=of_case(self.settings[domain], case).file_spacing,
                )
                for case in cases
            ]
            for domain, cases in self.found.items()
        }

    def check(self) -> None:
        """Looks at everything that can be known without reading voxels.

        Raises:
            CollectedError: All that stands against a training, a line for each.
        """
        if self._problems:
            raise CollectedError(self._problems)

    @cached_property
    def _problems(self) -> list[str]:
        return list(dict.fromkeys(line for checked in self._checks() for line in _refusal(checked)))

    @property
    def readable(self) -> bool:
        """Whether the cases and how they are prepared are known, whatever else stands against a training."""
        return not _refusal(lambda: (self.found, self.settings))

    def notes(self) -> list[str]:
        """What should be known before a training, but does not stand against it."""
        notes = scale_notes(self.pixels)
        if not self.split:
            everyone = [case for cases in self.found.values() for case in cases]
            together = {case.patient: [c.name for c in everyone if c.patient == case.patient] for case in everyone}
            return notes + [
                f"data.split.mode=slab cuts each case by itself, but {', '.join(names)} are of one patient: "
                "what is held out of one may be trained on in another"
                for names in together.values()
                if len(names) > 1
            ]
        for domain, cases in self.found.items():
            split = self.split[domain]
            if shared_cases(split):
                who = f"{cases[0].name} is the only {domain} case: it serves"
                if len(cases) > 1:
                    who = f"all {len(cases)} {domain} cases are of one patient: they serve"
                own = f", data.{domain}.patient=case makes each case a patient of its own" if len(cases) > 1 else ""
                notes.append(
                    f"{who} training and validation, so no figure is held out; "
                    f"data.split.mode=slab sets slices apart{own}"
                )
            elif not split["val"]:
                notes.append(f"no {domain} case is left for validation: it looks at those that are trained on")
        return notes

    def _checks(self) -> Iterator[Callable[[], object]]:
        """Each raises its own UserError, if any; later ones build on what earlier ones made."""
        yield lambda: self.found
        if _refusal(lambda: self.found):
            return
        for domain, cases in self.found.items():
            for case in cases:
                yield partial(self.header, case, domain)
        yield lambda: self.settings
        if self.readable:
            for domain, cases in self.found.items():
                for case in cases:
                    yield partial(self._check_size, case, domain)
                    yield partial(self._check_masks, case, domain)
        yield self._check_twins
        yield self._check_parts

    def _check_size(self, case: Case, domain: str) -> None:
        check_size(case, self.header(case, domain), self.settings[domain], self.keys.of(domain).patch)

    def _check_masks(self, case: Case, domain: str) -> None:
        masks = find_masks(self.settings[domain].masks, case, domain)
        header = self._probed[domain][case.name]
        if isinstance(header, Header):
            check_masks(masks, header)

    def _check_twins(self) -> None:
        marks = {
            f"{domain} case {case.name} ({case.path})": [str(case.path.resolve())]
            for domain, cases in self.found.items()
            for case in cases
        }
        if (line := twins(marks)) is not None:
            raise UserError(line)

    def _check_parts(self) -> None:
        if self.keys.split.mode != "slab":
            _ = self.split
            return
        for domain, cases in self.found.items():
            for case in cases:
                if case.part is not None:
                    raise UserError(
                        f"data.list puts {domain} case {case.name} into {case.part}, but data.split.mode=slab cuts "
                        "each case: leave the column part empty"
                    )

    def header(self, case: Case, domain: str) -> Header:
        """A case's header.

        Raises:
            UserError: It cannot be read.
        """
        header = self._probed[domain][case.name]
        if isinstance(header, UserError):
            raise header
        return header

    @cached_property
    def _probed(self) -> dict[str, dict[str, Header | UserError]]:
        """Domain -> case -> its header, or why there is none."""
        return {
            domain: {case.name: self._probe(case, domain) for case in cases} for domain, cases in self.found.items()
        }

    def _probe(self, case: Case, domain: str) -> Header | UserError:
        keys = self.keys.of(domain)
        file_spacing = keys.file_spacing if case.file_spacing is None else case.file_spacing
        try:
            return probe(case.path, file_spacing, keys.series, _spacing(keys))
        except UserError as error:
            return error  # told with all others by `check`


def _refusal(check: Callable[[], object]) -> list[str]:
    try:
        check()
    except CollectedError as error:
        return error.problems
    except UserError as error:
        return [str(error)]
    return []


def _spacing(keys: Domain) -> float | None:
    """In-plane spacing to resample to, in mm; None for native."""
    return None if isinstance(keys.spacing, str) else float(keys.spacing)
