"""Training curves: what is read of runs, what is drawn of it, and what is said of broken files."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from pose_core.cli import plot
from pose_core.drawing.curves import COLORS, compare_runs, known_keys, read_metrics, run_names, running_mean
from pose_core.errors import ConfigError, DataError

TITLES = {"acc": "accuracy", "loss": "loss", "k": "balance"}


def write_run(folder: Path, *, critic: bool = False, steps: int = 5) -> Path:
    """A run of which accuracy rises by a tenth a step."""
    folder.mkdir(parents=True)
    rows = []
    for step in range(1, steps + 1):
        row = {"split": "train", "step": 10 * step, "epoch": 0, "loss": 1 / step, "acc": step / 10, "lr": 1e-3}
        rows.append(row | ({"k": step / 100} if critic else {}))
    rows.append({"split": "val", "step": 10 * steps, "epoch": 0, "AP": 0.5})
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def test_curves_are_the_logged_values(tmp_path: Path) -> None:
    plain, against = write_run(tmp_path / "plain"), write_run(tmp_path / "against", critic=True, steps=3)
    found = compare_runs([plain, against], ["acc", "k", "val/AP", "absent"])
    assert list(found) == ["acc", "k", "val/AP"]
    (name, steps, values), (other, _, fewer) = found["acc"]
    assert (name, other) == ("plain", "against")
    np.testing.assert_array_equal(steps, [10, 20, 30, 40, 50])
    np.testing.assert_allclose(values, [0.1, 0.2, 0.3, 0.4, 0.5])
    np.testing.assert_allclose(fewer, [0.1, 0.2, 0.3])
    assert [len(steps) for _, steps, _ in found["k"]] == [0, 3]  # the first run has no critic
    assert found["val/AP"][0][2].tolist() == [0.5]
    assert known_keys([plain, against]) == ["loss", "acc", "lr", "k", "val/AP"]


def test_runs_of_one_name_are_told_apart(tmp_path: Path) -> None:
    folders = [write_run(tmp_path / "a" / "run"), write_run(tmp_path / "b" / "run"), write_run(tmp_path / "c")]
    assert run_names(folders[:2]) == ["a/run", "b/run"]
    assert run_names(folders[::2]) == ["run", "c"]
    with pytest.raises(ConfigError, match="are one folder: give each run once"):
        run_names([folders[0], folders[0].parent / "." / "run"])


def test_smoothing_keeps_the_mean_and_the_length() -> None:
    values = np.arange(9.0)
    np.testing.assert_array_equal(running_mean(values, 1), values)
    np.testing.assert_allclose(running_mean(values, 3)[1:-1], values[1:-1])
    np.testing.assert_allclose(running_mean(values, 3)[[0, -1]], [0.5, 7.5])
    assert len(running_mean(values, 40)) == 9
    assert not len(running_mean(np.empty(0), 3))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"split": "train", "step": 1}\n{"split":\n{"split": "train", "step": 2}\n', "line 2 is not JSON: remove it"),
        ('{"split": "train"}\n', "line 1 has no split and step"),
        ("[1]\n", "line 1 has no split and step"),
    ],
)
def test_damaged_lines_are_named(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "metrics.jsonl").write_text(text)
    with pytest.raises(DataError, match=rf"metrics\.jsonl {message}"):
        read_metrics(tmp_path / "metrics.jsonl")


def test_a_last_line_that_was_cut_off_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text('{"split": "train", "step": 1}\n{"split": "tr')
    assert len(read_metrics(tmp_path / "metrics.jsonl")) == 1


def arguments(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    plot.add_arguments(parser, TITLES)
    return parser.parse_args(words)


def test_the_picture_has_a_panel_for_each_key(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = [str(write_run(tmp_path / "plain")), str(write_run(tmp_path / "against", critic=True))]
    heights = []
    for keys in (["acc"], ["acc", "loss"], []):
        words = [*runs, "--out", str(tmp_path / "plot.png"), *(["--keys", *keys] if keys else [])]
        assert plot.run(arguments(*words), TITLES) == 0
        picture = cv2.cvtColor(cv2.imread(str(tmp_path / "plot.png")), cv2.COLOR_BGR2RGB)
        heights.append(len(picture))
        for color in COLORS[:2]:
            assert (picture == color).all(-1).any()
        assert not (picture == COLORS[2]).all(-1).any()
    assert heights[1] - heights[0] == heights[2] - heights[1] > 100  # accuracy, loss, balance
    assert "acc: plain 0.5 at step 50, against 0.5 at step 50" in capsys.readouterr().out


def test_what_cannot_be_drawn_is_told(tmp_path: Path) -> None:
    run = str(write_run(tmp_path / "plain"))
    with pytest.raises(ConfigError, match="no run has k; they have loss, acc, lr, val/AP"):
        plot.run(arguments(run, "--keys", "acc", "k"), TITLES)
    with pytest.raises(ConfigError, match="--smooth 0 must be at least 1"):
        plot.run(arguments(run, "--smooth", "0"), TITLES)
    with pytest.raises(ConfigError, match="9 runs: colors tell 8 apart"):
        plot.run(arguments(*[run] * 9), TITLES)
    with pytest.raises(DataError, match=r"nowhere does not exist as a folder: give a run's"):
        plot.run(arguments(str(tmp_path / "nowhere")), TITLES)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"metrics\.jsonl does not exist: is it the folder of a run"):
        plot.run(arguments(str(tmp_path / "empty")), TITLES)
    (tmp_path / "empty" / "metrics.jsonl").write_text("")
    with pytest.raises(ConfigError, match="they have nothing yet: their training ended before its first log line"):
        plot.run(arguments(str(tmp_path / "empty")), TITLES)
