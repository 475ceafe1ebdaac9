"""COCO AP equals pycocotools on random and hostile data sets."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pose_core.errors import DataError
from pose_core.evaluation import coco_keypoint_ap, crowdpose_ap
from pose_testing.golden import FOLDER

TINY = json.loads((FOLDER / "dekr" / "eval_tiny_results.json").read_text())


def random_set(seed: int, images: int = 8, joints: int = 17) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """People of every size, some unlabelled, some crowds; detections near and far, with many equal scores."""
    rng = np.random.default_rng(seed)
    ids = rng.choice(10**6, images, replace=False) + 1
    annotations: list[dict[str, Any]] = []
    detections: list[dict[str, Any]] = []

    def detect(image: int, points: np.ndarray, score: float) -> None:
        triples = np.concatenate([points, np.ones((joints, 1))], 1)
        detections.append(
            {"image_id": image, "category_id": 1, "keypoints": triples.reshape(-1).tolist(), "score": float(score)}
        )

    for image in ids.tolist():
        for _ in range(rng.integers(0, 7)):
            center, side = rng.uniform(100, 400, 2), float(rng.choice([12, 40, 120, 250]))
            points = center + rng.uniform(-0.5, 0.5, (joints, 2)) * side
            labels = rng.integers(0, 3, (joints, 1)) * (rng.random() > 0.15)
            table = np.where(labels > 0, np.concatenate([points, labels], 1), 0)
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image,
                    "category_id": 1,
                    "iscrowd": int(rng.random() < 0.1),
                    "keypoints": table.reshape(-1).tolist(),
                    "num_keypoints": int((labels > 0).sum()),
                    "bbox": [*(center - side / 2).tolist(), side, side],
                    "area": side * side * float(rng.uniform(0.4, 1)),
                }
            )
            for _ in range(rng.integers(0, 8)):
                off = rng.normal(0, rng.choice([0, 0.5, 0.02 * side, 0.1 * side]), (joints, 2))
                detect(image, points + off, rng.choice([rng.random(), 0.5, 0.9]))
        for _ in range(rng.integers(0, 3)):
            detect(image, rng.uniform(0, 480, (joints, 2)), rng.random())
    truth = {
        "images": [
            {"id": image, "width": 640, "height": 480, "crowdIndex": float(rng.random())} for image in ids.tolist()
        ],
        "annotations": annotations,
        "categories": [{"id": 1, "name": "person", "keypoints": ["x"] * joints}],
    }
    return truth, detections


def oracle(truth: dict[str, Any], detections: list[dict[str, Any]]) -> np.ndarray:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):
        ground = COCO()
        ground.dataset = json.loads(json.dumps(truth))
        ground.createIndex()
        found = ground.loadRes(json.loads(json.dumps(detections)))
        evaluation = COCOeval(ground, found, "keypoints")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return np.asarray(evaluation.stats)


def test_two_hundred_random_sets_equal_pycocotools() -> None:
    worst = 0.0
    for seed in range(200):
        truth, detections = random_set(seed)
        found = np.array(list(coco_keypoint_ap(truth, detections).values()))
        worst = max(worst, float(np.abs(found - oracle(truth, detections)).max()))
    print(f"largest difference from pycocotools on 200 random sets: {worst:.1e}")
    assert worst <= 1e-9


def test_shards_in_another_order_give_the_same_number() -> None:
    truth, detections = random_set(7)
    for number, entry in enumerate(detections):
        entry["score"] = number / len(detections)  # equal scores keep the order of the file, as pycocotools does
    shuffled = [detections[i] for i in np.random.default_rng(0).permutation(len(detections))]
    assert coco_keypoint_ap(truth, detections) == coco_keypoint_ap(truth, shuffled)


def test_a_set_without_people_of_a_size_gives_minus_one() -> None:
    truth, detections = random_set(3)
    truth["annotations"] = [a for a in truth["annotations"] if a["area"] > 96**2]
    result = coco_keypoint_ap(truth, detections)
    assert result["APM"] == -1
    truth["annotations"] = []
    assert set(coco_keypoint_ap(truth, detections).values()) == {-1.0}


def test_nothing_detected_scores_zero() -> None:
    truth, _ = random_set(3)
    result = coco_keypoint_ap(truth, [])
    assert result["AP"] == 0
    assert result["AR"] == 0


def test_perfect_detections_score_one() -> None:
    truth, _ = random_set(5)
    people = [a for a in truth["annotations"] if a["num_keypoints"] and not a["iscrowd"]]
    perfect = [{**{k: a[k] for k in ("image_id", "category_id", "keypoints")}, "score": 1.0} for a in people]
    assert coco_keypoint_ap(truth, perfect)["AP"] == pytest.approx(1.0)


def test_files_and_golden_figures(tmp_path: Path) -> None:
    folder = FOLDER / "dekr"
    found = coco_keypoint_ap(folder / "coco_tiny_gt.json", folder / "coco_tiny_dets.json")
    assert list(found.values()) == pytest.approx(list(TINY["coco"]["stats"].values()), abs=1e-9)


def test_other_images_and_custom_sigmas() -> None:
    truth, detections = random_set(11, joints=5)
    one = coco_keypoint_ap(truth, detections, sigmas=[0.05] * 5)
    wide = coco_keypoint_ap(truth, detections, sigmas=[0.5] * 5)
    assert wide["AP"] > one["AP"]
    ids = [image["id"] for image in truth["images"][:3]]
    part = coco_keypoint_ap(truth, detections, sigmas=[0.05] * 5, image_ids=ids)
    alone = {
        **truth,
        "images": truth["images"][:3],
        "annotations": [a for a in truth["annotations"] if a["image_id"] in ids],
    }
    assert part == coco_keypoint_ap(alone, [d for d in detections if d["image_id"] in ids], sigmas=[0.05] * 5)


def test_faults_name_the_file_and_the_entry(tmp_path: Path) -> None:
    truth, detections = random_set(2)
    with pytest.raises(DataError, match=r"not in the ground truth.*999999999"):
        coco_keypoint_ap(truth, [*detections, {**detections[0], "image_id": 999999999}])
    with pytest.raises(DataError, match="entry 0 has 3 keypoint numbers, expected 51"):
        coco_keypoint_ap(truth, [{**detections[0], "keypoints": [1, 2, 3]}])
    with pytest.raises(DataError, match="one lacks 'score'"):
        coco_keypoint_ap(truth, [{"image_id": truth["images"][0]["id"], "keypoints": [0] * 51}])
    broken = tmp_path / "dets.json"
    broken.write_text('[{"image_id": 1,')
    with pytest.raises(DataError, match=r"dets\.json is not valid JSON"):
        coco_keypoint_ap(truth, broken)
    truth["annotations"][0]["keypoints"] = [1, 2]
    with pytest.raises(DataError, match="annotation 1 has 2 keypoint numbers"):
        coco_keypoint_ap(truth, detections)


def test_crowdpose_equals_the_golden_figures() -> None:
    folder = FOLDER / "dekr"
    found = crowdpose_ap(folder / "crowdpose_tiny_gt.json", folder / "crowdpose_tiny_dets.json")
    names = {"APE": "AP (easy)", "APM": "AP (medium)", "APH": "AP (hard)", "AP50": "AP .5", "AP75": "AP .75",
             "AR50": "AR .5", "AR75": "AR .75"}  # fmt: skip
    for key, value in found.items():
        assert value == pytest.approx(TINY["crowdpose"]["stats"][names.get(key, key)], abs=1e-9), key


def test_crowdpose_needs_crowd_indices() -> None:
    truth, detections = random_set(1, joints=14)
    del truth["images"][0]["crowdIndex"]
    with pytest.raises(DataError, match="crowdIndex"):
        crowdpose_ap(truth, detections)
