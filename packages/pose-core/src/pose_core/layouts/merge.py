"""Merge annotation files, as for training on CrowdPose's train and val, for which its authors publish no file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pose_core.data.numbers import LARGEST_ID, is_number
from pose_core.errors import DataError
from pose_core.files import write_json
from pose_core.reading.json_text import collector_paused, read_json

LISTS = ("images", "annotations", "categories")


@dataclass(frozen=True)
class Merged:
    """The counts of a merged file; ``renumbered`` counts annotations whose id was used in an earlier file."""

    file: Path
    images: int
    annotations: int
    renumbered: int

    def __str__(self) -> str:
        text = f"written: {self.file}, {self.images} images, {self.annotations} people"
        if self.renumbered:
            text += f"; {self.renumbered} annotation ids were in two files and were replaced"
        return text


def merge_annotations(files: Sequence[Path], out: Path, *, crowd_index: bool = False) -> Merged:
    """Write the concatenated images and annotations of ``files``, and the categories of the first.

    An image may be in one file only. With ``crowd_index``, every image must have one, which CrowdPose's evaluation
    needs.
    """
    if out.resolve() in {file.resolve() for file in files}:
        raise DataError(f"{out} is one of the files to merge; name another file to write")
    with collector_paused():
        contents = [read_lists(file, crowd_index=crowd_index) for file in files]
        images: list[dict[str, Any]] = []
        annotations: list[dict[str, Any]] = []
        origin: dict[int, Path] = {}
        taken: set[int] = set()
        renumbered = 0
        highest = max((a["id"] for content in contents for a in content["annotations"]), default=0)
        for file, content in zip(files, contents, strict=True):
            if _names(content) != _names(contents[0]):
                raise DataError(
                    f"the categories or joints of {file} differ from those of {files[0]}; they cannot be merged"
                )
            for image in content["images"]:
                if image["id"] in origin:
                    raise DataError(
                        f"image {image['id']} is in {origin[image['id']]} and in {file}; remove it from one"
                    )
                origin[image["id"]] = file
                images.append(image)
            for annotation in content["annotations"]:
                if annotation["id"] in taken:
                    highest += 1
                    renumbered += 1
                    annotation = {**annotation, "id": highest}
                taken.add(annotation["id"])
                annotations.append(annotation)
        write_json(out, {"categories": contents[0]["categories"], "images": images, "annotations": annotations})
    return Merged(out, len(images), len(annotations), renumbered)


def read_lists(file: Path, *, crowd_index: bool = False) -> dict[str, Any]:
    """Return the content of a COCO-style file, whose images and annotations all have an id."""
    content = read_json(file)
    if not isinstance(content, dict) or not all(isinstance(content.get(key), list) for key in LISTS):
        raise DataError(f"{file} is not a COCO-style annotation file: it needs the lists {', '.join(LISTS)}")
    for key in ("images", "annotations"):
        for place, entry in enumerate(content[key]):
            if not isinstance(entry, dict) or type(entry.get("id")) is not int or abs(entry["id"]) > LARGEST_ID:
                raise DataError(f"{file}: entry {place} of {key!r} has no integer 'id'")
    if not all(isinstance(category, dict) for category in content["categories"]):
        raise DataError(f"{file}: 'categories' must be a list of objects with 'id' and 'name'")
    if crowd_index:
        lacking = [image["id"] for image in content["images"] if not is_number(image.get("crowdIndex"))]
        if lacking:
            raise DataError(
                f"{file}: image {lacking[0]} has no 'crowdIndex' ({len(lacking)} of {len(content['images'])} lack it); "
                "this is not a CrowdPose annotation file; fetch crowdpose_*.json again"
            )
    return content


def _names(content: dict[str, Any]) -> list[tuple[Any, ...]]:
    return [(c.get("id"), c.get("name"), c.get("keypoints")) for c in content["categories"]]
