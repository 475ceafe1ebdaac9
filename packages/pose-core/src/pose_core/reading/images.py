"""Pixels of encoded images. A header is read here, and its size checked, before OpenCV takes memory for the picture.

OpenCV trusts what a file says of itself: a PNG of 293 bytes can make it take 4 GB. So the kind of a file is told by its
first bytes, the size of the picture by a few lines for each kind, and what OpenCV raises becomes a DataError.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import NamedTuple

import cv2
import numpy as np

from pose_core.errors import ConfigError, DataError

Array = np.ndarray

MAX_PIXELS = 200_000_000
"""Most pixels of an image by default, those of the largest panoramas; the variable ``POSE_MAX_PIXELS`` sets another."""
MAX_BYTES = 2 << 30
"""Most bytes of an image file."""
MAX_SCAN_PIXELS = 4_000_000_000
"""Most pixels of all passes of a progressive JPEG: 20 passes over an image of 200 megapixels."""
MAX_SIDE = 1 << 20
"""Most pixels of a side; OpenCV reads no more."""
_HEIC = {b"heic", b"heix", b"hevc", b"mif1", b"msf1"}
IMAGE_BRANDS = _HEIC | {b"avif", b"avis"}
"""Types of image files that begin as an MP4 does."""
# Start-of-frame markers of JPEG: each is followed by a length, a depth, the height and the width.
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_PROGRESSIVE = frozenset({0xC2, 0xC6, 0xCA, 0xCE})
_CUT = "is cut off: its end is missing"


class Header(NamedTuple):
    """What a file says of its picture."""

    width: int
    height: int
    samples: float = 1
    """Memory of a pixel, in bytes per color of 8 bits: 2 for 16 bits."""


class FaultError(Exception):
    """Why an image cannot be decoded, to follow its name: ``is cut off``."""


def decode(content: bytes, flags: int) -> Array:
    """Return the pixels of an image file's bytes as ``cv2.imdecode`` does with ``flags``.

    A FaultError says why there are none; it is for callers that word the message themselves.
    """
    kind = _check(content)
    try:
        image = cv2.imdecode(np.frombuffer(content, np.uint8), flags)
    except (cv2.error, MemoryError):  # the first also where memory is short
        image = None
    if image is None:
        raise FaultError(f"is damaged, or of a kind of {kind} that OpenCV {cv2.__version__} does not read")
    return image


def decode_image(content: bytes, name: str, flags: int) -> Array:
    """Return pixels as `decode` does; raise a DataError that begins with ``name``."""
    try:
        return decode(content, flags)
    except FaultError as fault:
        advice = "; copy or download it again" if str(fault) == _CUT else ""
        raise DataError(f"{name} {fault}{advice}") from None


def image_size(content: bytes, name: str) -> tuple[int, int]:
    """Return width and height as an image's header says; raise a DataError that begins with ``name``."""
    try:
        kind, read = _kind(content)
        header = read(content)
        check_size(header)
    except FaultError as fault:
        raise DataError(f"{name} {fault}") from None
    except (IndexError, ValueError):
        raise DataError(f"{name} is damaged: it begins as a {kind} file, but has no size") from None
    return header.width, header.height


def is_decodable(content: bytes) -> bool:
    """Return whether the header of an image file lets it be decoded."""
    try:
        _check(content)
    except FaultError:
        return False
    return True


def _check(content: bytes) -> str:
    """Return the name of an image's kind; raise a FaultError if its header does not let it be decoded."""
    if not content:
        raise FaultError("is empty (0 bytes)")
    kind, read = _kind(content)
    try:
        header = read(content)
    except (IndexError, ValueError):
        raise FaultError(f"is damaged: it begins as a {kind} file, but has no size") from None
    check_size(header)
    if is_truncated(content):
        raise FaultError(_CUT)
    return kind


