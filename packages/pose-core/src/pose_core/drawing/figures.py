"""Matplotlib figures in one style: panels over a shared x axis, point labels that do not overlap, atomic file writing.

Matplotlib is an extra (``pip install 'pose-core[plot]'``) and imported where it is used. Figures are made through its
object-oriented interface: no display, no global state.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pose_core.errors import ConfigError
from pose_core.files import whole_file
from pose_core.installation import install_hint

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure
    from matplotlib.legend import Legend
    from matplotlib.text import Annotation
    from matplotlib.transforms import Bbox

Array = np.ndarray

COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#5a5a5a")
"""The colorblind-safe palette of Okabe and Ito (2008) without its yellow, which is too pale for lines."""
INK, GRID = "#333333", "#e4e4e4"
SUFFIXES = (".png", ".svg", ".pdf")
WIDTH, DPI = 8.0, 120
SIZE, SMALL = 9.0, 7.5
"""The size of text, in points."""
LINE = 0.17
"""The height of a line of text in a legend, in inches."""
WRAP = 90
"""The maximum number of characters of a name in a legend above the panels."""
GAP, DIAGONAL = 6.0, 4.0
"""The offset of a label from its marker's center in points: along one axis, or along both."""
NEARER = 1.4
"""The minimum ratio of a label's distance to any other point and to its own."""
PLACES = (
    (GAP, 0.0, "left", "center"), (-GAP, 0.0, "right", "center"), (0.0, GAP, "center", "bottom"),
    (0.0, -GAP, "center", "top"), (DIAGONAL, DIAGONAL, "left", "bottom"), (DIAGONAL, -DIAGONAL, "left", "top"),
    (-DIAGONAL, DIAGONAL, "right", "bottom"), (-DIAGONAL, -DIAGONAL, "right", "top"),
)  # fmt: skip
"""Offsets and alignments of a label, best first."""


def require_matplotlib() -> None:
    """Raise a ConfigError if matplotlib is missing; call this before long work that ends with a plot."""
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise ConfigError(f"drawing plots needs matplotlib: {install_hint('plot')}") from None


def check_suffix(target: Path) -> None:
    """Raise a ConfigError if the suffix of a plot's name is not a format that can be written."""
    if target.suffix.lower() not in SUFFIXES:
        raise ConfigError(f"cannot write a plot to {target}: use a name that ends in {', '.join(SUFFIXES)}")


def new_figure(heights: Sequence[float], titles: Sequence[str], xlabel: str) -> tuple[Figure, list[Axes]]:
    """Return a figure of panels below each other, of ``heights`` inches, that share the x axis."""
    require_matplotlib()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    layout = ConstrainedLayoutEngine(w_pad=0.08, h_pad=0.08)
    figure = Figure(figsize=(WIDTH, sum(heights)), dpi=DPI, layout=layout, facecolor="white")
    FigureCanvasAgg(figure)
    ratios = {"height_ratios": heights}
    panels: list[Axes] = list(figure.subplots(len(heights), sharex=True, squeeze=False, gridspec_kw=ratios)[:, 0])
    for axes, title in zip(panels, titles, strict=True):
        axes.set_title(title, loc="left", fontsize=SIZE + 1, color=INK, parse_math=False)
        axes.grid(color=GRID, linewidth=0.8)
        axes.set_axisbelow(True)
        axes.tick_params(labelsize=SIZE - 1, color=INK, labelcolor=INK)
        axes.spines[["top", "right"]].set_visible(False)
        axes.spines[["left", "bottom"]].set_color(INK)
        axes.margins(0.05, 0.08)
    panels[-1].set_xlabel(xlabel, fontsize=SIZE, color=INK)
    return figure, panels


def set_log_ticks(axis: Axis) -> None:
    """Set plain round numbers as ticks of a logarithmic axis whose limits are final."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    low, high = axis.get_view_interval()
    axis.set_major_locator(LogLocator(subs=(1, 2, 5) if math.log10(high / low) < 2.5 else (1,)))
    axis.set_major_formatter(FuncFormatter(lambda value, position: f"{value:g}"))
    axis.set_minor_locator(NullLocator())


def add_legend(place: Figure | Axes, handles: Sequence[Artist], names: Sequence[str], *, above: bool = False) -> Legend:
    """Add a legend outside the data, to the right or ``above``, with every name unchanged."""
    from matplotlib.axes import Axes

    numbers = [str(number) for number in range(len(names))]
    style: dict[str, Any] = {
        "fontsize": SIZE - 0.5,
        "frameon": False,
        "labelcolor": INK,
        "handlelength": 2.4 if above else 1.6,
    }
    if isinstance(place, Axes):
        legend = place.legend(handles, numbers, loc="upper left", bbox_to_anchor=(1.0, 1.0), **style)
    else:
        legend = place.legend(handles, numbers, loc="outside upper left" if above else "outside right upper", **style)
    # Matplotlib skips names that begin with "_" in a legend, and interprets "$" as mathematics.
    for text, name in zip(legend.get_texts(), names, strict=True):
        text.set_parse_math(False)
        text.set_text(textwrap.fill(name, WRAP) if above else name)
    return legend


def legend_height(names: Sequence[str]) -> float:
    """Return the height of a legend above the panels, in inches."""
    return LINE * sum(len(textwrap.wrap(name, WRAP)) for name in names)


def label_points(figure: Figure, axes: Axes, points: Array, names: Sequence[str]) -> list[Annotation]:
    """Write names next to their points where there is room, and return these labels.

    ``points`` are ``(N, 2)`` in the units of the axes. A label is inside the axes, overlaps no other label, and is
    clearly nearer to its own point than to any other. A name without such a place is skipped; earlier names have
    priority.
    """
    figure.draw_without_rendering()  # the layout determines the size in pixels
    centers = axes.transData.transform(points)
    labels: list[Annotation] = []
    taken: list[Bbox] = []
    for number, name in enumerate(names):
        for dx, dy, across, along in PLACES:
            label = axes.annotate(
                name, tuple(points[number]), (dx, dy), textcoords="offset points", ha=across, va=along, fontsize=SMALL,
                color=INK, parse_math=False,
            )  # fmt: skip
            box = label.get_window_extent()
            nearest = np.clip(centers, box.min, box.max)
            distances = np.hypot(*(centers - nearest).T)
            others = np.delete(distances, number).min(initial=np.inf)
            inside = axes.bbox.containsx(box.x0) and axes.bbox.containsx(box.x1)
            inside = inside and axes.bbox.containsy(box.y0) and axes.bbox.containsy(box.y1)
            if inside and others >= NEARER * distances[number] and not any(map(box.overlaps, taken)):
                taken.append(box.padded(1))
                labels.append(label)
                break
            label.remove()
    return labels


def shorten(name: str, length: int) -> str:
    """Shorten a name to at most ``length`` characters by cutting out its middle."""
    kept = length - 1
    return name if len(name) <= length else f"{name[: kept // 2]}…{name[len(name) - (kept + 1) // 2 :]}"


def write_figure(figure: Figure, target: Path) -> None:
    """Write a figure atomically, in the format of the suffix."""
    check_suffix(target)
    with whole_file(target) as file:
        figure.savefig(file, format=target.suffix[1:].lower(), dpi=DPI)
