"""CrowdPose AP, with the easy, medium and hard images by their crowd index."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from pose_core.errors import DataError
from pose_core.evaluation.coco import AREAS, MAX_DETECTIONS, evaluate, mean_or_minus_one
from pose_core.evaluation.keypoint_files import Detections, GroundTruth, Source, read_detections, read_ground_truth
from pose_core.skeleton import SKELETONS

AREA_OF_BOX = 0.53
"""CrowdPose annotates no areas; a person covers about this share of the box."""
LEVELS = {"APE": (-np.inf, 0.2), "APM": (0.2, 0.8), "APH": (0.8, np.inf)}
"""Crowd index from (included) and to (excluded), as the evaluator's code has it; the paper says 0.1 for the first."""


def crowdpose_ap(ground_truth: Source, detections: Source) -> dict[str, float]:
    """AP AP50 AP75 AR AR50 AR75, and APE APM APH on images of low, middle and high crowd index.

    A level's AP is rounded to four places, and −1 where it has no image, as published.
    """
    sigmas = np.array(SKELETONS["crowdpose14"].sigmas)
    truth = read_ground_truth(ground_truth, len(sigmas))
    if np.isnan(truth.crowd_index).any():
        image = truth.image_ids[np.isnan(truth.crowd_index)][0]
        raise DataError(
            f"ground truth: image {image} has no 'crowdIndex', by which CrowdPose splits easy, medium, hard"
        )
    found = read_detections(detections, truth.image_ids, len(sigmas), most=MAX_DETECTIONS)
    area = AREA_OF_BOX * truth.box[:, 2] * truth.box[:, 3]
    whole = [AREAS["all"]]
    precision, recall = evaluate(truth, found, area, sigmas, whole)
    result = {}
    for name, table in (("AP", precision[0]), ("AR", recall[0])):
        result[name] = mean_or_minus_one(table)
        result[f"{name}50"], result[f"{name}75"] = mean_or_minus_one(table[:1]), mean_or_minus_one(table[5:6])
    for name, (low, high) in LEVELS.items():
        chosen = (truth.crowd_index >= low) & (truth.crowd_index < high)
        part, part_area, part_found = _only(truth, area, found, chosen)
        table, _ = evaluate(part, part_found, part_area, sigmas, whole)
        result[name] = round(float(table[0].mean()), 4)
    return result


def _only(
    truth: GroundTruth, area: np.ndarray, found: Detections, chosen: np.ndarray
) -> tuple[GroundTruth, np.ndarray, Detections]:
    """People and detections of some images."""
    people, poses = chosen[truth.image], chosen[found.image]
    part = replace(
        truth,
        image=truth.image[people],
        joints=truth.joints[people],
        box=truth.box[people],
        area=truth.area[people],
        crowd=truth.crowd[people],
        ignore=truth.ignore[people],
    )
    return (
        part,
        area[people],
        Detections(found.image[poses], found.joints[poses], found.score[poses], found.area[poses]),
    )
