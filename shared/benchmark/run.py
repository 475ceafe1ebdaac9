"""Measure the whole table of performance bars in one run of at most ten minutes, and compare it with an earlier one.

    python shared/benchmark/run.py --out shared/benchmark/results/this_machine
    python shared/benchmark/run.py --against shared/benchmark/results/this_machine.json --loss 1.25
    python shared/benchmark/run.py --only samples,stream

Writes OUT.json, OUT.md and OUT.png: each row is the time of one way over that of another (a floor, the bare network, a
peer) in interleaved rounds, with the 95 % interval of its median. With --against, the ratios are divided by those of
the earlier run; the exit code is 1 if one of them is surely worse: its whole interval is beyond --loss.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before NumPy and PyTorch start their threads

import cv2
import torch
from cases import Result, measure
from rows import cell, markdown
from suites import MORE, SUITES
from tqdm import tqdm

from pose_core import machine
from pose_core.files import write_json, write_text

BUDGET = 5.0
"""Seconds for each case."""
DRAWS = 2000
RESTRICTIONS = ("ATEN_CPU_CAPABILITY", "NPY_DISABLE_CPU_FEATURES", "ONEDNN_MAX_CPU_ISA", "OPENCV_CPU_DISABLE")
"""Variables that make libraries run as on an older processor."""


def run(suites: Sequence[str], budget: float) -> list[Result]:
    """Measure the cases of the suites."""
    found = []
    for name in suites:
        started = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            for case in tqdm((SUITES | MORE)[name](Path(folder)), name, unit="case", file=sys.stderr, disable=None):
                found += measure(case, budget)
        print(f"{name}: {time.perf_counter() - started:.0f} s", file=sys.stderr)
    return found


def table(results: Sequence[Result]) -> list[dict[str, str]]:
    """Return the rows to print."""
    return [
        {
            "name": each.name,
            "work": "; ".join([each.work, *(f"{name}: {cell(value)}" for name, value in each.notes.items())]),
            "time of": each.bar.split(" ≤ ")[0].split(" ≥ ")[0],
            "ms": f"{each.over_ms:.3g}",
            "over that of": each.under,
            "its ms": f"{each.under_ms:.3g}",
            "ratio": f"{each.ratio.median:.2f} ({each.ratio.low:.2f} to {each.ratio.high:.2f})",
            "bar": f"{'≤' if each.at_most else '≥'} {each.limit:g}",
            "": "" if each.reached else "misses",
        }
        for each in results
    ]


@dataclass(frozen=True)
class Change:
    """How a ratio has changed since an earlier run: above 1 is worse."""

    name: str
    bar: str
    factor: float
    low: float
    high: float


def changes(now: Sequence[Result], before: Sequence[dict[str, Any]]) -> list[Change]:
    """Compare the ratios of the rows that both runs have, with a bootstrap over the rounds of both."""
    draw = random.Random(0)
    earlier = {(row["name"], row["bar"]): row for row in before}
    found = []
    for each in now:
        row = earlier.get((each.name, each.bar))
        if row is None:
            continue
        sign = 1 if each.at_most else -1  # of a peer's time over ours, less is worse
        factors = sorted(
            (
                median(draw.choices(each.rounds, k=len(each.rounds)))
                / median(draw.choices(row["rounds"], k=len(row["rounds"])))
            )
            ** sign
            for _ in range(DRAWS)
        )
        cuts = quantiles(factors, n=40, method="inclusive")
        factor = (each.ratio.median / row["ratio"]["median"]) ** sign
        found.append(Change(each.name, each.bar, factor, cuts[0], cuts[-1]))
    return found


def compared(now: Sequence[Result], file: Path, loss: float) -> bool:
    """Print the changes since the run in a file; return whether one is surely a loss."""
    earlier = json.loads(file.read_text())
    found = changes(now, earlier["rows"])
    if not found:
        raise SystemExit(f"{file} has none of the rows of this run; measure the same suites")
    print(f"\nagainst {file.name} ({earlier['machine']}); above 1 is worse\n")
    rows = [
        {
            "name": each.name,
            "bar": each.bar,
            "now / then": f"{each.factor:.2f} ({each.low:.2f} to {each.high:.2f})",
            "": "LOSS" if each.low > loss else "",
        }
        for each in found
    ]
    print(markdown(rows))
    return any(each.low > loss for each in found)


def plot(results: Sequence[Result], where: str, file: Path) -> None:
    """Draw each ratio in units of its bar, with its interval: left of 1 is within the bar."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 1.2 + 0.3 * len(results)), layout="constrained")
    axes = figure.subplots()
    for number, each in enumerate(results):
        ends = [each.ratio.low / each.limit, each.ratio.median / each.limit, each.ratio.high / each.limit]
        low, middle, high = ends if each.at_most else [1 / end for end in reversed(ends)]
        color = "tab:blue" if each.reached else "tab:red"
        axes.plot([low, high], [number, number], color=color, linewidth=4, alpha=0.4, solid_capstyle="butt")
        axes.plot(middle, number, "o", color=color)
        axes.annotate(f" {each.ratio.median:.2f}", (high, number), va="center", fontsize=8)
    axes.axvline(1, color="black", linewidth=1)
    axes.set_xscale("log")
    axes.set_yticks(range(len(results)), [f"{each.name}: {each.bar}" for each in results], fontsize=8)
    axes.margins(y=0.01)
    axes.invert_yaxis()
    axes.set_xlabel("cost in units of the bar: left of 1 is within it")
    axes.set_title(where, fontsize=9, loc="right")
    axes.grid(axis="x", alpha=0.3)
    figure.savefig(file, dpi=110)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--only", metavar="NAME,…", help=f"these suites only: {', '.join(SUITES)}; also {', '.join(MORE)}"
    )
    parser.add_argument("--budget", type=float, default=BUDGET, metavar="S", help=f"seconds for a case ({BUDGET:g})")
    parser.add_argument("--out", type=Path, metavar="OUT", help="write OUT.json, OUT.md and OUT.png")
    parser.add_argument("--against", type=Path, metavar="FILE", help="the JSON file of an earlier run")
    parser.add_argument(
        "--loss",
        type=float,
        default=1.25,
        metavar="F",
        help="fail if a ratio is surely this much worse (1.25)",
    )
    args = parser.parse_args()
    names = args.only.split(",") if args.only else list(SUITES)
    if unknown := [name for name in names if name not in SUITES | MORE]:
        parser.error(f"no suite is called {unknown[0]}; there are {', '.join(SUITES | MORE)}")
    if args.against and not args.against.is_file():
        parser.error(f"--against {args.against} does not exist: give the .json file of an earlier run")
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    started = time.perf_counter()
    found = run(names, args.budget)
    seconds = time.perf_counter() - started
    restricted = [f"{name}={os.environ[name]}" for name in RESTRICTIONS if name in os.environ]
    where = ", ".join([machine.processor(), *restricted])
    print(f"{where}\n{', '.join(f'{name} {version}' for name, version in machine.versions().items())}\n")
    text = markdown(table(found))
    print(f"{text}\n\n{len(found)} rows in {seconds:.0f} s, {sum(each.reached for each in found)} within their bars")
    if args.out:
        content = {
            "machine": where, "versions": machine.versions(), "seconds": seconds,
            "rows": [each.as_json() for each in found],
        }  # fmt: skip
        write_json(args.out.with_suffix(".json"), content, indent=1)
        write_text(args.out.with_suffix(".md"), f"# {where}\n\n{text}\n")
        plot(found, where, args.out.with_suffix(".png"))
    return int(bool(args.against) and compared(found, args.against, args.loss))


if __name__ == "__main__":
    sys.exit(main())
