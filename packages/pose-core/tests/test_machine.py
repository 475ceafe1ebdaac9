"""The number of loader processes by default: what the machine, a container or a scheduler leaves to this process."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from pose_core.data import machine
from pose_core.data.machine import available_cores, available_memory, default_workers
from pose_core.data.sampler import loader_workers

GB = 2**30


@pytest.fixture
def system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of the control groups of a machine with 64 cores and 256 GB, on which nothing else is set."""
    for name in ("LOCAL_WORLD_SIZE", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    cores_are(64, monkeypatch)
    monkeypatch.setattr(os, "sysconf", {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": 256 * GB // 4096}.__getitem__)
    monkeypatch.setattr(machine, "_MEMBERSHIP", tmp_path / "membership")
    monkeypatch.setattr(machine, "_CGROUPS", tmp_path / "cgroup")
    monkeypatch.setattr(machine, "_SHARED", tmp_path / "none")
    return tmp_path / "cgroup"


def cores_are(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(count)), raising=False)


def limit(system: Path, membership: str, files: dict[str, str]) -> None:
    """Write a process's membership and the files of its control groups."""
    system.with_name("membership").write_text(membership)
    for name, text in files.items():
        path = system / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


@pytest.mark.parametrize(
    ("cores", "trainings", "expected"),
    [(1, 1, 0), (2, 1, 2), (8, 1, 8), (64, 1, 16), (64, 8, 8), (8, 8, 0), (4, 8, 0), (12, 8, 0), (16, 8, 2)],
)
def test_the_cores_are_divided_among_the_trainings_of_a_machine(
    cores: int, trainings: int, expected: int, system: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cores_are(cores, monkeypatch)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", str(trainings))
    assert default_workers() == loader_workers(None) == expected


def test_a_stated_number_is_kept(system: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "8")
    assert [loader_workers(asked) for asked in (0, 1, 24, 100)] == [0, 1, 24, 64]


@pytest.mark.parametrize(
    ("quota", "expected"), [("400000 100000", 4), ("max 100000", 64), ("150000 100000", 2), ("20000 100000", 1)]
)
def test_a_containers_share_of_the_cores_counts(quota: str, expected: int, system: Path) -> None:
    limit(system, "0::/\n", {"cpu.max": f"{quota}\n"})
    assert available_cores() == expected


def test_a_limit_of_an_outer_group_counts(system: Path) -> None:
    outer = {"job/cpu.max": "800000 100000", "job/memory.max": str(8 * GB)}
    limit(system, "0::/job/step\n", outer | {"job/step/cpu.max": "max 100000", "job/step/memory.max": "max"})
    assert available_cores() == 8
    assert available_memory() == 8 * GB
    assert default_workers() == 8


def test_control_groups_of_version_1_count_and_only_the_top_may_be_visible(system: Path) -> None:
    files = {
        "cpu/cpu.cfs_quota_us": "600000",
        "cpu/cpu.cfs_period_us": "100000",
        "memory/memory.limit_in_bytes": str(4 * GB),
    }
    limit(system, "5:memory:/docker/abc\n4:cpu,cpuacct:/docker/abc\n0::/\n", files)
    assert available_cores() == 6
    assert available_memory() == 4 * GB
    assert default_workers() == 4
    (system / "cpu/cpu.cfs_quota_us").write_text("-1")
    assert available_cores() == 64


def test_little_memory_means_fewer_loaders(system: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limit(system, "0::/\n", {"memory.max": str(6 * GB)})
    assert default_workers() == 6
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    assert default_workers() == 1


def test_a_container_with_little_shared_memory_is_told_so_once(
    system: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(machine, "_SHARED", system.parent)
    monkeypatch.setattr(machine.shutil, "disk_usage", lambda _: SimpleNamespace(total=512 * 2**20))
    machine._warn_of_shared_memory.cache_clear()
    with caplog.at_level(logging.WARNING):
        assert [default_workers(), default_workers()] == [4, 4]
    (message,) = caplog.messages
    assert "only 4" in message
    assert "512 MB" in message
    assert "--ipc=host" in message


def test_a_system_that_says_nothing_limits_nothing(system: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.delattr(os, "sysconf", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    assert available_memory() is None
    assert default_workers() == 4
