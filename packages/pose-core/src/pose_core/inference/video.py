"""Frames of video files and streams, by PyAV, and of cameras, by OpenCV."""

from __future__ import annotations

import logging
import re
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import numpy as np

from pose_core.errors import ConfigError, DataError
from pose_core.installation import install_hint
from pose_core.plurals import counted
from pose_core.reading.images import FaultError, Header, check_size, max_pixels
from pose_core.reading.reasons import quoted
from pose_core.reading.regular import open_regular

Array = np.ndarray

SUFFIXES = {".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v"}
_STREAM = re.compile(r"(rtsps?|rtmps?|srt|udp|rtp)://|https?://[^?#]*\.(m3u8|mpd|ts|mjpe?g|flv)($|[?#])", re.IGNORECASE)
_LIVE = re.compile(r"(rtsps?|rtmps?|srt|udp|rtp)://", re.IGNORECASE)
_log = logging.getLogger(__name__)
_BT709 = 1
_PATIENCE = 10.0
"""Seconds without data after which a stream is given up."""
_FORMATS = (
    "mov,mp4,avi,matroska,webm,mpegts,mpeg,mpegvideo,m4v,flv,asf,ogg,mxf,nut,ivf,dv,h264,hevc,obu,gif,apng,mjpeg,"
    "yuv4mpegpipe,rm,wtv,mpegtsraw,rawvideo,vc1,swf,nsv,amv"
)
"""FFmpeg's names of the formats that a file may have. Playlists, which name other files, are not among them."""
_MOST_FRAMES = 10**9
"""A count of frames above it, years of video, is a damaged header's."""


LOCAL: dict[str, Any] = {
    "options": {"format_whitelist": _FORMATS, "protocol_whitelist": "file"},
    "metadata_errors": "replace",
}
"""How PyAV opens a file."""


@dataclass(frozen=True)
class Frame:
    """One frame of a video, upright.

    ``number`` counts all frames of the source from 0; ``time`` is in seconds since its first frame; ``image`` is
    ``(H, W, 3)`` RGB uint8. ``clock`` is the time by the file's own clock, which its sound shares.
    """

    number: int
    time: float
    image: Array
    clock: float = 0.0


@dataclass(frozen=True)
class Video:
    """An open video: its name, its frames, and how many per second.

    ``count`` is the estimated number of frames, None if unknown, ``pixels`` that of a frame. A ``streamed`` source
    arrives while it is read; a ``live`` one does not wait for its reader.
    """

    name: str
    frames: Iterator[Frame]
    rate: float
    count: int | None
    pixels: int
    streamed: bool = False
    live: bool = False


def is_camera(source: str) -> bool:
    """Return whether a word of the command line is the number or the device file of a camera."""
    return (source.isascii() and source.isdigit()) or Path(source).is_char_device()


def is_stream(source: str) -> bool:
    """Return whether a word of the command line is the address of a video stream, which is read while it arrives."""
    return _STREAM.match(source) is not None


@contextmanager
def open_video(source: str | Path | int, fps: float | None = None) -> Iterator[Video]:
    """Open a video file, a stream (``rtsp://…``, ``http://….m3u8``) or a camera (its number) for reading once.

    With ``fps``, so many frames per second are taken: the first at or after each time point.
    """
    if is_camera(str(source)):
        opened = _open_camera(str(source))
    else:
        opened = _open_file(str(source))
    with opened as video:
        if fps is not None:
            if not fps > 0 or (not video.live and fps > video.rate * 1.001):
                raise ConfigError(
                    f"--fps {fps:g}: {source} has {video.rate:g} frames per second; give a number up to that"
                )
            count = None if video.count is None else round(video.count * fps / video.rate)
            frames = _sample(video.frames, video.rate, fps)
            video = replace(video, frames=frames, rate=min(fps, video.rate), count=count)
        yield video


