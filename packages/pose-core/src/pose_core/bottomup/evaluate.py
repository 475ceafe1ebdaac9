"""Evaluate a network that takes whole images: find all people, image by image, and score by the layout's protocol."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence, Set
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from pose_core.bottomup.config import BottomUpConfig
from pose_core.bottomup.predictor import BottomUpPredictor, View, Views, render_tiles
from pose_core.data.images import Color, open_annotated
from pose_core.data.sampler import loader_workers, shard, watching_workers, worker_init
from pose_core.data.skipped import SkippedSamples
from pose_core.engine.distributed import gather_objects, rank_and_world_size
from pose_core.errors import ConfigError, DataError
from pose_core.evaluation.report import Evaluation, not_scored, protocol_line
from pose_core.files import write_json
from pose_core.layouts.layout import AnnotatedSet, ScoreEntries
from pose_core.layouts.reader import read_dataset
from pose_core.layouts.table import LAYOUTS
from pose_core.plurals import counted
from pose_core.runtimes.networks import way_of
from pose_core.structures import ImageRecord, Poses
from pose_core.verbosity import no_bar

_log = logging.getLogger(__name__)

Entries = dict[str, list[dict[str, Any]]]
"""Kind of a method's results → result entries."""


class Viewed(NamedTuple):
    """The image ``number`` of ``size`` (w, h), and each tile's rendered views; no tile if it cannot be read."""

    number: int
    size: tuple[int, int]
    tiles: list[tuple[list[torch.Tensor], list[View]]]


class ViewedImages(Dataset[Viewed]):
    """Images rendered as a network's inputs, ``(h, w, 3)`` uint8 each."""

    def __init__(self, records: Sequence[ImageRecord], views: Views, color: Color, *, skip: bool) -> None:
        self.records, self.views, self.color, self.skip = records, views, color, skip

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> Viewed:
        try:
            image = open_annotated(self.records[index].source, self.color, skips=self.skip)
        except DataError as error:
            if not self.skip:
                raise
            _log.warning("skipped: %s", error)
            return Viewed(index, (0, 0), [])
        tiles = [
            ([torch.from_numpy(view) for view in rendered], views)
            for rendered, views in render_tiles(image, self.views)
        ]
        return Viewed(index, (image.shape[1], image.shape[0]), tiles)


def _as_it_is(sample: Viewed) -> Viewed:
    """Return the sample unchanged; a loader would convert the views' matrices to tensors."""
    return sample


Choose = Callable[[AnnotatedSet], Sequence[ImageRecord]]
"""A function that selects the images of a split to evaluate."""


class HeldOutImages(NamedTuple):
    """What an evaluation needs besides the network: the images to predict, and how they are scored."""

    found: AnnotatedSet
    score_entries: ScoreEntries
    others: Set[int]
    """Images of the split that do not count."""

    def files(self) -> list[Path] | None:
        """Return the files that this came from; None if images are missing, which may come back."""
        if self.found.problems.counts["image missing"]:
            return None
        return [self.found.annotation_file, *self.found.layout.ground_truth_files(self.found)]


def held_out_images(config: BottomUpConfig, choose: Choose | None = None) -> HeldOutImages:
    """Read the config's validation split; ``choose`` selects the images to evaluate."""
    found = read_dataset(config.data, config.data.val, keep_unlabeled=True)
    score_entries = found.layout.score_entries
    if score_entries is None:
        known = " or ".join(name for name, layout in LAYOUTS.items() if layout.score_entries is not None)
        raise ConfigError(f"data.layout={found.layout.name} has no protocol for whole images; use {known}")
    others: set[int] = set()
    if choose is not None:
        kept = tuple(choose(found))
        others = {record.image_id for record in found.records} - {record.image_id for record in kept}
        found = replace(found, records=kept)
    found.layout.check_ground_truth(found)
    return HeldOutImages(found, score_entries, others)


