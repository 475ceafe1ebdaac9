"""Where a joint that a person lacks most likely is.

That is where the heat is highest, less the whole steps between the pixel's tag and the person's mean tag. Pairs of a
joint and a person who lacks it come by joint, ascending; of equal places the first counts.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

Array = np.ndarray

SEEN = 0.1
"""A joint likelier than this is sought among few places."""
PROBES = 2039
"""About so many places of a map say how likely other joints are at least."""
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


def search_where_hot(heat: Array, tags: Array, joint: Array, wanted: Array, known: Array) -> Array:
    """The same, sooner on a CPU: no place is likelier than its heat, so that few need to be looked at.

    ``known`` ``(M,)`` says how likely each best place is at least, see `likely_peaks`; of those of whom it says
    little, a lattice of places says more.
    """
    best = np.empty(len(joint), np.int64)
    lattice = slice(0, heat.shape[1], heat.shape[1] // PROBES | 1)
    is_seen = known > SEEN
    for number, part in _runs(joint):
        own, tag = heat[number], tags[:, number]
        for kind in (np.flatnonzero(is_seen[part]), np.flatnonzero(~is_seen[part])):
            if not len(kind):
                continue
            pairs = part.start + kind
            people, least = wanted[pairs], known[pairs].min()
            if not is_seen[pairs[0]]:
                least = max(least, _likeliest(own[lattice], tag[:, lattice], people)[0].min())
            places = np.flatnonzero(own >= least)
            best[pairs] = places[_likeliest(own[places], tag[:, places], people)[1]]
    return best


def likely_peaks(joint: Array, wanted: Array, starts: Array, heat: Array, tags: Array) -> Array:
    """How likely the likeliest peak is ``(M,)``, −∞ without any.

    Those of joint j stand in ``heat`` ``(P,)`` and ``tags`` ``(P, D)`` from ``starts[j]`` to ``starts[j + 1]``.
    """
    if not len(heat):
        return np.full(len(joint), -np.inf, heat.dtype)
    rows = starts[:-1, None] + np.arange(np.diff(starts).max())
    is_own = rows < starts[1:, None]
    rows = np.minimum(rows, len(heat) - 1)
    padded = np.where(is_own, heat[rows], -np.inf)
    return (padded[joint] - _steps(np.moveaxis(tags[rows][joint], 2, 0), wanted)).max(1)


def _likeliest(heat: Array, tags: Array, wanted: Array) -> tuple[Array, Array]:
    """For each of ``wanted`` ``(M, D)`` how likely its likeliest place ``(P,)`` is, and the first such place."""
    highest, index = np.empty(len(wanted), heat.dtype), np.empty(len(wanted), np.int64)
    rows = max(1, AT_ONCE // len(heat))
    for start in range(0, len(wanted), rows):
        part = slice(start, start + rows)
        steps = _steps(tags, wanted[part])
        likely = np.subtract(heat, steps, out=steps)
        index[part] = likely.argmax(1)
        highest[part] = likely[np.arange(len(likely)), index[part]]
    return highest, index


def _steps(tags: Array, wanted: Array) -> Array:
    """Whole steps ``(M, P)`` between tags ``(D, P)`` or ``(D, M, P)`` and ``(M, D)``."""
    steps = tags[0] - wanted[:, :1]
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
    starts = np.flatnonzero(np.diff(joint, prepend=-1))
    for start, end in zip(starts, [*starts[1:], len(joint)], strict=True):
        yield int(joint[start]), slice(int(start), int(end))
