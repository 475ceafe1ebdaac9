"""Kinds of files of other tools: what `pose data convert` and `pose data merge --into` read."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from shapes import Kind, as_json, check_records, coco_tree, expect, json_kind, write_images

JOINTS = ("nose", "left_hand", "right_hand", "tail")


def _tasks(images: Sequence[str]) -> list[dict[str, Any]]:
    """Return an export of Label Studio: points in a region, related to one, and within one."""
    size = {"original_width": 64, "original_height": 48, "image_rotation": 0, "to_name": "image"}

    def region(name: str, kind: str, **value: Any) -> dict[str, Any]:
        return {**size, "id": name, "type": kind, "from_name": "x", "value": value}

    return [
        {
            "id": number,
            "data": {"image": f"/data/local-files/?d={image}"},
            "annotations": [
                {
                    "id": number,
                    "was_cancelled": False,
                    "updated_at": "2026-11-29T10:00:00Z",
                    "result": [
                        region("b", "rectanglelabels", x=10.0, y=10.0, width=50.0, height=60.0, rotation=0,
                               rectanglelabels=["person"]),
                        {**region("p0", "keypointlabels", x=20.0, y=20.0, width=0.5, keypointlabels=["nose"]),
                         "parentID": "b"},
                        region("p1", "keypointlabels", x=90.0, y=20.0, width=0.5, keypointlabels=["left_hand"]),
                        region("p2", "keypointlabels", x=30.0, y=30.0, width=0.5, keypointlabels=["tail"]),
                        region("p2", "choices", x=30.0, y=30.0, width=0.5, choices=["hidden"]),
                        {"type": "relation", "from_id": "p1", "to_id": "b", "direction": "right"},
                    ],
                }
            ],
        }
        for number, image in enumerate(images, 1)
    ]  # fmt: skip


def label_studio(folder: Path) -> Kind:
    from pose_core.layouts.formats.label_studio_export import read_label_studio

    def read() -> object:
        found = read_label_studio(folder / "export.json", "", None)
        check_records(found.records, folder, found.skeleton.num_joints)
        return found

    folder.mkdir(parents=True, exist_ok=True)
    return json_kind(folder / "export.json", [_tasks(["images/a.jpg", "images/b.jpg"])], read)


def corrected_coco(folder: Path) -> Kind:
    """A corrected file, merged into a sound one: what comes out can be read for evaluation."""
    tree = coco_tree(JOINTS)
    export = coco_tree(JOINTS)
    for entry in export["annotations"]:
        entry.update(attributes={"occluded": False}, segmentation=[], category_id=3)
    export["annotations"].pop()
    export["categories"][0].update(id=3, supercategory="", keypoints=list(JOINTS[::-1]))
    return _corrections(folder, tree, [export])


def corrected_tasks(folder: Path) -> Kind:
    tree = coco_tree(JOINTS)
    return _corrections(folder, tree, [_tasks([image["file_name"] for image in tree["images"]])])


def corrected_into(folder: Path) -> Kind:
    """The file to correct."""
    from pose_core.layouts.corrections import merge_corrections

    folder.mkdir(parents=True, exist_ok=True)
    tree = coco_tree(JOINTS)
    (folder / "tasks.json").write_bytes(as_json(_tasks([image["file_name"] for image in tree["images"]])))
    file = folder / "into.json"
    return json_kind(file, [tree], lambda: merge_corrections(file, [folder / "tasks.json"], folder / "new.json"))


def _corrections(folder: Path, tree: dict[str, Any], exports: Sequence[Any]) -> Kind:
    from pose_core.evaluation.keypoint_files import read_ground_truth
    from pose_core.layouts.corrections import merge_corrections

    folder.mkdir(parents=True, exist_ok=True)
    into, file, out = (folder / name for name in ("into.json", "corrected.json", "new.json"))
    into.write_bytes(as_json(tree))

    def read() -> object:
        merged = merge_corrections(into, [file], out)
        truth = read_ground_truth(out, len(JOINTS))
        expect(len(truth.image_ids) == 2, "images")
        return str(merged)

    return json_kind(file, exports, read)


def yolo_data(folder: Path) -> Kind:
    write_images(folder / "images" / "train", ["a.jpg"])
    content = {"path": ".", "train": "images/train", "val": "images/val", "kpt_shape": [4, 3], "names": {0: "person"},
               "flip_idx": [0, 2, 1, 3], "kpt_names": {0: list(JOINTS)}}  # fmt: skip
    (folder / "labels" / "train").mkdir(parents=True)
    (folder / "labels" / "train" / "a.txt").write_text(f"0 0.5 0.5 0.5 0.5{' 0.5 0.5 2' * 4}\n")
    file = folder / "data.yaml"

    def dump(tree: Any) -> bytes:
        return yaml.safe_dump(tree).encode("utf-8", "surrogatepass")

    return Kind(file, [dump(content)], lambda: _read_yolo(folder), _safe(dump), [content])


def _safe(dump: Callable[[Any], bytes]) -> Callable[[Any], bytes]:
    """Return a writer of YAML that writes what YAML cannot hold as JSON."""

    def write(tree: Any) -> bytes:
        try:
            return dump(tree)
        except (yaml.YAMLError, ValueError, TypeError):
            return as_json(tree)

    return write


def yolo_labels(folder: Path) -> Kind:
    yolo_data(folder)
    (folder / "data.yaml").write_text(
        f"train: images/train\nkpt_shape: [4, 3]\nnames: [person]\nkpt_names: {json.dumps(list(JOINTS))}\n"
    )
    lines = [f"0 0.5 0.5 0.25 0.5{' 0.125 0.5 2' * 4}", f"0 0.5 0.5 0.25 0.5{' 0 0 0' * 3} 1 1 1", ""]
    return Kind(folder / "labels" / "train" / "a.txt", ["\n".join(lines).encode()], lambda: _read_yolo(folder))


def _read_yolo(folder: Path) -> object:
    from pose_core.layouts.formats.yolo import read_yolo

    found = read_yolo(folder, "train", None)
    check_records(found.records, folder, found.skeleton.num_joints)
    return found


def deeplabcut_csv(folder: Path) -> Kind:
    folder.mkdir(parents=True, exist_ok=True)
    one = ("scorer,me,me,me,me\nbodyparts,a,a,b,b\ncoords,x,y,x,y\n"
           "labeled-data/v/0.png,1,2,,\nlabeled-data/v/1.png,3,4,5,6\n")  # fmt: skip
    two = ("scorer,,,me,me,me,me\nindividuals,,,i,i,j,j\nbodyparts,,,a,a,a,a\ncoords,,,x,y,x,y\n"
           "labeled-data,v,0.png,1,2,,\nlabeled-data,v,1.png,3,4,5,6\n")  # fmt: skip
    file = folder / "CollectedData_me.csv"
    return Kind(file, [one.encode(), two.encode()], lambda: _read_deeplabcut(file, folder))


def deeplabcut_h5(folder: Path) -> Kind:
    from pose_core.layouts.formats.deeplabcut_h5 import write_table

    folder.mkdir(parents=True, exist_ok=True)
    file, seeds = folder / "CollectedData_me.h5", []
    for people in (1, 2):
        columns = [("me", *((f"i{n}",) if people > 1 else ()), part, axis)
                   for n in range(people) for part in "ab" for axis in "xy"]  # fmt: skip
        write_table(file, [("labeled-data", "v", f"{n}.png") for n in range(3)], columns, np.ones((3, len(columns))))
        seeds.append(file.read_bytes())
    return Kind(file, seeds, lambda: _read_deeplabcut(file, folder))


def _read_deeplabcut(file: Path, folder: Path) -> object:
    from pose_core.layouts.formats.deeplabcut import read_deeplabcut

    found = read_deeplabcut(file, "", None)
    check_records(found.records, folder, found.skeleton.num_joints)
    return found


def sleap(folder: Path) -> Kind:
    from pose_core.layouts.formats.sleap import read_sleap

    folder.mkdir(parents=True, exist_ok=True)
    limb = {"py/reduce": [{"py/type": "sleap.skeleton.EdgeType"}, {"py/tuple": [1]}]}
    links = [{"edge_insert_idx": n, "key": 0, "source": n, "target": n + 1, "type": kind}
             for n, kind in enumerate((limb, {"py/id": 1}))]  # fmt: skip
    points = {str(n): {"x": 5.5 + n, "y": 6.0, "visible": n != 1, "complete": True} for n in range(3)}
    instances = [{"skeleton": 0, "track": None, "_points": points}, {"skeleton": 0, "score": 0.5, "_points": points}]
    tree = {
        "version": "2.0.0",
        "skeletons": [
            {"directed": True, "graph": {"name": "s"}, "links": links, "nodes": [{"id": n} for n in range(3)]}
        ],
        "nodes": [{"name": name, "weight": 1.0} for name in JOINTS[:3]],
        "videos": [{"backend": {"filename": "a.mp4"}}, {"backend": {"filenames": ["b/0.png", "b/1.png"]}}],
        "labels": [{"video": v, "frame_idx": f, "_instances": instances} for v, f in ((0, 3), (1, 0), (1, 1))],
        "tracks": [],
    }

    def read() -> object:
        found = read_sleap(folder / "labels.json", "", None)
        check_records(found.records, folder, found.skeleton.num_joints)
        return found

    return json_kind(folder / "labels.json", [tree], read)


def own_joints(folder: Path) -> Kind:
    """A COCO file whose joints are those that its category names."""
    from pose_core.layouts.formats.published import read_coco

    write_images(folder / "images", ["000000000001.jpg", "000000000002.jpg"])
    file = folder / "train.json"

    def read() -> object:
        found = read_coco(file, "", None)
        check_records(found.records, folder, found.skeleton.num_joints)
        return found

    return json_kind(file, [coco_tree(JOINTS)], read)


FORMAT_KINDS: dict[str, Callable[[Path], Kind]] = {
    "corrected_coco": corrected_coco,
    "corrected_into": corrected_into,
    "corrected_tasks": corrected_tasks,
    "deeplabcut_csv": deeplabcut_csv,
    "deeplabcut_h5": deeplabcut_h5,
    "label_studio": label_studio,
    "own_joints": own_joints,
    "sleap": sleap,
    "yolo_data": yolo_data,
    "yolo_labels": yolo_labels,
}
