"""A scan enlarged by ours and by its peers, with the same weights: `python -m benchmarks.inference`.

Peers take turns, each in a process of its own, from the call to the written .nii file; see docs/performance.md.
"""

from __future__ import annotations

import argparse
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from math import prod
from pathlib import Path
from statistics import median

import torch

from benchmarks.inference_inputs import write_chest, write_paper, write_tiled
from benchmarks.inference_peers import (
    HALO,
    HEADS,
    MONAI,
    OURS,
    PEERS,
    TEXTBOOK,
    WHOLE,
    Job,
    Setting,
    Textbook,
    generator,
    load,
)
from benchmarks.inference_turns import Turn, alone, counted, fastest, look, take_turn
from benchmarks.machine import machine, peak
from benchmarks.rounds import table
from ctsr.imaging.formats.readers import free_memory, read_volume
from ctsr.imaging.orientation import canonical
from ctsr.imaging.volume import SCALE, Volume

ROOT = Path(__file__).resolve().parents[1]
SHIPPED = ROOT / "docs/results/phantom.ckpt"
TILES = (32, 64, 96, 128, 192, 256, 384)
LAYERS = 4  # of the widest layer's size that a whole slice takes, on the safe side
SHARE = 0.8  # of free memory that it may take
LONG = (64, 256)  # slices, of which memory is compared
NARROW = (4, 1)  # channels and blocks of the network for long scans
SOME = 4  # slices that the full network enlarges of them


def original_flops(job: Job) -> int:
    """FLOPs of the original network on a whole slice: nothing is computed."""
    network = Textbook(generator(load(job))).to("meta")
    _, _, top, bottom, left, right = job.part
    return counted(network, torch.empty(1, 1, bottom - top, right - left, device="meta"))[1]


