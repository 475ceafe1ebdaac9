"""Draw the training curves of several runs in one plot.

%(prog)s runs/first runs/second --out plot.png --smooth 10
"""

from __future__ import annotations

import argparse
from pathlib import Path

from pose_core.errors import ConfigError
from pose_core.plugins.method import get_method


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``plot``."""
    titles = get_method(parser.get_default("method")).curves
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="folders of runs, each with a metrics.jsonl")
    parser.add_argument(
        "--out", type=Path, default=Path("plot.png"), metavar="FILE", help="the plot: .png, .svg or .pdf (plot.png)"
    )
    parser.add_argument(
        "--keys",
        nargs="+",
        metavar="KEY",
        help=f"one panel for each: a name that training logs, or val/NAME ({' '.join(titles)}, where a run has them)",
    )
    parser.add_argument(
        "--smooth", type=int, default=1, metavar="N", help="draw the mean of N logged values in a row (1)"
    )


def run(args: argparse.Namespace) -> int:
    """Draw the plot and print each curve's last value."""
    titles = get_method(args.method).curves
    from pose_core.drawing.curves import STYLES, plot_runs
    from pose_core.drawing.figures import check_suffix, require_matplotlib
    from pose_core.engine.metrics import compare_runs, known_keys

    require_matplotlib()
    check_suffix(args.out)
    if len(args.runs) > len(STYLES):
        raise ConfigError(f"{len(args.runs)} runs: colors and dashes distinguish at most {len(STYLES)}; give fewer")
    if args.smooth < 1:
        raise ConfigError(f"--smooth {args.smooth} must be at least 1")
    panels = compare_runs(args.runs, args.keys or list(titles), smooth=args.smooth)
    missing = [key for key in args.keys or [] if key not in panels]
    if missing or not panels:
        known = ", ".join(known_keys(args.runs)) or "nothing yet: their training ended before its first log line"
        raise ConfigError(f"no run has {' or '.join(missing or titles)}; they have {known}")
    plot_runs(panels, titles, args.out)
    for key, curves in panels.items():
        ends = [f"{name} {values[-1]:.4g} at step {steps[-1]:.0f}" for name, steps, values in curves if len(steps)]
        print(f"{key}: {', '.join(ends)}")
    print(f"written: {args.out}")
    return 0
