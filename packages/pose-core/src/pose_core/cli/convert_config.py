"""Convert a YAML config of the original repositories (upper-case keys) to an experiment file.

  pose convert-config w32_256x192_adam_lr1e-3.yaml --out mine.yaml
  pose convert-config w32_256x192_adam_lr1e-3.yaml TEST.FLIP_TEST False train.epochs=100

Lists what became of every key. Settings replace the file's: in its own spelling, or ours.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from pose_core.cli.arguments import add_overrides


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``convert-config``."""
    parser.add_argument("file", metavar="FILE", help="a YAML config of the original repositories")
    add_overrides(parser)
    parser.add_argument("--out", metavar="FILE", help="write the experiment to this file instead of printing it")


def run(args: argparse.Namespace) -> int:
    """Write or print the converted file; the notes go to stderr if it is printed."""
    from pose_core.config import dump_config, parse_config, read_yaml
    from pose_core.errors import ConfigError
    from pose_core.files import write_text
    from pose_core.plugins.convert.source import render_notes
    from pose_core.plugins.experiments import override_config
    from pose_core.plugins.method import get_method
    from pose_core.plugins.published import convert_published, is_published, override_published

    path = Path(args.file)
    content = read_yaml(path)
    if not is_published(content):
        raise ConfigError(f"{path} is not in the published form: it has no MODEL, DATASET, TRAIN or TEST section")
    content, overrides = override_published(content, args.overrides)
    converted = convert_published(content, path.name)
    schema = get_method(str(converted.config["method"])).schema(converted.config, str(path))
    config = parse_config({"name": path.stem.split(".")[0], **converted.config}, schema, f"{path}, converted")
    text = dump_config(override_config(config, overrides))
    if args.out:
        print(render_notes(converted))
        write_text(Path(args.out), text)
        print(f"written: {args.out}")
    else:
        print(render_notes(converted), file=sys.stderr)
        print(text, end="")
    return 0
