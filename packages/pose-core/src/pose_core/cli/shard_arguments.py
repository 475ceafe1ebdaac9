"""Arguments for a prediction in shards, and what `predict` does with them."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pose_core.inference.recipe import Recipe
    from pose_core.inference.shard_plan import Plan

SHARD_SIZE = 1000
PATIENCE = 90.0
"""Seconds until a network file system shows what other machines have written."""


def add_shard_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that apply to shards."""
    group = parser.add_argument_group("many images, by several processes")
    group.add_argument(
        "--format",
        choices=("jsonl", "parquet"),
        help="write no drawn images, but shards of this format; a killed job continues where it stopped",
    )
    group.add_argument("--shard-size", type=int, metavar="N", help=f"images and frames in each shard ({SHARD_SIZE})")
    group.add_argument("--list", metavar="FILE", help="a file with one input on each line")
    group.add_argument(
        "--retry-unreadable",
        action="store_true",
        help="redo shards with inputs that could not be read (archives and videos that could not be listed need "
        "another --out)",
    )


def check_shard_arguments(args: argparse.Namespace) -> None:
    """Raise a ConfigError if the arguments for shards do not fit the others, or the processes of the job."""
    from pose_core.errors import ConfigError

    if args.format is None:
        given = {"--shard-size": args.shard_size, "--list": args.list, "--retry-unreadable": args.retry_unreadable}
        for name, value in given.items():
            if value:
                raise ConfigError(f"{name} is for shards: add --format jsonl or --format parquet")
        if os.environ.get("WORLD_SIZE", "1") != "1":
            raise ConfigError("several processes predict in shards only: add --format jsonl or --format parquet")
        return
    one_by_one = {
        "--csv": args.csv,
        "--draw-boxes": args.draw_boxes,
        "--fps": args.fps,
        "--frames-limit": args.frames_limit,
        "--seconds": args.seconds,
        "--smooth": args.smooth,
        "--style": args.style != "side",
        "--threshold": args.threshold != 0.2,
        "--frames": args.frames,
    }
    for name, value in one_by_one.items():
        if value:
            raise ConfigError(
                f"{name} does not go with --format, which writes all frames and joints, no drawn images, tracks or CSV"
            )


def _look(file: Path, kind: str) -> str:
    """Return a command that prints the first row of a shard."""
    if kind == "jsonl":
        return f"head -n 1 {shlex.quote(str(file))}"
    code = f"import pyarrow.parquet as p; print(p.read_table({str(file)!r}).slice(0, 1).to_pylist())"
    return f"{shlex.quote(sys.executable)} -c {shlex.quote(code)}"


def run_shards(args: argparse.Namespace, recipe: Recipe, inputs: list[str]) -> int:
    """Predict the shards that fall to this process; return 3 if it is the only one and an input could not be read."""
    from pose_core.inference.shard_queue import Place, ShardQueue
    from pose_core.inference.shard_runtime import with_runtime
    from pose_core.inference.shard_summary import count_shards, summary_text, write_summary
    from pose_core.inference.shards import plan_shards, predict_shards

    place = Place.of_environment()
    threads = place.share_cores()
    queue = ShardQueue(place)
    folder = Path(args.out)
    device = place.device(recipe.config.run.device)

    def begin() -> tuple[Plan, Recipe]:
        plan = plan_shards(
            recipe,
            inputs,
            folder,
            kind=args.format,
            shard_size=SHARD_SIZE if args.shard_size is None else args.shard_size,
            listed=None if args.list is None else Path(args.list),
            min_score=args.min_score,
            main=place.rank == 0,
        )
        if not plan.missing() and not args.retry_unreadable:
            return plan, recipe
        return plan, with_runtime(recipe, folder, device, plan.rows // place.world_size)

    plan, chosen = queue.after_first(begin)
    there = plan.shards - len(plan.missing())
    if there and place.rank == 0:
        print(
            f"{there} of {plan.shards} shards in {folder} are complete; inputs are as listed when it began: files that "
            "were added since need another --out",
            file=sys.stderr,
        )
    try:
        if plan.missing() or args.retry_unreadable:
            predictor, detector = chosen.build(device)
            predict_shards(
                plan,
                queue.take(plan.shards),
                predictor,
                detector,
                again=args.retry_unreadable,
                threads=threads,
                processes=place.world_size,
                quiet=place.rank > 0,
            )
        queue.finish()
    except KeyboardInterrupt:
        if place.rank == 0:
            left = len(plan.missing())
            print(
                f"\n{plan.shards - left} of {plan.shards} shards in {folder} are complete; the same command continues",
                file=sys.stderr,
            )
        raise
    if place.rank:
        return 0
    counts = count_shards(plan, patience=PATIENCE if place.world_size > 1 else 0)
    summary = write_summary(plan, counts)
    print(summary_text(plan, counts))
    print(f"counts and settings: {summary}")
    print(f"to look at them: {_look(plan.file(0), args.format)}")
    # A launcher takes any other code for a process that has failed, and starts the job again.
    return 3 if counts.unreadable and place.world_size == 1 else 0
