"""Evaluate a top-down network: predict every crop, in shards, and score the whole by the layout's protocol."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader
from tqdm import tqdm

from pose_core.data.json_file import read_json
from pose_core.data.mat_file import read_matlab
from pose_core.data.sampler import evaluation_batches, worker_init
from pose_core.engine.distributed import gather_objects, rank_and_world_size
from pose_core.engine.interfaces import Evaluation
from pose_core.errors import DataError
from pose_core.evaluation import check_crowd_index, coco_keypoint_ap, crowdpose_ap, lsp_pck, mpii_pckh
from pose_core.evaluation.mpii import check_same_people
from pose_core.evaluation.report import format_coco, format_crowdpose, format_pck, protocol_line
from pose_core.files import whole_file, write_json
from pose_core.folders import find_data_root
from pose_core.layouts.reader import AnnotatedSet, read_dataset
from pose_core.models.inference_copy import quicken
from pose_core.skeleton import get_skeleton
from pose_core.structures import ImageRecord
from pose_core.topdown.config import TopDownConfig
from pose_core.topdown.crops import CropSettings, predict_crops
from pose_core.topdown.dataset import TopDownDataset
from pose_core.topdown.detections import find_detections, read_detections
from pose_core.topdown.person_table import PersonTable
from pose_core.topdown.scoring import CropResults, coco_results

FAR_AWAY = -1e6
"""Where a person is predicted who was not looked at: a miss by any measure."""


def crop_dataset(
    config: TopDownConfig, people: Sequence[ImageRecord] | PersonTable, *, training: bool
) -> TopDownDataset:
    """Crops as a configuration asks for them."""
    return TopDownDataset(
        people,
        get_skeleton(config.data.skeleton),
        input_size=config.model.input_size,
        color=config.data.color,
        convention=config.heatmap.convention,
        augment=config.augment if training else None,
        seed=config.run.seed,
        on_bad_image=config.data.on_bad_image,
        test_scale=1.0 if training else config.test.scale,
        reduced_decode=training and config.train.reduced_decode,
    )


def evaluated_people(config: TopDownConfig) -> tuple[AnnotatedSet, Sequence[ImageRecord], str]:
    """The validation split, the people to predict (annotated or detected), and what to call their boxes."""
    found = read_dataset(config.data, config.data.val)
    boxes = "ground-truth"
    records: Sequence[ImageRecord] = found.records
    if config.test.boxes == "detections":
        path = find_detections(config.data)
        records = read_detections(path, records, config.data.min_box_score)
        boxes = f"detections({path.name})"
    elif not found.num_persons:  # MPII's test split has none annotated either, but says where they stand
        raise DataError(
            f"{found.annotation_file} has no annotated people to take boxes from; "
            "evaluate it with test.boxes=detections and data.detections=FILE"
        )
    return found, records, boxes


def evaluate_topdown(network: nn.Module, config: TopDownConfig, device: torch.device, folder: Path) -> Evaluation:
    """Score ``network`` on the config's validation split and write its predictions below ``folder/results``.

    Every process predicts its share; all of them score the whole, so each returns the same.
    """
    found, records, boxes = evaluated_people(config)
    check_annotations(found, config)
    dataset = crop_dataset(config, records, training=False)
    results = merge(gather_objects(predict_dataset(network, dataset, config, device)))
    rank, _ = rank_and_world_size()
    scored = score(results, found, config, folder / "results", write=rank == 0)
    protocol = protocol_line(
        boxes=boxes,
        flip=config.test.flip,
        decode=config.heatmap.decode + ("+quarter" if config.heatmap.quarter else ""),
        scales=config.test.scale,
        evaluator=scored.name,
    )
    report = "\n".join([scored.report, protocol, *left_out(found, len(dataset) - len(results.image_id))])
    return Evaluation(scored.name, scored.value, scored.metrics, report)


def check_annotations(found: AnnotatedSet, config: TopDownConfig) -> None:
    """Refuse, before anything is predicted, annotations that could not be scored with."""
    if found.layout == "crowdpose" and found.has_annotations:
        check_crowd_index(found.annotation_file)
    if found.layout == "mpii" and found.annotation_file.suffix == ".h5" and found.has_annotations:
        # Unlike the JSON files, these come from elsewhere than the ground truth.
        people = {person.annotation_id: person.joints for record in found.records for person in record.persons}
        check_same_people(people, pckh_truth(found, config), found.annotation_file)


def left_out(found: AnnotatedSet, crops: int) -> list[str]:
    """Lines about what data.on_bad_image=skip let pass, if anything."""
    missing = found.problems.counts["image missing"]
    lines = []
    if missing:
        # LSP's people are known from the records alone; the other layouts score the whole annotation file.
        effect = "not scored" if found.layout.startswith("lsp") else "their people count as missed"
        lines.append(f"left out: {missing} images that are missing ({effect})")
    if crops:
        lines.append(f"left out: {crops} people in images that do not decode (they count as missed)")
    return lines


def predict_dataset(
    network: nn.Module, dataset: TopDownDataset, config: TopDownConfig, device: torch.device
) -> CropResults:
    """Predictions for this process's share of the crops; crops of bad images are left out."""
    rank, world = rank_and_world_size()
    settings = CropSettings.from_config(config, dataset.skeleton)
    network = quicken(network.to(device), config.model.input_size, settings.precision, compiled=config.test.compile)
    loader = DataLoader(
        dataset,
        batch_sampler=evaluation_batches(len(dataset), config.test.batch_size, rank, world),
        collate_fn=dataset.collate,
        num_workers=config.test.workers,
        worker_init_fn=worker_init,
        pin_memory=device.type == "cuda",
        generator=torch.Generator(),  # evaluating must not disturb the training's random state
    )
    columns: list[list[np.ndarray]] = [[] for _ in CropResults._fields]
    for batch in tqdm(loader, "evaluating", unit="batch", leave=False, disable=None if rank == 0 else True):
        keypoints = predict_crops(network, batch.images.to(device, non_blocking=True), batch.to_image.numpy(), settings)
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
    """All processes' predictions, in the order of images and annotations."""
    whole = CropResults(*(np.concatenate(column) for column in zip(*shards, strict=True)))
    order = np.lexsort((whole.annotation_id, whole.image_id))
    return CropResults(*(column[order] for column in whole))


