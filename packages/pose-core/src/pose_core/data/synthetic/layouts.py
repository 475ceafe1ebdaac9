"""Scenes as the files of real data sets: COCO, CrowdPose, MPII, LSP."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from pose_core.data.synthetic.scene import DrawnPerson, Scene, render_scene
from pose_core.errors import ConfigError
from pose_core.files import write_json
from pose_core.skeleton import SKELETONS

Array = np.ndarray
JPEG_QUALITY = 92
LAYOUTS = ("coco", "crowdpose", "mpii", "lsp")
VAL_START = 1_000_000
"""Held-out scenes are numbered from here, so that no size of the training set reaches them."""
DETECTIONS = "COCO_val2017_detections_AP_H_56_person.json"

# Joints of other sets by the figure's own landmarks.
_LANDMARKS = {"pelvis": "pelvis", "thorax": "thorax", "upper_neck": "neck", "head": "head_top", "neck": "thorax"}


@dataclass(frozen=True)
class Written:
    """What was written where."""

    folder: Path
    layout: str
    images: dict[str, int]
    people: dict[str, int]

    def __str__(self) -> str:
        lines = [f"{self.layout} data set in {self.folder}"]
        lines += [f"  {split}: {count} images, {self.people[split]} people" for split, count in self.images.items()]
        return "\n".join(lines)


def joints_of(person: DrawnPerson, skeleton: str) -> Array:
    """``(K, 3)`` joints of a drawn person in one of the built-in joint sets; unlabelled ones are zero."""
    names = SKELETONS[skeleton].joints
    rows = []
    for name in names:
        if skeleton == "lsp14" and name == "neck":
            key = "neck"
        else:
            key = _LANDMARKS.get(name, name)
        x, y, visible = person.landmarks[key]
        rows.append((x, y, visible) if visible else (0, 0, 0))
    return np.array(rows, np.float32)


def write_dataset(
    folder: str | Path,
    layout: str = "coco",
    images: int = 64,
    people: tuple[int, int] = (1, 4),
    seed: int = 0,
    *,
    val_images: int | None = None,
    size: tuple[int, int] = (640, 480),
    zipped: bool = False,
    masks: bool = False,
    workers: int = 1,
    progress: bool = False,
) -> Written:
    """Draw ``images`` training scenes and ``val_images`` held-out ones (a quarter by default), and write them.

    The same arguments write the same bytes. ``masks`` adds a PNG per image whose values are body parts (``PARTS``).
    """
    if layout not in LAYOUTS:
        raise ConfigError(f"layout {layout!r} cannot be drawn; choose one of {', '.join(LAYOUTS)}")
    if images < 1 or not 1 <= people[0] <= people[1]:
        raise ConfigError(f"images={images} and people={people} must be at least 1")
    if min(size) < 64:
        raise ConfigError(f"size={size} is too small to draw people in; use at least 64x64")
    if layout == "lsp":
        people = (1, 1)
    held_out = max(images // 4, 1) if val_images is None else val_images
    plan = _Plan(Path(folder), size, people, seed, zipped, masks, workers, progress)
    writer: Callable[[_Plan, int, int], Written] = {
        "coco": _write_coco,
        "crowdpose": _write_crowdpose,
        "mpii": _write_mpii,
        "lsp": _write_lsp,
    }[layout]
    return writer(plan, images, held_out)


@dataclass(frozen=True)
class _Plan:
    folder: Path
    size: tuple[int, int]
    people: tuple[int, int]
    seed: int
    zipped: bool
    masks: bool
    workers: int
    progress: bool

    def scenes(self, indices: Sequence[int], folder: Path, names: Sequence[str]) -> Iterator[tuple[int, Scene]]:
        """Draw scenes in order, writing their images into ``folder`` (or ``folder.zip``)."""
        from tqdm import tqdm

        drawn = self._drawn(indices)
        bar = tqdm(
            zip(indices, names, drawn, strict=True), folder.name, len(indices), disable=not self.progress or None
        )
        if self.zipped:
            import zipfile

            folder.parent.mkdir(parents=True, exist_ok=True)
            with zipfile.ZipFile(folder.with_suffix(".zip"), "w", zipfile.ZIP_STORED) as archive:
                for index, name, (scene, data) in bar:
                    # A fixed date keeps the bytes the same.
                    archive.writestr(zipfile.ZipInfo(f"{folder.name}/{name}", (2026, 1, 1, 0, 0, 0)), data)
                    yield index, scene
            return
        folder.mkdir(parents=True, exist_ok=True)
        for index, name, (scene, data) in bar:
            (folder / name).write_bytes(data)
            if self.masks:
                target = self.folder / "part_masks" / folder.name / f"{Path(name).stem}.png"
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(cv2.imencode(".png", scene.parts)[1].tobytes())
            yield index, scene

    def _drawn(self, indices: Sequence[int]) -> Iterator[tuple[Scene, bytes]]:
        if self.workers <= 1:
            yield from map(self._draw, indices)
            return
        from concurrent.futures import ProcessPoolExecutor
        from multiprocessing import get_context

        with ProcessPoolExecutor(self.workers, get_context("spawn")) as pool:
            yield from pool.map(self._draw, indices, chunksize=8)

    def _draw(self, index: int) -> tuple[Scene, bytes]:
        scene = render_scene(self.seed, index, self.size, self.people)
        bgr = cv2.cvtColor(scene.image, cv2.COLOR_RGB2BGR)
        return scene, cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1].tobytes()


def _segmentation(mask: Array) -> list[list[float]]:
    """A mask as COCO polygons."""
    contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    return [contour.reshape(-1).astype(float).tolist() for contour in contours if len(contour) >= 3]


def _category(skeleton: str) -> dict[str, Any]:
    chosen = SKELETONS[skeleton]
    return {
        "id": 1,
        "name": "person",
        "supercategory": "person",
        "keypoints": list(chosen.joints),
        "skeleton": [[a + 1, b + 1] for a, b in chosen.limbs],
    }


def _annotation(person: DrawnPerson, skeleton: str, image_id: int, identity: int) -> dict[str, Any]:
    joints = joints_of(person, skeleton)
    return {
        "id": identity,
        "image_id": image_id,
        "category_id": 1,
        "iscrowd": 0,
        "keypoints": [round(float(v), 2) if i % 3 < 2 else int(v) for i, v in enumerate(joints.reshape(-1))],
        "num_keypoints": int((joints[:, 2] > 0).sum()),
        "bbox": [round(value, 2) for value in person.box],
        "area": float(person.mask.sum()),
        "segmentation": _segmentation(person.mask),
    }


def _write_coco(plan: _Plan, images: int, held_out: int) -> Written:
    counts, people = {}, {}
    for split, indices in _splits("train2017", "val2017", images, held_out):
        ids = [index + 1 for index in indices]
        content: dict[str, Any] = {"images": [], "annotations": [], "categories": [_category("coco17")]}
        found: list[dict[str, Any]] = []
        scenes = plan.scenes(indices, plan.folder / "images" / split, [f"{identity:012d}.jpg" for identity in ids])
        for index, scene in scenes:
            content["images"].append(_image(index + 1, f"{index + 1:012d}.jpg", scene))
            for person in scene.people:
                content["annotations"].append(
                    _annotation(
                        person, "coco17", index + 1, len(content["annotations"]) + 1 + (index >= VAL_START) * VAL_START
                    )
                )
            found += _detections(np.random.default_rng([plan.seed, index, 7]), scene, index + 1)
        write_json(plan.folder / "annotations" / f"person_keypoints_{split}.json", content)
        if split == "val2017":
            write_json(plan.folder / "person_detection_results" / DETECTIONS, found)
        counts[split], people[split] = len(ids), len(content["annotations"])
    _write_test_dev(plan, max(held_out // 2, 1))
    return Written(plan.folder, "coco", counts, people)


def _write_test_dev(plan: _Plan, images: int) -> None:
    """Images without annotations, as the test server keeps them; and detections for them."""
    indices = range(2 * VAL_START, 2 * VAL_START + images)
    names = [f"{index + 1:012d}.jpg" for index in indices]
    content: dict[str, Any] = {"images": [], "categories": [_category("coco17")]}
    found = []
    for index, scene in plan.scenes(indices, plan.folder / "images" / "test2017", names):
        content["images"].append(_image(index + 1, f"{index + 1:012d}.jpg", scene))
        found += _detections(np.random.default_rng([plan.seed, index, 7]), scene, index + 1)
    write_json(plan.folder / "annotations" / "image_info_test-dev2017.json", content)
    write_json(plan.folder / "person_detection_results" / "COCO_test-dev2017_detections_AP_H_609_person.json", found)


def _image(identity: int, name: str, scene: Scene) -> dict[str, Any]:
    height, width = scene.image.shape[:2]
    return {"id": identity, "file_name": name, "height": height, "width": width}


def _detections(rng: np.random.Generator, scene: Scene, image_id: int) -> list[dict[str, Any]]:
    """What a fair detector would say: most people, boxes a little off, now and then a false alarm."""
    height, width = scene.image.shape[:2]
    boxes = []
    for person in scene.people:
        if rng.random() < 0.95:
            x, y, w, h = np.array(person.box) + rng.normal(0, 0.03, 4) * np.array([*person.box[2:], *person.box[2:]])
            boxes.append((x, y, max(w, 2.0), max(h, 2.0), rng.uniform(0.6, 1)))
    if rng.random() < 0.3:
        w, h = rng.uniform(0.1, 0.4) * width, rng.uniform(0.2, 0.6) * height
        boxes.append((rng.uniform(0, width - w), rng.uniform(0, height - h), w, h, rng.uniform(0.02, 0.4)))
    return [
        {
            "image_id": image_id,
            "category_id": 1,
            "bbox": [round(float(value), 2) for value in box[:4]],
            "score": round(float(box[4]), 4),
        }
        for box in boxes
    ]


def _write_crowdpose(plan: _Plan, images: int, held_out: int) -> Written:
    """``json/crowdpose_{train,val,trainval,test}.json``; one folder of images; crowd indices; no areas."""
    parts: dict[str, dict[str, Any]] = {}
    splits = [
        ("train", range(images)),
        ("val", range(VAL_START, VAL_START + held_out)),
        ("test", range(2 * VAL_START, 2 * VAL_START + held_out)),
    ]
    for split, indices in splits:
        content: dict[str, Any] = {"images": [], "annotations": [], "categories": [_category("crowdpose14")]}
        folder = plan.folder / "images"
        for index, scene in _appended(plan, indices, folder):
            content["images"].append(_image(index + 1, f"{index + 1}.jpg", scene) | {"crowdIndex": _crowd_index(scene)})
            for person in scene.people:
                entry = _annotation(person, "crowdpose14", index + 1, indices[0] + len(content["annotations"]) + 1)
                for key in ("area", "segmentation"):
                    del entry[key]
                content["annotations"].append(entry)
        parts[split] = content
        write_json(plan.folder / "json" / f"crowdpose_{split}.json", content)
    both = {key: parts["train"][key] + parts["val"][key] for key in ("images", "annotations")}
    write_json(plan.folder / "json" / "crowdpose_trainval.json", {"categories": [_category("crowdpose14")], **both})
    return Written(
        plan.folder,
        "crowdpose",
        {split: len(content["images"]) for split, content in parts.items()},
        {split: len(content["annotations"]) for split, content in parts.items()},
    )


def _appended(plan: _Plan, indices: range, folder: Path) -> Iterator[tuple[int, Scene]]:
    if plan.zipped:
        raise ConfigError("zip files are written for the coco layout only")
    return plan.scenes(indices, folder, [f"{index + 1}.jpg" for index in indices])


def _crowd_index(scene: Scene) -> float:
    """Mean share of the joints within a person's box that belong to others."""
    if len(scene.people) < 2:
        return 0.0
    shares = []
    for person in scene.people:
        x, y, w, h = person.box
        own = other = 0
        for one in scene.people:
            joints = joints_of(one, "crowdpose14")
            inside = (joints[:, 0] >= x) & (joints[:, 0] <= x + w) & (joints[:, 1] >= y) & (joints[:, 1] <= y + h)
            count = int((inside & (joints[:, 2] > 0)).sum())
            if one is person:
                own += count
            else:
                other += count
        shares.append(other / max(own, 1))
    return round(float(np.clip(np.mean(shares), 0, 1)), 4)


