"""Patches per second of this project's data path beside MONAI's and TorchIO's: `python -m benchmarks.data`.

All cut 256x256 squares at random out of one volume that is ready on disk or in memory, and give batches of 16 float32
tensors. Ours and TorchIO's know nothing of it before; MONAI's cache is filled before the clock starts.
"""

from __future__ import annotations

import argparse
import itertools
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.data import CacheDataset, DataLoader, list_data_collate, set_track_meta
from monai.transforms import Compose, EnsureChannelFirstd, LoadImaged, RandSpatialCropSamplesd

from benchmarks.rounds import Work, rates, table
from ctsr.data.patches import PatchDataset, PatchSource, StreamSampler, as_it_is
from ctsr.data.preparing.store import PreparedCase
from ctsr.imaging.intensity import Window

PATCH, BATCH = 256, 16
GIB = 2**30


def make_case(folder: Path, shape: tuple[int, int, int], sparse: bool = False) -> PreparedCase:
    """A prepared case whose mask is an elliptic cylinder; a sparse one holds zeros that take no room on the disk."""
    folder.mkdir()
    y, x = np.ogrid[-1 : 1 : shape[1] * 1j, -1 : 1 : shape[2] * 1j]
    inside = y**2 + x**2 < 0.98
    rng = np.random.default_rng(0)
    for name, kind in (("image", np.float16), ("slab", np.float16), ("mask", bool)):
        array = np.lib.format.open_memmap(folder / f"{name}.npy", "w+", kind, shape)
        for z in range(shape[0]):
            if name == "mask":
                array[z] = inside
            elif not sparse:
                array[z] = rng.normal(0, 0.3, shape[1:])
        array.flush()
    affine = np.diag([0.078125] * 3 + [1.0])
    return PreparedCase(folder, folder.name, "micro", Window(0, 1), affine, shape[1:], range(shape[0]))


def ours(case: PreparedCase, augment: bool, names: dict[str, str], workers: int = 0) -> DataLoader:
    """Our loader over endless epochs."""
    dataset = PatchDataset([PatchSource([case], names, PATCH, 0.8)], 10**6, seed=0, augment=augment)
    sampler = StreamSampler(10**6, BATCH)
    return DataLoader(dataset, batch_size=BATCH, sampler=sampler, num_workers=workers, collate_fn=as_it_is)


def endless(loader: Any) -> Iterator[Any]:
    """Batches of epoch after epoch."""
    return itertools.chain.from_iterable(itertools.repeat(loader))


def counted(batches: Iterator[Any]) -> Work:
    """Takes a batch at a time and says how many patches it has."""

    def work() -> int:
        batch = next(batches)
        patches = batch["image"] if "image" in batch else batch["micro"]
        data = patches["data"] if isinstance(patches, dict) else patches
        return len(data)

    return work


def monai(path: Path, tuned: bool) -> Work:
    """`CacheDataset` with `RandSpatialCropSamplesd`: as in MONAI's tutorials, or at its best."""
    samples = BATCH if tuned else 4
    crop = RandSpatialCropSamplesd("image", (1, PATCH, PATCH), num_samples=samples, random_size=False)
    transform = Compose([LoadImaged("image"), EnsureChannelFirstd("image", channel_dim="no_channel"), crop])
    set_track_meta(not tuned)
    dataset = CacheDataset([{"image": str(path)}], transform, progress=False, copy_cache=not tuned)
    loader = DataLoader(dataset, batch_size=1, collate_fn=list_data_collate)
    work = counted(endless(loader))

    def with_its_settings() -> int:
        set_track_meta(not tuned)
        return work()

    return with_its_settings


def torchio(path: Path, tuned: bool) -> Work | None:
    """`Queue` with `UniformSampler` as in TorchIO's documentation, or the sampler alone on a volume in memory."""
    try:
        import torchio as tio
    except ImportError:
        return None
    volume = torch.from_numpy(np.load(path).astype(np.float32)).permute(2, 1, 0)[None]  # x, y, z as TorchIO has it
    sampler = tio.data.UniformSampler((PATCH, PATCH, 1))
    if tuned:
        subject = tio.Subject(image=tio.ScalarImage(tensor=volume))
        generator = itertools.chain.from_iterable(sampler(subject) for _ in itertools.repeat(None))

        def work() -> int:
            patches: list[Any] = list(itertools.islice(generator, BATCH))
            return len(torch.stack([patch["image"].data for patch in patches]))

        return work
    file = path.with_name("volume.nii")
    tio.ScalarImage(tensor=volume).save(file)
    subjects = tio.SubjectsDataset([tio.Subject(image=tio.ScalarImage(file))])
    queue = tio.Queue(subjects, max_length=256, samples_per_volume=256, sampler=sampler, num_workers=0)
    return counted(endless(tio.SubjectsLoader(queue, batch_size=BATCH, num_workers=0)))


