"""Photos in every form a person has them: upright, RGB, or a message that says what is wrong."""

from __future__ import annotations

import functools
import io
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from pose_core.data.images import open_image
from pose_core.errors import DataError, PoseError
from pose_core.photos import Photo, as_pixels, decode_photo, read_photo


def smooth(height: int = 48, width: int = 64) -> np.ndarray:
    small = np.random.default_rng(0).integers(0, 256, (5, 6, 3), dtype=np.uint8)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)


PIXELS = smooth()
PICTURE = Image.fromarray(PIXELS)
GRAY = np.repeat(np.asarray(PICTURE.convert("L"))[..., None], 3, 2)


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def oriented(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x112] = orientation
    return exif


# What a viewer does for each orientation: quarter turns against the clock, after mirroring left and right.
TURNS = {1: (0, 0), 2: (1, 0), 3: (0, 2), 4: (1, 2), 5: (1, 1), 6: (0, 3), 7: (1, 3), 8: (0, 1)}


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_photos_are_turned_upright_and_annotated_images_are_not(orientation: int, kind: str, tmp_path: Path) -> None:
    file = tmp_path / f"a.{kind.lower()}"
    options = {"quality": 98, "subsampling": 0} if kind == "JPEG" else {}
    PICTURE.save(file, kind, exif=oriented(orientation), **options)
    mirrored, turns = TURNS[orientation]
    upright = np.rot90(PIXELS[:, ::-1] if mirrored else PIXELS, turns)
    for pixels in (read_photo(str(file)), as_pixels(file.read_bytes())[0], as_pixels(Image.open(file))[0]):
        assert pixels.shape == upright.shape
        assert np.abs(pixels.astype(int) - upright).max() < 12
    stored = open_image(str(file))
    assert stored.shape == PIXELS.shape
    assert np.abs(stored.astype(int) - PIXELS).max() < 12


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        pytest.param(encoded(PICTURE.convert("L"), "PNG"), GRAY, id="gray"),
        pytest.param(encoded(PICTURE.convert("RGBA"), "PNG"), PIXELS, id="transparent"),
        pytest.param(
            encoded(PICTURE.quantize(32), "PNG"), np.asarray(PICTURE.quantize(32).convert("RGB")), id="palette"
        ),
        pytest.param(
            encoded(PICTURE.convert("CMYK"), "JPEG", quality=98),
            np.asarray(PICTURE.convert("CMYK").convert("RGB")),
            id="CMYK",
        ),
        pytest.param(encoded(Image.fromarray(GRAY[..., 0].astype(np.uint16) * 257), "PNG"), GRAY, id="16-bit gray"),
        pytest.param(
            cv2.imencode(".png", PIXELS[..., ::-1].astype(np.uint16) * 257)[1].tobytes(), PIXELS, id="16-bit color"
        ),
        pytest.param(encoded(PICTURE, "WEBP", lossless=True), PIXELS, id="WebP"),
        pytest.param(encoded(PICTURE, "TIFF", save_all=True, append_images=[PICTURE.rotate(180)]), PIXELS, id="pages"),
        pytest.param(
            encoded(PICTURE, "PNG", save_all=True, append_images=[PICTURE.rotate(180)]), PIXELS, id="animation"
        ),
    ],
)
def test_every_kind_of_file_becomes_eight_bit_rgb(content: bytes, expected: np.ndarray) -> None:
    pixels = decode_photo(content, "a")
    assert pixels.dtype == np.uint8
    assert np.abs(pixels.astype(int) - expected).max() <= 4


@pytest.mark.parametrize(
    ("photo", "expected"),
    [
        pytest.param(PIXELS, PIXELS, id="RGB"),
        pytest.param(np.dstack([PIXELS, np.zeros_like(PIXELS[..., :1])]), PIXELS, id="RGBA"),
        pytest.param(GRAY[..., 0], GRAY, id="gray"),
        pytest.param(GRAY[..., :1], GRAY, id="gray with a channel"),
        pytest.param(torch.from_numpy(PIXELS).permute(2, 0, 1), PIXELS, id="tensor"),
        pytest.param(torch.from_numpy(PIXELS).permute(2, 0, 1) / 255, PIXELS, id="tensor of floats"),
        pytest.param(torch.from_numpy(PIXELS).permute(2, 0, 1).half() / 255, PIXELS, id="tensor of halves"),
        pytest.param(torch.from_numpy(GRAY[..., 0])[None], GRAY, id="gray tensor"),
        pytest.param(PICTURE, PIXELS, id="PIL"),
        pytest.param(PICTURE.convert("RGBA"), PIXELS, id="PIL RGBA"),
        pytest.param(Image.fromarray(GRAY[..., 0].astype(np.uint16) * 257), GRAY, id="PIL 16-bit"),
        pytest.param(encoded(PICTURE, "PNG"), PIXELS, id="bytes"),
        pytest.param(bytearray(encoded(PICTURE, "PNG")), PIXELS, id="bytearray"),
    ],
)
def test_images_of_other_libraries(photo: Photo, expected: np.ndarray) -> None:
    pixels, source = as_pixels(photo)
    assert pixels.dtype == np.uint8
    np.testing.assert_array_equal(pixels, expected)
    assert source == ""


