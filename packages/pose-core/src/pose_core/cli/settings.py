"""List the settings of experiments: every key with its values, its default and its meaning.

  %(prog)s                    all settings
  %(prog)s train.lr           one key
  %(prog)s train              the keys that start with "train."
  %(prog)s flip               the keys that contain the word, in their name or their meaning

Set a key on the command line of train, eval, predict and other commands as key=value, for example train.epochs=10, or
in a YAML file. `%(script)s show-config --explain` prints an experiment with the same explanations.
"""

from __future__ import annotations

import argparse
import json
import textwrap
from dataclasses import asdict

from pose_core.errors import ConfigError

WIDTH = 100


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``settings``."""
    parser.add_argument("word", nargs="?", default="", metavar="KEY|WORD", help="show only these settings (all)")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """Print the settings."""
    from pose_core.plugins.method import get_method, installed_methods
    from pose_core.plugins.settings import Documented, documented_settings, nearest_setting

    rows = documented_settings(args.method)
    word = args.word.rstrip(".").lower()
    chosen: list[Documented] = []
    for matches in (
        lambda setting: setting.key == word,
        lambda setting: setting.key.startswith(f"{word}."),
        lambda setting: word in f"{setting.key} {setting.meaning}".lower(),
    ):
        chosen = chosen or [row for row in rows if not word or matches(row.setting)]
    if not chosen:
        near = nearest_setting(word, args.method)
        hint = f"; did you mean {near}?" if near else "."
        raise ConfigError(f"no setting contains {args.word!r}{hint} `{args.script} settings` lists all of them")
    if args.json:
        content = [{**asdict(row.setting), "methods": list(row.scripts)} for row in chosen]
        print(json.dumps(content, indent=2, ensure_ascii=False))
        return 0
    everyone = [get_method(args.method)] if args.method else list(installed_methods().values())
    for row in chosen:
        setting = row.setting
        default = "must be given" if setting.default is None else f"= {setting.default}"
        owners = "" if len(row.scripts) == len(everyone) else f"   ({', '.join(row.scripts)})"
        print(f"{setting.key} {default}{owners}")
        print(textwrap.indent(textwrap.fill(setting.meaning, WIDTH - 4), "    "))
        print(f"    values: {setting.values}")
    return 0
