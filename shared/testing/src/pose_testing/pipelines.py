"""Whole pipelines: figures of ``golden/pipelines``, and what ours gives for the same images, boxes and weights.

A file holds an experiment and its settings as a user gives them, the published ``rules`` in the keys of the published
files, the network's published state dict with ``scaled`` rows, images and people, and the ``outputs``: one entry for
each person found. Everything is filled by the golden rule; see ``golden/README.md``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from pose_testing.golden import FOLDER, fill_state_dict, load_golden, uniform

Array = np.ndarray
Content = dict[str, Any]
CELL = 8
"""Image pixels between the random values of an image."""


def pipeline_names() -> list[str]:
    """Return the names of all files in ``golden/pipelines``."""
    return sorted(file.name.removesuffix(".json.gz") for file in (FOLDER / "pipelines").glob("*.json.gz"))


def pipeline(name: str) -> Content:
    """Return the content of a file in ``golden/pipelines``."""
    content: Content = load_golden(f"pipelines/{name}")
    return content


def draw(key: str, width: int, height: int) -> Array:
    """Return an image ``(height, width, 3)`` uint8 BGR by the golden rule.

    Values ``floor(128 (1 + u))`` with u = ``uniform(key)`` lie on a grid of cells of 8 pixels, row by row and channel
    last; pixels between them are interpolated bilinearly, and rounded down.
    """
    rows, columns = height // CELL + 2, width // CELL + 2
    grid = np.floor(128 * (1 + uniform(key, rows * columns * 3))).reshape(rows, columns, 3)
    y, x = np.arange(height)[:, None, None] / CELL, np.arange(width)[None, :, None] / CELL
    top, left = np.arange(height) // CELL, np.arange(width) // CELL
    down, right = y - top[:, None, None], x - left[None, :, None]
    upper = grid[top][:, left] * (1 - right) + grid[top][:, left + 1] * right
    lower = grid[top + 1][:, left] * (1 - right) + grid[top + 1][:, left + 1] * right
    return np.floor(upper * (1 - down) + lower * down).astype(np.uint8)


def write_images(content: Content, folder: Path) -> dict[int, Path]:
    """Write the images as PNG files; return their paths by id."""
    folder.mkdir(parents=True, exist_ok=True)
    files = {}
    for image in content["images"]:
        file = folder / image["file"]
        assert cv2.imwrite(str(file), draw(image["key"], image["width"], image["height"]))
        files[int(image["id"])] = file
    return files


def published_weights(content: Content) -> dict[str, torch.Tensor]:
    """Return the published state dict, filled by the rule; ``scaled`` rows are multiplied and raised."""
    state = fill_state_dict([(key, tuple(shape)) for key, shape in content["state_dict"]])
    for key, first, last, factor, added in content["scaled"]:
        state[key][first:last] = state[key][first:last] * factor + added
    return {key: torch.from_numpy(np.asarray(value)) for key, value in state.items()}


def network_of(content: Content, dtype: torch.dtype = torch.float64) -> Callable[[Array], Array]:
    """Return the network with its weights: images ``(N, 3, H, W)`` → the last output ``(N, C, h, w)``, float64."""
    from pose_core.models.weights import load_weights
    from pose_core.plugins.networks import create_model

    given = content["network"]
    network = create_model(given["name"], num_joints=given["joints"], **given["options"]).to(dtype).eval()
    report = load_weights(network, published_weights(content))
    assert report.complete, report

    def run(images: Array) -> Array:
        with torch.no_grad():
            output = network(torch.from_numpy(images).to(dtype))
        last = output if isinstance(output, torch.Tensor) else output[-1]
        return np.asarray(last.double().numpy())

    return run


def write_data(content: Content, root: Path) -> list[str]:
    """Write images, annotations and weights below ``root``; return the words of the command line that name them."""
    words = [f"data.root={root}", "run.device=cpu", "test.workers=0", *content["settings"]]
    if content["layout"] == "mpii":
        write_images(content, root / "images")
        names = {image["id"]: image["file"] for image in content["images"]}
        rows = [
            {"image": names[entry["image_id"]], "center": entry["center"], "scale": entry["scale"]}
            for entry in content["people"]
        ]
        _write(root / "annot" / "test.json", rows)
        words += ["data.val=test"]
    else:
        write_images(content, root / "images" / "val2017")
        sizes = [
            {"id": i["id"], "file_name": i["file"], "width": i["width"], "height": i["height"]}
            for i in content["images"]
        ]
        annotated = [entry for entry in content["people"] if "score" not in entry]
        # The people to find are detections or nobody: the evaluation still needs an annotated person.
        annotated = annotated or [{"image_id": content["images"][0]["id"], "box": [4, 4, 40, 40]}]
        people = [_annotation(number, entry, content["network"]["joints"]) for number, entry in enumerate(annotated, 1)]
        categories = [{"id": 1, "name": "person"}]
        _write(
            root / "annotations" / "person_keypoints_val2017.json",
            {"images": sizes, "annotations": people, "categories": categories},
        )
        boxes = [
            {"image_id": e["image_id"], "category_id": e.get("category", 1), "bbox": e["box"], "score": e["score"]}
            for e in content["people"]
            if "score" in e
        ]
        if boxes:
            words += ["--boxes", str(_write(root / "detections.json", boxes))]
    file = root / "published.pth.tar"
    torch.save({"state_dict": {f"module.{key}": value for key, value in published_weights(content).items()}}, file)
    return ["--cfg", content["experiment"], "--weights", str(file), *words]


def _annotation(number: int, entry: dict[str, Any], joints: int) -> dict[str, Any]:
    x, y, w, h = entry["box"]
    points = [value for _ in range(joints) for value in (x + w / 2, y + h / 2, 2)]
    return {
        "id": number, "image_id": entry["image_id"], "category_id": 1, "bbox": entry["box"], "area": w * h,
        "iscrowd": 0, "num_keypoints": joints, "keypoints": points,
    }  # fmt: skip


def _write(file: Path, content: Any) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content))
    return file


def detected(content: Content) -> list[dict[str, Any]]:
    """Return the detections that the published reader keeps: people with a score of ``image_thre`` or more."""
    least = content["rules"].get("image_thre", 0.0)
    return [e for e in content["people"] if e.get("category", 1) == 1 and e.get("score", 1.0) >= least]


def evaluated(content: Content, words: list[str], folder: Path) -> list[dict[str, Any]]:
    """Run ``pose eval`` with the ``words`` of `write_data`; return the entries of its result file."""
    from pose_core.cli import main

    assert main(["eval", *words, "--out", str(folder)]) == 0
    if content["layout"] == "mpii":
        from scipy.io import loadmat

        points = loadmat(next(folder.rglob("pred.mat")))["preds"] - 1
        numbers = [entry["image_id"] for entry in content["people"]]
        return [{"image_id": i, "keypoints": p.tolist()} for i, p in zip(numbers, points, strict=True)]
    entries = json.loads(next(folder.rglob("keypoints_val2017_results.json")).read_text())
    for entry in entries:
        values = np.array(entry["keypoints"]).reshape(-1, 3)
        entry.update(keypoints=values[:, :2].tolist(), scores=values[:, 2].tolist())
    return list(entries)


def predicted(content: Content, words: list[str], root: Path) -> list[dict[str, Any]]:
    """Run a `Predictor` on the images that `write_data` wrote below ``root``; return everybody, none suppressed."""
    from pose_core import Predictor, load_config
    from pose_core.data.images import open_image

    weights = words[words.index("--weights") + 1]
    settings = [word for word in words if "=" in word]
    predictor = Predictor.from_config(load_config(content["experiment"], settings), weights, "cpu")
    found = []
    for image in content["images"]:
        pixels = open_image(str(next((root / "images").rglob(image["file"]))))
        boxes = [[*e["box"], e["score"]] for e in detected(content) if e["image_id"] == image["id"]]
        poses = predictor(pixels, np.array(boxes).reshape(-1, 5)) if predictor.needs_boxes else predictor(pixels)
        for points, scores, total in zip(poses.keypoints, poses.scores, poses.pose_scores, strict=True):
            entry = {"keypoints": points.tolist(), "scores": scores.tolist(), "score": float(total)}
            found.append({"image_id": image["id"], **entry})
    return found


def difference(expected: Iterable[dict[str, Any]], found: list[dict[str, Any]]) -> dict[str, float]:
    """Return the largest differences of people, matched image by image; everybody must have a match.

    ``pixels`` is of the keypoints; joint ``scores`` and person ``score`` are relative to the person's largest.
    """
    wanted, result = list(expected), {"pixels": 0.0}
    for image in {entry["image_id"] for entry in [*wanted, *found]}:
        theirs = [entry for entry in wanted if entry["image_id"] == image]
        ours = [entry for entry in found if entry["image_id"] == image]
        assert len(theirs) == len(ours), f"image {image}: {len(theirs)} people expected, {len(ours)} found"
        for one in theirs:
            apart = [np.abs(np.array(one["keypoints"]) - np.array(other["keypoints"])).max() for other in ours]
            other = ours.pop(int(np.argmin(apart)))
            result["pixels"] = max(result["pixels"], float(min(apart)))
            for name in ("scores", "score"):
                if name in other:
                    scale = max(1e-9, float(np.abs(one[name]).max()))
                    error = float(np.abs(np.array(one[name]) - np.array(other[name])).max()) / scale
                    result[name] = max(result.get(name, 0.0), error)
    return result
