"""Grouping by tags as published: over joints, candidates and people one by one, maps searched whole for everyone.

The original's solver is the package munkres, in Python; this one follows its steps.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from pose_testing.literal_embedding import munkres

ORDER = (0, 1, 2, 3, 4, 5, 6, 11, 12, 7, 8, 9, 10, 13, 14, 15, 16)


def group(det: Tensor, tag: Tensor, most: int = 30) -> tuple[np.ndarray, np.ndarray, float]:
    """People ``(N, K, 3 + D)`` in order, their scores ``(N,)``, and the total cost of all assignments.

    ``det`` is ``(1, K, h, w)``, ``tag`` ``(1, K, h, w, D)``.
    """
    joints, height, width = det.shape[1:]
    dimensions = tag.shape[4]
    suppressed = det * (F.max_pool2d(det, 3, 1, 1) == det)
    values, index = suppressed.view(1, joints, -1).topk(most, dim=2)
    flat = tag.view(1, joints, height * width, dimensions)
    found = torch.stack([flat[..., d].gather(2, index) for d in range(dimensions)], 3)
    x, y = index % width, index // width
    people, total = match(found.numpy()[0], torch.stack([x, y], 3).numpy()[0], values.numpy()[0], most, 0.1, 1.0)
    adjust(people, det)
    scores = np.array([person[:, 2].mean() for person in people])
    for number in range(len(people)):
        det_numpy, tag_numpy = det[0].numpy(), tag[0].numpy()
        people[number] = refine(det_numpy, tag_numpy, people[number])
    return np.array(people, np.float32).reshape(len(people), joints, 3 + dimensions), scores, total


def match(
    tags: np.ndarray, places: np.ndarray, values: np.ndarray, most: int, threshold: float, near: float
) -> tuple[list[np.ndarray], float]:
    people: dict[int, np.ndarray] = {}
    tags_of: dict[int, list[np.ndarray]] = {}
    total = 0.0
    for joint in ORDER:
        rows = np.concatenate([places[joint], values[joint, :, None], tags[joint]], 1)
        rows = rows[values[joint] > threshold]
        if not len(rows):
            continue
        if not people:
            for row in rows:
                add(people, tags_of, len(people), joint, row)
            continue
        if len(people) >= most:
            continue
        keys = list(people)
        means = np.array([np.mean(tags_of[key], axis=0) for key in keys])
        distance = np.sqrt(np.mean((rows[:, None, 3:] - means[None]) ** 2, axis=2))
        cost = np.round(distance) * 100 - rows[:, 2:3]
        if len(rows) > len(keys):
            cost = np.concatenate([cost, np.full((len(rows), len(rows) - len(keys)), 1e10)], 1)
        for row, column in munkres(np.pad(cost, ((0, cost.shape[1] - len(rows)), (0, 0)))):
            if row >= len(rows):
                continue
            if column < len(keys):
                total += float(cost[row, column])
            if column < len(keys) and distance[row, column] < near:
                add(people, tags_of, keys[column], joint, rows[row])
            else:
                add(people, tags_of, len(people), joint, rows[row])
    return list(people.values()), total


def add(
    people: dict[int, np.ndarray], tags_of: dict[int, list[np.ndarray]], key: int, joint: int, row: np.ndarray
) -> None:
    people.setdefault(key, np.zeros((len(ORDER), len(row)), np.float32))[joint] = row
    tags_of.setdefault(key, []).append(row[3:])


def adjust(people: list[np.ndarray], det: Tensor) -> None:
    height, width = det.shape[2:]
    for person in people:
        for joint, row in enumerate(person):
            if row[2] <= 0:
                continue
            x, y = int(row[0]), int(row[1])
            heat = det[0][joint]
            row[0] += 0.25 if heat[y, min(x + 1, width - 1)] > heat[y, max(x - 1, 0)] else -0.25
            row[1] += 0.25 if heat[min(y + 1, height - 1), x] > heat[max(y - 1, 0), x] else -0.25
            row[:2] += 0.5


def refine(det: np.ndarray, tag: np.ndarray, person: np.ndarray) -> np.ndarray:
    tags = [tag[j, int(row[1]), int(row[0])] for j, row in enumerate(person) if row[2] > 0]
    mean = np.mean(tags, axis=0)
    answers = []
    for joint in range(len(person)):
        heat = det[joint]
        distance = ((tag[joint] - mean[None, None, :]) ** 2).sum(axis=2) ** 0.5
        y, x = np.unravel_index(np.argmax(heat - np.round(distance)), heat.shape)
        fine_x, fine_y = x + 0.5, y + 0.5
        fine_x += 0.25 if heat[y, min(x + 1, heat.shape[1] - 1)] > heat[y, max(x - 1, 0)] else -0.25
        # The row below ends where the joints do: a slip of the original.
        fine_y += 0.25 if heat[min(y + 1, len(det) - 1), x] > heat[max(y - 1, 0), x] else -0.25
        answers.append((fine_x, fine_y, heat[y, x]))
    for joint, (x, y, value) in enumerate(answers):
        if value > 0 and person[joint, 2] == 0:
            person[joint, :3] = x, y, 1
    return person
