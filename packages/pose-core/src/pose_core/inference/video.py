"""Reading and writing of videos.

PyAV (``pip install 'pose-core[video]'``) reads and writes the formats of FFmpeg. Without it OpenCV is used, with a
warning: it supports fewer formats, estimates times from the frame rate, and writes files that browsers may not play.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal, Protocol

import cv2
import numpy as np

from pose_core.errors import ConfigError, DataError, PoseError

Array = np.ndarray
Backend = Literal["av", "opencv"]

SUFFIXES = {".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v"}
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Frame:
    """One frame: its number from 0, its time in seconds, and its pixels ``(H, W, 3)`` RGB uint8."""

    number: int
    time: float
    image: Array


class FrameWriter(Protocol):
    """A function that takes the frames of a video in order."""

    def __call__(self, image: Array) -> None:
        """Write one frame, ``(H, W, 3)`` RGB uint8."""


def backend() -> Backend:
    """Return PyAV if it is installed; otherwise OpenCV, with a warning."""
    try:
        import av  # noqa: F401
    except ImportError:
        _log.warning(
            "PyAV is not installed: the video is read and written by OpenCV, which supports fewer formats and "
            "estimates frame times; for PyAV: pip install 'pose-core[video]'"
        )
        return "opencv"
    return "av"


def frame_rate(path: Path, using: Backend) -> float:
    """Return a video's frames per second; raise a DataError if the file is not a video."""
    if not path.is_file():
        raise DataError(f"video {path} does not exist")
    if using == "av":
        import av

        try:
            with av.open(str(path)) as container:
                rate = container.streams.video[0].average_rate
        except (av.FFmpegError, IndexError) as error:
            raise _unreadable(path, error) from None
        if not rate:
            raise _unreadable(path, "it states no frame rate")
        return float(rate)
    capture = cv2.VideoCapture(str(path))
    rate = capture.get(cv2.CAP_PROP_FPS) if capture.isOpened() else 0.0
    capture.release()
    if not rate > 0:
        raise _unreadable(path, "OpenCV finds no frames in it")
    return float(rate)


def read_frames(path: Path, using: Backend, fps: float | None = None) -> Iterator[Frame]:
    """Yield a video's frames in order; with ``fps``, that many per second: the first at or after each time point."""
    native = frame_rate(path, using)
    if fps is not None and not 0 < fps <= native * 1.001:
        raise ConfigError(f"--fps {fps:g}: {path} has {native:g} frames a second; give a number up to that")
    frames = _av_frames(path, native) if using == "av" else _opencv_frames(path, native)
    taken = 0
    for frame in frames:
        # Times are rounded: accept a frame that is early by a hundredth of a frame interval.
        if fps is None or frame.time + 0.01 / native >= taken / fps:
            if fps is not None:
                # After a gap in the times, skip the time points in it.
                taken = max(taken + 1, int((frame.time + 0.01 / native) * fps) + 1)
            yield frame


def _av_frames(path: Path, native: float) -> Iterator[Frame]:
    import av

    first: float | None = None
    number = -1
    try:
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            for number, decoded in enumerate(container.decode(stream)):
                time = decoded.time if decoded.time is not None else number / native
                first = time if first is None else first
                image = decoded.to_ndarray(format="rgb24")
                # Phones record in one orientation and store the rotation to apply.
                turns = round(getattr(decoded, "rotation", 0) / 90) % 4
                yield Frame(number, time - first, np.ascontiguousarray(np.rot90(image, turns)) if turns else image)
    except av.FFmpegError as error:
        raise _unreadable(path, f"after {number + 1} frames: {error}") from None
    if number < 0:
        raise _unreadable(path, "it has no frame")


def _opencv_frames(path: Path, native: float) -> Iterator[Frame]:
    capture = cv2.VideoCapture(str(path))
    number = -1
    try:
        while True:
            success, image = capture.read()
            if not success:
                break
            number += 1
            yield Frame(number, number / native, cv2.cvtColor(image, cv2.COLOR_BGR2RGB))
    finally:
        capture.release()
    if number < 0:
        raise _unreadable(path, "OpenCV finds no frames in it")


def _unreadable(path: Path, why: object) -> DataError:
    return DataError(f"video {path} cannot be read: {why}")


@contextmanager
def video_writer(path: Path, fps: float, using: Backend) -> Iterator[FrameWriter]:
    """Write RGB frames ``(H, W, 3)`` of one size; the file appears when the block succeeds."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.stem}.part{path.suffix}")
    writer = _AvWriter(partial, fps) if using == "av" else _OpenCVWriter(partial, fps)
    try:
        yield writer
        writer.close()
        if partial.exists():
            partial.replace(path)
    except BaseException:
        writer.close()
        partial.unlink(missing_ok=True)
        raise


class _AvWriter:
    """Write a video with PyAV; the first frame fixes the size."""

    def __init__(self, path: Path, fps: float) -> None:
        import av

        self.av: Any = av
        self.path, self.rate = path, Fraction(fps).limit_denominator(100_000)
        self.container: Any = None
        self.stream: Any = None

    def __call__(self, image: Array) -> None:
        image = _even(image)
        if self.container is None:
            self.container = self.av.open(str(self.path), "w")
            codec = "libx264" if "libx264" in self.av.codecs_available else "mpeg4"
            self.stream = self.container.add_stream(codec, rate=self.rate)
            self.stream.height, self.stream.width = image.shape[:2]
            self.stream.pix_fmt = "yuv420p"
            if codec == "libx264":
                self.stream.options = {"crf": "20"}
            else:
                self.stream.bit_rate = 8_000_000
        self.container.mux(self.stream.encode(self.av.VideoFrame.from_ndarray(image, format="rgb24")))

    def close(self) -> None:
        if self.container is not None:
            self.container.mux(self.stream.encode())
            self.container.close()
            self.container = None


class _OpenCVWriter:
    """Write a video with OpenCV; the first frame fixes the size."""

    def __init__(self, path: Path, fps: float) -> None:
        self.path, self.fps = path, fps
        self.writer: Any = None

    def __call__(self, image: Array) -> None:
        image = _even(image)
        if self.writer is None:
            code = cv2.VideoWriter.fourcc(*"mp4v")
            self.writer = cv2.VideoWriter(str(self.path), code, self.fps, (image.shape[1], image.shape[0]))
            if not self.writer.isOpened():
                raise PoseError(
                    f"OpenCV cannot write {self.path}; install PyAV (pip install 'pose-core[video]') or skip the "
                    "video with --no-draw"
                )
        self.writer.write(cv2.cvtColor(image, cv2.COLOR_RGB2BGR))

    def close(self) -> None:
        if self.writer is not None:
            self.writer.release()
            self.writer = None


def _even(image: Array) -> Array:
    """Repeat the last row or column of an odd side, since video formats need even sides."""
    height, width = image.shape[:2]
    if height % 2 or width % 2:
        image = np.pad(image, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    return np.ascontiguousarray(image)
