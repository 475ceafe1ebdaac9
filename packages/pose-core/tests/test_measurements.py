"""What was measured on a machine is remembered there, and only there."""

from __future__ import annotations

from pathlib import Path

import pytest

from pose_core import machine, measurements
from pose_core.timing import Spread, Times, compare


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("POSE_HOME", str(tmp_path))
    return tmp_path


def test_measured_seconds_are_remembered_by_section() -> None:
    assert measurements.recall("ops") == {}
    measurements.remember("ops", {"decode": {"a": 1.0, "b": 2.0}, "fuse": {"a": 3.0}})
    measurements.remember("networks", {"lpn": {"x": 0.5}})
    file = measurements.remember("ops", {"decode": {"a": 4.0}})
    assert measurements.recall("ops") == {"decode": {"a": 4.0}, "fuse": {"a": 3.0}}
    assert measurements.recall("networks") == {"lpn": {"x": 0.5}}
    assert machine.processor() in file.read_text()


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"ops": 3}', '{"ops": {"decode": [1]}}', '{"ops": {"d": {"a": "x"}}}']
)
def test_a_damaged_file_is_measured_again(content: str, caplog: pytest.LogCaptureFixture) -> None:
    file = measurements.remember("ops", {"decode": {"a": 1.0}})
    file.write_text(content)
    assert measurements.recall("ops") == {} == measurements.recall("networks")
    assert [record.message.partition(" is ")[2][:7] for record in caplog.records] == ["damaged"]
    measurements.remember("ops", {"decode": {"a": 2.0}})
    assert measurements.recall("ops") == {"decode": {"a": 2.0}}
    file.write_text(content)  # damaged again: once more a warning, and one only
    assert measurements.recall("ops") == {} == measurements.recall("ops")
    assert len(caplog.records) == 2


def test_another_machine_has_another_file(monkeypatch: pytest.MonkeyPatch) -> None:
    measurements.remember("ops", {"decode": {"a": 1.0}})
    monkeypatch.setattr(machine, "processor", lambda: "another one")
    measurements._fingerprint.cache_clear()
    assert measurements.recall("ops") == {}
    measurements._fingerprint.cache_clear()


def test_contenders_are_compared_within_rounds() -> None:
    # A machine that slows down: the ratio of each round stays what it is.
    times = Times({"slow": (2.0, 4.0, 8.0), "quick": (1.0, 2.0, 4.0)})
    assert times.ratio("slow", "quick") == Spread(2.0, 2.0, 2.0)
    assert (times.shortest("slow"), times.seconds("slow")) == (2.0, 4.0)
    spread = Spread.of((1.0, 1.1, 0.9, 1.0, 5.0))
    assert 0.9 <= spread.low <= spread.median == 1.0 <= spread.high <= 5.0


def test_every_round_has_a_time_of_each() -> None:
    calls = {"a": 0, "b": 0}

    def count(name: str) -> None:
        calls[name] += 1

    found = compare({"a": lambda: count("a"), "b": lambda: count("b")}, rounds=3)
    assert all(len(values) == 3 and min(values) > 0 for values in found.rounds.values())
    assert min(calls.values()) > 100  # a turn is as many calls as it takes
