"""SLEAP: its labels as one JSON file, which the tool exports and imports (not its own ``.slp`` files).

Pixels are 0-based and those of a record: since version 1.1 the center of the first pixel is at 0. A film is a list of
pictures here; frames of a film file are looked for beside the JSON file as ``<film>_000012.png``, the number of the
frame from 0 on. A joint that is not visible is hidden, or not labeled if it has no numbers. Boxes, areas and people
without joints cannot be held.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from pose_core.data.numbers import number_list, whole_number
from pose_core.data.sources import image_source
from pose_core.errors import DataError
from pose_core.files import write_json
from pose_core.layouts.formats.format import Found, Target, Written, skeleton_of
from pose_core.layouts.formats.people import exact
from pose_core.plurals import counted
from pose_core.reading.json_text import read_json
from pose_core.reading.printable import shown
from pose_core.skeleton import Skeleton
from pose_core.structures import ImageRecord, Person

Entry = dict[str, Any]

_LISTS = ("nodes", "skeletons", "videos", "labels")
_BODY, _SYMMETRY = 1, 2
"""Types of links between joints: limbs, and mirror pairs."""


def read_sleap(path: Path, split: str, skeleton: Skeleton | None) -> Found:
    """Read the labels of all frames: those that a person has made, and predictions where there are no others."""
    if path.suffix.lower() == ".slp":
        raise DataError(f"{path} is SLEAP's binary file; write it as Labels JSON first: sleap-convert --format json")
    content = read_json(path, "SLEAP labels")
    if not isinstance(content, dict) or not all(_are_objects(content.get(key)) for key in _LISTS):
        raise DataError(f"{path} is not SLEAP's JSON: it needs the lists {', '.join(_LISTS)}; export it as Labels JSON")
    if len(content["skeletons"]) != 1:
        have = counted(len(content["skeletons"]), "skeleton")
        raise DataError(f"{path} has {have}, expected one: export the labels of each on their own")
    order, names = _joints(content, path)
    skeleton = skeleton or skeleton_of("animal", names, _limbs(content["skeletons"][0], order))
    missing = [name for name in names if name not in skeleton.joints]
    if missing:
        raise DataError(f"{path}: node {shown(missing[0])} is not a joint of skeleton {skeleton.name!r}")
    rows = {node: skeleton.joints.index(name) for node, name in zip(order, names, strict=True)}
    records, predicted, number = [], 0, 0
    for place, frame in enumerate(content["labels"]):
        where = f"{path}: entry {place} of 'labels'"
        found, is_predicted = _instances(frame, where)
        predicted += is_predicted
        people = []
        for instance in found:
            joints = _points(instance, rows, skeleton, where)
            if joints[:, 2].any():
                number += 1
                people.append(Person(joints, number))
        records.append(ImageRecord(place + 1, _source(content["videos"], frame, path, where), tuple(people)))
    sources = {record.source for record in records}
    if len(sources) < len(records):
        raise DataError(f"{path}: a frame is in 'labels' twice; merge them in SLEAP")
    notes = (f"{counted(predicted, 'frame')} with predictions only, which are read as labels",) if predicted else ()
    return Found(tuple(records), skeleton, notes)


def _are_objects(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(each, dict) for each in value)


def _joints(content: Entry, file: Path) -> tuple[list[int], list[str]]:
    """Return the skeleton's nodes, as numbers of the list of nodes, and their names."""
    nodes, listed = content["nodes"], content["skeletons"][0].get("nodes")
    numbers = [whole_number(each.get("id")) for each in listed] if _are_objects(listed) else [None]
    order = [number for number in numbers if number is not None and 0 <= number < len(nodes)]
    names = [nodes[number].get("name") for number in order]
    if not order or len(order) < len(numbers) or not all(isinstance(name, str) for name in names):
        raise DataError(f"{file}: the skeleton's 'nodes' must have an 'id', its number in the list of all nodes")
    if len(set(names)) < len(names):
        raise DataError(f"{file}: two joints have one name; rename one in SLEAP")
    return order, names


def _limbs(skeleton: Entry, order: Sequence[int]) -> list[tuple[int, int]]:
    """Return the links of the kind that is drawn, as pairs of joint numbers."""
    limbs = []
    kinds: list[object] = []  # a type is written out once, and then by its number among those written out
    for link in skeleton["links"] if _are_objects(skeleton.get("links")) else ():
        kind = link["type"] if isinstance(link.get("type"), dict) else {}
        reduced = kind.get("py/reduce")
        if isinstance(reduced, list) and len(reduced) > 1 and isinstance(reduced[1], dict):
            kinds.append(reduced[1].get("py/tuple"))
        number = whole_number(kind.get("py/id", len(kinds))) or 0
        is_limb = 0 < number <= len(kinds) and kinds[number - 1] == [_BODY]
        ends = [whole_number(link.get(key)) for key in ("source", "target")]
        if is_limb and all(end in order for end in ends):
            limbs.append((order.index(ends[0] or 0), order.index(ends[1] or 0)))
    return limbs


