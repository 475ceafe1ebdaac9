"""Predictions as files: a drawn copy and the poses as JSON for every image, and what videos leave behind."""

from __future__ import annotations

import codecs
import csv
import os
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from tqdm import tqdm

from pose_core.data.images import open_image
from pose_core.drawing.sheets import write_image
from pose_core.drawing.skeletons import palette
from pose_core.engine.interfaces import DetectedImage
from pose_core.errors import ConfigError, DataError
from pose_core.files import whole_file, write_json
from pose_core.inference.drawn_people import draw_people
from pose_core.inference.inputs import Input, find_inputs, plan_targets
from pose_core.inference.person_table import NAME, person_columns, person_values
from pose_core.inference.pipeline import map_ahead
from pose_core.inference.video import require_av
from pose_core.inference.video_results import VideoOptions, predict_video
from pose_core.photos import read_photo
from pose_core.plugins.predictors import Predictor
from pose_core.plurals import counted
from pose_core.structures import Poses
from pose_core.topdown.detectors import AnnotatedBoxes, Detector, FileDetector, build_detector, whole_image
from pose_core.verbosity import no_bar

Array = np.ndarray

AHEAD = 8
"""Maximum number of decoded images, and of results, that wait: photos are large."""


@dataclass
class Summary:
    """Counts of what a call of ``predict_paths`` read, found and left out."""

    folder: Path
    threshold: float = 0.2
    whole_images: bool = False
    images: int = 0
    frames: int = 0
    people: int = 0
    without_people: int = 0
    """Images in which nobody was found."""
    without_joints: int = 0
    """Images with people, all of whose joints score less than ``threshold``."""
    low_boxes: int = 0
    """Boxes of a detections file that scored less than ``box_threshold``."""
    box_threshold: float = 0.0
    low_people: int = 0
    """People who scored less than ``min_score`` and are not among ``people``."""
    min_score: float | None = None
    unreadable: list[str] = field(default_factory=list)

    def add_image(self, poses: Poses) -> None:
        """Count one image."""
        self.images += 1
        self.people += len(poses)
        self.without_people += not len(poses)
        self.without_joints += bool(len(poses)) and not (poses.scores >= self.threshold).any()

    def __str__(self) -> str:
        inputs = [counted(self.images, "image")] if self.images or not self.frames else []
        inputs += [counted(self.frames, "frame")] if self.frames else []
        lines = [f"{counted(self.people, 'person', 'people')} in {' and '.join(inputs)}, written to {self.folder}"]
        if not self.images and not self.frames:
            lines = ["nothing was predicted"]
        if self.without_people:
            lines.append(f"nobody was found in {counted(self.without_people, 'image')}")
        if self.without_joints:
            lines.append(
                f"in {counted(self.without_joints, 'image')} 0 joints are above --threshold {self.threshold:g}: "
                "nothing is drawn there"
            )
        if self.low_boxes:
            were = "was" if self.low_boxes == 1 else "were"
            lines.append(
                f"{counted(self.low_boxes, 'box', 'boxes')} scored less than --box-threshold {self.box_threshold:g} "
                f"and {were} left out"
            )
        if self.low_people:
            were = "was" if self.low_people == 1 else "were"
            lines.append(
                f"{counted(self.low_people, 'person', 'people')} scored less than --min-score {self.min_score:g} and "
                f"{were} left out"
            )
        if self.whole_images:
            lines.append("each whole image was taken as one person, as --detector whole says")
        if self.unreadable:
            lines.append(f"{counted(len(self.unreadable), 'input')} could not be read:")
            lines += [f"  {text}" for text in self.unreadable]
        return "\n".join(lines)


