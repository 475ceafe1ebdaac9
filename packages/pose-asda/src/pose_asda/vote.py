"""Evaluate with the combined predictions of several scales of the crop and the last stages of the network.

  pose-asda vote --cfg mpii_hourglass_stack2_256x256_numpart1 --weights best.pt --scales 1.0 1.1 --stages 2

For each joint, the predictions that agree are averaged. With --scales 1 --stages 1 the result is that of
`pose-asda eval`. --cache FILE stores the predictions; a later run reuses them unless weights, settings, annotations,
images, scales or stages have changed.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pose_core.cli.arguments import add_config, add_device, add_overrides, add_weights, load, split_overrides

if TYPE_CHECKING:
    import torch
    from torch import nn

    from pose_core.engine.interfaces import Evaluation
    from pose_core.topdown.config import TopDownConfig
    from pose_core.topdown.dataset import TopDownDataset
    from pose_core.topdown.scoring import CropResults


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``vote``."""
    add_config(parser)
    add_weights(parser)
    parser.add_argument("--scales", nargs="+", default=["1.0", "1.1"], metavar="S", help="scales of the crop (1.0 1.1)")
    parser.add_argument(
        "--stages", type=int, default=1, metavar="N", help="combine the last N stages of the network (1)"
    )
    parser.add_argument("--cache", type=Path, metavar="FILE", help="file (.npz) of predictions to reuse or write")
    parser.add_argument(
        "--out", type=Path, default=Path("runs/vote"), metavar="DIR", help="folder for the results (runs/vote)"
    )
    add_overrides(parser)
    add_device(parser)


def run(args: argparse.Namespace) -> int:
    """Evaluate by voting and print the report."""
    from pose_core.engine.distributed import choose_device
    from pose_core.errors import ConfigError
    from pose_core.plugins.method import expect
    from pose_core.plugins.networks import bare_network, load_weights
    from pose_core.topdown.config import TopDownConfig

    # argparse takes settings that follow --scales as scales.
    more, words = split_overrides(args.scales)
    args.overrides += more
    scales = read_scales(words)
    if args.stages < 1:
        raise ConfigError(f"--stages {args.stages}: at least one stage is needed")
    config = expect(load(args), TopDownConfig)
    network = bare_network(config)
    report = load_weights(network, args.weights, strict=not args.partial_weights)
    if not report.complete:
        print(report)
    device = choose_device(config.run.device)
    evaluation = evaluate_by_vote(
        network, config, device, args.out, scales, args.stages, cache=args.cache, weights=args.weights
    )
    print(evaluation.report)
    return 0


def read_scales(words: Sequence[str]) -> list[float]:
    """Return positive scales of the crop."""
    from pose_core.errors import ConfigError

    try:
        scales = [float(word) for word in words]
    except ValueError:
        scales = []
    if not scales or not all(0 < scale < float("inf") for scale in scales):
        raise ConfigError(f"--scales {' '.join(words)}: must be positive numbers, for example --scales 1.0 1.1")
    return scales


def vote(points: np.ndarray) -> np.ndarray:
    """Combine predictions ``(P, N, K, 3)`` (x, y, score) into one ``(N, K, 3)``.

    Average those whose distance to the mean of all (the sum of absolute differences) is at most the average distance;
    their scores are averaged as well. Outliers do not count.
    """
    wide = points.astype(np.float64)
    away = np.abs(wide[..., :2] - wide[..., :2].mean(0)).sum(-1)
    counts = away <= away.mean(0)
    # Where all distances are equal, rounding may put each of them above the average.
    counts |= ~counts.any(0) & (away == away.min(0))
    weights = counts[..., None].astype(np.float64)
    return ((wide * weights).sum(0) / weights.sum(0)).astype(points.dtype)


def evaluate_by_vote(
    network: nn.Module,
    config: TopDownConfig,
    device: torch.device,
    folder: Path,
    scales: Sequence[float],
    stages: int,
    *,
    cache: Path | None = None,
    weights: str | None = None,
) -> Evaluation:
    """Score the vote over ``scales`` (times ``test.scale``) and the last ``stages`` of the network.

    ``weights`` is their name or file, for the record of the evaluation.
    """
    from pose_core.engine.evaluation_record import record_evaluation
    from pose_core.evaluation.report import protocol_line
    from pose_core.topdown.evaluate import crop_dataset, evaluated_people, left_out, score

    annotated, records, boxes = evaluated_people(config)
    annotated.layout.check_ground_truth(annotated)
    first = crop_dataset(_at_scale(config, scales[0]), records, training=False)
    made_from = fingerprint(network, config, first, annotated.annotation_file, scales, stages)
    stored = read_cache(cache, made_from) if cache is not None else None
    if stored is None:
        results = [
            _predict(network, stage, crop_dataset(_at_scale(config, scale), records, training=False), config, device)
            for scale in scales
            for stage in range(stages)
        ]
        stored = results[0], np.stack([each.keypoints for each in results])
        if cache is not None:
            write_cache(cache, made_from, *stored)
    columns, points = stored
    scored = score(columns._replace(keypoints=vote(points)), annotated, config, folder / "results", write=True)
    protocol = protocol_line(
        boxes=boxes,
        flip=config.test.flip,
        decode=config.heatmap.decode + ("+quarter" if config.heatmap.quarter else ""),
        scales=tuple(config.test.scale * scale for scale in scales),
        precision=config.test.precision,
        runtime=config.test.runtime.replace("auto", "torch"),
        evaluator=scored.name,
    )
    lines = [
        scored.report,
        f"{protocol} stages={stages} voted",
        *left_out(annotated, len(first) - len(columns.image_id)),
    ]
    evaluation = replace(scored, report="\n".join(lines))
    record_evaluation(evaluation, config, device, weights)
    return evaluation


