"""MPII's MATLAB files: the ground truth that PCKh reads, and the official release's structure."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pose_core.skeleton import SKELETONS

Array = np.ndarray


def write_ground_truth(path: Path, entries: Sequence[dict[str, Any]], heads: Sequence[Array]) -> None:
    """``gt_valid.mat``: joint names, missing joints (16, N), positions (16, 2, N), head boxes (2, 2, N), 1-based."""
    from scipy.io import savemat

    joints = np.array([entry["joints"] for entry in entries], dtype=np.float64)
    visible = np.array([entry["joints_vis"] for entry in entries])
    # The evaluation looks some joints up by their short names.
    short = {"upper_neck": "neck", "head_top": "head"}
    names = [short.get(name, name) for name in SKELETONS["mpii16"].joints]
    names = [f"{n[0]}{n.split('_')[1][:3]}" if n.startswith(("left_", "right_")) else n for n in names]
    cells = np.empty((1, len(names)), dtype=object)
    cells[0] = [{"rank": "rank", "lank": "lank", "rkne": "rkne", "lkne": "lkne", "rhip": "rhip", "lhip": "lhip",
                 "rwri": "rwri", "lwri": "lwri", "relb": "relb", "lelb": "lelb", "rsho": "rsho",
                 "lsho": "lsho"}.get(name, name) for name in names]  # fmt: skip
    savemat(
        path,
        {
            "dataset_joints": cells,
            "jnt_missing": (1 - visible).T.astype(np.uint8),
            "pos_gt_src": joints.transpose(1, 2, 0),
            "headboxes_src": np.stack(heads).reshape(-1, 2, 2).transpose(1, 2, 0),
        },
    )


def write_release(path: Path, people: Sequence[tuple[dict[str, Any], Array, bool]]) -> None:
    """The official structure: RELEASE.annolist(i).image.name, .annorect(j).{x1…y2, scale, objpos, annopoints}."""
    from scipy.io import savemat

    by_image: dict[str, list[tuple[dict[str, Any], Array, bool]]] = {}
    for person in people:
        by_image.setdefault(person[0]["image"], []).append(person)
    annolist = np.zeros((1, len(by_image)), dtype=[("image", "O"), ("annorect", "O")])
    is_train = np.zeros((1, len(by_image)), np.uint8)
    for column, (image, group) in enumerate(by_image.items()):
        annolist[0, column]["image"] = {"name": image}
        annolist[0, column]["annorect"] = _rectangles(group)
        is_train[0, column] = group[0][2]
    savemat(path, {"RELEASE": {"annolist": annolist, "img_train": is_train}}, oned_as="row")


def _rectangles(group: Sequence[tuple[dict[str, Any], Array, bool]]) -> Array:
    fields = ["x1", "y1", "x2", "y2", "scale", "objpos"] + (["annopoints"] if group[0][2] else [])
    rectangles = np.zeros((1, len(group)), dtype=[(field, "O") for field in fields])
    for column, (entry, head, is_train) in enumerate(group):
        row = rectangles[0, column]
        row["x1"], row["y1"], row["x2"], row["y2"] = (float(value) for value in head)
        row["scale"] = entry["scale"]
        row["objpos"] = {"x": entry["center"][0], "y": entry["center"][1]}
        if is_train:
            labelled = [j for j, visible in enumerate(entry["joints_vis"]) if visible]
            points = np.zeros((1, len(labelled)), dtype=[("x", "O"), ("y", "O"), ("id", "O"), ("is_visible", "O")])
            for place, joint in enumerate(labelled):
                points[0, place] = (*entry["joints"][joint], float(joint), 1.0)
            row["annopoints"] = {"point": points}
    return rectangles
