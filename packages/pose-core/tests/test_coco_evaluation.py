"""COCO AP equals pycocotools on random and malformed data sets."""

from __future__ import annotations

import contextlib
import io
import json
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pose_core.errors import ConfigError, DataError
from pose_core.evaluation import coco_keypoint_ap
from pose_core.evaluation.keypoint_files import read_detections, read_ground_truth
from pose_testing.golden import FOLDER

TINY = json.loads((FOLDER / "dekr" / "eval_tiny_results.json").read_text())


def random_set(seed: int, images: int = 8, joints: int = 17) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return people of every size, some unlabeled, some crowds; detections near and far, with many equal scores."""
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


def spoil(truth: dict[str, Any], detections: list[dict[str, Any]], seed: int) -> None:
    """Add irregularities of real files, a different mixture for every seed."""
    rng = np.random.default_rng(seed)
    people = truth["annotations"]
    if seed % 2 == 0 and people:  # people in the same place: equal similarities
        for twin in rng.choice(people, 3):
            people.append({**twin, "id": len(people) + 1, "iscrowd": int(rng.random() < 0.3)})
    if seed % 3 == 0:  # one image with more poses than count, all of one score
        image = truth["images"][0]["id"]
        for entry in rng.choice(detections, 30).tolist() if detections else []:
            detections.append({**entry, "image_id": image, "score": 0.5})
    for person in people:
        if rng.random() < 0.1:  # exactly on the limit between two sizes
            person["area"] = float(rng.choice([32**2, 96**2]))
        if rng.random() < 0.1:
            person["ignore"] = 1
        if rng.random() < 0.1:  # the count contradicts the labels
            person["num_keypoints"] = int(rng.choice([0, 17]))
    if seed % 4 == 1:  # results that bring boxes
        for entry in detections:
            entry["bbox"] = [0, 0, *rng.choice([10, 60, 200], 2).tolist()]
    if seed % 5 == 2:  # several kinds of animals, and results of one that nobody annotated
        truth["categories"] = [{**truth["categories"][0], "id": number} for number in (1, 4)]
        for entry in people:
            entry["category_id"] = int(rng.choice([1, 4]))
        for entry in detections:
            entry["category_id"] = int(rng.choice([1, 4, 9]))
    rng.shuffle(people)
    rng.shuffle(truth["images"])


def oracle(truth: dict[str, Any], detections: list[dict[str, Any]], sigmas: list[float] | None = None) -> np.ndarray:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):
        ground = COCO()
        ground.dataset = json.loads(json.dumps(truth))
        ground.createIndex()
        found = ground.loadRes(json.loads(json.dumps(detections)))
        evaluation = COCOeval(ground, found, "keypoints")
        if sigmas:
            evaluation.params.kpt_oks_sigmas = np.array(sigmas)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return np.asarray(evaluation.stats)


@pytest.mark.slow
def test_a_hundred_random_sets_equal_pycocotools() -> None:
    worst = 0.0
    for seed in range(100):
        truth, detections = random_set(seed)
        found = np.array(list(coco_keypoint_ap(truth, detections).values()))
        worst = max(worst, float(np.abs(found - oracle(truth, detections)).max()))
    print(f"largest difference from pycocotools on 100 random sets: {worst:.1e}")
    assert worst <= 1e-9


def test_hundred_hostile_sets_equal_pycocotools() -> None:
    worst = 0.0
    for seed in range(100):
        truth, detections = random_set(1000 + seed)
        spoil(truth, detections, seed)
        found = np.array(list(coco_keypoint_ap(truth, detections).values()))
        difference = float(np.abs(found - oracle(truth, detections)).max())
        assert difference <= 1e-9, seed
        worst = max(worst, difference)
    print(f"largest difference from pycocotools on 100 hostile sets: {worst:.1e}")


def test_fifty_random_sets_equal_faster_coco_eval() -> None:
    faster = pytest.importorskip("faster_coco_eval", reason="an oracle of the development environment only")
    worst = 0.0
    for seed in range(50):
        truth, detections = random_set(2000 + seed)
        with contextlib.redirect_stdout(io.StringIO()):
            ground = faster.COCO(json.loads(json.dumps(truth)))
            results = ground.loadRes(json.loads(json.dumps(detections)))
            evaluation = faster.COCOeval_faster(ground, results, "keypoints")
            evaluation.run()
        found = np.array(list(coco_keypoint_ap(truth, detections).values()))
        worst = max(worst, float(np.abs(found - evaluation.all_stats[:10]).max()))
    print(f"largest difference from faster-coco-eval on 50 random sets: {worst:.1e}")
    assert worst <= 1e-9


@pytest.mark.parametrize("exact", range(10, 20))
def test_a_similarity_exactly_on_a_threshold_equals_pycocotools(exact: int) -> None:
    # Of 20 joints `exact` are hit and the others missed by miles: the similarity is exactly exact / 20.
    points = np.concatenate([np.arange(40.0).reshape(20, 2) * 5, np.full((20, 1), 2)], 1)
    truth = {
        "images": [{"id": 1}],
        "categories": [{"id": 1, "keypoints": ["x"] * 20}],
        "annotations": [
            {
                "id": 1, "image_id": 1, "category_id": 1, "iscrowd": 0, "num_keypoints": 20, "area": 4000.0,
                "bbox": [0, 0, 200, 200], "keypoints": points.reshape(-1).tolist(),
            }
        ],
    }  # fmt: skip
    points[exact:, :2] += 1e7
    found = [{"image_id": 1, "category_id": 1, "keypoints": points.reshape(-1).tolist(), "score": 0.5}]
    sigmas = [0.05] * 20
    values = list(coco_keypoint_ap(truth, found, sigmas=sigmas).values())
    assert np.abs(np.array(values) - oracle(truth, found, sigmas)).max() <= 1e-9


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


def test_the_person_with_id_zero_can_be_found() -> None:
    truth, _ = random_set(5)
    for person in truth["annotations"]:
        person["id"] -= 1
    people = [a for a in truth["annotations"] if a["num_keypoints"] and not a["iscrowd"]]
    perfect = [{**{k: a[k] for k in ("image_id", "category_id", "keypoints")}, "score": 1.0} for a in people]
    assert people[0]["id"] == 0
    assert coco_keypoint_ap(truth, perfect)["AP"] == pytest.approx(1.0)
    assert oracle(truth, perfect)[0] < 0.95  # pycocotools takes 0 for nobody


def test_files_and_golden_figures(tmp_path: Path) -> None:
    folder = FOLDER / "dekr"
    found = coco_keypoint_ap(folder / "coco_tiny_gt.json", folder / "coco_tiny_dets.json")
    assert list(found.values()) == pytest.approx(list(TINY["coco"]["stats"].values()), abs=1e-9)


@pytest.mark.parametrize("seed", range(10))
def test_files_give_the_figures_of_their_content(seed: int, tmp_path: Path) -> None:
    truth, detections = random_set(2000 + seed)
    spoil(truth, detections, seed)
    file = tmp_path / "found.json"
    file.write_text(json.dumps(detections))
    expected = coco_keypoint_ap(truth, detections)
    assert coco_keypoint_ap(truth, file) == expected
    # The careful reading of entries with unusual numbers.
    unusual = [{**entry, "keypoints": np.array(entry["keypoints"])} for entry in detections]
    assert coco_keypoint_ap(truth, unusual) == expected


def test_a_large_file_of_results_is_not_held_whole(tmp_path: Path) -> None:
    truth, detections = random_set(0)
    file = tmp_path / "found.json"
    file.write_text(json.dumps(detections * (8_000 // len(detections))))
    read = read_ground_truth(truth, 17)
    tracemalloc.start()
    read_detections(file, read, max_detections=20)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # The numbers take 3 MB as columns, a block's objects 4 MB; all objects took 20 MB.
    assert peak < 14e6


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
    with pytest.raises(DataError, match="entry 0 has no 'score'"):
        coco_keypoint_ap(truth, [{"image_id": truth["images"][0]["id"], "keypoints": [0] * 51}])
    broken = tmp_path / "dets.json"
    broken.write_text('[{"image_id": 1,')
    with pytest.raises(DataError, match=r"dets\.json is not valid JSON: line 1"):
        coco_keypoint_ap(truth, broken)
    with pytest.raises(DataError, match=r"none\.json does not exist"):
        coco_keypoint_ap(tmp_path / "none.json", detections)
    with pytest.raises(DataError, match="must be a list"):
        coco_keypoint_ap(truth, {"results": detections})
    with pytest.raises(DataError, match="must be a COCO mapping"):
        coco_keypoint_ap(detections, detections)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"keypoints": [1, 2]}, "annotation 3 has 2 keypoint numbers, expected 51"),
        ({"bbox": [1, 2, 3]}, "annotation 3 has 3 bbox numbers, expected 4"),
        ({"bbox": None}, "annotation 3 has no 'bbox'"),
        ({"area": "wide"}, "annotation 3 has 'wide' as 'area', which is not a number"),
        ({"image_id": None}, "annotation 3 has no 'image_id'"),
    ],
)
def test_faults_of_annotations_name_them(change: dict[str, Any], message: str) -> None:
    truth, detections = random_set(2)
    person = truth["annotations"][2]
    person.update(change)
    truth["annotations"][2] = {key: value for key, value in person.items() if value is not None}
    with pytest.raises(DataError, match=message):
        coco_keypoint_ap(truth, detections)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"score": float("nan")}, "entry 1 has a 'score' that is not a finite number"),
        ({"score": float("inf")}, "entry 1 has a 'score' that is not a finite number"),
        ({"keypoints": [float("nan")] * 51}, "entry 1 has a 'keypoints' that is not a finite number"),
        ({"keypoints": [float("inf")] * 51}, "entry 1 has a 'keypoints' that is not a finite number"),
        ({"keypoints": None}, "entry 1 has no keypoint numbers"),
        ({"image_id": "left.jpg"}, "entry 1 has 'left.jpg' as 'image_id'"),
    ],
)
def test_faults_of_detections_name_the_entry(entry: dict[str, Any], message: str) -> None:
    truth, detections = random_set(2)
    detections[1] = {**detections[1], **entry}
    with pytest.raises(DataError, match=message):
        coco_keypoint_ap(truth, detections)


def test_two_annotations_of_one_id_are_refused(tmp_path: Path) -> None:
    truth, detections = random_set(2)
    truth["annotations"][3]["id"] = truth["annotations"][5]["id"] = truth["annotations"][1]["id"]
    with pytest.raises(DataError, match="the given ground truth: 3 annotations have the id 2; give each its own"):
        coco_keypoint_ap(truth, detections)
    file = tmp_path / "truth.json"
    file.write_text(json.dumps(truth))
    with pytest.raises(DataError, match=r"truth\.json: annotation 2: 3 annotations have this id"):
        coco_keypoint_ap(file, detections)


def test_wrong_choices_are_refused() -> None:
    truth, detections = random_set(2)
    with pytest.raises(ConfigError, match="iou_areas='box' is not one of segm, bbox"):
        coco_keypoint_ap(truth, detections, iou_areas="box")
    with pytest.raises(DataError, match=r"\[5\] are not among"):
        coco_keypoint_ap(truth, detections, image_ids=[5])
    with pytest.raises(DataError, match="no entry has a keypoint category"):
        coco_keypoint_ap(truth, [{**entry, "category_id": 7} for entry in detections])


def test_the_joint_score_of_a_detection_has_no_say() -> None:
    truth, detections = random_set(4)
    blank = [{**d, "keypoints": np.where(np.arange(51) % 3 == 2, np.nan, d["keypoints"]).tolist()} for d in detections]
    assert coco_keypoint_ap(truth, blank) == coco_keypoint_ap(truth, detections)


def test_areas_of_boxes_need_no_annotated_ones() -> None:
    truth, detections = random_set(6)
    boxes = json.loads(json.dumps(truth))
    for person in boxes["annotations"]:
        del person["area"]
    for person in truth["annotations"]:
        person["area"] = person["bbox"][2] * person["bbox"][3]
    assert coco_keypoint_ap(boxes, detections, iou_areas="bbox") == coco_keypoint_ap(truth, detections)
