"""Where a joint that a person lacks most likely is.

That is where the heat is highest, less the whole steps between the pixel's tag and the person's mean tag. Pairs of a
joint and a person who lacks it come by joint, ascending; of equal places the first counts.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

Array = np.ndarray

RUN = 16
"""So many places that lie side by side say how likely other joints are at least: what memory gives at once."""
RUNS = 17
"""One of so many runs does; an odd number, so that they do not stand below one another."""
AT_ONCE = 2**16
"""So many numbers are reckoned with in one piece: they stay in the cache."""


def search_everywhere(heat: Tensor, tags: Tensor, joint: Array, wanted: Array) -> Tensor:
    """Places ``(M,)`` in ``heat`` ``(K, h·w)`` and ``tags`` ``(D, K, h·w)`` of each ``joint`` ``(M,)``.

    ``wanted`` ``(M, D)`` are the mean tags of those who lack it.
    """
    best = []
    for number, part in _runs(joint):
        people = torch.from_numpy(wanted[part]).to(tags)
        squares = (tags[:, number, None] - people.T[..., None]).square().sum(0)
        best.append((heat[number] - squares.sqrt().round()).argmax(1))
    return torch.cat(best)


def search_where_hot(
    heat: Array, tags: Array, joint: Array, wanted: Array, known: Array, hot: Array, threshold: float
) -> Array:
    """The same, sooner on a CPU: no place is likelier than its heat, so that few need to be looked at.

    ``known`` ``(M,)`` says how likely each best place is at least, see `likely_peaks`; of those of whom it says
    little, places all over the map say more. ``hot`` are all places of the flattened maps that exceed ``threshold``,
    ascending.
    """
    best, is_seen = np.empty(len(joint), np.int64), known > threshold
    seen, rare = np.flatnonzero(is_seen), np.flatnonzero(~is_seen)
    if len(seen):
        owner = joint[seen]
        least = _least(known[seen], owner, len(heat))
        hot = hot.take(np.flatnonzero(heat.take(hot) >= np.repeat(least, np.diff(_ends(hot, heat)))))
        best[seen] = _search_few(hot, heat, tags, owner, wanted[seen])
    if len(rare):
        owner, people = joint[rare], wanted[rare]
        # Where a diverged network has no number, nothing is known.
        least = _least(np.fmax(known[rare], _likeliest_probe(heat, tags, owner, people)), owner, len(heat))
        best[rare] = _search_many(least, heat, tags, owner, people)
    return best


def likely_peaks(joint: Array, wanted: Array, starts: Array, heat: Array, tags: Array) -> Array:
    """How likely the likeliest peak is ``(M,)``, −∞ without any.

    Those of joint j stand in ``heat`` ``(P,)`` and ``tags`` ``(P, D)`` from ``starts[j]`` to ``starts[j + 1]``.
    """
    highest = np.full(len(joint), -np.inf, heat.dtype)
    if len(heat):
        for part, likely in _likely(*_padded(starts, heat, tags.T), joint, wanted):
            likely.max(1, out=highest[part])
    return highest


def _search_few(places: Array, heat: Array, tags: Array, joint: Array, wanted: Array) -> Array:
    """The likeliest place of each pair among ``places``, ascending ones of the flattened maps."""
    rank, starts = np.empty(len(joint), np.int64), _ends(places, heat)
    own_heat, own_tags = heat.take(places), tags.reshape(len(tags), -1).take(places, 1)
    for part, likely in _likely(*_padded(starts, own_heat, own_tags), joint, wanted):
        likely.argmax(1, out=rank[part])
    return places.take(starts.take(joint) + rank) - joint * heat.shape[1]


def _search_many(least: Array, heat: Array, tags: Array, joint: Array, wanted: Array) -> Array:
    """The same among all places as hot as ``least`` ``(K,)``: too many to be laid out for every pair."""
    best = np.zeros(len(joint), np.int64)
    for number, pairs in _runs(joint):
        places = np.flatnonzero(heat[number] >= least[number])
        if not len(places):  # a map without numbers
            continue
        own_heat, own_tags = heat[number].take(places), tags[:, number].take(places, 1)
        rows = max(1, AT_ONCE // len(places))
        for first in range(pairs.start, pairs.stop, rows):
            part = slice(first, min(first + rows, pairs.stop))
            steps = _steps(own_tags, wanted[part])
            best[part] = places.take(np.subtract(own_heat, steps, out=steps).argmax(1))
    return best


def _likeliest_probe(heat: Array, tags: Array, joint: Array, wanted: Array) -> Array:
    """How likely the likeliest place of each pair ``(M,)`` is among some in runs all over the map."""
    apart = RUN * RUNS
    count = heat.shape[1] // apart
    if count:
        heat, tags = (maps[..., : count * apart].reshape(*maps.shape[:-1], count, apart) for maps in (heat, tags))
        heat, tags = (maps[..., :RUN].reshape(*maps.shape[:-2], count * RUN) for maps in (heat, tags))
    highest = np.empty(len(joint), heat.dtype)
    for part, likely in _likely(heat, tags, joint, wanted):
        likely.max(1, out=highest[part])
    return highest


def _padded(starts: Array, heat: Array, tags: Array) -> tuple[Array, Array]:
    """Rows of one length ``(K, R)`` and ``(D, K, R)``, of ``heat`` ``(P,)`` and ``tags`` ``(D, P)`` of every joint.

    Those of joint j stand from ``starts[j]`` to ``starts[j + 1]``; what fills a row up has no heat, −∞.
    """
    rows, ends = starts[:-1, None] + np.arange(np.diff(starts).max()), starts[1:, None]
    is_own, rows = rows < ends, np.minimum(rows, ends - 1)
    return np.where(is_own, heat.take(rows, mode="clip"), -np.inf), tags.take(rows, 1, mode="clip")


def _likely(heat: Array, tags: Array, joint: Array, wanted: Array) -> Iterator[tuple[slice, Array]]:
    """How likely each place in ``heat`` ``(K, R)`` and ``tags`` ``(D, K, R)`` is, some pairs at a time."""
    rows = max(1, AT_ONCE // heat.shape[1])
    for start in range(0, len(joint), rows):
        part = slice(start, start + rows)
        own = tags.take(joint[part], 1)
        steps = _steps(own, wanted[part], own[0])
        yield part, np.subtract(heat.take(joint[part], 0), steps, out=steps)


def _least(values: Array, joint: Array, joints: int) -> Array:
    """The lowest value of each joint ``(K,)``; infinite where it has none."""
    least = np.full(joints, np.inf, values.dtype)
    np.minimum.at(least, joint, values)
    return least


def _ends(places: Array, heat: Array) -> Array:
    """Where the places of each joint begin and end among ascending ones of the flattened maps: ``(K + 1,)``."""
    return np.searchsorted(places, np.arange(len(heat) + 1) * heat.shape[1])


def _steps(tags: Array, wanted: Array, out: Array | None = None) -> Array:
    """Whole steps ``(M, P)`` between tags ``(D, P)`` or ``(D, M, P)`` and ``(M, D)``."""
    steps = np.subtract(tags[0], wanted[:, :1], out=out)
    if len(tags) == 1:
        np.abs(steps, out=steps)
    else:
        np.square(steps, out=steps)
        for dimension in range(1, len(tags)):
            steps += np.square(tags[dimension] - wanted[:, dimension, None])
        np.sqrt(steps, out=steps)
    return np.rint(steps, out=steps)


def _runs(joint: Array) -> Iterator[tuple[int, slice]]:
    """Every joint that occurs, and where."""
    starts = np.flatnonzero(np.diff(joint)) + 1
    for start, end in pairwise([0, *starts.tolist(), len(joint)]):
        yield int(joint[start]), slice(start, end)
