"""Find the poses of people in photos and videos, and draw them.

  %(prog)s photo.jpg
  %(prog)s holiday/ 'party/*.jpg' https://example.org/photo.jpg --out predictions
  %(prog)s --weights runs/mine/best.pt photo.jpg
  %(prog)s clip.mp4 --smooth --csv
  %(prog)s rtsp://192.168.1.20/stream --seconds 60
  %(prog)s 0 --seconds 60

Without --weights the default checkpoint is used; it is downloaded once. A top-down network predicts one person at a
time and needs a box of each: a detector finds them, which is downloaded once, too. A bottom-up network finds all people
itself. Other ways to get boxes:

  %(prog)s folder/ --detector fasterrcnn_resnet50_v2
  %(prog)s folder/ --boxes detections.json
  %(prog)s data/coco/images/val2017 --boxes gt data.root=data/coco
  %(prog)s portrait.jpg --detector whole

Writes a drawn copy and the poses as JSON for every image. For a video, a stream or a camera (by its number), it writes
the drawn video and the poses as JSON lines, one for each frame; Ctrl-C ends it. The inputs are never modified. Photos
are turned upright by their EXIF orientation; with --boxes they are read as they are stored, as annotations count stored
pixels.

Millions of images, by one process or many, on one machine or several that share a file system:

  %(prog)s frames/ archives/ --out predictions --format jsonl
  torchrun --standalone --nproc-per-node 2 -m %(package)s predict --list files.txt --format parquet

This writes no drawn images, but DIR/shards/part-000000.jsonl and so on, with a line for each image and each frame of a
video, and DIR/manifests, which say what went in and what could not be read. Zip and tar archives are read in place. A
shard is written whole or not at all: after a crash, the same command does the shards that are missing, with as many
processes as you like. Two jobs with the same settings may use one DIR. The summary counts inputs that could not be
read; with several processes the exit code is 0 all the same, since torchrun starts a job again that ends with another.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from pose_core.cli.arguments import add_config, add_device, add_fast, add_weights, load_fast, split_overrides
from pose_core.cli.shard_arguments import add_shard_arguments, check_shard_arguments, run_shards
from pose_core.cli.video_arguments import add_video_arguments, video_options


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``predict``."""
    add_config(parser)
    parser.add_argument(
        "inputs",
        nargs="*",
        metavar="INPUT|key=value",
        help="images, videos, folders, quoted patterns, URLs; with --format also archives; settings",
    )
    add_weights(parser)
    parser.add_argument("--out", default="predictions", metavar="DIR", help="folder for the results (predictions)")
    parser.add_argument(
        "--boxes",
        metavar="gt|FILE",
        help="people's boxes: of a detections JSON, or the annotated ones (gt) of the config's data.root and data.val",
    )
    parser.add_argument(
        "--detector",
        metavar="NAME",
        help="how to find people: fasterrcnn_mobilenet (the default), ssdlite (smaller), fasterrcnn_resnet50_v2 (more "
        "accurate, slower), others (a wrong name lists them all), or whole: take each image as one person",
    )
    parser.add_argument(
        "--detector-weights", metavar="NAME|FILE", help="weights of the detector instead of the published ones"
    )
    parser.add_argument(
        "--box-threshold", type=float, default=0.5, metavar="S", help="minimum score of a detected box (0.5)"
    )
    parser.add_argument("--min-score", type=float, metavar="S", help="leave out people who score less (all are kept)")
    parser.add_argument(
        "--threshold", type=float, default=0.2, metavar="S", help="minimum score of a joint to be drawn (0.2)"
    )
    parser.add_argument("--style", default="side", metavar="NAME", help="colors: side, chunhua, xiaochu (side)")
    parser.add_argument("--draw-boxes", action="store_true", help="draw people's boxes, too (top-down networks)")
    parser.add_argument("--no-draw", action="store_true", help="draw nothing")
    parser.add_argument(
        "--csv",
        action="store_true",
        help="also write tables with a row for each person: poses.csv of all images, NAME.csv of a video",
    )
    add_device(parser)
    add_fast(parser)
    add_video_arguments(parser)
    add_shard_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Predict all inputs, write the results, and return 3 if an input could not be read."""
    args.overrides, inputs = split_overrides(args.inputs)
    from pose_core.errors import ConfigError

    if not inputs and args.list is None:
        raise ConfigError("name at least one image, video, folder, pattern or URL to predict")
    check_shard_arguments(args)
    if args.boxes and (args.detector or args.detector_weights):
        raise ConfigError("--boxes and --detector exclude each other: boxes are given, or a detector finds them")
    from pose_core.inference.inputs import check_inputs

    if args.format is None or not Path(args.out, "plan.json").exists():  # else they have been found before
        check_inputs(inputs)  # before anything is downloaded
    config = load_fast(args, "inference")
    from pose_core.inference.recipe import Recipe
    from pose_core.inference.results import predict_paths
    from pose_core.topdown.detectors import find_detector

    if args.detector not in (None, "whole"):
        find_detector(args.detector)  # a wrong name is refused before anything slow
    recipe = Recipe(
        config,
        args.weights,
        strict=not args.partial_weights,
        boxes=args.boxes,
        detector=args.detector,
        detector_weights=args.detector_weights,
        box_threshold=args.box_threshold,
    )
    if args.format:
        return run_shards(args, recipe, inputs)
    predictor = recipe.predictor()
    summary = predict_paths(
        predictor,
        inputs,
        Path(args.out),
        detector=recipe.detector_for(predictor),
        min_score=args.min_score,
        threshold=args.threshold,
        style=args.style,
        draw=not args.no_draw,
        boxes=args.draw_boxes,
        csv=args.csv,
        video=video_options(args),
    )
    print(summary)
    return 3 if summary.unreadable else 0
