"""A training loses nothing when something goes wrong: the quick faults of `pose_testing.faults`."""

from __future__ import annotations

import os
import sys
from copy import deepcopy

import pytest
import torch

from pose_testing.faults import FAULTS, Bench, Skipped, differences, killed

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="the harness forks processes and reads /proc"),
]
QUICK = [
    "SIGTERM to the group, 2 loaders",
    "SIGINT twice",
    "full disk for a moment",
    "logs refused",
    "run folder deleted",
    "loader killed",
    "two starts",
    "last.pt with a flipped bit",
    "--resume without last.pt",
    "--overwrite with a typo",
    "last.pt of another method",
    "stdout closed",
    "exact, 2 processes",
]


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """Return a bench whose trainings take a second each."""
    return Bench("lite", tmp_path_factory.mktemp("faults"))


@pytest.mark.parametrize("name", QUICK)
def test_a_fault_costs_nothing(bench: Bench, name: str) -> None:
    try:
        outcome = FAULTS[name](bench)
    except Skipped as reason:
        pytest.skip(str(reason))
    assert outcome.equal is not False, outcome
    assert not any(line.startswith(("Traceback", "This is a bug")) for line in outcome.messages), outcome.messages


def test_killed_and_resumed_equals_uninterrupted(bench: Bench) -> None:
    outcome = killed(bench, int(os.environ.get("POSE_KILLS", "4")))
    assert outcome.equal, outcome


def test_the_comparison_of_checkpoints_sees_a_single_bit(bench: Bench) -> None:
    whole, other = bench.whole(), bench.whole(processes=2)
    assert not differences(whole, whole)
    assert differences(whole, other)
    changed = deepcopy(whole)
    assert not differences(whole, changed)
    name, value = next((name, value) for name, value in changed["networks"]["pose"].items() if value.ndim == 1)
    value.view(torch.int32)[0] ^= 1
    assert differences(whole, changed) == [f"networks.pose.{name}"]
    assert differences(whole, {**whole, "step": 1}) == ["step"]
