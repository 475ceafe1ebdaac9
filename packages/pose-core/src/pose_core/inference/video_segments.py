"""Parts of video files: which frames a file has, without decoding them, and the frames from one to another."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pose_core.inference.video import Frame, decoding_error, open_container, require_av, upright_pixels

WITH_HIDDEN = {"vp8"}
"""Codecs some of whose packets hold no picture to show."""


def frame_times(file: Path) -> list[int] | None:
    """Return when each frame is shown, in ticks of the video's clock, from the packets alone; None if they do not tell.

    Raw streams and some old files have packets without times, or several with the same one.
    """
    av = require_av()
    with open_container(str(file)) as (container, stream):
        try:
            ticks = [each.pts for each in container.demux(stream) if each.size and not each.is_discard]
        except (av.FFmpegError, OSError, ValueError, MemoryError) as error:
            raise decoding_error(error, str(file), 0) from None
        unclear = stream.time_base is None or stream.codec_context.name in WITH_HIDDEN
        if unclear or not ticks or None in ticks or len(set(ticks)) < len(ticks):
            return None
        return sorted(ticks)


def read_segment(file: Path, first: int, ticks: Sequence[int], start: int) -> Iterator[Frame]:
    """Yield the frames of a video at ``ticks``, consecutive ones of its `frame_times`; ``first`` is the first's number.

    ``start`` is when frame 0 is shown, in ticks. Frames that are damaged are left out.
    """
    seen = False
    for frame in _frames_at(file, first, ticks, start, seek=first > 0):
        seen = True
        yield frame
    if first and not seen:  # the index led behind the first frame, as it may in a transport stream
        yield from _frames_at(file, first, ticks, start, seek=False)


def _frames_at(file: Path, first: int, ticks: Sequence[int], start: int, *, seek: bool) -> Iterator[Frame]:
    """Yield the frames at ``ticks``; none if ``seek`` leads behind the first of them."""
    av = require_av()
    number_of = {tick: first + place for place, tick in enumerate(ticks)}
    seen = 0
    with open_container(str(file)) as (container, stream):
        tick = float(stream.time_base)
        try:
            if seek:
                container.seek(ticks[0], stream=stream)
            for count, decoded in enumerate(_decode(container, stream)):
                if seek and not count and (decoded.pts is None or decoded.pts > ticks[0]):
                    return
                if decoded.pts in number_of:
                    pixels = upright_pixels(decoded, str(file))
                    yield Frame(number_of[decoded.pts], (decoded.pts - start) * tick, pixels, decoded.pts * tick)
                    seen += 1
                if decoded.pts is not None and decoded.pts >= ticks[-1]:
                    return
        except (av.FFmpegError, OSError, ValueError, MemoryError, OverflowError) as error:
            raise decoding_error(error, str(file), seen) from None


def _decode(container: Any, stream: Any) -> Iterator[Any]:
    """Yield decoded frames; damaged packets are left out."""
    av = require_av()
    for packet in container.demux(stream):
        try:
            yield from packet.decode()
        except av.InvalidDataError:
            continue