def _instances(frame: Entry, where: str) -> tuple[list[Entry], bool]:
    """Return a frame's instances that a person has made, else the predicted ones; and whether they are."""
    found = frame.get("_instances", frame.get("instances"))
    if not _are_objects(found):
        raise DataError(f"{where}: it needs a list '_instances'")
    made = [each for each in found or () if "score" not in each]  # only predictions have one
    return (made, False) if made or not found else (found, True)


def _points(instance: Entry, rows: dict[int, int], skeleton: Skeleton, where: str) -> np.ndarray:
    joints = np.zeros((skeleton.num_joints, 3), np.float32)
    points = instance.get("_points", instance.get("points"))
    for key, point in points.items() if isinstance(points, dict) else ():
        row = rows.get(int(key)) if key.isascii() and key.isdigit() and len(key) < 9 else None
        if row is None or not isinstance(point, dict):
            raise DataError(f"{where}: point {shown(key)} belongs to no node of the skeleton")
        place = number_list([point.get("x"), point.get("y")])
        given = [point.get(axis) for axis in "xy"]
        if place is None and any(isinstance(value, int | float) and value == value for value in given):
            raise DataError(f"{where}: point {shown(key)} needs x and y, numbers of pixels")
        if place is not None:
            joints[row] = *place, 2 if point.get("visible", True) is not False else 1
    return joints


def _source(videos: Sequence[Entry], frame: Entry, file: Path, where: str) -> str:
    number, index = whole_number(frame.get("video")), whole_number(frame.get("frame_idx"))
    if number is None or not 0 <= number < len(videos) or index is None or index < 0:
        raise DataError(f"{where}: it needs 'video', a number of the list of videos, and 'frame_idx'")
    backend = videos[number].get("backend")
    backend = backend if isinstance(backend, dict) else {}
    pictures = backend.get("filenames")
    if isinstance(pictures, list) and pictures:
        if index >= len(pictures) or not isinstance(pictures[index], str):
            raise DataError(f"{where}: its video has {counted(len(pictures), 'picture')}, but this is number {index}")
        return image_source(file.parent, pictures[index].replace("\\", "/"))
    film = backend.get("filename")
    if not isinstance(film, str) or not film:
        raise DataError(f"{where}: its video has no 'filename'")
    stem = PurePosixPath(film.replace("\\", "/")).stem
    return image_source(file.parent, f"{stem}_{index:06d}.png")


def write_sleap(records: Sequence[ImageRecord], skeleton: Skeleton, target: Target) -> Written:
    """Write ``<name>.json`` with one film of pictures; their paths are relative to the file."""
    links = [(*limb, _BODY) for limb in skeleton.limbs] + [(*pair, _SYMMETRY) for pair in skeleton.flip_pairs]
    written: dict[int, int] = {}
    listed = []
    for place, (source, end, kind) in enumerate(links):
        if kind in written:
            what: Entry = {"py/id": written[kind]}
        else:
            written[kind] = len(written) + 1
            what = {"py/reduce": [{"py/type": "sleap.skeleton.EdgeType"}, {"py/tuple": [kind]}]}
        listed.append({"edge_insert_idx": place, "key": 0, "source": source, "target": end, "type": what})
    content = {
        "version": "2.0.0",
        "format_id": 1,
        "skeletons": [
            {
                "directed": True,
                "graph": {"name": skeleton.name, "num_edges_inserted": len(listed)},
                "links": listed,
                "multigraph": True,
                "nodes": [{"id": number} for number in range(skeleton.num_joints)],
            }
        ],
        "nodes": [{"name": name, "weight": 1.0} for name in skeleton.joints],
        "videos": [{"backend": {"filename": "", "filenames": [f"images/{name}" for name in target.names]}}],
        "tracks": [],
        "suggestions": [],
        "labels": [
            {"video": 0, "frame_idx": number, "_instances": [_instance(person) for person in record.persons]}
            for number, record in enumerate(records)
        ],
    }
    file = target.folder / f"{target.name}.json"
    write_json(file, content)
    return Written((file,), tuple(target.folder / "images" / name for name in target.names))


def _instance(person: Person) -> Entry:
    points = {
        str(joint): {"x": exact(x), "y": exact(y), "visible": seen == 2, "complete": True}
        for joint, (x, y, seen) in enumerate(person.joints.tolist())
        if seen
    }
    return {"skeleton": 0, "track": None, "_points": points}
