"""Trained weights by name: list them, download them, say where they are, check what was downloaded.

  %(prog)s list 'hrnet*'
  %(prog)s get NAME
  %(prog)s where NAME
  %(prog)s check

Commands that take --weights take these names, and download what is missing. POSE_HOME sets the folder of downloads
(~/.cache/pose). POSE_OFFLINE=1 forbids downloading. POSE_WEIGHTS_MIRROR is a folder or URL that holds copies of the
files; POSE_CHECKPOINTS a table (CSV) with weights of your own. Licenses and data sets are in the list: their terms bind
whoever uses the weights.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from typing import TYPE_CHECKING

from pose_core.errors import ConfigError, WeightsError
from pose_core.installation import shell_command

if TYPE_CHECKING:
    from pathlib import Path

    from pose_core.plugins.checkpoints import Checkpoint


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``weights``."""
    verbs = parser.add_subparsers(dest="what", required=True, metavar="list|get|where|check")
    show = verbs.add_parser("list", help="list weights with their published figures")
    show.add_argument("pattern", nargs="?", default="*", help="shell pattern, for example 'hrnet*' (all)")
    show.add_argument("--json", action="store_true", help="print JSON, with addresses, hashes and licenses")
    show.set_defaults(handle=_list)
    get = verbs.add_parser("get", help="download weights, check and convert them, and print their files")
    get.add_argument("names", nargs="+", metavar="NAME", help="a name, a URL, or hf://owner/repo/file")
    get.set_defaults(handle=_get)
    where = verbs.add_parser("where", help="print the file of downloaded weights; exit code 1 if they are not here")
    where.add_argument("name", metavar="NAME")
    where.set_defaults(handle=_where)
    check = verbs.add_parser("check", help="compare downloaded files with the hashes on their cards")
    check.add_argument("names", nargs="*", metavar="NAME", help="only these (all that are here)")
    check.set_defaults(handle=_check)


def run(args: argparse.Namespace) -> int:
    """Run one of the subcommands."""
    code: int = args.handle(args)
    return code


def _list(args: argparse.Namespace) -> int:
    from pose_core.plugins.checkpoints import list_checkpoints

    found = [each for each in list_checkpoints(args.pattern) if args.method in {None, each.method}]
    if not found and args.pattern == "*":
        raise ConfigError("the installed methods come with no weights; POSE_CHECKPOINTS may name a table of your own")
    if not found:
        raise ConfigError(f"no weights match {args.pattern!r}; `{shell_command(args.script)} weights list` lists all")
    if args.json:
        print(json.dumps([asdict(each) for each in found], indent=2))
        return 0
    name, metric = (max(len(str(getattr(each, key))) for each in found) for key in ("name", "metric"))
    for each in found:
        mark = "*" if each.default else " "
        known = each.sha256 or not each.url.startswith("file:")  # else the name depends on the file's hash
        here = "  (downloaded)" if known and _place(each).is_file() else ""
        print(f"{mark} {each.name:<{name}}  {each.metric:<{metric}}  {each.data}{here}".rstrip())
    print(
        "* the default of its method. Figures are as published, not measured here. --json adds licenses and addresses."
    )
    return 0


def _get(args: argparse.Namespace) -> int:
    from pose_core.plugins.checkpoints import locate_weights

    for name in args.names:
        print(locate_weights(name))
    return 0


def _where(args: argparse.Namespace) -> int:
    path = _stored(args.name)
    if not path.is_file():
        command = f"{shell_command(args.script)} weights get {args.name}"
        raise WeightsError(f"{args.name} is not on this machine; `{command}` downloads it to {path}")
    print(path)
    return 0


def _check(args: argparse.Namespace) -> int:
    from pose_core.folders import cache_home
    from pose_core.models.store import is_whole

    folder = cache_home() / "weights"
    paths = [_stored(name) for name in args.names] or sorted(folder.glob("*.safetensors"))
    if not paths:
        print(f"no weights in {folder}")
        return 0
    damaged = 0
    for path in paths:
        state = "ok" if is_whole(path) else "damaged: it is made anew when used" if path.is_file() else "not downloaded"
        damaged += state.startswith("damaged")
        print(f"{path.name}: {state}")
    return 1 if damaged else 0


def _stored(name: str) -> Path:
    from pose_core.plugins.checkpoints import find_checkpoint

    return _place(find_checkpoint(name))


def _place(checkpoint: Checkpoint) -> Path:
    """Return the file that weights have when they are downloaded."""
    from pose_core.models.store import stored_path

    return stored_path(checkpoint.url, checkpoint.sha256, checkpoint.card())
