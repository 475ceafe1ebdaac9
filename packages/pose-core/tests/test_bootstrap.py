"""Differences of scores with their uncertainty: equal runs, a better one, and AP recomputed from matches."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

from pose_core.evaluation.bootstrap import ap_difference, match_images, ratio_difference, resampled_ap
from pose_core.evaluation.coco import coco_keypoint_ap
from pose_core.evaluation.keypoint_files import Detections, GroundTruth, read_detections, read_ground_truth
from pose_core.skeleton import SKELETONS

SIGMAS = np.array(SKELETONS["coco17"].sigmas)


def people(images: int, seed: int = 0) -> dict[str, Any]:
    """Return a COCO mapping with up to four people an image, some of them crowds or without joints."""
    random = np.random.default_rng(seed)
    annotations = []
    for image in range(1, images + 1):
        for _ in range(random.integers(0, 5)):
            joints = np.concatenate([random.uniform(0, 300, (17, 2)), random.integers(0, 3, (17, 1))], 1)
            crowd = int(random.random() < 0.1)
            annotations.append(
                {
                    "id": len(annotations) + 1, "image_id": image, "category_id": 1, "iscrowd": crowd, "area": 9000.0,
                    "bbox": [0, 0, 300, 300], "keypoints": joints.ravel().tolist(),
                }
            )  # fmt: skip
    categories = [{"id": 1, "name": "person", "keypoints": list(SKELETONS["coco17"].joints)}]
    return {"images": [{"id": k} for k in range(1, images + 1)], "annotations": annotations, "categories": categories}


def guesses(truth: dict[str, Any], noise: float, seed: int = 1) -> list[dict[str, Any]]:
    """Return a detection beside each annotation, off by about ``noise`` pixels, and a few of nobody."""
    random = np.random.default_rng(seed)
    entries = []
    for person in truth["annotations"]:
        joints = np.array(person["keypoints"]).reshape(17, 3)
        joints[:, :2] += random.normal(0, noise * random.uniform(0, 2), (17, 2))
        if random.random() < 0.1:
            joints[:, :2] += 400
        score = round(float(random.random()), 1)  # ties
        entry = {"image_id": person["image_id"], "category_id": 1, "keypoints": joints.ravel().tolist(), "score": score}
        entries.append(entry)
    return entries


def read(truth: dict[str, Any], *runs: list[dict[str, Any]]) -> tuple[GroundTruth, list[Detections]]:
    known = read_ground_truth(truth, 17)
    return known, [read_detections(run, known, max_detections=20) for run in runs]


@pytest.mark.parametrize("seed", range(4))
def test_drawing_every_image_once_gives_the_evaluators_ap(seed: int) -> None:
    truth = people(30, seed)
    run = guesses(truth, 8)
    known, (found,) = read(truth, run)
    matches = match_images(known, found, SIGMAS)
    assert (~matches[0].true & ~matches[0].false).any(), "no detection of an ignored person"
    again = resampled_ap(matches, np.ones((1, 30), int))
    assert again[0] == pytest.approx(coco_keypoint_ap(truth, run)["AP"], abs=1e-9)


def test_drawing_an_image_twice_is_having_it_twice() -> None:
    truth = people(12)
    run = [{**entry, "score": 1 / number} for number, entry in enumerate(guesses(truth, 8), 1)]
    known, (found,) = read(truth, run)
    drawn = np.array([2, 0, 1, 1, 3, 0, 1, 1, 1, 1, 1, 0])
    many: dict[str, Any] = {**truth, "images": [], "annotations": []}
    entries = []
    for image, times in enumerate(drawn.tolist(), 1):
        for copy_of in range(times):
            identity = image * 100 + copy_of
            many["images"].append({"id": identity})
            for person in copy.deepcopy([a for a in truth["annotations"] if a["image_id"] == image]):
                many["annotations"].append({**person, "image_id": identity, "id": len(many["annotations"]) + 1})
            entries += [{**entry, "image_id": identity} for entry in run if entry["image_id"] == image]
    again = resampled_ap(match_images(known, found, SIGMAS), drawn[None])
    assert again[0] == pytest.approx(coco_keypoint_ap(many, entries)["AP"], abs=1e-9)


def test_equal_runs_differ_by_nothing() -> None:
    truth = people(20)
    run = guesses(truth, 8)
    known, (first, second) = read(truth, run, copy.deepcopy(run))
    found = ap_difference(known, first, second, SIGMAS, resamples=100)
    assert (found.value, found.error, found.low, found.high) == (0, 0, 0, 0)
    assert not found.is_clear


def test_the_better_run_wins_and_a_seed_gives_the_same_figures() -> None:
    truth = people(60)
    better, worse = guesses(truth, 4), guesses(truth, 12)
    known, (first, second) = read(truth, better, worse)
    found = ap_difference(known, first, second, SIGMAS, resamples=200)
    expected = coco_keypoint_ap(truth, better)["AP"] - coco_keypoint_ap(truth, worse)["AP"]
    assert found.value == pytest.approx(expected, abs=1e-9)
    assert found.low > 0
    assert found.low < found.value < found.high
    assert found.is_clear
    assert ap_difference(known, first, second, SIGMAS, resamples=200) == found
    back = ap_difference(known, second, first, SIGMAS, resamples=200)
    assert (back.low, back.high) == pytest.approx((-found.high, -found.low))


def test_resamples_without_people_are_left_out() -> None:
    truth = people(3)
    truth["annotations"] = [a for a in truth["annotations"] if a["image_id"] == 3 and not a["iscrowd"]][:1]
    assert truth["annotations"]
    run = guesses(truth, 1)
    known, (first, second) = read(truth, run, [])
    found = ap_difference(known, first, second, SIGMAS, resamples=200)
    assert 100 < found.resamples < 200  # (2/3)³ of them have none


def test_the_error_of_a_ratio_is_that_of_statistics() -> None:
    random = np.random.default_rng(7)  # not the seed of the resamples
    total = np.full(500, 10.0)
    first, second = random.binomial(10, 0.8, 500).astype(float), random.binomial(10, 0.7, 500).astype(float)
    found = ratio_difference(first, second, total)
    assert found.value == pytest.approx(100 * (first - second).sum() / 5000)
    assert found.error == pytest.approx(10 * (first - second).std() / np.sqrt(500), rel=0.1)
    assert found.high - found.low == pytest.approx(2 * 1.96 * found.error, rel=0.1)
