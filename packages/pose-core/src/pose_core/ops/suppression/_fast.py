"""All images in one call: pairs of poses that are near each other are found on a grid, and only they are compared.

A similarity is the mean over joints of numbers up to 1, so that of a similar pair cannot be small at each of a few
joints: at one of them, at least, both poses are near each other. For each of these joints poses are sorted by image, by
row of a grid, and by x within it. The cost grows with the number of poses and of near pairs, not of all pairs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from pose_core.ops.similarity import TINY

Array = np.ndarray
BLOCK = 1 << 13
"""Poses of a block of images: what belongs to them stays in the cache."""
PAIRS = 1 << 11
"""Pairs per chunk, for the same reason."""
NEAR = 0.14
"""What a joint must contribute, if the number of joints allows it, for its poses to be near: less is a wider search."""
ROW = 32
"""Poses per row of the grid, on average: in fewer, the search along x alone leaves few to compare."""
FARTHEST = 4096.0
"""Limit of grid coordinates, which keeps them exact; poses that are farther out are compared more often."""
SLACK = 1e-5
"""More than the rounding of similarities in single precision; those nearer to the threshold are computed in double."""


def oks_nms(poses: Array, scores: Array, areas: Array, sigmas: Array, threshold: float, images: Array) -> Array:
    order = np.lexsort((-scores, images))
    images = images[order]
    kept = np.zeros(len(order), bool)
    for start, stop in _blocks(images):
        rows = order[start:stop]
        better, worse = _candidates(poses[rows], areas[rows], sigmas, threshold, images[start:stop])
        similar = _comparison(poses[rows], areas[rows], sigmas, threshold)
        kept[start:stop] = _survivors(stop - start, better, worse, similar)
    return order[kept]


def _blocks(images: Array) -> Iterator[tuple[int, int]]:
    """Yield ranges of rows that hold whole images."""
    starts = np.flatnonzero(np.r_[True, images[1:] != images[:-1]]) if len(images) else np.array([], np.int64)
    begin = 0
    for stop in [*starts[1:].tolist(), len(images)]:
        if stop - begin >= BLOCK or stop == len(images):
            if stop > begin:
                yield begin, stop
            begin = stop


def _survivors(number: int, better: Array, worse: Array, similar: Callable[[Array, Array], Array]) -> Array:
    """Return which poses are kept, ``(number,)``: those not similar to a better one that is kept itself."""
    dropped = np.zeros(number, bool)
    while len(better):
        # A pose without an undecided better one is kept, and what is similar to it is dropped.
        waits = np.zeros(number, bool)
        waits[worse] = True
        undecided = waits[better]
        leader, rest = better[~undecided], worse[~undecided]
        dropped[rest[similar(leader, rest)]] = True
        left = undecided & ~dropped[better] & ~dropped[worse]
        better, worse = better[left], worse[left]
    return ~dropped


def _candidates(poses: Array, areas: Array, sigmas: Array, threshold: float, images: Array) -> tuple[Array, Array]:
    """Return pairs of rows that may be above the threshold, the better row first; rows go by image, then by score."""
    joints, contribution = _searched(sigmas, threshold)
    number = np.cumsum(np.r_[False, images[1:] != images[:-1]])
    if contribution <= 0:  # even poses far apart may be similar
        rows = np.arange(len(number))
        return _ranges(rows, rows + 1, np.searchsorted(number, number, "right"))
    reach = 2 * (2 * sigmas[joints]) ** 2 * -np.log(contribution)
    near = list(_near_pairs(poses[:, joints], areas, reach, number))
    return np.concatenate([first for first, _ in near]), np.concatenate([second for _, second in near])


def _searched(sigmas: Array, threshold: float) -> tuple[Array, float]:
    """Return the joints to search, those with the narrowest falloff, and what one of them contributes at least."""
    number = len(sigmas)
    missing = number * (1 - threshold + 1e-6)  # a little slack for rounding
    enough = min(max(int(np.ceil(missing / (1 - NEAR))), 1), number)
    return np.argsort(sigmas, kind="stable")[:enough], 1 - missing / enough


def _near_pairs(points: Array, areas: Array, reach: Array, number: Array) -> Iterator[tuple[Array, Array]]:
    """Yield pairs of rows of one image that are within √(reach·area) at a joint, each pair once.

    ``points`` ``(N, J, 2)``, ``reach`` ``(J,)``, ``number`` counts the images from 0.
    """
    starts = np.flatnonzero(np.r_[True, number[1:] != number[:-1]])
    largest = np.maximum.reduceat(areas, starts)[number] + TINY
    axes = np.ascontiguousarray(points.transpose(1, 2, 0))
    for joint, wide in enumerate(reach):
        first, second = _neighbors(axes[joint, 0], axes[joint, 1], np.sqrt(wide * largest), number, starts)
        area = (areas.take(first) + areas.take(second)) / 2 + TINY
        chosen = _within(axes[joint], first, second, wide * area)
        for other in range(joint):  # what an earlier joint found is not found again
            chosen &= ~_within(axes[other], first, second, reach[other] * area)
        first, second = first[chosen], second[chosen]
        yield np.minimum(first, second), np.maximum(first, second)


def _within(axes: Array, first: Array, second: Array, limit: Array) -> Array:
    """Return which pairs' squared distance is at most ``limit``; ``axes`` are x and y, ``(2, N)``."""
    x, y = axes
    across, down = x.take(first) - x.take(second), y.take(first) - y.take(second)
    return np.asarray(across * across + down * down <= limit)


