"""The store of prepared cases: each made once, memory-mapped ever after.

A case lies in `<cache>/<name>-<key>/`; the key stands for the scan's bytes and the settings, so that neither can change
unnoticed. The folder gets its name when it is complete; what is damaged later is noticed and made anew.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ctsr.data.finding.cases import Case
from ctsr.data.finding.masks import find_masks
from ctsr.data.preparing.grid import prepared_plane
from ctsr.data.preparing.hashes import remember, remembered_hash
from ctsr.data.preparing.settings import Settings
from ctsr.errors import UserError, warn
from ctsr.files import content_hash, locked
from ctsr.imaging.intensity import Window
from ctsr.imaging.volume import Affine, Header, Spacing, spacing_of
from ctsr.records.case import CaseFacts
from ctsr.records.data import smallest_patch
from ctsr.writable import check_writable

FORMAT = 8  # raise it whenever preparation changes what it makes of the same scan
ARRAYS = ("image", "slab", "mask")


@dataclass(frozen=True, eq=False)
class PreparedCase:
    """A prepared case, or a range of its slices. Cheap to pickle: it holds a path and maps the arrays when asked.

    Attributes:
        folder: Where it is stored.
        name: The case's.
        domain: "clinical" or "micro".
        window: Scanner greys of -1 and +1.
        whole_affine: Affine of the whole case, array axes (z, y, x) to RAS+ mm.
        plane: In-plane size (y, x).
        slices: The slices of the whole case that this is a view of.
    """

    folder: Path
    name: str
    domain: str
    window: Window
    whole_affine: Affine
    plane: tuple[int, int]
    slices: range

    @property
    def shape(self) -> tuple[int, int, int]:
        """(z, y, x) of the arrays."""
        return (len(self.slices), *self.plane)

    @property
    def affine(self) -> Affine:
        """Affine of the arrays."""
        affine = self.whole_affine.copy()
        affine[:3, 3] += affine[:3, 0] * self.slices.start
        return affine

    @property
    def spacing(self) -> Spacing:
        """Voxel size (z, y, x) in mm."""
        return spacing_of(self.whole_affine)

    @cached_property
    def image(self) -> npt.NDArray[np.float16]:
        """Slices in [-1, 1], memory-mapped."""
        return self._map("image")

    @cached_property
    def slab(self) -> npt.NDArray[np.float16]:
        """The same, each averaged with its neighbours to the clinical slice thickness; `image`, if none are."""
        return self._map("slab") if (self.folder / "slab.npy").exists() else self.image

    @cached_property
    def mask(self) -> npt.NDArray[np.bool_]:
        """True in the lungs or the specimen, memory-mapped."""
        return self._map("mask")

    @cached_property
    def facts(self) -> CaseFacts:
        """What `case.json` tells of the whole case."""
        return _read_facts(self.folder)

    def unmap(self) -> None:
        """Let go of the arrays' maps: pages that were looked at count as this process's memory until then."""
        for name in ARRAYS:
            self.__dict__.pop(name, None)

    def view(self, slices: range) -> PreparedCase:
        """A consecutive range of the whole case's slices as a case of its own."""
        return replace(self, slices=slices)

    def _map(self, name: str) -> npt.NDArray[Any]:
        whole: npt.NDArray[Any] = np.load(self.folder / f"{name}.npy", mmap_mode="r")
        return whole[self.slices.start : self.slices.stop]

    def __getstate__(self) -> dict[str, Any]:
        # A mapped array would be pickled as a copy.
        return {key: value for key, value in self.__dict__.items() if key not in (*ARRAYS, "facts")}


def check_store(key: str, cache: str | Path) -> None:
    """Makes sure, before scans are looked for, that a store which holds no case yet can be written.

    Whether something is left to prepare in one that holds some is known when `prepare` has looked at the scans: a
    complete one may be read-only.

    Raises:
        UserError: It cannot; its key is named.
    """
    if not any(Path(cache).glob("*/case.json")):
        check_writable(key, Path(cache))


def prepare_all(
    cases: Sequence[Case], settings: Settings, cache: str | Path, show_progress: bool = True, key: str = "data.cache"
) -> list[PreparedCase]:
    """`prepare` each case, with a progress bar."""
    from rich.progress import Progress  # here, since training on prepared cases should not need it

    prepared = []
    with Progress(disable=not show_progress) as bar:  # which an error ends, before it is told
        task = bar.add_task(f"preparing {settings.domain} cases", total=len(cases))
        for case in cases:
            prepared.append(prepare(case, settings, cache, key))
            bar.advance(task)
    return prepared


