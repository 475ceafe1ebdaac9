"""The error analysis: every constructed error is recovered, classes partition the joints, costs fit the AP."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from pose_core.evaluation import analyze, coco_keypoint_ap, crowdpose_ap
from pose_core.evaluation.analysis import CLASSES
from pose_core.evaluation.coco import oks_of_pairs, pair_up
from pose_core.evaluation.keypoint_errors import corrected, keypoint_errors, oks_after
from pose_core.evaluation.keypoint_files import read_detections, read_ground_truth
from pose_core.skeleton import SKELETONS

COCO = SKELETONS["coco17"]
SIGMAS = np.array(COCO.sigmas)
AREA = 120.0 * 260
KINDS = ("good", "jitter", "inversion", "swap", "miss", "duplicate", "spurious", "missed")


def standing(x: float, y: float) -> np.ndarray:
    """Return the joints ``(17, 2)`` of a person 120 pixels wide and 260 high, at a corner."""
    places = {
        "nose": (60, 20), "eye": (52, 14), "ear": (44, 20), "shoulder": (30, 60), "elbow": (14, 100), "wrist": (6, 140),
        "hip": (38, 140), "knee": (32, 200), "ankle": (28, 256),
    }  # fmt: skip
    points = []
    for name in COCO.joints:
        px, py = places[name.split("_")[-1]]
        points.append((120 - px if name.startswith("right") else px, py))
    return np.add(np.array(points, float), (x, y))


def moved(point: np.ndarray, joint: int, similarity: float) -> np.ndarray:
    """Return a place at which a joint has a similarity to ``point``."""
    distance = 2 * SIGMAS[joint] * np.sqrt(-2 * np.log(similarity) * AREA)
    return point + distance * np.array([0.6, -0.8])


def constructed(count: int = 200, seed: int = 0) -> tuple[dict[str, Any], list[dict[str, Any]], list[tuple[str, int]]]:
    """Return annotations, ``count`` detections with one error each, and the error and the joint of each image.

    Every image has two people: the detection of the first has the error, that of the second none.
    """
    rng = np.random.default_rng(seed)
    images, annotations, results, truth = [], [], [], []
    for number in range(count):
        kind = KINDS[number % len(KINDS)]
        joint = int(rng.integers(1, 17))
        people = [standing(100, 100), standing(320 + rng.integers(0, 40), 110)]
        found = [points.copy() for points in people]
        if kind == "jitter":
            found[0][joint] = moved(people[0][joint], joint, 0.6)
        elif kind == "inversion":
            found[0][joint] = people[0][COCO.flip_order[joint]]
        elif kind == "swap":
            found[0][joint] = people[1][joint]
        elif kind == "miss":
            found[0][joint] = people[0][joint] + (0, -1000)
        elif kind == "duplicate":
            found.append(people[0] + 0.5)
        elif kind == "spurious":
            found.append(standing(2000, 900))
        elif kind == "missed":
            del found[0]
        images.append({"id": number + 1, "width": 3000, "height": 1500})
        for points in people:
            labels = np.concatenate([points, np.full((17, 1), 2)], 1)
            annotations.append(
                {
                    "id": len(annotations) + 1, "image_id": number + 1, "category_id": 1, "iscrowd": 0, "area": AREA,
                    "bbox": [*points.min(0), *np.ptp(points, 0)], "keypoints": labels.ravel().tolist(),
                    "num_keypoints": 17,
                }
            )  # fmt: skip
        for place, points in enumerate(found):
            triples = np.concatenate([points, np.ones((17, 1))], 1)
            results.append(
                {
                    "image_id": number + 1,
                    "category_id": 1,
                    "keypoints": triples.ravel().tolist(),
                    "score": 0.9 - place / 10,
                }
            )
        truth.append((kind, joint))
    category = {"id": 1, "name": "person", "keypoints": list(COCO.joints)}
    return {"images": images, "annotations": annotations, "categories": [category]}, results, truth


def confusion(count: int = 200) -> dict[tuple[str, str], int]:
    """Return how often each constructed error was reported as each kind."""
    ground_truth, results, injected = constructed(count)
    found = analyze(ground_truth, results)
    table: dict[tuple[str, str], int] = {}
    for image, (kind, _) in zip(found.images, injected, strict=True):
        reported = [name for name in CLASSES[1:] for _ in range(image.counts[name])]
        reported += ["missed"] * image.missed + ["duplicate"] * image.duplicates + ["spurious"] * image.spurious
        for name in reported or ["good"]:
            table[kind, name] = table.get((kind, name), 0) + 1
    return table


def test_every_constructed_error_is_recovered() -> None:
    table = confusion(200)
    assert table == {(kind, kind): 25 for kind in KINDS}
    ground_truth, results, _ = constructed(200)
    counts = {cost.name: cost.count for cost in analyze(ground_truth, results).costs}
    expected = dict.fromkeys(("miss", "swap", "inversion", "jitter", "duplicate", "spurious", "missed"), 25)
    assert counts == {**expected, "score": 0}


def test_the_joint_of_an_error_is_the_one_that_has_it() -> None:
    ground_truth, results, injected = constructed(80)
    by_joint = {joint.name: joint for joint in analyze(ground_truth, results).joints}
    for number, name in enumerate(COCO.joints):
        for kind in CLASSES[1:]:
            assert by_joint[name].counts[kind] == sum((kind, number) == each for each in injected), (name, kind)


def test_a_nose_has_no_other_side() -> None:
    ground_truth, results, _ = constructed(1)
    results[0]["keypoints"][:2] = results[1]["keypoints"][:2]  # on the other person's nose
    (swap,) = [cost for cost in analyze(ground_truth, results).costs if cost.name == "swap"]
    assert swap.count == 1


@pytest.fixture(scope="module")
def noisy() -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return people who overlap, hide joints and differ in size, and detections with errors of every kind."""
    rng = np.random.default_rng(5)
    images, annotations, results = [], [], []
    for image in range(1, 121):
        images.append({"id": image, "width": 900, "height": 700, "crowdIndex": float(rng.random())})
        people = []
        for _ in range(rng.integers(0, 5)):
            size = rng.uniform(0.2, 2)
            points = standing(0, 0) * size + rng.uniform(0, 300, 2)
            labels = rng.choice([0, 1, 2], 17, p=[0.2, 0.2, 0.6])
            crowd = int(rng.random() < 0.05)
            table = np.concatenate([points * (labels > 0)[:, None], labels[:, None]], 1)
            people.append(points)
            annotations.append(
                {
                    "id": len(annotations) + 1, "image_id": image, "category_id": 1, "iscrowd": crowd,
                    "area": AREA * size**2, "bbox": [*points.min(0), *np.ptp(points, 0)],
                    "keypoints": table.ravel().tolist(), "num_keypoints": int((labels > 0).sum()),
                }
            )  # fmt: skip
        for points in people * 2:
            if rng.random() < 0.6:
                noise = rng.normal(0, 1, (17, 2)) * rng.choice([2, 8, 40], (17, 1))
                places = points[COCO.flip_order] if rng.random() < 0.2 else points
                triples = np.concatenate([places + noise, np.ones((17, 1))], 1)
                results.append(
                    {
                        "image_id": image, "category_id": 1, "keypoints": triples.ravel().tolist(),
                        "score": round(float(rng.random()), 1),
                    }
                )  # fmt: skip
    category = {"id": 1, "name": "person", "keypoints": list(COCO.joints)}
    return {"images": images, "annotations": annotations, "categories": [category]}, results


