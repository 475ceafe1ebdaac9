"""Compare contenders fairly: one process, interleaved rounds, medians of per-round ratios.

    compare({"baseline": f, "ours": g}, rounds=7)
    → {"baseline": seconds, "ours": seconds, "ratio": baseline / ours, "ratios": {"baseline/ours": …}}

The speed of a shared machine drifts between rounds; within a round all contenders run under the same conditions.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from itertools import permutations
from pathlib import Path
from typing import Any

from pose_core import timing


def compare(
    contenders: Mapping[str, Callable[[], object]], rounds: int = 7, clock: Callable[[], float] = time.perf_counter
) -> dict[str, Any]:
    """Return the median seconds of each contender; ``ratio`` is the first over the second, ``ratios`` holds every pair.

    See `pose_core.timing.compare`.
    """
    times = timing.compare(contenders, rounds, clock)
    names = list(contenders)
    result: dict[str, Any] = {name: times.seconds(name) for name in names}
    result["ratios"] = {f"{a}/{b}": times.ratio(a, b).median for a, b in permutations(names, 2)}
    if len(names) > 1:
        result["ratio"] = result["ratios"][f"{names[0]}/{names[1]}"]
    return result


def print_table(rows: Sequence[Mapping[str, object]]) -> None:
    """Print a Markdown table; the first row's keys are its columns."""
    columns = list(rows[0])
    print("| " + " | ".join(columns) + " |")
    print("|" + " --- |" * len(columns))
    for row in rows:
        print("| " + " | ".join(_cell(row.get(column, "")) for column in columns) + " |")


def _cell(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def machine() -> str:
    """Describe the machine: processor and Python version."""
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [
            line.partition(":")[2].strip() for line in info.read_text().splitlines() if line.startswith("model name")
        ]
        cpu = f"{names[0]} ({len(names)} cores)" if names else cpu
    return f"{cpu}, Python {platform.python_version()}"


def arguments(description: str | None) -> argparse.ArgumentParser:
    """Return a parser with the options of every benchmark."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7, metavar="N", help="interleaved rounds (7)")
    parser.add_argument("--out", type=Path, metavar="FILE", help="also write the rows as JSON")
    return parser


def finish(rows: Sequence[Mapping[str, object]], out: Path | None) -> None:
    """Print the table and write it to ``out``."""
    print(machine())
    print_table(rows)
    write_rows(rows, out, machine())


def write_rows(rows: Sequence[Mapping[str, object]], out: Path | None, where: str) -> None:
    """Write rows and their machine as JSON, if ``out`` is given."""
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps({"machine": where, "rows": list(rows)}, indent=1) + "\n")
