"""List networks with their size and cost.

  pose models
  pose models 'hrnet*' --input 256x192

GMACs are true multiply-adds. "published G", for comparison with papers, counts as the published tables do: weights
times output positions also for transposed convolutions (four times too many at stride 2), in units of 1024³.
"""

from __future__ import annotations

import argparse
import json
import re


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``models``."""
    parser.add_argument("pattern", nargs="?", default="*", help="shell pattern, for example 'hrnet*'")
    parser.add_argument("--input", default="256x192", metavar="HxW", help="input, height x width (256x192)")
    parser.add_argument("--joints", type=int, default=17, metavar="K", help="number of joints (17)")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """Print the table of networks, or JSON."""
    from pose_core.errors import ConfigError

    match = re.fullmatch(r"(\d+)x(\d+)", args.input)
    if not match:
        raise ConfigError(f"--input {args.input!r} must be height x width, for example 256x192")
    height, width = int(match[1]), int(match[2])
    from pose_core.plugins.networks import list_models, profile_model
    from pose_core.suggestions import did_you_mean

    names = list_models(args.pattern)
    if not names:
        hint = did_you_mean(args.pattern, list_models(), 3) or "."
        raise ConfigError(f"no network matches {args.pattern!r}{hint} `pose models` lists all of them")
    rows = [profile_model(name, (width, height), args.joints) for name in names]
    if args.json:
        print(json.dumps([row._asdict() for row in rows], indent=2))
        return 0
    column = max(map(len, names))
    print(f"{'network':<{column}}  {'input':>9}  {'parameters':>12}  {'GMACs':>8}  {'published G':>11}")
    for row in rows:
        print(
            f"{row.name:<{column}}  {height:>4}x{width:<4}  {row.parameters:>12,}  {row.gmacs:>8.3f}"
            f"  {row.published_gi:>11.3f}"
        )
    return 0