def _write_mpii(plan: _Plan, images: int, held_out: int) -> Written:
    """``annot/{train,valid,test}.json`` 1-based, ``annot/gt_valid.mat``, and the official release's ``.mat``."""
    from pose_core.data.synthetic.mpii_files import write_ground_truth, write_release

    counts, people, everyone = {}, {}, []
    splits = [*_splits("train", "valid", images, held_out), ("test", range(2 * VAL_START, 2 * VAL_START + held_out))]
    for split, indices in splits:
        entries, heads = [], []
        for index, scene in _appended(plan, indices, plan.folder / "images"):
            for person in scene.people:
                entry = _mpii_entry(person, f"{index + 1}.jpg")
                entries.append(entry)
                heads.append(np.array(person.head_box) + 1)
        public = [{k: v for k, v in e.items() if split != "test" or not k.startswith("joints")} for e in entries]
        write_json(plan.folder / "annot" / f"{split}.json", public)
        if split == "valid":
            write_ground_truth(plan.folder / "annot" / "gt_valid.mat", entries, heads)
        everyone += [(entry, head, split != "test") for entry, head in zip(entries, heads, strict=True)]
        counts[split], people[split] = len(indices), len(entries)
    write_release(plan.folder / "mpii_human_pose_v1_u12_1.mat", everyone)
    return Written(plan.folder, "mpii", counts, people)