def evaluate_bottomup(
    predictor: BottomUpPredictor,
    config: BottomUpConfig,
    folder: Path,
    choose: Choose | None = None,
    *,
    images: HeldOutImages | None = None,
) -> Evaluation:
    """Score ``predictor`` on the config's validation split and write its people below ``folder/results``.

    ``choose`` selects the images to evaluate; only their people count. Every process predicts its share of the images,
    and scores all predictions, so that each returns the same. ``images`` is the split if it has been read already.
    """
    found, score_entries, others = images or held_out_images(config, choose)
    rank, world = rank_and_world_size()
    predictor.expect(len(found.records) // world)
    kinds, unread = predict_images(predictor, config, found)
    way = way_of(predictor.network)
    results = folder / "results"
    scored = [
        score(score_entries, kind, entries, found, config, results, write=rank == 0, without=others)
        for kind, entries in kinds
    ]
    last = scored[-1]
    protocol = protocol_line(
        boxes="none",
        flip=config.test.flip,
        decode=predictor.decode_name,
        scales=tuple(sorted(config.test.scales, reverse=True)),
        precision=way.precision,
        runtime=way.runtime,
        evaluator=last.name,
    )
    lines = [each.report for each in scored] + [protocol]
    missing = found.problems.counts["image missing"] + unread
    if missing:
        lines.append(f"skipped: {counted(missing, 'image')} missing or not decodable (their people count as missed)")
    chosen = tuple(record.image_id for record in found.records) if others else None
    return replace(last, report="\n".join(lines), image_ids=chosen)


@watching_workers()
def predict_images(
    predictor: BottomUpPredictor, config: BottomUpConfig, found: AnnotatedSet
) -> tuple[list[tuple[str, list[dict[str, Any]]]], int]:
    """Return the result entries of the whole split by kind, and the number of images that could not be read."""
    rank, world = rank_and_world_size()
    records = found.records
    mine = [records[number] for number in shard(len(records), rank, world)]
    images = ViewedImages(mine, predictor.views, config.data.color, skip=config.data.on_bad_image == "skip")
    loader = DataLoader(
        images,
        batch_size=None,
        collate_fn=_as_it_is,  # type: ignore[arg-type]  # without batches it receives one sample
        num_workers=loader_workers(config.test.workers),
        worker_init_fn=worker_init,
        generator=torch.Generator(),  # evaluation must not change the random state of training
    )
    skipped = SkippedSamples(config.data.max_skipped, len(mine))
    entries: Entries = {}
    unread, category = 0, found.category_id
    for number, size, tiles in tqdm(
        loader, "evaluating", unit="image", leave=False, disable=no_bar(elsewhere=rank != 0)
    ):
        skipped.count(1, [] if tiles else [number], lambda number: mine[number].source)
        if not tiles:
            unread += 1
            continue
        for kind, people in predictor.find_people(size, tiles).items():
            poses = predictor.as_poses(people)
            entries.setdefault(kind, []).extend(result_entries(poses, mine[number].image_id, category))
    shares: list[tuple[Entries, int]] = gather_objects((entries, unread))
    names = list(dict.fromkeys(kind for share, _ in shares for kind in share)) or [""]
    merged = [(kind, [entry for share, _ in shares for entry in share.get(kind, [])]) for kind in names]
    return merged, sum(count for _, count in shares)


def result_entries(poses: Poses, image_id: int, category_id: int = 1) -> list[dict[str, Any]]:
    """Return COCO result entries with the box around each pose's joints, as published."""
    entries = poses.to_coco(image_id, category_id)
    for entry, points in zip(entries, poses.keypoints.astype(np.float64), strict=True):
        low, extent = points.min(0), np.ptp(points, axis=0)
        entry["bbox"] = [*low.tolist(), *extent.tolist()]
    return entries


def score(
    score_entries: ScoreEntries,
    kind: str,
    entries: list[dict[str, Any]],
    found: AnnotatedSet,
    config: BottomUpConfig,
    folder: Path,
    *,
    write: bool,
    without: Set[int] = frozenset(),
) -> Evaluation:
    """Return the layout's metrics of one kind, ``without`` some images; with ``write``, also write its result file."""
    tag = f"_{kind}" if kind else ""
    file = folder / f"keypoints_{found.name}{tag}_results.json"
    if write:
        write_json(file, entries)
    if not found.has_annotations:
        unscored = not_scored(
            f"{found.split} has no public annotations: nothing to score here. Zip {file} and upload it to the server"
        )
        return replace(unscored, results=file)
    name = f"{config.model.name}{f' ({kind})' if kind else ''}"
    return replace(score_entries(entries, found, name, without=without), results=file)
