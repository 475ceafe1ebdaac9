"""Evaluate a top-down network: predict all crops, in shards, and score them by the layout's protocol."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader
from tqdm import tqdm

from pose_core.data.sampler import evaluation_batches, loader_workers, watching_workers, worker_init
from pose_core.engine.distributed import gather_objects, rank_and_world_size
from pose_core.errors import ConfigError, DataError
from pose_core.evaluation.report import Evaluation, not_scored, protocol_line
from pose_core.files import write_json
from pose_core.layouts.layout import AnnotatedSet, ScoreEntries
from pose_core.layouts.reader import read_dataset
from pose_core.plurals import counted
from pose_core.runtimes.networks import way_of
from pose_core.skeleton import get_skeleton
from pose_core.structures import ImageRecord
from pose_core.topdown.config import TopDownConfig
from pose_core.topdown.crops import CropSettings, predict_crops
from pose_core.topdown.dataset import TopDownDataset
from pose_core.topdown.detections import find_detections, read_detections
from pose_core.topdown.network import crop_network
from pose_core.topdown.person_table import PersonTable
from pose_core.topdown.scoring import CropResults, coco_results
from pose_core.verbosity import no_bar


def crop_dataset(
    config: TopDownConfig, people: Sequence[ImageRecord] | PersonTable, *, training: bool
) -> TopDownDataset:
    """Return the crops of ``people`` as configured."""
    return TopDownDataset(
        people,
        get_skeleton(config.data.skeleton),
        input_size=config.model.input_size,
        color=config.data.color,
        convention=config.heatmap.convention,
        augment=config.augment if training else None,
        seed=config.run.seed,
        on_bad_image=config.data.on_bad_image,
        max_skipped=config.data.max_skipped,
        test_scale=1.0 if training else config.test.scale,
        reduced_decode=training and config.train.reduced_decode,
    )


def evaluated_people(config: TopDownConfig) -> tuple[AnnotatedSet, Sequence[ImageRecord], str]:
    """Return the validation split, the people to predict (annotated or detected), and the source of their boxes."""
    found = read_dataset(config.data, config.data.val)
    boxes = "ground-truth"
    records: Sequence[ImageRecord] = found.records
    if config.test.boxes == "detections":
        path = find_detections(config.data)
        records = read_detections(path, records, config.data.min_box_score, category=found.category_id)
        boxes = f"detections({path.name})"
    elif not found.num_persons:  # MPII's test split has no joints, but it has people's positions
        raise DataError(
            f"{found.annotation_file} has no annotated people to take boxes from; "
            "evaluate it with test.boxes=detections and data.detections=FILE"
        )
    return found, records, boxes


class HeldOutPeople(NamedTuple):
    """What an evaluation needs besides the network: the split, the people to predict, and their crops."""

    found: AnnotatedSet
    records: Sequence[ImageRecord]
    boxes: str
    """The source of the people's boxes, for the protocol line."""
    crops: TopDownDataset

    detections: Path | None
    """The file of the boxes, if people were detected."""

    def files(self) -> list[Path] | None:
        """Return the files that this came from; None if images are missing, which may come back."""
        if self.found.problems.counts["image missing"]:
            return None
        files = [self.found.annotation_file, *self.found.layout.ground_truth_files(self.found)]
        return files if self.detections is None else [*files, self.detections]


def held_out_people(config: TopDownConfig) -> HeldOutPeople:
    """Read the config's validation split."""
    found, records, boxes = evaluated_people(config)
    found.layout.check_ground_truth(found)
    detections = find_detections(config.data) if config.test.boxes == "detections" else None
    return HeldOutPeople(found, records, boxes, crop_dataset(config, records, training=False), detections)