def test_figures_agree_with_the_evaluation(noisy: tuple[dict[str, Any], list[dict[str, Any]]]) -> None:
    metrics = coco_keypoint_ap(*noisy)
    found = analyze(*noisy)
    assert found.score == pytest.approx(metrics["AP"], abs=1e-12)
    assert [group.score for group in found.groups["size"]] == pytest.approx([metrics["APM"], metrics["APL"]], abs=1e-12)
    assert [group.recall for group in found.groups["size"]] == pytest.approx(
        [metrics["ARM"], metrics["ARL"]], abs=1e-12
    )
    assert np.mean(found.curves[0].y) == pytest.approx(metrics["AP50"], abs=1e-12)


def test_classes_partition_the_labeled_joints_of_matched_people(
    noisy: tuple[dict[str, Any], list[dict[str, Any]]],
) -> None:
    found = analyze(*noisy)
    labeled = sum(joint.labeled for joint in found.joints)
    assert labeled == sum(sum(joint.counts.values()) for joint in found.joints)
    assert labeled == sum(sum(image.counts.values()) for image in found.images)
    for heading in ("labeled joints", "visible of labeled joints", "labeled joints × overlap"):
        assert labeled == sum(sum((group.counts or {}).values()) for group in found.groups[heading]), heading
    people = sum(a["num_keypoints"] > 0 and not a["iscrowd"] for a in noisy[0]["annotations"])
    assert people == sum(image.people for image in found.images)
    assert people == sum(group.people for group in found.groups["people that overlap (IoU 0.1)"])
    assert all(cost.count for cost in found.costs)