def check_size(header: Header) -> None:
    """Raise a FaultError if a picture is empty or larger than the limit."""
    width, height, samples = header
    if not 0 < width <= MAX_SIDE or not 0 < height <= MAX_SIDE:
        raise FaultError(f"is damaged: its header says {width} x {height} pixels")
    most = max_pixels()
    if width * height * max(samples, 1) > most:
        deep = f" of {8 * samples:g} bits" if samples > 1 else ""
        raise FaultError(
            f"is too large: {width} x {height} pixels{deep}, of at most {most / 1e6:g} million of 8 bits; if you trust "
            f"the file, set POSE_MAX_PIXELS={int(width * height * max(samples, 1))}"
        )


def max_pixels() -> int:
    """Return the most pixels that a picture may have."""
    return _max_pixels(os.environ.get("POSE_MAX_PIXELS", ""))


@lru_cache(maxsize=4)
def _max_pixels(text: str) -> int:
    if not text:
        return MAX_PIXELS
    if not re.fullmatch(r"[0-9]{1,12}", text):
        raise ConfigError(f"POSE_MAX_PIXELS={text[:40]} is not a number of pixels: give one, such as {MAX_PIXELS}")
    return int(text)


def is_truncated(content: bytes) -> bool:
    """Return whether a JPEG lacks its end marker. OpenCV 4 fills the missing part with gray; OpenCV 5 refuses it."""
    return content[:2] == b"\xff\xd8" and content.rfind(b"\xff\xd9") < 0


def jpeg_size(content: bytes) -> tuple[int, int] | None:
    """Return the width and height in a JPEG's header, or None if the bytes have no such header."""
    if content[:2] != b"\xff\xd8":
        return None
    found = _frame_of_jpeg(content)
    return found[1] if found is not None else None


