"""The published associative embedding, written again from its rules: an image in, people's keypoints and scores out.

In loops and in float64, and without anything of `pose_core` or `pose_advpose`. The figures in ``golden/pipelines`` come
from here.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

Array = np.ndarray
Network = Callable[[Array], Array]
"""Images ``(1, 3, r, r)``, values 0 to 1 → the last stack's maps ``(1, 2K or more, r/4, r/4)``."""

ORDER = (0, 1, 2, 3, 4, 5, 6, 11, 12, 7, 8, 9, 10, 13, 14, 15, 16)
FLIP = (0, 2, 1, 4, 3, 6, 5, 8, 7, 10, 9, 12, 11, 14, 13, 16, 15)
JOINTS = 17
MAX_PEOPLE = 30
LEAST = 0.1
NEAR = 1.0
DIVERGED = 10.0


class Found(NamedTuple):
    """A person: ``keypoints`` ``(K, 2)`` in image pixels, joint ``values`` ``(K,)`` and the ``score``."""

    keypoints: Array
    values: Array
    score: float


def matrix_for(width: int, height: int, side: int) -> Array:
    """Return the ``(3, 3)`` map from an image to an input of ``side``: the image's long side fills it."""
    h = max(width, height) / 200 * 200
    map_ = np.eye(3)
    map_[0, 0] = map_[1, 1] = side / h
    map_[0, 2] = side * (-width / 2 / h + 0.5)
    map_[1, 2] = side * (-height / 2 / h + 0.5)
    return map_


