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

PROBE_WIDTH = 16
"""Number of consecutive pixels in a probe that gives a lower bound of the best score: one cache line."""
PROBE_STRIDE = 17
"""Distance of probes in probe widths; odd, so that probes of different rows are not below one another."""
CHUNK_SIZE = 2**16
"""Number of values computed in one chunk, so that they stay in the cache."""


def search_everywhere(heat: Tensor, tags: Tensor, joint: Array, mean_tags: Array) -> Tensor:
    """Return the best pixel ``(M,)`` of each ``joint`` ``(M,)`` in ``heat`` ``(K, h·w)`` and ``tags`` ``(D, K, h·w)``.

    ``mean_tags`` ``(M, D)`` are the mean tags of the people who lack it.
    """
    best = []
    for number, part in _slices_by_joint(joint):
        people = torch.from_numpy(mean_tags[part]).to(tags)
        squares = (tags[:, number, None] - people.T[..., None]).square().sum(0)
        best.append((heat[number] - squares.sqrt().round()).argmax(1))
    return torch.cat(best)


def search_where_hot(
    heat: Array, tags: Array, joint: Array, mean_tags: Array, bounds: Array, hot: Array, threshold: float
) -> Array:
    """Return the same pixels as `search_everywhere`, faster on a CPU.

    A score is at most the heatmap value, so pixels below a lower bound of the best score need no check. ``bounds``
    ``(M,)`` are such bounds, see `best_peak_scores`; where they are low, probes all over the map give better ones.
    ``hot`` are the ascending indices of all pixels of the flattened maps that exceed ``threshold``.
    """
    best, is_high = np.empty(len(joint), np.int64), bounds > threshold
    high, low = np.flatnonzero(is_high), np.flatnonzero(~is_high)
    if len(high):
        owner = joint[high]
        lowest = _min_by_joint(bounds[high], owner, len(heat))
        hot = hot.take(np.flatnonzero(heat.take(hot) >= np.repeat(lowest, np.diff(_ends(hot, heat)))))
        best[high] = _search_few(hot, heat, tags, owner, mean_tags[high])
    if len(low):
        owner, people = joint[low], mean_tags[low]
        # fmax: a diverged network may give NaN.
        bounds = np.fmax(bounds[low], _best_probe_scores(heat, tags, owner, people))
        best[low] = _search_many(_min_by_joint(bounds, owner, len(heat)), heat, tags, owner, people)
    return best


def best_peak_scores(joint: Array, mean_tags: Array, starts: Array, heat: Array, tags: Array) -> Array:
    """Return the highest score of a peak ``(M,)``, −∞ without peaks.

    Peaks of joint j are ``heat`` ``(P,)`` and ``tags`` ``(P, D)`` from ``starts[j]`` to ``starts[j + 1]``.
    """
    highest = np.full(len(joint), -np.inf, heat.dtype)
    if len(heat):
        for part, scores in _scores(*_padded(starts, heat, tags.T), joint, mean_tags):
            scores.max(1, out=highest[part])
    return highest


def _search_few(places: Array, heat: Array, tags: Array, joint: Array, mean_tags: Array) -> Array:
    """Return the best pixel of each row among ``places``, ascending indices into the flattened maps."""
    rank, starts = np.empty(len(joint), np.int64), _ends(places, heat)
    own_heat, own_tags = heat.take(places), tags.reshape(len(tags), -1).take(places, 1)
    for part, scores in _scores(*_padded(starts, own_heat, own_tags), joint, mean_tags):
        scores.argmax(1, out=rank[part])
    return places.take(starts.take(joint) + rank) - joint * heat.shape[1]


