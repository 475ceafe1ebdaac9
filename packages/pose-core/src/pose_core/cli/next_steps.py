"""The command that checks annotation files that another command has written."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from pose_core.installation import shell_command


def check_command(layout: str, root: Path, split: str, joints: Sequence[str], annotations: Path) -> str:
    """Return the command that checks a split, with the one that writes its skeleton file if its joints need one."""
    from pose_core.layouts.table import get_layout
    from pose_core.skeleton import SKELETONS

    pose, quoted = shell_command("pose"), shlex.quote
    words = [f"{pose} data check --layout {layout} --root {quoted(str(root))} --splits {quoted(split)}"]
    known = [name for name, skeleton in SKELETONS.items() if skeleton.joints == tuple(joints)]
    if get_layout(layout).skeleton in known:
        return words[0]
    if known:
        return f"{words[0]} --skeleton {known[0]}"
    file = quoted(str(annotations.with_suffix(".yaml")))
    made = f"{pose} data new-skeleton {quoted(str(annotations))} --sigmas default --out {file}"
    return f"{made} && {words[0]} --skeleton {file}"
