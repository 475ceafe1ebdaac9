"""The pixels of a photo, in whatever form a person has it: a file, a URL, bytes, or an image of another library.

Photos are turned upright by their EXIF orientation. Images of annotated data sets are not, since annotations count
stored pixels: those are read by `pose_core.data.images`.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias, Union

import cv2
import numpy as np

from pose_core.downloads import fetch, file_name, is_offline
from pose_core.errors import DataError, PoseError
from pose_core.reading.images import MAX_BYTES, decode_image
from pose_core.reading.regular import read_regular

if TYPE_CHECKING:
    import torch
    from PIL import Image

Array = np.ndarray
Photo: TypeAlias = Union[str, "os.PathLike[str]", bytes, bytearray, memoryview, Array, "torch.Tensor", "Image.Image"]
"""Anything that `as_pixels` takes."""

KINDS = (
    "a path, a URL, bytes of an image file, an array (H, W, 3) RGB, (H, W, 4) RGBA or (H, W) gray of uint8, a PyTorch "
    "tensor (3, H, W) of uint8 or of floats from 0 to 1, or a PIL image"
)
SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"})
"""Suffixes of image files, to find them in folders."""
LIMIT = 2e9
"""Most bytes that are fetched from a URL: something larger is no photo, and some URLs never end."""


def as_pixels(photo: Photo) -> tuple[Array, str]:
    """Return pixels ``(H, W, 3)`` RGB uint8 and the file or URL they were read from, "" if there is none.

    An array that already has this form is returned itself, not a copy.
    """
    if isinstance(photo, str | os.PathLike):
        name = os.fspath(photo)
        return read_photo(name), name
    if isinstance(photo, bytes | bytearray | memoryview):
        return decode_photo(bytes(photo), "the given bytes"), ""
    if isinstance(photo, np.ndarray):
        return _from_array(photo), ""
    torch = sys.modules.get("torch")  # an object of a library exists only where the library is loaded
    if torch is not None and isinstance(photo, torch.Tensor):
        return _from_tensor(photo), ""
    pillow = sys.modules.get("PIL.Image")
    if pillow is not None and isinstance(photo, pillow.Image):
        return _from_pillow(photo), ""
    kind = type(photo)
    raise DataError(f"an image cannot be a {kind.__module__}.{kind.__qualname__}; give {KINDS}")


def is_url(name: str) -> bool:
    """Return whether a name is the address of a file on a web server."""
    return name.lower().startswith(("http://", "https://"))


def read_photo(name: str) -> Array:
    """Read a file or a URL as pixels ``(H, W, 3)`` RGB uint8, upright."""
    if is_url(name):
        with tempfile.TemporaryDirectory(prefix="pose-") as folder:
            return decode_photo(download(name, Path(folder)).read_bytes(), name)
    path = Path(name)
    if path.is_dir():
        raise DataError(f"{name} is a folder, not an image: give a list of its images")
    return decode_photo(read_regular(path, "image", limit=MAX_BYTES), name)


def download(url: str, folder: Path) -> Path:
    """Fetch a photo or a video into a folder and return its path."""
    if is_offline():
        raise PoseError(f"{url} cannot be fetched: POSE_OFFLINE is set; unset it, or give a file")
    return fetch(url, folder / file_name(url), limit=LIMIT)


def decode_photo(content: bytes, name: str) -> Array:
    """Decode an image file's bytes to pixels ``(H, W, 3)`` RGB uint8, upright.

    16-bit values are scaled to 8 bits, transparency is dropped, and of an animation the first picture is taken.
    """
    image = decode_image(content, f"image {name}", cv2.IMREAD_COLOR)
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def _from_array(image: Array) -> Array:
    if image.dtype != np.uint8:
        more = "; multiply values from 0 to 1 by 255 and convert them" if image.dtype.kind == "f" else ""
        raise DataError(f"an image as an array must be of uint8, from 0 to 255, not of {image.dtype}{more}")
    if image.ndim == 4:
        raise DataError(f"an image must be one image, not a batch {image.shape}: give list(images)")
    if image.ndim == 3 and image.shape[2] == 1:
        image = image[..., 0]
    if image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] not in (3, 4)) or not image.size:
        raise DataError(f"an image as an array must be (H, W, 3) RGB, (H, W, 4) RGBA or (H, W) gray, not {image.shape}")
    if image.ndim == 2:
        return np.repeat(image[..., None], 3, 2)
    return image if image.shape[2] == 3 else np.ascontiguousarray(image[..., :3])


def _from_tensor(image: torch.Tensor) -> Array:
    if image.ndim == 4:
        raise DataError(f"an image must be one image, not a batch {tuple(image.shape)}: give list(images)")
    if image.ndim != 3 or image.shape[0] not in (1, 3, 4):
        raise DataError(f"an image as a tensor must be (3, H, W), not {tuple(image.shape)}")
    pixels = image.detach().cpu()
    if pixels.is_floating_point():
        # Comparisons with NaN are false.
        if pixels.numel() and not (float(pixels.min()) >= 0 and float(pixels.max()) <= 1):
            raise DataError(
                f"an image as a tensor of floats must be from 0 to 1, not from {float(pixels.min()):g} to "
                f"{float(pixels.max()):g}; give it before it is normalized, or as uint8"
            )
        pixels = (pixels.float() * 255).round().byte()
    return _from_array(np.ascontiguousarray(pixels.permute(1, 2, 0).numpy()))


def _from_pillow(image: Image.Image) -> Array:
    from PIL import ImageOps

    upright = ImageOps.exif_transpose(image)
    if upright.mode.startswith("I;16"):
        return _from_array((np.asarray(upright) >> 8).astype(np.uint8))
    if upright.mode in {"I", "F"}:
        raise DataError(
            f"a PIL image of mode {upright.mode!r} has no fixed range of values; convert it to 'RGB' or 'L' first"
        )
    return np.ascontiguousarray(upright.convert("RGB"))
