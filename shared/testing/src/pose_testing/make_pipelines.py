"""Write ``golden/pipelines``: ``python -m pose_testing.make_pipelines [NAME …]``.

The figures come from `literal_topdown` and `literal_embedding` with the network in float64. A file is written only if
the network in float32 gives the same people: otherwise a decision hangs on rounding, and the figures are none.
"""

from __future__ import annotations

import gzip
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from pose_testing import literal_embedding, literal_topdown
from pose_testing.golden import FOLDER, load_golden
from pose_testing.pipelines import Content, detected, difference, draw, network_of, write_images

COCO_PAIRS = [[1, 2], [3, 4], [5, 6], [7, 8], [9, 10], [11, 12], [13, 14], [15, 16]]
MPII_PAIRS = [[0, 5], [1, 4], [2, 3], [10, 15], [11, 14], [12, 13]]
COCO_SIGMAS = [0.026] + [one for one in (0.025, 0.035, 0.079, 0.072, 0.062, 0.107, 0.087, 0.089) for _ in range(2)]


def images(*sizes: tuple[int, int]) -> list[dict[str, Any]]:
    """Return images of sizes (w, h): ids that rise in steps, so that no id is a position."""
    return [
        {"id": 7 + 5 * n, "file": f"{7 + 5 * n:012d}.png", "width": w, "height": h, "key": f"image:{w}x{h}"}
        for n, (w, h) in enumerate(sizes)
    ]


# A landscape, a portrait of odd sides, a tiny one, and one in which nobody is detected.
FOUR = images((160, 120), (97, 141), (31, 23), (64, 64))
DETECTIONS = [
    {"image_id": 7, "box": [30.5, 20.25, 40.0, 80.5], "score": 0.98},
    {"image_id": 7, "box": [31.0, 20.75, 39.5, 79.0], "score": 0.91},  # the same person again
    {"image_id": 7, "box": [100.0, 60.0, 90.0, 30.0], "score": 0.73},  # beyond the right border
    {"image_id": 7, "box": [-12.5, -8.0, 50.0, 60.0], "score": 0.44},  # beyond the upper left corner
    {"image_id": 7, "box": [60.0, 10.0, 30.0, 40.0], "score": 0.19},  # below the limit of score
    {"image_id": 7, "box": [5.0, 5.0, 60.0, 60.0], "score": 0.95, "category": 18},  # a dog
    {"image_id": 12, "box": [0.0, 0.0, 97.0, 141.0], "score": 0.66},
    {"image_id": 12, "box": [40.0, 50.0, 12.25, 70.75], "score": 0.2},
    {"image_id": 17, "box": [3.5, 2.0, 20.0, 18.5], "score": 1.0},
]
ANNOTATED = [
    {"image_id": 7, "box": [30.5, 20.25, 40.0, 80.5]},
    {"image_id": 7, "box": [100.0, 60.0, 90.0, 30.0]},
    {"image_id": 12, "box": [-3.0, 10.0, 60.0, 120.0]},
    {"image_id": 17, "box": [3.5, 2.0, 20.0, 18.5]},
]
PLACED = [
    {"image_id": 7, "center": [80.0, 60.0], "scale": 0.4},
    {"image_id": 7, "center": [20.5, 100.25], "scale": 0.25},
    {"image_id": 12, "center": [48.0, 70.0], "scale": 0.7},
    {"image_id": 17, "center": [15.0, 11.0], "scale": 0.1},
]


def topdown(
    experiment: str,
    golden: str,
    name: str,
    size: tuple[int, int],
    people: list[dict[str, Any]],
    *settings: str,
    layout: str = "coco",
    lowered: float = 0,
    **rules: Any,
) -> Content:
    """Return a case of the top-down pipeline, without outputs.

    If ``lowered`` is given, two joints have heatmaps lower by that, with no positive value, and two have constant ones.
    """
    joints = 16 if layout == "mpii" else 17
    edges = [["final_layer.bias", 3, 5, 1.0, -lowered], ["final_layer.weight", 5, 7, 0.0, 0.0]]
    return {
        "kind": "topdown",
        "layout": layout,
        "experiment": experiment,
        "settings": [f"model.input_size=[{size[0]}, {size[1]}]", *settings],
        "network": {"name": name, "joints": joints, "options": {}},
        "rules": {
            "image_size": list(size),
            "flip_pairs": MPII_PAIRS if layout == "mpii" else COCO_PAIRS,
            "sigmas": [] if layout == "mpii" else COCO_SIGMAS,
            **rules,
        },
        "state_dict": load_golden(golden)["state_dict"],
        "scaled": edges if lowered else [],
        "images": FOUR,
        "people": people,
    }