def read_frames(source: str | Path | int, fps: float | None = None) -> Iterator[Frame]:
    """Yield the frames of a video in order; see `open_video`."""
    with open_video(source, fps) as video:
        yield from video.frames


def require_av() -> ModuleType:
    """Return PyAV; raise a ConfigError that says how to install it."""
    try:
        import av
    except ImportError:
        raise ConfigError(f"reading and writing videos needs PyAV: {install_hint('video')}") from None
    av.logging.set_level(None)  # its errors are raised, and FFmpeg's remarks on a stream are for its developers
    module: ModuleType = av
    return module


def _sample(frames: Iterator[Frame], native: float, fps: float) -> Iterator[Frame]:
    taken = 0
    for frame in frames:
        # Times are rounded: accept a frame that is early by a hundredth of a frame interval.
        at = frame.time + 0.01 / native
        if at >= taken / fps:
            # After a gap in the times, skip the time points in it.
            taken = max(taken + 1, int(at * fps) + 1)
            yield frame


@contextmanager
def open_container(source: str) -> Iterator[tuple[Any, Any]]:
    """Open a video file or stream for PyAV, and give the container with the stream of pictures, ready to decode."""
    av = require_av()
    remote, shown = "://" in source, _without_password(source)
    if remote:
        # Packets lost by UDP leave gray smears.
        tcp = {"rtsp_transport": "tcp"} if source.lower().startswith("rtsp") else {}
        settings: dict[str, Any] = {"timeout": _PATIENCE, "options": tcp, "metadata_errors": "replace"}
    else:
        open_regular(source, "video").close()
        settings = LOCAL
    try:
        container = av.open(source, **settings)
    except (av.FFmpegError, OSError, ValueError, MemoryError) as error:
        raise _unreadable(shown, _reason(av, error)) from None
    with container:
        if not container.streams.video:
            raise _unreadable(shown, "it has no pictures")
        stream = container.streams.video[0]
        if stream.codec_context is None:
            raise _unreadable(shown, "its pictures are coded in a way that FFmpeg does not know")
        _check_size(stream.codec_context, shown)
        stream.codec_context.options = {"max_pixels": str(max_pixels())}  # of pictures whose size changes on the way
        stream.thread_type = "AUTO"
        yield container, stream


@contextmanager
def _open_file(source: str) -> Iterator[Video]:
    remote, shown = "://" in source, _without_password(source)
    with open_container(source) as (container, stream):
        rate = float(stream.average_rate or stream.guessed_rate or 0)
        if not 0 < rate <= 1000:  # some cameras state the ticks of their clock
            rate = 25.0
        count = stream.frames or None
        if count is None and container.duration and not remote:
            count = round(container.duration / 1e6 * rate)
        if count is not None and not 0 < count < _MOST_FRAMES:
            count = None
        frames = _decode(require_av(), container, stream, shown, rate)
        pixels = stream.width * stream.height
        live = _LIVE.match(source) is not None
        yield Video(shown if remote else Path(source).name, frames, rate, count, pixels, remote, live)


def _decode(av: ModuleType, container: Any, stream: Any, source: str, rate: float) -> Iterator[Frame]:
    """Yield the frames of an open file or stream, whose name in messages is ``source``."""
    first: float | None = None
    number = damaged = 0
    try:
        for packet in container.demux(stream):
            try:
                frames = packet.decode()
            except av.InvalidDataError:  # a live stream begins anywhere, and packets are lost on the way
                damaged += 1
                continue
            for decoded in frames:
                clock = decoded.time if decoded.time is not None else number / rate
                first = clock if first is None else first
                yield Frame(number, clock - first, upright_pixels(decoded, source), clock)
                number += 1
    except (av.FFmpegError, OSError, ValueError, MemoryError, OverflowError) as error:
        raise decoding_error(error, source, number) from None
    if not number:
        raise _unreadable(source, "its pictures are damaged" if damaged else "it has no pictures")
    if damaged:
        _log.warning("%s: %d damaged %s left out", source, damaged, "part was" if damaged == 1 else "parts were")
    if "://" not in source and _is_cut(Path(source)):
        raise _ended(source, number, "the file is cut off; fetch it again")


