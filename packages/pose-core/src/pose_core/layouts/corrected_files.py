"""Files that annotation tools export: COCO, alone or as CVAT packs it, and Label Studio's JSON.

CVAT writes ``annotations/person_keypoints_<subset>.json`` into a zip archive or, unpacked, a folder. Its skeletons have
no box of their own: it writes the extent of the joints, which is taken for no box.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from pose_core.data.category_skeleton import named_categories
from pose_core.data.coco_file import CocoFile, check_coco
from pose_core.data.diagnostics import Problems
from pose_core.errors import DataError
from pose_core.layouts.formats.label_studio_export import is_export, read_export
from pose_core.layouts.formats.labeled import LabeledImage, LabeledPerson
from pose_core.layouts.formats.people import Box
from pose_core.reading.archives import open_zip, read_member
from pose_core.reading.json_text import MAX_BYTES, parse_json, read_json
from pose_core.reading.regular import open_regular


def read_contents(path: Path) -> Iterator[tuple[object, Path]]:
    """Yield the contents of a JSON file, or of those in a folder or a zip archive, with their places."""
    if path.is_dir():
        files = sorted(path.glob("annotations/*.json")) or sorted(path.glob("*.json"))
        if not files:
            raise DataError(f"{path} has no annotations/*.json: give the folder or the file that the tool exported")
        for file in files:
            yield read_json(file, "corrected file"), file
    elif path.suffix.lower() == ".zip":
        where = f"corrected file {path}"
        with open_zip(open_regular(path, "corrected file"), where) as archive:
            names = [name for name in archive.namelist() if name.lower().endswith(".json")]
            for name in names:
                text = read_member(archive, name, f"{where}@{name}", MAX_BYTES, "export it again")
                yield parse_json(text, f"{where}@{name}"), Path(f"{path}@{name}")
        if not names:
            raise DataError(f"{path} has no .json file: export as 'COCO Keypoints 1.0' (CVAT) or JSON (Label Studio)")
    else:
        yield read_json(path, "corrected file"), path


def read_images(content: object, file: Path, joints: Sequence[str]) -> list[LabeledImage]:
    """Return the images of an export and the people in them, with the ``joints`` in this order."""
    if is_export(content) and content:
        return read_export(content, file, joints)
    if not isinstance(content, dict):
        raise DataError(f"{file} is neither a COCO file nor Label Studio's JSON (JSON-MIN is neither); export it again")
    info = content.get("info")
    if isinstance(info, dict) and info.get("contributor") == "Label Studio":
        raise DataError(f"{file} is Label Studio's export to COCO, which joins the people of an image; export JSON")
    names = {tuple(category["keypoints"]) for category in named_categories(content, file)}
    for found in names:
        _check_joints(found, joints, file)
    if len(names) > 1:
        raise DataError(f"{file}: two categories have the same joints in different order; remove one")
    order = [next(iter(names)).index(joint) for joint in joints]
    coco = check_coco(content, file, Problems(), len(joints))
    people: list[list[LabeledPerson]] = [[] for _ in coco.image_ids]
    for row in np.flatnonzero(~coco.crowd).tolist():
        box = _drawn_box(coco, row)
        people[int(coco.image[row])].append(LabeledPerson(coco.joints[row][order], box))
    return [
        LabeledImage(name or "", (int(size[0]), int(size[1])), tuple(found))
        for name, size, found in zip(coco.file_names, coco.size, people, strict=True)
    ]


def _check_joints(found: Sequence[str], joints: Sequence[str], file: Path) -> None:
    """Raise a DataError if two joint sets differ in more than order."""
    missing = [name for name in joints if name not in found]
    beyond = [name for name in found if name not in joints]
    if missing or beyond:
        parts = [f"lacks {', '.join(missing)}"] if missing else []
        parts += [f"has {', '.join(beyond)}, too"] if beyond else []
        raise DataError(
            f"{file}: its joints are not those of the file to correct: it {' and '.join(parts)}; rename the labels in "
            "the annotation tool"
        )


def _drawn_box(coco: CocoFile, row: int) -> Box | None:
    """Return a person's box, or None if it is only the extent of the joints, as CVAT computes for its skeletons."""
    left, top, width, height = coco.box[row].tolist()
    for points in (coco.joints[row][coco.joints[row][:, 2] > 0, :2], coco.joints[row][:, :2]):
        if len(points):
            extent = np.concatenate([points.min(0), points.max(0)])
            if np.abs(extent - (left, top, left + width, top + height)).max() <= 1:
                return None
    return left, top, width, height
