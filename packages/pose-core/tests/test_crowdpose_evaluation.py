"""CrowdPose AP equals the golden figures and faster-coco-eval's, including APE, APM and APH by crowd index."""

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
from pose_core.evaluation.keypoint_files import AREA_OF_BOX, read_ground_truth
from pose_core.skeleton import SKELETONS
from pose_testing.golden import FOLDER

KEYS = ("AP", "AP50", "AP75", "AR", "AR50", "AR75", "APE", "APM", "APH")


def random_set(seed: int, images: int = 8) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return crowded images without annotated areas, and results with boxes."""
    rng = np.random.default_rng(seed)
    annotations: list[dict[str, Any]] = []
    detections: list[dict[str, Any]] = []
    for image in range(1, images + 1):
        for _ in range(rng.integers(0, 6)):
            side, corner = rng.uniform(20, 250, 2), rng.uniform(0, 300, 2)
            labels = rng.integers(0, 3, (14, 1)) * (rng.random() > 0.1)
            table = np.concatenate([corner + rng.random((14, 2)) * side, labels], 1) * (labels > 0)
            annotations.append(
                {
                    "id": len(annotations) + 1, "image_id": image, "category_id": 1, "iscrowd": 0,
                    "bbox": [*corner.tolist(), *side.tolist()], "keypoints": table.reshape(-1).tolist(),
                    "num_keypoints": int((labels > 0).sum()),
                }
            )  # fmt: skip
            for _ in range(rng.integers(0, 5)):
                points = table[:, :2] + rng.normal(0, 0.08 * side.mean(), (14, 2))
                detections.append(
                    {
                        "image_id": image, "category_id": 1, "score": float(rng.choice([rng.random(), 0.5])),
                        "keypoints": np.concatenate([points, np.ones((14, 1))], 1).reshape(-1).tolist(),
                        "bbox": [*points.min(0).tolist(), *np.ptp(points, 0).tolist()],
                    }
                )  # fmt: skip
    records = [
        {"id": number, "crowdIndex": float(rng.choice([0.0, 0.1, 0.2, 0.5, 0.8, 0.95]))}
        for number in range(1, images + 1)
    ]
    category = {"id": 1, "name": "person", "keypoints": list(SKELETONS["crowdpose14"].joints)}
    return {"images": records, "annotations": annotations, "categories": [category]}, detections


def test_the_golden_figures() -> None:
    golden = json.loads((FOLDER / "dekr" / "eval_tiny_results.json").read_text())["crowdpose"]["stats"]
    found = crowdpose_ap(FOLDER / "dekr" / "crowdpose_tiny_gt.json", FOLDER / "dekr" / "crowdpose_tiny_dets.json")
    names = {"APE": "AP (easy)", "APM": "AP (medium)", "APH": "AP (hard)", "AP50": "AP .5", "AP75": "AP .75",
             "AR50": "AR .5", "AR75": "AR .75"}  # fmt: skip
    assert tuple(found) == KEYS
    for key, value in found.items():
        assert value == pytest.approx(golden[names.get(key, key)], abs=1e-9), key


@pytest.mark.slow
def test_a_hundred_random_sets_equal_faster_coco_eval(tmp_path: Path) -> None:
    faster = pytest.importorskip("faster_coco_eval", reason="an oracle of the development environment only")
    worst = 0.0
    for seed in range(100):
        truth, detections = random_set(seed)
        # The oracle reads the crowd indices from the file, and the areas' range test from a key CrowdPose has not.
        for person in truth["annotations"]:
            person["area"] = 0.53 * person["bbox"][2] * person["bbox"][3]
        file = tmp_path / f"{seed}.json"
        file.write_text(json.dumps(truth))
        with contextlib.redirect_stdout(io.StringIO()):
            ground = faster.COCO(str(file))
            results = ground.loadRes(json.loads(json.dumps(detections)))
            evaluation = faster.COCOeval_faster(
                ground, results, "keypoints_crowd", use_area=False,
                kpt_oks_sigmas=list(SKELETONS["crowdpose14"].sigmas),
            )  # fmt: skip
            evaluation.run()
        expected = np.array([evaluation.stats_as_dict[name] for name in (
            "AP_all", "AP_50", "AP_75", "AR_all", "AR_50", "AR_75", "AP_easy", "AP_medium", "AP_hard",
        )])  # fmt: skip
        found = np.array([crowdpose_ap(truth, detections)[key] for key in KEYS])
        worst = max(worst, float(np.abs(found - expected).max()))
    print(f"largest difference from faster-coco-eval on 200 random CrowdPose sets: {worst:.1e}")
    assert worst <= 1e-9


def test_annotated_areas_have_no_say() -> None:
    truth, detections = random_set(3)
    plain = crowdpose_ap(truth, detections)
    for person in truth["annotations"]:
        person["area"] = 7.0
    assert crowdpose_ap(truth, detections) == plain


def test_a_level_without_images_is_minus_one() -> None:
    truth, detections = random_set(4)
    for record in truth["images"]:
        record["crowdIndex"] = 0.19
    found = crowdpose_ap(truth, detections)
    assert found["APE"] == pytest.approx(found["AP"], abs=5e-5)  # rounded to four places, as published
    assert (found["APM"], found["APH"]) == (-1, -1)


def test_ground_truth_that_was_read_is_scored_as_its_file_without_some_images() -> None:
    truth, detections = random_set(5)
    read = read_ground_truth(truth, 14, area_of_box=AREA_OF_BOX)
    assert crowdpose_ap(read, detections) == crowdpose_ap(truth, detections)
    gone = {1, 4, 8}
    fewer = {
        **truth,
        "images": [image for image in truth["images"] if image["id"] not in gone],
        "annotations": [person for person in truth["annotations"] if person["image_id"] not in gone],
    }
    left = [entry for entry in detections if entry["image_id"] not in gone]
    assert crowdpose_ap(read.without(gone), left) == crowdpose_ap(fewer, left)
    sigmas = SKELETONS["crowdpose14"].sigmas
    areas = read_ground_truth(fewer, 14)
    assert coco_keypoint_ap(read.without(gone), left, sigmas) == coco_keypoint_ap(areas, left, sigmas)
    assert coco_keypoint_ap(areas, left, sigmas) == coco_keypoint_ap(fewer, left, sigmas)
    with pytest.raises(DataError, match="not in the ground truth"):
        crowdpose_ap(read.without(gone), detections)


def test_crowd_indices_are_needed() -> None:
    truth, detections = random_set(1)
    del truth["images"][2]["crowdIndex"]
    with pytest.raises(DataError, match="image 3 has no 'crowdIndex'"):
        crowdpose_ap(truth, detections)
