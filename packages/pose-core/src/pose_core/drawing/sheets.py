"""Contact sheets: many images on one page."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np

from pose_core.errors import PoseError
from pose_core.files import whole_file

Array = np.ndarray

PAPER = (250, 250, 248)
INK = (60, 60, 60)
GAP = 6
CAPTION = 18
LINE = 22
MARK = (214, 39, 40)


def contact_sheet(
    tiles: Sequence[Array],
    captions: Sequence[str] | None = None,
    *,
    columns: int = 6,
    tile: tuple[int, int] = (240, 200),
    marked: Collection[int] = (),
) -> Array:
    """Return an RGB image with all tiles, each scaled into ``tile`` (w, h) without distortion, with captions below.

    The tiles whose numbers are ``marked`` have a red frame.
    """
    width, height = tile
    below = CAPTION if captions else 0
    columns = max(min(columns, len(tiles)), 1)
    rows = max(-(-len(tiles) // columns), 1)
    sheet = np.full((rows * (height + below + GAP) + GAP, columns * (width + GAP) + GAP, 3), PAPER, np.uint8)
    for number, image in enumerate(tiles):
        row, column = divmod(number, columns)
        x, y = GAP + column * (width + GAP), GAP + row * (height + below + GAP)
        sheet[y : y + height, x : x + width] = fit(image, tile)
        if number in marked:
            cv2.rectangle(sheet, (x - 2, y - 2), (x + width + 1, y + height + 1), MARK, 4)
        if captions:
            text = captions[number]
            cv2.putText(sheet, text, (x + 2, y + height + 13), cv2.FONT_HERSHEY_SIMPLEX, 0.38, INK, 1, cv2.LINE_AA)
    return sheet


def add_header(sheet: Array, title: str, lines: Sequence[str], legend: Mapping[str, tuple[int, int, int]]) -> Array:
    """Return a sheet ``(H, W, 3)`` below a title, lines of text, and a legend of RGB colors; the texts are ASCII."""
    height = GAP + (30 if title else 0) + LINE * (len(lines) + bool(legend))
    header = np.full((height, sheet.shape[1], 3), PAPER, np.uint8)
    y = GAP + 20
    if title:
        cv2.putText(header, title, (GAP + 2, y), cv2.FONT_HERSHEY_DUPLEX, 0.8, INK, 1, cv2.LINE_AA)
        y += 28
    for text in lines:
        cv2.putText(header, text, (GAP + 2, y), cv2.FONT_HERSHEY_SIMPLEX, 0.5, INK, 1, cv2.LINE_AA)
        y += LINE
    x = GAP + 2
    for text, color in legend.items():
        cv2.rectangle(header, (x, y - 11), (x + 14, y + 2), color, -1)
        cv2.putText(header, text, (x + 20, y), cv2.FONT_HERSHEY_SIMPLEX, 0.5, INK, 1, cv2.LINE_AA)
        x += 44 + cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, 0.5, 1)[0][0]
    return np.concatenate([header, sheet])


def fit(image: Array, size: tuple[int, int]) -> Array:
    """Scale an image to fit ``size`` (w, h) and pad it with a pale gray."""
    height, width = image.shape[:2]
    zoom = min(size[0] / width, size[1] / height)
    new = (max(round(width * zoom), 1), max(round(height * zoom), 1))
    small = cv2.resize(image, new, interpolation=cv2.INTER_AREA if zoom < 1 else cv2.INTER_CUBIC)
    framed = np.full((size[1], size[0], 3), (232, 232, 230), np.uint8)
    x, y = (size[0] - new[0]) // 2, (size[1] - new[1]) // 2
    framed[y : y + new[1], x : x + new[0]] = small
    return framed


def write_image(path: Path, image: Array, *, sync: bool = True) -> None:
    """Write an RGB image in the format of the suffix."""
    try:
        content = encode_image(image, path.suffix)
    except ValueError:
        raise PoseError(f"cannot write an image to {path}: use a name that ends in .jpg or .png") from None
    with whole_file(path, sync=sync) as file:
        file.write(content)


def encode_image(image: Array, suffix: str) -> bytes:
    """Return an RGB image encoded in the format of a file suffix; raise a ValueError if there is no such format."""
    parameters = [cv2.IMWRITE_JPEG_QUALITY, 92] if suffix.lower() in {".jpg", ".jpeg"} else []
    try:
        done, data = cv2.imencode(suffix, cv2.cvtColor(image, cv2.COLOR_RGB2BGR), parameters)
    except cv2.error:
        done = False
    if not done:
        raise ValueError(suffix)
    return data.tobytes()