def test_an_array_is_not_copied() -> None:
    assert as_pixels(PIXELS)[0] is PIXELS


@pytest.mark.parametrize(
    ("photo", "message"),
    [
        pytest.param(PIXELS / 255, "of uint8, from 0 to 255, not of float64; multiply", id="floats"),
        pytest.param(PIXELS.astype(np.int64), "not of int64$", id="integers"),
        pytest.param(PIXELS[None], r"list\(images\)", id="batch"),
        pytest.param(PIXELS.transpose(2, 0, 1), r"\(H, W, 3\) RGB.*not \(3, 48, 64\)", id="channels first"),
        pytest.param(np.zeros((0, 4, 3), np.uint8), r"not \(0, 4, 3\)", id="empty"),
        pytest.param(torch.zeros(48, 64, 3), r"\(3, H, W\), not \(48, 64, 3\)", id="channels last"),
        pytest.param(torch.full((3, 4, 4), 2.5), "from 0 to 1, not from 2.5 to 2.5", id="normalized"),
        pytest.param(torch.full((3, 4, 4), torch.nan), "from 0 to 1", id="NaN"),
        pytest.param(torch.zeros(2, 3, 4, 4), r"list\(images\)", id="batch of tensors"),
        pytest.param(PICTURE.convert("F"), "mode 'F'", id="PIL floats"),
        pytest.param(None, "cannot be a builtins.NoneType; give a path, a URL", id="None"),
        pytest.param(3.5, "cannot be a builtins.float", id="number"),
        pytest.param({"a": 1}, "cannot be a builtins.dict", id="dict"),
        pytest.param(b"", "is empty", id="no bytes"),
        pytest.param(encoded(PICTURE, "JPEG")[:-300], "the given bytes is cut off", id="truncated"),
        pytest.param(encoded(PICTURE, "PNG")[:60], "is cut off", id="cut off"),
        pytest.param(b"\0\0\0\x18ftypheic\0\0\0\0", "HEIC photo", id="HEIC"),
    ],
)
def test_anything_else_is_refused_with_what_is_accepted(photo: Photo, message: str) -> None:
    with pytest.raises(DataError, match=message):
        as_pixels(photo)


def test_files_that_are_no_photo(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("buy milk")
    with pytest.raises(DataError, match=r"notes\.txt is not an image file"):
        read_photo(str(tmp_path / "notes.txt"))
    with pytest.raises(DataError, match="is a folder, not an image"):
        read_photo(str(tmp_path))
    with pytest.raises(DataError, match=r"gone\.jpg does not exist"):
        as_pixels(tmp_path / "gone.jpg")


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """Serve ``tmp_path / "www"`` on this machine."""
    (tmp_path / "www").mkdir()
    with serving(functools.partial(_Quiet, directory=str(tmp_path / "www"))) as address:
        yield address


@contextmanager
def serving(handler: Callable[..., SimpleHTTPRequestHandler]) -> Iterator[str]:
    """Run a web server on this machine and return its address."""
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{running.server_port}"
        finally:
            running.shutdown()
            thread.join()


def test_photos_of_a_web_server(server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "www" / "my photo.png").write_bytes(encoded(PICTURE, "PNG", exif=oriented(6)))
    (tmp_path / "www" / "page").write_text("<html>")
    url = f"{server}/my%20photo.png?size=large"
    monkeypatch.setenv("POSE_WEIGHTS_MIRROR", str(tmp_path))  # is for weights
    pixels, source = as_pixels(url)
    assert (pixels.shape, source) == ((64, 48, 3), url)
    with pytest.raises(DataError, match="page is not an image file"):
        as_pixels(f"{server}/page")
    with pytest.raises(PoseError, match="404"):
        as_pixels(f"{server}/gone.jpg")
    monkeypatch.setattr("pose_core.photos.LIMIT", 1000)
    with pytest.raises(PoseError, match=r"size=large is larger than 1\.0 kB: download it yourself"):
        as_pixels(url)
    monkeypatch.setenv("POSE_OFFLINE", "1")
    with pytest.raises(PoseError, match="POSE_OFFLINE is set; unset it, or give a file"):
        as_pixels(url)


def test_a_url_that_never_ends_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Endless(_Quiet):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            with suppress(OSError):
                while True:
                    self.wfile.write(b"0" * 100_000)

    monkeypatch.setattr("pose_core.photos.LIMIT", 1e6)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with serving(Endless) as address, pytest.raises(PoseError, match=r"camera is larger than 1\.0 MB"):
        as_pixels(f"{address}/camera")
    assert not list(tmp_path.iterdir())
