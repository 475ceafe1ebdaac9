"""The published top-down pipeline, written again from its rules: an image and boxes in, keypoints and scores out.

One person at a time, in loops and in float64, and without anything of `pose_core`. The figures in ``golden/pipelines``
come from here. Centers, scales and the three points of an affine map are float32, as in the published code.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

Array = np.ndarray
Network = Callable[[Array], Array]
"""Normalized images ``(N, 3, H, W)`` → heatmaps ``(N, K, h, w)``."""

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
BETA = 160.0


class Rules(NamedTuple):
    """The keys of a published file that this pipeline reads; sizes are (w, h)."""

    image_size: tuple[int, int]
    color_rgb: bool
    flip_pairs: tuple[tuple[int, int], ...]
    sigmas: tuple[float, ...]
    flip_test: bool = True
    shift_heatmap: bool = True
    post_process: bool = True
    soft_argmax: bool = False
    bias: float = 0.0
    image_thre: float = 0.0
    in_vis_thre: float = 0.2
    oks_thre: float = 0.9
    soft_nms: bool = False


class Found(NamedTuple):
    """A person: ``keypoints`` ``(K, 2)`` in image pixels, joint ``scores`` ``(K,)``, and the person's ``score``."""

    image_id: int
    keypoints: Array
    scores: Array
    score: float
    area: float
    center: Array
    scale: Array


def center_scale(box: tuple[float, float, float, float], size: tuple[int, int]) -> tuple[Array, Array]:
    """Return center and scale (units of 200 pixels) of a box x, y, w, h, its short side enlarged to the input's."""
    x, y, w, h = box
    aspect = size[0] / size[1]
    center = np.array([x + w * 0.5, y + h * 0.5], np.float32)
    if w > aspect * h:
        h = w / aspect
    elif w < aspect * h:
        w = h * aspect
    scale = np.array([w / 200, h / 200], np.float32)
    if center[0] != -1:
        scale = scale * np.float32(1.25)
    return center, scale


def annotated_box(box: tuple[float, float, float, float], width: int, height: int) -> tuple[float, float, float, float]:
    """Return an annotated box cut at the image's border."""
    x, y, w, h = box
    left, top = max(0.0, x), max(0.0, y)
    right, bottom = min(width - 1.0, left + max(0.0, w - 1)), min(height - 1.0, top + max(0.0, h - 1))
    return left, top, right - left, bottom - top


def mpii_center_scale(center: tuple[float, float], scale: float) -> tuple[Array, Array]:
    """Return MPII's 1-based center and scale as the published reader gives them."""
    x, y = center
    if x != -1:
        y += 15 * scale
        scale *= 1.25
    return np.array([x - 1, y - 1], np.float32), np.array([scale, scale], np.float32)


def affine(center: Array, scale: Array, size: tuple[int, int], *, inverse: bool = False) -> Array:
    """Return the ``(2, 3)`` map from the image to an input of ``size``, from three points; only the width counts."""
    middle, across = np.array([size[0] * 0.5, size[1] * 0.5]), float(scale[0]) * 200
    source, target = np.zeros((3, 2), np.float32), np.zeros((3, 2), np.float32)
    source[0], target[0] = center, middle
    source[1], target[1] = center + np.array([0, across * -0.5]), middle + np.array([0, size[0] * -0.5])
    for points in (source, target):
        direction = points[0] - points[1]
        points[2] = points[1] + np.array([-direction[1], direction[0]], np.float32)
    pair = (target, source) if inverse else (source, target)
    return np.asarray(cv2.getAffineTransform(*pair))


def network_input(pixels: Array, rules: Rules) -> Array:
    """Return a crop ``(H, W, 3)`` BGR as a normalized image ``(3, H, W)``."""
    channels = (2, 1, 0) if rules.color_rgb else (0, 1, 2)
    return np.stack([(pixels[:, :, c] / 255.0 - MEAN[k]) / STD[k] for k, c in enumerate(channels)])


def heatmaps_of(network: Network, image: Array, rules: Rules) -> Array:
    """Return heatmaps ``(K, h, w)``, the mean with those of the mirrored image if the rules ask for a flip test."""
    maps = network(image[None])[0]
    if not rules.flip_test:
        return maps
    mirrored = network(image[None, :, :, ::-1].copy())[0][:, :, ::-1].copy()
    for left, right in rules.flip_pairs:
        mirrored[[left, right]] = mirrored[[right, left]]
    if rules.shift_heatmap:
        mirrored[:, :, 1:] = mirrored[:, :, :-1].copy()
    return (maps + mirrored) * 0.5


