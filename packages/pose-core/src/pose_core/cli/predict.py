"""Find poses in images and videos, and draw them.

  %(prog)s --cfg %(example)s --weights best.pt photo.jpg folder/ --out predictions
  %(prog)s --cfg %(example)s --weights best.pt clip.mp4 --fps 10

top-down methods:

  %(prog)s --cfg %(example)s --weights best.pt folder/ --boxes detections.json
  %(prog)s --cfg %(example)s --weights best.pt folder/ --detector fasterrcnn --detector-weights FILE

A top-down network predicts one box at a time; without boxes or a detector, the whole image is taken as one person.
A bottom-up network finds all people itself. Writes a drawn copy and the poses as JSON for every image and for every
frame of a video, and a drawn video. The inputs are never modified.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from pose_core.cli.arguments import add_config, add_device, add_fast, add_weights, load_fast, split_overrides
from pose_core.cli.video_arguments import add_video_arguments, video_options


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``predict``."""
    add_config(parser)
    parser.add_argument("inputs", nargs="+", metavar="INPUT|key=value", help="images, videos and folders; settings")
    add_weights(parser)
    parser.add_argument("--out", default="predictions", metavar="DIR", help="folder for the results (predictions)")
    parser.add_argument("--boxes", metavar="FILE", help="detections JSON with the people's boxes")
    parser.add_argument("--detector", choices=["whole", "fasterrcnn"], default="whole", help="how to find people")
    parser.add_argument("--detector-weights", metavar="FILE", help="weights of the detector; never downloaded")
    parser.add_argument("--box-threshold", type=float, default=0.9, metavar="S", help="lowest box score (0.9)")
    parser.add_argument("--threshold", type=float, default=0.2, metavar="S", help="lowest joint score drawn (0.2)")
    parser.add_argument("--style", default="side", metavar="NAME", help="colors: side, chunhua, xiaochu (side)")
    parser.add_argument("--no-draw", action="store_true", help="write JSON only")
    add_device(parser)
    add_fast(parser)
    add_video_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Predict all inputs, write the results, and return 3 if an input could not be read."""
    args.overrides, inputs = split_overrides(args.inputs)
    config = load_fast(args, "inference")
    from pose_core.errors import ConfigError

    if not inputs:
        raise ConfigError("name at least one image, video or folder to predict")
    from pose_core.inference.results import predict_paths
    from pose_core.plugins.predictors import Predictor
    from pose_core.topdown.detectors import build_detector

    detector = build_detector(
        args.detector,
        boxes=args.boxes,
        weights=args.detector_weights,
        threshold=args.box_threshold,
        device=config.run.device,
    )
    predictor = Predictor.from_config(
        config, weights=args.weights, device=config.run.device, strict=not args.partial_weights
    )
    summary = predict_paths(
        predictor,
        [Path(word) for word in inputs],
        Path(args.out),
        detector=detector,
        threshold=args.threshold,
        style=args.style,
        draw=not args.no_draw,
        video=video_options(args),
    )
    print(summary)
    return 3 if summary.unreadable else 0
