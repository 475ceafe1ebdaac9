"""Annotation files of MPII and LSP, all 1-based: MATLAB structures, and HRNet's JSON files for MPII."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pose_core.files import whole_file
from pose_core.synthetic.annotate import DrawnPerson
from pose_core.synthetic.drawing import Drawn

Array = np.ndarray
Entry = dict[str, Any]

MPII_NAMES = (
    "rank", "rkne", "rhip", "lhip", "lkne", "lank", "pelv", "thor", "neck", "head", "rwri", "relb", "rsho", "lsho",
    "lelb", "lwri",
)  # fmt: skip
"""The joint names in ``dataset_joints`` of ``gt_valid.mat``."""
_CENTER_DROP = 15.0
_HEADER_TEXT = 116


def mpii_rows(pictures: Sequence[tuple[str, Drawn]], *, with_joints: bool = True) -> list[Entry]:
    """Return the rows of ``annot/<split>.json``, 1-based; unlabeled joints are at (−1, −1)."""
    rows = []
    for name, drawn in pictures:
        for person in drawn.people:
            center, scale = _center_scale(person)
            row: Entry = {"image": name, "center": center, "scale": scale}
            if with_joints:
                joints = person.joints("mpii16")
                row["joints"] = [[round(x + 1, 2), round(y + 1, 2)] if v else [-1, -1] for x, y, v in joints.tolist()]
                row["joints_vis"] = [int(v > 0) for v in joints[:, 2]]
            rows.append(row)
    return rows


def _center_scale(person: DrawnPerson) -> tuple[list[float], float]:
    """Return position and scale; the position is shifted up by the distance that readers move it down."""
    x, y, w, h = person.extent
    scale = max(w, h) / 200
    return [round(x + w / 2 + 1, 2), round(y + h / 2 + 1 - _CENTER_DROP * scale, 2)], round(scale, 6)


def write_mpii_truth(path: Path, pictures: Sequence[tuple[str, Drawn]]) -> None:
    """Write ``gt_valid.mat``: dataset_joints, jnt_missing (16, N), pos_gt_src (16, 2, N), headboxes_src (2, 2, N)."""
    people = [person for _, drawn in pictures for person in drawn.people]
    joints = np.stack([person.joints("mpii16") for person in people], -1).astype(np.float64)
    missing = joints[:, 2] == 0
    names = np.empty((1, len(MPII_NAMES)), object)
    names[0] = MPII_NAMES
    heads = np.stack([_head_corners(person) for person in people], -1)
    content = {
        "dataset_joints": names,
        "jnt_missing": missing.astype(np.uint8),
        "pos_gt_src": np.where(missing[:, None], 0, joints[:, :2] + 1),
        "headboxes_src": heads,
    }
    _save(path, content)


def _head_corners(person: DrawnPerson) -> Array:
    """Return the head box's corners ``(2, 2)``, 1-based."""
    x, y, w, h = person.head_box
    return np.array([[x, y], [x + w, y + h]]) + 1


def write_mpii_release(path: Path, training: Sequence[tuple[str, Drawn]], test: Sequence[tuple[str, Drawn]]) -> None:
    """Write the structure ``RELEASE`` of the official release; test people have a position and a scale only."""
    everything = [*((picture, True) for picture in training), *((picture, False) for picture in test)]
    annolist = _struct(
        [
            {
                "image": _struct([{"name": name}]),
                "annorect": _struct([_release_person(person, is_training) for person in drawn.people]),
                "frame_sec": np.zeros((0, 0)),
                "vididx": np.zeros((0, 0)),
            }
            for (name, drawn), is_training in everything
        ]
    )
    single = np.empty((len(everything), 1), object)
    for number, ((_, drawn), _) in enumerate(everything):
        single[number, 0] = np.arange(1, len(drawn.people) + 1, dtype=np.float64)[:, None]
    release = {
        "annolist": annolist,
        "img_train": np.array([[is_training for _, is_training in everything]], np.uint8),
        "version": "12",
        "single_person": single,
    }
    _save(path, {"RELEASE": release})


def _release_person(person: DrawnPerson, is_training: bool) -> Entry:
    center, scale = _center_scale(person)
    place: Entry = {"scale": scale, "objpos": _struct([{"x": center[0], "y": center[1]}])}
    nothing = np.zeros((0, 0))
    if not is_training:
        return {**dict.fromkeys(("x1", "y1", "x2", "y2", "annopoints"), nothing), **place}
    points = [
        {"x": x + 1, "y": y + 1, "id": number, "is_visible": int(visible == 2)}
        for number, (x, y, visible) in enumerate(person.joints("mpii16").tolist())
        if visible
    ]
    (x1, y1), (x2, y2) = _head_corners(person).tolist()
    return {"x1": x1, "y1": y1, "x2": x2, "y2": y2, "annopoints": _struct([{"point": _struct(points)}]), **place}


def _struct(rows: Sequence[Entry]) -> Array:
    """Return a 1 x N MATLAB structure array."""
    if not rows:
        return np.zeros((0, 0))
    array = np.empty((1, len(rows)), [(key, object) for key in rows[0]])
    for number, row in enumerate(rows):
        array[0, number] = tuple(row.values())
    return array


def write_lsp_joints(path: Path, pictures: Sequence[tuple[str, Drawn]], *, extended: bool) -> None:
    """Write ``joints.mat``: 3 x 14 x N with *occluded* flags, or LSP-extended's 14 x 3 x N with *visible* flags."""
    joints = np.stack([drawn.people[0].joints("lsp14") for _, drawn in pictures]).astype(np.float64)
    joints[..., :2] += 1
    if extended:
        joints[..., 2] = joints[..., 2] == 2
        _save(path, {"joints": joints.transpose(1, 2, 0)})
    else:
        joints[..., 2] = joints[..., 2] != 2
        _save(path, {"joints": joints.transpose(2, 1, 0)})


def _save(path: Path, content: Entry) -> None:
    from scipy.io import savemat  # slow to import

    buffer = io.BytesIO()
    savemat(buffer, content, do_compression=True)
    with whole_file(path) as file:
        # The header's text holds the time, but equal data should give equal bytes.
        file.write(b"MATLAB 5.0 MAT-file, synthetic people".ljust(_HEADER_TEXT) + buffer.getvalue()[_HEADER_TEXT:])