def decode(heatmap: Array, rules: Rules) -> tuple[float, float, float]:
    """Return x, y in heatmap pixels and the score of one joint's heatmap ``(h, w)``."""
    height, width = heatmap.shape
    if rules.soft_argmax:
        weight = np.exp(BETA * (heatmap - heatmap.max()))
        weight /= weight.sum()
        x = sum(weight[:, column].sum() * column for column in range(width))
        y = sum(weight[row].sum() * row for row in range(height))
        score = heatmap[round(float(y)), round(float(x))]
    else:
        index = int(heatmap.argmax())
        score = heatmap.reshape(-1)[index]
        x, y = (float(index % width), float(index // width)) if score > 0 else (0.0, 0.0)
    if rules.post_process:
        px, py = int(np.floor(x + 0.5)), int(np.floor(y + 0.5))
        if 1 < px < width - 1 and 1 < py < height - 1:
            x += 0.25 * np.sign(heatmap[py, px + 1] - heatmap[py, px - 1])
            y += 0.25 * np.sign(heatmap[py + 1, px] - heatmap[py - 1, px])
    return float(x), float(y), float(score)


def person(
    pixels: Array, image_id: int, center: Array, scale: Array, box_score: float, network: Network, rules: Rules
) -> Found:
    """Return the pose of one person in an image ``(H, W, 3)`` BGR."""
    crop = cv2.warpAffine(pixels, affine(center, scale, rules.image_size), rules.image_size, flags=cv2.INTER_LINEAR)
    maps = heatmaps_of(network, network_input(crop, rules), rules)
    back = affine(center, scale, (maps.shape[2], maps.shape[1]), inverse=True)
    keypoints, scores = np.zeros((len(maps), 2)), np.zeros(len(maps))
    for joint, heatmap in enumerate(maps):
        x, y, scores[joint] = decode(heatmap, rules)
        keypoints[joint] = back @ np.array([x, y, 1.0]) - rules.bias
    above = [score for score in scores if score > rules.in_vis_thre]
    mean = sum(above) / len(above) if above else 0.0
    area = float(np.prod(scale.astype(np.float64) * 200))
    return Found(image_id, keypoints, scores, mean * box_score, area, center, scale)


def similarity(one: Found, other: Found, sigmas: tuple[float, ...]) -> float:
    """Return the object keypoint similarity of two poses, over all joints."""
    total = 0.0
    for joint, sigma in enumerate(sigmas):
        squared = float(((one.keypoints[joint] - other.keypoints[joint]) ** 2).sum())
        total += np.exp(-squared / (2 * sigma) ** 2 / ((one.area + other.area) / 2 + np.spacing(1)) / 2)
    return float(total / len(sigmas))


def suppress(people: list[Found], rules: Rules) -> list[int]:
    """Return the indices of the people of one image that are kept, the best first."""
    scores = {index: found.score for index, found in enumerate(people)}
    kept: list[int] = []
    while scores and (not rules.soft_nms or len(kept) < 20):
        best = max(scores, key=lambda index: scores[index])
        kept.append(best)
        del scores[best]
        for index in list(scores):
            like = similarity(people[best], people[index], rules.sigmas)
            if rules.soft_nms:
                scores[index] *= np.exp(-(like**2) / rules.oks_thre)
            elif like > rules.oks_thre:
                del scores[index]
    return kept


def run(images: Mapping[int, Path], people: list[dict[str, Any]], network: Network, rules: Rules) -> list[Found]:
    """Return a pose for each of the people in order: ``image_id`` with ``box`` and ``score``, or center and scale."""
    found = []
    for entry in people:
        file = str(images[entry["image_id"]])
        pixels = np.asarray(cv2.imread(file, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION))
        if "center" in entry:
            center, scale = mpii_center_scale(entry["center"], entry["scale"])
        else:
            box = entry["box"]
            if "score" not in entry:
                box = annotated_box(box, pixels.shape[1], pixels.shape[0])
            center, scale = center_scale(box, rules.image_size)
        score = entry.get("score", 1.0)
        found.append(person(pixels, entry["image_id"], center, scale, score, network, rules))
    return found