def maps_of(image: Array, network: Network, input_size: int, scales: tuple[float, ...]) -> tuple[Array, Array, Array]:
    """Return heatmaps ``(K, h, w)``, tags ``(K, h, w, D)`` and the map from image to input pixels of the first scale.

    Scales at which the network diverges are skipped, but count in the mean.
    """
    height, width = image.shape[:2]
    total, tags, first, size = None, [], np.eye(3), 0
    for scale in scales:
        side = int((input_size * scale + 63) // 64) * 64
        map_ = matrix_for(width, height, side)
        shown = cv2.warpAffine(image, map_[:2], (side, side), flags=cv2.INTER_LINEAR) / 255.0
        x = shown.transpose(2, 0, 1)[None]
        plain, mirrored = network(x)[0], network(x[:, :, :, ::-1].copy())[0][:, :, ::-1]
        heat = plain[:JOINTS] + mirrored[:JOINTS][list(FLIP)]
        if heat.max() > DIVERGED:
            continue
        if total is None:
            first, size = map_, heat.shape[1]
            total = np.zeros_like(heat)
        total += [cv2.resize(one, (size, size)) for one in heat]
        if abs(scale - 1) < 0.5:
            tags += [
                np.stack([cv2.resize(np.ascontiguousarray(one), (size, size)) for one in own])
                for own in (plain[JOINTS : 2 * JOINTS], mirrored[JOINTS : 2 * JOINTS][list(FLIP)])
            ]
    if total is None or not tags:
        return np.zeros((JOINTS, 0, 0)), np.zeros((JOINTS, 0, 0, 0)), first
    # Float32 numbers, as the published maps are: with them the assignment's sums are exact, and ties are ties.
    heat, tag = (part.astype(np.float32) for part in (np.minimum(total / len(scales) / 2, 1), np.stack(tags, 3)))
    return heat.astype(np.float64), tag.astype(np.float64), first


def candidates_of(heat: Array, tags: Array) -> list[tuple[int, int, float, Array]]:
    """Return the peaks x, y, value, tags of one joint's heatmap ``(h, w)``, the highest first, 30 at most."""
    height, width = heat.shape
    peaks = []
    for y in range(height):
        for x in range(width):
            around = heat[max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2]
            if heat[y, x] > LEAST and heat[y, x] == around.max():
                peaks.append((x, y, float(heat[y, x]), tags[y, x]))
    return sorted(peaks, key=lambda peak: -peak[2])[:MAX_PEOPLE]


def munkres(cost: Array) -> list[tuple[int, int]]:
    """Return the pairs (row, column) of the cheapest assignment of a square matrix, by Munkres' six steps.

    The order of every search is that of the package that the published code uses.
    """
    n = len(cost)
    c = [[float(value) for value in row] for row in cost]
    for row in c:  # step 1
        least = min(row)
        for j in range(n):
            row[j] -= least
    star = [[False] * n for _ in range(n)]
    for i in range(n):  # step 2
        for j in range(n):
            if c[i][j] == 0 and not any(star[i]) and not any(star[k][j] for k in range(n)):
                star[i][j] = True
    while True:
        column_covered = [any(star[i][j] for i in range(n)) for j in range(n)]  # step 3
        if all(column_covered):
            return [(i, j) for i in range(n) for j in range(n) if star[i][j]]
        row_covered = [False] * n
        prime = [[False] * n for _ in range(n)]
        start = (0, 0)
        while True:  # step 4
            place = None
            for i in [(start[0] + step) % n for step in range(n)]:
                for j in [(start[1] + step) % n for step in range(n)]:
                    if c[i][j] == 0 and not row_covered[i] and not column_covered[j]:
                        place = (i, j)
                if place is not None:
                    break
            if place is None:  # step 6
                least = min(c[i][j] for i in range(n) for j in range(n) if not row_covered[i] and not column_covered[j])
                for i in range(n):
                    for j in range(n):
                        if row_covered[i]:
                            c[i][j] += least
                        if not column_covered[j]:
                            c[i][j] -= least
                start = (0, 0)
                continue
            i, j = place
            prime[i][j] = True
            if not any(star[i]):
                break
            j = star[i].index(True)
            row_covered[i], column_covered[j] = True, False
            start = (i, j)
        path = [(i, j)]  # step 5
        while any(star[k][path[-1][1]] for k in range(n)):
            row_ = next(k for k in range(n) if star[k][path[-1][1]])
            path += [(row_, path[-1][1]), (row_, prime[row_].index(True))]
        for step, (i, j) in enumerate(path):
            star[i][j] = step % 2 == 0


def group(heat: Array, tags: Array) -> list[dict[int, tuple[int, int, float, Array]]]:
    """Return people in the order of their creation: the candidate of each joint."""
    people: list[dict[int, tuple[int, int, float, Array]]] = []
    for joint in ORDER:
        found = candidates_of(heat[joint], tags[joint])
        if not found:
            continue
        if not people:
            people = [{joint: one} for one in found]
            continue
        if len(people) >= MAX_PEOPLE:
            continue
        means = [np.mean([one[3] for one in person.values()], axis=0) for person in people]
        apart = np.array([[np.sqrt(np.mean((one[3] - mean) ** 2)) for mean in means] for one in found])
        size = max(len(found), len(people))
        cost = np.zeros((size, size))
        cost[: len(found)] = 1e10
        cost[: len(found), : len(people)] = 100 * np.round(apart) - np.array([[one[2]] for one in found])
        number = len(people)
        for row, column in sorted(munkres(cost)):
            if row >= len(found):
                continue
            if column < number and apart[row, column] < NEAR:
                people[column][joint] = found[row]
            else:
                people.append({joint: found[row]})
    return people


def adjusted(heat: Array, x: int, y: int, lowest: int) -> tuple[float, float]:
    """Return the place of a pixel's center, moved by a quarter towards the higher neighbor."""
    height, width = heat.shape
    right, left = heat[y, min(x + 1, width - 1)], heat[y, max(x - 1, 0)]
    below, above = heat[min(y + 1, height - 1, lowest), x], heat[max(y - 1, 0), x]
    return x + 0.5 + (0.25 if right > left else -0.25), y + 0.5 + (0.25 if below > above else -0.25)


def people_in(heat: Array, tags: Array) -> list[tuple[Array, Array, float]]:
    """Return keypoints ``(K, 2)`` in heatmap pixels, values ``(K,)`` and score of all people."""
    height = heat.shape[1]
    result = []
    for person in group(heat, tags):
        points, values = np.zeros((JOINTS, 2)), np.zeros(JOINTS)
        for joint, (x, y, value, _) in person.items():
            points[joint], values[joint] = adjusted(heat[joint], x, y, height), value
        score = float(values.mean())
        mean = np.mean([tags[joint, y, x] for joint, (x, y, _, _) in person.items()], axis=0)
        for joint in range(JOINTS):
            if values[joint] > 0:
                continue
            distance = np.sqrt(((tags[joint] - mean) ** 2).sum(2))
            y, x = divmod(int((heat[joint] - np.round(distance)).argmax()), heat.shape[2])
            if heat[joint, y, x] > 0:
                # The published code takes the number of joints for the height here.
                points[joint] = adjusted(heat[joint], x, y, JOINTS - 1)
                values[joint] = 1
        result.append((points, values, score))
    return result


def run(file: Path, network: Network, input_size: int, scales: tuple[float, ...]) -> list[Found]:
    """Return the people in an image file, in the order of their creation."""
    pixels = np.asarray(cv2.imread(str(file), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION))
    image = np.ascontiguousarray(pixels[:, :, ::-1])  # RGB
    heat, tags, map_ = maps_of(image, network, input_size, scales)
    back = np.linalg.pinv(map_)
    found = []
    for points, values, score in people_in(heat, tags) if heat.size else []:
        keypoints = np.array([(back @ np.array([4 * x, 4 * y, 1.0]))[:2] for x, y in points])
        keypoints[values == 0] = keypoints[values > 0].mean(0)
        found.append(Found(keypoints, values, score))
    return found