def compare(shape: tuple[int, int, int], rounds: int, seconds: float) -> str:
    """The table: patches per second, and ours (the same work: no turning, one image) as a multiple."""
    with tempfile.TemporaryDirectory() as temporary:
        case = make_case(Path(temporary) / "case", shape)
        volume = case.folder / "float.npy"
        np.save(volume, np.asarray(case.image, dtype=np.float32))
        contenders: dict[str, Work | None] = {
            "ours": counted(endless(ours(case, False, {"micro": "image"}))),
            "ours, turned": counted(endless(ours(case, True, {"micro": "image"}))),
            "ours, turned, with slab": counted(endless(ours(case, True, {"micro": "image", "slab": "slab"}))),
            "MONAI, as in its tutorials": monai(volume, tuned=False),
            "MONAI, at its best": monai(volume, tuned=True),
            "TorchIO, as in its documentation": torchio(volume, tuned=False),
            "TorchIO, at its best": torchio(volume, tuned=True),
        }
        found = rates({name: work for name, work in contenders.items() if work is not None}, rounds, seconds)
    set_track_meta(True)
    lines = []
    for name in contenders:
        rate = found.get(name)
        cells = ["not installed", ""] if rate is None else [f"{rate:,.0f}", f"{found['ours'] / rate:.2f}"]
        lines.append([name, *cells])
    return table(["loader", "patches/s", "ours is x times as fast"], lines)


def memory(gib: float, workers: int, batches: int) -> str:
    """The table: most memory of each worker, looked at after every tenth of many batches of one large case."""
    with tempfile.TemporaryDirectory() as temporary:
        side = 1024
        case = make_case(Path(temporary) / "case", (max(1, int(gib * GIB / 2 / side**2)), side, side), sparse=True)
        loader = iter(ours(case, True, {"micro": "image", "slab": "slab"}, workers))
        processes = [worker.pid for worker in loader._workers]  # type: ignore[attr-defined]
        most = [(0, 0)] * workers
        for left in reversed(range(batches)):
            next(loader)
            if left % 10 == 0:
                most = [max(known, _memory(process)) for known, process in zip(most, processes, strict=True)]
        del loader
    lines = [
        [f"{number + 1} of {workers}", f"{resident / GIB:.2f}", f"{private / GIB:.2f}"]
        for number, (resident, private) in enumerate(most)
    ]
    return table(["worker", f"resident, GiB at most (case: {gib:g} GiB)", "of it its own, GiB"], lines)


def _memory(process: int) -> tuple[int, int]:
    """Bytes of memory that a process has mapped and in use, and those that are not files' or others'."""
    sizes = {}
    for line in Path(f"/proc/{process}/smaps_rollup").read_text(encoding="utf-8").splitlines()[1:]:
        name, size = line.split()[:2]
        sizes[name] = int(size) * 1024
    return sizes["Rss:"], sizes["Private_Dirty:"]


def main(arguments: list[str] | None = None) -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.data", description=__doc__)
    parser.add_argument("--shape", type=int, nargs=3, default=(300, 600, 600), help="of the volume (z, y, x)")
    parser.add_argument("--rounds", type=int, default=5, help="turns that each loader has")
    parser.add_argument("--seconds", type=float, default=2.0, help="shortest turn")
    parser.add_argument(
        "--memory", type=float, metavar="GIB", help="measure the memory of workers, with a case so large"
    )
    parser.add_argument("--workers", type=int, default=4, help="with --memory")
    parser.add_argument("--batches", type=int, default=2000, help="with --memory")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    print(f"{os.cpu_count()} cores, torch {torch.__version__}\n")
    if options.memory:
        print(memory(options.memory, options.workers, options.batches))
    else:
        print(compare(tuple(options.shape), options.rounds, options.seconds))


if __name__ == "__main__":
    main()