def upright_pixels(decoded: Any, source: str) -> Array:
    """Return the pixels ``(H, W, 3)`` RGB uint8 of a frame that PyAV has decoded, upright."""
    _check_size(decoded, source)  # it may change on the way
    # PyAV before 17 takes all videos for BT.601, unless a change is asked for; RGB has no such matrix.
    change = {"src_colorspace": "ITU709", "dst_colorspace": "ITU601"} if decoded.colorspace == _BT709 else {}
    image: Array = decoded.to_ndarray(format="rgb24", **change)
    # Phones record in one orientation and store the rotation to apply.
    turns = round(decoded.rotation / 90) % 4
    return np.ascontiguousarray(np.rot90(image, turns)) if turns else image


def decoding_error(error: Exception, source: str, frames: int) -> DataError:
    """Return the error of a video of which ``frames`` could be decoded."""
    why = _reason(require_av(), error)
    return _ended(source, frames, why) if frames else _unreadable(source, why)


def _without_password(source: str) -> str:
    return re.sub(r"//[^/@]*@", "//", source)


def _check_size(picture: Any, source: str) -> None:
    """Raise a DataError if the pictures of a video, or one of them, are too large."""
    try:
        check_size(Header(picture.width or 1, picture.height or 1))  # 0: known with the first picture
    except FaultError as fault:
        raise _unreadable(source, f"a picture {fault}") from None


def _is_cut(file: Path) -> bool:
    """Return whether an MP4 or MOV file is shorter than its parts say, which FFmpeg does not report."""
    size, place = file.stat().st_size, 0
    with file.open("rb") as opened:
        while place + 8 <= size:
            opened.seek(place)
            length, kind = struct.unpack(">I4s", opened.read(8))
            if place == 0 and kind != b"ftyp":
                return False
            if length == 1 and place + 16 <= size:
                (length,) = struct.unpack(">Q", opened.read(8))
            if length < 8:  # up to the end of the file
                return False
            place += length
    return place > size


@contextmanager
def _open_camera(device: str) -> Iterator[Video]:
    capture = cv2.VideoCapture(int(device) if device.isdigit() else device)
    try:
        if not capture.isOpened():
            raise DataError(
                f"camera {device} cannot be opened: connect it, close other programs that use it, or try another number"
            )
        rate = float(capture.get(cv2.CAP_PROP_FPS))
        pixels = int(capture.get(cv2.CAP_PROP_FRAME_WIDTH) * capture.get(cv2.CAP_PROP_FRAME_HEIGHT))
        frames = _capture(capture, device)
        yield Video(f"camera {device}", frames, rate if rate > 0 else 30.0, None, pixels, streamed=True, live=True)
    finally:
        capture.release()


def _capture(capture: Any, device: str) -> Iterator[Frame]:
    start: float | None = None
    number = 0
    while True:
        success, image = capture.read()
        if not success:
            break
        now = time.monotonic()
        start = now if start is None else start
        yield Frame(number, now - start, cv2.cvtColor(image, cv2.COLOR_BGR2RGB), now - start)
        number += 1
    raise DataError(
        f"camera {device} stopped, after {number} frames" if number else f"camera {device} gives no picture"
    )


def _reason(av: ModuleType, error: Exception) -> str:
    """Return FFmpeg's reason in words, without the number of the error and the name of the file."""
    if isinstance(error, av.ExitError):
        return f"no data came for {_PATIENCE:g} s"
    return quoted(getattr(error, "strerror", None) or error)


def _unreadable(source: str, why: str) -> DataError:
    return DataError(f"video {source} cannot be read: {why}")


def _ended(source: str, frames: int, why: str) -> DataError:
    return DataError(f"video {source} ended early, after {counted(frames, 'frame')}: {why}")
