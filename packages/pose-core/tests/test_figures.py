"""Figures in one style: ticks, legends, labels of points, files; and the error if matplotlib is missing."""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from pose_core.cli import main
from pose_core.drawing.figures import add_legend, label_points, new_figure, set_log_ticks, shorten, write_figure
from pose_core.errors import ConfigError, PoseError
from pose_core.installation import install_hint


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.003, 0.06, ["0.005", "0.01", "0.02", "0.05"]),
        (5e-7, 2, ["1e-06", "1e-05", "0.0001", "0.001", "0.01", "0.1", "1"]),
        (7, 1500, ["10", "20", "50", "100", "200", "500", "1000"]),
        (0.03, 0.031, ["0.03", "0.0302", "0.0304", "0.0306", "0.0308", "0.031"]),
    ],
)
def test_logarithmic_axes_have_round_numbers(low: float, high: float, expected: list[str]) -> None:
    figure, (axes,) = new_figure([3], [""], "x")
    axes.set_yscale("log")
    axes.set_ylim(low, high)
    set_log_ticks(axes.yaxis)
    figure.draw_without_rendering()
    ticks = [(tick, label.get_text()) for tick, label in zip(axes.get_yticks(), axes.get_yticklabels(), strict=True)]
    assert [text for tick, text in ticks if low * 0.9999 <= tick <= high * 1.0001] == expected
    assert not axes.yaxis.get_minorticklocs().size


@pytest.mark.parametrize("above", [True, False])
def test_legends_lie_outside_the_data_and_name_every_curve_as_it_is(above: bool) -> None:
    names = ["_hidden", "$x", r"a$\frac$c", "long_" * (60 if above else 3)]
    figure, (axes,) = new_figure([3], ["title"], "x")
    legend = add_legend(figure, [Line2D([], []) for _ in names], names, above=above)
    figure.draw_without_rendering()
    shown = [text.get_text().replace("\n", "") for text in legend.get_texts()]
    assert shown == names
    box = legend.get_window_extent()
    assert not box.overlaps(axes.bbox)
    assert box.x1 <= figure.bbox.x1
    assert min(axes.bbox.width, axes.bbox.height) > 50


def test_labels_lie_on_nothing_and_beside_their_own_points() -> None:
    random = np.random.default_rng(0)
    points = random.uniform(0, 1, (60, 2))
    names = [f"network_{number}" for number in range(60)]
    figure, (axes,) = new_figure([4], ["title"], "x")
    axes.scatter(*points.T)
    labels = label_points(figure, axes, points, names)
    assert 20 < len(labels) < 60
    assert labels[0].get_text() == names[0]  # the first choose first
    boxes = [label.get_window_extent() for label in labels]
    pixels = axes.transData.transform(points)
    for number, (label, box) in enumerate(zip(labels, boxes, strict=True)):
        assert not any(box.overlaps(other) for other in boxes[number + 1 :])
        assert axes.bbox.x0 <= box.x0 < box.x1 <= axes.bbox.x1
        assert axes.bbox.y0 <= box.y0 < box.y1 <= axes.bbox.y1
        distances = np.hypot(*(pixels - np.clip(pixels, box.min, box.max)).T)
        assert names[distances.argmin()] == label.get_text()
    assert len(axes.texts) == len(labels)  # nothing is left of places that were tried


def test_a_label_without_room_is_left_out() -> None:
    figure, (axes,) = new_figure([3], [""], "x")
    axes.scatter([0, 1], [0, 1])
    labels = label_points(figure, axes, np.array([[0.0, 0.0], [1.0, 1.0]]), ["name", "n" * 300])
    assert [label.get_text() for label in labels] == ["name"]


def test_long_names_keep_both_ends() -> None:
    assert shorten("name", 4) == "name"
    assert shorten("abcdefghij", 6) == "ab…hij"
    assert len(shorten("x" * 100, 36)) == 36


def test_the_suffix_decides_the_format(tmp_path: Path) -> None:
    figure, _ = new_figure([2], ["title"], "x")
    for name in ("a.png", "b.PNG", "c.svg", "d.pdf"):
        write_figure(figure, tmp_path / "new" / name)
    folder = tmp_path / "new"
    assert cv2.imread(str(folder / "a.png")).shape == cv2.imread(str(folder / "b.PNG")).shape == (240, 960, 3)
    assert b"<svg" in (folder / "c.svg").read_bytes()
    assert (folder / "d.pdf").read_bytes().startswith(b"%PDF")
    for name in ("plot.jpg", "plot"):
        with pytest.raises(ConfigError, match=rf"{name}: use a name that ends in \.png, \.svg, \.pdf"):
            write_figure(figure, tmp_path / name)
    with pytest.raises(PoseError, match="cannot write"):
        write_figure(figure, folder / "a.png" / "b.png")


def test_a_plot_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    figure, _ = new_figure([2], ["title"], "x")
    target = tmp_path / "plot.png"
    write_figure(figure, target)
    before = target.read_bytes()

    def broken(self: Figure, file: object, **options: object) -> None:
        file.write(b"half of it")
        raise KeyboardInterrupt

    monkeypatch.setattr(Figure, "savefig", broken)
    with pytest.raises(KeyboardInterrupt):
        write_figure(figure, target)
    assert target.read_bytes() == before
    assert list(tmp_path.iterdir()) == [target]


def test_the_quickstart_asks_for_matplotlib_before_it_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert main(["quickstart", "--out", str(tmp_path / "quick")]) == 2
    assert f"drawing plots needs matplotlib: {install_hint('plot')}" in capsys.readouterr().err
    assert not (tmp_path / "quick").exists()
