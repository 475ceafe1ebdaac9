"""LSP, in the form of its extended set: ``joints.mat`` with 14 x 3 x N numbers, and ``images/im00001.jpg``, ….

Pixels are 1-based: 1 is added. One person per image; an image of several people is there once for each. All people are
of the split train. Joints that are not visible are not labeled, so that hidden ones are written as visible.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pose_core.layouts.formats.format import Target, Written
from pose_core.layouts.formats.matlab_file import write_mat
from pose_core.skeleton import Skeleton
from pose_core.structures import ImageRecord


def write_lsp(records: Sequence[ImageRecord], skeleton: Skeleton, target: Target) -> Written:
    """Write ``joints.mat``, one person per record."""
    joints = np.stack([record.persons[0].joints for record in records]).astype(np.float64)
    joints[..., 2] = joints[..., 2] > 0
    joints[..., :2] = np.where(joints[..., 2:] > 0, joints[..., :2] + 1, 0)
    file = target.folder / "joints.mat"
    write_mat(file, {"joints": joints.transpose(1, 2, 0)})
    names = [f"im{number:05d}.jpg" for number in range(1, len(records) + 1)]
    note = "LSP's images are named by their number, im00001.jpg, …; all people are in the split train"
    return Written((file,), tuple(target.folder / "images" / name for name in names), "lsp", "train", (note,))
