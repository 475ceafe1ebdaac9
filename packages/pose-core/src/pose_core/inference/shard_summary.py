"""What all shards of a prediction hold together: counts, and what could not be read."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path

from pose_core.errors import PoseError
from pose_core.files import write_json
from pose_core.inference.shard_plan import Plan
from pose_core.inference.shards import COUNTED
from pose_core.machine import versions
from pose_core.plurals import counted
from pose_core.reading.json_text import read_json


@dataclass
class ShardCounts:
    """Numbers of pictures, of frames, of people, and of inputs that could not be read, with a few of the reasons."""

    shards: int = 0
    images: int = 0
    frames: int = 0
    people: int = 0
    without_people: int = 0
    low_people: int = 0
    unreadable: int = 0
    examples: list[str] = field(default_factory=list)


def count_shards(plan: Plan, patience: float = 0.0) -> ShardCounts:
    """Return what the shards hold, as their manifests say; raise a PoseError if some are missing after some seconds."""
    total = ShardCounts()
    end = time.monotonic() + patience
    while (missing := plan.missing()) and time.monotonic() < end:
        time.sleep(1)
    if missing:
        raise PoseError(
            f"{counted(len(missing), 'shard')} of {plan.shards} are missing in {plan.folder / 'shards'}, such as "
            f"{plan.file(missing[0]).name}: the same command makes them"
        )
    for shard in range(plan.shards):
        about = read_json(plan.manifest(shard), "manifest")
        for name in COUNTED:
            setattr(total, name, getattr(total, name) + int(about[name]))
        total.shards += 1
        total.unreadable += len(about["unreadable"])
        total.examples += [each["reason"] for each in about["unreadable"][: 5 - len(total.examples)]]
    return total


def write_summary(plan: Plan, counts: ShardCounts) -> Path:
    """Write ``summary.json``, remove what killed processes have left, and return the file."""
    for file in plan.folder.glob("shards/.part-*"):
        file.unlink(missing_ok=True)
    for file in plan.folder.glob("manifests/.part-*"):
        file.unlink(missing_ok=True)
    target = plan.folder / "summary.json"
    write_json(target, {**vars(counts), "settings": plan.settings, "versions": versions()}, indent=1)
    return target


def summary_text(plan: Plan, counts: ShardCounts) -> str:
    """Return the summary of a complete prediction for people."""
    inputs = [counted(counts.images, "image")] if counts.images or not counts.frames else []
    inputs += [counted(counts.frames, "frame")] if counts.frames else []
    lines = [
        f"{counted(counts.people, 'person', 'people')} in {' and '.join(inputs)}, written to "
        f"{counted(counts.shards, 'shard')} in {plan.folder / 'shards'}"
    ]
    if counts.without_people:
        lines.append(f"nobody was found in {counted(counts.without_people, 'image')}")
    if counts.low_people:
        were = "was" if counts.low_people == 1 else "were"
        lines.append(
            f"{counted(counts.low_people, 'person', 'people')} scored less than --min-score "
            f"{plan.settings['min_score']:g} and {were} left out"
        )
    if counts.unreadable:
        lines.append(
            f"{counted(counts.unreadable, 'input')} could not be read; {plan.folder / 'manifests'} names all; "
            "--retry-unreadable tries them again (damaged archives and videos need another --out):"
        )
        lines += [f"  {text}" for text in counts.examples]
    return "\n".join(lines)