def evaluate_topdown(
    network: nn.Module,
    config: TopDownConfig,
    device: torch.device,
    folder: Path,
    people: HeldOutPeople | None = None,
) -> Evaluation:
    """Score ``network`` on the config's validation split and write its predictions below ``folder/results``.

    Every process predicts its share, and scores all predictions, so that each returns the same. ``people`` is the split
    if it has been read already.
    """
    found, records, boxes, dataset, _ = people or held_out_people(config)
    rank, world = rank_and_world_size()
    quick = crop_network(network, config, device, len(dataset) // world)
    results = merge(gather_objects(predict_dataset(quick, dataset, config, device)))
    categories = {person.annotation_id: person.category_id for record in records for person in record.persons}
    scored = score(results, found, config, folder / "results", write=rank == 0, categories=categories)
    heatmap = config.heatmap
    quarter = heatmap.quarter and heatmap.decode in {"argmax", "soft_argmax"}  # the other decoders ignore it
    protocol = protocol_line(
        boxes=boxes,
        flip=config.test.flip,
        decode=heatmap.decode + ("+quarter" if quarter else ""),
        scales=config.test.scale,
        precision=way_of(quick).precision,
        runtime=way_of(quick).runtime,
        evaluator=scored.name,
    )
    report = "\n".join([scored.report, protocol, *left_out(found, len(dataset) - len(results.image_id))])
    return replace(scored, report=report)


def left_out(found: AnnotatedSet, crops: int) -> list[str]:
    """Return lines about the images and ``crops`` that data.on_bad_image=skip has skipped, if any."""
    missing = found.problems.counts["image missing"]
    lines = []
    if missing:
        effect = "their people count as missed" if found.layout.scores_missing_images else "not scored"
        lines.append(f"skipped: {counted(missing, 'missing image')} ({effect})")
    if crops:
        lines.append(f"skipped: {counted(crops, 'person', 'people')} in images that cannot be decoded: missed")
    return lines


@watching_workers()
def predict_dataset(
    network: nn.Module, dataset: TopDownDataset, config: TopDownConfig, device: torch.device
) -> CropResults:
    """Return predictions for this process's share of the crops; crops of bad images are skipped.

    ``network`` is ready to predict: see `pose_core.topdown.network`.
    """
    rank, world = rank_and_world_size()
    settings = CropSettings.from_config(config, dataset.skeleton)
    loader = DataLoader(
        dataset,
        batch_sampler=evaluation_batches(len(dataset), config.test.batch_size, rank, world),
        collate_fn=dataset.collate,
        num_workers=loader_workers(config.test.workers),
        worker_init_fn=worker_init,
        pin_memory=device.type == "cuda",
        generator=torch.Generator(),  # evaluation must not change the random state of training
    )
    columns: list[list[np.ndarray]] = [[] for _ in CropResults._fields]
    for batch in tqdm(loader, "evaluating", unit="batch", leave=False, disable=no_bar(elsewhere=rank != 0)):
        keypoints = predict_crops(network, batch.images.to(device, non_blocking=True), batch.to_image.numpy(), settings)
        dataset.count(batch.index, batch.valid)
        row = (batch.center, batch.scale, batch.box_score, batch.image_id, batch.annotation_id)
        valid = batch.valid.numpy()
        for column, values in zip(columns, (keypoints, *(part.numpy() for part in row)), strict=True):
            column.append(values[valid])
    if not columns[0]:
        empty = (len(dataset.skeleton.joints), 3), (2,), (2,), (), (), ()
        kinds = (np.float32, np.float32, np.float32, np.float32, np.int64, np.int64)
        return CropResults(*(np.zeros((0, *shape), kind) for shape, kind in zip(empty, kinds, strict=True)))
    return CropResults(*(np.concatenate(column) for column in columns))


def merge(shards: Sequence[CropResults]) -> CropResults:
    """Merge all processes' predictions, in the order of images and annotations."""
    whole = CropResults(*(np.concatenate(column) for column in zip(*shards, strict=True)))
    order = np.lexsort((whole.annotation_id, whole.image_id))
    return CropResults(*(column[order] for column in whole))


def score(
    results: CropResults,
    found: AnnotatedSet,
    config: TopDownConfig,
    folder: Path,
    *,
    write: bool,
    categories: Mapping[int, int] | None = None,
) -> Evaluation:
    """Return the layout's metrics; with ``write``, also write its result file.

    ``categories`` are COCO's category ids of the predicted people by annotation id; 1 by default.
    """
    layout = found.layout
    if layout.score_points is not None:
        points, file = results.keypoints[..., :2], folder / "pred.mat"
        scored = layout.score_points(points, results.annotation_id, found, config.model.name, file, write=write)
        return replace(scored, results=file)
    if layout.score_entries is not None:
        return _score_entries(
            layout.score_entries, results, found, config, folder, write=write, categories=categories or {}
        )
    raise ConfigError(f"data.layout={layout.name} has no evaluation protocol for people; set another data.layout")


def _score_entries(
    score_entries: ScoreEntries,
    results: CropResults,
    found: AnnotatedSet,
    config: TopDownConfig,
    folder: Path,
    *,
    write: bool,
    categories: Mapping[int, int],
) -> Evaluation:
    entries = coco_results(
        results,
        np.array(config.test.oks_sigmas or found.skeleton.sigmas),
        joint_threshold=config.test.joint_threshold,
        oks_threshold=config.test.oks_threshold,
        soft_nms=config.test.soft_nms,
        categories=categories,
    )
    file = folder / f"keypoints_{found.name}_results.json"
    if write:
        write_json(file, entries, indent=4, sort_keys=True)
    if found.has_annotations:
        return replace(score_entries(entries, found, config.model.name), results=file)
    server = folder / f"person_keypoints_{found.name}_{config.name}_results.json"
    if write:
        write_json(server, [{k: e[k] for k in ("image_id", "category_id", "keypoints", "score")} for e in entries])
    unscored = not_scored(
        f"{found.split} has no public annotations: nothing to score here. Zip {server} and upload it to the server"
    )
    return replace(unscored, results=server)