def _kind(content: bytes) -> tuple[str, Callable[[bytes], Header]]:
    """Return the name of an image's kind, and what reads its header; raise a FaultError for other files."""
    if content[:2] == b"\xff\xd8":
        return "JPEG", _jpeg
    if content[:8] == b"\x89PNG\r\n\x1a\n":
        return "PNG", _png
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return "WebP", _webp
    if content[:2] == b"BM":
        return "BMP", _bmp
    if content[:4] in {b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"}:
        return "TIFF", _tiff
    if content[:6] in {b"GIF87a", b"GIF89a"}:
        return "GIF", _gif
    if content[:1] == b"P" and content[1:2] in b"123456" and content[2:3] in b" \t\r\n#":
        return "PNM", _pnm
    if content[:12] == b"\0\0\0\x0cjP  \r\n\x87\n" or content[:4] == b"\xff\x4f\xff\x51":
        return "JPEG 2000", _jpeg_2000
    if content[4:8] == b"ftyp":
        if content[8:12] in {b"avif", b"avis"} or (content[8:12] == b"mif1" and b"avif" in content[16:64]):
            return "AVIF", _avif
        if content[8:12] in _HEIC:
            raise FaultError("is a HEIC photo, which OpenCV does not read: convert it to JPEG or PNG")
    raise FaultError("is not an image file: its first bytes are none of JPEG, PNG, WebP, BMP, TIFF, GIF, PNM, AVIF")


def _frame_of_jpeg(content: bytes) -> tuple[int, tuple[int, int]] | None:
    """Return the marker of a JPEG's frame and its width and height, found as libjpeg finds them."""
    at, end = 2, len(content) - 8
    while at < end:
        if content[at] != 0xFF:  # libjpeg passes over what stands between the segments
            at = content.find(b"\xff", at)
            if at < 0:
                return None
            continue
        marker = content[at + 1]
        if marker == 0xFF:  # padding
            at += 1
        elif marker in _FRAMES:
            width, height = content[at + 7] << 8 | content[at + 8], content[at + 5] << 8 | content[at + 6]
            return marker, (width, height)
        elif marker in {0xD9, 0xDA}:  # the end, or pixels
            return None
        elif marker <= 0x01 or 0xD0 <= marker <= 0xD7:  # without a length
            at += 2
        else:
            at += 2 + (content[at + 2] << 8 | content[at + 3])
    return None


def _jpeg(content: bytes) -> Header:
    found = _frame_of_jpeg(content)
    if found is None:
        if is_truncated(content):
            raise FaultError(_CUT)
        raise ValueError
    marker, (width, height) = found
    if marker in _PROGRESSIVE and width * height > 1_000_000:
        passes = content.count(b"\xff\xda")
        if passes * width * height > MAX_SCAN_PIXELS:
            raise FaultError(f"is a JPEG of {passes} passes over {width} x {height} pixels: save it again with fewer")
    return Header(width, height)


def _png(content: bytes) -> Header:
    header: Header | None = None
    at, packed, row = 8, 0, 0
    while at + 12 <= len(content):
        length, name = int.from_bytes(content[at : at + 4], "big"), content[at + 4 : at + 8]
        if at + 12 + length > len(content):
            raise FaultError(_CUT)
        start = at + 8
        if (name == b"IHDR") != (header is None) or (name == b"IHDR" and length != 13):
            raise FaultError("is damaged: a PNG file begins with its header, and has one")
        if name == b"IHDR":
            width, height = (int.from_bytes(content[start + n : start + n + 4], "big") for n in (0, 4))
            depth, color = content[start + 8], content[start + 9]
            header = Header(width, height, depth / 8 if depth > 8 else 1)
            row = (width * depth * {2: 3, 4: 2, 6: 4}.get(color, 1) + 7) // 8
        elif name == b"fcTL" and header is not None and length >= 20:
            sides = [int.from_bytes(content[start + n : start + n + 4], "big") for n in (4, 8, 12, 16)]
            if sides[0] + sides[2] > header.width or sides[1] + sides[3] > header.height:
                raise FaultError("is damaged: a frame of the animation is larger than the picture")
        elif name == b"IDAT":
            packed += length
        at += 12 + length
        if name == b"IEND":
            break
    else:
        raise FaultError(_CUT)
    if header is None:
        raise ValueError
    check_size(header)
    if row * header.height > 1100 * packed + 4096:  # zlib packs at most 1032 to one
        raise FaultError(_CUT)
    return header


def _webp(content: bytes) -> Header:
    kind = content[12:16]
    if kind == b"VP8X":
        return Header(_little(content, 24, 3) + 1, _little(content, 27, 3) + 1)
    if kind == b"VP8L" and content[20] == 0x2F:
        bits = _little(content, 21, 4)
        return Header((bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1)
    if kind == b"VP8 " and content[23:26] == b"\x9d\x01\x2a":
        return Header(_little(content, 26, 2) & 0x3FFF, _little(content, 28, 2) & 0x3FFF)
    raise ValueError


def _bmp(content: bytes) -> Header:
    if _little(content, 14, 4) == 12:
        return Header(_little(content, 18, 2), _little(content, 20, 2))
    sides = [int.from_bytes(content[at : at + 4], "little", signed=True) for at in (18, 22)]
    if len(content) < 30:
        raise ValueError
    return Header(sides[0], abs(sides[1]))


def _gif(content: bytes) -> Header:
    screen = Header(_little(content, 6, 2), _little(content, 8, 2))
    at = 13 + (3 << (content[10] & 7) + 1 if content[10] & 0x80 else 0)
    while content[at] == 0x21:  # extensions, each of blocks that begin with their lengths
        at += 2
        while content[at]:
            at += 1 + content[at]
        at += 1
    if content[at] != 0x2C:
        raise ValueError
    left, top, width, height = (_little(content, at + n, 2) for n in (1, 3, 5, 7))
    return Header(max(screen.width, left + width), max(screen.height, top + height))


def _pnm(content: bytes) -> Header:
    words = re.sub(rb"#[^\r\n]*", b" ", content[2:4096]).split(maxsplit=3)[:3]
    if len(words) < 3 and not (len(words) == 2 and content[1:2] in b"14"):
        raise ValueError
    numbers = [int(word) for word in words if re.fullmatch(rb"[0-9]{1,9}", word)]
    if len(numbers) < 2:
        raise ValueError
    deep = content[1:2] not in b"14" and len(numbers) == 3 and numbers[2] > 255
    return Header(numbers[0], numbers[1], 2 if deep else 1)


_TIFF_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
"""Bytes of the types of a TIFF file's values."""


def _tiff(content: bytes) -> Header:
    order = "little" if content[:2] == b"II" else "big"
    big = content[2:4] in {b"+\0", b"\0+"}  # the form for files above 4 GB
    wide, head, entry = (8, 8, 20) if big else (4, 2, 12)

    def number(at: int, size: int) -> int:
        if at + size > len(content):
            raise FaultError(_CUT)
        return int.from_bytes(content[at : at + size], order)  # type: ignore[arg-type]

    place = number(8 if big else 4, wide)
    tags: dict[int, Callable[[], Iterator[int]]] = {}
    for index in range(number(place, head)):
        at = place + head + index * entry
        tag, kind, count = number(at, 2), number(at + 2, 2), number(at + 4, wide)
        size = _TIFF_SIZES.get(kind, 1)
        values = at + 4 + wide
        if count * size > wide:
            values = number(values, wide)
            if values + count * size > len(content):
                raise FaultError("is damaged: a part of the TIFF file lies outside of it, as if it were cut off")
        if tag in {256, 257, 258, 277, 273, 279, 322, 323, 324, 325}:
            tags.setdefault(tag, lambda values=values, count=count, size=size: (  # type: ignore[misc]
                number(values + n * size, size) for n in range(count)))  # fmt: skip
    first = {tag: next(read(), 0) for tag, read in tags.items()}
    for offsets, lengths in ((273, 279), (324, 325)):
        if offsets in tags and lengths in tags:
            for start, length in zip(tags[offsets](), tags[lengths](), strict=False):
                if start + length > len(content):
                    raise FaultError("is damaged: a part of the TIFF file lies outside of it, as if it were cut off")
    samples = first.get(258, 1) / 8 * max(1, first.get(277, 1) / 4)
    check_size(Header(first.get(322, 1), first.get(323, 1), samples))  # a tile
    return Header(first.get(256, 0), first.get(257, 0), samples if samples > 1 else 1)


def _jpeg_2000(content: bytes) -> Header:
    at = 0
    if content[:1] == b"\0":
        stream = [start for name, start, _ in _boxes(content, 0, len(content)) if name == b"jp2c"]
        if not stream:
            raise ValueError
        at = stream[0]
    if content[at : at + 4] != b"\xff\x4f\xff\x51" or at + 40 > len(content):
        raise ValueError
    right, low, left, top, tile_width, tile_height = (
        int.from_bytes(content[at + n : at + n + 4], "big") for n in (8, 12, 16, 20, 24, 28)
    )
    colors, depth = int.from_bytes(content[at + 40 : at + 42], "big"), (content[at + 42] & 0x7F) + 1
    width, height = right - left, low - top
    if not tile_width or not tile_height or not 0 < colors <= 4:
        raise ValueError
    if (width // tile_width + 1) * (height // tile_height + 1) > 65_536:
        raise ValueError
    return Header(width, height, 2 if depth > 8 else 1)


def _avif(content: bytes) -> Header:
    sizes = []
    for name, start, end in _boxes(content, 0, len(content)):
        if name == b"meta":
            for inner, first, last in _boxes(content, start + 4, end):
                if inner == b"iprp":
                    for part, begin, stop in _boxes(content, first, last):
                        if part == b"ipco":
                            sizes += [at for box, at, _ in _boxes(content, begin, stop) if box == b"ispe"]
    if not sizes:
        raise ValueError
    sides = [[int.from_bytes(content[at + n : at + n + 4], "big") for n in (4, 8)] for at in sizes]
    width, height = max(sides, key=lambda pair: pair[0] * pair[1])
    return Header(width, height)


def _boxes(content: bytes, at: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Yield the name, the beginning and the end of each box of a container as MP4 and JPEG 2000 have it."""
    while at + 8 <= end:
        length, start = int.from_bytes(content[at : at + 4], "big"), at + 8
        if length == 1:
            length, start = int.from_bytes(content[at + 8 : at + 16], "big"), at + 16
        elif length == 0:
            length = end - at
        if length < start - at or at + length > end:
            raise FaultError(_CUT)
        yield content[at + 4 : at + 8], start, at + length
        at += length


def _little(content: bytes, at: int, size: int) -> int:
    if at + size > len(content):
        raise ValueError
    return int.from_bytes(content[at : at + size], "little")
