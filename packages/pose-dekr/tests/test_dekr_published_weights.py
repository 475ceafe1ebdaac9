"""The targets of a converted DEKR file: centers and weights of offsets, by the published rules, from the JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from pose_core.config import Experiment, parse_config
from pose_core.plugins.published import convert_published
from pose_core.plugins.tasks import build_task
from pose_dekr.config import DekrConfig
from pose_dekr.task import DekrTask, RegressionObjective
from pose_testing.published import nested

SIDE, MAP = 128, 32
SHOWN = 1.5 * 150
"""Pixels of the image that fill the map: 1.5 times its short side, so that its corner is in the map."""


def write_people(folder: Path, seed: int) -> list[dict[str, Any]]:
    """Write an image of 200×150 pixels with people who may overlap, be small, or have no labeled joints."""
    rng = np.random.default_rng(seed)
    people = []
    for number in range(12):
        x, y = rng.uniform(-5, 150), rng.uniform(-5, 100)
        width, height = rng.uniform(10, 90, 2)
        joints = np.zeros((17, 3))
        joints[:, 0], joints[:, 1] = x + width * rng.random(17), y + height * rng.random(17)
        joints[:, 2] = rng.integers(0, 3, 17)
        joints[rng.random(17) < [0.2, 0.8, 0.95, 1][number % 4], 2] = 0
        joints[joints[:, 2] == 0] = 0
        people.append({
            "id": number + 1, "image_id": 1, "category_id": 1, "iscrowd": int(number == 5),
            "bbox": [x, y, width, height], "area": width * height,
            "segmentation": [[x, y, x + width, y, x, y + height]],
            "keypoints": joints.reshape(-1).tolist(), "num_keypoints": int((joints[:, 2] > 0).sum()),
        })  # fmt: skip
    people[5]["segmentation"] = {"size": [150, 200], "counts": [30000]}
    content = {
        "images": [{"id": 1, "file_name": "000000000001.jpg", "width": 200, "height": 150}],
        "annotations": people,
        "categories": [{"id": 1, "name": "person"}],
    }
    (folder / "annotations").mkdir()
    (folder / "images" / "train2017").mkdir(parents=True)
    (folder / "annotations" / "person_keypoints_train2017.json").write_text(json.dumps(content))
    cv2.imwrite(str(folder / "images" / "train2017" / "000000000001.jpg"), np.zeros((150, 200, 3), np.uint8))
    return people


def published_targets(people: list[dict[str, Any]]) -> tuple[np.ndarray, np.ndarray, list[np.ndarray]]:
    """Return offsets and weights ``(34, MAP, MAP)`` and the drawn centers, without augmentation."""
    offsets, weights, owner = np.zeros((34, MAP, MAP)), np.zeros((34, MAP, MAP)), np.zeros((MAP, MAP))
    centers = []
    for person in people:
        if person["iscrowd"] and not person["num_keypoints"]:
            continue
        rows = np.zeros((18, 3))
        rows[:17] = np.reshape(person["keypoints"], (17, 3))
        # The center is still zero, and so are unlabeled joints.
        area = (rows[:, 0].max() - rows[:, 0].min()) ** 2 + (rows[:, 1].max() - rows[:, 1].min()) ** 2
        labeled = rows[:17, 2] > 0
        if labeled.any():
            rows[17, :2] = rows[:17, :2].sum(0) / labeled.sum()
        rows[17, 2] = person["area"] >= 32**2
        area *= (SIDE / SHOWN) ** 2
        rows[:, 0] = MAP / SHOWN * (rows[:, 0] - 100) + MAP / 2
        rows[:, 1] = MAP / SHOWN * (rows[:, 1] - 75) + MAP / 2
        cx, cy = int(rows[17, 0]), int(rows[17, 1])
        if not rows[17, 2] or not (0 <= rows[17, 0] < MAP and 0 <= rows[17, 1] < MAP):
            continue
        centers.append(rows[17, :2])
        for joint, (x, y, seen) in enumerate(rows[:17]):
            if not seen or not (0 <= x < MAP and 0 <= y < MAP):
                continue
            for row in range(max(cy - 4, 0), min(cy + 4, MAP)):
                for column in range(max(cx - 4, 0), min(cx + 4, MAP)):
                    pair = slice(2 * joint, 2 * joint + 2)
                    if offsets[pair, row, column].any() and owner[row, column] < area:
                        continue
                    offsets[pair, row, column] = column - x, row - y
                    weights[pair, row, column] = 1 / np.sqrt(area)
                    owner[row, column] = area
    return offsets, weights, centers


def experiment(folder: Path, area: str) -> Experiment:
    flat = {
        "DATASET.DATASET": "coco_kpt", "DATASET.ROOT": str(folder), "DATASET.INPUT_SIZE": SIDE,
        "DATASET.OUTPUT_SIZE": MAP, "DATASET.FLIP": 0.0, "DATASET.MAX_ROTATION": 0, "DATASET.MIN_SCALE": 1.5,
        "DATASET.MAX_SCALE": 1.5, "DATASET.MAX_TRANSLATE": 0, "DATASET.OFFSET_RADIUS": 4, "MODEL.NAME": "hrnet_dekr",
        "MODEL.SPEC.STAGES.NUM_CHANNELS": [[32, 64], [32, 64, 128], [32, 64, 128, 256]],
    }  # fmt: skip
    config = convert_published(nested(flat), "w32_4x_reg03.yaml").config
    assert config["offset"]["area"] == "published"
    config["offset"]["area"] = area
    return parse_config(config, DekrConfig, "converted")


@pytest.mark.parametrize("seed", range(4))
def test_offset_weights_and_centers_are_the_published_ones(tmp_path: Path, seed: int) -> None:
    offsets, weights, centers = published_targets(write_people(tmp_path, seed))
    assert weights.any()
    found = {}
    for area in ("published", "joints"):
        task = build_task(experiment(tmp_path, area))
        assert isinstance(task, DekrTask)
        dataset = task.training_set()
        objective = task.objective(torch.device("cpu"))
        assert isinstance(objective, RegressionObjective)
        found[area], _ = objective.targets(dataset.collate([dataset[0]]))
    published = found["published"]
    assert np.allclose(published.weights[0].numpy(), weights, rtol=1e-6, atol=0)
    assert np.allclose(published.offsets[0].numpy(), offsets, atol=1e-5)
    assert not np.allclose(found["joints"].weights[0].numpy(), weights, rtol=0.01), "our default differs"
    assert any(np.allclose(center, (MAP / 2 - 100 * MAP / SHOWN, MAP / 2 - 75 * MAP / SHOWN)) for center in centers)
    drawn = published.heatmaps[0, 17].numpy()
    rows, columns = np.mgrid[:MAP, :MAP]
    for x, y in centers:
        wanted = np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * 4**2))
        assert (drawn >= np.where(wanted > 0.1, wanted - 1e-5, 0)).all()
