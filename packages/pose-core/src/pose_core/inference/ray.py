"""Prediction with Ray: a class for `map_batches` of Ray Data, and the shards of `pose_core.inference.shards` as actors.

>>> import ray
>>> from pose_core.inference.ray import PosePredictor
>>> images = ray.data.read_binary_files("frames/", include_paths=True)
>>> recipe = {"config": "pose-lite/coco_lpn50_256x192", "weights": "best.pt", "detector": "whole"}
>>> two = ray.data.ActorPoolStrategy(size=2)
>>> poses = images.map_batches(PosePredictor, fn_constructor_kwargs=recipe, batch_size=16, compute=two)
>>> poses.write_parquet("poses/")

Needs the extra ``ray``. On several machines, weights and files of boxes must be where all of them find them.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from pose_core.config import Experiment
from pose_core.engine.interfaces import DetectedImage
from pose_core.errors import ConfigError, DataError
from pose_core.inference.recipe import Recipe
from pose_core.inference.shard_plan import read_plan
from pose_core.inference.shard_rows import Row, columns, parquet_schema, require_pyarrow
from pose_core.inference.shard_summary import ShardCounts, count_shards, write_summary
from pose_core.inference.shards import has_unreadable, plan_shards, predict_shard
from pose_core.installation import install_hint
from pose_core.photos import as_pixels
from pose_core.plugins.experiments import load_config
from pose_core.topdown.detectors import whole_image
from pose_core.verbosity import no_bar

Array = np.ndarray


class PosePredictor:
    """Predicts batches of images in an actor of Ray, which builds network and detector once.

    ``config`` is an experiment or its name, the other settings are those of `Recipe`. A batch has images in the column
    ``bytes`` of ``read_binary_files``, whose photos are turned upright, or ``image`` of ``read_images``, which are
    taken as they are stored. ``boxes`` names a column of people's boxes, ``(N, 4)`` x, y, w, h of each image, or
    ``(N, 5)`` with scores.
    """

    def __init__(
        self,
        config: Experiment | str,
        weights: str,
        *,
        device: str | None = None,
        detector: str | None = None,
        boxes: str | None = None,
        min_score: float | None = None,
    ) -> None:
        experiment = config if isinstance(config, Experiment) else load_config(config)
        recipe = Recipe(experiment, weights, detector=detector)
        self.predictor = recipe.predictor(device)
        self.boxes, self.min_score = boxes, min_score
        self.detector = whole_image if boxes else recipe.detector_for(self.predictor) or whole_image

    def __call__(self, batch: Mapping[str, Array]) -> Any:
        """Return an Arrow table: ``path``, ``error``, ``width``, ``height``, and the poses of each image.

        ``pose_scores`` are the people's scores, ``boxes`` x, y, w, h, ``keypoints`` x, y of each joint, ``scores``
        those of the joints. An image that cannot be read has the reason in ``error``, and nobody.
        """
        pa = require_pyarrow()
        images = batch["bytes" if "bytes" in batch else "image"]
        errors: list[str | None] = [None] * len(images)
        nobody = np.zeros((0, 5))
        detected = []
        for index, image in enumerate(images):
            try:
                pixels, _ = as_pixels(image)
                found = self.detector(pixels) if self.boxes is None else _given(batch[self.boxes][index])
            except DataError as error:
                errors[index] = str(error)
                pixels, found = np.zeros((1, 1, 3), np.uint8), (nobody[:, :4], nobody[:, 4])
            detected.append(DetectedImage((index, (pixels.shape[1], pixels.shape[0])), pixels, *found))
        rows = []
        for (index, size), poses in self.predictor.predict_stream(detected):
            kept = poses[np.zeros(len(poses), bool)] if errors[index] else poses
            if self.min_score is not None:
                kept = kept[kept.pose_scores >= self.min_score]
            rows.append(Row(index, replace(kept, size=None if errors[index] else size)))
        schema = parquet_schema(self.predictor.skeleton)
        table = pa.Table.from_arrays(columns(rows), schema=schema).drop_columns(["input", "image", "frame", "time"])
        table = table.add_column(0, "error", pa.array(errors, pa.string()))
        if "path" in batch:
            table = table.add_column(0, "path", pa.array([str(path) for path in batch["path"]], pa.string()))
        return table


def predict_shards(
    recipe: Recipe,
    inputs: Sequence[str],
    folder: Path,
    *,
    processes: int = 2,
    cpus: float = 1,
    gpus: float = 0,
    kind: str = "parquet",
    shard_size: int = 1000,
    listed: Path | None = None,
    min_score: float | None = None,
    retry_unreadable: bool = False,
) -> ShardCounts:
    """Predict inputs in shards by so many actors of Ray, with their CPUs and GPUs, and return what was found.

    Plan and shards are those of ``predict --format``: a job that was killed continues, whoever began it. An actor that
    dies is started again.
    """
    ray = _require_ray()
    recipe = _absolute(recipe)
    plan = plan_shards(
        recipe, inputs, folder.absolute(), kind=kind, shard_size=shard_size, listed=listed, min_score=min_score
    )
    missing = set(plan.missing())
    shards = [
        each for each in range(plan.shards) if each in missing or (retry_unreadable and has_unreadable(plan, each))
    ]
    if shards:
        options = {"num_cpus": cpus, "num_gpus": gpus, "max_restarts": -1, "max_task_retries": -1}
        actor = ray.remote(**options)(_ShardActor)
        pool = ray.util.ActorPool([actor.remote(recipe, plan.folder, cpus) for _ in range(min(processes, len(shards)))])
        with closing(
            tqdm(total=len(shards), desc="predicting", unit="shard", disable=no_bar(), file=sys.stderr)
        ) as bar:
            for _ in pool.map_unordered(lambda each, shard: each.predict.remote(shard), shards):
                bar.update()
    counts = count_shards(plan)
    write_summary(plan, counts)
    return counts


class _ShardActor:
    """Predicts shards of a plan in a process of Ray."""

    def __init__(self, recipe: Recipe, folder: Path, cpus: float) -> None:
        torch.set_num_threads(max(int(cpus), 1))
        plan = read_plan(folder)
        if plan is None:
            raise DataError(f"{folder} has no plan: all machines must reach this folder")
        self.plan, self.threads = plan, max(int(cpus), 1)
        self.predictor, self.detector = recipe.build()

    def predict(self, shard: int) -> int:
        predict_shard(self.plan, shard, self.predictor, self.detector, threads=self.threads)
        return shard


def _given(boxes: Array) -> tuple[Array, Array]:
    """Return an image's boxes and their scores, of a column."""
    table = np.array(list(boxes), np.float64)
    table = table.reshape(-1, 4) if not table.size else table
    if table.ndim != 2 or table.shape[1] not in (4, 5):
        raise DataError(f"boxes must be (N, 4) x, y, w, h, or (N, 5) with scores, not {table.shape}")
    return table[:, :4], table[:, 4] if table.shape[1] == 5 else np.ones(len(table))


def _absolute(recipe: Recipe) -> Recipe:
    """Return a recipe whose files are found from any folder."""

    def place(name: str | None) -> str | None:
        return str(Path(name).absolute()) if name and Path(name).is_file() else name

    return replace(
        recipe,
        weights=place(recipe.weights) or recipe.weights,
        boxes=place(recipe.boxes),
        detector_weights=place(recipe.detector_weights),
    )


def _require_ray() -> ModuleType:
    try:
        import ray
        import ray.util
    except ImportError:
        raise ConfigError(f"prediction with Ray needs it: {install_hint('ray')}") from None
    return ray