def test_progressive_correction_never_loses_and_ends_at_everything(
    noisy: tuple[dict[str, Any], list[dict[str, Any]]],
) -> None:
    found = analyze(*noisy)
    by_name = {cost.name: cost for cost in found.costs}
    first = by_name["miss"]
    assert first.progressive == pytest.approx(found.score + first.gain, abs=1e-12)
    assert list(by_name) == ["miss", "swap", "inversion", "jitter", "score", "duplicate", "spurious", "missed"]
    assert by_name["missed"].progressive == pytest.approx(1)
    for name in ("score", "duplicate", "spurious", "missed"):
        assert by_name[name].gain > 0
    for cost in found.costs:
        assert np.mean(cost.by_threshold) == pytest.approx(cost.gain, abs=1e-12)


def test_correcting_nothing_changes_nothing_and_errors_end_where_they_should(
    noisy: tuple[dict[str, Any], list[dict[str, Any]]],
) -> None:
    truth = read_ground_truth(noisy[0], 17)
    found = read_detections(noisy[1], truth, max_detections=20)
    pairs = pair_up(truth, found)
    errors = keypoint_errors(truth, found, pairs, oks_of_pairs(truth, found, pairs, SIGMAS), COCO)
    fixed = corrected(truth, found, errors, COCO)
    none, everything = np.zeros((1, *errors.kind.shape), bool), errors.kind[None] > 0
    before = oks_of_pairs(truth, found, pairs, SIGMAS)
    after = oks_of_pairs(truth, replace(found, joints=fixed), pairs, SIGMAS)
    assert np.array_equal(oks_after(truth, found, fixed, pairs, SIGMAS, none)[0], before)
    assert oks_after(truth, found, fixed, pairs, SIGMAS, everything)[0] == pytest.approx(after, abs=1e-12)
    row = errors.person >= 0
    apart = ((fixed - truth.joints[np.maximum(errors.person, 0)][..., :2]) ** 2).sum(-1)
    similarity = np.exp(-apart / (2 * truth.area[np.maximum(errors.person, 0)][:, None] * (2 * SIGMAS) ** 2))
    for kind, wanted in ((1, 0.85), (4, 0.5)):
        assert similarity[errors.kind == kind] == pytest.approx(wanted, abs=1e-9)
    for kind in (2, 3):
        chosen = errors.kind == kind
        assert similarity[chosen] == pytest.approx(errors.place[chosen], abs=1e-9)
    untouched = (errors.kind <= 0) & row[:, None]
    assert np.array_equal(fixed[untouched], found.joints[untouched])


def test_levels_of_the_crowd_index_are_those_of_crowdpose() -> None:
    skeleton = SKELETONS["crowdpose14"]
    rng = np.random.default_rng(2)
    ground_truth, results, _ = constructed(60)
    for image in ground_truth["images"]:
        image["crowdIndex"] = float(rng.random())
    for entry in (*ground_truth["annotations"], *results):
        table = np.reshape(entry["keypoints"], (17, 3))[3:]
        if "id" in entry:
            entry.update(num_keypoints=14)
        else:
            table[:, :2] += rng.normal(0, 6, (14, 2))
        entry["keypoints"] = table.ravel().tolist()
    metrics = crowdpose_ap(ground_truth, results)
    found = analyze(ground_truth, results, skeleton, area_of_box=0.53)
    levels = [round(group.score, 4) for group in found.groups["crowd index of the image"]]
    assert found.score == pytest.approx(metrics["AP"], abs=1e-12)
    assert levels == [metrics[name] for name in ("APE", "APM", "APH")]


def test_a_wrong_order_of_scores_is_a_score_error() -> None:
    ground_truth, results, _ = constructed(8)
    good = results[0]
    beside = np.add(np.reshape(good["keypoints"], (17, 3)), (6, 6, 0))
    worse = {**good, "keypoints": beside.ravel().tolist(), "score": 0.99}
    found = analyze(ground_truth, [*results, worse])
    (score,) = [cost for cost in found.costs if cost.name == "score"]
    assert score.count == 1
    assert score.gain > 0


@pytest.mark.parametrize("people", [True, False])
def test_nothing_found_and_nobody_there(*, people: bool) -> None:
    ground_truth, results, _ = constructed(3)
    if not people:
        ground_truth["annotations"] = []
    found = analyze(ground_truth, [] if people else results)
    assert found.score == (0 if people else -1)
    assert len(found.images) == 3
    text = json.dumps(found.to_json(), allow_nan=False)
    assert json.loads(text)["metric"] == "AP"


def test_several_categories_do_not_mix() -> None:
    ground_truth, results, _ = constructed(8)
    ground_truth["categories"].append({"id": 2, "name": "other", "keypoints": list(COCO.joints)})
    for annotation in ground_truth["annotations"][1::2]:
        annotation["category_id"] = 2
    found = analyze(ground_truth, results)  # every detection is of the first category
    assert sum(image.missed for image in found.images) == 8 + 1  # the other category's, and the missed one
    assert len(found.images) == 8
