"""Images whose headers lie, promise too much, or are damaged in any byte."""

from __future__ import annotations

import io
import os
import struct
import sys
import zipfile
import zlib
from contextlib import suppress
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from pose_core.data.images import open_image, read_bytes
from pose_core.errors import ConfigError, DataError
from pose_core.photos import decode_photo, read_photo
from pose_core.reading import archives, images
from pose_core.reading.images import is_decodable

PIXELS = np.random.default_rng(0).integers(0, 255, (37, 53, 3), np.uint8)


def encoded(suffix: str, pixels: np.ndarray = PIXELS, *settings: int) -> bytes:
    return bytes(cv2.imencode(suffix, pixels, settings)[1].tobytes())


def pillow(kind: str, **settings: object) -> bytes:
    file = io.BytesIO()
    Image.fromarray(PIXELS).save(file, kind, **settings)
    return file.getvalue()


DEEP = PIXELS.astype(np.uint16) * 257
FILES = {
    "jpeg": encoded(".jpg"),
    "progressive": encoded(".jpg", PIXELS, cv2.IMWRITE_JPEG_PROGRESSIVE, 1),
    "png": encoded(".png"),
    "png16": encoded(".png", DEEP),
    "palette": pillow("PNG", bits=4),
    "animated png": pillow("PNG", save_all=True, append_images=[Image.fromarray(PIXELS[::-1])]),
    "bmp": encoded(".bmp"),
    "webp": encoded(".webp", PIXELS, cv2.IMWRITE_WEBP_QUALITY, 90),
    "webp lossless": pillow("WEBP", lossless=True),
    "webp animation": pillow("WEBP", save_all=True, append_images=[Image.fromarray(PIXELS[::-1])]),
    "tiff": encoded(".tiff"),
    "tiff16": encoded(".tiff", DEEP),
    "tiff lzw": pillow("TIFF", compression="tiff_lzw"),
    "gif": pillow("GIF"),
    "pgm": encoded(".pgm", PIXELS[..., 0]),
    "ppm": encoded(".ppm"),
    "pbm": encoded(".pbm", PIXELS[..., 0]),
    **{kind: encoded(f".{kind}") for kind in ("jp2", "avif") if cv2.haveImageWriter(f".{kind}")},
}
READ = [name for name in FILES if cv2.imdecode(np.frombuffer(FILES[name], np.uint8), cv2.IMREAD_COLOR) is not None]
"""Those that this OpenCV reads: older ones read no GIF."""


@pytest.mark.parametrize("name", READ)
def test_every_kind_is_decoded_as_opencv_decodes_it(name: str) -> None:
    content = FILES[name]
    expected = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    assert np.array_equal(decode_photo(content, "a"), expected[..., ::-1])
    header = images._kind(content)[1](content)
    assert (header.width, header.height) == (53, 37)
    assert (header.samples > 1) == name.endswith("16")


@pytest.mark.parametrize("name", FILES)
def test_damage_ends_in_pixels_or_a_data_error(name: str) -> None:
    rng = np.random.default_rng(1)
    content = np.frombuffer(FILES[name], np.uint8)
    for _ in range(60):
        damaged = content.copy()
        damaged[rng.integers(0, min(len(content), 400), 3)] = rng.integers(0, 256, 3)
        cut = damaged[: rng.integers(1, len(content) + 1)] if rng.random() < 0.3 else damaged
        with suppress(DataError):
            assert decode_photo(cut.tobytes(), "a").ndim == 3


def png(*chunks: tuple[bytes, bytes]) -> bytes:
    parts = [
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def ihdr(width: int, height: int, depth: int = 8) -> tuple[bytes, bytes]:
    return b"IHDR", struct.pack(">IIBBBBB", width, height, depth, 2, 0, 0, 0)


IDAT, IEND = (b"IDAT", zlib.compress(bytes(4 * 13))), (b"IEND", b"")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(png(ihdr(4, 4), IDAT)[:-12] + b"\xef\xff\xff\xffIDAT\0\0\0\0\0\0\0\0", "is cut off", id="chunk"),
        pytest.param(png(ihdr(30000, 30000), IDAT, IEND), "30000 x 30000 pixels, of at most 200 mil", id="sides"),
        pytest.param(png(ihdr(11000, 11000, 16), IDAT, IEND), "11000 x 11000 pixels of 16 bits", id="16 bits"),
        pytest.param(png(ihdr(9000, 9000), IDAT, IEND), "is cut off", id="less than the least that zlib makes of it"),
        pytest.param(png(ihdr(4, 4), ihdr(4, 4), IDAT, IEND), "begins with its header, and has one", id="two headers"),
        pytest.param(png(IDAT, ihdr(4, 4), IEND), "begins with its header", id="header second"),
        pytest.param(png(ihdr(4, 4), IDAT), "is cut off", id="no end"),
        pytest.param(png(ihdr(0, 4), IDAT, IEND), "header says 0 x 4", id="no width"),
        pytest.param(b"\xff\xd8\xff\xc0\0\x11\x08\xff\xff\xff\xff\x03" + bytes(9), "65535 x 65535", id="JPEG"),
        pytest.param(b"BM" + bytes(12) + struct.pack("<Iii", 40, 1 << 20, -(1 << 20)) + bytes(40), "1048576", id="BMP"),
        pytest.param(b"P6 100000 100000 255\n" + bytes(9), "100000 x 100000", id="PNM"),
        pytest.param(b"GIF89a\xff\xff\xff\xff\0\0\0," + bytes(99), "65535 x 65535", id="GIF"),
        pytest.param(b"RIFF\x64\0\0\0WEBPVP8X\x0a\0\0\0" + bytes(4) + b"\xff\xff\0\xff\xff\0", "65536 x", id="WebP"),
        pytest.param(b"v/1\x01" + bytes(40), "is not an image file", id="OpenEXR"),
        pytest.param(b"#?RADIANCE\n\n-Y 9 +X 9\n", "is not an image file", id="HDR"),
    ],
)  # fmt: skip
def test_lies_are_refused_before_memory_is_taken(content: bytes, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cv2, "imdecode", lambda *_: pytest.fail("decoded"))
    with pytest.raises(DataError, match=message):
        decode_photo(content, "a")
    assert not is_decodable(content)


