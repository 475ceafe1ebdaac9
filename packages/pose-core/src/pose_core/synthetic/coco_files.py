"""Annotation files of COCO and CrowdPose."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np

from pose_core.skeleton import SKELETONS
from pose_core.synthetic.annotate import DrawnPerson
from pose_core.synthetic.drawing import Drawn
from pose_core.synthetic.figure import Box

Array = np.ndarray
Entry = dict[str, Any]

UNLABELED = 0.04
"""The fraction of people that get a mask but no joints, if crowds are enabled."""


def coco_content(pictures: Sequence[tuple[str, Drawn]], seed: int, *, crowds: bool) -> Entry:
    """Return the content of ``person_keypoints_<split>.json``."""
    annotations: list[Entry] = []
    for _, drawn in pictures:
        rng = np.random.default_rng([seed, drawn.image_id, 2])
        entries = [_person_entry(person, "coco17") for person in drawn.people]
        for entry in entries:
            if crowds and rng.random() < UNLABELED:
                entry.update(keypoints=[0] * 51, num_keypoints=0)
        if drawn.crowd is not None:
            entries.append(_crowd_entry(drawn.crowd))
        annotations += _numbered(entries, drawn.image_id)
    return {
        "info": {"description": "Synthetic people", "version": "1.0"},
        "licenses": [],
        "images": [_image_entry(name, drawn) for name, drawn in pictures],
        "annotations": annotations,
        "categories": [_category("coco17")],
    }


def image_info(pictures: Sequence[tuple[str, Drawn]]) -> Entry:
    """Return the content of ``image_info_test-dev2017.json``: images without annotations."""
    images = [_image_entry(name, drawn) for name, drawn in pictures]
    return {"info": {}, "licenses": [], "images": images, "categories": [_category("coco17")]}


def crowdpose_content(pictures: Sequence[tuple[str, Drawn]]) -> Entry:
    """Return the content of ``crowdpose_<split>.json``: no areas, no masks, and a crowd index per image."""
    images, annotations = [], []
    for name, drawn in pictures:
        images.append({**_image_entry(name, drawn), "crowdIndex": crowd_index(drawn.people)})
        entries = [_person_entry(person, "crowdpose14") for person in drawn.people]
        for entry in entries:
            del entry["area"], entry["segmentation"]
        annotations += _numbered(entries, drawn.image_id)
    return {"images": images, "annotations": annotations, "categories": [_category("crowdpose14")]}


def crowd_index(people: Sequence[DrawnPerson]) -> float:
    """Compute CrowdPose's equation 1: the mean ratio of others' joints in a person's box to its own, at most 1."""
    if len(people) < 2:
        return 0.0
    joints = [person.joints("crowdpose14") for person in people]
    ratios = []
    for number, person in enumerate(people):
        x, y, w, h = person.box
        counts = [
            int(((j[:, 2] > 0) & (j[:, 0] >= x) & (j[:, 0] <= x + w) & (j[:, 1] >= y) & (j[:, 1] <= y + h)).sum())
            for j in joints
        ]
        ratios.append((sum(counts) - counts[number]) / max(counts[number], 1))
    return round(min(float(np.mean(ratios)), 1.0), 2)


def fake_detections(pictures: Sequence[tuple[str, Drawn]], seed: int) -> list[Entry]:
    """Simulate a person detector: jittered boxes with scores, duplicates, misses and false positives."""
    found: list[Entry] = []
    for _, drawn in pictures:
        rng = np.random.default_rng([seed, drawn.image_id, 3])
        boxes: list[tuple[Box, float]] = []
        for person in drawn.people:
            size = min(1.0, person.area / 2500)
            if rng.random() < 0.97 * size**0.2:
                boxes.append((_jittered(rng, person.box, 0.025), float(rng.beta(9, 1) * (0.6 + 0.4 * size))))
            if rng.random() < 0.08:
                boxes.append((_jittered(rng, person.box, 0.12), float(rng.uniform(0.05, 0.5))))
        for _ in range(int(rng.poisson(0.5))):
            w, h = rng.uniform(0.06, 0.35, 2) * drawn.size
            corner = rng.uniform(0, 1, 2) * (drawn.size[0] - w, drawn.size[1] - h)
            boxes.append(((float(corner[0]), float(corner[1]), float(w), float(h)), float(rng.beta(1, 6))))
        for box, score in sorted(boxes, key=lambda item: -item[1]):
            row = {"image_id": drawn.image_id, "category_id": 1, "score": round(score, 5)}
            found.append({**row, "bbox": _clipped(box, drawn.size)})
    return found


