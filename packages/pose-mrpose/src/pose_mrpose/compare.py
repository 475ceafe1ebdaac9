"""Compare several experiments in one table.

  pose-mrpose compare --params --cfg coco_mrheat1_resnet50_256x192 coco_mrfea2_resnet50_256x192
  pose-mrpose compare --cfg coco_baseline_resnet50_256x192 coco_mrfea1_resnet50_256x192 \\
      --weights pose_resnet_50_256x192.pth.tar mrfea1_pose_resnet_50_256x192.pth.tar [--boxes FILE] [key=value …]

Print a Markdown table with one row per experiment. With --params: parameters, multiply-adds and milliseconds per image
(on a CPU: with one thread). Without it, evaluate the checkpoints too, all on the same data set, and add their scores.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from pose_core.cli.arguments import add_device, load, split_overrides

if TYPE_CHECKING:
    from pose_core.config import Experiment
    from pose_core.engine.interfaces import Evaluation

COSTS = ("parameters", "GMACs", "published G", "ms")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``compare``."""
    parser.add_argument("--cfg", nargs="+", required=True, metavar="NAME|FILE", help="experiments to compare")
    parser.add_argument("--weights", nargs="+", metavar="FILE", help="one checkpoint for each experiment, in order")
    parser.add_argument("--params", action="store_true", help="size, cost and speed only; needs no data, no weights")
    parser.add_argument("--boxes", metavar="gt|FILE", help="ground-truth boxes, or those of a detections JSON")
    parser.add_argument(
        "--out", default="runs/compare", metavar="DIR", help="folder for predictions and table.md (runs/compare)"
    )
    parser.add_argument(
        "overrides", nargs="*", metavar="key=value", help="settings that replace those of all experiments"
    )
    add_device(parser)


def run(args: argparse.Namespace) -> int:
    """Print and write the table."""
    from pose_core.engine.distributed import process_group
    from pose_core.errors import ConfigError
    from pose_core.files import write_text

    overrides, names = split_overrides(args.cfg)
    args.overrides += overrides
    more, weights = split_overrides(args.weights or [])
    args.overrides += more
    if args.boxes == "gt":
        args.overrides += ["test.boxes=gt"]
    elif args.boxes:
        args.overrides += ["test.boxes=detections", f"data.detections={args.boxes}"]
    if args.params == bool(weights):
        raise ConfigError("give --weights FILE for every --cfg, or --params to compare only the networks")
    if weights and len(weights) != len(names):
        raise ConfigError(
            f"--cfg names {len(names)} experiments and --weights {len(weights)} files; give one file for each, in order"
        )
    configs = [
        load(argparse.Namespace(**{**vars(args), "cfg": name, "weights": file}), needs_weights=bool(file))
        for name, file in zip(names, weights or [""] * len(names), strict=True)
    ]
    if args.params:
        print(cost_table(configs))
        return 0
    splits = {(config.data.layout, config.data.val) for config in configs}
    if len(splits) > 1:
        sets = ", ".join(f"{layout} {val}" for layout, val in sorted(splits))
        raise ConfigError(
            f"these experiments are evaluated on different sets ({sets}); give --cfg experiments with one data set"
        )
    from pose_core.plugins.tasks import evaluate_checkpoint

    folder = Path(args.out)
    with process_group(configs[0].run.device) as place:
        evaluations = []
        for number, (config, file) in enumerate(zip(configs, weights, strict=True), start=1):
            if place.is_main:
                print(f"{number}/{len(configs)}  {config.name}")
            evaluations.append(evaluate_checkpoint(config, file, place, folder / f"{number}_{config.name}"))
        if place.is_main:
            table = result_table(configs, evaluations)
            write_text(folder / "table.md", table + "\n")
            print(f"\n{table}\n\nwritten: {folder / 'table.md'}")
    return 0


def costs(config: Experiment) -> list[str]:
    """Return the cells of an experiment's row: parameters, true and published multiply-adds, milliseconds per image."""
    from pose_core.benchmark.networks import milliseconds_of_one
    from pose_core.engine.distributed import choose_device
    from pose_core.models.flops import count_macs, count_parameters
    from pose_core.plugins.networks import check_input_size, create_model
    from pose_core.skeleton import get_skeleton

    joints = get_skeleton(config.data.skeleton).num_joints
    model = create_model(config.model.name, num_joints=joints, **config.model.options)
    size = config.model.input_size
    check_input_size(model, config.model.name, size)
    true, published = count_macs(model, size)
    milliseconds = milliseconds_of_one(model, size, choose_device(config.run.device))
    return [f"{count_parameters(model):,}", f"{true / 1e9:.3f}", f"{published / 1024**3:.3f}", f"{milliseconds:.1f}"]


def cost_table(configs: list[Experiment]) -> str:
    """Return a Markdown table of the networks' size, cost and speed."""
    from pose_core.evaluation.report import markdown_table

    rows = [[config.model.name, _input(config), *costs(config)] for config in configs]
    return markdown_table(["network", "input", *COSTS], rows)


def result_table(configs: list[Experiment], evaluations: list[Evaluation]) -> str:
    """Return a Markdown table of the networks' size, cost, speed and scores, followed by the evaluation protocols."""
    from pose_core.evaluation.report import markdown_table
    from pose_core.layouts.table import get_layout

    plain = {key: key for key in evaluations[0].metrics}
    titles = (get_layout(configs[0].data.layout).titles or plain) if plain else {}
    rows = []
    for config, evaluation in zip(configs, evaluations, strict=True):
        scores = [f"{evaluation.metrics[key]:.3f}" for key in titles]
        rows.append([config.model.name, _input(config), *costs(config), *scores])
    table = markdown_table(["network", "input", *COSTS, *titles.values()], rows)
    protocols = [line for each in evaluations for line in each.report.splitlines() if line.startswith("boxes=")]
    return "\n".join([table, "", *dict.fromkeys(protocols)])


def _input(config: Experiment) -> str:
    width, height = config.model.input_size
    return f"{height}x{width}"
