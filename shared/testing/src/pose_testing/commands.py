"""Check that commands printed in documentation are understood: their words, settings, and the names in them."""

from __future__ import annotations

import re

from pose_core.cli import build_parser, method_verbs
from pose_core.cli.verbs import VERBS
from pose_core.plugins.checkpoints import find_checkpoint
from pose_core.plugins.experiments import load_config
from pose_core.plugins.method import get_method

FILE = re.compile(r"/|\.(pt|pth|tar|safetensors)$")
PLACEHOLDER = re.compile(r"\b[A-Z]{3,}\b|[A-Z]\.pth|\.ya?ml$")
"""Words that the reader replaces, and files that the reader has."""


def without_launcher(words: list[str]) -> list[str]:
    """Return a command that torchrun starts as one that starts itself."""
    if words[:1] != ["torchrun"]:
        return words
    module = words.index("-m") + 1
    return [words[module].replace("_", "-"), *words[module + 1 :]]


def check_command(words: list[str]) -> None:
    """Parse a command of ours, resolve its experiments with its settings, and look up its checkpoints."""
    method = None if words[0] == "pose" else words[0].removeprefix("pose-")
    verbs = dict(VERBS) if method is None else method_verbs(method)
    if words[1] in {"COMMAND", "--help", "--version"}:
        return
    assert words[1] in verbs
    if words[-1] in {"--help", "-h"}:
        return
    parser = build_parser(words[0], verbs, words[1], method)
    try:
        args = parser.parse_intermixed_args(words[2:])
    except TypeError:  # a command with subcommands
        args = parser.parse_args(words[2:])
    overrides = [word for word in words[2:] if re.match(r"[a-z_.]+=", word)]
    configs = getattr(args, "cfg", None) or []
    for name in [configs] if isinstance(configs, str) else configs:
        if not PLACEHOLDER.search(name) and "/" not in name.removeprefix(f"{words[0]}/"):
            known = method is not None and name in get_method(method).experiments()
            load_config(f"{words[0]}/{name}" if known else name, overrides)
    for name in (getattr(args, "weights", None), *getattr(args, "names", ())):
        if isinstance(name, str) and not FILE.search(name) and not PLACEHOLDER.search(name):
            find_checkpoint(name)
