"""Near-duplicate images, found by perceptual hashes: copies that were resized, compressed again, or next in a video.

The hash (a difference hash) has a bit for each pair of neighboring pixels of the image at 9x8 and at 8x9: whether the
second is brighter. Images whose hashes differ in a few of the 128 bits are near-duplicates. They are looked up by
parts of the hash, one of which must be equal, so the time grows with the number of images, not of pairs.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import cv2
import numpy as np
from tqdm import tqdm

from pose_core.data.images import decode_bgr, jpeg_size, read_bytes
from pose_core.data.machine import available_cores
from pose_core.errors import DataError
from pose_core.verbosity import no_bar

Array = np.ndarray

BITS = 128
MOST_DIFFERENT = 10
"""The most bits in which the hashes of near-duplicates differ."""
ENOUGH = 64
"""Pixels of the shorter side from which an image may be hashed; JPEGs that have more are decoded smaller."""
NEIGHBORS = 200
"""Images compared with each one of the same part: more only share it where thousands of images look alike."""


def image_hash(source: str) -> Array:
    """Return the hash ``(128,)`` bool of an image."""
    content = read_bytes(source)
    size = jpeg_size(content)
    reduce = 1 if size is None else max(part for part in (1, 2, 4, 8) if part * ENOUGH <= max(min(size), ENOUGH))
    gray = cv2.cvtColor(decode_bgr(content, source, reduce), cv2.COLOR_BGR2GRAY).astype(np.float32)
    wide = cv2.resize(gray, (9, 8), interpolation=cv2.INTER_AREA)
    high = cv2.resize(gray, (8, 9), interpolation=cv2.INTER_AREA)
    return np.concatenate([np.diff(wide, axis=1).ravel() > 0, np.diff(high, axis=0).ravel() > 0])


class Alike(NamedTuple):
    """Near-duplicates among N images: pairs ``(P, 2)`` of their numbers; and the numbers of those without pixels."""

    pairs: Array
    unreadable: list[int]


def find_alike(sources: Sequence[str]) -> Alike:
    """Return the near-duplicates among images, several decoded at a time; an image that does not decode has none."""
    with ThreadPoolExecutor(available_cores()) as pool:
        hashes = list(
            tqdm(pool.map(_hash_or_none, sources), "hashing", total=len(sources), unit="image", disable=no_bar())
        )
    rows = np.array([row for row, found in enumerate(hashes) if found is not None], np.int64)
    known = np.array([found for found in hashes if found is not None], bool).reshape(-1, BITS)
    return Alike(rows[near_duplicates(known)], [row for row, found in enumerate(hashes) if found is None])


def _hash_or_none(source: str) -> Array | None:
    try:
        return image_hash(source)
    except DataError:
        return None


def near_duplicates(hashes: Array, most: int = MOST_DIFFERENT) -> Array:
    """Return the pairs ``(P, 2)`` of rows whose hashes ``(N, 128)`` differ in at most ``most`` bits, each once.

    Rows of equal hashes are paired with the next one of them only. Of ``most + 1`` parts of two hashes one is equal;
    where more than `NEIGHBORS` hashes share a part, each is only compared with as many next to it in their order.
    """
    packed, first, inverse = np.unique(np.packbits(hashes, axis=1), axis=0, return_index=True, return_inverse=True)
    order = np.argsort(inverse.reshape(-1), kind="stable")
    equal = np.flatnonzero(np.diff(inverse.reshape(-1)[order]) == 0)
    found = [np.stack([order[equal], order[equal + 1]], 1)]
    for part in np.array_split(np.arange(BITS), most + 1):
        keys = np.packbits(np.unpackbits(packed, axis=1)[:, part], axis=1)
        rows = np.lexsort(keys.T[::-1])
        keys = keys[rows]
        for step in range(1, min(NEIGHBORS, len(rows) - 1) + 1):
            same = np.flatnonzero((keys[step:] == keys[:-step]).all(1))
            if not len(same):
                break
            pairs = np.stack([rows[same], rows[same + step]], 1)
            apart = np.bitwise_count(packed[pairs[:, 0]] ^ packed[pairs[:, 1]]).sum(1)
            found.append(np.sort(first[pairs[apart <= most]], axis=1))
    return np.unique(np.concatenate(found), axis=0)


def group(count: int, pairs: Array) -> Array:
    """Return the group ``(count,)`` of each row, the lowest row in it, when the rows of each pair belong together."""
    parent = np.arange(count)

    def root(row: int) -> int:
        while parent[row] != row:
            parent[row] = parent[parent[row]]
            row = int(parent[row])
        return row

    for first, second in pairs.tolist():
        low, high = sorted((root(first), root(second)))
        parent[high] = low
    return np.array([root(row) for row in range(count)], np.int64)
