"""Compare contenders fairly: one process, interleaved rounds, medians of per-round ratios.

    compare({"baseline": f, "ours": g}, rounds=7)
    → {"baseline": seconds, "ours": seconds, "ratio": baseline / ours, "ratios": {"baseline/ours": …}}

A machine shared with others drifts between rounds; within a round both contenders meet the same weather.
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from itertools import permutations
from pathlib import Path
from statistics import median
from typing import Any

TURN = 0.005
"""Seconds that a contender's turn takes at least, in as many calls as that needs. A single call of a tenth of a
millisecond would measure what state the other contender left the caches in."""


def compare(
    contenders: Mapping[str, Callable[[], object]], rounds: int = 7, clock: Callable[[], float] = time.perf_counter
) -> dict[str, Any]:
    """Median seconds of each contender; ``ratio`` is the first over the second, ``ratios`` holds every pair.

    Every contender runs once before the clock starts. Times are those of one call: wall time, or by `time.process_time`
    the processor's, which work on one thread may be compared by where other processes take turns with it.
    """
    for run in contenders.values():
        run()
    calls = {name: _calls_of_a_turn(run) for name, run in contenders.items()}
    times: dict[str, list[float]] = {name: [] for name in contenders}
    names = list(contenders)
    for number in range(rounds):
        # Whoever runs first in a round may meet a colder cache: take turns.
        for name in names if number % 2 == 0 else reversed(names):
            times[name].append(_seconds(contenders[name], calls[name], clock))
    result: dict[str, Any] = {name: median(values) for name, values in times.items()}
    result["ratios"] = {
        f"{a}/{b}": median(x / y for x, y in zip(times[a], times[b], strict=True)) for a, b in permutations(names, 2)
    }
    if len(names) > 1:
        result["ratio"] = result["ratios"][f"{names[0]}/{names[1]}"]
    return result


def _calls_of_a_turn(run: Callable[[], object]) -> int:
    """As many as fill it at the speed of the fastest of four calls: the first may take three times as long."""
    seconds = _seconds(run, 1)
    if seconds < TURN:
        seconds = min(seconds, *(_seconds(run, 1) for _ in range(3)))
    return math.ceil(TURN / seconds)


def _seconds(run: Callable[[], object], calls: int, clock: Callable[[], float] = time.perf_counter) -> float:
    start = clock()
    for _ in range(calls):
        run()
    return (clock() - start) / calls


def print_table(rows: Sequence[Mapping[str, object]]) -> None:
    """A Markdown table; the first row's keys are its columns."""
    columns = list(rows[0])
    print("| " + " | ".join(columns) + " |")
    print("|" + " --- |" * len(columns))
    for row in rows:
        print("| " + " | ".join(_cell(row.get(column, "")) for column in columns) + " |")


def _cell(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def machine() -> str:
    """What the figures were measured on."""
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [
            line.partition(":")[2].strip() for line in info.read_text().splitlines() if line.startswith("model name")
        ]
        cpu = f"{names[0]} ({len(names)} cores)" if names else cpu
    return f"{cpu}, Python {platform.python_version()}"


def arguments(description: str | None) -> argparse.ArgumentParser:
    """Options that every benchmark has."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7, metavar="N", help="interleaved rounds (7)")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the rows as JSON, too")
    return parser


def finish(rows: Sequence[Mapping[str, object]], out: Path | None) -> None:
    """Print the table and keep it."""
    print(machine())
    print_table(rows)
    write_rows(rows, out, machine())


def write_rows(rows: Sequence[Mapping[str, object]], out: Path | None, where: str) -> None:
    """Keep rows and what they were measured on as JSON, if anywhere."""
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps({"machine": where, "rows": list(rows)}, indent=1) + "\n")
