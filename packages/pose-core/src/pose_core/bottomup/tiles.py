"""Very long images, predicted in overlapping tiles.

Methods for whole images resize the short side to the network's input, so that a panorama of 20000 × 400 pixels would
become 25600 × 512, fifty times the pixels of a square.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import numpy as np

from pose_core.ops import oks_nms

Array = np.ndarray

MAX_ASPECT = 8
"""Images of a long side up to this many times the short one are predicted whole, as published."""
TILE_ASPECT = 4
"""A tile's long side in short ones. Tiles overlap by one: a person who is no larger is whole in one of them."""
MIN_SHORT = 32
"""Pixels to which the short side of a tile is padded; there are no people to be seen in less."""
MARGIN = 1 / 8
"""Short sides by which a person's middle may lie beyond a tile's own part, as two tiles do not see it equally."""
SIMILAR = 0.5
"""OKS above which two poses of different tiles are one person's; different people in a crowd are far below."""


class Tile(NamedTuple):
    """A part of an image: ``corner`` (x, y) and ``size`` (w, h), which may exceed the image at the right and below.

    People are taken from it if their middle is in ``own``, a range along ``axis`` (0 for x, 1 for y).
    """

    corner: tuple[int, int]
    size: tuple[int, int]
    axis: int = 0
    own: tuple[float, float] = (-np.inf, np.inf)


def cut_tiles(width: int, height: int) -> list[Tile]:
    """Return the tiles of an image, in order along its long side; a single one unless it is longer than MAX_ASPECT."""
    short, long = sorted((width, height))
    if long <= MAX_ASPECT * short:
        return [Tile((0, 0), (width, height))]
    short = max(short, MIN_SHORT)
    length = min(TILE_ASPECT * short, long)
    count = 1 + max(-(-(long - length) // (length - short)), 0)
    starts = np.linspace(0, long - length, count).round().astype(int).tolist()
    # Neighbors divide their overlap in its middle.
    seams = [(after + before + length) / 2 for before, after in pairwise(starts)]
    limits = [-np.inf, *seams, np.inf]
    tiles = []
    for number, start in enumerate(starts):
        own = limits[number] - MARGIN * short, limits[number + 1] + MARGIN * short
        if width > height:
            tiles.append(Tile((start, 0), (length, short), 0, own))
        else:
            tiles.append(Tile((0, start), (short, length), 1, own))
    return tiles


def people_of_tiles(tiles: list[Tile], tile_of: Array, points: Array, scores: Array, sigmas: Array) -> Array:
    """Return the rows of the people to keep, each person once.

    ``tile_of`` ``(N,)`` is the number of each person's tile, ``points`` ``(N, K, 2)`` are in the image's pixels,
    ``scores`` ``(N,)``, ``sigmas`` ``(K,)`` the joints' OKS constants.
    """
    own = np.array([tile.own for tile in tiles])[tile_of]
    middle = (points.min(1) + points.max(1))[:, tiles[0].axis] / 2
    rows = np.flatnonzero((own[:, 0] <= middle) & (middle < own[:, 1]))
    areas = np.ptp(points[rows], axis=1).prod(1)
    return rows[oks_nms(points[rows], scores[rows], areas, sigmas, SIMILAR)]
