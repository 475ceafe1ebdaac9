"""Predictions read back from files: COCO-style results, ``pred.mat``, and the JSON that predict writes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pose_core.data.numbers import whole_number
from pose_core.errors import ConfigError, DataError
from pose_core.evaluation.keypoint_files import FARTHEST, read_poses
from pose_core.evaluation.mpii import NOBODY
from pose_core.layouts.points import read_points
from pose_core.plurals import counted, size_text
from pose_core.reading.json_text import parse_json
from pose_core.reading.printable import shown
from pose_core.reading.regular import open_regular
from pose_core.skeleton import SKELETONS, Skeleton, get_skeleton, list_skeletons
from pose_core.structures import ImageRecord, Poses

Array = np.ndarray

LONGEST_LINE = 100_000_000
"""Most bytes of a line of a video's results: a crowd of a thousand people has a megabyte."""


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
    hint = f"one of {', '.join(fitting)}" if fitting else "a YAML file of your joint set (`pose data new-skeleton`)"
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
    """Return the poses of a ``pred.mat``, see `read_points`, by image id; all scores are 1, since the file has none."""
    ids = sorted(person.annotation_id for record in records for person in record.persons)
    points = read_points(file, ids)
    row_of = {identity: row for row, identity in enumerate(ids)}
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
    with open_regular(file, "results file") as opened:
        number = 0
        while line := opened.readline(LONGEST_LINE):
            number += 1
            where = f"{file}, line {number}"
            if len(line) == LONGEST_LINE:
                raise DataError(
                    f"{where} is longer than {size_text(LONGEST_LINE)}: no frame of a video has so many people"
                )
            content = parse_json(line, where)
            frame = whole_number(content.get("frame")) if isinstance(content, dict) else None
            if frame is None or frame < 0:
                raise DataError(f"{where} is not a frame of a video as predict writes it")
            yield frame, poses_from_dict(content, where, skeleton)


def poses_from_dict(content: Mapping[str, Any], where: str, skeleton: Skeleton | None = None) -> Poses:
    """Return the poses that `Poses.to_dict` wrote; ``where`` names them in messages."""
    try:
        known = _known_skeleton(content["skeleton"]) if skeleton is None else skeleton
        people = content["people"]
        table = _numbers([[person["keypoints"][joint] for joint in known.joints] for person in people], "keypoints")
        table = table.reshape(len(people), known.num_joints, 3)
        scores = _numbers([person["score"] for person in people], "score")
        tracks = [_whole(person["track_id"], "track_id") for person in people if "track_id" in person]
        size = None
        if "width" in content:
            size = _whole(content["width"], "width"), _whole(content["height"], "height")
    except (KeyError, TypeError, ValueError, IndexError, OverflowError) as error:
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


def _known_skeleton(name: object) -> Skeleton:
    # A path would be read, and a file must not choose what is read.
    if not isinstance(name, str) or name not in list_skeletons():
        raise ValueError(f"the skeleton {shown(name)} is not one of {', '.join(list_skeletons())}: give --skeleton")
    return get_skeleton(name)


def _numbers(values: object, key: str) -> Array:
    """Return numbers of a file, of which a joint that was not found may be NaN."""
    array = np.asarray(values)  # raises a ValueError if rows differ in length
    if array.size and array.dtype.kind not in "iuf":
        raise TypeError(f"{key!r} must be numbers")
    if (np.abs(array) > FARTHEST).any():
        raise ValueError(f"{key!r} holds a number beyond {FARTHEST:.0f}")
    return array.astype(np.float64)


def _whole(value: object, key: str) -> int:
    number = whole_number(value)
    if number is None:
        raise TypeError(f"{key!r} is {shown(value)}, which is not an integer")
    return number
