"""Patches depend on (seed, epoch, index) alone, stay inside the mask, and keep µCT and slab together."""

from __future__ import annotations

import json
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from monai.data import DataLoader

from ctsr.data.patch_grid import patch_grid
from ctsr.data.patches import PatchDataset, PatchSource, StreamSampler, as_it_is
from ctsr.data.preparing.store import PreparedCase
from ctsr.errors import UserError
from ctsr.imaging.intensity import Window

SHAPE = (5, 64, 80)


def make_case(folder: Path, name: str, seed: int, domain: str = "micro") -> PreparedCase:
    """A case whose voxels are all different, with a round mask."""
    folder = folder / name
    folder.mkdir()
    image = np.random.default_rng(seed).uniform(-1, 1, SHAPE).astype(np.float16)
    y, x = np.indices(SHAPE[1:])
    mask = np.broadcast_to(np.hypot(y - 32, x - 40) < 30, SHAPE)
    for kind, array in (("image", image), ("slab", -image), ("mask", mask)):
        np.save(folder / f"{kind}.npy", array)
    (folder / "case.json").write_text(json.dumps({}))
    return PreparedCase(folder, name, domain, Window(0, 1), np.eye(4), SHAPE[1:], range(SHAPE[0]))


@pytest.fixture
def cases(tmp_path: Path) -> list[PreparedCase]:
    return [make_case(tmp_path, f"case{k}", seed=k) for k in range(3)]


def make_dataset(cases: list[PreparedCase], augment: bool = True, seed: int = 0) -> PatchDataset:
    sources = [
        PatchSource(cases, {"micro": "image", "slab": "slab"}, size=16, cover=0.7),
        PatchSource(cases[:2], {"clinical": "image"}, size=8, cover=0.9),
    ]
    return PatchDataset(sources, length=24, seed=seed, augment=augment)


def find(case: PreparedCase, patch: torch.Tensor) -> tuple[int, int, int] | None:
    """Where an unaugmented patch was cut out, by comparing with every place."""
    size = patch.shape[-1]
    views = np.lib.stride_tricks.sliding_window_view(case.image, (size, size), axis=(1, 2))
    hits = np.argwhere((views == patch[0].numpy().astype(np.float16)).all(axis=(-1, -2)))
    return tuple(int(v) for v in hits[0]) if len(hits) else None  # type: ignore[return-value]


def test_grid_against_counting_by_hand(cases: list[PreparedCase]) -> None:
    mask = np.asarray(cases[0].mask)
    expected = [
        (z, y, x)
        for z in range(SHAPE[0])
        for y in range(0, SHAPE[1] - 15, 2)
        for x in range(0, SHAPE[2] - 15, 2)
        if mask[z, y : y + 16, x : x + 16].mean() >= 0.7
    ]
    assert [tuple(corner) for corner in patch_grid(mask, 16, 0.7).tolist()] == expected


def test_item_depends_on_its_number_alone(cases: list[PreparedCase]) -> None:
    one, other = make_dataset(cases), make_dataset(cases)
    forwards = {n: one[n] for n in (0, 5, 24, 100)}
    for n in (100, 3, 24, 5, 0):  # another order, with another draw between
        item = other[n]
        for name, patch in forwards.get(n, item).items():
            assert torch.equal(item[name], patch)
    assert not torch.equal(one[0]["micro"], one[24]["micro"]), "the next epoch has new patches"
    assert not torch.equal(one[0]["micro"], make_dataset(cases, seed=1)[0]["micro"])


@pytest.mark.parametrize("workers", [1, 2])
def test_workers_draw_the_same(cases: list[PreparedCase], workers: int) -> None:
    dataset = make_dataset(cases)
    sampler = StreamSampler(len(dataset), 4)
    sampler.set_epoch(3)
    loader = DataLoader(dataset, batch_size=4, sampler=sampler, num_workers=workers, collate_fn=as_it_is)
    for batch, numbers in zip(islice(loader, 3), np.arange(72, 84).reshape(3, 4), strict=True):
        for name in ("micro", "slab", "clinical"):
            assert torch.equal(batch[name], torch.stack([dataset[int(n)][name] for n in numbers]))


