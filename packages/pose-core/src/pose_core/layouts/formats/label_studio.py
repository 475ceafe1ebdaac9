"""Label Studio: a JSON list of tasks, with pre-labels as ``predictions`` or corrected labels as ``annotations``.

A person is a rectangle, and its joints are points whose ``parentID`` is the rectangle's id. Coordinates are percent of
the image's width and height; as in the tool's own export to COCO, 0 % is pixel coordinate 0, and nothing is added. A
joint that is labeled but hidden has the choice ``hidden``. Masks and crowds cannot be held.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote
from xml.sax.saxutils import quoteattr

from pose_core.files import write_json, write_text
from pose_core.layouts.formats.format import Target, Written
from pose_core.layouts.formats.people import box_of, exact
from pose_core.layouts.formats.pictures import file_names, with_sizes
from pose_core.skeleton import Skeleton
from pose_core.structures import ImageRecord, Person

Entry = dict[str, Any]

LOCAL_FILES = "/data/local-files/?d="
"""The address, before a path, under which Label Studio serves files of its LOCAL_FILES_DOCUMENT_ROOT."""
PERSON, JOINTS, STATE = "person", "joints", "state"
"""Names of the controls in the labeling configuration."""
HIDDEN = "hidden"
_POINT_WIDTH = 0.6
"""Diameter of a drawn point, in percent of the image's width."""


def write_tasks(
    records: Sequence[ImageRecord],
    skeleton: Skeleton,
    file: Path,
    *,
    images: Path | None = None,
    image_url: str = LOCAL_FILES,
    corrected: bool = False,
    version: str = "pose",
) -> None:
    """Write Label Studio tasks with the people of ``records`` as predictions, which its users accept or correct.

    An image's address is ``image_url`` followed by its name relative to ``images``. ``corrected`` writes annotations
    instead of predictions. ``version`` names the model that predicted. Beside the file, ``<name>.xml`` is the labeling
    configuration that a project needs.
    """
    names = file_names(records, images)
    _write(records, skeleton, file, [image_url + quote(name) for name in names], corrected=corrected, version=version)


def write_export(records: Sequence[ImageRecord], skeleton: Skeleton, target: Target) -> Written:
    """Write ``<name>.json`` with the people as annotations, and its labeling configuration."""
    file = target.folder / f"{target.name}.json"
    addresses = [LOCAL_FILES + quote(f"images/{name}") for name in target.names]
    _write(records, skeleton, file, addresses, corrected=True, version="")
    notes = (
        f"Label Studio finds the images at LOCAL_FILES_DOCUMENT_ROOT={target.folder.absolute()}; a project needs the "
        f"labeling configuration {file.with_suffix('.xml')}",
    )
    images = tuple(target.folder / "images" / name for name in target.names)
    return Written((file, file.with_suffix(".xml")), images, notes=notes)


def _write(
    records: Sequence[ImageRecord],
    skeleton: Skeleton,
    file: Path,
    addresses: Sequence[str],
    *,
    corrected: bool,
    version: str,
) -> None:
    tasks = [
        _task(record, address, skeleton, corrected=corrected, version=version)
        for record, address in zip(with_sizes(records), addresses, strict=True)
    ]
    write_json(file, tasks)
    write_text(file.with_suffix(".xml"), labeling_config(skeleton))


def labeling_config(skeleton: Skeleton) -> str:
    """Return the labeling configuration of a project: rectangles for people, and points for their joints."""
    labels = [
        # The tool's own exports to COCO and YOLO take the order of joints from model_index.
        f'    <Label value={quoteattr(name)} model_index="{j}" '
        f'background="#{"{:02x}{:02x}{:02x}".format(*skeleton.joint_color(j))}"/>'
        for j, name in enumerate(skeleton.joints)
    ]
    lines = [
        "<View>",
        '  <Image name="image" value="$image" zoom="true"/>',
        f'  <RectangleLabels name="{PERSON}" toName="image">',
        f'    <Label value="{PERSON}" background="#808080"/>',
        "  </RectangleLabels>",
        f'  <KeyPointLabels name="{JOINTS}" toName="image" strokeWidth="4">',
        *labels,
        "  </KeyPointLabels>",
        f'  <Choices name="{STATE}" toName="image" perRegion="true" whenTagName="{JOINTS}" choice="single">',
        f'    <Choice value="{HIDDEN}"/>',
        "  </Choices>",
        "</View>",
    ]
    return "\n".join(lines) + "\n"


def _task(record: ImageRecord, address: str, skeleton: Skeleton, *, corrected: bool, version: str) -> Entry:
    result = [
        region
        for number, person in enumerate(record.persons)
        if not person.is_crowd
        for region in _regions(person, f"person{number}", record, skeleton, scored=not corrected)
    ]
    task: Entry = {"id": record.image_id, "data": {"image": address}}
    if corrected:
        return task | {"annotations": [{"result": result}]}
    scores = [person.score for person in record.persons if not person.is_crowd]
    # The lowest score of an image's people: Label Studio sorts its tasks by it.
    return task | {
        "predictions": [{"model_version": version, "score": exact(min(scores, default=0)), "result": result}]
    }


def _regions(person: Person, name: str, record: ImageRecord, skeleton: Skeleton, *, scored: bool) -> list[Entry]:
    """Return a person's rectangle and points."""
    width, height = record.width, record.height
    x, y, w, h = box_of(person, (width, height))
    usual = {"to_name": "image", "original_width": width, "original_height": height, "image_rotation": 0}
    area = {"x": 100 * x / width, "y": 100 * y / height, "width": 100 * w / width, "height": 100 * h / height}
    regions: list[Entry] = [
        {
            "id": name,
            "from_name": PERSON,
            "type": "rectanglelabels",
            **usual,
            **({"score": exact(person.score)} if scored else {}),
            "value": {**area, "rotation": 0, "rectanglelabels": [PERSON]},
        }
    ]
    for joint, (left, top, visible) in enumerate(person.joints.tolist()):
        if not visible:
            continue
        place = {"x": 100 * left / width, "y": 100 * top / height, "width": _POINT_WIDTH}
        point = {"id": f"{name}_{joint}", "parentID": name, **usual}
        regions.append(
            {
                **point,
                "from_name": JOINTS,
                "type": "keypointlabels",
                "value": {**place, "keypointlabels": [skeleton.joints[joint]]},
            }
        )
        if visible == 1:
            regions.append({**point, "from_name": STATE, "type": "choices", "value": {**place, "choices": [HIDDEN]}})
    return regions