def _at_scale(config: TopDownConfig, scale: float) -> TopDownConfig:
    return config.model_copy(update={"test": config.test.model_copy(update={"scale": config.test.scale * scale})})


def _predict(
    network: nn.Module, stage: int, dataset: TopDownDataset, config: TopDownConfig, device: torch.device
) -> CropResults:
    """Predict with one output of the network: the last for ``stage`` 0, the one before it for 1."""
    from pose_asda.models import Stage
    from pose_core.topdown.evaluate import merge, predict_dataset
    from pose_core.topdown.network import crop_network

    one_output = network if stage == 0 else Stage(network, stage)
    return merge([predict_dataset(crop_network(one_output, config, device), dataset, config, device)])


def fingerprint(
    network: nn.Module,
    config: TopDownConfig,
    dataset: TopDownDataset,
    annotations: Path,
    scales: Sequence[float],
    stages: int,
) -> str:
    """Return a digest of everything that the predictions depend on."""
    from pose_core.data.sources import split_source
    from pose_core.topdown.detections import find_detections

    digest = hashlib.sha256()
    for key, value in network.state_dict().items():
        digest.update(key.encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    # The run folder and the training settings do not change predictions.
    settings = config.model_dump(mode="json", include={"data", "model", "heatmap", "test"})
    digest.update(json.dumps([settings, list(scales), stages], sort_keys=True).encode())
    detections = [find_detections(config.data)] if config.test.boxes == "detections" else []
    for file in (annotations, *detections):
        digest.update(file.read_bytes())
    seen = set()
    for index in range(len(dataset)):
        source = dataset.source(index)
        digest.update(source.encode())
        place = split_source(source)[0]
        if place not in seen and Path(place).exists():
            seen.add(place)
            status = Path(place).stat()
            digest.update(f"{status.st_size} {status.st_mtime_ns}".encode())
    return digest.hexdigest()


def read_cache(file: Path, made_from: str) -> tuple[CropResults, np.ndarray] | None:
    """Return stored predictions; None where there are none, they are damaged, or ``made_from`` differs."""
    import logging

    from pose_core.digests import digest_of_arrays
    from pose_core.errors import DataError
    from pose_core.reading.arrays import read_npz
    from pose_core.topdown.scoring import CropResults

    if not file.exists():
        return None
    log = logging.getLogger(__name__)
    try:
        stored = read_npz(file, "cache of predictions", [*CropResults._fields, "points", "made_from", "digest"])
    except DataError as error:
        log.warning("%s: predicting again", error)
        return None
    digest = str(stored.pop("digest"))
    if digest != digest_of_arrays(stored):
        log.warning("cache of predictions %s is damaged: predicting again", file)
        return None
    if str(stored.pop("made_from")) != made_from:
        log.warning("%s was made with other weights, settings, people or images: predicting again", file)
        return None
    points = stored.pop("points")
    columns = CropResults(**stored)
    people, joints = columns.keypoints.shape[:2] if columns.keypoints.ndim == 3 else (-1, -1)
    shapes = {"keypoints": (people, joints, 3), "center": (people, 2), "scale": (people, 2)}
    fits = all(column.shape == shapes.get(name, (people,)) for name, column in columns._asdict().items())
    numbers = all(column.dtype.kind == ("i" if name.endswith("_id") else "f") for name, column in stored.items())
    if not fits or not numbers or points.shape[1:] != (people, joints, 3) or points.dtype.kind != "f":
        log.warning("cache of predictions %s has arrays of other types or shapes: predicting again", file)
        return None
    return columns, points


def write_cache(file: Path, made_from: str, columns: CropResults, points: np.ndarray) -> None:
    """Write predictions with what they depend on, and a digest of all."""
    from io import BytesIO

    from pose_core.digests import digest_of_arrays
    from pose_core.files import whole_file

    arrays = {**columns._asdict(), "points": points, "made_from": np.array(made_from)}
    content = BytesIO()
    np.savez(content, **arrays, digest=np.array(digest_of_arrays(arrays)))
    with whole_file(file) as opened:
        opened.write(content.getvalue())