def predict_paths(
    predictor: Predictor,
    inputs: Sequence[str | Path],
    folder: Path,
    *,
    detector: Detector | None = None,
    min_score: float | None = None,
    threshold: float = 0.2,
    style: str = "side",
    draw: bool = True,
    boxes: bool = False,
    csv: bool = False,
    video: VideoOptions | None = None,
) -> Summary:
    """Predict every image and write ``<name>.jpg`` (drawn) and ``<name>.json`` below ``folder``.

    People who score less than ``min_score`` are left out. Joints that score at least ``threshold`` are drawn, and with
    ``boxes`` the boxes that the network was given. With ``csv`` a table with a row for each person is written:
    ``poses.csv`` of all images, ``<name>.csv`` of a video.

    ``inputs`` are files, folders, patterns and URLs: see `pose_core.inference.inputs`. Without a ``detector`` the
    default one finds people for a predictor that needs boxes. Of a video, ``<name>.mp4`` is the drawn one, and
    ``<name>.jsonl`` has a line for each frame; ``video`` has further settings. Inputs are never modified. The summary
    lists unreadable inputs.
    """
    palette(predictor.skeleton, style)  # raises for an unknown style before the first prediction
    if not predictor.needs_boxes and detector is not None:
        raise ConfigError(f"method {predictor.config.method!r} finds people by itself; remove --boxes and --detector")
    if not predictor.needs_boxes and boxes:
        raise ConfigError(f"method {predictor.config.method!r} works without boxes; remove --draw-boxes")
    with TemporaryDirectory(prefix="pose-") as downloads:
        found = find_inputs(inputs, folder, Path(downloads))
        places = list(zip(found, plan_targets(found, folder), strict=True))
        images = [(each, target) for each, target in places if each.kind == "image"]
        videos = [(each, target) for each, target in places if each.kind != "image"]
        if videos and isinstance(detector, FileDetector | AnnotatedBoxes):
            raise ConfigError(
                f"{videos[0][0].name} is a video, and --boxes has no boxes for its frames: use --detector instead"
            )
        if videos:
            require_av()  # before anything slow
        if detector is None:
            detector = build_detector(device=predictor.worker.device) if predictor.needs_boxes else whole_image
        summary = Summary(
            folder,
            threshold,
            whole_images=predictor.needs_boxes and detector is whole_image,
            min_score=min_score,
        )
        options = replace(
            video or VideoOptions(),
            threshold=threshold,
            style=style,
            draw=draw,
            boxes=boxes,
            min_score=min_score,
            csv=csv or (video is not None and video.csv),
        )
        table = folder / NAME
        if table.with_suffix("") in {target for _, target in videos}:  # a video that is called poses.mp4
            table = folder / f"images_{NAME}"
        _predict_images(predictor, images, detector, options, table, summary)
        if isinstance(detector, FileDetector):
            summary.low_boxes, summary.box_threshold = detector.low, detector.threshold
        for each, target in videos:
            source = each.name if each.kind == "stream" else each.file
            try:
                predict_video(predictor, source, target, options, detector, summary)
            except DataError as error:
                summary.unreadable.append(str(error))
    return summary


def _predict_images(
    predictor: Predictor,
    images: Sequence[tuple[Input, Path]],
    detector: Detector,
    options: VideoOptions,
    table: Path,
    summary: Summary,
) -> None:
    """Predict images and write the results; reading, drawing and writing run in threads beside the network.

    ``table`` is written if the ``options`` ask for it.
    """
    if not images:
        return
    predictor.worker.expect(len(images))
    # Annotated boxes count stored pixels.
    stored = isinstance(detector, FileDetector | AnnotatedBoxes)

    def read(image: tuple[Input, Path]) -> Array | DataError:
        try:
            return open_image(str(image[0].file), "rgb") if stored else read_photo(str(image[0].file))
        except DataError as error:
            return DataError(str(error).replace(str(image[0].file), image[0].name))

    def write(result: tuple[tuple[Input, Path, Array], Poses]) -> Poses:
        (_, target, image), poses = result
        write_json(f"{target}.json", poses.to_dict(), indent=1, sync=False)
        if options.draw:
            drawn = draw_people(image, poses, options.threshold, options.style, boxes=options.boxes)
            write_image(Path(f"{target}.jpg"), drawn, sync=False)
        return poses

    def detected(pool: Executor) -> Iterator[DetectedImage[tuple[Input, Path, Array]]]:
        for (each, target), image in zip(images, map_ahead(read, images, pool, AHEAD), strict=True):
            if isinstance(image, DataError):
                summary.unreadable.append(str(image))
            else:
                yield DetectedImage((each, target, image), image, *detector(image, each.file))

    def predicted(pool: Executor) -> Iterator[tuple[tuple[Input, Path, Array], Poses]]:
        for (each, target, image), poses in predictor.predict_stream(detected(pool)):
            if options.min_score is not None:
                all_people, poses = len(poses), poses[poses.pose_scores >= options.min_score]
                summary.low_people += all_people - len(poses)
            found = replace(poses, size=(image.shape[1], image.shape[0]), source=each.name)
            summary.add_image(found)
            yield (each, target, image), found

    with ExitStack() as stack:
        rows = None
        if options.csv:
            rows = csv.writer(codecs.getwriter("utf-8")(stack.enter_context(whole_file(table))))
            rows.writerow(person_columns(["image"], predictor.skeleton))
        pool = stack.enter_context(ThreadPoolExecutor(min(os.cpu_count() or 1, 8)))
        bar = tqdm(total=len(images), desc="predicting", unit="image", disable=no_bar(), file=sys.stderr)
        for poses in map_ahead(write, predicted(pool), pool, AHEAD):
            if rows is not None:
                rows.writerows([poses.source, *values] for values in person_values(poses))
            bar.update()
        bar.close()
