"""Benchmark against other toolkits end to end, each as its users run it: from an image file to keypoints.

    uv pip install --no-deps rtmlib mmpose mmengine mmcv-lite json_tricks munkres addict termcolor
    uv pip install --no-deps yapf rich platformdirs
    python shared/benchmark/run.py --only peers

Peers that are not installed are left out, with a message. What each leaves out: rtmlib has no batches, no flip test and
no float64 positions (its network here is ours, exported; its pipeline is its own); Keypoint R-CNN finds the people
itself, here with untrained weights, which find few; mmpose's codec works on one person at a time, as its pipelines do.

rtmlib is compared with ours photo by photo and as one list of photos, which must not be slower: in the same runtime
(test.runtime), and each by default, which is ONNX Runtime there and PyTorch here, so that these rows compare the
networks' speed as well. Keypoint R-CNN is compared with ours by default.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from bench_pipeline import write_pictures
from cases import Bar, Case

from pose_core.benchmark.timing import threads
from pose_core.inference.export import export_onnx
from pose_core.machine import cores
from pose_core.ops import decode_heatmaps, gaussian_heatmaps
from pose_core.photos import read_photo
from pose_core.plugins.experiments import load_config
from pose_core.plugins.networks import create_model
from pose_core.plugins.predictors import Predictor

PHOTOS = 8
SIZE = (192, 256)
BOX = (60.0, 40.0, 200.0, 400.0)
"""x, y, width, height."""
CORNERS = [60.0, 40.0, 260.0, 440.0]


def missing(*packages: str) -> bool:
    """Return whether a package is not installed, and say so."""
    absent = [name for name in packages if find_spec(name) is None]
    if absent:
        print(f"left out: {', '.join(absent)} is not installed", file=sys.stderr)
    return bool(absent)


def predictor_of(experiment: str, runtime: str = "auto") -> Predictor:
    """Return a predictor without flip test, as the peers have none."""
    settings = ["test.flip=false", f"test.runtime={runtime}"]
    return Predictor.from_config(load_config(experiment, settings), weights="random", device="cpu")


def with_rtmlib(folder: Path, files: list[Path]) -> Iterator[Case]:
    """Compare with rtmlib's pipeline for networks of heatmaps, on the network that we export, in each runtime."""
    if missing("rtmlib", "onnxruntime"):
        return
    import cv2
    from rtmlib.tools.pose_estimation.vitpose import ViTPose

    def theirs(tool: ViTPose) -> None:
        for file in files:
            tool(cv2.imread(str(file)), bboxes=[CORNERS])

    def alone(ours: Predictor) -> None:
        for file in files:
            ours(file, np.array([BOX]))

    def listed(ours: Predictor) -> None:
        list(ours.predict_many(files, [np.array([BOX])] * len(files)))

    # By default rtmlib uses ONNX Runtime too, and ours PyTorch for a few photos.
    runtimes = {"by default": ("auto", "onnxruntime"), "ONNX Runtime": ("onnxruntime", "onnxruntime")}
    if not missing("openvino"):
        runtimes["OpenVINO"] = "openvino", "openvino"
    for name, experiment in (("lpn_18", "coco_lpn18_256x192"), ("lpn_50", "coco_lpn50_256x192")):
        model = str(export_onnx(create_model(name).eval(), SIZE, folder / f"{name}.onnx", batch=1).file)
        for title, (runtime, backend) in runtimes.items():
            ours = predictor_of(experiment, runtime)
            yield Case(
                f"file to keypoints, {name}, {title}",
                f"{len(files)} photos of 480×640, one box each, no flip test",
                {
                    "rtmlib": partial(theirs, ViTPose(model, SIZE, backend=backend)),
                    "ours, one by one": partial(alone, ours),
                    "ours, a list": partial(listed, ours),
                },
                (
                    Bar("rtmlib", "ours, one by one", 1, at_most=False),
                    Bar("rtmlib", "ours, a list", 1, at_most=False),
                    Bar("ours, a list", "ours, one by one", 1.05),
                ),
                time.perf_counter,
            )


def with_torchvision(files: list[Path]) -> Iterator[Case]:
    """Compare with torchvision's Keypoint R-CNN, which finds people and their keypoints in one network."""
    from torchvision.models.detection import keypointrcnn_resnet50_fpn

    network = keypointrcnn_resnet50_fpn(weights=None, weights_backbone=None).eval()
    some, ours = files[:1], predictor_of("coco_lpn50_256x192")

    @torch.inference_mode()
    def theirs() -> None:
        for file in some:
            network([torch.from_numpy(read_photo(str(file))).permute(2, 0, 1) / 255])

    def boxes_given() -> None:
        for file in some:
            ours(file, np.array([BOX]))

    yield Case(
        "file to keypoints, Keypoint R-CNN",
        f"{len(some)} photo of 480×640; ours is lpn_50 with the box given",
        {"Keypoint R-CNN": theirs, "ours": boxes_given},
        (Bar("Keypoint R-CNN", "ours", 1, at_most=False),),
        time.perf_counter,
    )


def with_mmpose() -> Iterator[Case]:
    """Compare with mmpose's codec of Gaussian heatmaps."""
    if missing("mmpose", "mmengine", "mmcv"):
        return
    from mmpose.codecs import MSRAHeatmap

    rng = np.random.default_rng(0)
    codec = MSRAHeatmap(SIZE, (48, 64), sigma=2)
    joints = rng.uniform(0, 190, (32, 17, 2)).astype(np.float32)
    visible = np.ones((32, 17), np.float32)
    maps = np.stack(
        [codec.encode(each[None], one[None])["heatmaps"] for each, one in zip(joints, visible, strict=True)]
    )
    points, weights, tensor = torch.from_numpy(joints), torch.from_numpy(visible), torch.from_numpy(maps)

    def encode() -> None:
        for each, one in zip(joints, visible, strict=True):
            codec.encode(each[None], one[None])

    def decode() -> None:
        for each in maps:
            codec.decode(each)

    pairs: dict[str, tuple[Callable[[], object], Callable[[], object]]] = {
        "heatmaps of joints": (
            encode, lambda: gaussian_heatmaps(points, weights, (48, 64), 2, ratio=(0.25, 0.25)),
        ),
        "joints of heatmaps": (decode, lambda: decode_heatmaps(tensor)),
    }  # fmt: skip
    for work, (theirs, ours) in pairs.items():
        yield Case(
            f"mmpose's codec, {work}",
            "32 people, 17 joints, maps of 64×48",
            {"mmpose": theirs, "ours": ours},
            (Bar("mmpose", "ours", 1, at_most=False),),
        )


def cases(folder: Path) -> Iterator[Case]:
    """Yield the comparisons with the peers that are installed."""
    write_pictures(folder, PHOTOS, 480, 640)
    files = sorted(folder.glob("*.jpg"))
    with threads(cores()):  # as the peers do by themselves
        yield from with_rtmlib(folder, files)
        yield from with_torchvision(files)
    yield from with_mmpose()