def test_patches_lie_inside_the_mask(cases: list[PreparedCase]) -> None:
    dataset = make_dataset(cases, augment=False)
    offsets = set()
    for n in range(48):
        item = dataset[n]
        places = [(case, place) for case in cases if (place := find(case, item["micro"]))]
        assert len(places) == 1
        case, (z, y, x) = places[0]
        assert case.mask[z, y : y + 16, x : x + 16].mean() >= 0.7
        offsets.add((y % 2, x % 2))
    assert len(offsets) == 4, "places off the grid are drawn too"


def test_case_shares_are_equal_in_every_epoch(cases: list[PreparedCase]) -> None:
    dataset = make_dataset(cases, augment=False)
    for epoch in range(2):
        patches = [dataset[24 * epoch + n]["micro"] for n in range(24)]
        assert [sum(find(case, patch) is not None for patch in patches) for case in cases] == [8, 8, 8]


def test_slab_turns_with_the_image(cases: list[PreparedCase]) -> None:
    dataset, plain = make_dataset(cases), make_dataset(cases, augment=False)
    turned = set()
    for n in range(64):
        item = dataset[n]
        assert torch.equal(item["slab"], -item["micro"])
        original = plain[n]["micro"]
        ways = [torch.rot90(flipped, k, (1, 2)) for flipped in (original, original.flip(1)) for k in range(4)]
        turned |= {k for k, way in enumerate(ways) if torch.equal(way, item["micro"])}
    assert turned == set(range(8)), "all eight flips and quarter turns occur"


@pytest.mark.parametrize("processes", [1, 2, 4])
def test_global_batches_do_not_depend_on_the_processes(processes: int) -> None:
    samplers = [StreamSampler(30, 8, rank, processes) for rank in range(processes)]
    for sampler in samplers:
        sampler.set_epoch(2)
    share = 8 // processes
    per_rank = [np.array(list(sampler)).reshape(-1, share) for sampler in samplers]
    assert np.concatenate(per_rank, axis=1).tolist() == np.arange(60, 84).reshape(3, 8).tolist()
    assert all(len(sampler) == 3 * share for sampler in samplers)


def test_validation_sampler_stays() -> None:
    sampler = StreamSampler(8, 4, moving=False)
    sampler.set_epoch(5)
    assert list(sampler) == list(range(8))


def test_errors_name_key_and_numbers(cases: list[PreparedCase]) -> None:
    with pytest.raises(UserError, match="global_batch_size=6 cannot be divided over 4"):
        StreamSampler(24, 6, 0, 4)
    with pytest.raises(UserError, match=r"epoch of 4 patches is smaller than data.global_batch_size=8"):
        StreamSampler(4, 8)
    with pytest.raises(UserError, match="case0: no 60x60 patch lies 80% inside the micro mask"):
        PatchDataset([PatchSource(cases, {"micro": "image"}, 60, 0.8)], 8, 0)


def test_probes_take_turns_among_the_cases_and_tell_their_names(cases: list[PreparedCase]) -> None:
    dataset = make_dataset(cases, augment=False)
    batch, names = dataset.probes(6)
    again, _ = dataset.probes(6)
    assert batch["micro"].shape == (6, 1, 16, 16)
    assert torch.equal(batch["micro"], again["micro"])
    told = [name.split("\n") for name in names]
    assert {micro for micro, _ in told[:3]} == {micro for micro, _ in told[3:]} == {"case0", "case1", "case2"}
    by_name = {case.name: case for case in cases}
    for micro, clinical, row in zip(batch["micro"], batch["clinical"], told, strict=True):
        assert find(by_name[row[0]], micro) is not None
        assert find(by_name[row[1]], clinical) is not None
