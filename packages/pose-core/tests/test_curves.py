"""Training curves: reading runs, drawing them, and messages about broken files."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pose_core.cli import plot
from pose_core.drawing.curves import STYLES, draw_runs, draw_training
from pose_core.engine.metrics import compare_runs, known_keys, plot_metrics, read_metrics, run_names, running_mean
from pose_core.errors import ConfigError, DataError
from pose_core.plugins.method import Method
from pose_testing.methods import installed

TITLES = {"acc": "accuracy", "loss": "loss", "k": "balance"}


def write_run(folder: Path, *, critic: bool = False, steps: int = 5) -> Path:
    """Write a run in which accuracy increases by 0.1 per step."""
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
    with pytest.raises(ConfigError, match="are the same folder: give each run once"):
        run_names([folders[0], folders[0].parent / "." / "run"])


def test_smoothing_keeps_the_mean_and_the_length() -> None:
    values = np.arange(9.0)
    np.testing.assert_array_equal(running_mean(values, 1), values)
    np.testing.assert_allclose(running_mean(values, 3)[1:-1], values[1:-1])
    np.testing.assert_allclose(running_mean(values, 3)[[0, -1]], [0.5, 7.5])
    assert len(running_mean(values, 40)) == 9
    assert not len(running_mean(np.empty(0), 3))
    gaps = np.array([1.0, np.nan, 3.0, 5.0, np.inf, np.nan])
    np.testing.assert_allclose(running_mean(gaps, 3), [1, np.nan, 4, 4, np.inf, np.nan])


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


class Curves(Method):
    name, package, summary = "curves", "curves", ""
    curves = TITLES


def draw(*words: str) -> int:
    """Run ``plot`` of a method with these titles."""
    parser = argparse.ArgumentParser()
    parser.set_defaults(method="curves")
    with installed({"curves": Curves()}):
        plot.add_arguments(parser)
        return plot.run(parser.parse_args(words))


def titles_of(figure: Figure) -> list[str]:
    return [axes.get_title(loc="left") for axes in figure.axes]


def points_of(axes: Axes) -> list[int]:
    """Return the number of points of every curve."""
    return [len(line.get_xdata()) for line in axes.lines]


def test_the_figure_has_a_panel_for_each_key_and_a_curve_for_each_run(tmp_path: Path) -> None:
    runs = [write_run(tmp_path / "plain"), write_run(tmp_path / "against", critic=True, steps=8)]
    figure = draw_runs(compare_runs(runs, ["acc", "loss", "k", "val/AP"]), TITLES)
    assert titles_of(figure) == ["accuracy", "loss", "balance", "val/AP"]
    assert [points_of(axes) for axes in figure.axes] == [[5, 8], [5, 8], [0, 8], [1, 1]]
    assert [axes.get_xlabel() for axes in figure.axes] == ["", "", "", "step"]
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["plain", "against"]
    for axes in figure.axes:
        assert [line.get_color() for line in axes.lines] == [color for color, _ in STYLES[:2]]
        assert axes.get_xlim() == pytest.approx((-0.8, 80.8))  # the longest run's, in every panel
    figure.draw_without_rendering()
    heights = [axes.bbox.height for axes in figure.axes]
    assert heights == pytest.approx([heights[0]] * 4, abs=2)  # a run without a key leaves the layout alone
    assert heights[0] > 150


def test_losses_are_logarithmic_and_scores_start_at_zero() -> None:
    steps = np.arange(3.0)

    def panel(key: str, values: list[float]) -> Axes:
        (axes,) = draw_runs({key: [("run", steps, np.array(values))]}, {}).axes
        return axes

    assert panel("loss", [1, 0.1, 0.01]).get_yscale() == "log"
    assert panel("generator_loss", [-1, -0.5, 0.2]).get_yscale() == "linear"
    assert panel("loss", [1, 0, 0.01]).get_yscale() == "linear"
    score = panel("val/AP", [0.5, 0.6, 0.7])
    assert (score.get_yscale(), score.get_ylim()[0]) == ("linear", 0)
    assert panel("acc", [0.0, 0.0, 0.0]).get_ylim()[0] == 0
    assert panel("balance", [-0.5, 0.6, 0.7]).get_ylim()[0] < -0.5


def test_curves_have_gaps_where_values_are_not_finite() -> None:
    steps, values = np.arange(4.0), np.array([1.0, np.nan, np.inf, 0.5])
    (axes,) = draw_runs({"loss": [("run", steps, values)]}, {}).axes
    np.testing.assert_array_equal(axes.lines[0].get_ydata(), [1, np.nan, np.nan, 0.5])
    low, high = axes.get_ylim()
    assert 0.4 < low < 0.5
    assert 1 < high < 1.2
    (axes,) = draw_runs({"loss": [("run", steps, np.full(4, np.nan))]}, {}).axes
    assert [text.get_text() for text in axes.texts] == ["no finite values"]


def test_few_points_are_marked() -> None:
    for count, marker in ((1, "o"), (40, "o"), (41, "")):
        values = np.linspace(0.1, 1, count)
        (axes,) = draw_runs({"acc": [("run", np.arange(count) + 1.0, values)]}, {}).axes
        assert axes.lines[0].get_marker() == marker


def test_every_run_has_a_style_of_its_own() -> None:
    assert len(set(STYLES)) == len(STYLES)
    curves = [(str(number), np.array([1.0]), np.array([0.5])) for number in range(len(STYLES))]
    (axes,) = draw_runs({"acc": curves}, {}).axes
    assert len({(line.get_color(), line.get_linestyle()) for line in axes.lines}) == len(STYLES)


def test_one_run_has_losses_above_scores(tmp_path: Path) -> None:
    steps = np.array([10.0, 20.0])
    loss, scores = ("loss", steps, steps), [(name, steps * 2, steps / 40) for name in ("AP", "AP50")]
    figure = draw_training([loss], scores)
    assert titles_of(figure) == ["training loss", "held-out score"]
    legends = [[text.get_text() for text in axes.get_legend().get_texts()] for axes in figure.axes]
    assert legends == [["loss"], ["AP", "AP50"]]
    assert [axes.get_yscale() for axes in figure.axes] == ["log", "linear"]
    assert [axes.get_xlim() for axes in figure.axes] == [pytest.approx((-0.4, 40.4))] * 2
    assert titles_of(draw_training([], scores)) == ["held-out score"]
    assert titles_of(draw_training([loss], [])) == ["training loss"]

    file = write_run(tmp_path / "run") / "metrics.jsonl"
    plot_metrics(file, tmp_path / "curve.png")
    height, width = cv2.imread(str(tmp_path / "curve.png")).shape[:2]
    assert (width, height) == (960, 624)
    file.write_text("")
    with pytest.raises(DataError, match="neither"):
        plot_metrics(file, tmp_path / "curve.png")
    with pytest.raises(DataError, match="does not exist"):
        plot_metrics(tmp_path / "none.jsonl", tmp_path / "curve.png")


def test_the_command_draws_the_keys_that_a_run_has(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = [str(write_run(tmp_path / "plain")), str(write_run(tmp_path / "against", critic=True))]
    for suffix, keys in ((".png", ["acc"]), (".svg", ["acc", "loss"]), (".pdf", [])):
        target = tmp_path / f"plot{suffix}"
        assert draw(*runs, "--out", str(target), *(["--keys", *keys] if keys else [])) == 0
        lines = capsys.readouterr().out.splitlines()
        assert [line.split(":")[0] for line in lines[:-1]] == (keys or ["acc", "loss", "k"])
        assert lines[0] == "acc: plain 0.5 at step 50, against 0.5 at step 50"
        assert lines[-1] == f"written: {target}"
        assert target.stat().st_size > 5000


def test_what_cannot_be_drawn_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = str(write_run(tmp_path / "plain"))
    with pytest.raises(ConfigError, match="no run has k; they have loss, acc, lr, val/AP"):
        draw(run, "--keys", "acc", "k")
    with pytest.raises(ConfigError, match="--smooth 0 must be at least 1"):
        draw(run, "--smooth", "0")
    with pytest.raises(ConfigError, match="15 runs: colors and dashes distinguish at most 14"):
        draw(*[run] * 15)
    with pytest.raises(ConfigError, match=r"plot\.jpg: use a name that ends in \.png, \.svg, \.pdf"):
        draw(run, "--out", str(tmp_path / "plot.jpg"))
    with pytest.raises(DataError, match=r"nowhere is not a folder: give the folder of a run"):
        draw(str(tmp_path / "nowhere"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"metrics\.jsonl does not exist: give the folder of a run"):
        draw(str(tmp_path / "empty"))
    (tmp_path / "empty" / "metrics.jsonl").write_text("")
    with pytest.raises(ConfigError, match="they have nothing yet: their training ended before its first log line"):
        draw(str(tmp_path / "empty"))
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ConfigError, match=r"drawing plots needs matplotlib: .* install .*matplotlib>="):
        draw(run)
