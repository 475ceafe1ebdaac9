"""Predictions read back from files: COCO-style results, ``pred.mat``, and the JSON that predict writes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pose_core.errors import ConfigError, DataError
from pose_core.evaluation.keypoint_files import read_poses
from pose_core.plurals import counted
from pose_core.reading.matlab import read_matlab
from pose_core.skeleton import SKELETONS, Skeleton, get_skeleton, list_skeletons
from pose_core.structures import ImageRecord, Poses

Array = np.ndarray

NOBODY = -1e5
"""A person none of whose coordinates in ``pred.mat`` is above this has no prediction."""


def skeleton_of(joints: int, file: Path, skeleton: Skeleton | None) -> Skeleton:
    """Return the joint set of a file's ``joints``: the given one, which must fit, or the best-known one of so many."""
    if skeleton is not None:
        if skeleton.num_joints != joints:
            raise ConfigError(
                f"{file} has poses of {counted(joints, 'joint')}, but the skeleton {skeleton.name} has "
                f"{skeleton.num_joints}: give --skeleton another one"
            )
        return skeleton
    for known in SKELETONS.values():
        if known.num_joints == joints:
            return known
    fitting = [name for name in list_skeletons() if get_skeleton(name).num_joints == joints]
    if len(fitting) == 1:
        return get_skeleton(fitting[0])
    hint = f"one of {', '.join(fitting)}" if fitting else "a YAML file of your joint set (`pose data skeleton`)"
    raise ConfigError(f"{file} has poses of {counted(joints, 'joint')}: give --skeleton, {hint}")


def read_entries(file: Path, skeleton: Skeleton | None = None) -> dict[int, Poses]:
    """Return the poses of a COCO-style list of results by image id, in rising order of the ids and of their scores."""
    image_id, keypoints, score = read_poses(file)
    found = skeleton_of(keypoints.shape[1], file, skeleton)
    order = np.lexsort((score, image_id))
    ids, starts = np.unique(image_id[order], return_index=True)
    return {
        number: Poses(keypoints[rows, :, :2], keypoints[rows, :, 2], score[rows], found)
        for number, rows in zip(ids.tolist(), np.split(order, starts[1:]), strict=True)
    }


def read_rows(file: Path, records: Sequence[ImageRecord], skeleton: Skeleton | None = None) -> dict[int, Poses]:
    """Return the poses of a ``pred.mat`` by image id; all scores are 1, since the file has none.

    Its rows are the people of ``records`` in order of their ids, or, as in MPII's files, one row for every id.
    """
    if not file.is_file():
        raise DataError(f"results file {file} does not exist")
    points = np.asarray(read_matlab(file, "preds", "a file of predictions with the variable 'preds'"), np.float64) - 1
    if points.ndim != 3 or points.shape[2] != 2:
        raise DataError(f"{file}: 'preds' has the shape {points.shape}, expected (people, joints, 2)")
    ids = sorted(person.annotation_id for record in records for person in record.persons)
    if len(ids) == len(points):
        row_of = {identity: row for row, identity in enumerate(ids)}
    elif ids and len(points) > ids[-1]:
        row_of = {identity: identity for identity in ids}
    else:
        raise DataError(
            f"{file} has {counted(len(points), 'row')}, but the annotations list "
            f"{counted(len(ids), 'person', 'people')}: give those of the split that was predicted"
        )
    found = skeleton_of(points.shape[1], file, skeleton)
    poses = {}
    for record in records:
        rows = points[[row_of[person.annotation_id] for person in record.persons]]
        rows = rows[(rows > NOBODY).any((1, 2))]
        if len(rows):
            poses[record.image_id] = Poses(rows, np.ones(rows.shape[:2]), np.ones(len(rows)), found)
    return poses


def read_frames(file: Path, skeleton: Skeleton | None = None) -> Iterator[tuple[int, Poses]]:
    """Yield the frames' numbers and poses of a video's JSON lines that predict wrote, line by line."""
    try:
        opened = file.open(encoding="utf-8")
    except OSError as error:
        raise DataError(f"results file {file} cannot be read: {error.strerror}") from None
    with opened:
        for number, line in enumerate(opened, 1):
            where = f"{file}, line {number}"
            try:
                content = json.loads(line)
                frame = int(content["frame"])
            except (KeyError, TypeError, ValueError):
                raise DataError(f"{where} is not a frame of a video as predict writes it") from None
            yield frame, poses_from_dict(content, where, skeleton)


def poses_from_dict(content: Mapping[str, Any], where: str, skeleton: Skeleton | None = None) -> Poses:
    """Return the poses that `Poses.to_dict` wrote; ``where`` names them in messages."""
    try:
        known = get_skeleton(content["skeleton"]) if skeleton is None else skeleton
        people = content["people"]
        table = np.array([[person["keypoints"][joint] for joint in known.joints] for person in people], np.float64)
        table = table.reshape(len(people), known.num_joints, 3)
        scores = np.array([person["score"] for person in people], np.float64)
        tracks = [person["track_id"] for person in people if "track_id" in person]
        size = (int(content["width"]), int(content["height"])) if "width" in content else None
    except (KeyError, TypeError, ValueError) as error:
        what = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise DataError(f"{where} does not hold poses as predict writes them: {what}") from None
    return Poses(
        table[..., :2],
        table[..., 2],
        scores,
        known,
        track_ids=np.array(tracks, np.int64) if tracks and len(tracks) == len(people) else None,
        size=size,
        source=str(content.get("image", "")),
    )
