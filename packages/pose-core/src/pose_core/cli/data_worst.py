"""Find the images whose correction would pay most, and write them for an annotation tool.

  pose data worst runs/mine --count 50 --out worst
  pose data worst runs/mine --split train --out worst
  pose data worst runs/mine --split photos/ --detector fasterrcnn_mobilenet --out to_annotate

RUN is the folder of a training. Its network predicts the images of a split three times: as they are, mirrored, and
smaller. Images are ranked by the difference of annotation and prediction (error), by low scores (score), by the
disagreement of the three (disagreement), or by the mean of these ranks (all). The error finds wrong labels best; the
others find images without labels that the network cannot handle yet.

DIR gets the images, their annotations as a COCO file that CVAT imports as "COCO Keypoints 1.0", and as tasks for Label
Studio; the predictions drawn beside the annotations; and ranking.csv with all images. People without annotated joints
have the prediction as a pre-label; with --prelabel all that were found have. `pose data merge --into` takes the
corrected file back.
"""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from pose_core.cli.arguments import add_device, add_overrides, load
from pose_core.cli.next_steps import check_command
from pose_core.errors import ConfigError
from pose_core.installation import shell_command

if TYPE_CHECKING:
    from pose_core.inference.relabel import WorstFolder
    from pose_core.layouts.layout import AnnotatedSet
    from pose_core.plugins.predictors import Predictor
    from pose_core.topdown.detectors import Detector

ROWS = 10
"""Rows of the printed table."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``data worst``."""
    parser.add_argument("run", type=Path, metavar="RUN", help="folder of a training, for example runs/mine")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to write, new or empty")
    parser.add_argument("--count", type=int, default=50, metavar="N", help="images to write (50)")
    parser.add_argument(
        "--split",
        metavar="SPLIT|FILE|DIR",
        help="a split, an annotation file, or a folder of photos without annotations (the run's validation split; "
        "train and val are the run's own)",
    )
    parser.add_argument("--weights", default="best.pt", metavar="FILE", help="checkpoint in the run's folder (best.pt)")
    parser.add_argument(
        "--by",
        choices=["error", "score", "disagreement", "all"],
        help="what images are ranked by (error; all for images without annotations)",
    )
    parser.add_argument(
        "--detector",
        metavar="NAME",
        help="how a top-down network finds people in photos, and people who are not annotated; whole takes each photo "
        "as one person (only annotated people)",
    )
    parser.add_argument("--prelabel", action="store_true", help="replace the joints of people who were found, too")
    add_device(parser)
    add_overrides(parser)


def run(args: argparse.Namespace) -> int:
    """Rank the images, write the worst, and print the first rows and the next command."""
    if args.count < 1:
        raise ConfigError(f"--count {args.count} must be at least 1")
    if args.out.exists() and (not args.out.is_dir() or any(args.out.iterdir())):
        raise ConfigError(f"--out {args.out} is not empty, and may hold corrected labels; choose another folder")
    weights = args.run / args.weights
    if not weights.is_file():
        raise ConfigError(
            f"{weights} does not exist: RUN is the folder of a training, and --weights a checkpoint in it"
        )
    args.cfg, args.weights = None, str(weights)
    # Views that are averaged before they are compared cannot disagree.
    args.overrides = [*args.overrides, "test.flip=false"]
    config = load(args)
    from pose_core.inference.relabel import photo_records, write_worst
    from pose_core.inference.worst import CRITERIA, are_annotated, find_worst
    from pose_core.layouts.reader import read_dataset
    from pose_core.plugins.predictors import Predictor

    split = {"train": config.data.train, "val": config.data.val, None: config.data.val}.get(args.split, args.split)
    found = None if Path(split).is_dir() else read_dataset(config.data, split, keep_unlabeled=True)
    records = photo_records(Path(split)) if found is None else found.records
    annotated = are_annotated(records)
    if args.by == "error" and not annotated:
        raise ConfigError(f"--by error compares with annotations, and {split} has none; use --by all or --by score")
    predictor = Predictor.from_config(config, weights=weights, device=config.run.device)
    detector = _detector(args, predictor)
    if predictor.needs_boxes and not annotated and detector is None:
        raise ConfigError(
            f"{split} has no annotated people, and {config.model.name} needs their boxes: give --detector NAME, for "
            "example --detector fasterrcnn_mobilenet"
        )
    chosen = args.by or ("error" if annotated else "all")
    by = [each for each in CRITERIA if chosen in (each, "all") and (annotated or each != "error")]
    skips = config.data.on_bad_image == "skip"
    findings = find_worst(predictor.worker, records, by=by, detector=detector, skips=skips)
    written = write_worst(findings, predictor.skeleton, args.out, count=args.count, prelabel=args.prelabel)
    print(written.table(min(ROWS, args.count)))
    print(written)
    in_source = "in the entry of this data set in data.sources, train: {}"  # with sources, data.train is not read
    trained = in_source if config.data.sources else "data.train={}"
    print(_next_steps(written, found, "data.val={}" if split == config.data.val else trained))
    return 0


def _next_steps(written: WorstFolder, found: AnnotatedSet | None, setting: str) -> str:
    """Return how to go on with the corrected file, which ``setting`` names; ``found`` is the split of the images.

    Photos, and images of a layout that takes no corrections, become a data set of their own.
    """
    from pose_core.inference.relabel import ANNOTATIONS, corrected_file, split_of

    file = written.folder / ANNOTATIONS
    if found is None or found.layout.merge is None:
        joints = written.findings[0].poses.skeleton.joints
        return f"then check them: {check_command('coco', written.folder, file.name, joints, file)}"
    target = corrected_file(found)
    words = ["data", "merge", "--into", _near(found.annotation_file), _near(file), "--out", _near(target)]
    return (
        f"then take them back: {shell_command('pose')} {shlex.join(words)}\n"
        f"and train again with: {setting.format(shlex.quote(split_of(found, target)))}"
    )


def _near(path: Path) -> str:
    """Return a path, relative to the current folder if it is below it."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


def _detector(args: argparse.Namespace, predictor: Predictor) -> Detector | None:
    """Return the detector that is asked for."""
    from pose_core.topdown.detectors import build_detector

    if args.detector and not predictor.needs_boxes:
        raise ConfigError(f"method {predictor.config.method!r} finds people by itself; remove --detector")
    return build_detector(args.detector, device=predictor.worker.device) if args.detector else None
