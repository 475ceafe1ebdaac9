"""Targets, decoding and flip fusion as the published code does them: joint by joint, in numpy."""

from __future__ import annotations

import numpy as np

Array = np.ndarray


def gaussian_heatmaps(joints: Array, visible: Array, size: tuple[int, int], sigma: float, stride: float) -> Array:
    """Targets ``(N, K, H, W)`` for joints ``(N, K, 2)`` in input pixels."""
    width, height = size
    radius = 3 * sigma
    targets = np.zeros((*visible.shape, height, width), np.float32)
    for n in range(len(joints)):
        for k in range(joints.shape[1]):
            x, y = int(joints[n, k, 0] / stride + 0.5), int(joints[n, k, 1] / stride + 0.5)
            left, top = int(x - radius), int(y - radius)
            right, bottom = int(x + radius + 1), int(y + radius + 1)
            if left >= width or top >= height or right < 0 or bottom < 0 or visible[n, k] <= 0.5:
                continue
            length = 2 * radius + 1
            columns = np.arange(0, length, 1, np.float32)
            rows = columns[:, None]
            middle = length // 2
            patch = np.exp(-((columns - middle) ** 2 + (rows - middle) ** 2) / (2 * sigma**2))
            from_x, to_x = max(0, -left), min(right, width) - left
            from_y, to_y = max(0, -top), min(bottom, height) - top
            targets[n, k, max(0, top) : min(bottom, height), max(0, left) : min(right, width)] = patch[
                from_y:to_y, from_x:to_x
            ]
    return targets


def final_keypoints(heatmaps: Array, matrices: Array) -> tuple[Array, Array]:
    """Arg-max, quarter offset, and the inverse affine map joint by joint."""
    count, number, height, width = heatmaps.shape
    flat = heatmaps.reshape(count, number, -1)
    index, scores = np.argmax(flat, 2), np.amax(flat, 2)[..., None]
    points = np.tile(index[..., None], (1, 1, 2)).astype(np.float32)
    points[..., 0] = points[..., 0] % width
    points[..., 1] = np.floor(points[..., 1] / width)
    points *= np.tile(scores > 0, (1, 1, 2)).astype(np.float32)
    for n in range(count):
        for k in range(number):
            values = heatmaps[n][k]
            x, y = int(np.floor(points[n][k][0] + 0.5)), int(np.floor(points[n][k][1] + 0.5))
            if 1 < x < width - 1 and 1 < y < height - 1:
                slope = np.array([values[y][x + 1] - values[y][x - 1], values[y + 1][x] - values[y - 1][x]])
                points[n][k] += np.sign(slope) * 0.25
    result = points.copy()
    for n in range(count):
        for k in range(number):
            result[n, k] = np.dot(matrices[n], np.array([points[n, k, 0], points[n, k, 1], 1.0]).T)[:2]
    return result, scores


def flip_fusion(plain: Array, flipped: Array, pairs: tuple[tuple[int, int], ...], shift: bool) -> Array:
    """Mirror back, swap channel pairs one by one, in place, shift, average."""
    back = flipped[:, :, :, ::-1]  # a view, which the swaps write through
    for left, right in pairs:
        kept = back[:, left].copy()
        back[:, left] = back[:, right]
        back[:, right] = kept
    back = back.copy()
    if shift:
        back[:, :, :, 1:] = back.copy()[:, :, :, 0:-1]
    return (plain + back) * 0.5
