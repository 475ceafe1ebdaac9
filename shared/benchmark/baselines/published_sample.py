"""The published top-down training sample, written plainly from its description: the baseline, not the product.

Read, swap colors, half-body, scale, rotate, flip by a reversed view, three-point affine, warp, float tensor, joints
one by one, targets one by one.
"""

# ruff: noqa: NPY002  the published code draws from numpy's global generator
from __future__ import annotations

import copy
import random
from typing import Any

import cv2
import numpy as np
import torch
from torch.utils.data import Dataset

MEAN = torch.tensor([0.485, 0.456, 0.406])[:, None, None]
STD = torch.tensor([0.229, 0.224, 0.225])[:, None, None]
PAIRS = [(i, i + 1) for i in range(1, 17, 2)]
UPPER = tuple(range(11))


class PublishedDataset(Dataset[Any]):
    """Records are dictionaries: image, joints_3d, joints_3d_vis, center, scale."""

    def __init__(
        self,
        records: list[dict[str, Any]],
        input_size: tuple[int, int] = (192, 256),
        *,
        half_body: float = 0.3,
        scale: float = 0.35,
        rotation: float = 45,
    ) -> None:
        self.records = records
        self.image_size = np.array(input_size)
        self.heatmap_size = self.image_size // 4
        self.sigma, self.half_body, self.scale, self.rotation = 2, half_body, scale, rotation

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, dict[str, Any]]:
        record = copy.deepcopy(self.records[index])
        image = cv2.imread(record["image"], cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
        image = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
        joints, visible = record["joints_3d"], record["joints_3d_vis"]
        c, s = record["center"], record["scale"]
        if np.sum(visible[:, 0]) > 8 and np.random.rand() < self.half_body:
            half = self._half_body(joints, visible)
            if half is not None:
                c, s = half
        s = s * np.clip(np.random.randn() * self.scale + 1, 1 - self.scale, 1 + self.scale)
        r = np.clip(np.random.randn() * self.rotation, -self.rotation * 2, self.rotation * 2)
        r = r if random.random() <= 0.6 else 0
        if random.random() <= 0.5:
            image = image[:, ::-1, :]
            joints, visible = _flip(joints, visible, image.shape[1])
            c[0] = image.shape[1] - c[0] - 1
        matrix = _affine(c, s, r, self.image_size)
        crop = cv2.warpAffine(image, matrix, (int(self.image_size[0]), int(self.image_size[1])), flags=cv2.INTER_LINEAR)
        tensor = torch.from_numpy(np.ascontiguousarray(crop.transpose(2, 0, 1))).float().div(255)
        tensor = tensor.sub_(MEAN).div_(STD)
        for i in range(len(joints)):
            if visible[i, 0] > 0.0:
                joints[i, 0:2] = _move(joints[i, 0:2], matrix)
        target, weight = self._target(joints, visible)
        meta = {
            "image": record["image"],
            "joints": joints,
            "joints_vis": visible,
            "center": c,
            "scale": s,
            "rotation": r,
        }
        return tensor, torch.from_numpy(target), torch.from_numpy(weight), meta

    def _half_body(self, joints: np.ndarray, visible: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
        upper, lower = [], []
        for joint in range(len(joints)):
            if visible[joint][0] > 0:
                (upper if joint in UPPER else lower).append(joints[joint])
        if np.random.randn() < 0.5 and len(upper) > 2:
            chosen = upper
        else:
            chosen = lower if len(lower) > 2 else upper
        if len(chosen) < 2:
            return None
        points = np.array(chosen, dtype=np.float32)
        center = points.mean(axis=0)[:2]
        width, height = (np.amax(points, axis=0) - np.amin(points, axis=0))[:2]
        aspect = self.image_size[0] / self.image_size[1]
        if width > aspect * height:
            height = width / aspect
        elif width < aspect * height:
            width = height * aspect
        return center, np.array([width / 200, height / 200], dtype=np.float32) * 1.5

    def _target(self, joints: np.ndarray, visible: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        weight = np.ones((len(joints), 1), dtype=np.float32)
        weight[:, 0] = visible[:, 0]
        target = np.zeros((len(joints), self.heatmap_size[1], self.heatmap_size[0]), dtype=np.float32)
        reach = self.sigma * 3
        for joint in range(len(joints)):
            stride = self.image_size / self.heatmap_size
            x = int(joints[joint][0] / stride[0] + 0.5)
            y = int(joints[joint][1] / stride[1] + 0.5)
            left, top, right, bottom = int(x - reach), int(y - reach), int(x + reach + 1), int(y + reach + 1)
            if left >= self.heatmap_size[0] or top >= self.heatmap_size[1] or right < 0 or bottom < 0:
                weight[joint] = 0
                continue
            size = 2 * reach + 1
            columns = np.arange(0, size, 1, np.float32)
            rows = columns[:, np.newaxis]
            middle = size // 2
            patch = np.exp(-((columns - middle) ** 2 + (rows - middle) ** 2) / (2 * self.sigma**2))
            from_x = max(0, -left), min(right, self.heatmap_size[0]) - left
            from_y = max(0, -top), min(bottom, self.heatmap_size[1]) - top
            to_x = max(0, left), min(right, self.heatmap_size[0])
            to_y = max(0, top), min(bottom, self.heatmap_size[1])
            if weight[joint] > 0.5:
                target[joint][to_y[0] : to_y[1], to_x[0] : to_x[1]] = patch[
                    from_y[0] : from_y[1], from_x[0] : from_x[1]
                ]
        return target, weight


def _flip(joints: np.ndarray, visible: np.ndarray, width: int) -> tuple[np.ndarray, np.ndarray]:
    joints[:, 0] = width - joints[:, 0] - 1
    for left, right in PAIRS:
        joints[left, :], joints[right, :] = joints[right, :], joints[left, :].copy()
        visible[left, :], visible[right, :] = visible[right, :], visible[left, :].copy()
    return joints * visible, visible


def _affine(center: np.ndarray, scale: np.ndarray, rotation: float, size: np.ndarray) -> np.ndarray:
    source_width = scale[0] * 200.0
    angle = np.pi * rotation / 180
    sin, cos = np.sin(angle), np.cos(angle)
    down = [0.0, source_width * -0.5]
    direction = np.array([down[0] * cos - down[1] * sin, down[0] * sin + down[1] * cos])
    source, target = np.zeros((3, 2), dtype=np.float32), np.zeros((3, 2), dtype=np.float32)
    source[0], source[1] = center, center + direction
    target[0] = [size[0] * 0.5, size[1] * 0.5]
    target[1] = np.array([size[0] * 0.5, size[1] * 0.5]) + np.array([0, size[0] * -0.5], np.float32)
    source[2], target[2] = _third(source[0], source[1]), _third(target[0], target[1])
    return cv2.getAffineTransform(source, target)


def _third(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    direct = a - b
    return b + np.array([-direct[1], direct[0]], dtype=np.float32)


def _move(point: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    return np.dot(matrix, np.array([point[0], point[1], 1.0]).T)[:2]