def _neighbors(x: Array, y: Array, width: Array, number: Array, starts: Array) -> tuple[Array, Array]:
    """Return pairs of rows of one image that are at most about ``width`` apart along x, and along y if there are many.

    ``starts`` are the first rows of the images.
    """
    counts = np.diff(starts, append=len(x))
    left = np.clip(x / width, -FARTHEST, FARTHEST)
    left -= left.min()
    step = left.max() + 4  # from one row of the grid to the next, farther than any neighbor
    row = number.astype(np.float64)
    divided = (counts >= 2 * ROW)[number]
    if divided.any():
        lowest = np.minimum.reduceat(y, starts)
        height = (np.maximum.reduceat(y, starts) - lowest) / np.maximum(counts // ROW, 1)
        inside = np.floor(np.minimum((y - lowest[number]) / np.maximum(height[number], width), FARTHEST))
        row = row * (inside.max() + 2) + inside * divided
    key = row * step + left
    order = np.argsort(key)
    key, places = key[order], np.arange(len(key))
    # To the right in the same row, and on both sides in the next one.
    first, second = _ranges(places, places + 1, np.searchsorted(key, key + 1.001, "right"))
    if divided.any():
        some = np.flatnonzero(divided[order])
        next_row = key[some] + step
        low, high = np.searchsorted(key, next_row - 1.001), np.searchsorted(key, next_row + 1.001, "right")
        below = _ranges(some, low, high)
        first, second = np.r_[first, below[0]], np.r_[second, below[1]]
    return order.take(first), order.take(second)


def _ranges(places: Array, starts: Array, stops: Array) -> tuple[Array, Array]:
    """Return pairs of each place and every number of its range."""
    counts = stops - starts
    before = np.cumsum(counts) - counts
    return np.repeat(places, counts), np.arange(counts.sum()) + np.repeat(starts - before, counts)


def _comparison(poses: Array, areas: Array, sigmas: Array, threshold: float) -> Callable[[Array, Array], Array]:
    """Return a function that takes two lists of rows and tells which pairs' similarity exceeds the threshold."""
    number = len(sigmas)
    falloff = -1 / (2 * (2 * sigmas) ** 2)
    rows = np.ascontiguousarray(poses.transpose(0, 2, 1)).reshape(-1, 2 * number)  # all x, then all y
    single = falloff.astype(np.float32)
    share = np.full(number, 1 / number, np.float32)

    def similar(first: Array, second: Array) -> Array:
        result = np.zeros(len(first), bool)
        for begin in range(0, len(first), PAIRS):
            a, b = first[begin : begin + PAIRS], second[begin : begin + PAIRS]
            area = (areas.take(a) + areas.take(b)) / 2 + TINY
            apart = rows.take(a, 0)
            apart -= rows.take(b, 0)
            with np.errstate(over="ignore"):  # infinitely far apart in single precision: similarity 0
                squares = apart.astype(np.float32)
                squares *= squares
                exponent = squares[:, :number] + squares[:, number:]
                exponent *= single
                exponent *= (1 / area).astype(np.float32)[:, None]
            similarity = np.exp(exponent, out=exponent) @ share
            chunk = similarity > threshold
            close = np.flatnonzero(np.abs(similarity - threshold) < SLACK)
            exact = ((poses[a[close]] - poses[b[close]]) ** 2).sum(-1)
            chunk[close] = np.exp(exact * falloff / area[close, None]).mean(1) > threshold
            result[begin : begin + PAIRS] = chunk
        return result

    return similar
