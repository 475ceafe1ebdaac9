"""List the built-in experiments.

%(prog)s                all of them
%(prog)s coco --long    those with "coco" in their name, with their notes

`%(script)s show-config --explain` prints all settings of one; `%(script)s settings` lists the settings that
key=value can replace.
"""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Mapping
from typing import Any

from pose_core.config import DataConfig, ModelConfig
from pose_core.installation import package_hint


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``configs``."""
    parser.add_argument("pattern", nargs="?", default="", help="show only names that contain this")
    parser.add_argument("--long", action="store_true", help="also print each experiment's note")


def run(args: argparse.Namespace) -> int:
    """Print a line for each experiment, with ``--long`` also its note."""
    from pose_core.plugins.method import get_method, installed_methods

    methods = [get_method(args.method)] if args.method else list(installed_methods().values())
    rows = [
        (name if args.method else f"{method.script}/{name}", *_columns(entry.content()), entry.note)
        for method in methods
        for name, entry in method.experiments().items()
        if args.pattern in name
    ]
    if not rows:
        hint = f"no method is installed; try: {package_hint('pose-lite')}"
        print(f"no built-in experiment contains {args.pattern!r}" if methods else hint)
        return 0
    head = ("experiment", "network", "input", "data")
    widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head))]
    for *columns, note in [(*head, ""), *rows]:
        print("  ".join(f"{text:<{width}}" for text, width in zip(columns, widths, strict=True)).rstrip())
        if args.long and note:
            print(textwrap.fill(note, 110, initial_indent="    ", subsequent_indent="    "))
    return 0


def _columns(content: Mapping[str, Any]) -> tuple[str, str, str]:
    """Return network, input height x width, and layout of an experiment."""
    model, data = content["model"], content.get("data", {})
    width, height = model.get("input_size", ModelConfig.model_fields["input_size"].default)
    return str(model["name"]), f"{height}x{width}", str(data.get("layout", DataConfig.model_fields["layout"].default))