def whole_bytes(job: Job, pixels: int) -> int:
    """Memory that a whole image takes: the widest layer has four times the channels, at four times the resolution."""
    return LAYERS * (SCALE // 2) ** 2 * 4 * generator(load(job)).last.in_channels * 4 * pixels


def room(device: str) -> float:
    """Bytes that a whole slice may take."""
    if device == "cuda":
        return SHARE * torch.cuda.mem_get_info()[0]
    free = free_memory()
    return float("inf") if free is None else SHARE * free


def largest_tile(job: Job, limit: Turn) -> tuple[int, str]:
    """The largest tile with a halo that takes no more memory than a turn did, and what is to be told of it."""
    _, _, top, bottom, left, right = job.part
    part = (job.part[0], job.part[0] + 1, *job.part[2:])
    best = 0
    for tile in (tile for tile in TILES if tile == TILES[0] or tile < max(bottom - top, right - left)):
        turn = alone(take_turn, replace(job, part=part, how=replace(job.how, tile=tile, one_tile=True)))
        if held(turn, job.device) > held(limit, job.device):
            break
        best = tile
    if best:
        return best, f"tiles with a halo: {best} pixels, the largest tried that take no more memory than ours"
    return TILES[0], f"tiles with a halo: {TILES[0]} pixels, the smallest tried, which take more memory than ours"


def held(turn: Turn, device: str) -> int:
    """Bytes of the memory that is scarce."""
    return turn.on_gpu if device == "cuda" else turn.memory


def prepared(job: Job, peers: Sequence[str], rois: Sequence[int], folder: Path) -> tuple[list[Job], list[str]]:
    """The jobs of the peers at their best settings, and what is to be told of these."""
    told: list[str] = []
    how = Setting()
    if {TEXTBOOK, MONAI} & set(peers):
        how = alone(fastest, replace(job, peer=TEXTBOOK if TEXTBOOK in peers else MONAI), rois)
        layout = "channels_last" if how.channels_last else "NCHW"
        told.append(f"MONAI at its fastest: roi {how.roi}, sw_batch_size {how.batch}, {layout}")
    else:
        how = replace(how, channels_last=True)
    if HALO in peers:
        limit = alone(take_turn, replace(job, peer=OURS))
        tile, line = largest_tile(replace(job, peer=HALO, how=how), limit)
        how = replace(how, tile=tile)
        told.append(line)
    pixels = (job.part[3] - job.part[2]) * (job.part[5] - job.part[4])
    need, free = whole_bytes(job, pixels), room(job.device)
    if WHOLE in peers and need > free:
        told.append(f"whole: not run: needs {need / 1e9:.1f} GB, {free / 1e9:.1f} may be taken")
        peers = [peer for peer in peers if peer != WHOLE]
    return [
        replace(job, peer=peer, how=how, output=folder / f"{name}.nii") for name, peer in PEERS.items() if peer in peers
    ], told


def compare(job: Job, peers: Sequence[str], rois: Sequence[int], rounds: int, folder: Path) -> str:
    """The tables.

    Args:
        job: Ours; its output is for trials alone.
        peers: Which take part.
        rois: Of MONAI, to choose from.
        rounds: Turns of each.
        folder: For results.
    """
    jobs, told = prepared(job, peers, rois, folder)
    side = largest_square(job)
    looks = alone(look, jobs, side)
    told.append(f"differences are those of a slice, or of {side} x {side} pixels in its middle where it is larger")
    turns: dict[str, list[Turn]] = {one.peer: [] for one in jobs}
    limits: list[float] = []
    for _ in range(rounds):
        limits.append(alone(peak, job.device, job.precision))
        for one in jobs:
            try:
                turns[one.peer].append(alone(take_turn, one))
            except BrokenProcessPool:  # the system has ended it, for its memory
                turns[one.peer] = []
                jobs = [other for other in jobs if other is not one]
                told.append(f"{one.peer}: not run: its process was ended, most likely for its memory")
    turns = {peer: taken for peer, taken in turns.items() if taken}
    slices, voxels = job.part[1] - job.part[0], SCALE**2 * prod(_sizes(job))
    original = original_flops(job)
    told.append(f"the original network on the whole slice: {original / 1e12:.3g} TFLOP")
    told.append(f"the peak of matrix products: {spread([limit / 1e12 for limit in limits])} TFLOP/s")
    header = ["", "head", "Mvoxel/s, end to end", "network alone", "outside the network", "memory, GB"]
    header += ["on the GPU, GB"] if job.device == "cuda" else []
    header += ["most apart from the whole", "TFLOP a slice", "of the original's", "of the peak"]
    rows = []
    for peer, taken in turns.items():
        flops = looks[peer].flops
        rows.append(
            [
                peer,
                HEADS[peer],
                spread([voxels / turn.seconds / 1e6 for turn in taken]),
                spread([voxels / turn.network / 1e6 for turn in taken]),
                spread([100 * (1 - turn.network / turn.seconds) for turn in taken]) + " %",
                spread([turn.memory / 1e9 for turn in taken]),
                *([spread([turn.on_gpu / 1e9 for turn in taken])] if job.device == "cuda" else []),
                f"{looks[peer].apart:.1e}",
                f"{flops / 1e12:.3g}",
                f"{flops / original:.2f}",
                spread([100 * flops * slices / turn.network / limit for turn, limit in zip(taken, limits, strict=True)])
                + " %",
            ]
        )
    return "\n\n".join(["\n".join(told), table(header, rows), ratios(turns)])


def ratios(turns: Mapping[str, Sequence[Turn]]) -> str:
    """How many times as fast as each peer ours is, round by round; nothing to tell where ours takes no part."""
    if OURS not in turns:
        return ""
    rows = [
        [
            peer,
            spread([theirs.seconds / ours.seconds for theirs, ours in zip(taken, turns[OURS], strict=True)]),
            spread([theirs.network / ours.network for theirs, ours in zip(taken, turns[OURS], strict=True)]),
        ]
        for peer, taken in turns.items()
        if peer != OURS
    ]
    return table(["ours is × times as fast as", "end to end", "network alone"], rows)


def spread(values: Sequence[float]) -> str:
    """Median and range."""
    middle, least, most = (f"{value:.3g}" for value in (median(values), min(values), max(values)))
    return f"{middle} ({least} to {most})"


def largest_square(job: Job) -> int:
    """Side of the largest square of a slice that memory holds at once; the whole slice where it does."""
    side = max(_sizes(job)[1:])
    while whole_bytes(job, side**2) > room(job.device):
        side -= 16
    return side


def _sizes(job: Job) -> tuple[int, int, int]:
    z0, z1, y0, y1, x0, x1 = job.part
    return z1 - z0, y1 - y0, x1 - x0


def memory(scan: Volume, checkpoints: Sequence[Path], folder: Path, device: str, long: Sequence[int]) -> str:
    """Our memory over scans of different length, as a table.

    Args:
        scan: That is repeated; canonical orientation.
        checkpoints: Of a narrow network, for all of it, and of the full one, for some slices.
        folder: To work in.
        device: To work on.
        long: Slices of the scans.
    """
    rows = []
    for checkpoint, name, most in zip(checkpoints, ("narrow", "full"), (None, SOME), strict=True):
        found = []
        for slices in long:
            path = folder / f"{slices}.nii"
            write_tiled(path, scan, slices)
            part = (0, slices if most is None else min(most, slices), 0, scan.shape[1], 0, scan.shape[2])
            found.append(alone(take_turn, Job(OURS, checkpoint, path, folder / "ours.nii", part, device)).memory)
            path.unlink()
            (folder / "ours.nii").unlink()
        rows.append([name, "all" if most is None else str(most), *(f"{one / 1e6:.0f}" for one in found)])
        rows[-1].append(f"{found[-1] / found[0]:.2f}")
    header = ["network", "slices enlarged", *(f"scan of {slices} slices, MB" for slices in long), "ratio"]
    return table(header, rows)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.inference", description=__doc__)
    parser.add_argument("--network", choices=("paper", "shipped"), default="paper", help="SRGAN's, random, or trained")
    parser.add_argument("--channels", type=int, default=64, help="of the paper's network")
    parser.add_argument("--blocks", type=int, default=16, help="of the paper's network")
    parser.add_argument("--scan", type=Path, help="a scan of any format; left out: a synthetic one")
    parser.add_argument("--slices", type=int, default=4, help="in the scan's middle")
    parser.add_argument("--crop", type=int, help="side of a square in the slices' middle; left out: whole slices")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--peers", nargs="+", choices=tuple(PEERS), default=list(PEERS))
    parser.add_argument("--roi", type=int, nargs="+", default=[32, 64, 96], help="windows of MONAI to choose from")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--precision", choices=("32", "bf16"), default="32")
    parser.add_argument("--keep", type=Path, help="folder to leave the results in")
    parser.add_argument("--memory", action="store_true", help="our memory over long scans instead")
    parser.add_argument("--long", type=int, nargs="+", default=list(LONG), help="slices of these scans")
    asked = parser.parse_args(arguments)
    warnings.filterwarnings("ignore")
    with tempfile.TemporaryDirectory() as scratch:
        folder = asked.keep or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        scan_path = asked.scan or Path(scratch) / "chest.nii"
        if asked.scan is None:
            write_chest(scan_path, max(asked.slices, 8))
        scan, _ = canonical(read_volume(scan_path))
        part = middle(scan.shape, asked.slices, asked.crop)
        checkpoint = SHIPPED
        pixel = scan.spacing[1:]
        if asked.network == "paper":
            checkpoint = Path(scratch) / "paper.ckpt"
            write_paper(checkpoint, asked.channels, asked.blocks, pixel)
        network = (
            "shipped" if asked.network == "shipped" else f"paper, {asked.channels} channels, {asked.blocks} blocks"
        )
        sizes = " x ".join(str(high - low) for low, high in zip(part[::2], part[1::2], strict=True))
        print(f"{network}, {asked.precision}, {asked.device}, {machine(asked.device)}", end="\n\n")
        if asked.memory:
            narrow = Path(scratch) / "narrow.ckpt"
            write_paper(narrow, *NARROW, pixel)
            top, bottom, left, right = part[2:]
            square = replace(scan, array=scan.array[:, top:bottom, left:right])
            print(memory(square, (narrow, checkpoint), Path(scratch), asked.device, asked.long))
            return
        print(f"{sizes} voxels of a scan of {' x '.join(map(str, scan.shape))}\n")
        job = Job(OURS, checkpoint, scan_path, Path(scratch) / "trial.nii", part, asked.device, asked.precision)
        del scan
        print(compare(job, [PEERS[peer] for peer in asked.peers], asked.roi, asked.rounds, folder))


def middle(shape: tuple[int, int, int], slices: int, side: int | None) -> tuple[int, int, int, int, int, int]:
    """The part in the middle of a scan."""
    wanted = (slices, side or shape[1], side or shape[2])
    lows = [max(have - want, 0) // 2 for have, want in zip(shape, wanted, strict=True)]
    z, y, x = (min(have, want) for have, want in zip(shape, wanted, strict=True))
    return lows[0], lows[0] + z, lows[1], lows[1] + y, lows[2], lows[2] + x


if __name__ == "__main__":
    main()
