"""Search for the joints that people lack.

The score of a pixel is its heatmap value minus the rounded distance between its tag and the person's mean tag; a
missing joint is at the pixel with the highest score, the first of equal ones. Rows are pairs of a joint and a person
without it, sorted by joint.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

Array = np.ndarray

RUN = 8
"""Consecutive pixels that are kept or left out together: their comparisons are the bytes of one machine word."""
ALL = 0x0101010101010101
"""The word of a run whose comparisons are all true."""
AROUND = 8
"""Lines above and below a person among which every second one is searched for a lower bound of the best score."""
CHUNK_SIZE = 2**16
"""Number of values computed in one chunk, so that they stay in the cache."""


def search_everywhere(heat: Tensor, tags: Tensor, joint: Array, mean_tags: Array) -> Tensor:
    """Return the best pixel ``(M,)`` of each ``joint`` ``(M,)`` in ``heat`` ``(K, h·w)`` and ``tags`` ``(D, K, h·w)``.

    ``mean_tags`` ``(M, D)`` are the mean tags of the people who lack it.
    """
    best = []
    for number, part in _slices(joint):
        people = torch.from_numpy(mean_tags[part]).to(tags)
        squares = (tags[:, number, None] - people.T[..., None]).square().sum(0)
        best.append((heat[number] - squares.sqrt().round()).argmax(1))
    return torch.cat(best)


def search_where_high(
    heat: Array, tags: Array, joint: Array, mean_tags: Array, bounds: Array, threshold: float
) -> Array:
    """Return the same pixels as `search_everywhere`, faster on a CPU.

    A score is at most the heatmap value, so pixels below a lower bound of the best score need no check. ``bounds``
    ``(M,)`` are such bounds, see `best_peak_scores` and `best_near_scores`. The few pixels above a bound that exceeds
    ``threshold`` are copied for every row.
    """
    heat, tags = _runs(heat, -np.inf), _runs(tags, 0)
    count = heat.shape[1]
    is_below = heat < _min_by_joint(bounds, joint, len(heat))[:, None, None]
    runs = np.flatnonzero(is_below.view(np.uint64).ravel() != ALL)
    starts = np.searchsorted(runs, np.arange(len(heat) + 1) * count) * RUN
    heat = heat.reshape(-1, RUN).take(runs, 0).ravel()
    tags = tags.reshape(len(tags), -1, RUN).take(runs, 1).reshape(len(tags), -1)
    best, is_high = np.empty(len(joint), np.int64), bounds > threshold
    for chosen, search in ((is_high, _search_few), (~is_high, _search_many)):
        rows = chosen.nonzero()[0]
        if len(rows):
            best[rows] = search(starts, heat, tags, joint[rows], mean_tags[rows], bounds[rows])
    return (runs.take(best // RUN) - joint * count) * RUN + best % RUN


def best_peak_scores(joint: Array, mean_tags: Array, starts: Array, heat: Array, tags: Array) -> Array:
    """Return the highest score of a peak ``(M,)``, −∞ without peaks.

    Peaks of joint j are ``heat`` ``(P,)`` and ``tags`` ``(P, D)`` from ``starts[j]`` to ``starts[j + 1]``.
    """
    highest = np.full(len(joint), -np.inf, heat.dtype)
    if len(heat):
        for part, scores in _scores_of_all(starts, heat, tags.T, joint, mean_tags):
            scores.max(1, out=highest[part])
    return highest


def best_near_scores(heat: Array, tags: Array, joint: Array, mean_tags: Array, places: Array, width: int) -> Array:
    """Return the highest score of a pixel around each row's ``places`` ``(M, 2)``, x and y, in maps of ``width``."""
    heat, tags = _runs(heat, -np.inf), _runs(tags, 0)
    # Three runs of each line, which need not be exactly at the person.
    lines = places[:, 1:] + np.arange(-AROUND, AROUND + 1, 2)
    first = (lines * width + places[:, :1] - RUN) // RUN
    runs = (first[..., None] + np.arange(3)).clip(0, heat.shape[1] - 1).reshape(len(joint), -1)
    runs += joint[:, None] * heat.shape[1]
    own_tags = tags.reshape(len(tags), -1, RUN).take(runs, 1).reshape(len(tags), len(joint), -1)
    return _scores(heat.reshape(-1, RUN).take(runs, 0).reshape(len(joint), -1), own_tags, mean_tags).max(1)


