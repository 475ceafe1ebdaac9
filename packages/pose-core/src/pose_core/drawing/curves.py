"""Plots of values over training steps, in panels that share the axis of steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from pose_core.drawing.figures import (
    COLORS,
    INK,
    SIZE,
    add_legend,
    legend_height,
    new_figure,
    set_log_ticks,
    write_figure,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

Array = np.ndarray
Series = tuple[str, Array, Array]
"""A name, steps ``(N,)``, values ``(N,)``."""

STYLES: tuple[tuple[str, Literal["-", "--"]], ...] = (
    *((color, "-") for color in COLORS),
    *((color, "--") for color in COLORS),
)
"""The colors and dashes of successive curves."""
PANEL = 2.6
"""The height of a panel, in inches."""
FEW = 40
"""The maximum number of values of a curve that are drawn with markers."""


def plot_training(
    losses: Sequence[Series],
    scores: Sequence[Series],
    target: Path,
    accuracies: Sequence[Series] = (),
    final: str = "",
) -> None:
    """Write a plot of one run, see :func:`draw_training`."""
    write_figure(draw_training(losses, scores, accuracies, final), target)


def plot_runs(panels: Mapping[str, Sequence[Series]], titles: Mapping[str, str], target: Path) -> None:
    """Write a plot of several runs, see :func:`draw_runs`."""
    write_figure(draw_runs(panels, titles), target)


def draw_training(
    losses: Sequence[Series], scores: Sequence[Series], accuracies: Sequence[Series] = (), final: str = ""
) -> Figure:
    """Return a figure with panels for losses, accuracies in training and held-out scores, without empty panels.

    ``final`` states the scores of a run that was evaluated only at its end.
    """
    ending = f"; held-out score at the end: {final}" if final else ""
    titles = ("training loss", "share of joints found in training", "held-out score")
    shown = [each for each in zip(titles, (losses, accuracies, scores), strict=True) if each[1]]
    headings = [title + (ending if number == 0 else "") for number, (title, _) in enumerate(shown)]
    figure, panels = new_figure([PANEL] * len(shown), headings, "step")
    for axes, (title, curves) in zip(panels, shown, strict=True):
        lines = draw_curves(axes, curves, is_loss=title == "training loss")
        add_legend(axes, lines, [name for name, _, _ in curves])
    _end_at(panels, [curves for _, curves in shown])
    return figure


def draw_runs(panels: Mapping[str, Sequence[Series]], titles: Mapping[str, str]) -> Figure:
    """Return a figure with a panel for each key, titled by ``titles``, and a curve for each run.

    Every key has the same runs in the same order; a run without the key has no steps.
    """
    from matplotlib.lines import Line2D

    names = [name for name, _, _ in next(iter(panels.values()))]
    figure, shown = new_figure([PANEL] * len(panels), [titles.get(key, key) for key in panels], "step")
    figure.set_figheight(PANEL * len(panels) + legend_height(names))
    for axes, (key, curves) in zip(shown, panels.items(), strict=True):
        draw_curves(axes, curves, is_loss="loss" in key)
    handles = [Line2D([], [], color=color, linestyle=dashes) for color, dashes in STYLES[: len(names)]]
    add_legend(figure, handles, names, above=True)
    _end_at(shown, list(panels.values()))
    return figure


def draw_curves(axes: Axes, curves: Sequence[Series], *, is_loss: bool) -> list[Line2D]:
    """Draw curves and return their lines; one without steps has a line without points.

    Losses have a logarithmic axis if all are positive; other axes start at zero if no value is negative. A curve has
    gaps at values that are not finite.
    """
    lines = []
    for (_, steps, values), (color, dashes) in zip(curves, STYLES[: len(curves)], strict=True):
        marker = "o" if len(steps) <= FEW else ""
        finite = np.where(np.isfinite(values), values, np.nan)
        (line,) = axes.plot(steps, finite, color=color, linestyle=dashes, marker=marker, markersize=3.5)
        # A marker on the edge of the panel is drawn completely, but the layout ignores it.
        line.set(clip_on=False, in_layout=False)
        lines.append(line)
    values = np.concatenate([values for _, _, values in curves])
    values = values[np.isfinite(values)]
    if not len(values):
        axes.set_yticks([])
        axes.text(
            0.5, 0.5, "no finite values", transform=axes.transAxes, ha="center", va="center", color=INK, fontsize=SIZE
        )
    elif is_loss and values.min() > 0:
        axes.set_yscale("log")
        set_log_ticks(axes.yaxis)
    elif not is_loss and values.min() >= 0:
        axes.set_ylim(bottom=0)
    return lines


def _end_at(panels: Sequence[Axes], drawn: Sequence[Sequence[Series]]) -> None:
    """Set the range of steps of all panels from 0 to the last step of any, so that they are aligned."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    end = max(float(steps.max()) for curves in drawn for _, steps, _ in curves if len(steps))
    end = max(end, 1.0)
    panels[-1].set_xlim(-0.01 * end, 1.01 * end)
    panels[-1].xaxis.set_major_locator(MaxNLocator(8, steps=[1, 2, 5, 10], integer=True))
    panels[-1].xaxis.set_major_formatter(FuncFormatter(lambda value, position: f"{value:,.0f}"))
