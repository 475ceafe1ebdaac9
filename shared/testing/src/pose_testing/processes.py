"""Processes that a test has started, to kill them."""

from __future__ import annotations

from pathlib import Path


def family(process: int) -> list[int]:
    """Return the numbers of a process and of all that it has started, and these, as Linux knows them."""
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:  # it has ended
                continue
    found = [process]
    for each in found:
        found += [child for child, parent in parents.items() if parent == each]
    return found