def _search_many(lowest: Array, heat: Array, tags: Array, joint: Array, mean_tags: Array) -> Array:
    """Return the best pixel of each row among those not below ``lowest`` ``(K,)``: too many to copy for every row."""
    best = np.zeros(len(joint), np.int64)
    places = np.flatnonzero(heat >= lowest[:, None])
    ends = _ends(places, heat).tolist()
    all_heat, all_tags = heat.take(places), tags.reshape(len(tags), -1).take(places, 1)
    for number, pairs in _slices_by_joint(joint):
        own = slice(ends[number], ends[number + 1])
        count = own.stop - own.start
        if not count:  # a map of NaN
            continue
        own_heat, own_tags = all_heat[own], all_tags[:, own]
        rows = max(1, CHUNK_SIZE // count)
        for first in range(pairs.start, pairs.stop, rows):
            part = slice(first, min(first + rows, pairs.stop))
            steps = _steps(own_tags, mean_tags[part])
            best[part] = np.subtract(own_heat, steps, out=steps).argmax(1) + own.start
        best[pairs] = places.take(best[pairs]) - number * heat.shape[1]
    return best


def _best_probe_scores(heat: Array, tags: Array, joint: Array, mean_tags: Array) -> Array:
    """Return the highest score of each row ``(M,)`` among the pixels of probes all over the map."""
    apart = PROBE_WIDTH * PROBE_STRIDE
    count = heat.shape[1] // apart
    if count:
        heat, tags = (maps[..., : count * apart].reshape(*maps.shape[:-1], count, apart) for maps in (heat, tags))
        heat, tags = (maps[..., :PROBE_WIDTH].reshape(*maps.shape[:-2], count * PROBE_WIDTH) for maps in (heat, tags))
    highest = np.empty(len(joint), heat.dtype)
    for part, scores in _scores(heat, tags, joint, mean_tags):
        scores.max(1, out=highest[part])
    return highest


def _padded(starts: Array, heat: Array, tags: Array) -> tuple[Array, Array]:
    """Pad ``heat`` ``(P,)`` and ``tags`` ``(D, P)`` of every joint to rows of one length, ``(K, R)`` and ``(D, K, R)``.

    Those of joint j are from ``starts[j]`` to ``starts[j + 1]``; the heat of the padding is −∞.
    """
    rows, ends = starts[:-1, None] + np.arange(np.diff(starts).max()), starts[1:, None]
    is_own, rows = rows < ends, np.minimum(rows, ends - 1)
    return np.where(is_own, heat.take(rows, mode="clip"), -np.inf), tags.take(rows, 1, mode="clip")


def _scores(heat: Array, tags: Array, joint: Array, mean_tags: Array) -> Iterator[tuple[slice, Array]]:
    """Yield the scores of all places in ``heat`` ``(K, R)`` and ``tags`` ``(D, K, R)``, some rows at a time."""
    rows = max(1, CHUNK_SIZE // heat.shape[1])
    for start in range(0, len(joint), rows):
        part = slice(start, start + rows)
        own = tags.take(joint[part], 1)
        steps = _steps(own, mean_tags[part], own[0])
        yield part, np.subtract(heat.take(joint[part], 0), steps, out=steps)


def _min_by_joint(values: Array, joint: Array, num_joints: int) -> Array:
    """Return the lowest value of each joint ``(K,)``; infinite for a joint without values."""
    lowest = np.full(num_joints, np.inf, values.dtype)
    np.minimum.at(lowest, joint, values)
    return lowest


def _ends(places: Array, heat: Array) -> Array:
    """Return the bounds of each joint ``(K + 1,)`` in ascending indices into the flattened maps."""
    return np.searchsorted(places, np.arange(len(heat) + 1) * heat.shape[1])


def _steps(tags: Array, mean_tags: Array, out: Array | None = None) -> Array:
    """Return rounded distances ``(M, P)`` between tags ``(D, P)`` or ``(D, M, P)`` and ``(M, D)``."""
    steps = np.subtract(tags[0], mean_tags[:, :1], out=out)
    if len(tags) == 1:
        np.abs(steps, out=steps)
    else:
        np.square(steps, out=steps)
        for dimension in range(1, len(tags)):
            steps += np.square(tags[dimension] - mean_tags[:, dimension, None])
        np.sqrt(steps, out=steps)
    return np.rint(steps, out=steps)


def _slices_by_joint(joint: Array) -> Iterator[tuple[int, slice]]:
    """Yield each joint that occurs in the sorted ``joint``, and the slice of its rows."""
    starts = np.flatnonzero(np.diff(joint)) + 1
    for start, end in pairwise([0, *starts.tolist(), len(joint)]):
        yield int(joint[start]), slice(start, end)
