"""Read, check and sample a pool of body parts.

    pool/part_anns.json                {"Left-arm": [{"file_name": "a.bmp", "keypoints": [x, y, v, …]}, …], …}
    pool/Left-arm/a.bmp                the part; every pixel around it is pure black

The order of types is the order of the generator's rows.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from pose_core.data.images import decode_bgr, read_annotated, read_bytes
from pose_core.data.skipped import check_missing
from pose_core.errors import ConfigError, DataError
from pose_core.reading.json_text import read_json
from pose_core.reading.names import check_name
from pose_core.reading.printable import shown
from pose_core.suggestions import did_you_mean

_log = logging.getLogger(__name__)

TYPES = {
    "Left-arm": 0.3, "Right-arm": 0.3, "Left-leg": 0.3, "Right-leg": 0.3, "Upper-body": 0.4,
    "Upper-body-with-head": 0.5, "Lower_body": 0.5, "Left-leg-with-shoe": 0.4, "Right-leg-with-shoe": 0.4, "All": 0.9,
    "Hat": 0.2, "Hair": 0.2, "Sunglasses": 0.1, "face": 0.2, "Head": 0.2, "UpperClothes": 0.3, "Dress": 0.3,
    "Coat": 0.3, "Socks": 0.1, "Pants": 0.4, "Jumpsuits": 0.7, "Scarf": 0.1, "Skirt": 0.1, "Left-shoe": 0.1,
    "Right-shoe": 0.1,
}  # fmt: skip
"""The 25 types of part, spelled as in the published pool → size as a share of the body's diagonal."""
TYPE_NAMES = tuple(TYPES)
SHARES = tuple(TYPES.values())
ANNOTATIONS = "part_anns.json"
BODY_PADDING = 1.25
"""A crop is the box of its person, enlarged by this factor."""
BLACK = (0, 0, 0)
KEPT = 1 << 27
"""Bytes of decoded parts that a pool keeps in memory: enough for 250 synthetic people, not for all of LIP."""
Box = tuple[int, int, int, int]
"""Left, top, right and bottom (exclusive) in pixels of a canvas."""


@dataclass(frozen=True)
class PartPool:
    """Files of parts by the number of their type, for the types that have any."""

    files: dict[int, tuple[Path, ...]]
    kept: dict[Path, np.ndarray] = field(default_factory=dict, repr=False, compare=False)
    """Parts decoded in advance, at most `KEPT` bytes: forked workers share them, a spawned one has a copy."""

    def __len__(self) -> int:
        return sum(map(len, self.files.values()))

    def open(self, path: Path, *, skips: bool = False) -> np.ndarray:
        """Return a part like `open_part`, read with the patience of `read_annotated`; do not write to it."""
        part = self.kept.get(path)
        return open_part(path, partial(read_annotated, skips=skips)) if part is None else part


def read_pool(
    annotations: Path, root: Path | None = None, *, skip_missing: bool = False, max_skipped: float = 1.0
) -> PartPool:
    """Read the pool of an annotation file; the images are in ``root`` (its folder by default) by type.

    With ``skip_missing`` parts whose image is missing are skipped, as in the published code; at most a share
    ``max_skipped`` of them.
    """
    root = annotations.parent if root is None else root
    content = read_json(annotations, "part annotations")
    if not isinstance(content, dict):
        raise DataError(
            f"{annotations}: must be a JSON object, type of part → list of parts, as `pose-asda build-parts` writes it"
        )
    files: dict[int, tuple[Path, ...]] = {}
    missing: list[Path] = []
    total = 0
    for name, entries in content.items():
        if name not in TYPES:
            hint = did_you_mean(name, TYPE_NAMES) or f"; known are {', '.join(TYPE_NAMES)}"
            raise DataError(f"{annotations}: unknown part name {shown(name)}{hint}")
        if not isinstance(entries, list):
            raise DataError(f"{annotations}: {name} must be a list of entries with a file_name")
        places = []
        for number, entry in enumerate(entries):
            if not isinstance(entry, dict) or "file_name" not in entry:
                raise DataError(f"{annotations}: {name}[{number}] has no file_name")
            file_name = check_name(entry["file_name"], f"{annotations}: the file_name of {name}[{number}],")
            if "/" in file_name:
                raise DataError(
                    f"{annotations}: {name}[{number}] has the file_name {file_name!r}: parts are in no folder"
                )
            places.append(root / name / file_name)
        folder = root / name
        present = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
        total += len(places)
        missing += [path for path in places if path.name not in present]
        kept = tuple(path for path in places if path.name in present)
        if kept:
            files[TYPE_NAMES.index(name)] = kept
    if missing and not skip_missing:
        raise DataError(
            f"{annotations}: {len(missing)} part images are missing, the first is {missing[0]}; restore them, or train "
            "without them: data.on_bad_image=skip"
        )
    check_missing(missing, total, max_skipped, "part image")
    if not files:
        raise DataError(f"{annotations}: the pool has no parts; build one with `pose-asda build-parts`")
    return PartPool(dict(sorted(files.items())), decode(chain.from_iterable(files.values())))


