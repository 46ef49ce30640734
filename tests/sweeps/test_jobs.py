"""What each job of a sweep finds."""

from __future__ import annotations

import pytest

from ctsr.sweeps.jobs import job_environment


def test_jobs_share_cores_and_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OMP_NUM_THREADS", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5,7")
    monkeypatch.setattr("os.cpu_count", lambda: 8)
    found = [job_environment(number, at_once=3) for number in range(4)]
    assert [job["CUDA_VISIBLE_DEVICES"] for job in found] == ["4", "5", "7", "4"]
    assert found[0]["OMP_NUM_THREADS"] == "2"
    assert "WORLD_SIZE" not in found[0]
    alone = job_environment(3, at_once=1)
    assert alone["CUDA_VISIBLE_DEVICES"] == "4,5,7"
    assert "OMP_NUM_THREADS" not in alone
