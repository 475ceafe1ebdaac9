"""CrowdPose AP, with separate figures for images of low, medium and high crowd index."""

from __future__ import annotations

import numpy as np

from pose_core.errors import DataError
from pose_core.evaluation.coco import AREAS, MAX_DETECTIONS, evaluate, mean_or_minus_one, restrict
from pose_core.evaluation.keypoint_files import AREA_OF_BOX, GroundTruth, Source, read_detections, read_ground_truth
from pose_core.skeleton import SKELETONS

LEVELS = {"APE": (-np.inf, 0.2), "APM": (0.2, 0.8), "APH": (0.8, np.inf)}
"""Ranges [low, high) of the crowd index as in the evaluator's code; the paper gives 0.1 as the first bound."""


def check_crowd_index(truth: GroundTruth) -> None:
    """Raise a DataError if an image of the ground truth has no crowd index; call it before predicting."""
    lacking = truth.image_ids[np.isnan(truth.crowd_index)]
    if len(lacking):
        raise DataError(
            f"{truth.name}: image {lacking[0]} has no 'crowdIndex', which divides CrowdPose's images into easy, "
            "medium and hard ones; evaluate on the official files, or with data.layout=coco for COCO's figures"
        )


def crowdpose_ap(ground_truth: Source | GroundTruth, detections: Source) -> dict[str, float]:
    """Return AP AP50 AP75 AR AR50 AR75, and APE APM APH on images of low, medium and high crowd index.

    As published, the AP of a level is rounded to four places, and −1 if the level has no images.
    """
    skeleton = SKELETONS["crowdpose14"]
    sigmas = np.array(skeleton.sigmas)
    if isinstance(ground_truth, GroundTruth):
        truth = ground_truth
    else:
        truth = read_ground_truth(ground_truth, len(sigmas), area_of_box=AREA_OF_BOX, skeleton=skeleton)
    check_crowd_index(truth)
    found = read_detections(detections, truth, max_detections=MAX_DETECTIONS)
    whole = [AREAS["all"]]
    precision, recall = evaluate(truth, found, sigmas, whole)
    result = {}
    for name, table in (("AP", precision[0]), ("AR", recall[0])):
        result[name] = mean_or_minus_one(table)
        result[f"{name}50"], result[f"{name}75"] = mean_or_minus_one(table[:, :1]), mean_or_minus_one(table[:, 5:6])
    for name, (low, high) in LEVELS.items():
        chosen = (truth.crowd_index >= low) & (truth.crowd_index < high)
        table, _ = evaluate(*restrict(truth, found, chosen), sigmas, whole)
        result[name] = round(float(table[0].mean()), 4)
    return result
