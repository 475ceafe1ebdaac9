"""The paths of ops are measured once per machine, and the fastest is taken, unless POSE_OPS says otherwise."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
import torch

from pose_core import measurements
from pose_core.cli import main
from pose_core.ops import dispatch, probe
from pose_core.ops.buffers import LEAST, buffer
from pose_core.ops.dispatch import choose, paths
from pose_core.timing import Times

SECONDS = {"reference": 9.0, "numpy": 3.0, "torch": 2.0, "fast": 1.0, "sampled": 4.0, "torchvision": 4.0}


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("POSE_HOME", str(tmp_path))
    monkeypatch.delenv("POSE_OPS", raising=False)
    dispatch.forget()
    yield tmp_path
    dispatch.forget()


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Time stand-ins, which take as long as SECONDS says of the path that they find chosen; return what was timed."""
    seen: list[str] = []

    def compare(ways: Mapping[str, Callable[[], object]], _: int) -> Times:
        seen.extend(ways)
        return Times({name: (float(str(run())),) for name, run in ways.items()})

    monkeypatch.setattr(probe, "compare", compare)
    return seen


def stand_in(op: str) -> probe.Runs:
    return {op: lambda: SECONDS[choose(op)]}


def test_the_faster_path_is_taken_and_remembered(measured: list[str]) -> None:
    assert paths()["fuse_flip"] == ("numpy", "default")
    found, new = probe.measure(stand_in("fuse_flip"))
    assert new
    assert found == {"fuse_flip": {path: SECONDS[path] for path in ("reference", "numpy", "torch")}}
    assert paths()["fuse_flip"] == ("torch", "measured")
    assert choose("decode_heatmaps") == "numpy"  # not measured
    with measurements.without_measurements():  # as a training's evaluations do
        assert paths()["fuse_flip"] == ("numpy", "default")
    dispatch.forget()  # as another process would begin
    assert paths()["fuse_flip"] == ("torch", "measured")
    measured.clear()
    assert probe.measure(stand_in("fuse_flip")) == (found, False)
    assert not measured
    assert probe.measure(stand_in("fuse_flip"), anew=True) == (found, True)
    assert measured == ["reference", "numpy", "torch"]


def test_a_path_of_another_version_is_measured_but_not_taken(measured: list[str]) -> None:
    measurements.remember("ops", {"fuse_flip": {"reference": 3.0, "numpy": 2.0, "gone": 1.0}, "lost": {"a": 1.0}})
    assert paths()["fuse_flip"] == ("numpy", "default")  # there is only one to choose
    probe.measure(stand_in("fuse_flip"))
    assert measured


def test_noise_does_not_change_the_default() -> None:
    measurements.remember("ops", {"fuse_flip": {"reference": 9.0, "numpy": 1.05, "torch": 1.0}})
    dispatch.forget()
    assert paths()["fuse_flip"] == ("numpy", "measured")


def test_what_pose_ops_names_wins(measured: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    probe.measure(stand_in("fuse_flip"))
    monkeypatch.setenv("POSE_OPS", "fuse_flip=numpy")
    assert paths()["fuse_flip"] == ("numpy", "POSE_OPS")
    monkeypatch.setenv("POSE_OPS", "fast")
    assert paths()["fuse_flip"] == ("numpy", "default")


def test_a_damaged_table_is_not_used(measured: list[str], caplog: pytest.LogCaptureFixture) -> None:
    probe.measure(stand_in("fuse_flip"))
    measurements.measurements_file().write_text("{")
    dispatch.forget()
    assert paths()["fuse_flip"] == ("numpy", "default")
    assert "is damaged" in caplog.text


@pytest.mark.usefixtures("measured")
def test_doctor_prints_every_path_and_why_one_is_used(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(probe, "runs", lambda: stand_in("fuse_flip") | stand_in("oks_nms"))
    monkeypatch.setenv("POSE_OPS", "paste=reference")
    assert main(["doctor", "--ops"]) == 0
    lines = capsys.readouterr().out.splitlines()
    rows = {tuple(line.split()[:2]): line.split(maxsplit=3)[2:] for line in lines}
    assert rows["fuse_flip", "torch"] == ["2000.000", "used: the fastest here"]
    assert rows["fuse_flip", "numpy"] == ["3000.000"]
    assert rows["oks_nms", "fast"] == ["1000.000", "used: the default"]
    assert rows["paste", "reference"] == ["-", "used: POSE_OPS"]
    assert f"written: {measurements.measurements_file()}" in lines
    assert main(["doctor", "--measure"]) == 1
    assert "--measure needs --ops: pose doctor --ops --measure" in capsys.readouterr().err


def test_every_op_that_has_a_choice_is_measured() -> None:
    calls = probe.runs()
    assert {op for op, ways in dispatch.OPS.items() if len(ways) > 1} <= set(calls)
    for call in calls.values():
        call()


def test_memory_is_reused_only_when_nothing_refers_to_it() -> None:
    def address(array: np.ndarray) -> int:
        return int(array.__array_interface__["data"][0])

    shape = (LEAST // 4, 3)
    first = buffer(shape, np.float32)
    at = address(first)
    assert at % 64 == 0
    tensor = torch.from_numpy(first)
    view = tensor[5:, 1]
    del first, tensor
    assert address(buffer(shape, np.float32)) != at
    rows = view.numpy()
    del view
    assert address(buffer(shape, np.float32)) != at
    del rows
    assert address(buffer((LEAST // 2, 3), np.float16)) == at
    assert address(buffer((2 * LEAST // 4, 3), np.float32)) != at


def test_threads_never_share_memory_that_is_in_use() -> None:
    shape, wrong = (LEAST,), []

    def work(number: int) -> None:
        for turn in range(200):
            mine = buffer(shape, np.uint8)
            mine[::4096] = number
            time.sleep(0)  # lets others run
            if (mine[::4096] != number).any():
                wrong.append((number, turn))

    threads = [Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
