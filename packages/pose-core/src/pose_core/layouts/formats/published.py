"""Read the published layouts, and annotation files of one's own in COCO's format."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from pose_core.data.category_skeleton import named_categories
from pose_core.data.diagnostics import Problems
from pose_core.data.sources import images_below
from pose_core.errors import UnreadableError
from pose_core.folders import find_data_root, own_root
from pose_core.layouts.formats.format import Found, Read, skeleton_of
from pose_core.layouts.table import get_layout, looks_like
from pose_core.reading.json_text import read_json
from pose_core.skeleton import Skeleton, get_skeleton

OUTLINES = "outlines of people (segmentation), if the file has any, are not read"


def layout_reader(name: str) -> Read:
    """Return the reader of a published layout: its path is the data set's folder."""
    return partial(_read_layout, name)


def _read_layout(name: str, path: Path, split: str, skeleton: Skeleton | None) -> Found:
    layout, root = get_layout(name), find_data_root(str(path))
    split, skeleton = split or layout.train, skeleton or get_skeleton(layout.skeleton)
    file = layout.annotation_file(root, split)
    if not file.exists():
        remark = looks_like(root, layout, "--from")
        raise UnreadableError(
            f"annotation file {file} does not exist; name another split with --split"
            + (f"; {remark}" if remark else "")
        )
    with images_below(root):
        records = layout.read(root, split, skeleton, Problems(), keep_unlabeled=True)
    return Found(records, skeleton, (OUTLINES,) if name in {"coco", "crowdpose"} else ())


def read_coco(path: Path, split: str, skeleton: Skeleton | None) -> Found:
    """Read COCO's layout from its folder, or an annotation file of one's own, whose joints its category names."""
    if path.suffix != ".json":
        return _read_layout("coco", path, split, skeleton)
    root = own_root(path)
    if skeleton is None:
        category = named_categories(read_json(path), path)[0]
        limbs = _limbs(category.get("skeleton"), len(category["keypoints"]))
        skeleton = skeleton_of(category["name"], category["keypoints"], limbs)
    return _read_layout("coco", root, str(path.absolute()), skeleton)


def _limbs(listed: object, joints: int) -> list[tuple[int, int]]:
    """Return the pairs of joint numbers of a category's skeleton, from 0; what is no such pair is left out."""
    pairs = [pair for pair in listed if isinstance(pair, list)] if isinstance(listed, list) else []
    return [
        (pair[0] - 1, pair[1] - 1)
        for pair in pairs
        if len(pair) == 2 and all(type(end) is int and 1 <= end <= joints for end in pair)
    ]
