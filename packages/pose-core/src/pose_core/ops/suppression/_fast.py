"""All images in one call: each step takes the best remaining pose of every image."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from pose_core.ops.similarity import TINY

Array = np.ndarray
CHUNK = 1 << 15
"""Pairs per chunk, to stay in the cache."""
FIRST = 3
"""Joints that are compared first."""


def oks_nms(poses: Array, scores: Array, areas: Array, sigmas: Array, threshold: float, images: Array) -> Array:
    order = np.lexsort((-scores, images))
    images = images[order]
    similar = _comparison(poses[order], areas[order], sigmas, threshold)
    kept = np.zeros(len(order), bool)
    left = np.arange(len(order))
    while len(left):
        leads = np.r_[True, images[left][1:] != images[left][:-1]]
        best = left[leads]
        kept[best] = True
        # The rest is compared only with the best of its image: a dropped pose drops no other.
        rest, leader = left[~leads], best[np.cumsum(leads)[~leads] - 1]
        left = rest[~similar(leader, rest)]
    return order[kept]


def _comparison(poses: Array, areas: Array, sigmas: Array, threshold: float) -> Callable[[Array, Array], Array]:
    """Return a function that takes two lists of rows and tells which pairs' similarity exceeds the threshold.

    A similarity is the mean of numbers up to 1, so a few joints can rule a pair out: most pairs are of people far
    apart, and are ruled out by the first joints.
    """
    falloff = -1 / (2 * (2 * sigmas) ** 2)
    x, y = np.ascontiguousarray(poses[..., 0]), np.ascontiguousarray(poses[..., 1])
    number = len(sigmas)
    # The joints with the narrowest falloff rule out most.
    first_joints = np.argsort(sigmas)[: min(FIRST, number)]
    few_x, few_y = np.ascontiguousarray(x[:, first_joints]), np.ascontiguousarray(y[:, first_joints])
    # A little slack for rounding: the full mean decides.
    enough = number * (threshold - 1e-6) - (number - len(first_joints))

    def similar(first: Array, second: Array) -> Array:
        result = np.zeros(len(first), bool)
        for begin in range(0, len(first), CHUNK):
            a, b = first[begin : begin + CHUNK], second[begin : begin + CHUNK]
            area = (areas[a] + areas[b]) / 2 + TINY
            squares = (few_x[a] - few_x[b]) ** 2 + (few_y[a] - few_y[b]) ** 2
            near = np.flatnonzero(np.exp(squares * falloff[first_joints] / area[:, None]).sum(1) > enough)
            a, b, area = a[near], b[near], area[near]
            squares = (x[a] - x[b]) ** 2 + (y[a] - y[b]) ** 2
            result[begin + near] = np.exp(squares * falloff / area[:, None]).mean(1) > threshold
        return result

    return similar