def test_a_jpeg_of_too_many_passes_is_refused() -> None:
    large = encoded(".jpg", np.zeros((2000, 2000, 3), np.uint8), cv2.IMWRITE_JPEG_PROGRESSIVE, 1)
    assert decode_photo(large, "a").shape == (2000, 2000, 3)
    start = large.rfind(b"\xff\xda")
    with pytest.raises(DataError, match=r"a JPEG of 1.* passes over 2000 x 2000"):
        decode_photo(large[:start] + large[start:-2] * 1500 + b"\xff\xd9", "a")


def test_a_user_can_raise_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POSE_MAX_PIXELS", "1000")
    with pytest.raises(DataError, match=r"53 x 37 pixels.* set POSE_MAX_PIXELS=1961$"):
        decode_photo(FILES["jpeg"], "a")
    monkeypatch.setenv("POSE_MAX_PIXELS", "1961")
    assert decode_photo(FILES["jpeg"], "a").shape == PIXELS.shape
    monkeypatch.setenv("POSE_MAX_PIXELS", "many")
    with pytest.raises(ConfigError, match="POSE_MAX_PIXELS=many is not a number of pixels"):
        decode_photo(FILES["jpeg"], "a")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such files")
def test_pipes_and_devices_are_no_images(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    for path in (tmp_path / "pipe.jpg", Path("/dev/zero")):
        for read in (open_image, read_bytes, read_photo):
            with pytest.raises(DataError, match="a pipe or a device"):
                read(str(path))


def zipped(path: Path, content: bytes = bytes(9), compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    with zipfile.ZipFile(path, "w", compression) as file:
        file.writestr("a.jpg", content)
    return path.read_bytes()


def test_members_of_archives_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "ALWAYS_ALLOWED", 10_000)
    monkeypatch.setattr(archives, "MAX_RATIO", 10)
    content = zipped(tmp_path / "bomb.zip", bytes(1_000_000))
    with pytest.raises(DataError, match=r"bomb.zip@a.jpg is too large: 1.0 MB from 9\d\d bytes, of at most 1\d kB"):
        read_bytes(f"{tmp_path}/bomb.zip@a.jpg")
    lying = content.replace(struct.pack("<I", 1_000_000), struct.pack("<I", 100))
    (tmp_path / "lie.zip").write_bytes(lying)
    with pytest.raises(DataError, match=r"lie.zip@a.jpg cannot be read: "):
        read_bytes(f"{tmp_path}/lie.zip@a.jpg")
    monkeypatch.setattr(archives, "MAX_MEMBERS", 0)
    zipped(tmp_path / "many.zip")
    with pytest.raises(DataError, match=r"many.zip has 1 members, of at most 0"):
        read_bytes(f"{tmp_path}/many.zip@a.jpg")


def test_encrypted_members_are_named(tmp_path: Path) -> None:
    content = bytearray(zipped(tmp_path / "a.zip", b"abc", zipfile.ZIP_STORED))
    content[6] |= 1
    content[content.index(b"PK\1\2") + 8] |= 1
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(DataError, match=r"a.zip@a.jpg is encrypted"):
        read_bytes(f"{tmp_path}/a.zip@a.jpg")


@pytest.mark.parametrize("compression", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA, zipfile.ZIP_STORED])
def test_damaged_archives_end_in_data_errors(tmp_path: Path, compression: int) -> None:
    content = np.frombuffer(zipped(tmp_path / "a.zip", FILES["jpeg"][:300], compression), np.uint8)
    rng = np.random.default_rng(2)
    for number in range(150):
        damaged = content.copy()
        damaged[rng.integers(0, len(content), 2)] = rng.integers(0, 256, 2)
        file = tmp_path / f"{number}.zip"
        file.write_bytes(damaged.tobytes())
        with suppress(DataError):
            read_bytes(f"{file}@a.jpg")
        file.unlink()