def decode(paths: Iterable[Path]) -> dict[Path, np.ndarray]:
    """Decode parts until they fill `KEPT` bytes; skip damaged ones, which are reported when they are drawn."""
    kept: dict[Path, np.ndarray] = {}
    room = KEPT
    for path in paths:
        try:
            part = open_part(path)
        except DataError:
            continue
        room -= part.nbytes
        if room < 0:
            break
        kept[path] = part
    return kept


def open_part(path: Path, read: Callable[[str], bytes] = read_bytes) -> np.ndarray:
    """Read a part ``(h, w, 3)`` uint8 BGR; every pixel that is not black is the part, and some must be black."""
    image = decode_bgr(read(str(path)), str(path))
    # For almost every part the first and the middle row show that some pixels are black and some are not.
    for rows in (image[:: max(len(image) // 2, 1)], image):
        black = cv2.countNonZero(cv2.inRange(rows, BLACK, BLACK))
        if 0 < black < rows.shape[0] * rows.shape[1]:
            return image
    what = "is all black" if black else "has no black around the part"
    raise DataError(f"part image {path} has no mask: it {what}; a part must be cut out on pure black")


class DrawnParts(NamedTuple):
    """The parts of one sample, each with its box on a canvas of the crop's size, as `pose_core.ops.paste` takes them.

    Whole canvases would be 60 times as much data.
    """

    pixels: np.ndarray
    """``(P, 3)`` uint8: the pixels of the boxes, row by row, concatenated."""
    masks: np.ndarray
    """``(P,)`` float32, soft."""
    boxes: np.ndarray
    """``(S, 4)`` int32: left, top, right, bottom (exclusive); zero where a slot is empty."""
    types: np.ndarray
    """``(S,)`` int64; −1 where a slot is empty."""


Placed = tuple[np.ndarray, np.ndarray, Box, int]
"""A part: its colors ``(h, w, 3)``, its soft mask ``(h, w)``, its box and its type."""


@dataclass(frozen=True)
class PartSampler:
    """A sampler of parts from a pool, each for the center of a canvas of ``size`` (w, h).

    ``counts`` are the numbers of parts a sample may get; one is drawn uniformly. ``erode`` and ``blur`` are the sizes
    of the kernels that shrink and soften a mask. ``compat`` repeats two bugs of the published code: parts are RGB also
    on BGR crops, and the axes of a part's center are swapped, so that a long part starts off the center. With
    ``skip_bad`` a part whose image is damaged or has no mask leaves its slot empty, with a warning.
    """

    pool: PartPool
    size: tuple[int, int]
    counts: tuple[int, ...]
    scale_range: tuple[float, float] = (0.7, 1.3)
    erode: tuple[int, int] = (3, 3)
    blur: tuple[int, int] = (3, 3)
    color: str = "rgb"
    compat: bool = False
    skip_bad: bool = False

    def __post_init__(self) -> None:
        largest = max(self.counts, default=0)
        if largest < 1 or min(self.counts) < 0:
            raise ConfigError(f"parts.counts={list(self.counts)}: at least one count must be positive, none negative")
        if largest > len(self.pool):
            raise ConfigError(
                f"parts.counts={list(self.counts)} asks for {largest} parts, and the pool has {len(self.pool)}; "
                "build a larger one with `pose-asda build-parts`, or ask for fewer"
            )

    @property
    def slots(self) -> int:
        """The largest number of parts of a sample."""
        return max(self.counts)

    @cached_property
    def brush(self) -> np.ndarray:
        """The kernel that shrinks a mask."""
        # OpenCV's kernels and the settings are (width, height).
        return np.ones(self.erode[::-1], np.uint8)

    def draw(self, rng: np.random.Generator, zoom: float) -> DrawnParts:
        """Draw parts for a crop that augmentation has enlarged by ``zoom``."""
        pixels, masks, boxes, types = self.join([self.draw_each(rng, zoom)])
        return DrawnParts(pixels, masks, boxes[0], types[0])

    def draw_each(self, rng: np.random.Generator, zoom: float) -> list[Placed]:
        """Draw the same parts, one by one."""
        drawn: list[Placed] = []
        for _ in range(self.counts[rng.integers(len(self.counts))]):
            try:
                image, kind, factor = self.choose(rng)
            except DataError as error:
                if not self.skip_bad:
                    raise
                _log.warning("skipped: %s", error)
                continue
            drawn.append((*self.place(image, kind, factor, zoom), kind))
        return drawn

    def choose(self, rng: np.random.Generator) -> tuple[np.ndarray, int, float]:
        """Draw a type uniformly, then a part (BGR) of it and the factor of its size; return (part, type, factor)."""
        kinds = tuple(self.pool.files)
        kind = kinds[rng.integers(len(kinds))]
        files = self.pool.files[kind]
        part = self.pool.open(files[rng.integers(len(files))], skips=self.skip_bad)
        return part, kind, rng.uniform(*self.scale_range)

    def place(self, part: np.ndarray, kind: int, factor: float, zoom: float) -> tuple[np.ndarray, np.ndarray, Box]:
        """Scale a part (BGR) to its share of the body; return its colors, its soft mask, and its box on the canvas."""
        part, soft = self.shape(part, kind, math.hypot(*self.size) / (zoom * BODY_PADDING), factor)
        size = soft.shape[1], soft.shape[0]
        if self.compat or self.color == "rgb":
            part = cv2.cvtColor(part, cv2.COLOR_BGR2RGB)
        center = (size[1] // 2, size[0] // 2) if self.compat else (size[0] // 2, size[1] // 2)
        left, top = self.size[0] // 2 - center[0], self.size[1] // 2 - center[1]
        x0, y0 = max(left, 0), max(top, 0)
        x1, y1 = min(left + size[0], self.size[0]), min(top + size[1], self.size[1])
        if x0 >= x1 or y0 >= y1:
            return part[:0], soft[:0], (0, 0, 0, 0)
        inside = slice(y0 - top, y1 - top), slice(x0 - left, x1 - left)
        return part[inside], soft[inside], (x0, y0, x1, y1)

    def shape(self, part: np.ndarray, kind: int, body: float, factor: float) -> tuple[np.ndarray, np.ndarray]:
        """Scale a part (BGR) for a body whose diagonal is ``body`` pixels; return it and its soft mask."""
        height, width = part.shape[:2]
        scale = body * SHARES[kind] / math.hypot(width, height) * factor
        size = (max(int(width * scale), 1), max(int(height * scale), 1))
        part = cv2.resize(part, size, interpolation=cv2.INTER_LINEAR)
        soft = cv2.threshold(cv2.cvtColor(part, cv2.COLOR_BGR2GRAY), 0, 1, cv2.THRESH_BINARY)[1]
        soft = cv2.erode(soft, self.brush).astype(np.float32)
        return part, cv2.GaussianBlur(soft, self.blur, 0)

    def join(self, samples: Sequence[Sequence[Placed]]) -> DrawnParts:
        """Return the parts of N samples: all their pixels and masks, boxes ``(N, S, 4)`` and types ``(N, S)``."""
        total = sum(soft.size for placed in samples for _, soft, _, _ in placed)
        pixels, masks = np.empty((total, 3), np.uint8), np.empty(total, np.float32)
        boxes, types = np.zeros((len(samples), self.slots, 4), np.int32), np.full((len(samples), self.slots), -1)
        end = 0
        for number, placed in enumerate(samples):
            for slot, (colors, soft, box, kind) in enumerate(placed):
                start, end = end, end + soft.size
                pixels[start:end].reshape(colors.shape)[:] = colors
                masks[start:end].reshape(soft.shape)[:] = soft
                boxes[number, slot], types[number, slot] = box, kind
        return DrawnParts(pixels, masks, boxes, types)


def check_pool(pool: PartPool) -> list[str]:
    """Open every image of a pool; return the faults."""
    faults = []
    for path in (path for paths in pool.files.values() for path in paths):
        try:
            open_part(path)
        except DataError as error:
            faults.append(str(error))
    return faults


def browse_pool(pool: PartPool, each: int, seed: int = 0) -> tuple[list[np.ndarray], list[str]]:
    """Return up to ``each`` parts of every type as RGB images, and their captions."""
    rng = np.random.default_rng(seed)
    tiles, captions = [], []
    for kind, paths in pool.files.items():
        chosen: Sequence[int] = sorted(rng.permutation(len(paths))[:each].tolist())
        for number in chosen:
            tiles.append(cv2.cvtColor(open_part(paths[number]), cv2.COLOR_BGR2RGB))
            captions.append(f"{TYPE_NAMES[kind]} {len(paths)}")
    return tiles, captions
