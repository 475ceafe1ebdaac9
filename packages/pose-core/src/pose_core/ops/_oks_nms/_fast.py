"""All images together: the poses of one rank in every image decide at once."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from pose_core.ops._oks import TINY

Array = np.ndarray
CHUNK = 1 << 15
"""Pairs whose similarity is computed at a time, to stay in the cache."""
GLANCE = 3
"""Joints that are compared first."""


def oks_nms(poses: Array, scores: Array, areas: Array, sigmas: Array, threshold: float, images: Array) -> Array:
    order = np.lexsort((-scores, images))
    sorted_images = images[order]
    rank = np.arange(len(order)) - np.searchsorted(sorted_images, sorted_images)
    size = np.searchsorted(sorted_images, sorted_images, "right") - np.arange(len(order)) - 1
    # Every pair (pose, a lower-ranked pose of its image).
    first = np.repeat(np.arange(len(order)), size)
    second = first + 1 + np.arange(size.sum()) - np.repeat(np.cumsum(size) - size, size)
    similar = _similar(poses[order], areas[order], sigmas, threshold, first, second)
    first, second = first[similar], second[similar]
    kept = np.ones(len(order), bool)
    waves = np.argsort(rank[first], kind="stable")
    ends = np.searchsorted(rank[first][waves], np.arange(rank.max(initial=-1) + 2))
    for begin, end in pairwise(ends.tolist()):
        wave = waves[begin:end]
        # A pose that was itself dropped drops nobody.
        kept[second[wave[kept[first[wave]]]]] = False
    return order[kept]


def _similar(poses: Array, areas: Array, sigmas: Array, threshold: float, first: Array, second: Array) -> Array:
    """Whether each pair's similarity exceeds the threshold.

    A similarity is the mean of numbers up to 1, so a few joints can rule a pair out: most pairs are of people who stand
    apart, and cost a glance.
    """
    result = np.zeros(len(first), bool)
    falloff = -1 / (2 * (2 * sigmas) ** 2)
    x, y = np.ascontiguousarray(poses[..., 0]), np.ascontiguousarray(poses[..., 1])
    number = len(sigmas)
    # The joints with the narrowest falloff tell most.
    glance = np.argsort(sigmas)[: min(GLANCE, number)]
    few_x, few_y = np.ascontiguousarray(x[:, glance]), np.ascontiguousarray(y[:, glance])
    # A little slack for rounding: the full mean decides.
    enough = number * (threshold - 1e-6) - (number - len(glance))
    for begin in range(0, len(first), CHUNK):
        a, b = first[begin : begin + CHUNK], second[begin : begin + CHUNK]
        area = (areas[a] + areas[b]) / 2 + TINY
        squares = (few_x[a] - few_x[b]) ** 2 + (few_y[a] - few_y[b]) ** 2
        near = np.flatnonzero(np.exp(squares * falloff[glance] / area[:, None]).sum(1) > enough)
        a, b, area = a[near], b[near], area[near]
        squares = (x[a] - x[b]) ** 2 + (y[a] - y[b]) ** 2
        result[begin + near] = np.exp(squares * falloff / area[:, None]).mean(1) > threshold
    return result
