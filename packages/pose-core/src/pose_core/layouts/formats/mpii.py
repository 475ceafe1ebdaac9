"""MPII: ``annot/<split>.json`` as HRNet uses it, and ``annot/gt_<split>.mat``, the ground truth for PCKh.

Pixels are 1-based: 1 is added. A person has a center and a scale (of 200 pixels) in place of a box: those that were
read from an MPII file are written as they were there, others are the box's center and longer side. Head boxes that were
not read are computed: 0.6 of their diagonal, the unit of PCKh, is the distance from the upper neck to the top of the
head. Without those two joints of every person, there is no ground truth for PCKh.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from pose_core.files import write_json
from pose_core.geometry import PIXEL_STD
from pose_core.layouts.formats.format import Target, Written
from pose_core.layouts.formats.matlab_file import write_mat
from pose_core.layouts.formats.people import box_of, center_and_scale, exact
from pose_core.skeleton import Skeleton
from pose_core.structures import ImageRecord, Person

Array = np.ndarray
NAMES = ("rank", "rkne", "rhip", "lhip", "lkne", "lank", "pelv", "thor", "neck", "head", "rwri", "relb", "rsho", "lsho",
         "lelb", "lwri")  # fmt: skip
"""The joints' names in MPII's MATLAB files."""
NECK, TOP = 8, 9
HEAD_SHARE = 0.6
"""PCKh's unit as a fraction of the head box's diagonal."""


def write_mpii(records: Sequence[ImageRecord], skeleton: Skeleton, target: Target) -> Written:
    """Write the annotation file of a split and, if all heads are labeled, the ground truth for PCKh."""
    folder = target.folder / "annot"
    people = [
        (name, record, person) for record, name in zip(records, target.names, strict=True) for person in record.persons
    ]
    write_json(folder / f"{target.name}.json", [_row(*each) for each in people])
    images = tuple(target.folder / "images" / name for name in target.names)
    files = [folder / f"{target.name}.json"]
    heads = [_head_corners(person) for _, _, person in people]
    known = [corners for corners in heads if corners is not None]
    if len(known) == len(heads) and heads:
        files.append(folder / f"gt_{target.name}.mat")
        write_mat(files[-1], _truth([person.joints for _, _, person in people], known))
        return Written(tuple(files), images, "mpii", target.name)
    note = (
        f"{len(heads) - len(known)} of {len(heads)} people lack upper_neck or head_top: no gt_{target.name}.mat, which "
        "PCKh needs, is written"
    )
    return Written(tuple(files), images, "mpii", target.name, (note,))


def _row(name: str, record: ImageRecord, person: Person) -> dict[str, Any]:
    place = center_and_scale(person)
    if place is None:
        x, y, w, h = box_of(person, (record.width, record.height))
        place = (x + w / 2, y + h / 2), max(w, h) / PIXEL_STD
    (x, y), scale = place
    joints = person.joints.tolist()
    return {
        "image": name,
        "center": [round(x + 1, 6), round(y + 1, 6)],
        "scale": round(scale, 8),
        "joints": [[_one_based(x), _one_based(y)] if seen else [-1, -1] for x, y, seen in joints],
        "joints_vis": [int(seen > 0) for _, _, seen in joints],
    }


def _one_based(value: float) -> float:
    return round(exact(value) + 1, 6)


def _head_corners(person: Person) -> Array | None:
    """Return the head box's corners ``(2, 2)``, 0-based: the annotated ones, or computed from neck and top."""
    if person.head_box is not None:
        x, y, w, h = person.head_box
        return np.array([[x, y], [x + w, y + h]])
    neck, top = person.joints[NECK].astype(np.float64), person.joints[TOP].astype(np.float64)
    if not (neck[2] and top[2]):
        return None
    half = np.linalg.norm(neck[:2] - top[:2]) / HEAD_SHARE / np.sqrt(8)
    middle = (neck[:2] + top[:2]) / 2
    return np.array([middle - half, middle + half])


def _truth(joints: Sequence[Array], heads: Sequence[Array]) -> dict[str, Any]:
    """Return the fields of ``gt_<split>.mat``: people last."""
    points = np.stack(joints, -1).astype(np.float64)
    missing = points[:, 2] == 0
    names = np.empty((1, len(NAMES)), object)
    names[0] = NAMES
    return {
        "dataset_joints": names,
        "jnt_missing": missing.astype(np.uint8),
        "pos_gt_src": np.where(missing[:, None], 0, points[:, :2] + 1),
        "headboxes_src": np.stack(heads, -1) + 1,
    }
