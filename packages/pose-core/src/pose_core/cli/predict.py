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
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from pose_core.cli.arguments import add_config, add_device, add_fast, add_weights, load_fast, split_overrides
from pose_core.cli.video_arguments import add_video_arguments, video_options

if TYPE_CHECKING:
    from pose_core.plugins.predictors import Predictor
    from pose_core.topdown.detectors import Detector


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``predict``."""
    add_config(parser)
    parser.add_argument(
        "inputs",
        nargs="+",
        metavar="INPUT|key=value",
        help="images, videos, folders, quoted patterns, URLs; settings",
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


def run(args: argparse.Namespace) -> int:
    """Predict all inputs, write the results, and return 3 if an input could not be read."""
    args.overrides, inputs = split_overrides(args.inputs)
    from pose_core.errors import ConfigError

    if not inputs:
        raise ConfigError("name at least one image, video, folder, pattern or URL to predict")
    if args.boxes and (args.detector or args.detector_weights):
        raise ConfigError("--boxes and --detector exclude each other: boxes are given, or a detector finds them")
    from pose_core.inference.inputs import check_inputs

    check_inputs(inputs)  # before anything is downloaded
    config = load_fast(args, "inference")
    from pose_core.inference.results import predict_paths
    from pose_core.plugins.predictors import Predictor
    from pose_core.topdown.detectors import find_detector

    if args.detector not in (None, "whole"):
        find_detector(args.detector)  # a wrong name is refused before anything slow
    predictor = Predictor.from_config(
        config, weights=args.weights, device=config.run.device, strict=not args.partial_weights
    )
    summary = predict_paths(
        predictor,
        inputs,
        Path(args.out),
        detector=_detector(args, predictor),
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


def _detector(args: argparse.Namespace, predictor: Predictor) -> Detector | None:
    """Return the detector that the arguments name; None for a network that finds people itself."""
    from pose_core.errors import ConfigError, PoseError
    from pose_core.plugins.checkpoints import locate_weights
    from pose_core.topdown.detectors import AnnotatedBoxes, FileDetector, build_detector

    if not predictor.needs_boxes:
        if args.boxes or args.detector or args.detector_weights:
            raise ConfigError(
                f"method {predictor.config.method!r} finds people by itself; remove --boxes and --detector"
            )
        return None
    if args.boxes == "gt":
        return AnnotatedBoxes(predictor.config.data, predictor.config.data.val)
    if args.boxes:
        return FileDetector(Path(args.boxes), args.box_threshold)
    try:
        return build_detector(
            args.detector,
            weights=None if args.detector_weights is None else locate_weights(args.detector_weights),
            threshold=args.box_threshold,
            device=predictor.worker.device,
        )
    except PoseError as error:
        if args.detector or args.detector_weights:
            raise
        raise PoseError(
            f"the default detector of people is not available: {error}\nGive --boxes FILE, --detector-weights FILE, or "
            "--detector whole for photos of one person who fills them"
        ) from None