def embedding(
    golden: str, name: str, side: int, scales: list[float], *, level: float, spread: float, **options: Any
) -> Content:
    """Return a case of associative embedding on one stack of the golden network; see `calibrated`."""
    kept = [
        entry
        for entry in load_golden(golden)["state_dict"]
        if not entry[0].startswith(("merge", *(f"{part}.{n}" for part in ("features", "outs") for n in (1, 2, 3))))
    ]
    content = {
        "kind": "embedding",
        "layout": "coco",
        "experiment": "pose-advpose/coco_hgpose_ae_stack4_512x512",
        "settings": [
            f"model.name={name}",
            f"model.options={json.dumps(options)}",
            f"model.input_size=[{side}, {side}]",
            f"test.scales={scales}",
            "data.val=val2017",
            "split.valid_ids=null",
        ],
        "network": {"name": name, "joints": 17, "options": options},
        "rules": {"input_size": side, "scales": scales},
        "state_dict": kept,
        "scaled": [],
        "images": FOUR,
        "people": [],
    }
    return calibrated(content, "outs.0.conv" if "posenet" in name else "outs.0", level, spread)


def calibrated(content: Content, output: str, level: float, spread: float) -> Content:
    """Return a case whose heatmaps have mean ``level`` and deviation 0.1, and tags mean 0 and deviation ``spread``.

    Filled weights alone give maps that differ in their mean more than within, so that a joint has peaks nearly
    everywhere or nowhere.
    """
    image = content["images"][0]
    pixels = draw(image["key"], image["width"], image["height"])[:, :, ::-1]
    side = content["rules"]["input_size"]
    shown = cv2.resize(np.ascontiguousarray(pixels), (side, side)) / 255.0
    maps = network_of(content)(shown.transpose(2, 0, 1)[None])[0]
    scaled = []
    for joint, partner in enumerate(literal_embedding.FLIP):
        for first, wanted, mean in ((0, 0.1, level), (17, spread, 0.0)):
            row, own = first + joint, maps[[first + joint, first + partner]]
            factor = round(wanted / float(own.std((1, 2)).mean()), 2)
            added = round(mean - factor * float(maps[row].mean()), 3)
            scaled += [[f"{output}.weight", row, row + 1, factor, 0.0], [f"{output}.bias", row, row + 1, factor, added]]
    return content | {"scaled": scaled}