def _jittered(rng: np.random.Generator, box: Box, strength: float) -> Box:
    x, y, w, h = box
    left, top, right, bottom = rng.normal(0, strength, 4) * (w, h, w, h) + (x, y, x + w, y + h)
    return float(left), float(top), float(max(right - left, 2)), float(max(bottom - top, 2))


def _clipped(box: Box, size: tuple[int, int]) -> list[float]:
    left, top = max(box[0], 0.0), max(box[1], 0.0)
    right, bottom = min(box[0] + box[2], size[0]), min(box[1] + box[3], size[1])
    return [round(float(value), 2) for value in (left, top, right - left, bottom - top)]


def _image_entry(name: str, drawn: Drawn) -> Entry:
    width, height = drawn.size
    return {"id": drawn.image_id, "file_name": name, "width": width, "height": height}


def _category(skeleton: str) -> Entry:
    joints = SKELETONS[skeleton]
    limbs = [[a + 1, b + 1] for a, b in joints.limbs]
    return {"supercategory": "person", "id": 1, "name": "person", "keypoints": list(joints.joints), "skeleton": limbs}


def _person_entry(person: DrawnPerson, skeleton: str) -> Entry:
    joints = person.joints(skeleton)
    flat: list[float] = []
    for x, y, visible in joints.tolist():
        flat += [round(x, 2), round(y, 2), int(visible)]
    return {
        "category_id": 1,
        "iscrowd": 0,
        "num_keypoints": int((joints[:, 2] > 0).sum()),
        "keypoints": flat,
        "bbox": list(person.box),
        "area": person.area,
        "segmentation": mask_polygons(person),
    }


def _numbered(entries: list[Entry], image_id: int) -> list[Entry]:
    """Number annotations by image id, so that ids do not depend on other images."""
    return [{"id": image_id * 100 + number, "image_id": image_id, **entry} for number, entry in enumerate(entries)]


def mask_polygons(person: DrawnPerson) -> list[list[float]]:
    """Return the outlines of the visible mask, one per connected piece, as COCO's flat x, y lists."""
    # Upscaled by 2, so that an outline follows the edges of pixels rather than their centers.
    doubled = np.kron(person.mask.astype(np.uint8), np.ones((2, 2), np.uint8))
    outlines, _ = cv2.findContours(doubled, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    rows, columns = person.window
    polygons = []
    for outline in outlines:
        points = cv2.approxPolyDP(outline, 0.8, True).reshape(-1, 2) / 2 + 0.25 + (columns.start, rows.start)
        if len(points) >= 3:
            polygons.append(points.reshape(-1).tolist())
    return polygons


def _crowd_entry(mask: Array) -> Entry:
    """Return a crowd region, as uncompressed run lengths."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    box = (columns[0], rows[0], columns[-1] - columns[0] + 1, rows[-1] - rows[0] + 1)
    return {
        "category_id": 1,
        "iscrowd": 1,
        "num_keypoints": 0,
        "keypoints": [0] * 51,
        "bbox": [float(value) for value in box],
        "area": float(mask.sum()),
        "segmentation": {"size": list(mask.shape), "counts": run_lengths(mask)},
    }


def run_lengths(mask: Array) -> list[int]:
    """Return COCO's uncompressed run lengths of ``(H, W)`` bool: column by column, zeros first."""
    flat = mask.astype(np.int8).ravel(order="F")
    changes = np.flatnonzero(np.diff(flat, prepend=0, append=1 - flat[-1])).tolist()
    return [b - a for a, b in zip([0, *changes], changes, strict=False)]
