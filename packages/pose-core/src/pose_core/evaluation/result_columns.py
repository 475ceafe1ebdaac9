"""The numbers of results as columns, entry by entry: while a file is read, its entries are never all held."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from pathlib import Path
from struct import Struct
from typing import Any

import numpy as np

from pose_core.reading.json_text import stream_list

Array = np.ndarray

_NUMBERS = frozenset({int, float})
_ADDED = ...


class UnusualError(Exception):
    """An entry is at fault, or its numbers are of unusual types."""


class ResultColumns:
    """Columns of N entries with ``joints`` joints, of which those without a category have ``category``."""

    def __init__(self, joints: int, category: int) -> None:
        self._joints, self._default = joints, category
        self._pack = Struct(f"{3 * joints}d").pack
        self._image_id, self._category, self._score = array("q"), array("q"), array("d")
        self._points, self._boxes = bytearray(), array("d")
        self._has_boxes = False

    def add(self, entry: Any) -> object:
        """Add an entry; raise an `UnusualError` unless it is a mapping of plain numbers and lists of them."""
        try:
            image, score, points = entry["image_id"], entry["score"], entry["keypoints"]
            category = entry.get("category_id", self._default)
            if not self._image_id:
                self._has_boxes = bool(entry.get("bbox"))
            if self._has_boxes:
                box = entry["bbox"]
                if type(box) is not list or len(box) != 4 or not _NUMBERS.issuperset(map(type, box)):
                    raise UnusualError
                self._boxes.extend(box)
            if not (type(image) is type(category) is int and type(score) in _NUMBERS):
                raise UnusualError
            if len(points) != 3 * self._joints:
                raise UnusualError
            if type(points) is list and _NUMBERS.issuperset(map(type, points)):
                self._points += self._pack(*points)
            elif type(points) is np.ndarray and points.dtype == np.float64 and points.ndim == 1:
                self._points += points.tobytes()
            else:
                raise UnusualError
            self._image_id.append(image)
            self._category.append(category)
            self._score.append(score)
        except (KeyError, TypeError, AttributeError, OverflowError):
            raise UnusualError from None
        return _ADDED

    def __len__(self) -> int:
        return len(self._image_id)

    @property
    def image_id(self) -> Array:
        """``(N,)`` int64."""
        return np.frombuffer(self._image_id, np.int64)

    @property
    def category(self) -> Array:
        """``(N,)`` int64."""
        return np.frombuffer(self._category, np.int64)

    @property
    def score(self) -> Array:
        """``(N,)`` float64."""
        return np.frombuffer(self._score)

    @property
    def keypoints(self) -> Array:
        """``(N, K, 3)`` float64."""
        return np.frombuffer(self._points).reshape(-1, self._joints, 3)

    @property
    def boxes(self) -> Array | None:
        """``(N, 4)`` float64; None if the first entry has no box."""
        return np.frombuffer(self._boxes).reshape(-1, 4) if self._has_boxes else None


def columns_of(source: Path | Sequence[Any], joints: int, category: int) -> ResultColumns | None:
    """Return the columns of a results file or of its content; None where only a careful reading can tell what it is."""
    columns = ResultColumns(joints, category)
    try:
        if isinstance(source, Path):
            content = stream_list(source, columns.add, "detections", numbers="keypoints")
            # A file system that was away for a moment makes it start again.
            if not isinstance(content, list) or len(content) != len(columns):
                return None
        else:
            for entry in source:
                columns.add(entry)
    except UnusualError:
        return None
    numbers = [columns.score, columns.keypoints[..., :2]] + ([] if columns.boxes is None else [columns.boxes])
    return columns if all(np.isfinite(each).all() for each in numbers) else None