CASES = {
    "hrnet_w32_coco_detections": lambda: topdown(
        "pose-lite/coco_hrnet_w32_256x192", "lite/hrnet_w32", "hrnet_w32", (64, 96), DETECTIONS,
        "test.boxes=detections", "data.min_box_score=0.2", color_rgb=True, image_thre=0.2, lowered=5000.0,
    ),
    "hrnet_w32_coco_soft_nms": lambda: topdown(
        "pose-lite/coco_hrnet_w32_256x192", "lite/hrnet_w32", "hrnet_w32", (64, 64), DETECTIONS,
        "test.boxes=detections", "data.min_box_score=0.2", "test.soft_nms=true", "test.shift_heatmap=false",
        "test.oks_threshold=0.5", color_rgb=True, image_thre=0.2, soft_nms=True, shift_heatmap=False, oks_thre=0.5,
    ),
    "lpn_18_coco_soft_argmax": lambda: topdown(
        "pose-lite/coco_lpn50_256x192", "lite/lpn_18", "lpn_18", (96, 128), ANNOTATED,
        "model.name=lpn_18", color_rgb=True, soft_argmax=True, lowered=5.0,
    ),
    "simplebaseline_50_coco_plain": lambda: topdown(
        "pose-lite/coco_resnet50_256x192", "asda/pose_resnet50", "simplebaseline_resnet50", (64, 96), ANNOTATED,
        "test.flip=false", "heatmap.quarter=false", color_rgb=False, flip_test=False, post_process=False, lowered=5.0,
    ),
    "mrheat1_50_coco_detections": lambda: topdown(
        "pose-mrpose/coco_mrheat1_resnet50_256x192", "mrpose/mrheat1_50", "mrheat1_resnet50", (64, 96), DETECTIONS,
        "test.boxes=detections", "data.min_box_score=0.2", color_rgb=False, image_thre=0.2,
    ),
    "asda_hrnet_w32_coco": lambda: topdown(
        "pose-asda/coco_hrnet_w32_256x192_numpart1", "asda/pose_hrnet_w32", "hrnet_w32", (64, 96), ANNOTATED,
        "model.pretrained=null", "generator.pretrained=null", color_rgb=True,
    ),
    "asda_hourglass_2_mpii": lambda: topdown(
        "pose-asda/mpii_hourglass_stack2_256x256_numpart1", "asda/hourglass_stack2", "asda_hourglass_2", (64, 64),
        PLACED, "generator.pretrained=null", layout="mpii", color_rgb=False, in_vis_thre=0.0,
    ),
    "hgpose_ae_single": lambda: embedding(
        "advpose/hg_ae_stack4", "hg_ae_stack1", 128, [1.0], level=-0.11, spread=0.5
    ),
    "hgpose_ae_multi": lambda: embedding(
        "advpose/hg_ae_stack4", "hg_ae_stack1", 128, [2.0, 1.0, 0.5], level=-0.08, spread=0.6
    ),
    "hgpose_ae_crowd": lambda: embedding(
        "advpose/hg_ae_stack4", "hg_ae_stack1", 256, [1.0], level=-0.1, spread=3.0
    ),
    "posenet_ae_close_tags": lambda: embedding(
        "advpose/hg_ae_posenet_stack1_bn", "hg_ae_posenet_stack1", 128, [1.0], level=-0.1, spread=0.2, bn=True
    ),
}  # fmt: skip


def outputs(content: Content, folder: Path, dtype: torch.dtype) -> list[dict[str, Any]]:
    """Return the figures of a case, with its network in ``dtype``."""
    files, network, rules = write_images(content, folder), network_of(content, dtype), content["rules"]
    if content["kind"] == "embedding":
        return [
            _entry(image, found.keypoints, found.values, found.score, True)
            for image, file in files.items()
            for found in literal_embedding.run(file, network, rules["input_size"], tuple(rules["scales"]))
        ]
    given = literal_topdown.Rules(**rules)
    people = literal_topdown.run(files, detected(content), network, given)
    entries = []
    for image in files:
        mine = [found for found in people if found.image_id == image]
        kept = literal_topdown.suppress(mine, given) if given.sigmas else range(len(mine))
        entries += [
            _entry(image, found.keypoints, found.scores, found.score, index in kept) for index, found in enumerate(mine)
        ]
    return entries


def _entry(image: int, keypoints: np.ndarray, scores: np.ndarray, score: float, kept: bool) -> dict[str, Any]:
    numbers = {"keypoints": keypoints.tolist(), "scores": scores.tolist(), "score": float(score)}
    return {"image_id": image, **numbers, "kept": bool(kept)}


def make(name: str) -> Content:
    """Return a case with its figures, after a check that they do not hang on rounding."""
    content = CASES[name]()
    with tempfile.TemporaryDirectory() as folder:
        content["outputs"] = outputs(content, Path(folder), torch.float64)
        print(name, len(content["outputs"]), "people,", sum(e["kept"] for e in content["outputs"]), "kept", end="; ")
        apart = difference(content["outputs"], outputs(content, Path(folder), torch.float32))
    print("in float32:", apart)
    soft = content["rules"].get("soft_argmax", False)
    assert apart["pixels"] < (0.05 if soft else 1e-6), f"{name}: a decision hangs on rounding"
    content["tolerance"] = {"pixels": 0.05 if soft else 1e-3, "scores": 1e-4, "score": 1e-4}
    return content


def main(names: list[str]) -> None:
    """Write the files of ``names``, or all."""
    (FOLDER / "pipelines").mkdir(exist_ok=True)
    for name in names or CASES:
        text = json.dumps(make(name), separators=(",", ":"))
        # Equal content gives equal bytes.
        (FOLDER / "pipelines" / f"{name}.json.gz").write_bytes(gzip.compress(text.encode(), 9, mtime=0))


if __name__ == "__main__":
    main(sys.argv[1:])