def _runs(maps: Array, fill: float) -> Array:
    """Return maps ``(K, h·w)`` as runs of pixels ``(K, R, 8)``, filled up."""
    if maps.shape[-1] % RUN:
        maps = np.pad(maps, [(0, 0)] * (maps.ndim - 1) + [(0, -maps.shape[-1] % RUN)], constant_values=fill)
    return maps.reshape(*maps.shape[:-1], -1, RUN)


def _search_few(starts: Array, heat: Array, tags: Array, joint: Array, mean_tags: Array, bounds: Array) -> Array:
    """Return the best pixel of each row, which are among the few not below ``bounds`` ``(M,)``.

    Pixels of joint j are ``heat`` ``(P,)`` and ``tags`` ``(D, P)`` from ``starts[j]`` to ``starts[j + 1]``.
    """
    places, rank = (heat >= bounds.min()).nonzero()[0], np.empty(len(joint), np.int64)
    starts, heat, tags = np.searchsorted(places, starts), heat.take(places), tags.take(places, 1)
    for part, scores in _scores_of_all(starts, heat, tags, joint, mean_tags):
        scores.argmax(1, out=rank[part])
    return places.take(starts.take(joint) + rank)


def _search_many(starts: Array, heat: Array, tags: Array, joint: Array, mean_tags: Array, bounds: Array) -> Array:
    """Return the best pixel of each row, as `_search_few` does, where pixels are too many to copy for every row."""
    rank, ends = np.empty(len(joint), np.int64), starts.tolist()
    for number, pairs in _slices(joint):
        own = slice(ends[number], ends[number + 1])
        own_heat, own_tags = heat[own], tags[:, own]
        rows = max(1, CHUNK_SIZE // len(own_heat))
        for first in range(pairs.start, pairs.stop, rows):
            part = slice(first, min(first + rows, pairs.stop))
            _scores(own_heat, own_tags, mean_tags[part]).argmax(1, out=rank[part])
    return starts.take(joint) + rank


def _scores_of_all(
    starts: Array, heat: Array, tags: Array, joint: Array, mean_tags: Array
) -> Iterator[tuple[slice, Array]]:
    """Yield the scores of all pixels of the rows' joints, as `_search_few` takes them, some rows at a time.

    Joints with fewer pixels than another one are filled up with scores of −∞.
    """
    places, ends = starts[:-1, None] + np.arange(np.diff(starts).max()), starts[1:, None]
    heat = np.where(places < ends, heat.take(places, mode="clip"), -np.inf)
    tags = tags.take(places, 1, mode="clip")
    rows = max(1, CHUNK_SIZE // heat.shape[1])
    for start in range(0, len(joint), rows):
        part = slice(start, start + rows)
        yield part, _scores(heat.take(joint[part], 0), tags.take(joint[part], 1), mean_tags[part])


def _min_by_joint(values: Array, joint: Array, num_joints: int) -> Array:
    """Return the lowest value of each joint ``(K,)``; infinite for a joint without values."""
    lowest = np.full(num_joints, np.inf, values.dtype)
    np.minimum.at(lowest, joint, values)
    return lowest


def _scores(heat: Array, tags: Array, mean_tags: Array) -> Array:
    """Return the scores ``(M, P)`` of pixels ``(P,)`` or ``(M, P)``, ``tags`` ``(D, …)``, for people ``(M, D)``."""
    steps = tags[0] - mean_tags[:, :1]
    if len(tags) == 1:
        np.abs(steps, out=steps)
    else:
        np.square(steps, out=steps)
        for dimension in range(1, len(tags)):
            steps += np.square(tags[dimension] - mean_tags[:, dimension, None])
        np.sqrt(steps, out=steps)
    np.rint(steps, out=steps)
    return np.subtract(heat, steps, out=steps)


def _slices(numbers: Array) -> Iterator[tuple[int, slice]]:
    """Yield each of the sorted ``numbers`` and the slice where it is."""
    starts = np.flatnonzero(np.diff(numbers)) + 1
    for start, end in pairwise([0, *starts.tolist(), len(numbers)]):
        yield int(numbers[start]), slice(start, end)
