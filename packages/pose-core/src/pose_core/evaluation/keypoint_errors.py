"""The class of every labeled keypoint of a matched detection: good, jitter, inversion, swap or miss.

The definitions are those of Ronchi and Perona, "Benchmarking and Error Diagnosis in Multi-Instance Pose Estimation"
(ICCV 2017), with the similarity exp(−d² / (2·area·(2σ)²)) of the COCO evaluation. Of the places that a keypoint may be
confused with, the most similar one decides.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pose_core.evaluation.analysis import CLASSES
from pose_core.evaluation.coco import CHUNK, EPSILON, Pairs, joint_similarities, match
from pose_core.evaluation.keypoint_files import Detections, GroundTruth
from pose_core.skeleton import Skeleton

Array = np.ndarray

NEAR = 0.1
"""OKS from which a detection counts as one of a person, so that badly placed keypoints are seen, too."""
FOUND, GOOD = 0.5, 0.85
"""Similarity from which a keypoint is at a place, and from which it is there without jitter."""
GOOD_CLASS, JITTER, INVERSION, SWAP, MISS = range(5)
UNLABELED = -1
KINDS = {"miss": MISS, "swap": SWAP, "inversion": INVERSION, "jitter": JITTER}
"""The classes of errors in the order in which they are corrected."""


@dataclass(frozen=True)
class KeypointErrors:
    """The labeled keypoints of matched detections, and what became of them."""

    person: Array
    """``(D,)``: the row of the person whom a detection matches at OKS 0.1, −1 for none."""
    kind: Array
    """``(D, K)`` int8: a number of `CLASSES`; −1 where the joint is not labeled, or the detection not matched."""
    similarity: Array
    """``(D, K)``: similarity to the right place; 0 where ``kind`` is −1."""
    place: Array
    """``(D, K)``: similarity to the most similar place, right or wrong."""


def keypoint_errors(
    truth: GroundTruth, found: Detections, pairs: Pairs, similarity: Array, skeleton: Skeleton
) -> KeypointErrors:
    """Classify the keypoints of detections; ``similarity`` ``(P,)`` is the OKS of the pairs.

    People who are ignored, crowds and those without a labeled joint, take no part.
    """
    counts = ~truth.ignore[pairs.person]
    # Without ignored people no detection is given to one; the others' places are the same.
    person = match(
        truth, found, pairs, np.where(counts, similarity, -1.0), truth.ignore[None], thresholds=np.array([NEAR])
    )[0, 0]
    shape = (len(found.image), skeleton.num_joints)
    used = counts & (person[pairs.detection] >= 0)
    detection, other = pairs.detection[used], pairs.person[used]
    own = other == person[detection]
    right, mirrored, elsewhere = np.zeros(shape), np.zeros(shape), np.zeros(shape)
    variances = (2 * np.array(skeleton.sigmas)) ** 2
    flip = skeleton.flip_order
    can_invert = flip != np.arange(shape[1])
    for first in range(0, len(detection), CHUNK):
        d, g, is_own = (part[first : first + CHUNK] for part in (detection, other, own))
        same, turned = (
            _similarities(found.joints[d], truth.joints[g][:, order], truth.area[g], variances)
            for order in (np.arange(shape[1]), flip)
        )
        right[d[is_own]], mirrored[d[is_own]] = same[is_own], turned[is_own] * can_invert
        others = np.maximum(same, turned)[~is_own]
        rows, starts = np.unique(d[~is_own], return_index=True)
        if len(rows):
            elsewhere[rows] = np.maximum(elsewhere[rows], np.maximum.reduceat(others, starts))
    place = np.maximum(np.maximum(right, mirrored), elsewhere)
    kind = np.full(shape, MISS, np.int8)
    kind[(place == elsewhere) & (place >= FOUND)] = SWAP
    kind[(place == mirrored) & (place >= FOUND)] = INVERSION
    kind[(place == right) & (place >= FOUND)] = JITTER
    kind[(place == right) & (place >= GOOD)] = GOOD_CLASS
    labeled = np.zeros(shape, bool)
    labeled[person >= 0] = truth.joints[person[person >= 0], :, 2] > 0
    kind[~labeled] = UNLABELED
    return KeypointErrors(person, kind, np.where(labeled, right, 0), np.where(labeled, place, 0))


def _similarities(points: Array, joints: Array, area: Array, variances: Array) -> Array:
    """Return the similarity ``(N, K)`` of points ``(N, K, 2)`` to joints ``(N, K, 3)``; 0 where these are unlabeled."""
    squares = ((points - joints[..., :2]) ** 2).sum(-1)
    return np.exp(-squares / (2 * (area[:, None] + EPSILON) * variances)) * (joints[..., 2] > 0)


def corrected(truth: GroundTruth, found: Detections, errors: KeypointErrors, skeleton: Skeleton) -> Array:
    """Return the joints ``(D, K, 2)`` of detections with all wrong ones moved towards their true places.

    A keypoint ends at the distance at which its similarity is 0.85 for a jitter, 0.5 for a miss, and the one it had to
    the wrong place for an inversion or a swap; the direction from the true place stays.
    """
    moved = found.joints.copy()
    rows, joints = np.nonzero(errors.kind > GOOD_CLASS)
    person = errors.person[rows]
    kind = errors.kind[rows, joints]
    wanted = np.select([kind == JITTER, kind == MISS], [GOOD, FOUND], errors.place[rows, joints])
    sigmas = np.array(skeleton.sigmas)[joints]
    distance = 2 * sigmas * np.sqrt(-2 * np.log(wanted) * truth.area[person])
    origin = truth.joints[person, joints, :2]
    apart = found.joints[rows, joints] - origin
    length = np.linalg.norm(apart, axis=1, keepdims=True)
    moved[rows, joints] = origin + apart / np.maximum(length, EPSILON) * np.minimum(distance[:, None], length)
    return moved


def oks_after(truth: GroundTruth, found: Detections, moved: Array, pairs: Pairs, sigmas: Array, masks: Array) -> Array:
    """Return the OKS ``(V, P)`` of pairs after moving some joints: those of ``masks`` ``(V, D, K)`` to ``moved``."""
    similar = joint_similarities(truth, sigmas)
    result = np.empty((len(masks), len(pairs.person)))
    for first in range(0, len(pairs.person), CHUNK):
        d, g = pairs.detection[first : first + CHUNK], pairs.person[first : first + CHUNK]
        before, used = similar(found.joints[d], g)
        after, _ = similar(moved[d], g)
        number = used.sum(1)
        for row, mask in enumerate(masks):
            result[row, first : first + CHUNK] = (np.where(mask[d], after, before) * used).sum(1) / number
    return result


def counts_of(kind: Array) -> dict[str, int]:
    """Return the number of keypoints of each class."""
    number = np.bincount(kind[kind >= 0].ravel(), minlength=len(CLASSES))
    return {name: int(number[row]) for row, name in enumerate(CLASSES)}
