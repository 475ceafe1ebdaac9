"""Tables of the benchmarks, and the options of those that are no suites of `run.py`."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from pose_core.machine import processor


def markdown(rows: Sequence[Mapping[str, object]]) -> str:
    """Return a Markdown table; the first row's keys are its columns."""
    columns = list(rows[0])
    lines = [columns, ["---"] * len(columns), *([cell(row.get(name, "")) for name in columns] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def cell(value: object) -> str:
    """Return a value with three digits, or as it is."""
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def print_table(rows: Sequence[Mapping[str, object]]) -> None:
    """Print a Markdown table."""
    print(markdown(rows))


def arguments(description: str | None) -> argparse.ArgumentParser:
    """Return a parser with the options of every benchmark."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7, metavar="N", help="interleaved rounds (7)")
    parser.add_argument("--out", type=Path, metavar="FILE", help="also write the rows as JSON")
    return parser


def finish(rows: Sequence[Mapping[str, object]], out: Path | None) -> None:
    """Print the table and write it to ``out``."""
    print(processor())
    print_table(rows)
    write_rows(rows, out, processor())


def write_rows(rows: Sequence[Mapping[str, object]], out: Path | None, where: str) -> None:
    """Write rows and their machine as JSON, if ``out`` is given."""
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps({"machine": where, "rows": list(rows)}, indent=1) + "\n")