def prepare(case: Case, settings: Settings, cache: str | Path, key: str = "data.cache") -> PreparedCase:
    """Prepare a case, or find it prepared.

    Several processes may ask at once: one does the work, the others wait for its result.

    Args:
        case: What to prepare.
        settings: How; also says which domain it is.
        cache: Folder of the store; made if need be. A case that was damaged there is made anew. Where nothing is left
            to prepare it may be read-only.
        key: That the store was given by.

    Raises:
        UserError: The scan cannot be read or used, or the store not be written; the message names the case, or the key.
    """
    cache = Path(cache)
    cache.mkdir(parents=True, exist_ok=True)
    masks = find_masks(settings.masks, case, settings.domain)
    settings = of_case(settings, case)
    folder = cache / f"{case.name}-{_key(case, masks, settings, cache)}"
    if not folder.exists() or _damage(folder, cache):
        check_writable(key, cache)
        with locked(folder.with_name(folder.name + ".lock")):
            if folder.exists() and (damaged := _damage(folder, cache)):
                warn(f"{damaged} is damaged: {settings.domain} case {case.name} is prepared anew")
                shutil.rmtree(folder)
            if not folder.exists():
                _make(case, masks, settings, folder)
                made = _read_facts(folder).files
                remember({folder / name: known.sha256 for name, known in made.items()}, cache)
    return _load(folder)


def of_case(settings: Settings, case: Case) -> Settings:
    """The settings of a domain with what is said of one case alone."""
    return settings if case.file_spacing is None else replace(settings, file_spacing=case.file_spacing)


def check_size(case: Case, header: Header, settings: Settings, patch: int) -> None:
    """Make sure, before any work, that a patch fits into a case.

    Raises:
        UserError: It does not; both sizes are named.
    """
    height, width = prepared_plane(header, settings)
    if min(height, width) < patch:
        spacing = "its own spacing" if settings.spacing is None else f"{settings.spacing:g} mm"
        ways = [] if settings.spacing is None else [f"set data.{settings.domain}.spacing=native"]
        if patch > smallest_patch(settings.domain):
            ways.append(f"{'' if ways else 'set '}a smaller data.{settings.domain}.patch")
        raise UserError(
            f"case {case.name} has {height} x {width} pixels at {spacing}, too few for a patch of {patch}: "
            f"{' or '.join(ways) or 'leave it out'}"
        )


def _key(case: Case, masks: Sequence[Path], settings: Settings, cache: Path) -> str:
    made_of: dict[str, Any] = {
        "format": FORMAT,
        "domain": settings.domain,
        "settings": asdict(settings) | {"masks": None},
    }
    made_of["content"] = [remembered_hash(path, cache) for path in (case.path, *masks)]
    return hashlib.blake2b(json.dumps(made_of, sort_keys=True).encode(), digest_size=8).hexdigest()


def _read_facts(folder: Path) -> CaseFacts:
    """What `case.json` of a prepared case holds; `ValueError` where it is not what was written."""
    return CaseFacts.model_validate(json.loads((folder / "case.json").read_text(encoding="utf-8")))


def _damage(folder: Path, cache: Path) -> Path | None:
    """The first of a case's files that is not there or not as it was; read only if it was touched since."""
    try:
        files = _read_facts(folder).files
    except (OSError, ValueError):
        return folder / "case.json"
    for name, known in files.items():
        file = folder / name
        if not file.is_file() or file.stat().st_size != known.bytes:
            return file
        if remembered_hash(file, cache) != known.sha256:
            return file
    return None


def _make(case: Case, masks: Sequence[Path], settings: Settings, folder: Path) -> None:
    # Here, since planning needs no readers, nor what finds lungs.
    from ctsr.data.preparing.preparation import case_facts, prepare_scan

    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)  # left by a process that was killed
    try:
        made = prepare_scan(case.path, masks, settings)
    except UserError as error:
        raise UserError(f"{settings.domain} case {case.name}: {error}") from error
    try:
        partial.mkdir()
        for name in ARRAYS:
            if (array := getattr(made, name)) is not None:
                np.save(partial / f"{name}.npy", array)
        volume = made.volume
        facts = {
            "name": case.name,
            "domain": settings.domain,
            "source": str(case.path.resolve()),
            "content": remembered_hash(case.path, folder.parent),
            "voxels": made.voxels,
            "shape": volume.array.shape,
            "spacing": volume.spacing,
            "affine": volume.affine.tolist(),
            "window": asdict(made.window),
            "settings": asdict(settings),
            **case_facts(made.scanned, volume, made.mask),
            "kernel": made.kernel,
            "files": {
                file.name: {"bytes": file.stat().st_size, "sha256": content_hash(file)}
                for file in sorted(partial.iterdir())
            },
        }
        (partial / "case.json").write_text(
            json.dumps(CaseFacts.model_validate(facts).to_plain(), indent=1), encoding="utf-8"
        )
        partial.rename(folder)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def _load(folder: Path) -> PreparedCase:
    facts = _read_facts(folder)
    slices, height, width = facts.shape
    return PreparedCase(
        folder=folder,
        name=facts.name,
        domain=facts.domain,
        window=Window(facts.window.low, facts.window.high),
        whole_affine=np.array(facts.affine),
        plane=(height, width),
        slices=range(slices),
    )