def _mpii_entry(person: DrawnPerson, image: str) -> dict[str, Any]:
    joints = joints_of(person, "mpii16")
    points = np.where(joints[:, 2:] > 0, joints[:, :2] + 1, 0)
    x, y, w, h = person.box
    scale = person.height / 200
    # The annotated centre is the trunk's; readers move it down by 15·scale.
    return {
        "image": image,
        "center": [round(x + w / 2 + 1, 2), round(y + h / 2 + 1 - 15 * scale, 2)],
        "scale": round(scale, 5),
        "joints": [[round(float(a), 2), round(float(b), 2)] for a, b in points],
        "joints_vis": [int(v > 0) for v in joints[:, 2]],
    }


def _write_lsp(plan: _Plan, images: int, held_out: int) -> Written:
    """LSP's ``joints.mat`` (3, 14, N): the first half trains, the second tests; and LSP-extended beside it."""
    from scipy.io import savemat

    total = 2 * max(images, held_out)
    for folder, name in ((plan.folder, "lsp"), (plan.folder / "extended", "extended")):
        start = 0 if name == "lsp" else VAL_START
        indices = range(start, start + total)
        digits = 4 if name == "lsp" else 5
        names = [f"im{number + 1:0{digits}d}.jpg" for number in range(total)]
        rows = []
        for _, scene in plan.scenes(indices, folder / "images", names):
            joints = joints_of(scene.people[0], "lsp14") if scene.people else np.zeros((14, 3), np.float32)
            joints[:, :2] = np.where(joints[:, 2:] > 0, joints[:, :2] + 1, 0)
            rows.append(joints.astype(np.float64))
        stacked = np.stack(rows)  # (N, 14, 3)
        if name == "lsp":
            # LSP marks hidden joints, LSP-extended visible ones.
            stacked[..., 2] = stacked[..., 2] < 2
            savemat(folder / "joints.mat", {"joints": stacked.transpose(2, 1, 0)})
        else:
            stacked[..., 2] = stacked[..., 2] > 0
            savemat(folder / "joints.mat", {"joints": stacked.transpose(1, 2, 0)})
    half = total // 2
    return Written(plan.folder, "lsp", {"train": half, "test": total - half}, {"train": half, "test": total - half})


def _splits(train: str, val: str, images: int, held_out: int) -> list[tuple[str, range]]:
    return [(train, range(images)), (val, range(VAL_START, VAL_START + held_out))]
