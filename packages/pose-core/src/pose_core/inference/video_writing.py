"""Writing of videos, with the times of their frames and the sound of the video that they are made from."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from fractions import Fraction
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

import numpy as np

from pose_core.errors import PoseError
from pose_core.inference.video import LOCAL, require_av

Array = np.ndarray

_TICKS = 60_000
"""Units of a second in which frames are timed; MPEG-4 allows no more than 65535, and the usual rates divide it."""
_log = logging.getLogger(__name__)


class FrameWriter(Protocol):
    """A function that takes the frames of a video in order."""

    def __call__(self, image: Array, time: float | None = None) -> None:
        """Write one frame, ``(H, W, 3)`` RGB uint8, shown from ``time`` in seconds; by default, by the frame rate."""


@contextmanager
def video_writer(path: Path, fps: float, *, sound: Path | None = None) -> Iterator[FrameWriter]:
    """Write an MP4 of RGB frames of one size; the file appears when the block succeeds.

    ``sound`` is a video whose sound is copied, unchanged, up to the last frame; times are then by that file's clock.
    """
    av = require_av()
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.stem}.{secrets.token_hex(8)}{path.suffix}")
    try:
        partial.open("xb").close()  # nobody else's, and no link
    except OSError as error:
        raise PoseError(f"cannot write {path}: {error.strerror}") from None
    writer = _Writer(av, partial, fps, sound)
    try:
        yield writer
        writer.close()
        if writer.count:
            partial.replace(path)
        else:
            partial.unlink()
    except BaseException as error:
        with suppress(av.FFmpegError):
            writer.abandon()
        partial.unlink(missing_ok=True)
        if isinstance(error, av.FFmpegError):
            raise PoseError(f"cannot write {path}: {error}") from None
        raise


class _Writer:
    """Write a video; the first frame fixes the size."""

    def __init__(self, av: ModuleType, path: Path, fps: float, sound: Path | None) -> None:
        self.av: Any = av
        self.path, self.rate = path, Fraction(fps).limit_denominator(1001)
        self.output: Any = None
        self.pictures: Any = None
        self.sound = _Sound(av, sound) if sound is not None else None
        self.count, self.ticks = 0, -1

    def __call__(self, image: Array, time: float | None = None) -> None:
        image = _even(image)
        if self.output is None:
            self._open(image)
        now = self.count / float(self.rate) if time is None else time
        frame = self.av.VideoFrame.from_ndarray(image, format="rgb24")
        frame = frame.reformat(self.pictures.width, self.pictures.height, "yuv420p", dst_colorspace="ITU709")
        # Times that do not grow, in damaged files, would be refused.
        self.ticks = max(round(now * _TICKS), self.ticks + 1) if self.count else round(now * _TICKS)
        frame.pts, frame.time_base = self.ticks, Fraction(1, _TICKS)
        self.output.mux(self.pictures.encode(frame))
        self.count += 1
        if self.sound is not None:
            self.sound.copy(self.output, now)

    def _open(self, image: Array) -> None:
        self.output = self.av.open(str(self.path), "w", options={"movflags": "faststart"})
        codec = "libx264" if "libx264" in self.av.codecs_available else "mpeg4"
        self.pictures = self.output.add_stream(codec, rate=self.rate)
        self.pictures.height, self.pictures.width = image.shape[:2]
        self.pictures.pix_fmt = "yuv420p"
        context = self.pictures.codec_context
        context.time_base = Fraction(1, _TICKS)
        # Without these marks (BT.709, limited range) players guess the colors, by the size of the picture.
        context.colorspace = context.color_primaries = context.color_trc = context.color_range = 1
        if codec == "libx264":
            self.pictures.options = {"crf": "20", "preset": "veryfast"}
        else:
            self.pictures.bit_rate = 8_000_000
        if self.sound is not None:
            self.sound.add_to(self.output)

    def close(self) -> None:
        """Write what is pending, and close the files."""
        if self.output is not None:
            self.output.mux(self.pictures.encode())
            if self.sound is not None:
                self.sound.copy(self.output, self.ticks / _TICKS + 1 / float(self.rate))
        self.abandon()

    def abandon(self) -> None:
        """Close the files as they are."""
        if self.output is not None:
            self.output.close()
            self.output = None
        if self.sound is not None:
            self.sound.close()


class _Sound:
    """The sound of a video, packet by packet."""

    def __init__(self, av: ModuleType, path: Path) -> None:
        self.path = path
        self.container: Any = av.open(str(path), **LOCAL)
        self.streams: dict[int, Any] = {}
        self.packets: Iterator[Any] = iter(())
        self.pending: Any = None

    def add_to(self, output: Any) -> None:
        """Add the streams of sound that the format of ``output`` can hold."""
        for stream in self.container.streams.audio:
            name = stream.codec_context.name
            if stream.codec_context.codec.canonical_name in output.supported_codecs:
                self.streams[stream.index] = output.add_stream_from_template(stream)
            else:
                _log.warning("%s: its sound (%s) cannot be stored in an MP4 and is left out", self.path, name)
        if self.streams:
            self.packets = self.container.demux([self.container.streams[index] for index in self.streams])

    def copy(self, output: Any, until: float) -> None:
        """Copy the packets that start before ``until``, in seconds."""
        while True:
            packet = self.pending if self.pending is not None else next(self.packets, None)
            self.pending = None
            if packet is None:
                return
            if packet.dts is None:  # the end mark
                continue
            if float(packet.pts * packet.time_base) > until:
                self.pending = packet
                return
            packet.stream = self.streams[packet.stream.index]
            output.mux(packet)

    def close(self) -> None:
        """Close the file."""
        self.container.close()


def _even(image: Array) -> Array:
    """Repeat the last row or column of an odd side, since video formats need even sides."""
    height, width = image.shape[:2]
    if height % 2 or width % 2:
        image = np.pad(image, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    return np.ascontiguousarray(image)
