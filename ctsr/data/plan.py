"""What the data keys of a configuration come to: the cases, how each is prepared, their parts, and what stands against.

Nothing here reads voxels; a training does what is planned, and `ctsr.data.inspect --config` tells it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from statistics import median
from typing import Any

from ctsr.data.case_list import read_list
from ctsr.data.cases import Case, find_cases
from ctsr.data.masks import check_masks, find_masks
from ctsr.data.patients import pseudonym
from ctsr.data.prepared import check_size, of_case
from ctsr.data.prepared_grid import canonical_spacing, prepared_spacing
from ctsr.data.scales import scale_ratio, scale_warning
from ctsr.data.settings import ClinicalSettings, MicroSettings, Settings
from ctsr.data.splits import PARTS, SlabSplit, Split, shared_cases, split_cases
from ctsr.data.twins import twins
from ctsr.errors import CollectedError, UserError
from ctsr.imaging.readers import probe
from ctsr.imaging.volume import Header
from ctsr.imaging.voxel_size import plausible
from ctsr.records.clashes import data_clashes
from ctsr.records.data import SMALLEST_PATCH

DOMAINS = ("clinical", "micro")


@dataclass(frozen=True, eq=False)
class Plan:
    """The data of one training.

    Attributes:
        keys: As `conf/data/volumes.yaml` has them; of these `clinical`, `micro`, `split` and `list`.
        seed: Of the split.
        needed: Domains that the stage cannot do without.
    """

    keys: Mapping[str, Any]
    seed: int
    needed: Sequence[str]

    @cached_property
    def found(self) -> dict[str, list[Case]]:
        """Domain -> its cases, of each domain that is given.

        Raises:
            UserError: Domains that are needed are not given, or have no cases.
        """
        rules = {domain: _text(self.keys[domain].get("patient")) for domain in DOMAINS}
        listed = self.keys.get("list")
        cases = {} if listed is None else read_list(listed, rules)
        problems: list[str] = []
        for domain in DOMAINS:
            keys = self.keys[domain]
            if domain not in cases and keys["root"] is not None:
                try:
                    cases[domain] = find_cases(keys["root"], domain, keys.get("files"), rules[domain])
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
        settings: dict[str, Settings] = {}
        for domain in self.found:
            keys = self.keys[domain]
            common = {
                "spacing": _spacing(domain, keys),
                "file_spacing": keys["file_spacing"],
                "series": _text(keys["series"]),
                "masks": keys["masks"],
            }
            if domain == "clinical":
                settings[domain] = ClinicalSettings(window=tuple(keys["window"]), **common)
            else:
                settings[domain] = MicroSettings(slab_mm=self.slab_mm, percentiles=tuple(keys["percentiles"]), **common)
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
        spacings = [canonical_spacing(header)[0] for header in self._headers("clinical")]
        if not spacings:
            raise UserError("data.micro.slab_mm=auto takes the clinical slice spacing, but no clinical scan is read")
        return round(median(spacings), 4)

    @cached_property
    def split(self) -> dict[str, Split]:
        """Domain -> part -> names of cases; in mode slab each case is cut instead, and is in none."""
        if self.keys["split"]["mode"] == "slab":
            return {}
        return split_cases(self.found, self.keys["split"]["val"], self.keys["split"]["test"], self.seed)

    @property
    def slabs(self) -> SlabSplit:
        """How each case is cut in mode slab."""
        split = self.keys["split"]
        return SlabSplit(split["val"], split["test"], split["gap_mm"])

    @cached_property
    def scale_ratio(self) -> float | None:
        """How much larger clinical pixels are than those of f(x), see `ctsr.data.scales`; None without both domains."""
        spacings = {
            domain: [prepared_spacing(header, settings)[1] for header in self._headers(domain)]
            for domain, settings in self.settings.items()
        }
        if not all(spacings.get(domain) for domain in DOMAINS):
            return None
        return round(scale_ratio(spacings["clinical"], spacings["micro"]), 4)

    def listed(self) -> dict[str, list[Case]]:
        """Domain -> cases with the part each is in and the masks it has: what a list of cases holds.

        Patients that neither paths nor names tell, such as those of DICOM headers, have pseudonyms.
        """
        everyone = [case for cases in self.found.values() for case in cases]
        hidden = {c.patient for c in everyone if c.patient not in c.name and c.patient not in c.path.parts}
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
        problems = [*self._wrong_keys(), *(line for checked in self._checks() for line in _refusal(checked))]
        if problems:
            raise CollectedError(list(dict.fromkeys(problems)))

    @property
    def readable(self) -> bool:
        """Whether the cases and how they are prepared are known, whatever else stands against a training."""
        return not _refusal(lambda: (self.found, self.settings))

    def notes(self) -> list[str]:
        """What should be known before a training, but does not stand against it."""
        notes = [note for note in [scale_warning(self.scale_ratio)] if note is not None]
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

    def _wrong_keys(self) -> Iterator[str]:
        clinical, micro, split = (self.keys[name] for name in ("clinical", "micro", "split"))
        if clinical["patch"] < SMALLEST_PATCH or clinical["patch"] % 4:
            yield (
                f"data.clinical.patch={clinical['patch']}: give a multiple of 4, "
                f"at least {SMALLEST_PATCH}, for the networks' strides and the window of SSIM"
            )
        if micro["target"] not in ("centre", "slab"):
            yield f"data.micro.target={micro['target']}: give centre or slab"
        if split["mode"] not in ("case", "slab"):
            yield f"data.split.mode={split['mode']}: give case or slab"
        yield from data_clashes(self.keys)

    def _checks(self) -> Iterator[Callable[[], object]]:
        """Each raises its own UserError, if any; later ones build on what earlier ones made."""
        yield lambda: self.found
        if _refusal(lambda: self.found):
            return
        yield lambda: self.settings
        if self.readable:
            for domain, cases in self.found.items():
                for case in cases:
                    yield partial(self._check_size, case, domain)
                    yield partial(self._check_masks, case, domain)
        yield self._check_twins
        yield self._check_parts

    def _check_size(self, case: Case, domain: str) -> None:
        header = self._probed[domain][case.name]
        if isinstance(header, UserError):
            raise header
        check_size(case, header, self.settings[domain], self.keys[domain]["patch"])

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
        if self.keys["split"]["mode"] != "slab":
            _ = self.split
            return
        for domain, cases in self.found.items():
            for case in cases:
                if case.part is not None:
                    raise UserError(
                        f"data.list puts {domain} case {case.name} into {case.part}, but data.split.mode=slab cuts "
                        "each case: leave the column part empty"
                    )

    @cached_property
    def _probed(self) -> dict[str, dict[str, Header | UserError]]:
        """Domain -> case -> its header, or why there is none."""
        return {
            domain: {case.name: self._probe(case, domain) for case in cases} for domain, cases in self.found.items()
        }

    def _headers(self, domain: str) -> list[Header]:
        """The headers of a domain, as far as they can be read."""
        return [header for header in self._probed.get(domain, {}).values() if isinstance(header, Header)]

    def _probe(self, case: Case, domain: str) -> Header | UserError:
        keys = self.keys[domain]
        file_spacing = keys["file_spacing"] if case.file_spacing is None else case.file_spacing
        spacing = _spacing(domain, keys)
        try:
            return probe(case.path, file_spacing, _text(keys["series"]), spacing)
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


def _spacing(domain: str, keys: Mapping[str, Any]) -> float | None:
    """In-plane spacing to resample to, in mm; None for native."""
    given = keys["spacing"]
    if given == "native":
        return None
    if not isinstance(given, int | float) or isinstance(given, bool) or plausible(given) is None:
        raise UserError(f"data.{domain}.spacing={given}: give millimetres, or native")
    return float(given)


def _text(value: object) -> str | None:
    """A series' number, or a patient's, may come as one."""
    return None if value is None else str(value)
