"""Print the measured time of every path of every op, and which one is used: pose doctor --ops."""

from __future__ import annotations

from pose_core.installation import shell_command
from pose_core.measurements import measurements_file
from pose_core.ops import dispatch, probe
from pose_core.text_tables import aligned

WHY = {
    "measured": "used: the fastest here",
    "default": "used: the default",
    "POSE_OPS": "used: POSE_OPS",
}


def print_ops(*, anew: bool) -> None:
    """Measure what is not measured on this machine yet, or everything ``anew``, and print it."""
    setting = dispatch.setting()
    found, written = probe.measure(probe.runs(), anew=anew)
    print(f"Times of the numeric operations on this CPU (POSE_OPS={setting})\n")
    print("\n".join(aligned(table(found))))
    command = f"{shell_command('pose')} doctor --ops"
    print(f"\n{'written' if written else 'read'}: {measurements_file()}")
    print(f"to measure anew: {command} --measure")
    print(f"to choose otherwise, set POSE_OPS: POSE_OPS=fuse_flip=reference,deform_conv=torchvision {command}")


def table(found: dict[str, dict[str, float]]) -> list[list[str]]:
    """Return the rows: op, path, milliseconds, and why a path is used."""
    rows = [["operation and path", "ms", ""]]
    for op, (chosen, why) in dispatch.paths().items():
        seconds = found.get(op, {})
        for path in ("reference", *dispatch.OPS[op]):
            time = f"{1e3 * seconds[path]:.3f}" if path in seconds else "-"
            rows.append([f"{op} {path}", time, WHY[why] if path == chosen else ""])
    return rows
