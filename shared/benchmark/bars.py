"""Print every performance target (bar) of the project next to its last recorded result.

    python shared/benchmark/bars.py            # a Markdown table of results/*.json

Each file is one run of the benchmark of its name, whose docstring explains the figures; ratios are the published code's
time over ours, in interleaved rounds of one run.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

from paired import print_table

RESULTS = Path(__file__).parent / "results"
FIGURES = (
    "ratio", "keeps", "of decode", "ratio to faster-coco-eval", "memory ratio", "ours ×", "onnx ×", "bf16 ×",
    "loop now, ms", "EMA, ms", "of a real step",
)  # fmt: skip
"""Columns with the figures that bars apply to."""


def shown(value: object) -> str:
    """Return a figure as text, and nothing for a column that a row leaves empty."""
    return f"{value:.2f}" if isinstance(value, float) else "" if value in {None, "-"} else str(value)


def main() -> None:
    rows, machines = [], {}
    for file in sorted(RESULTS.glob("*.json")):
        content = json.loads(file.read_text())
        machines[file.stem] = content["machine"]
        for row in content["rows"]:
            if row.get("bar", "-") in {"", "-"}:
                continue
            reached = [f"{name} {figure}" for name in FIGURES if (figure := shown(row.get(name)))]
            rows.append(
                {
                    "bar of": row.get("#", file.stem),
                    "work": row.get("work") or row.get("network"),
                    "reached": ", ".join(reached).removeprefix("ratio "),
                    "bar": row["bar"],
                    "benchmark": f"bench_{file.stem}.py",
                }
            )
    rows.sort(key=lambda row: (int(re.sub(r"\D", "", str(row["bar of"])) or 99), str(row["bar of"])))
    print_table(rows)
    for machine in sorted(set(machines.values())):
        names = ", ".join(name for name, where in machines.items() if where == machine)
        print(f"\n{names}: {machine}")


if __name__ == "__main__":
    main()
