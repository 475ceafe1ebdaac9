"""Benchmark a stream of photos, from the files to drawn poses, against the network alone on the same crops.

    python shared/benchmark/run.py --only stream

LPN-50 with flip test and given boxes, photos of 480x640. Reading, drawing and writing run in threads beside the
network, cropping and decoding of the maps before and after each of its batches; times are wall times. Both contenders
have the network that prediction chooses for so many photos. Where it has all cores, the other work takes some from it:
then the ratio says how much that is, and a second program on the machine makes it noisy, since a thread of the network
that waits for its core holds up the others.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from bench_pipeline import write_pictures
from cases import Bar, Case

from pose_core.benchmark.timing import threads
from pose_core.inference.results import predict_paths
from pose_core.machine import cores
from pose_core.plugins.predictors import Predictor
from pose_core.topdown.detectors import FileDetector

PHOTOS = 64
EXPERIMENT = "coco_lpn50_256x192"


def stream(folder: Path) -> tuple[Callable[[], object], Callable[[], object]]:
    """Return the network alone on the crops of photos, and their prediction from files to drawn files."""
    write_pictures(folder, PHOTOS, 480, 640)
    boxes = [
        {"image_id": number, "category_id": 1, "bbox": [60 + number, 40, 200, 400], "score": 1.0}
        for number in range(PHOTOS)
    ]
    listed = folder / "boxes.json"
    listed.write_text(json.dumps(boxes))
    detector = FileDetector(listed, 0.5)
    predictor = Predictor.from_config(EXPERIMENT, weights="random", device="cpu")
    files = sorted(folder.glob("*.jpg"))
    size, config = predictor.config.test.batch_size, predictor.config
    width, height = config.model.input_size
    batch = min(size, 16, PHOTOS)  # as many photos as wait for a full batch
    # The mirrored crops go through the network in the same batch.
    crops = torch.randn(2 * batch, 3, height, width).to(memory_format=torch.channels_last)

    @torch.inference_mode()
    def network() -> None:
        for _ in range(PHOTOS // batch):
            predictor.worker.network(crops)

    # Untrained networks score joints below any usual threshold: all are drawn.
    return network, lambda: predict_paths(predictor, files, folder / "out", detector=detector, threshold=-1)


def cases(folder: Path) -> Iterator[Case]:
    """Yield the stream with a single thread for the network, and with all cores."""
    network, whole = stream(folder)
    for count in sorted({1, cores()}):

        def timed(run: Callable[[], object], count: int = count) -> Callable[[], None]:
            def call() -> None:
                with threads(count):
                    run()

            return call

        yield Case(
            f"photo to drawn pose, {count} network threads of {cores()} cores",
            f"{PHOTOS} photos of 480×640, LPN-50, flip test, boxes given",
            {"stream": timed(whole), "network alone": timed(network)},
            (Bar("stream", "network alone", 1.15),),
            time.perf_counter,
        )
