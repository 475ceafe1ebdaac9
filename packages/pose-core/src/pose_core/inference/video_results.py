"""Poses in videos: frame by frame from Python, or as files.

Reading, detection, the network, drawing and encoding overlap: each works on its own frames at the same time.
"""

from __future__ import annotations

import codecs
import csv
import json
import logging
import math
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Protocol

import numpy as np
from tqdm import tqdm

from pose_core.drawing.sheets import write_image
from pose_core.engine.interfaces import DetectedImage
from pose_core.errors import ConfigError, DataError
from pose_core.files import whole_file, write_json
from pose_core.inference.drawn_people import draw_people
from pose_core.inference.person_table import person_columns, person_values
from pose_core.inference.pipeline import ahead, in_background
from pose_core.inference.smoothing import Smoother
from pose_core.inference.tracking import Tracker
from pose_core.inference.video import Frame, Video, open_video
from pose_core.inference.video_writing import video_writer
from pose_core.plugins.predictors import Predictor
from pose_core.plurals import counted
from pose_core.skeleton import Skeleton
from pose_core.structures import Poses
from pose_core.topdown.detectors import Detector, build_detector, whole_image
from pose_core.verbosity import is_quiet

Array = np.ndarray

MEMORY = 128 * 2**20
"""Bytes of pixels that may wait between two stages."""
DEPTH = 16
"""Maximum number of frames that wait between two stages; a network predicts so many frames together."""
LINES = 10.0
"""Seconds between two lines of progress where there is no terminal."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class VideoOptions:
    """Settings for the prediction of a video.

    ``fps``, ``frames_limit`` and ``seconds`` select frames, and ``min_score`` people by their scores; None means all.
    ``track`` gives people ids, ``smooth`` steadies their joints. ``draw`` writes the drawn video, with joints that
    score at least ``threshold``, in the colors of ``style``, and with ``boxes`` people's boxes; ``csv`` a table;
    ``frames`` a JSON file, and a drawn image, for every frame.
    """

    threshold: float = 0.2
    style: str = "side"
    draw: bool = True
    boxes: bool = False
    min_score: float | None = None
    fps: float | None = None
    frames_limit: int | None = None
    seconds: float | None = None
    track: bool = True
    smooth: bool = False
    csv: bool = False
    frames: bool = False

    def __post_init__(self) -> None:
        if self.smooth and not self.track:
            raise ConfigError("--smooth needs tracking: remove --no-track (in Python: track=False)")
        if self.frames_limit is not None and self.frames_limit < 1:
            raise ConfigError(f"--frames-limit {self.frames_limit}: give a number from 1")
        if self.seconds is not None and not self.seconds > 0:
            raise ConfigError(f"--seconds {self.seconds:g}: give a number above 0")


class VideoSummary(Protocol):
    """What the prediction of a video is counted in."""

    frames: int
    people: int
    low_people: int
    unreadable: list[str]


def predict_video_frames(
    predictor: Predictor,
    source: str | Path | int,
    *,
    detector: Detector | str | None = None,
    track: bool = True,
    smooth: bool = False,
    min_score: float | None = None,
    fps: float | None = None,
    frames_limit: int | None = None,
    seconds: float | None = None,
) -> Generator[tuple[Frame, Poses], None, None]:
    """Yield the frames of a video file, stream or camera with their poses, in order; nothing is written.

    >>> for frame, poses in predict_video_frames(predictor, "clip.mp4"):
    ...     print(frame.time, poses.track_ids)

    Where boxes are needed, ``detector`` finds people: a function or a name; by default, the default detector. Poses
    have ``track_ids`` unless ``track`` is off; ``smooth`` steadies their joints. People who score less than
    ``min_score`` are left out, before they are tracked. Of a source that breaks off, a
    DataError is raised after the last frame. The generator can be closed early.
    """
    options = VideoOptions(
        min_score=min_score, fps=fps, frames_limit=frames_limit, seconds=seconds, track=track, smooth=smooth
    )
    if not predictor.needs_boxes:
        detector = whole_image  # the boxes are ignored
    elif detector is None or isinstance(detector, str):
        detector = build_detector(detector, device=predictor.worker.device)
    failure: list[DataError] = []
    with open_video(source, fps) as video, closing(_poses(predictor, video, options, detector, failure)) as found:
        for frame, poses in found:
            height, width = frame.image.shape[:2]
            yield frame, replace(poses, image=frame.image, size=(width, height))
    if failure:
        raise failure[0]


def predict_video(
    predictor: Predictor,
    source: str | Path | int,
    target: Path,
    options: VideoOptions,
    detector: Detector,
    summary: VideoSummary,
) -> None:
    """Predict a video file, stream or camera, and write ``target``.jsonl and, drawn, ``target``.mp4.

    JSONL has one line for each frame: its number, its time in seconds, the skeleton, and the people. Files appear when
    they are complete. Ctrl-C ends the video, as does a lost connection: files then hold the frames until there.
    """
    failure: list[DataError] = []
    frames = people = 0
    last = -1
    with _stop_at_interrupt() as stop, open_video(source, options.fps) as video:
        depth = _depth(video)
        sound = None if video.streamed else Path(str(source))
        found = _poses(predictor, video, options, detector, failure, stop, summary)
        write_all = partial(
            _write, skeleton=predictor.skeleton, video=video, sound=sound, target=target, options=options
        )
        writing = in_background(write_all, depth)
        total = _total(video, options)
        if total is not None:
            predictor.worker.expect(total)
        with _progress(video.name, total) as advance, closing(found), writing as write:
            for frame, poses in found:
                write((frame, poses))
                frames, people, last = frames + 1, people + len(poses), frame.number
                advance()
            if not frames:
                raise failure[0] if failure else KeyboardInterrupt
    summary.frames += frames
    summary.people += people
    if video.live and options.fps is None and last >= frames:
        _log.warning(
            "%s: frames came faster than they could be predicted: %d of %d were left out", video.name,
            last + 1 - frames, last + 1,
        )  # fmt: skip
    if failure:
        summary.unreadable.append(f"{failure[0]}; the results of {counted(frames, 'frame')} before that are complete")
    elif stop.is_set():
        _log.warning("%s: stopped after %s; the results until there are complete", video.name, counted(frames, "frame"))
        if not video.streamed:
            raise KeyboardInterrupt


def _poses(
    predictor: Predictor,
    video: Video,
    options: VideoOptions,
    detector: Detector,
    failure: list[DataError],
    stop: threading.Event | None = None,
    summary: VideoSummary | None = None,
) -> Generator[tuple[Frame, Poses], None, None]:
    """Yield frames with their poses; an error of the source ends them and goes to ``failure``.

    People who score too little are left out, and counted in ``summary``.
    """

    def read() -> Iterator[Frame]:
        try:
            for count, frame in enumerate(video.frames, 1):
                if options.seconds is not None and frame.time >= options.seconds:
                    return
                yield frame
                if count == options.frames_limit:
                    return
        except DataError as error:
            failure.append(error)

    depth = _depth(video)
    frames = ahead(read(), depth, stop=stop, drop=video.live)
    detected = (DetectedImage(frame, frame.image, *detector(frame.image)) for frame in frames)
    if detector is not whole_image:
        detected = ahead(detected, depth)
    tracker, smoother = Tracker(), Smoother()
    with closing(frames), closing(detected):
        for frame, poses in predictor.predict_stream(detected):
            if options.min_score is not None:
                found, poses = len(poses), poses[poses.pose_scores >= options.min_score]
                if summary is not None:
                    summary.low_people += found - len(poses)
            if options.track:
                poses = tracker.update(poses, frame.time)
            if options.smooth:
                poses = smoother.update(poses, frame.time)
            yield frame, poses


def _write(
    results: Iterator[tuple[Frame, Poses]],
    skeleton: Skeleton,
    video: Video,
    sound: Path | None,
    target: Path,
    options: VideoOptions,
) -> None:
    """Write the files of a video while its results arrive."""

    def draw() -> Iterator[tuple[Frame, Poses, Array | None]]:
        for frame, poses in results:
            drawn = None
            if options.draw:
                drawn = draw_people(frame.image, poses, options.threshold, options.style, boxes=options.boxes)
            yield frame, poses, drawn

    with ExitStack() as stack:
        lines = stack.enter_context(whole_file(f"{target}.jsonl"))
        table = film = None
        if options.csv:
            table = csv.writer(codecs.getwriter("utf-8")(stack.enter_context(whole_file(f"{target}.csv"))))
            table.writerow(person_columns(["frame", "time", "track_id"], skeleton))
        if options.draw:
            film = stack.enter_context(video_writer(Path(f"{target}.mp4"), video.rate, sound=sound))
        for frame, poses, drawn in stack.enter_context(closing(ahead(draw(), max(_depth(video) // 4, 1)))):
            about = {"frame": frame.number, "time": round(frame.time, 6), **poses.to_dict()}
            lines.write(json.dumps(about).encode() + b"\n")
            if table is not None:
                table.writerows(_rows(frame, poses))
            if film is not None and drawn is not None:
                film(drawn, frame.clock)
            if options.frames:
                name = target / f"frame_{frame.number:06d}"
                write_json(f"{name}.json", about, indent=1, sync=False)
                if drawn is not None:
                    write_image(Path(f"{name}.jpg"), drawn, sync=False)


def _rows(frame: Frame, poses: Poses) -> Iterator[list[object]]:
    """Yield a row of the table for each person in a frame."""
    ids = [""] * len(poses) if poses.track_ids is None else poses.track_ids.tolist()
    for number, values in zip(ids, person_values(poses), strict=True):
        yield [frame.number, round(frame.time, 6), number, *values]


@contextmanager
def _stop_at_interrupt() -> Iterator[threading.Event]:
    """Set the event at the first Ctrl-C, so that what is in work is finished; the second one interrupts as usual."""
    stop = threading.Event()

    def note(number: int, place: object) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()
        os.write(2, b"\nfinishing the results until here; press Ctrl-C again to discard them\n")

    default = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if not default or threading.current_thread() is not threading.main_thread():
        yield stop
        return
    signal.signal(signal.SIGINT, note)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@contextmanager
def _progress(name: str, total: int | None) -> Iterator[Callable[[], object]]:
    """Show the frames done, the rate and the time left: a bar on a terminal, a line now and then elsewhere."""
    if sys.stderr.isatty() and not is_quiet():
        with tqdm(total=total, desc=name, unit="frame", file=sys.stderr) as bar:
            yield bar.update
        return
    if is_quiet():
        yield lambda: None
        return
    start = first = shown = time.monotonic()
    done = 0

    def advance() -> None:
        nonlocal done, first, shown
        done += 1
        now = time.monotonic()
        if done == 1:
            first = now  # the first frame waits for libraries to load
        elif now - shown >= LINES:
            shown = now
            rate = (done - 1) / max(now - first, 1e-9)
            of = f" of {total}, {max(total - done, 0) / rate:.0f} s left" if total else ""
            print(f"{name}: {counted(done, 'frame')}{of}, {rate:.1f} frames/s", file=sys.stderr, flush=True)

    yield advance
    elapsed = time.monotonic() - start
    print(
        f"{name}: {counted(done, 'frame')} in {elapsed:.0f} s, {done / max(elapsed, 1e-9):.1f} frames/s",
        file=sys.stderr,
    )


def _total(video: Video, options: VideoOptions) -> int | None:
    """Return the number of frames to expect, None if unknown."""
    limits = [video.count, options.frames_limit]
    limits += [None if options.seconds is None else math.ceil(options.seconds * video.rate)]
    return min((limit for limit in limits if limit is not None), default=None)


def _depth(video: Video) -> int:
    """Return how many frames may wait between two stages: fewer large ones."""
    return max(min(DEPTH, MEMORY // max(video.pixels * 3, 1)), 2)