def score(results: CropResults, found: AnnotatedSet, config: TopDownConfig, folder: Path, *, write: bool) -> Evaluation:
    """The layout's figures; and its result file, where ``write``."""
    if found.layout in {"coco", "crowdpose"}:
        return _score_coco(results, found, config, folder, write=write)
    if found.layout == "mpii":
        return _score_mpii(results, found, config, folder, write=write)
    return _score_lsp(results, found, config, folder, write=write)


def _score_coco(
    results: CropResults, found: AnnotatedSet, config: TopDownConfig, folder: Path, *, write: bool
) -> Evaluation:
    skeleton = get_skeleton(config.data.skeleton)
    sigmas = np.array(skeleton.sigmas)
    entries = coco_results(
        results,
        sigmas,
        joint_threshold=config.test.joint_threshold,
        oks_threshold=config.test.oks_threshold,
        soft_nms=config.test.soft_nms,
    )
    file = folder / f"keypoints_{found.split}_results.json"
    if write:
        write_json(file, entries, indent=4, sort_keys=True)
    if not found.has_annotations:
        server = folder / f"person_keypoints_{found.split}_{config.name}_results.json"
        if write:
            write_json(server, [{k: e[k] for k in ("image_id", "category_id", "keypoints", "score")} for e in entries])
        text = f"{found.split} keeps its annotations: nothing to score here. Zip {server} and upload it to the server"
        return Evaluation("none (no annotations)", 0.0, {}, text)
    truth = read_json(found.annotation_file)
    if found.layout == "crowdpose":
        metrics = crowdpose_ap(truth, entries)
        return Evaluation("CrowdPose AP", metrics["AP"], metrics, format_crowdpose(metrics, config.model.name))
    metrics = coco_keypoint_ap(truth, entries, sigmas=sigmas.tolist())
    return Evaluation("COCO AP", metrics["AP"], metrics, format_coco(metrics, config.model.name))


def pckh_truth(found: AnnotatedSet, config: TopDownConfig) -> Path:
    """Where MPII's ground truth for PCKh lies."""
    return find_data_root(config.data.root) / "annot" / f"gt_{found.split}.mat"


def _score_mpii(
    results: CropResults, found: AnnotatedSet, config: TopDownConfig, folder: Path, *, write: bool
) -> Evaluation:
    truth = pckh_truth(found, config)
    rows = max((person.annotation_id for record in found.records for person in record.persons), default=-1) + 1
    if found.has_annotations and config.data.on_bad_image == "skip":
        rows = max(rows, read_matlab(truth, "pos_gt_src", "MPII's ground truth for PCKh").shape[2])
    # One row per person of the annotation file, in its order; nobody left out with a bad image is hit.
    points = np.full((rows, results.keypoints.shape[1], 2), FAR_AWAY)
    points[results.annotation_id] = results.keypoints[..., :2]
    if write:
        write_predictions(folder / "pred.mat", points)
    if not found.has_annotations:
        text = f"{found.split} keeps its annotations: nothing to score here. Predictions: {folder / 'pred.mat'}"
        return Evaluation("none (no annotations)", 0.0, {}, text)
    metrics = mpii_pckh(points, truth)
    return Evaluation("MPII PCKh@0.5", metrics["Mean"], metrics, format_pck(metrics, config.model.name))


def _score_lsp(
    results: CropResults, found: AnnotatedSet, config: TopDownConfig, folder: Path, *, write: bool
) -> Evaluation:
    people = {person.annotation_id: person.joints for record in found.records for person in record.persons}
    order = sorted(people)
    points = np.full((len(order), results.keypoints.shape[1], 2), FAR_AWAY)
    points[np.searchsorted(order, results.annotation_id)] = results.keypoints[..., :2]
    if write:
        write_predictions(folder / "pred.mat", points)
    if not found.has_annotations:
        text = (
            f"{found.split} is MPII's and keeps its annotations: nothing to score here. Predictions: "
            f"{folder / 'pred.mat'}. For PCKh on MPII's validation people: data.layout=mpii data.skeleton=mpii16 "
            "data.val=valid and MPII's own folder as data.root"
        )
        return Evaluation("none (no annotations)", 0.0, {}, text)
    metrics = lsp_pck(points, np.stack([people[identity] for identity in order]))
    return Evaluation("LSP PCK@0.2", metrics["Mean"], metrics, format_pck(metrics, config.model.name))


def write_predictions(file: Path, points: np.ndarray) -> None:
    """Points ``(N, K, 2)`` as MATLAB's ``preds``, 1-based as published."""
    from scipy.io import savemat

    content = BytesIO()  # scipy does not take a named temporary file for a file
    savemat(content, {"preds": (points + 1).astype(np.float32)})
    with whole_file(file) as opened:
        opened.write(content.getvalue())
